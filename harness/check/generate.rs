//! Histories of a correct system, for the tests of checks: several workers, one moment at which
//! each operation takes effect, and random intervals around these moments.

use super::CheckSpec;
use super::script::Script;
use crate::history::{Operation, Outcome};
use crate::protocol::Op;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Who does something, and when: called, done, answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) worker: u32,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// Intervals in the order of the moments at which the operations take effect; those of one worker don't
/// overlap.
pub(crate) fn slots(rng: &mut ChaCha8Rng, workers: u32, count: usize) -> Vec<Slot> {
    const APART: u64 = 16;
    let mut slots: Vec<Slot> = Vec::with_capacity(count);
    // Of each worker, its last slot.
    let mut last: Vec<Option<usize>> = vec![None; workers as usize];
    for at in 0..count {
        let worker = rng.random_range(0..workers);
        let moment = (at as u64 + 1) * APART;
        let before = last[worker as usize].replace(at);
        // The worker's time between two moments: the rest of the last operation, a pause, and
        // the begin of this one.
        let since = before.map_or(0, |before| (before as u64 + 1) * APART);
        let reach = (moment - since).min(APART * 6);
        let from = moment - rng.random_range(0..reach);
        if let Some(before) = before {
            let reach = (from - since).min(APART * 6);
            slots[before].to = since + rng.random_range(0..reach);
        }
        slots.push(Slot {
            worker,
            from,
            to: moment + rng.random_range(0..APART * 6),
        });
    }
    slots
}

/// Operations with their times as a history of one session for each worker.
pub(crate) fn script(check: CheckSpec, mut done: Vec<(Slot, Op, Outcome)>) -> Script {
    let mut script = Script::new(check);
    let workers = done.iter().map(|(slot, ..)| slot.worker + 1).max();
    for worker in 0..workers.unwrap_or(0) {
        script.session(worker, 0);
    }
    done.sort_by_key(|(slot, ..)| slot.from);
    for (at, (slot, op, outcome)) in done.into_iter().enumerate() {
        script.history.operations.push(Operation {
            id: at as u64 + 1,
            session: u64::from(slot.worker) + 1,
            worker: slot.worker,
            task: None,
            op,
            invoked_ns: slot.from,
            completed_ns: Some(slot.to),
            outcome,
        });
    }
    script
}
