//! Options with Rust's durations and defaults.

use std::time::Duration;

use super::{Durability, GuardMode, Journal, OpenMode};
use crate::bindings::exports::beaver::db::{database, types};

/// How to open a database. The default is that of the interface for each `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// What to do when the file isn't there, and whether to write. Default:
    /// create it.
    pub mode: Option<OpenMode>,
    /// What a manager's lock means for writers that don't hold it. Default:
    /// they wait for it.
    pub guard_mode: Option<GuardMode>,
    /// When a commit is safe from power loss. Default: with the next sync.
    pub durability: Option<Durability>,
    /// Which journal to use. Default: WAL where the host can share it.
    pub journal: Option<Journal>,
    /// How long to wait for SQLite's write lock. Default: 30 seconds.
    pub busy_timeout: Option<Duration>,
    /// How long a write waits for a manager's lock that somebody else holds.
    /// Default: 5 seconds.
    pub lock_wait: Option<Duration>,
}

impl OpenOptions {
    pub(super) fn to_wit(self) -> database::Options {
        database::Options {
            mode: self.mode,
            guard_mode: self.guard_mode,
            durability: self.durability,
            journal: self.journal,
            busy_timeout: self.busy_timeout.map(nanoseconds),
            lock_wait: self.lock_wait.map(nanoseconds),
        }
    }
}

/// How to wait for a lock and how long to hold it.
#[derive(Debug, Clone, Copy, Default)]
pub struct LockOptions {
    /// How long to wait; `None` waits for ever, zero tries once.
    pub timeout: Option<Duration>,
    /// How long the lock lives from its grant unless renewed. Default: 60 seconds.
    pub ttl: Option<Duration>,
}

impl LockOptions {
    pub(super) fn to_wit(self) -> types::LockOptions {
        types::LockOptions {
            timeout: self.timeout.map(nanoseconds),
            ttl: self.ttl.map(nanoseconds),
        }
    }
}

/// 584 years are as good as more.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
