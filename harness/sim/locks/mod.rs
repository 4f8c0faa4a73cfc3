//! The locks that instances exclude each other by: SQLite's on the database file, those on the
//! wal-index with the queue of those who wait, claims, and who is attached to the wal-index.
//!
//! Plain data for one database: no time, no waiting. Whoever calls makes somebody wait and wakes
//! him; an answer is what `wit/deps/beaver-host/storage.wit` and `src/host/storage/` give.
//!
//! What must stay true: a holder that is gone (`drop_holder`) holds nothing and waits for nothing.

mod attachments;
mod claims;
mod file;
mod shm;

#[cfg(test)]
mod file_model_tests;
#[cfg(test)]
mod shm_model_tests;

pub use attachments::Attachments;
pub use claims::Claims;
pub use file::{FileLocks, LockLevel};
pub use shm::{ShmAnswer, ShmKind, ShmLocks, Ticket, Woken};

/// An open file, of whichever instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder(pub u64);

/// Why a lock on the file or a claim wasn't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Another holder is in the way.
    #[error("another holder has a conflicting lock")]
    Busy,
    /// A step that SQLite never takes, or no such token.
    #[error("an argument is out of range")]
    InvalidArgument,
    /// This holder would have claimed more tokens, or more pieces of them, than it may.
    #[error("this holder has claimed as much as it may")]
    Full,
}

/// Planted defects, by which the simulator shows that it finds such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockFaults {
    /// Reserved and exclusive are granted although others hold reserved or more. Readers still
    /// count.
    pub level_dropped: bool,
    /// Exclusive locks on the wal-index conflict with nobody.
    pub shm_ignored: bool,
}
