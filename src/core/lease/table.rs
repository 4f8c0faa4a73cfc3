//! The table of lock rows, and what the algorithm knows of the world beside it:
//! clocks, whether another owner lives, and how to wait.
//!
//! What must stay true: a transaction is alone from its begin to its end, and one
//! that is dropped without a commit has changed nothing.

use crate::error::{Error, Result};
use std::time::Duration;

/// What is known of another owner's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Nothing but its row's time to live tells.
    Unknown,
    Lives,
    Gone,
}

/// A row whose time is up.
pub(crate) struct Expired {
    pub(crate) waiter_id: String,
    /// Whether it is a holder's.
    pub(crate) granted: bool,
    pub(crate) expires_at: f64,
}

/// A lock's line as one who waits in it sees it.
pub(crate) struct Line<'a> {
    /// The head's id; none when it isn't text, so not one of ours.
    pub(crate) head: Option<&'a str>,
    pub(crate) head_expires_at: f64,
    /// Whether the head holds the lock by a grant.
    pub(crate) head_granted: bool,
    /// How many stand before this waiter, the holder included; counted up to `FAR`.
    pub(crate) ahead: u32,
    /// The lock's fencing token, if this waiter is the holder.
    pub(crate) token: Option<u64>,
}

/// Who owns a lock.
pub(crate) struct HeadRow {
    pub(crate) waiter_id: String,
    /// Whether it holds the lock by a grant.
    pub(crate) granted: bool,
    pub(crate) expires_at: f64,
}

/// What a waiter waits for, and until when.
pub(crate) struct Wait<'a> {
    pub(crate) lock_name: &'a str,
    /// The change token from before the look.
    pub(crate) seen: Option<u64>,
    /// How many stand before this waiter, the holder included.
    pub(crate) ahead: u32,
    pub(crate) longest: Duration,
    /// Its place in line; none: it looks at every change of the line.
    pub(crate) place: Option<f64>,
    /// The claim of the head, which no change of the line tells about.
    pub(crate) claim: Option<u64>,
}

/// An open write transaction on the lock table.
pub(crate) trait LockTransaction {
    /// Makes the changes lasting.
    fn commit(self) -> Result<()>;

    /// The rows with `expires_at <= now`.
    fn expired(&self, lock_name: &str, now: f64) -> Result<Vec<Expired>>;

    /// Who owns the lock: the row with the least `requested_at`.
    fn head(&self, lock_name: &str) -> Result<Option<HeadRow>>;

    /// The greatest `requested_at`.
    fn last_request(&self, lock_name: &str) -> Result<Option<f64>>;

    fn insert(
        &self,
        lock_name: &str,
        waiter_id: &str,
        requested_at: f64,
        expires_at: f64,
    ) -> Result<()>;

    /// Sets a row's expiry and, if given, moves it. False: there is no such row.
    fn update(
        &self,
        lock_name: &str,
        waiter_id: &str,
        requested_at: Option<f64>,
        expires_at: f64,
    ) -> Result<bool>;

    /// Sets a grant's expiry. False: there is no such grant.
    fn extend_grant(&self, lock_name: &str, waiter_id: &str, expires_at: f64) -> Result<bool>;

    /// Deletes a row. False: there was none.
    fn delete(&self, lock_name: &str, waiter_id: &str) -> Result<bool>;

    /// Deletes all rows; returns how many there were.
    fn clear(&self, lock_name: &str) -> Result<u64>;

    /// Counts up the lock's fencing token and returns it.
    fn next_token(&self, lock_name: &str) -> Result<u64>;
}

/// A connection to the lock table.
pub(crate) trait LockTable: 'static {
    type Transaction<'a>: LockTransaction;

    /// Begins a write transaction, waiting for those of others up to `limit`
    /// (none: as long as the connection is set to).
    ///
    /// # Errors
    /// [`Error::Busy`].
    fn begin(&self, limit: Option<Duration>) -> Result<Self::Transaction<'_>>;

    /// Lets `judge` see the line without a write transaction. None: `waiter_id`
    /// isn't in it.
    fn look<T>(
        &self,
        lock_name: &str,
        waiter_id: &str,
        judge: impl FnOnce(&Line<'_>) -> T,
    ) -> Result<Option<T>>;

    /// A name for a row that nobody used before.
    fn new_waiter_id(&self) -> String;

    /// The claim behind somebody else's row, if its id tells of one.
    fn claim(&self, _waiter_id: &str) -> Option<u64> {
        None
    }

    /// Whether the owner of somebody else's row lives.
    fn life(&self, waiter_id: &str) -> Life;

    /// Refuses a wait that can't help. Call in the transaction that found the lock taken.
    fn check_may_wait(&self, _lock_name: &str) -> Result<()> {
        Ok(())
    }

    /// What to report when the time for a lock is up.
    fn timed_out(&self, _lock_name: &str) -> Error {
        Error::Timeout
    }

    /// The wall clock.
    fn unix_seconds(&self) -> f64;

    /// The clock for waiting.
    fn monotonic(&self) -> Duration;

    /// A number that changes whenever anybody commits, if that can be told.
    fn change_token(&self) -> Option<u64>;

    /// Whether a wait ends when something changes that concerns it.
    fn is_told(&self) -> bool;

    /// Something that concerns whoever waits like this is to end its next wait, from now
    /// on.
    fn watch(&self, _wait: &Wait<'_>) {}

    /// Blocks until something has changed that concerns whoever waits like this; may
    /// return early.
    fn wait(&self, wait: &Wait<'_>);

    /// The waiting has ended. Called in any case.
    fn stop_waiting(&self) {}

    fn sleep(&self, duration: Duration);

    /// Gives a row up on a path that can't report: deletes it now or later, and until then it
    /// keeps the lock from nobody who can tell.
    fn abandon(&self, lock_name: &str, waiter_id: &str);
}
