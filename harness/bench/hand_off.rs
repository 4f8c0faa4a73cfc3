//! A lock goes from its holder to who waits for it.
//!
//! Measured is the time from just before the holder's call that gives the lock
//! back until just after the waiter's call that asked for it. The waiter has been
//! waiting for a while by then: its row was seen in the lock's line.

use crate::contention;
use crate::fleet::{Crew, Fleet};
use crate::line::{Line, Pauses};
use crate::protocol::{Task, Waits};
use anyhow::{Context as _, Result};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long somebody waits at least before the lock is given back.
const WAIT_MIN: Duration = Duration::from_millis(2);

/// How long each worker uses the lock alone before: until its statements are prepared
/// and the write-ahead log is as long as it gets, because writing over it takes a
/// third of what making it longer does.
const WARM_UP: Duration = Duration::from_millis(100);

/// The workers.
const HOLDER: usize = 0;
const WAITER: usize = 1;

/// Hands the lock over for `time`. The first of `crews` holds it, the last waits; `spread`
/// is at least the waiter's polling interval.
pub(crate) fn measure(
    crews: Vec<&mut Crew>,
    directory: &Path,
    spread: Duration,
    time: Duration,
) -> Result<Waits> {
    let mut fleet = Fleet::open(crews, directory, 2)?;
    let line = Line::watch(directory)?;
    for worker in [HOLDER, WAITER] {
        contention::increments(&mut fleet, worker..worker + 1, WARM_UP)?;
    }
    let mut waits = Waits::default();
    let start = Instant::now();
    for pause in Pauses::new(WAIT_MIN, spread) {
        let (wait_ns, release_ns) = hand_over(&mut fleet, &line, pause)?;
        waits.wait_ns.push(wait_ns);
        waits.release_ns.push(release_ns);
        if start.elapsed() >= time {
            break;
        }
    }
    Ok(waits)
}

fn hand_over(fleet: &mut Fleet<'_>, line: &Line, pause: Duration) -> Result<(u64, u64)> {
    fleet.tell(HOLDER, Task::Acquire { ttl_s: None })?;
    fleet.hear_acquired(HOLDER)?;
    fleet.tell(WAITER, Task::Acquire { ttl_s: None })?;
    line.wait_for(2)?;
    sleep(pause);
    fleet.tell(HOLDER, Task::Release)?;
    let (from_ns, to_ns) = fleet.hear_released(HOLDER)?;
    let at_ns = fleet.hear_acquired(WAITER)?;
    fleet.tell(WAITER, Task::Release)?;
    fleet.hear_released(WAITER)?;
    let wait_ns = at_ns
        .checked_sub(from_ns)
        .context("the waiter had the lock before it was given back")?;
    Ok((wait_ns, to_ns - from_ns))
}
