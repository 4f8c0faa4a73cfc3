//! Knows, independently of the component's SQLite, which commits a database has seen and what
//! must survive.
//!
//! The component's own SQLite can't be asked: it may be what is broken. So this reads the bytes of
//! the files by the documented formats (<https://sqlite.org/fileformat2.html>) and never
//! writes any. A [`Ledger`] records the commits as they are published and says after a crash or a
//! power loss which of them the surviving files hold. [`Verdict`] asks native SQLite whether an
//! image is a sound database.
//!
//! What must stay true: nothing here depends on the disk's or the scheduler's inner workings, only
//! on [`Files`]; and whatever bytes are read, nothing panics.

mod digest;
mod durability;
mod error;
mod image;
mod index;
mod journal;
mod ledger;
#[cfg(test)]
mod ledger_tests;
mod recovery;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod testing;
mod verdict;
mod wal;

pub use durability::{Durability, Mark};
pub use error::AuditError;
pub use image::recovered_image;
pub use ledger::{Commit, Journal, Ledger};
pub use recovery::{Fall, Recovered};
pub use verdict::{Contents, Verdict, Waiter};

/// One of the files that make up a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// The database itself.
    Database,
    /// The write-ahead log, `<database>-wal`.
    Wal,
    /// The rollback journal, `<database>-journal`.
    Journal,
}

/// The bytes of a database's files at one moment.
pub trait Files {
    /// The file's size in bytes; 0 if there is no such file.
    fn size(&self, which: Which) -> u64;

    /// Fills `buffer` from `offset` bytes on, and says how many bytes there were: fewer than asked
    /// for only where the file ends.
    fn read(&self, which: Which, offset: u64, buffer: &mut [u8]) -> usize;
}
