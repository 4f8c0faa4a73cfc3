//! Why an operation failed, and whether it took effect.
//!
//! What must stay true: unless [`Error::outcome`] says [`Outcome::Unknown`],
//! the operation definitely did not happen. The history checker depends on it.

use crate::value::TooLarge;
use rusqlite::ErrorCode;
use rusqlite::ffi;

/// The result of an operation on a database.
pub type Result<T> = std::result::Result<T, Error>;

/// Whether a failed operation took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It definitely did not happen.
    NotApplied,
    /// It may or may not have happened.
    Unknown,
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument can't be used.
    #[error("invalid argument: {0}")]
    InvalidArgument(String),
    /// A value isn't JSON.
    #[error("invalid JSON: {0}")]
    InvalidJson(String),
    /// There is no item with this index.
    #[error("the index is out of range")]
    OutOfRange,
    /// The time given for waiting has passed; nothing is left behind.
    #[error("timed out")]
    Timeout,
    /// Somebody else holds the lock (named here) and kept it for as long as the
    /// operation may wait ([`Options::lock_wait`](crate::Options::lock_wait)).
    #[error("locked by another owner: {0}")]
    Locked(String),
    /// Waiting for a lock could not help: its holder waits for this database
    /// handle in turn. The locks of the circle: first the one waited for; whoever
    /// is at the head of each waits for the next; the last is this database
    /// handle's own. Where waiting may help, this comes when the time is up, in
    /// place of [`Error::Timeout`] and [`Error::Locked`].
    ///
    /// One lock alone is held by another handle of the same database handle. Nobody
    /// could release it while the call waits, so this comes at once.
    #[error("{}", describe_circle(.0))]
    Deadlock(Vec<String>),
    /// This handle held the lock (named here) and lost it.
    #[error("lock lost: {0}")]
    LockLost(String),
    /// This handle doesn't hold the lock.
    #[error("the lock is not held by this handle")]
    NotHeld,
    /// This handle holds the lock already.
    #[error("the lock is already held by this handle")]
    AlreadyHeld,
    /// This handle's place in the queue for the lock was removed.
    #[error("the place in the lock's queue was removed")]
    WaitCleared,
    /// SQLite's write lock could not be had in time.
    #[error("the database is busy")]
    Busy,
    /// Not possible while a transaction is open on this database handle.
    #[error("a transaction is open on this database handle")]
    InTransaction,
    /// The transaction has ended already.
    #[error("the transaction has ended already")]
    NoTransaction,
    /// What this handle stands for is no longer what it was when the handle was
    /// opened: a blob's reader after the blob was replaced or removed, a
    /// blob's writer whose pieces are gone, a dump when the number of items
    /// has changed.
    #[error("what the handle stands for has changed")]
    Changed,
    /// The value, with what comes with it, has more bytes (given here) than one call
    /// returns: [`MAX_VALUE_BYTES`](crate::MAX_VALUE_BYTES) and a little. None of ours
    /// does but a blob; others store larger ones.
    #[error("a value of {0} bytes is too large to be returned at once")]
    TooLarge(u64),
    /// The file can't be written.
    #[error("the database is read-only")]
    ReadOnly,
    /// The device or a limit is exhausted.
    #[error("the device is full or a limit is reached")]
    Full,
    /// The file isn't one that this package can use.
    #[error("unsupported format: {0}")]
    UnsupportedFormat(String),
    /// The file is in WAL mode and the wal-index can't be shared here.
    #[error("the file is in WAL mode, and this host can't share the wal-index")]
    WalUnsupported,
    /// There is no such database.
    #[error("no such database")]
    NotFound,
    /// There is something of this name already, and it was not to be replaced.
    #[error("a file of this name exists already")]
    Exists,
    /// Access was refused.
    #[error("access denied")]
    AccessDenied,
    /// The secret isn't the one that the dictionary (named here) is encrypted with.
    #[error("wrong secret for dictionary {0:?}")]
    WrongSecret(String),
    /// The file is damaged, or an encrypted value was changed.
    #[error("corrupt: {0}")]
    Corrupt(String),
    /// No memory left.
    #[error("out of memory")]
    OutOfMemory,
    /// Anything else.
    #[error("{message}")]
    Failed {
        /// For a person.
        message: String,
        /// Whether the operation took effect.
        outcome: Outcome,
    },
}

fn describe_circle(locks: &[String]) -> String {
    match locks {
        [own] => format!(
            "deadlock: {own} is held by another handle of the same database handle, \
             which can't release it while this call waits"
        ),
        [wanted, between @ .., own] => {
            let mut text = format!("deadlock: {wanted} is kept by somebody who waits for ");
            for lock in between {
                text += &format!("{lock}, which is kept by somebody who waits for ");
            }
            text + own + ", which this database handle keeps"
        }
        [] => "deadlock".to_owned(),
    }
}

impl Error {
    /// Whether the operation took effect.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Failed { outcome, .. } => *outcome,
            _ => Outcome::NotApplied,
        }
    }

    /// The error of a `COMMIT`. Whatever fails there may fail after the commit
    /// record was written, so whoever opens the file next may see it. Only
    /// `SQLITE_BUSY` comes before it, and `SQLITE_FULL`, which our VFS as well as
    /// SQLite's own gives for a write alone: then the record isn't whole.
    pub(crate) fn at_commit(error: rusqlite::Error) -> Self {
        match Self::from(error) {
            before @ (Self::Busy | Self::Full) => before,
            other => Self::Failed {
                message: format!("at commit: {other}"),
                outcome: Outcome::Unknown,
            },
        }
    }
}

/// What SQLite says without a code of its own, and with no place in the statement by which the case
/// below would know it, when a table, an index or a trigger of the file isn't ours, or the file's header
/// isn't a database's.
const NOT_OURS: [&str; 4] = [
    "ON CONFLICT clause does not match any PRIMARY KEY or UNIQUE constraint",
    "may not be modified",
    "invalid fts5 file format",
    // No database is ever attached but by VACUUM, which gives the new file the old one's encoding.
    "attached databases must use the same text encoding as main database",
];

/// Our statements are right, so the tables aren't.
fn not_ours(said: &str) -> Error {
    Error::UnsupportedFormat(format!("a table isn't BeaverDB 1.x's: {said}"))
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as Sql;
        if let Sql::FromSqlConversionFailure(_, _, inner) = &error
            && let Some(TooLarge(bytes)) = inner.downcast_ref()
        {
            return Self::TooLarge(*bytes as u64);
        }
        match &error {
            Sql::SqliteFailure(failure, message) => {
                let text = message.clone().unwrap_or_else(|| failure.to_string());
                match failure.code {
                    ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy,
                    ErrorCode::ReadOnly => Self::ReadOnly,
                    ErrorCode::DiskFull | ErrorCode::TooBig => Self::Full,
                    ErrorCode::DatabaseCorrupt => Self::Corrupt(text),
                    ErrorCode::NotADatabase => {
                        Self::UnsupportedFormat("the file is not a SQLite database".into())
                    }
                    // SQLite has no code of its own for this one.
                    ErrorCode::Unknown if text == "unsupported file format" => {
                        Self::UnsupportedFormat("the file is of a later SQLite's format".into())
                    }
                    ErrorCode::Unknown if NOT_OURS.iter().any(|part| text.contains(part)) => {
                        not_ours(&text)
                    }
                    ErrorCode::OutOfMemory => Self::OutOfMemory,
                    ErrorCode::PermissionDenied | ErrorCode::CannotOpen => Self::AccessDenied,
                    _ if failure.extended_code == ffi::SQLITE_IOERR_NOMEM => Self::OutOfMemory,
                    _ => Self::Failed {
                        message: format!("{text} (SQLite code {})", failure.extended_code),
                        outcome: Outcome::NotApplied,
                    },
                }
            }
            // The text of the statement says nothing to whoever gave a file.
            Sql::SqlInputError { error, msg, .. } if error.extended_code == ffi::SQLITE_ERROR => {
                not_ours(msg)
            }
            Sql::FromSqlConversionFailure(..)
            | Sql::IntegralValueOutOfRange(..)
            | Sql::Utf8Error(..)
            | Sql::InvalidColumnType(..) => {
                Self::Corrupt(format!("a row holds something unexpected: {error}"))
            }
            _ => Self::Failed {
                message: error.to_string(),
                outcome: Outcome::NotApplied,
            },
        }
    }
}
