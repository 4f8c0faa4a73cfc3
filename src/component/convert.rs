//! The contract's shared argument types as core's.

use crate::bindings::exports::beaver::db::types;
use beaver_core::LockOptions;
use std::time::Duration;

/// Nanoseconds, where none has a meaning of its own.
pub(crate) fn duration(nanoseconds: Option<types::Duration>) -> Option<Duration> {
    nanoseconds.map(Duration::from_nanos)
}

/// How to wait for a lock and how long to hold it.
pub(crate) fn lock_options(options: types::LockOptions) -> LockOptions {
    LockOptions {
        timeout: duration(options.timeout),
        ttl: duration(options.ttl),
    }
}
