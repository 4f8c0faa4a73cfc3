//! The names of lock owners in the table, and what they tell about their life.
//!
//! What must stay true: an id is never used twice, and one that starts with
//! `live:` belongs to a connection that holds a claim on the number in it for
//! as long as it is open. So when nobody has that claim, the owner is gone: known,
//! not guessed.

use crate::runtime::Runtime;
use rusqlite::Connection;
use std::cell::Cell;

/// Claims are below 2^61.
const CLAIM_BITS: u32 = 61;

/// Makes the ids of one connection.
#[derive(Debug)]
pub(crate) struct WaiterIds {
    prefix: String,
    /// The claim behind `prefix`, if there is one.
    claim: Option<u64>,
    next: Cell<u64>,
}

impl WaiterIds {
    pub(crate) fn of(connection: &Connection, runtime: &dyn Runtime) -> Self {
        let random = runtime.random();
        let token = (random >> (u128::BITS - CLAIM_BITS)) as u64;
        let claimed = runtime.claim(connection, token);
        Self {
            prefix: if claimed {
                format!("live:{token:016x}")
            } else {
                format!("wasm:{random:032x}")
            },
            claim: claimed.then_some(token),
            next: Cell::new(0),
        }
    }

    /// An id that nobody else uses, nor this connection again.
    pub(crate) fn next(&self) -> String {
        let count = self.next.get();
        self.next.set(count + 1);
        format!("{}:{count}", self.prefix)
    }

    /// The same, if a claim stands behind it.
    pub(crate) fn next_claimed(&self) -> Option<String> {
        self.claim.map(|_| self.next())
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
    /// claim says nothing to ourselves: the kernel tells only of others'.
    pub(crate) fn claim_of_other(&self, waiter_id: &str) -> Option<u64> {
        let token = waiter_id.strip_prefix("live:")?.get(..16)?;
        let token = u64::from_str_radix(token, 16).ok()?;
        // No claim is on such a one: it would be taken for alive for ever.
        (Some(token) != self.claim && token < 1 << CLAIM_BITS).then_some(token)
    }
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
        fn claim(&self, _: &Connection, token: u64) -> bool {
            assert!(token < 1 << CLAIM_BITS);
            self.0
        }
        fn explain_cannot_open(&self, _: &str) -> Error {
            Error::NotFound
        }
    }

    #[test]
    fn only_claimed_ids_of_others_tell_of_a_claim() {
        let connection = Connection::open_in_memory().unwrap();
        let claimed = WaiterIds::of(&connection, &Claiming(true));
        let other = WaiterIds::of(&connection, &Claiming(false));
        let id = claimed.next();
        assert_ne!(id, claimed.next());
        assert_eq!(other.claim_of_other(&id), Some((1 << CLAIM_BITS) - 1));
        assert_eq!(claimed.claim_of_other(&id), None);
        assert_eq!(claimed.claim_of_other(&other.next()), None);
        for foreign in [
            "pid:7:id:x",
            "live:",
            "live:zz",
            "live:ffffffffffffffff:0",
            "live:\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
        ] {
            assert_eq!(claimed.claim_of_other(foreign), None, "{foreign}");
        }
    }
}
