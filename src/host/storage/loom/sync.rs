//! The seam for the model checker: the names of `../sync.rs` over loom's types
//! (all but `Condvar`, which only the timer's thread has a use for).
//!
//! What must stay true: a model that fails unwinds, and destructors that run
//! meanwhile ask nothing more of loom: its execution is over, and a panic in
//! a destructor would abort the process instead of failing the test.
//!
//! `Arc` is std's: wakers need it. The counting that matters, `registry.rs`'s,
//! is checked with `counted.rs` in this module's place.

use std::sync::OnceLock;
use std::thread::panicking;

pub(crate) use std::sync::atomic::Ordering;
pub(crate) use std::sync::{Arc, Weak};

pub(crate) fn fence(order: Ordering) {
    if !panicking() {
        loom::sync::atomic::fence(order);
    }
}

/// A mutex of the model, which the real one's statics want to be `const`:
/// loom hears of it when it is first locked.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T> {
    turn: OnceLock<loom::sync::Mutex<()>>,
    data: std::sync::Mutex<T>,
}

#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    // Before `turn`: the next thread finds the data free.
    data: std::sync::MutexGuard<'a, T>,
    _turn: Option<loom::sync::MutexGuard<'a, ()>>,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Mutex<T> {
        Mutex {
            turn: OnceLock::new(),
            data: std::sync::Mutex::new(value),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // loom's mutexes aren't poisoned.
        let turn = (!panicking())
            .then(|| self.turn.get_or_init(Default::default).lock().ok())
            .flatten();
        let data = match self.data.try_lock() {
            Ok(data) => data,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // A deadlock that is being unwound, in which another thread of the
            // model holds this.
            Err(std::sync::TryLockError::WouldBlock) => std::process::abort(),
        };
        MutexGuard { data, _turn: turn }
    }
}

impl<T> std::ops::Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> std::ops::DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

/// Readers exclude each other here, too: what they do meanwhile are system calls, of which a model has none.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(Mutex<T>);

pub(crate) use MutexGuard as RwLockReadGuard;
pub(crate) use MutexGuard as RwLockWriteGuard;

impl<T> RwLock<T> {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.lock()
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.lock()
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty $(, $also:ident)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        impl $name {
            pub(crate) fn new(value: $value) -> $name {
                $name(loom::sync::atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                if panicking() { Default::default() } else { self.0.load(order) }
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                if !panicking() {
                    self.0.store(value, order);
                }
            }

            $(
                pub(crate) fn $also(&self, value: $value, order: Ordering) -> $value {
                    if panicking() { Default::default() } else { self.0.$also(value, order) }
                }
            )*
        }
    };
}

atomic!(AtomicBool, bool, swap);
atomic!(AtomicU8, u8, fetch_or, fetch_and);
atomic!(AtomicU64, u64, fetch_add);
atomic!(AtomicUsize, usize, fetch_add, fetch_sub);
