//! A lock's holder is killed (SIGKILL), and somebody waits for the lock.
//!
//! Measured is the time from just before the signal until just after the
//! waiter's call that asked for the lock. Both are processes of their own. Where nothing
//! tells that the holder is gone, what is left of its time to live decides.

use crate::clock;
use crate::fleet::{Crew, Fleet};
use crate::line::{Line, Pauses};
use crate::protocol::Task;
use anyhow::{Context as _, Result};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// How long the holder lives at least, and by how much longer the last: more than
/// the interval in which a waiter looks whether it does.
const LIFE_MIN: Duration = Duration::from_millis(2);
const LIFE_SPREAD: Duration = Duration::from_millis(50);

const HOLDER: usize = 0;
const WAITER: usize = 1;

/// How long holders live, one after the other.
pub(crate) fn lives() -> Pauses {
    Pauses::new(LIFE_MIN, LIFE_SPREAD)
}

/// Kills one holder, whose lock has the time to live `ttl` (none: the usual);
/// returns how long the waiter had to wait from then on. The first of `crews`
/// has the holder, the last the waiter.
pub(crate) fn measure(
    crews: Vec<&mut Crew>,
    directory: &Path,
    ttl: Option<Duration>,
    life: Duration,
) -> Result<u64> {
    let mut fleet = Fleet::open(crews, directory, 2)?;
    let ttl_s = ttl.map(|ttl| ttl.as_secs_f64());
    fleet.tell(HOLDER, Task::Acquire { ttl_s })?;
    fleet.hear_acquired(HOLDER)?;
    fleet.tell(WAITER, Task::Acquire { ttl_s: None })?;
    Line::watch(directory)?.wait_for(2)?;
    sleep(life);
    let from_ns = clock::now_ns();
    fleet.kill(HOLDER)?;
    let at_ns = fleet.hear_acquired(WAITER)?;
    fleet.tell(WAITER, Task::Release)?;
    fleet.hear_released(WAITER)?;
    at_ns
        .checked_sub(from_ns)
        .context("the waiter had the lock before its holder was killed")
}
