//! A program for the write-ahead log itself: short transactions, half of which are rolled back, for
//! somebody to checkpoint beside.
//!
//! A checkpoint that meets a writer copies the whole log, and if that writer then writes nothing, the next
//! one starts the log over while a checkpoint may be under way. That is where SQLite's WAL-reset bug is
//! (<https://sqlite.org/wal.html#walresetbug>): a checkpoint that has read the length of the log and
//! not yet how much of it is copied takes a log that was started over between the two as copied
//! to the old length, and what was committed since is never copied.

use crate::check::CheckSpec;
use crate::program::{Plan, Program};
use crate::protocol::{ErrorCode, Op};
use crate::step::Step;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const NAME: &str = "checkpointing";
/// Few, so that a log of few frames holds them all.
const KEYS: u32 = 3;

/// How many steps of a worker are enough.
pub(super) const STEPS: u64 = 24;

/// The program of this seed.
pub(super) fn plan(workers: u32, seed: u64) -> Plan {
    let step = move |worker: u32, number: u64| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(u64::from(worker) << 32 | number);
        let key = format!("k{}", random.random_range(0..KEYS));
        if worker != 0 || random.random_ratio(1, 8) {
            return Step::from(Op::DictGet {
                name: NAME.to_owned(),
                key,
            });
        }
        let mut body = vec![Step::from(Op::DictSet {
            name: NAME.to_owned(),
            key,
            value: format!("{worker}.{number}").into(),
        })];
        if random.random_bool(0.75) {
            // Time for a checkpoint.
            body.push(Step::Sleep { ms: 1 });
        }
        if random.random_bool(0.5) {
            body.push(Step::Raise);
        }
        Step::Transaction { body }
    };
    Plan {
        frame: Program {
            program: 1,
            name: NAME.to_owned(),
            promise: "What is committed stays, whoever checkpoints.".to_owned(),
            checks: vec![
                CheckSpec::Linearizable,
                CheckSpec::Errors {
                    allow: vec![ErrorCode::Conflict],
                },
                CheckSpec::Completion,
                CheckSpec::Integrity,
            ],
            ..Program::default()
        },
        workers,
        source: Box::new(move |worker, number| (worker < workers).then(|| step(worker, number))),
        requires: Vec::new(),
    }
}
