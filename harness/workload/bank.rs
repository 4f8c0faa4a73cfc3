//! Transfers between accounts, some of which change their mind, and readers of all accounts.
//!
//! With the lock, faults that end a client make no sense: who dies in the middle leaves half
//! of its transfer, as a lock promises nothing about that.

use super::ops::{get, lock, set};
use super::{Parts, Settings, Workload, chance, every, locks, rng, unit};
use crate::check::CheckSpec;
use crate::protocol::{Capability, ErrorCode, LockKind};
use crate::run::FaultKind;
use crate::step::Step;
use rand::Rng as _;

pub(super) const WORKLOAD: Workload = Workload {
    name: "bank",
    promise: "Transactions move money, and never make or lose any; whoever reads all accounts in one finds the same sum.",
    requires: &[Capability::Dict, Capability::Transactions],
    unfit: &[],
    parts: |settings| parts(settings, "bank", false),
};

pub(super) const LOCKED: Workload = Workload {
    name: "bank-locked",
    promise: "Transfers under a dictionary's lock never make or lose money; whoever reads all accounts under it finds the same sum.",
    requires: &[Capability::Dict, Capability::Locks],
    unfit: &[FaultKind::Kill, FaultKind::Drop, FaultKind::Trap],
    parts: |settings| parts(settings, "locked-bank", true),
};

const ACCOUNTS: u32 = 4;
const EACH: i64 = 100;

fn parts(settings: &Settings, name: &'static str, locked: bool) -> Parts {
    let seed = settings.seed;
    let account = |number: u32| format!("a{number}");
    let read_all = move || -> Vec<Step> {
        let each = (0..ACCOUNTS).map(|number| get(name, &account(number)).into());
        each.collect()
    };
    let lock = locked.then(|| lock(LockKind::Dict, name));
    let of_all = lock.clone();
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        if chance(&mut random, 1, 4) {
            return unit(lock.as_ref(), read_all());
        }
        let from = random.random_range(0..ACCOUNTS);
        let to = (from + random.random_range(1..ACCOUNTS)) % ACCOUNTS;
        let transfer = Step::Transfer {
            name: name.into(),
            from: account(from),
            to: account(to),
            amount: random.random_range(1..60),
        };
        let body = match random.random_range(0..8) {
            // What was read may be old by now, if nobody takes care.
            0 => vec![
                get(name, &account(from)).into(),
                Step::Sleep { ms: 1 },
                transfer,
            ],
            1 if !locked => vec![transfer, Step::Raise],
            _ => vec![transfer],
        };
        unit(lock.as_ref(), body)
    };
    let mut checks = vec![CheckSpec::Bank {
        name: name.into(),
        accounts: (0..ACCOUNTS).map(account).collect(),
        total: EACH * i64::from(ACCOUNTS),
    }];
    checks.extend(if locked {
        locks(&[ErrorCode::Timeout])
    } else {
        every(&[ErrorCode::Conflict])
    });
    let fund = (0..ACCOUNTS).map(|number| set(name, &account(number), EACH).into());
    Parts {
        set_up: fund.collect(),
        tear_down: vec![unit(of_all.as_ref(), read_all())],
        ..Parts::new(step, checks)
    }
}
