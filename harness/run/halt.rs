//! Sees to it that a run that was halted ends.
//!
//! What must stay true: no client holds up a halted run, whatever it waits for; who is about to
//! end anyway may do so in good order.

use super::Shared;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long what is under way may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// How often it is looked whether the run was halted.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Until the run has `ended`, gives up all clients once it was halted.
pub(super) fn watch(shared: &Shared<'_>, ended: &AtomicBool) {
    let mut halted: Option<Instant> = None;
    while !ended.load(Ordering::Relaxed) {
        if shared.course.progress.halt.load(Ordering::Relaxed)
            && halted.get_or_insert_with(Instant::now).elapsed() >= GRACE
        {
            shared.crew.give_up();
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
