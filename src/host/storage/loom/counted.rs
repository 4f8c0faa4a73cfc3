//! `Arc` and `Weak` whose counting loom sees (its own `Arc` has no weak half),
//! with the orderings of std's.
//!
//! What must stay true: between the step on `strong` and the one on the real
//! count there is no other step of the model, so the two agree. Of a model that
//! unwinds, nothing is asked any more (see `sync.rs`).

use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use std::fmt;
use std::thread::panicking;

pub(crate) struct Arc<T> {
    strong: std::sync::Arc<AtomicUsize>,
    value: std::sync::Arc<T>,
}

pub(crate) struct Weak<T> {
    strong: std::sync::Arc<AtomicUsize>,
    value: std::sync::Weak<T>,
}

impl<T> Arc<T> {
    pub(crate) fn new(value: T) -> Arc<T> {
        Arc {
            strong: std::sync::Arc::new(AtomicUsize::new(1)),
            value: std::sync::Arc::new(value),
        }
    }

    pub(crate) fn downgrade(this: &Arc<T>) -> Weak<T> {
        Weak {
            strong: std::sync::Arc::clone(&this.strong),
            value: std::sync::Arc::downgrade(&this.value),
        }
    }

    pub(crate) fn as_ptr(this: &Arc<T>) -> *const T {
        std::sync::Arc::as_ptr(&this.value)
    }
}

impl<T> Weak<T> {
    pub(crate) fn upgrade(&self) -> Option<Arc<T>> {
        self.strong
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |count| {
                (count > 0).then_some(count + 1)
            })
            .ok()?;
        Some(Arc {
            strong: std::sync::Arc::clone(&self.strong),
            value: self.value.upgrade()?,
        })
    }

    pub(crate) fn strong_count(&self) -> usize {
        if panicking() {
            return self.value.strong_count();
        }
        self.strong.load(Ordering::Relaxed)
    }

    /// Whether nobody but these two has a reference of either kind.
    pub(crate) fn is_alone_but_for(&self, other: &Weak<T>) -> bool {
        let ours = std::sync::Arc::strong_count(&self.strong);
        ours == 1 + usize::from(std::sync::Arc::ptr_eq(&self.strong, &other.strong))
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        if !panicking() && self.strong.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
        }
        // `value` drops next, and with the last one what it points to.
    }
}

impl<T> std::ops::Deref for Arc<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> fmt::Debug for Arc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arc")
    }
}

impl<T> fmt::Debug for Weak<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Weak")
    }
}
