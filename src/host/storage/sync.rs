//! The seam for locks: everything here that threads share goes through it, so
//! that a model checker can put its own types in one place.
//!
//! What must stay true: a panic elsewhere while a lock is held must not turn
//! into a panic here. Every critical section of this module leaves its data
//! whole at each point where it can unwind, so poisoning is ignored.

use std::sync::{MutexGuard, PoisonError};

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering, fence};

/// A mutex that ignores poisoning.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Mutex<T> {
        Mutex(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
