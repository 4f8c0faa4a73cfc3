//! The small types of the WIT's `storage` interface, free of any binding.
//!
//! What must stay true: the order of [`LockLevel`] is SQLite's, because
//! "raise" and "lower" compare levels.

/// SQLite's lock levels of a database file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockLevel {
    /// No lock.
    Unlocked,
    /// Reading; any number of holders.
    Shared,
    /// Intends to write; one holder beside readers.
    Reserved,
    /// Waits for the readers to leave; no new readers.
    Pending,
    /// Writing; one holder, no readers.
    Exclusive,
}

/// What a file is to SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// The database.
    MainDb,
    /// The rollback journal, `<database>-journal`.
    MainJournal,
    /// The write-ahead log, `<database>-wal`.
    Wal,
}

/// How to open a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags {
    /// Create the file when it doesn't exist.
    pub create: bool,
    /// With `create`: fail when it exists.
    pub exclusive: bool,
    /// Don't ask for write access.
    pub read_only: bool,
    /// Delete the file when the handle is dropped.
    pub delete_on_close: bool,
}

/// How far a sync goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncKind {
    /// `fdatasync`.
    Data,
    /// `fsync`.
    Full,
}

/// The two kinds of lock on the wal-index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShmLockKind {
    /// Any number of holders.
    Shared,
    /// One holder.
    Exclusive,
}

/// What the storage offers beyond plain files. (`direct-read` is the
/// embedding's to answer: it knows what stands between guest and host.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The wal-index can be mapped, so WAL works.
    pub shared_memory: bool,
    /// `change_token` and `wait_change` work.
    pub wait_change: bool,
    /// `claim` and `is_claimed` work.
    pub claims: bool,
}

/// What one instance may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageLimits {
    /// Open handles at a time.
    pub max_open_files: usize,
    /// The size any one file may be grown to, the wal-index included.
    pub max_file_bytes: u64,
}

impl Default for StorageLimits {
    fn default() -> StorageLimits {
        // Three files per database, and a few databases; sizes are the disk's business.
        StorageLimits {
            max_open_files: 64,
            max_file_bytes: i64::MAX as u64,
        }
    }
}
