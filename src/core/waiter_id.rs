//! The names of lock owners in the table, and what they tell about their life.
//!
//! What must stay true:
//! - An id is never used twice.
//! - One that starts with `live:` belongs to a connection that holds claims for as long as it is
//!   open: on the number in it, for itself, and on one more for each id, as far as they go. So when
//!   nobody has an id's claim, nobody stands behind it any more: known, not guessed. Either the
//!   connection is gone, or it has given that row up and could not delete it.

use crate::runtime::Runtime;
use rusqlite::Connection;
use std::cell::Cell;
use std::ops::Range;

/// Claims are below 2^61.
const TOKEN_BITS: u32 = 61;
/// How many bits of a token tell the ids of a connection apart. The others tell connections apart,
/// of which few are open at a time.
const ID_BITS: u32 = 28;
/// How many tokens a connection claims.
const TOKENS: u64 = 1 << ID_BITS;

/// Makes the ids of one connection.
#[derive(Debug)]
pub(crate) struct WaiterIds {
    prefix: String,
    /// The first of the tokens behind `prefix`, if they are claimed.
    base: Option<u64>,
    next: Cell<u64>,
}

impl WaiterIds {
    pub(crate) fn of(connection: &Connection, runtime: &dyn Runtime) -> Self {
        for _ in 0..TRIES {
            let random = runtime.random();
            let base = connection_of_token((random >> (u128::BITS - TOKEN_BITS)) as u64);
            if runtime.claim(connection, base..base + TOKENS) {
                let rest = random as u64;
                return Self {
                    prefix: format!("live:{base:016x}{rest:016x}"),
                    base: Some(base),
                    next: Cell::new(0),
                };
            }
        }
        Self {
            prefix: format!("wasm:{:032x}", runtime.random()),
            base: None,
            next: Cell::new(0),
        }
    }

    /// All that it claims.
    pub(crate) fn tokens(&self) -> Option<Range<u64>> {
        self.base.map(|base| base..base + TOKENS)
    }

    /// An id that nobody else uses, nor this connection again.
    pub(crate) fn next(&self) -> String {
        let count = self.next.get();
        self.next.set(count + 1);
        format!("{}:{count}", self.prefix)
    }

    /// The same, if a claim stands behind it.
    pub(crate) fn next_claimed(&self) -> Option<String> {
        self.base.map(|_| self.next())
    }

    /// What `waiter_id` has in common with all others of its connection; none
    /// for those of Python, which don't tell a thread from its process.
    pub(crate) fn connection_of(waiter_id: &str) -> Option<&str> {
        let (connection, _) = waiter_id.rsplit_once(':')?;
        (connection.starts_with("live:") || connection.starts_with("wasm:")).then_some(connection)
    }

    /// What all ids of this connection have in common.
    pub(crate) fn connection(&self) -> &str {
        &self.prefix
    }

    /// The claim that stands behind somebody else's `waiter_id`. Our own
    /// claims say nothing to ourselves: the kernel tells only of others'.
    pub(crate) fn claim_of_other(&self, waiter_id: &str) -> Option<u64> {
        let (base, count) = parse(waiter_id)?;
        (Some(base) != self.base).then(|| token(base, count).unwrap_or(base))
    }

    /// The claim behind an id of this connection, and behind no other.
    pub(crate) fn claim_of_own(&self, waiter_id: &str) -> Option<u64> {
        let (base, count) = parse(waiter_id)?;
        token(base, count).filter(|_| Some(base) == self.base)
    }
}

/// Somebody else may have the tokens, by chance. (Or the system has none to give.)
const TRIES: u32 = 3;

/// The first token of the connection whose `token` this is.
fn connection_of_token(token: u64) -> u64 {
    token & !(TOKENS - 1)
}

/// A connection's token and which of its ids this is.
fn parse(waiter_id: &str) -> Option<(u64, u64)> {
    let (connection, id) = waiter_id.strip_prefix("live:")?.split_once(':')?;
    let base = u64::from_str_radix(connection.get(..16)?, 16).ok()?;
    // No claim is on any other number: it would be taken for gone for ever.
    let is_one =
        connection.len() == 32 && base < 1 << TOKEN_BITS && connection_of_token(base) == base;
    let count = id.split_once('+').map_or(id, |(count, _)| count);
    Some((base, count.parse().ok()?)).filter(|_| is_one)
}

/// The token that is for one id alone; none when there are no more.
fn token(base: u64, count: u64) -> Option<u64> {
    (count < TOKENS - 1).then(|| base + 1 + count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::time::Duration;

    struct Claiming(bool);

    impl Runtime for Claiming {
        fn unix_seconds(&self) -> f64 {
            0.0
        }
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
        fn random(&self) -> u128 {
            u128::MAX
        }
        fn sleep(&self, _: Duration) {}
        fn claim(&self, _: &Connection, tokens: Range<u64>) -> bool {
            assert!(tokens.start < tokens.end && tokens.end <= 1 << TOKEN_BITS);
            self.0
        }
        fn explain_cannot_open(&self, _: &str) -> Error {
            Error::NotFound
        }
    }

    #[test]
    fn each_claimed_id_has_a_claim_of_its_own_that_others_know() {
        let connection = Connection::open_in_memory().unwrap();
        let claimed = WaiterIds::of(&connection, &Claiming(true));
        let other = WaiterIds::of(&connection, &Claiming(false));
        let (first, second) = (claimed.next(), claimed.next());
        let base = (1 << TOKEN_BITS) - TOKENS;
        for (id, token) in [(&first, base + 1), (&second, base + 2)] {
            assert_eq!(other.claim_of_other(id), Some(token));
            assert_eq!(other.claim_of_own(id), None);
            assert_eq!(claimed.claim_of_own(id), Some(token));
            assert_eq!(claimed.claim_of_other(id), None);
            assert_eq!(other.claim_of_other(&format!("{id}+5f")), Some(token));
            assert_eq!(WaiterIds::connection_of(id), Some(claimed.connection()));
        }
        let unclaimed = other.next();
        assert_eq!(claimed.claim_of_other(&unclaimed), None);
        assert_eq!(other.claim_of_own(&unclaimed), None);
    }

    #[test]
    fn the_ids_past_the_last_token_live_by_their_connection() {
        let connection = Connection::open_in_memory().unwrap();
        let claimed = WaiterIds::of(&connection, &Claiming(true));
        let other = WaiterIds::of(&connection, &Claiming(false));
        let base = (1 << TOKEN_BITS) - TOKENS;
        claimed.next.set(TOKENS - 2);
        let last = claimed.next();
        assert_eq!(claimed.claim_of_own(&last), Some(base + TOKENS - 1));
        for _ in 0..2 {
            let past = claimed.next();
            assert_eq!(claimed.claim_of_own(&past), None);
            assert_eq!(other.claim_of_other(&past), Some(base));
        }
    }

    #[test]
    fn ids_of_strangers_tell_of_no_claim() {
        let connection = Connection::open_in_memory().unwrap();
        let ids = WaiterIds::of(&connection, &Claiming(true));
        for foreign in [
            "pid:7:id:x",
            "live:",
            "live::",
            "live:zz:0",
            // As before 0.1.0.
            "live:0000000010000000:0",
            "live:00000000100000000000000000000000:",
            "live:00000000100000000000000000000000:x",
            "live:00000000100000000000000000000000:-1",
            "live:00000000100000000000000000000000",
            // Not a connection's first.
            "live:00000000100000010000000000000000:0",
            "live:ffffffffffffffff0000000000000000:0",
            "live:\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}:0",
        ] {
            assert_eq!(ids.claim_of_other(foreign), None, "{foreign}");
        }
        let one = "live:00000000100000000000000000000000:0";
        assert_eq!(ids.claim_of_other(one), Some(0x1000_0001));
    }
}
