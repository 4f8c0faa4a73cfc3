//! A handle as the owner of its manager's lock: the state behind
//! `acquire`, `try_acquire`, `release`, `renew` and `fencing_token`.
//!
//! What must stay true: one handle is one owner, and another handle of the same
//! database handle is another. `acquire` isn't reentrant; guards are: those that
//! are open on one handle share its lock, which ends with the last of them if
//! the first one took it. A handle that learns that its lock is lost keeps
//! saying so until `release`.

use crate::database::Database;
use crate::error::{Error, Result};
use crate::lease::{Fencing, Lease};
use crate::options::LockOptions;
use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Owner {
    database: Database,
    lock_name: Rc<str>,
    lease: Rc<RefCell<Option<Lease>>>,
    /// How many guards of the lock held are open.
    guards: Cell<usize>,
    /// Whether a guard took the lock held: then the last one gives it back.
    is_guards: Cell<bool>,
    /// Whether it is its handle's own, with which the lock ends.
    is_handles: bool,
}

impl Owner {
    pub(crate) fn new(database: &Database, lock_name: &str) -> Self {
        Self {
            database: database.clone(),
            lock_name: lock_name.into(),
            lease: Rc::default(),
            guards: Cell::new(0),
            is_guards: Cell::new(false),
            is_handles: true,
        }
    }

    /// The same owner, for what writes as the handle and may live longer: then
    /// without the lock.
    pub(crate) fn share(&self) -> Self {
        Self {
            database: self.database.clone(),
            lock_name: Rc::clone(&self.lock_name),
            lease: Rc::clone(&self.lease),
            guards: Cell::new(0),
            is_guards: Cell::new(false),
            is_handles: false,
        }
    }

    /// Takes over a lock that a test acquired step by step.
    #[cfg(test)]
    pub(crate) fn adopt(&self, lease: Lease) {
        self.hold(lease);
    }

    /// The lock held, for the writes that verify it.
    pub(crate) fn lease(&self) -> Ref<'_, Option<Lease>> {
        self.lease.borrow()
    }

    pub(crate) fn acquire(&self, options: &LockOptions) -> Result<()> {
        let ttl = ttl_of(options)?;
        self.check_free()?;
        let lease =
            self.database
                .acquire_lease(&self.lock_name, options.timeout, ttl, Fencing::With)?;
        self.hold(lease);
        Ok(())
    }

    pub(crate) fn try_acquire(&self, ttl: Option<Duration>) -> Result<bool> {
        let ttl = check_ttl(ttl)?.unwrap_or(LockOptions::DEFAULT_TTL);
        self.check_free()?;
        let lease = self
            .database
            .try_lease(&self.lock_name, ttl, Fencing::With)?;
        Ok(lease.map(|lease| self.hold(lease)).is_some())
    }

    pub(crate) fn release(&self) -> Result<()> {
        self.check_no_transaction()?;
        let held = {
            let lease = self.lease.borrow();
            let lease = lease.as_ref().ok_or(Error::NotHeld)?;
            self.database.release_lease(lease)?
        };
        self.let_go();
        if held { Ok(()) } else { Err(self.lost()) }
    }

    pub(crate) fn renew(&self, ttl: Option<Duration>) -> Result<()> {
        let ttl = check_ttl(ttl)?;
        self.check_no_transaction()?;
        let lease = self.lease.borrow();
        let lease = lease.as_ref().ok_or(Error::NotHeld)?;
        if self.database.renew_lease(lease, ttl.unwrap_or(lease.ttl))? {
            Ok(())
        } else {
            Err(self.lost())
        }
    }

    /// Opens a guard: takes the lock, or joins the hold on it. Returns which grant
    /// the guard belongs to.
    pub(crate) fn enter(&self, options: &LockOptions) -> Result<u64> {
        if self.lease.borrow().is_none() {
            self.acquire(options)?;
            return self.entered();
        }
        let ttl = ttl_of(options)?;
        self.check_no_transaction()?;
        {
            // Whoever takes a guard relies on its time, however much the outer
            // one has used up.
            let lease = self.lease.borrow();
            let lease = lease.as_ref().ok_or(Error::NotHeld)?;
            let transaction = self.database.begin_write(None)?;
            let now = self.database.inner.runtime.unix_seconds();
            if !lease.extend_to_at_least(&self.database.inner.connection, now, ttl)? {
                return Err(self.lost());
            }
            transaction.commit()?;
        }
        self.guards.set(self.guards.get() + 1);
        self.fencing_token().ok_or(Error::NotHeld)
    }

    /// Makes a lock that was just taken the first guard's. Returns which grant it is.
    pub(crate) fn entered(&self) -> Result<u64> {
        self.guards.set(1);
        self.is_guards.set(true);
        self.fencing_token().ok_or(Error::NotHeld)
    }

    /// Whether the lock ends with this guard, if the guard's grant is still the one held.
    pub(crate) fn is_last(&self, grant: u64) -> Result<bool> {
        if self.fencing_token() == Some(grant) {
            Ok(self.guards.get() == 1 && self.is_guards.get())
        } else {
            Err(Error::NotHeld)
        }
    }

    /// What a guard reports at its end. Call [`Owner::leave`] in any case.
    pub(crate) fn end(&self, grant: u64) -> Result<()> {
        if self.is_last(grant)? {
            return self.release();
        }
        let lease = self.lease.borrow();
        let lease = lease.as_ref().ok_or(Error::NotHeld)?;
        if self.database.read(|connection| lease.is_held(connection))? {
            Ok(())
        } else {
            Err(self.lost())
        }
    }

    /// Closes a guard, on a path that can't report. Returns what is to be abandoned.
    #[must_use]
    pub(crate) fn leave(&self, grant: u64) -> Option<Lease> {
        match self.is_last(grant) {
            Ok(true) => return self.let_go(),
            Ok(false) => self.guards.set(self.guards.get().saturating_sub(1)),
            // The lock was given back before; the guards of the next aren't ours to count.
            Err(_) => {}
        }
        None
    }

    /// Gives the lock back on a path that can't report.
    pub(crate) fn give_up(&self) {
        if let Some(lease) = self.let_go() {
            self.database.abandon(&[lease.row()]);
        }
    }

    /// Becomes the holder.
    pub(crate) fn hold(&self, lease: Lease) {
        self.let_go();
        *self.lease.borrow_mut() = Some(lease);
        let held = &self.database.inner.held;
        held.set(held.get() + 1);
    }

    /// Is the holder no longer, as far as the handle goes.
    pub(crate) fn let_go(&self) -> Option<Lease> {
        let lease = self.lease.borrow_mut().take()?;
        self.guards.set(0);
        self.is_guards.set(false);
        let held = &self.database.inner.held;
        held.set(held.get().saturating_sub(1));
        Some(lease)
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn lock_name(&self) -> &str {
        &self.lock_name
    }

    pub(crate) fn lost(&self) -> Error {
        Error::LockLost(self.lock_name.to_string())
    }

    pub(crate) fn fencing_token(&self) -> Option<u64> {
        self.lease.borrow().as_ref().map(|lease| lease.token)
    }

    pub(crate) fn check_free(&self) -> Result<()> {
        self.check_no_transaction()?;
        match *self.lease.borrow() {
            Some(_) => Err(Error::AlreadyHeld),
            None => Ok(()),
        }
    }

    /// A lock row written inside a transaction would be seen by others only at
    /// its end, and a wait inside would keep the write lock from the holder.
    fn check_no_transaction(&self) -> Result<()> {
        if self.database.inner.in_transaction.get() {
            Err(Error::InTransaction)
        } else {
            Ok(())
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.is_handles {
            self.give_up();
        }
    }
}

/// How long a lock taken with `options` lives.
pub(crate) fn ttl_of(options: &LockOptions) -> Result<Duration> {
    Ok(check_ttl(options.ttl)?.unwrap_or(LockOptions::DEFAULT_TTL))
}

pub(crate) fn check_ttl(ttl: Option<Duration>) -> Result<Option<Duration>> {
    match ttl {
        Some(ttl) if ttl.is_zero() => Err(Error::InvalidArgument(
            "a time to live must be more than 0".into(),
        )),
        other => Ok(other),
    }
}

/// Gives a manager type with a field `owner` the lock's methods.
macro_rules! lock_methods {
    ($type:ty) => {
        impl $type {
            /// Waits for the lock in FIFO order and takes it.
            ///
            /// Blocks up to `options.timeout`. The time to live runs from the grant.
            ///
            /// # Errors
            /// [`Error::Timeout`](crate::Error::Timeout) (nothing is left behind), or
            /// [`Error::Deadlock`](crate::Error::Deadlock) when the time is up and the
            /// holder waits for a lock that this database handle holds; that at once
            /// when another handle of this database handle holds this lock, because
            /// nobody could release it while this call waits.
            /// [`Error::AlreadyHeld`](crate::Error::AlreadyHeld),
            /// [`Error::WaitCleared`](crate::Error::WaitCleared),
            /// [`Error::InTransaction`](crate::Error::InTransaction).
            pub fn acquire(&self, options: &crate::LockOptions) -> crate::Result<()> {
                self.owner.acquire(options)
            }

            /// Takes the lock if nobody holds or awaits it; false otherwise, and
            /// nothing changed. `ttl` none is 60 s. Waits for nothing but SQLite's write lock.
            ///
            /// # Errors
            /// As [`Self::acquire`], except for the timeout.
            pub fn try_acquire(&self, ttl: Option<std::time::Duration>) -> crate::Result<bool> {
                self.owner.try_acquire(ttl)
            }

            /// Gives the lock back.
            ///
            /// # Errors
            /// [`Error::LockLost`](crate::Error::LockLost): it was lost before; the handle
            /// is free again all the same. [`Error::NotHeld`](crate::Error::NotHeld).
            pub fn release(&self) -> crate::Result<()> {
                self.owner.release()
            }

            /// Lets the lock live `ttl` from now; none: the time it was taken with.
            ///
            /// # Errors
            /// [`Error::LockLost`](crate::Error::LockLost), [`Error::NotHeld`](crate::Error::NotHeld).
            pub fn renew(&self, ttl: Option<std::time::Duration>) -> crate::Result<()> {
                self.owner.renew(ttl)
            }

            /// The fencing token of the lock held: larger for every later grant.
            /// None when this handle doesn't hold it.
            pub fn fencing_token(&self) -> Option<u64> {
                self.owner.fencing_token()
            }

            /// Takes the lock and returns a guard that gives it back when dropped.
            ///
            /// When this handle holds the lock already, the guard is nested: it waits for
            /// nothing but SQLite's write lock, sees to it that the lock lives at least
            /// `options.ttl` from now, and leaves it to the outer one at its end.
            ///
            /// # Errors
            /// As [`Self::acquire`], except that holding the lock already is none.
            /// [`Error::LockLost`](crate::Error::LockLost) when it was held and is lost.
            pub fn guard(
                &self,
                options: &crate::LockOptions,
            ) -> crate::Result<crate::Guard<'_, Self>> {
                crate::Guard::new(self, options)
            }

            /// The proposal's `with`: runs `body` while holding the lock, and gives
            /// it back whether `body` returns, fails or panics. May be nested, as
            /// [`Self::guard`].
            ///
            /// # Errors
            /// Those of `body` and of [`Self::guard`]; [`Error::LockLost`](crate::Error::LockLost)
            /// when the lock was lost by the end.
            pub fn with<T>(
                &self,
                options: &crate::LockOptions,
                body: impl FnOnce(&Self) -> crate::Result<T>,
            ) -> crate::Result<T> {
                let guard = self.guard(options)?;
                let value = body(&guard)?;
                guard.release()?;
                Ok(value)
            }
        }

        impl crate::guard::Sealed for $type {
            fn owner(&self) -> &crate::owner::Owner {
                &self.owner
            }
        }

        impl crate::Lockable for $type {}
    };
}
pub(crate) use lock_methods;
