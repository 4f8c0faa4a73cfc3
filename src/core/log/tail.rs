//! What is appended from now on, in the order of the commits.

use super::{Log, LogEntry, TABLE};
use crate::error::Result;
use crate::follow::{Follower, Start};
use crate::stream::check_stamp;
use std::time::Duration;

/// Follows a [`Log`]: every entry once, in the order of the commits, whoever
/// appended it. So an entry that was given an earlier time comes too, after
/// those that were there before it.
#[derive(Debug)]
pub struct Tail {
    follower: Follower,
}

impl Log {
    /// Follows the log from now on, or from after the stamp `after`: then the
    /// entries with a later stamp come first, in the order of their commits.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for NaN,
    /// [`Error::InTransaction`](crate::Error::InTransaction), and what reading
    /// may report.
    pub fn tail(&self, after: Option<f64>) -> Result<Tail> {
        let start = match after {
            None => Start::Now,
            Some(stamp) => Start::After(check_stamp("the start", stamp)?),
        };
        Ok(Tail {
            follower: Follower::new(&self.database, &TABLE, &self.manager, start)?,
        })
    }
}

impl Tail {
    /// The next entries, at least one and at most `max`, fewer when they are
    /// large. Waits for one up to `timeout` (none: for ever; zero: looks once).
    ///
    /// # Errors
    /// [`Error::Timeout`](crate::Error::Timeout): nothing came, and nothing is
    /// skipped. [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a
    /// `max` of 0. [`Error::InTransaction`](crate::Error::InTransaction): what a
    /// transaction sees may be rolled back.
    pub fn next_page(&mut self, max: u32, timeout: Option<Duration>) -> Result<Vec<LogEntry>> {
        let records = self.follower.wait(max, timeout)?;
        Ok(records.into_iter().map(LogEntry::from).collect())
    }
}
