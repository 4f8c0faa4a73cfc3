//! Native claims: a connection locks bytes of its database file, far beyond the
//! data, for its life, so that others can tell for sure when it is gone (or when it has
//! given up what one of them stands for). The bytes
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
use std::ops::Range;
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
    /// What was locked in one piece, by its first byte: one connection's, but for what that
    /// one has given up. So whoever asks for one of its rows after the other learns of each
    /// that was given up, however often it asks for the others.
    lived: BTreeMap<u64, Piece>,
}

#[derive(Debug)]
struct Piece {
    end: u64,
    at: Instant,
}

impl Piece {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < LIVES_FOR
    }
}

impl State {
    /// Whether an answer says so of the byte `at`.
    fn lives(&self, at: u64, now: Instant) -> bool {
        let piece = self.lived.range(..=at).next_back();
        piece.is_some_and(|(_, piece)| at < piece.end && piece.is_recent(now))
    }

    fn lived(&mut self, bytes: Range<u64>, now: Instant) {
        // An older answer for a part of it, from when it was in pieces, would hide it.
        self.lived
            .retain(|start, piece| !bytes.contains(start) && piece.is_recent(now));
        if self.lived.len() < ANSWERS_MAX {
            let piece = Piece {
                end: bytes.end,
                at: now,
            };
            self.lived.insert(bytes.start, piece);
        }
    }
}

impl Claims {
    /// Claims these tokens until [`Claims::end`] or [`Claims::end_all`].
    pub(crate) fn claim(&self, connection: &Connection, tokens: Range<u64>) -> bool {
        let Some(path) = connection.path().filter(|path| !path.is_empty()) else {
            return false;
        };
        let Some(bytes) = bytes(tokens) else {
            return false;
        };
        let key = sys::key(connection);
        if let Some(held) = self.state().held.get(&key) {
            return held.add(bytes);
        }
        let Some(held) = Held::new(path, bytes) else {
            return false;
        };
        // Asked once the claim is there: then the name led to the same file before.
        let is_same_file = sys::has_moved(connection) == Some(false);
        if is_same_file {
            self.state().held.insert(key, held);
        }
        is_same_file
    }

    pub(crate) fn is_claimed(&self, connection: &Connection, token: u64) -> Option<bool> {
        let at = bytes(token..token.checked_add(1)?)?.start;
        let mut state = self.state();
        let now = Instant::now();
        if state.lives(at, now) {
            return Some(true);
        }
        let claimed = state.held.get(&sys::key(connection))?.claimed(at)?;
        let is_claimed = claimed.is_some();
        if let Some(piece) = claimed {
            state.lived(piece, now);
        }
        Some(is_claimed)
    }

    /// Ends the claim of a connection on one token.
    pub(crate) fn end(&self, connection: &Connection, token: u64) -> bool {
        let bytes = token.checked_add(1).and_then(|end| bytes(token..end));
        let state = self.state();
        let held = state.held.get(&sys::key(connection));
        held.zip(bytes)
            .is_some_and(|(held, bytes)| held.remove(bytes))
    }

    /// Ends all claims of a connection that is about to be closed.
    pub(crate) fn end_all(&self, connection: &Connection) {
        let ended = self.state().held.remove(&sys::key(connection));
        drop(ended);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(tokens: Range<u64>) -> Option<Range<u64>> {
    let is_some = tokens.start < tokens.end && tokens.end <= TOKENS;
    is_some.then(|| CLAIMS_AT + tokens.start..CLAIMS_AT + tokens.end)
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

    /// The tokens of some connection.
    fn of(number: u64) -> Range<u64> {
        let first = number << 28;
        first..first + 4
    }

    #[test]
    fn a_claim_is_seen_by_other_connections_until_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let (one, other) = (open(&path), open(&path));
        let claims = Claims::default();
        let first = of(7).start;
        assert_eq!(claims.is_claimed(&other, first), None, "it has none itself");
        assert!(claims.claim(&other, of(1)));
        assert_eq!(claims.is_claimed(&other, first), Some(false));
        assert!(claims.claim(&one, of(7)));
        assert_eq!(claims.is_claimed(&other, first), Some(true));
        assert!(!claims.claim(&other, of(7)), "taken");
        assert_eq!(Claims::default().is_claimed(&one, first), None);
        claims.end_all(&one);
        let runtime = Claims::default();
        assert!(runtime.claim(&one, of(2)));
        assert_eq!(runtime.is_claimed(&one, first), Some(false));
        assert_eq!(runtime.is_claimed(&one, of(1).start), Some(true));
        for none in [TOKENS, u64::MAX] {
            assert!(!claims.claim(&one, 0..none.saturating_add(1)));
            assert!(!claims.end(&one, none));
            assert_eq!(claims.is_claimed(&other, none), None);
        }
        assert!(!claims.claim(&one, 5..5), "none at all");
    }

    #[test]
    fn a_claim_on_one_token_ends_alone_and_may_be_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let (one, other) = (open(&path), open(&path));
        let claims = Claims::default();
        let first = of(7).start;
        assert!(!claims.end(&one, first), "it has none");
        assert!(claims.claim(&one, of(7)));
        assert!(claims.end(&one, first + 1));
        // Each is asked by a runtime that has no answer yet.
        let asked = |number: u64, token: u64| {
            let runtime = Claims::default();
            let asking = open_as_it_is(&path);
            assert!(runtime.claim(&asking, of(number)));
            let answer = runtime.is_claimed(&asking, token);
            runtime.end_all(&asking);
            answer
        };
        assert_eq!(asked(1, first + 1), Some(false));
        assert_eq!(asked(2, first), Some(true));
        assert_eq!(asked(3, first + 2), Some(true));
        let again = first + 1..first + 2;
        assert!(claims.claim(&one, again.clone()));
        assert_eq!(asked(4, first + 1), Some(true));
        assert!(claims.end(&one, first + 1));
        assert!(claims.claim(&other, again.clone()));
        assert!(!claims.claim(&one, again), "taken");
    }

    #[test]
    fn who_is_asked_for_often_hides_nothing_that_it_gave_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let (one, other) = (open(&path), open(&path));
        let (claims, asking) = (Claims::default(), Claims::default());
        let first = of(7).start;
        assert!(claims.claim(&one, of(7)));
        assert!(asking.claim(&other, of(1)));
        assert_eq!(asking.is_claimed(&other, first), Some(true));
        assert!(claims.end(&one, first + 1));
        let start = Instant::now();
        while asking.is_claimed(&other, first + 1) == Some(true) {
            assert!(start.elapsed() < Duration::from_secs(60), "never noticed");
            assert_eq!(asking.is_claimed(&other, first), Some(true));
            assert_eq!(asking.is_claimed(&other, first + 2), Some(true));
        }
    }

    #[test]
    fn no_answer_from_before_hides_a_later_one() {
        let mut state = State::default();
        let start = Instant::now();
        state.lived(0..4, start);
        state.lived(5..10, start);
        let later = start + LIVES_FOR * 2;
        assert!(!state.lives(7, later));
        state.lived(0..10, later);
        for at in 0..10 {
            assert!(state.lives(at, later), "{at}");
        }
        assert!(!state.lives(10, later));
        // Nor is it hidden that a part was given up meanwhile.
        state.lived(0..4, later);
        assert!(state.lives(3, later) && !state.lives(4, later));
    }

    /// The byte that SQLite locks in a write transaction (`RESERVED_BYTE`).
    const RESERVED_AT: u64 = 0x4000_0001;

    fn is_locked(probe: &std::fs::File) -> Option<bool> {
        let locked = sys::locked(probe, &(RESERVED_AT..RESERVED_AT + 1))?;
        Some(locked.is_some())
    }

    #[test]
    fn the_end_of_a_claim_leaves_sqlites_locks_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let writer = open(&path);
        // To an open file description, the process's own POSIX locks are another's.
        let probe = std::fs::File::open(&path).unwrap();
        assert_eq!(is_locked(&probe), Some(false));
        writer.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(is_locked(&probe), Some(true));
        let claims = Claims::default();
        assert!(claims.claim(&writer, of(1)));
        // Kept open: to close one would drop the locks, whatever claims do.
        let mut others = Vec::new();
        for number in 2..9 {
            let other = open_as_it_is(&path);
            assert!(claims.claim(&other, of(number)));
            assert!(
                !claims.claim(&other, of(1)),
                "closes what it opened for that"
            );
            claims.end_all(&other);
            others.push(other);
        }
        claims.end_all(&writer);
        assert_eq!(is_locked(&probe), Some(true));
        writer.execute_batch("COMMIT").unwrap();
        assert_eq!(is_locked(&probe), Some(false));
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
        assert!(claims.claim(&connection, of(1)));
        assert_eq!(open_now(), before);
    }

    #[test]
    fn nothing_is_claimed_on_another_file_or_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let claims = Claims::default();
        let moved = open(&path);
        std::fs::rename(&path, directory.path().join("moved.db")).unwrap();
        assert!(!claims.claim(&moved, of(7)));
        let replaced = open(&path);
        assert!(!claims.claim(&moved, of(7)));
        assert!(claims.claim(&replaced, of(7)));
        assert!(!claims.claim(&open(std::path::Path::new(":memory:")), of(8)));
        assert!(!claims.claim(&open(std::path::Path::new("")), of(9)));
    }
}
