//! The lock algorithm, on BeaverDB's own table `beaver_lock_waiters`.
//!
//! The head of a lock's rows by `requested_at` owns the lock: that is what
//! Python processes believe, so it stays true here. On top of it:
//! - **FIFO by commit order.** A request is stamped inside its write
//!   transaction with `max(now, just after the last in line)`.
//! - **A grant is a write.** It moves the row to [`GRANTED_AT`], before any
//!   clock, so that a Python process that stamped its request before and
//!   inserts it after can't get ahead; the time to live starts then; the fencing token grows.
//! - **At most one grant.** Only the head is granted, only in a write
//!   transaction, after the rows that have expired are deleted there.
//! - **Whoever gives the lock back grants it** to the next in line, in the same
//!   transaction, if that one is known to live and its id says its terms. It then
//!   finds itself granted and writes nothing. All others grant themselves.
//! - **Nothing is left behind.** A wait that ends without the lock deletes its
//!   row. Where SQLite's write lock isn't to be had for that, it ends the row's claim,
//!   and others take the row for what a dead owner left. A waiter that dies is forgotten
//!   after [`WAITER_TTL`] if it had no claim.
//!
//! What is decided ([`grant`], [`wait`], [`gate`], [`guarded`]) knows its table, clocks and
//! neighbours only as [`table::LockTable`], so that the very same code runs on
//! SQLite ([`sqlite`]) and, step by step, on a table in memory.

mod abandon;
pub(crate) mod gate;
pub(crate) mod grant;
pub(crate) mod guarded;
#[cfg(test)]
mod loom_models;
#[cfg(test)]
mod model_tests;
mod sqlite;
pub(crate) mod table;
mod terms;
pub(crate) mod wait;

use crate::database::Database;
use crate::error::Result;
use crate::write::WriteTransaction;
use rusqlite::{Connection, params};
use std::time::Duration;
use table::LockTransaction as _;

/// Where a holder's row stands: before any clock's time. A whole number that a
/// float holds exactly, so that `=` finds it.
pub(crate) const GRANTED_AT: f64 = -1.0e15;

/// How long a waiting row lives. One whose waiter died holds up the queue no
/// longer than this.
pub(crate) const WAITER_TTL: Duration = Duration::from_secs(30);

/// What a bounded wait may take beyond its time to get SQLite's write lock: a
/// lock that is merely busy with somebody's commit is not a reason to give up early.
pub(crate) const WRITE_GRACE: Duration = Duration::from_millis(100);

/// A lock that was granted, as its holder knows it. Whether it is still held
/// is for the table to say.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) lock_name: String,
    pub(crate) waiter_id: String,
    /// Larger for every later grant of this lock; 0 without fencing.
    pub(crate) token: u64,
    pub(crate) ttl: Duration,
}

/// Whether a grant takes a fencing token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fencing {
    With,
    /// For the lock of a single write, which ends in the write's own transaction.
    Without,
}

/// Which lock somebody wants, and how.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) lock_name: &'a str,
    /// How long it lives from the grant.
    pub(crate) ttl: Duration,
    pub(crate) fencing: Fencing,
}

impl Lease {
    /// The lock's name and the waiter's id.
    pub(crate) fn row(&self) -> (&str, &str) {
        (&self.lock_name, &self.waiter_id)
    }

    /// Gives the lock back in an open transaction. False: it was lost before.
    pub(crate) fn give_back(&self, transaction: &WriteTransaction<'_>) -> Result<bool> {
        Self::give_back_row(transaction, &self.lock_name, &self.waiter_id)
    }

    /// Lets the grant live `ttl` from `now` unless it lives longer. False: it was lost.
    pub(crate) fn extend_to_at_least(
        &self,
        connection: &Connection,
        now: f64,
        ttl: Duration,
    ) -> Result<bool> {
        let updated = connection
            .prepare_cached(
                "UPDATE beaver_lock_waiters SET expires_at = max(expires_at, ?4)
                 WHERE lock_name = ?1 AND requested_at = ?2 AND waiter_id = ?3",
            )?
            .execute(params![
                self.lock_name,
                GRANTED_AT,
                self.waiter_id,
                now + ttl.as_secs_f64()
            ])?;
        Ok(updated > 0)
    }

    /// Whether the grant is still there.
    pub(crate) fn is_held(&self, connection: &Connection) -> Result<bool> {
        Ok(connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM beaver_lock_waiters
                 WHERE lock_name = ?1 AND requested_at = ?2 AND waiter_id = ?3)",
            )?
            .query_row(params![self.lock_name, GRANTED_AT, self.waiter_id], |row| {
                row.get(0)
            })?)
    }

    /// Gives a grant or a place in line back. False: there was none.
    pub(crate) fn give_back_row(
        transaction: &WriteTransaction<'_>,
        lock_name: &str,
        waiter_id: &str,
    ) -> Result<bool> {
        grant::give_back(transaction.database(), transaction, lock_name, waiter_id)
    }
}

impl Database {
    /// Takes the lock if nobody holds or awaits it.
    pub(crate) fn try_lease(
        &self,
        lock_name: &str,
        ttl: Duration,
        fencing: Fencing,
    ) -> Result<Option<Lease>> {
        let wanted = Wanted {
            lock_name,
            ttl,
            fencing,
        };
        grant::try_acquire(self, &wanted)
    }

    /// Waits for the lock in FIFO order, up to `timeout` (none: for ever).
    pub(crate) fn acquire_lease(
        &self,
        lock_name: &str,
        timeout: Option<Duration>,
        ttl: Duration,
        fencing: Fencing,
    ) -> Result<Lease> {
        let wanted = Wanted {
            lock_name,
            ttl,
            fencing,
        };
        wait::acquire(self, &wanted, timeout)
    }

    /// Gives the lock back. False: it was lost before.
    pub(crate) fn release_lease(&self, lease: &Lease) -> Result<bool> {
        grant::release(self, lease)
    }

    /// Lets the lock live `ttl` from now. False: it was lost before.
    pub(crate) fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<bool> {
        grant::renew(self, lease, ttl)
    }

    /// Removes the holder and all waiters; returns how many there were.
    pub(crate) fn clear_lock(&self, lock_name: &str) -> Result<u64> {
        let transaction = self.begin_write(None)?;
        let removed = transaction.clear(lock_name)?;
        if removed > 0 {
            transaction.commit()?;
        }
        Ok(removed)
    }

    pub(crate) fn is_gone(&self, claim: u64) -> bool {
        self.inner.runtime.is_gone(&self.inner.connection, claim)
    }
}
