//! A window of time that moves over a log.
//!
//! What must stay true: between two windows a caller hears of each entry that
//! came in, once, however late its commit; and of memory nothing depends on how
//! many entries a window holds.

use super::{Log, LogEntry, TABLE};
use crate::cursor::check_max;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::follow::{Follower, Start};
use std::time::Duration;

/// The entries of a [`Log`] of the last while, looked at every so often.
///
/// [`Live::next_window`] gives the window; [`Live::entered`] what came in since
/// the one before (with the first window: all of it). Who keeps an aggregate
/// adds those and takes away what is older than [`Window::start`], in time
/// proportional to the change; who wants the whole window reads
/// `log.range(window.start, f64::INFINITY)`.
///
/// ```
/// # fn main() -> beaver_core::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("app.db");
/// use beaver_core::{Database, Options};
/// use std::collections::BTreeMap;
/// use std::time::Duration;
///
/// let db = Database::open(path.to_str().unwrap(), &Options::default())?;
/// let log = db.log("temperatures")?;
/// log.append("20.5", None)?;
/// let mut live = log.live(Duration::from_secs(60), Duration::from_millis(1))?;
/// let mut held = BTreeMap::new();
/// for _ in 0..2 {
///     let window = live.next_window(None)?;
///     if window.cleared {
///         held.clear();
///     }
///     loop {
///         let page = live.entered(1000)?;
///         if page.is_empty() {
///             break;
///         }
///         // The bits of positive floats are in the floats' order.
///         held.extend(page.into_iter().map(|entry| (entry.timestamp.to_bits(), entry.data)));
///     }
///     held = held.split_off(&window.start.to_bits());
///     println!("{} measurements in the last minute", held.len());
/// }
/// assert_eq!(held.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Live {
    follower: Follower,
    database: Database,
    window: Duration,
    period: Duration,
    /// When the next window is due, by the monotonic clock; none: at once.
    due: Option<Duration>,
    /// The window's start, and the last commit that belongs to it.
    current: Option<(f64, i64)>,
    /// Found, and not told yet.
    cleared: bool,
}

/// A window of time of a [`Live`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Entries with an earlier stamp are out of it. Seconds since 1970-01-01 UTC.
    pub start: f64,
    /// When it was looked at. Entries may have a later stamp: somebody else's
    /// clock is ahead, or they were given one.
    pub end: f64,
    /// Somebody cleared the log: forget what came before this window.
    pub cleared: bool,
}

impl Log {
    /// A window of the last `window` of time, to be looked at every `period`.
    /// Reads nothing yet.
    ///
    /// # Errors
    /// [`Error::InTransaction`].
    pub fn live(&self, window: Duration, period: Duration) -> Result<Live> {
        Ok(Live {
            follower: Follower::unplaced(&self.database, &TABLE, &self.manager)?,
            database: self.database.clone(),
            window,
            period,
            due: None,
            current: None,
            cleared: false,
        })
    }
}

impl Live {
    /// The window as it is now: the first at once, the next ones a period after
    /// the one before, or at once when that time has passed. Waits up to
    /// `timeout` (none: as long as it takes).
    ///
    /// # Errors
    /// [`Error::Timeout`]: it isn't due yet. [`Error::InTransaction`]. What
    /// reading may report; then the next call tries again.
    pub fn next_window(&mut self, timeout: Option<Duration>) -> Result<Window> {
        let database = self.database.clone();
        let inner = &*database.inner;
        self.follower.check_no_transaction()?;
        let mut now = inner.runtime.monotonic();
        if let Some(due) = self.due
            && due > now
        {
            let wait = due - now;
            let limit = timeout.unwrap_or(Duration::MAX);
            inner.runtime.sleep(wait.min(limit));
            if wait > limit {
                return Err(Error::Timeout);
            }
            now = inner.runtime.monotonic();
        }
        let end = inner.runtime.unix_seconds();
        let start = end - self.window.as_secs_f64();
        let last = database.read_snapshot(|connection| {
            if self.current.is_some() {
                self.cleared |= self.follower.was_cleared(connection)?;
            } else {
                self.follower
                    .place(connection, Start::After(start.next_down()))?;
            }
            self.follower.last(connection)
        })?;
        self.current = Some((start, last));
        self.due = now.checked_add(self.period);
        Ok(Window {
            start,
            end,
            cleared: std::mem::take(&mut self.cleared),
        })
    }

    /// What came into the window since the one before, page by page in the
    /// order of the commits: at most `max` entries, fewer when they are large,
    /// empty at the end. What is left when the next window comes, comes then.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a `max` of 0; [`Error::InTransaction`];
    /// what reading may report.
    pub fn entered(&mut self, max: u32) -> Result<Vec<LogEntry>> {
        check_max(max)?;
        self.follower.check_no_transaction()?;
        let Some((start, until)) = self.current else {
            return Ok(Vec::new());
        };
        let page = self.follower.look(max, until, |stamp| stamp >= start)?;
        Ok(page.into_iter().map(LogEntry::from).collect())
    }
}
