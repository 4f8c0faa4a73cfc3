//! The one seam for time, randomness and waiting.
//!
//! Persisted stamps use the wall clock, waiting uses the monotonic clock. No
//! other file may read a clock or sleep, so that tests and the simulator
//! control both here.

use crate::claims::Claims;
use crate::error::{Error, Outcome, Result};
use rusqlite::Connection;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// What has to change.
    pub topic: u64,
    /// Its place among those of one process that wait for the same: a change
    /// concerns the one with the least (of equal ones, the first), and the next once
    /// that one waits no longer. None: it concerns this connection in any case.
    pub turn: Option<u64>,
    /// The end of this claim concerns it too.
    pub claim: Option<u64>,
}

/// Clocks, randomness and waiting.
pub trait Runtime {
    /// The wall clock: seconds since 1970-01-01 UTC.
    fn unix_seconds(&self) -> f64;

    /// The monotonic clock: time since some fixed moment.
    fn monotonic(&self) -> Duration;

    /// 128 random bits, unique among all owners of a file.
    fn random(&self) -> u128;

    /// 128 random bits that nobody can foretell, for cryptography.
    ///
    /// # Errors
    /// When the system has none to give.
    fn secure_random(&self) -> Result<u128> {
        Ok(self.random())
    }

    /// Blocks for `duration`, by which the monotonic clock then has gone on at least. Natively this
    /// is how a write waits for SQLite's write lock, too.
    fn sleep(&self, duration: Duration);

    /// A number that changes whenever anybody commits to the file; none where
    /// that can't be told cheaply.
    fn change_token(&self, _connection: &Connection) -> Option<u64> {
        None
    }

    /// What this connection waits for in [`Runtime::wait_change`] from now on;
    /// none: for any change.
    fn watch(&self, _connection: &Connection, _interest: Option<Interest>) {}

    /// Says which topics this connection's last commit concerned. A commit of which
    /// this isn't said may concern any.
    fn announce(&self, _connection: &Connection, _topics: &[u64]) {}

    /// Blocks until something has changed since `seen` that this connection
    /// watches, at most `timeout`. May return early. Without tokens it sleeps for a
    /// polling interval.
    fn wait_change(&self, _connection: &Connection, _seen: Option<u64>, timeout: Duration) {
        self.sleep(timeout.min(POLL_INTERVAL));
    }

    /// Claims these tokens (below 2^61) for as long as the connection is open, in a
    /// way that ends with it however it ends. False where that can't be done, or somebody
    /// else has claimed one.
    fn claim(&self, _connection: &Connection, _tokens: Range<u64>) -> bool {
        false
    }

    /// Ends the claim on one of them. False where that can't be done.
    fn end_claim(&self, _connection: &Connection, _token: u64) -> bool {
        false
    }

    /// Ends all claims of a connection that is about to be closed, where that isn't
    /// seen otherwise.
    fn end_claims(&self, _connection: &Connection) {}

    /// Whether an *other* connection has a claim on `token`; none where that can't
    /// be told.
    fn is_claimed(&self, _connection: &Connection, _token: u64) -> Option<bool> {
        None
    }

    /// Whether it is sure that no *other* connection has a claim on `token`.
    fn is_gone(&self, connection: &Connection, token: u64) -> bool {
        self.is_claimed(connection, token) == Some(false)
    }

    /// Whether two names are sure to be the same file's.
    fn is_same_file(&self, one: &str, other: &str) -> bool {
        one == other
    }

    /// What stands behind SQLite's "unable to open database file".
    fn explain_cannot_open(&self, path: &str) -> Error;
}

/// How often a waiter looks where nothing wakes it. A look costs about 10 µs,
/// so a waiter costs about 1 % of a core; BeaverDB's own interval is 100 ms.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// How soon whoever has asked so often already asks again: at first after less than a short
/// transaction takes, in the end each [`POLL_INTERVAL`]. As a host does (`host/storage/shm_wait.rs`).
pub(crate) fn pause_before(asked_before: u32) -> Duration {
    (Duration::from_micros(50) * (1 << asked_before.min(16))).min(POLL_INTERVAL)
}

/// The operating system's clocks and randomness, and on 64-bit Linux its file locks as
/// claims: the first one of a process starts a thread (`beaver-claims`), which stays.
#[derive(Debug)]
pub struct SystemRuntime {
    start: Instant,
    claims: Claims,
}

impl SystemRuntime {
    /// A runtime whose monotonic clock starts now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            claims: Claims::default(),
        }
    }
}

impl Default for SystemRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl Runtime for SystemRuntime {
    fn unix_seconds(&self) -> f64 {
        // A clock before 1970 still gives a usable, ordered stamp.
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => since.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn random(&self) -> u128 {
        // Without a random source the clock and the process still tell owners apart.
        self.secure_random().unwrap_or_else(|_| {
            let nanos = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_nanos());
            nanos << 32 | u128::from(std::process::id())
        })
    }

    fn secure_random(&self) -> Result<u128> {
        let mut bytes = [0; 16];
        match getrandom::fill(&mut bytes) {
            Ok(()) => Ok(u128::from_le_bytes(bytes)),
            Err(error) => Err(Error::Failed {
                message: format!("the system gives no random numbers: {error}"),
                outcome: Outcome::NotApplied,
            }),
        }
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn claim(&self, connection: &Connection, tokens: Range<u64>) -> bool {
        self.claims.claim(connection, tokens)
    }

    fn end_claim(&self, connection: &Connection, token: u64) -> bool {
        self.claims.end(connection, token)
    }

    fn end_claims(&self, connection: &Connection) {
        self.claims.end_all(connection);
    }

    fn is_claimed(&self, connection: &Connection, token: u64) -> Option<bool> {
        self.claims.is_claimed(connection, token)
    }

    fn is_same_file(&self, one: &str, other: &str) -> bool {
        let real = |name: &str| std::fs::canonicalize(name).ok();
        one == other || real(one).is_some_and(|path| Some(path) == real(other))
    }

    fn explain_cannot_open(&self, path: &str) -> Error {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Error::NotFound,
            _ => Error::AccessDenied,
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// The system's, and knows this about the claims of others.
    pub(crate) struct Telling<F> {
        system: SystemRuntime,
        is_claimed: F,
    }

    impl<F: Fn(u64) -> Option<bool>> Telling<F> {
        pub(crate) fn of(is_claimed: F) -> Self {
            Self {
                system: SystemRuntime::new(),
                is_claimed,
            }
        }
    }

    impl<F: Fn(u64) -> Option<bool>> Runtime for Telling<F> {
        fn unix_seconds(&self) -> f64 {
            self.system.unix_seconds()
        }
        fn monotonic(&self) -> Duration {
            self.system.monotonic()
        }
        fn random(&self) -> u128 {
            self.system.random()
        }
        fn sleep(&self, duration: Duration) {
            self.system.sleep(duration);
        }
        fn is_claimed(&self, _: &Connection, token: u64) -> Option<bool> {
            (self.is_claimed)(token)
        }
        fn explain_cannot_open(&self, path: &str) -> Error {
            self.system.explain_cannot_open(path)
        }
    }
}
