//! How to open a database and how to take a lock.

use std::time::Duration;

/// What to do when the file isn't there, and whether to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpenMode {
    /// Create the file when it doesn't exist.
    #[default]
    Create,
    /// [`Error::NotFound`](crate::Error::NotFound) when it doesn't exist.
    Existing,
    /// Never write; the file must exist.
    ReadOnly,
}

/// What a manager's lock means for writers that don't hold it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuardMode {
    /// They wait up to [`Options::lock_wait`], then fail with
    /// [`Error::Locked`](crate::Error::Locked). Two handles of one [`Database`](crate::Database)
    /// are two writers too; there waiting can't help, so that is
    /// [`Error::Deadlock`](crate::Error::Deadlock) at once.
    #[default]
    Mandatory,
    /// They write regardless, as the Python package does.
    Advisory,
}

/// When a commit is safe from power loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// SQLite's `synchronous=NORMAL`: a power loss may roll back the last
    /// commits of a WAL database, never corrupt it.
    #[default]
    Normal,
    /// SQLite's `synchronous=EXTRA`: a commit survives power loss, whichever journal there is.
    Full,
}

/// Which journal to ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JournalChoice {
    /// WAL where it works, else a rollback journal.
    #[default]
    Automatic,
    /// WAL, or [`Error::WalUnsupported`](crate::Error::WalUnsupported).
    Wal,
    /// A rollback journal.
    Rollback,
}

/// The journal in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// Write-ahead log.
    Wal,
    /// Rollback journal.
    Rollback,
}

/// How to open a database.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do when the file isn't there.
    pub mode: OpenMode,
    /// What locks mean for those who don't hold them.
    pub guard_mode: GuardMode,
    /// When a commit is safe from power loss.
    pub durability: Durability,
    /// Which journal to ask for.
    pub journal: JournalChoice,
    /// How long to wait for SQLite's write lock. Default 30 s.
    pub busy_timeout: Duration,
    /// How long a write waits for a manager's lock that another owner holds. Default 5 s.
    pub lock_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: OpenMode::default(),
            guard_mode: GuardMode::default(),
            durability: Durability::default(),
            journal: JournalChoice::default(),
            busy_timeout: Duration::from_secs(30),
            lock_wait: Duration::from_secs(5),
        }
    }
}

/// How to wait for a lock and how long to hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockOptions {
    /// How long to wait; none waits for ever, zero tries once.
    pub timeout: Option<Duration>,
    /// How long the lock lives from its grant unless renewed; none is [`LockOptions::DEFAULT_TTL`].
    pub ttl: Option<Duration>,
}

impl LockOptions {
    /// BeaverDB's default time to live.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(60);

    /// Waits at most `timeout`; the default time to live.
    pub fn timeout(timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ttl: None,
        }
    }

    /// The same with a time to live.
    #[must_use]
    pub fn ttl(mut self, lock_ttl: Duration) -> Self {
        self.ttl = Some(lock_ttl);
        self
    }
}
