//! Looks at a lock's line, as a third party.

use crate::store::{DICT, FILE};
use anyhow::{Context as _, Result, bail};
use beaver_core::rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a worker may take to get in line.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that only reads. It is native SQLite's, so no host may use the
/// file in this process.
pub(crate) struct Line {
    connection: Connection,
    lock_name: String,
}

impl Line {
    pub(crate) fn watch(directory: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(directory.join(FILE), flags)?;
        connection.busy_timeout(PATIENCE)?;
        Ok(Self {
            connection,
            lock_name: format!("__lock__dict__{DICT}"),
        })
    }

    /// Returns when so many hold or await the dictionary's lock.
    pub(crate) fn wait_for(&self, wanted: u32) -> Result<()> {
        let start = Instant::now();
        loop {
            let count = self.length()?;
            if count == wanted {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("{count} hold or await the lock, but not {wanted}");
            }
            sleep(Duration::from_micros(200));
        }
    }

    fn length(&self) -> Result<u32> {
        self.connection
            .prepare_cached("SELECT count(*) FROM beaver_lock_waiters WHERE lock_name = ?1")?
            .query_row([&self.lock_name], |row| row.get(0))
            .context("looking at the lock's line")
    }
}

/// Pauses before a lock is given back, between `least` and `least + spread`.
/// Evenly spread (by the golden ratio), because waiters poll: were the pauses
/// equal, the figure would depend on where in a polling interval they end.
pub(crate) struct Pauses {
    least: Duration,
    spread: Duration,
    at: f64,
}

impl Pauses {
    pub(crate) fn new(least: Duration, spread: Duration) -> Self {
        let at = 0.5;
        Self { least, spread, at }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.least + self.spread.mul_f64(self.at);
        self.at = (self.at + 0.618_033_988_749_895).fract();
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_pauses_already_cover_the_interval() {
        let (least, spread) = (Duration::from_millis(2), Duration::from_millis(10));
        for count in [1, 2, 5, 13, 40] {
            let mut pauses: Vec<f64> = Pauses::new(least, spread)
                .take(count)
                .map(|pause| (pause - least).div_duration_f64(spread))
                .collect();
            pauses.sort_by(f64::total_cmp);
            pauses.insert(0, 0.0);
            pauses.push(1.0);
            let gaps = pauses.windows(2).map(|pair| pair[1] - pair[0]);
            let widest = gaps.fold(0.0, f64::max);
            // Among three neighbouring gaps the widest is at most 1.618² times the least.
            assert!(widest <= 2.62 / (count as f64 + 1.0), "{count}: {widest}");
        }
    }
}
