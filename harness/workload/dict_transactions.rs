//! Transactions that write several keys, of which a third change their mind, and others who read
//! and write single keys meanwhile.
//!
//! All faults make sense: a transaction whose commit is not answered has happened or not.

use super::ops::{get, set};
use super::{Parts, Settings, Workload, chance, every, key, mark, rng};
use crate::check::CheckSpec;
use crate::protocol::{Capability, ErrorCode};
use crate::step::Step;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

pub(super) const WORKLOAD: Workload = Workload {
    name: "dict-transactions",
    promise: "What a transaction writes is there when it commits, not before, and never if it is rolled back.",
    requires: &[Capability::Dict, Capability::Transactions],
    unfit: &[],
    parts,
};

const NAME: &str = "tables";

fn parts(settings: &Settings) -> Parts {
    let seed = settings.seed;
    let keys = 3 + settings.workers / 4;
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        let one = |key: &str| get(NAME, key).into();
        let write = |key: &str, at: u32| {
            let value = format!("{}.{at}", mark(worker, number));
            Step::from(set(NAME, key, value))
        };
        let any = |random: &mut ChaCha8Rng| key(random, keys, number);
        let key = any(&mut random);
        match random.random_range(0..10) {
            0..4 => one(&key),
            4 => write(&key, 0),
            _ => {
                let mut body = Vec::new();
                for at in 0..random.random_range(2..5) {
                    let key = any(&mut random);
                    if chance(&mut random, 1, 4) {
                        body.push(one(&key));
                    } else {
                        body.push(write(&key, at));
                    }
                    if chance(&mut random, 1, 4) {
                        // Time for others to look.
                        body.push(Step::Sleep { ms: 1 });
                    }
                }
                if chance(&mut random, 1, 3) {
                    body.push(Step::Raise);
                }
                Step::Transaction { body }
            }
        }
    };
    let mut checks = vec![CheckSpec::Linearizable];
    checks.extend(every(&[ErrorCode::Conflict]));
    Parts::new(step, checks)
}
