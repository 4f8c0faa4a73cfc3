//! Withdrawals that look at two accounts and take from one.
//!
//! All faults make sense: a withdrawal is one write.

use super::ops::{get, lock, set};
use super::{Parts, Settings, Workload, every, locks, rng, unit};
use crate::check::CheckSpec;
use crate::protocol::{Capability, ErrorCode, LockKind};
use crate::step::Step;
use rand::Rng as _;

pub(super) const WORKLOAD: Workload = Workload {
    name: "write-skew",
    promise: "Of two transactions that rely on the same money, one sees what the other took.",
    requires: &[Capability::Dict, Capability::Transactions],
    unfit: &[],
    parts: |settings| parts(settings, "skew", false),
};

pub(super) const LOCKED: Workload = Workload {
    name: "write-skew-locked",
    promise: "Of two who rely on the same money under a dictionary's lock, one sees what the other took.",
    requires: &[Capability::Dict, Capability::Locks],
    unfit: &[],
    parts: |settings| parts(settings, "locked-skew", true),
};

const EACH: i64 = 60;

fn accounts(pair: u32) -> [String; 2] {
    [format!("p{pair}a"), format!("p{pair}b")]
}

fn parts(settings: &Settings, name: &'static str, locked: bool) -> Parts {
    let seed = settings.seed;
    let pairs = 1 + settings.workers / 4;
    let lock = locked.then(|| lock(LockKind::Dict, name));
    let look = move |pair: u32| -> Vec<Step> {
        let each = accounts(pair).map(|account| get(name, &account).into());
        each.to_vec()
    };
    let of_all = lock.clone();
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        let pair = random.random_range(0..pairs);
        let [left, right] = accounts(pair);
        let withdraw = |accounts: [String; 2], amount: i64| Step::Withdraw {
            name: name.into(),
            accounts: accounts.to_vec(),
            amount,
        };
        let amount = random.random_range(40..100);
        let body = match random.random_range(0..8) {
            0..3 => vec![withdraw([left, right], amount)],
            3..5 => vec![withdraw([right, left], amount)],
            5 => {
                let mut body = look(pair);
                body.extend([Step::Sleep { ms: 1 }, withdraw([right, left], amount)]);
                body
            }
            // Somebody pays in.
            6 => vec![withdraw([left, right], -amount)],
            _ => look(pair),
        };
        unit(lock.as_ref(), body)
    };
    let skew = |pair| CheckSpec::WriteSkew {
        name: name.into(),
        accounts: accounts(pair).to_vec(),
        least: 0,
    };
    let mut checks: Vec<CheckSpec> = (0..pairs).map(skew).collect();
    checks.extend(if locked {
        locks(&[ErrorCode::Timeout])
    } else {
        every(&[ErrorCode::Conflict])
    });
    let all = (0..pairs).flat_map(accounts);
    let fund = all.map(|account| set(name, &account, EACH).into());
    let last = (0..pairs).map(|pair| unit(of_all.as_ref(), look(pair)));
    Parts {
        set_up: fund.collect(),
        tear_down: last.collect(),
        ..Parts::new(step, checks)
    }
}
