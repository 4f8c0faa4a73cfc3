//! The proposal's `with`, for Rust: a guard that gives the lock back on every path.

use crate::error::Result;
use crate::options::LockOptions;
use crate::owner::Owner;
use std::ops::Deref;

pub(crate) trait Sealed {
    fn owner(&self) -> &Owner;
}

/// A manager with a lock: [`Dict`](crate::Dict), [`Queue`](crate::Queue), [`Lock`](crate::Lock).
#[expect(private_bounds, reason = "sealed: a guard needs the owner inside")]
pub trait Lockable: Sealed {}

/// Holds the lock of a manager until dropped. Writes through it, or through
/// the manager itself, verify that the lock is still held; reads don't.
#[derive(Debug)]
#[must_use = "the lock is given back when the guard is dropped"]
pub struct Guard<'a, M: Lockable> {
    manager: &'a M,
}

impl<'a, M: Lockable> Guard<'a, M> {
    pub(crate) fn new(manager: &'a M, options: &LockOptions) -> Result<Self> {
        manager.owner().acquire(options)?;
        Ok(Self { manager })
    }

    /// Gives the lock back and says if it had been lost.
    ///
    /// # Errors
    /// [`Error::LockLost`](crate::Error::LockLost).
    pub fn release(self) -> Result<()> {
        self.manager.owner().release()
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
        self.manager.owner().give_up();
    }
}
