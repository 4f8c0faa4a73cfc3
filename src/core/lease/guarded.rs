//! How a write passes its manager's locks: at once, or after its turn in the line
//! of whichever stands in its way.
//!
//! What must stay true: whoever holds the manager's lock takes the internal one
//! next, so a write that waits for the first doesn't keep the second. The lock of
//! a single write ends in that write's own transaction, or when this returns.

use super::gate::Verdict;
use super::grant::give_back;
use super::table::{LockTable, LockTransaction as _};
use super::{Fencing, Lease, Wanted, wait};
use crate::error::{Error, Result};
use crate::write::Effect;
use std::time::Duration;

/// How long the lock of a single write lives: it only has to outlive that
/// write's own transaction. The same as the reference's internal locks.
const TEMPORARY_TTL: Duration = Duration::from_secs(5);

/// How often a write whose time is up asks for a lock that is free: there are two, and each may be lost
/// once. More often only where a trigger of the file takes away what was granted.
const LATE_TRIES_MAX: u32 = 4;

/// The locks that bind a write.
pub(crate) struct Guarded<'a> {
    pub(crate) lock_name: &'a str,
    pub(crate) internal_lock_name: &'a str,
    /// The manager's lock, if the writer means to hold it.
    pub(crate) lease: Option<&'a Lease>,
    /// How long to wait for locks.
    pub(crate) wait: Duration,
    /// How long to wait for other write transactions.
    pub(crate) write_limit: Option<Duration>,
}

/// Runs `write` in a transaction in which `gate`, given the writer's rows of the
/// manager's and the internal lock, lets it pass and has done what fencing off takes.
///
/// # Errors
/// [`Error::Locked`], [`Error::LockLost`], and those of `gate` and `write`.
pub(crate) fn write<L: LockTable, T>(
    table: &L,
    guarded: &Guarded<'_>,
    gate: impl Fn(&L::Transaction<'_>, Option<&Lease>, Option<&Lease>) -> Result<Verdict>,
    mut write: impl FnMut(&L::Transaction<'_>) -> Result<Effect<T>>,
) -> Result<T> {
    let mut public = Temporary { table, lease: None };
    let mut internal = Temporary { table, lease: None };
    let deadline = table.monotonic().saturating_add(guarded.wait);
    let mut late_tries = 0;
    loop {
        let transaction = table.begin(guarded.write_limit)?;
        let lease = guarded.lease.or(public.lease.as_ref());
        let verdict = gate(&transaction, lease, internal.lease.as_ref())?;
        let (blocked_by, temporary) = match verdict {
            Verdict::Open | Verdict::FenceOff => {
                let (value, changed) = match write(&transaction)? {
                    Effect::Changed(value) => (value, true),
                    Effect::Unchanged(value) => (value, false),
                };
                let held = public.delete(&transaction)? | internal.delete(&transaction)?;
                if changed || held {
                    transaction.commit()?;
                }
                public.lease = None;
                internal.lease = None;
                return Ok(value);
            }
            Verdict::Lost if guarded.lease.is_some() => {
                return Err(Error::LockLost(guarded.lock_name.to_owned()));
            }
            Verdict::Lost => {
                // The lock of this one write outlived its time: start over.
                drop(transaction);
                public.lease = None;
                (guarded.lock_name, &mut public)
            }
            Verdict::Public => {
                // Whoever holds the manager's lock takes the internal one
                // next: keeping it while waiting would block them both.
                drop(transaction);
                internal.abandon();
                (guarded.lock_name, &mut public)
            }
            Verdict::Internal => {
                drop(transaction);
                internal.lease = None;
                (guarded.internal_lock_name, &mut internal)
            }
        };
        let wanted = Wanted {
            lock_name: blocked_by,
            ttl: TEMPORARY_TTL,
            fencing: Fencing::Without,
        };
        let remaining = deadline.saturating_sub(table.monotonic());
        if remaining.is_zero() {
            late_tries += 1;
            if late_tries > LATE_TRIES_MAX {
                return Err(Error::Locked(blocked_by.to_owned()));
            }
        }
        match wait::acquire(table, &wanted, Some(remaining)) {
            Ok(lease) => temporary.lease = Some(lease),
            // Nobody waits for this place but the write itself: it takes another.
            Err(Error::WaitCleared) if !remaining.is_zero() => {}
            Err(Error::Timeout) => return Err(Error::Locked(blocked_by.to_owned())),
            Err(error) => return Err(error),
        }
    }
}

/// The lock of a single write. Deleted in the write's own transaction; on
/// every other path, when this is dropped.
struct Temporary<'a, L: LockTable> {
    table: &'a L,
    lease: Option<Lease>,
}

impl<L: LockTable> Temporary<'_, L> {
    fn delete(&self, transaction: &L::Transaction<'_>) -> Result<bool> {
        match &self.lease {
            Some(lease) => give_back(self.table, transaction, &lease.lock_name, &lease.waiter_id),
            None => Ok(false),
        }
    }

    fn abandon(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.table.abandon(&lease.lock_name, &lease.waiter_id);
        }
    }
}

impl<L: LockTable> Drop for Temporary<'_, L> {
    fn drop(&mut self) {
        self.abandon();
    }
}
