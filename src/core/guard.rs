//! The proposal's `with`, for Rust: guards that give locks back on every path.
//!
//! What must stay true: a guard belongs to one grant, and does nothing to a later
//! one of the same handle.

use crate::database::Database;
use crate::error::Result;
use crate::lease::Lease;
use crate::lock_set;
use crate::options::LockOptions;
use crate::owner::Owner;
use std::ops::Deref;

pub(crate) trait Sealed {
    fn owner(&self) -> &Owner;
}

/// A handle with a lock: [`Dict`](crate::Dict), [`List`](crate::List),
/// [`Queue`](crate::Queue), [`Collection`](crate::Collection), [`Blob`](crate::Blob),
/// [`Lock`](crate::Lock).
#[expect(private_bounds, reason = "sealed: a guard needs the owner inside")]
pub trait Lockable: Sealed {}

/// Holds the lock of a manager until dropped. Writes through it, or through
/// the manager itself, verify that the lock is still held; reads don't.
///
/// Guards of one handle nest: the lock is held until the last of them is dropped.
#[derive(Debug)]
#[must_use = "the lock is given back when the guard is dropped"]
pub struct Guard<'a, M: Lockable> {
    manager: &'a M,
    grant: u64,
}

impl<'a, M: Lockable> Guard<'a, M> {
    pub(crate) fn new(manager: &'a M, options: &LockOptions) -> Result<Self> {
        let grant = manager.owner().enter(options)?;
        Ok(Self { manager, grant })
    }

    /// Gives the lock back, or leaves it to the guard around this one, and says if
    /// it had been lost.
    ///
    /// # Errors
    /// [`Error::LockLost`](crate::Error::LockLost);
    /// [`Error::NotHeld`](crate::Error::NotHeld) when the handle's own `release` was
    /// called meanwhile.
    pub fn release(self) -> Result<()> {
        self.manager.owner().end(self.grant)
    }
}

impl<M: Lockable> Deref for Guard<'_, M> {
    type Target = M;

    fn deref(&self) -> &M {
        self.manager
    }
}

impl<M: Lockable> Drop for Guard<'_, M> {
    fn drop(&mut self) {
        let owner = self.manager.owner();
        if let Some(lease) = owner.leave(self.grant) {
            owner.database().abandon(&[lease.row()]);
        }
    }
}

/// Holds the locks of several managers until dropped; see [`Database::guard_all`].
#[must_use = "the locks are given back when the guard is dropped"]
pub struct GuardAll<'a> {
    database: &'a Database,
    /// Each with its grant.
    owners: Vec<(&'a Owner, u64)>,
}

impl GuardAll<'_> {
    /// Gives all locks back, in one transaction, and says if one had been lost.
    ///
    /// # Errors
    /// As [`Guard::release`], of one lock if it is true of several; all are given
    /// back all the same.
    pub fn release(self) -> Result<()> {
        lock_set::end_all(self.database, &self.owners)
    }
}

impl Drop for GuardAll<'_> {
    fn drop(&mut self) {
        let leave = |(owner, grant): &(&Owner, u64)| owner.leave(*grant);
        let leases: Vec<_> = self.owners.iter().filter_map(leave).collect();
        // In one transaction: one by one, each might wait for whoever writes.
        let rows: Vec<_> = leases.iter().map(Lease::row).collect();
        if !rows.is_empty() {
            self.database.abandon(&rows);
        }
    }
}

impl std::fmt::Debug for GuardAll<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let locks = self.owners.iter().map(|(owner, _)| owner.lock_name());
        f.debug_list().entries(locks).finish()
    }
}

impl Database {
    /// Takes the locks of all of `managers`, or none: the way to hold several
    /// without a deadlock.
    ///
    /// Whoever takes its locks this way never waits in a circle with others that
    /// do, in whatever order they name theirs: the places in all lines are taken
    /// at one moment, in the order of the locks' names, and nothing is held before
    /// all can be. The time to live of all runs from then. Blocks up to
    /// `options.timeout`; each handle then holds its lock as after its own
    /// `acquire`, and gives it back by its own `release`.
    ///
    /// ```
    /// # fn main() -> beaver_core::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("app.db");
    /// # let path = path.to_str().unwrap();
    /// use beaver_core::{Database, LockOptions, Options};
    /// use std::time::Duration;
    ///
    /// let db = Database::open(path, &Options::default())?;
    /// let (stock, orders) = (db.dict("stock")?, db.queue("orders")?);
    /// let options = LockOptions::timeout(Duration::from_secs(5));
    /// db.with_all(&[&stock, &orders], &options, || {
    ///     stock.set("apples", "11", None)?;
    ///     orders.put(r#"{"apples": 1}"#, 0.0)
    /// })?;
    /// assert_eq!(orders.len()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Nothing is taken and nothing left behind. [`Error::InvalidArgument`](crate::Error::InvalidArgument)
    /// when two have the same lock, or one is of another database handle;
    /// [`Error::AlreadyHeld`](crate::Error::AlreadyHeld) when one holds its lock already;
    /// otherwise as `acquire`.
    pub fn acquire_all(&self, managers: &[&dyn Lockable], options: &LockOptions) -> Result<()> {
        let owners: Vec<&Owner> = managers.iter().map(|manager| manager.owner()).collect();
        lock_set::acquire_all(self, &owners, options)
    }

    /// As [`Database::acquire_all`], with a guard that gives all locks back.
    ///
    /// # Errors
    /// As [`Database::acquire_all`].
    pub fn guard_all<'a>(
        &'a self,
        managers: &[&'a dyn Lockable],
        options: &LockOptions,
    ) -> Result<GuardAll<'a>> {
        self.acquire_all(managers, options)?;
        let mut guard = GuardAll {
            database: self,
            owners: Vec::with_capacity(managers.len()),
        };
        for manager in managers {
            let owner = manager.owner();
            guard.owners.push((owner, owner.entered()?));
        }
        Ok(guard)
    }

    /// Runs `body` while holding the locks of all of `managers`, and gives them back
    /// whether `body` returns, fails or panics.
    ///
    /// # Errors
    /// Those of `body` and of [`Database::acquire_all`];
    /// [`Error::LockLost`](crate::Error::LockLost) when one was lost by the end.
    pub fn with_all<T>(
        &self,
        managers: &[&dyn Lockable],
        options: &LockOptions,
        body: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let guard = self.guard_all(managers, options)?;
        let value = body()?;
        guard.release()?;
        Ok(value)
    }
}
