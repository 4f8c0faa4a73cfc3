//! Native claims: a connection locks a byte of its database file, far beyond the
//! data, for its life, so that others can tell for sure when it is gone. The bytes
//! are those that the component's host locks, so either sees the other's.
//!
//! What must stay true:
//! - The kernel ends a claim with its open file description: with the connection
//!   or with the process, and not before. A stopped process keeps its claims.
//! - No descriptor of a database file is closed in a table that SQLite uses: closing
//!   it would drop SQLite's POSIX locks on the file. So claims live in the descriptor
//!   table of a thread of their own (`guardian.rs`).
//! - A claim is on the file that the connection has open, not on one that has
//!   taken its name since.
//! - Where that can't be had (another system, an old kernel, no more descriptors)
//!   nothing is claimed and nothing is told: locks then end by their time to live.

mod guardian;
mod sys;

use guardian::Held;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where claims start, and how many there are: as `host/storage/claim.rs`.
const CLAIMS_AT: u64 = 1 << 62;
const TOKENS: u64 = 1 << 61;

/// A question costs two switches of threads, under load within somebody's write
/// transaction; so long an owner that lived is taken to live on, and so much later
/// its death may be noticed. That one is gone is asked afresh, and final.
const LIVES_FOR: Duration = Duration::from_millis(10);
/// How many of those answers are kept.
const ANSWERS_MAX: usize = 64;

/// The claims of the connections of one runtime.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By connection.
    held: BTreeMap<usize, Held>,
    lived_at: BTreeMap<u64, Instant>,
}

impl Claims {
    pub(crate) fn claim(&self, connection: &Connection, token: u64) -> bool {
        let Some(path) = connection.path().filter(|path| !path.is_empty()) else {
            return false;
        };
        let Some(held) = at(token).and_then(|at| Held::new(path, at)) else {
            return false;
        };
        // Asked once the claim is there: then the name led to the same file before.
        let is_same_file = sys::has_moved(connection) == Some(false);
        if is_same_file {
            self.state().held.insert(sys::key(connection), held);
        }
        is_same_file
    }

    pub(crate) fn is_claimed(&self, connection: &Connection, token: u64) -> Option<bool> {
        let mut state = self.state();
        let now = Instant::now();
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < LIVES_FOR;
        if state.lived_at.get(&token).is_some_and(is_recent) {
            return Some(true);
        }
        let is_claimed = state
            .held
            .get(&sys::key(connection))?
            .is_claimed(at(token)?);
        state.lived_at.remove(&token);
        if is_claimed == Some(true) {
            if state.lived_at.len() >= ANSWERS_MAX {
                state.lived_at.retain(|_, at| is_recent(at));
            }
            if state.lived_at.len() < ANSWERS_MAX {
                state.lived_at.insert(token, now);
            }
        }
        is_claimed
    }

    /// Ends the claim of a connection that is about to be closed.
    pub(crate) fn end(&self, connection: &Connection) {
        let ended = self.state().held.remove(&sys::key(connection));
        drop(ended);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn at(token: u64) -> Option<u64> {
    (token < TOKENS).then(|| CLAIMS_AT + token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &std::path::Path) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection
            .execute_batch("CREATE TABLE IF NOT EXISTS t (x)")
            .unwrap();
        connection
    }

    #[test]
    fn a_claim_is_seen_by_other_connections_until_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let (one, other) = (open(&path), open(&path));
        let claims = Claims::default();
        assert_eq!(claims.is_claimed(&other, 7), None, "it has none itself");
        assert!(claims.claim(&other, 1));
        assert_eq!(claims.is_claimed(&other, 7), Some(false));
        assert!(claims.claim(&one, 7));
        assert_eq!(claims.is_claimed(&other, 7), Some(true));
        assert!(!claims.claim(&other, 7), "taken");
        assert_eq!(Claims::default().is_claimed(&one, 7), None);
        claims.end(&one);
        let runtime = Claims::default();
        assert!(runtime.claim(&one, 2));
        assert_eq!(runtime.is_claimed(&one, 7), Some(false));
        assert_eq!(runtime.is_claimed(&one, 1), Some(true));
        for token in [TOKENS, u64::MAX] {
            assert!(!claims.claim(&one, token));
            assert_eq!(claims.is_claimed(&other, token), None);
        }
    }

    /// The byte that SQLite locks in a write transaction (`RESERVED_BYTE`).
    const RESERVED_AT: u64 = 0x4000_0001;

    #[test]
    fn the_end_of_a_claim_leaves_sqlites_locks_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let writer = open(&path);
        // To an open file description, the process's own POSIX locks are another's.
        let probe = std::fs::File::open(&path).unwrap();
        assert_eq!(sys::is_locked(&probe, RESERVED_AT), Some(false));
        writer.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(sys::is_locked(&probe, RESERVED_AT), Some(true));
        let claims = Claims::default();
        assert!(claims.claim(&writer, 1));
        // Kept open: to close one would drop the locks, whatever claims do.
        let mut others = Vec::new();
        for token in 2..9 {
            let other = open_as_it_is(&path);
            assert!(claims.claim(&other, token));
            assert!(!claims.claim(&other, 1), "closes what it opened for that");
            claims.end(&other);
            others.push(other);
        }
        claims.end(&writer);
        assert_eq!(sys::is_locked(&probe, RESERVED_AT), Some(true));
        writer.execute_batch("COMMIT").unwrap();
        assert_eq!(sys::is_locked(&probe, RESERVED_AT), Some(false));
    }

    fn open_as_it_is(path: &std::path::Path) -> Connection {
        Connection::open(path).unwrap()
    }

    #[test]
    fn nothing_of_it_is_in_the_programs_descriptor_table() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("claimed.db");
        let connection = open(&path);
        let open_now = || {
            let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
            descriptors
                .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
                .filter(|target| *target == path)
                .count()
        };
        let before = open_now();
        let claims = Claims::default();
        assert!(claims.claim(&connection, 1));
        assert_eq!(open_now(), before);
    }

    #[test]
    fn nothing_is_claimed_on_another_file_or_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let claims = Claims::default();
        let moved = open(&path);
        std::fs::rename(&path, directory.path().join("moved.db")).unwrap();
        assert!(!claims.claim(&moved, 7));
        let replaced = open(&path);
        assert!(!claims.claim(&moved, 7));
        assert!(claims.claim(&replaced, 7));
        assert!(!claims.claim(&open(std::path::Path::new(":memory:")), 8));
        assert!(!claims.claim(&open(std::path::Path::new("")), 9));
    }
}
