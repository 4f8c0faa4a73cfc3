//! Several workers count up one number, each under the dictionary's lock.
//!
//! All begin and end at moments that they were told before, so that nothing of
//! their start is measured. Each finishes what it has begun: the last waits of a crowd
//! are as long as the others.

use crate::clock;
use crate::figures::quantile;
use crate::fleet::{Crew, Fleet};
use crate::protocol::{Contended, Done, Increments, Sample, Task};
use anyhow::{Context as _, Result, bail, ensure};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

/// How long it takes at most to tell a worker when to begin.
const TELLING: Duration = Duration::from_millis(1);

/// The dictionary's key that is counted up.
pub(crate) const COUNTER: &str = "contended";

/// Has the crews contend for `time`. Unless `tolerant`, nothing may fail or get lost.
pub(crate) fn measure(
    crews: Vec<&mut Crew>,
    workers: usize,
    directory: &Path,
    time: Duration,
    tolerant: bool,
) -> Result<Contended> {
    let mut fleet = Fleet::open(crews, directory, workers)?;
    let before = count(&mut fleet)?;
    let (from_ns, all) = increments(&mut fleet, 0..workers, time)?;
    let (mut wait_ns, mut increments, mut failed, mut end_ns) = (Vec::new(), 0, 0, from_ns);
    for one in all {
        wait_ns.extend(one.wait_ns);
        increments += one.increments;
        failed += one.failed;
        end_ns = end_ns.max(one.to_ns);
    }
    let counted = count(&mut fleet)? - before;
    // A fast side that loses updates is no fast side.
    ensure!(
        tolerant || counted == increments,
        "{increments} increments were made, and the counter says {counted}"
    );
    let seconds = Duration::from_nanos(end_ns - from_ns).as_secs_f64();
    let sample = sample(increments, seconds, wait_ns).context("nobody got the lock")?;
    Ok(Contended {
        sample,
        lost: increments.saturating_sub(counted),
        failed,
    })
}

/// Has `workers` count up for `time`, from the moment that is returned.
pub(crate) fn increments(
    fleet: &mut Fleet<'_>,
    workers: Range<usize>,
    time: Duration,
) -> Result<(u64, Vec<Increments>)> {
    let telling = TELLING * u32::try_from(workers.len() + 20)?;
    let from_ns = clock::now_ns() + u64::try_from(telling.as_nanos())?;
    let until_ns = from_ns + u64::try_from(time.as_nanos())?;
    for worker in workers.clone() {
        fleet.tell(worker, Task::Contend { from_ns, until_ns })?;
    }
    let mut all = Vec::with_capacity(workers.len());
    for worker in workers {
        match fleet.hear(worker)? {
            Done::Contended(one) => all.push(one),
            other => bail!("instead of increments: {other:?}"),
        }
    }
    Ok((from_ns, all))
}

fn count(fleet: &mut Fleet<'_>) -> Result<u64> {
    fleet.tell(0, Task::Count)?;
    match fleet.hear(0)? {
        Done::Counted(count) => Ok(count),
        other => bail!("instead of the count: {other:?}"),
    }
}

fn sample(increments: u64, seconds: f64, mut wait_ns: Vec<u64>) -> Option<Sample> {
    wait_ns.sort_unstable();
    Some(Sample {
        ops: increments,
        seconds,
        p50_ns: quantile(&wait_ns, 0.5)?,
        p99_ns: quantile(&wait_ns, 0.99)?,
        max_ns: *wait_ns.last()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_increments_and_the_quantiles_are_of_waits() {
        let sample = sample(2, 0.5, vec![30, 10, 20]).unwrap();
        assert_eq!(sample.per_second(), 4.0);
        assert_eq!((sample.p50_ns, sample.p99_ns, sample.max_ns), (20, 30, 30));
        assert!(super::sample(0, 1.0, Vec::new()).is_none());
    }
}
