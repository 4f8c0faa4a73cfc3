//! What a commit concerns and a wait is for, as numbers that a host compares.
//!
//! What must stay true:
//! - Two names may have one number: that costs somebody a look, nothing else.
//! - The numbers are the same in every build that may share a file, or one would
//!   not be woken by the other's announcement: FNV-1a of the text.
//! - **A commit says all that it concerns, or nothing** (then it may concern anybody).
//!   So each change of rows that somebody waits for names its topic where it is
//!   made, and a transaction that named none isn't announced.

use crate::database::Database;

/// Of a change that nobody waits for.
pub(crate) const NOBODY: u64 = 0;

/// More than this in one transaction aren't worth saying.
const TOPICS_MAX: usize = 64;

/// The line of a lock.
pub(crate) fn lock(lock_name: &str) -> u64 {
    fnv1a("lock:", lock_name)
}

/// The contents of a manager, by its cache namespace.
pub(crate) fn contents(namespace: &str) -> u64 {
    fnv1a("", namespace)
}

/// <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>
fn fnv1a(prefix: &str, text: &str) -> u64 {
    let bytes = prefix.bytes().chain(text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Database {
    /// Notes that the open write transaction concerns `topic`.
    pub(crate) fn concerns(&self, topic: u64) {
        let mut topics = self.inner.topics.borrow_mut();
        if topics.len() <= TOPICS_MAX && !topics.contains(&topic) {
            topics.push(topic);
        }
    }

    /// A new transaction concerns nobody yet.
    pub(crate) fn forget_topics(&self) {
        self.inner.topics.borrow_mut().clear();
    }

    /// Says what the transaction that was just committed concerned.
    pub(crate) fn announce(&self) {
        let inner = &*self.inner;
        let topics = inner.topics.borrow();
        if !topics.is_empty() && topics.len() <= TOPICS_MAX {
            inner.runtime.announce(&inner.connection, &topics);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_fnv_1a() {
        // From the draft's test vectors.
        assert_eq!(fnv1a("", ""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("", "foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(fnv1a("foo", "bar"), 0x8594_4171_f739_67e8);
        assert_ne!(lock("dict:a"), contents("dict:a"));
    }
}
