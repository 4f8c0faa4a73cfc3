//! What a commit concerns and a wait is for, as numbers that a host compares.
//!
//! What must stay true:
//! - No two names have one number, or the wrong one of those whose turn it is would be
//!   woken. By chance they don't, and nobody finds such names on purpose as
//!   easily as with a weaker hash than SipHash.
//! - The numbers are the same in every build that may share a host process, or one would
//!   not be woken by the other's announcement: SipHash-2-4 with a key of zeros.
//! - **A commit says all that it concerns, or nothing** (then it may concern anybody).
//!   So each change of rows that somebody waits for names its topic where it is
//!   made, and a transaction that named none isn't announced.

use crate::database::Database;
use siphasher::sip::SipHasher24;
use std::hash::Hasher as _;

/// Of a change that nobody waits for.
pub(crate) const NOBODY: u64 = 0;

/// More than this in one transaction aren't worth saying.
const TOPICS_MAX: usize = 64;

/// The line of a lock.
pub(crate) fn lock(lock_name: &str) -> u64 {
    number("lock:", lock_name)
}

/// The contents of a manager, by its cache namespace.
pub(crate) fn contents(namespace: &str) -> u64 {
    number("", namespace)
}

fn number(prefix: &str, text: &str) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(prefix.as_bytes());
    hasher.write(text.as_bytes());
    hasher.finish()
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
    fn numbers_stay_what_they_are() {
        assert_eq!(number("", ""), 0x1e92_4b9d_7377_00d7);
        assert_eq!(number("foo", "bar"), number("", "foobar"));
        assert_ne!(lock("dict:a"), contents("dict:a"));
    }
}
