//! The managers of `beaver:db` as Rust types.
//!
//! Thin: each method is one call of the interface of the same name in `wit/`,
//! whose texts say what it promises. Methods that take and release a manager's
//! lock are the same on every type that has them.

mod blob;
mod channel;
mod collection;
mod database;
mod dict;
mod dump;
mod events;
pub(crate) mod handle;
pub(crate) mod lifted;
mod list;
mod lock;
mod locking;
mod log;
mod options;
mod queue;
mod transaction;

pub use blob::{Blob, BlobKeyCursor, BlobReader, BlobWriter};
pub use channel::{Channel, MessageCursor, Subscription};
pub use collection::{Collection, DocumentCursor, EdgeCursor, WalkCursor};
pub use database::{Database, ManagerCursor};
pub use dict::{Dict, EntryCursor, KeyCursor, ValueCursor};
pub use dump::{DumpCursor, Loader};
pub use events::Listener;
pub use list::{List, ListCursor};
pub use lock::{Lock, Lockable};
pub use log::{Live, Log, LogCursor, Tail};
pub use options::{LockOptions, OpenOptions};
pub use queue::{ItemCursor, Queue};
pub use transaction::Transaction;

pub use crate::bindings::exports::beaver::db::blob::Content as BlobContent;
pub use crate::bindings::exports::beaver::db::channel::Message;
pub use crate::bindings::exports::beaver::db::collection::{
    Direction, Document, Edge, FullText, Fused, FusedHit, Hit, HybridOptions, IndexOptions,
    MatchOptions, Metric, Ranking, Step, WalkOptions,
};
pub use crate::bindings::exports::beaver::db::database::{
    Durability, GuardMode, IfExists, Journal, ManagerEntry, ManagerKind, OpenMode, Stats,
};
pub use crate::bindings::exports::beaver::db::dict::Entry;
pub use crate::bindings::exports::beaver::db::log::{Entry as LogEntry, Window};
pub use crate::bindings::exports::beaver::db::queue::Item;
pub use crate::bindings::exports::beaver::db::types::{Error as DbError, Failure, Outcome};

/// The error as a sentence.
pub(crate) fn describe(error: &DbError) -> String {
    match error {
        DbError::InvalidArgument(what) => format!("invalid argument: {what}"),
        DbError::InvalidJson(what) => format!("invalid JSON: {what}"),
        DbError::OutOfRange => "the index is out of range".into(),
        DbError::Timeout => "the time given for waiting has passed".into(),
        DbError::Locked(name) => format!("somebody else holds the lock {name}"),
        DbError::Deadlock(locks) => match locks.as_slice() {
            [own] => {
                format!("the lock {own} is held by another handle of the same database handle")
            }
            circle => format!("deadlock: a circle of the locks {}", circle.join(", ")),
        },
        DbError::LockLost(name) => format!("the lock {name} was lost"),
        DbError::NotHeld => "this handle does not hold the lock".into(),
        DbError::AlreadyHeld => "this handle holds the lock already".into(),
        DbError::WaitCleared => "the lock's waiters were cleared".into(),
        DbError::Busy => "another writer kept the database busy".into(),
        DbError::InTransaction => "not possible while a transaction is open".into(),
        DbError::NoTransaction => "the transaction has ended already".into(),
        DbError::Changed => "what the handle stands for has changed".into(),
        DbError::TooLarge(bytes) => format!("{bytes} bytes are too many for one call"),
        DbError::ReadOnly => "the database is read-only".into(),
        DbError::Full => "the device, a quota or a limit is exhausted".into(),
        DbError::UnsupportedFormat(what) => format!("unsupported file: {what}"),
        DbError::WalUnsupported => "the file is in WAL mode, which this host can't share".into(),
        DbError::NotFound => "there is no such database".into(),
        DbError::Exists => "a file of this name exists already".into(),
        DbError::WrongSecret(name) => format!("wrong secret for the dictionary {name}"),
        DbError::AccessDenied => "the name is outside the grant".into(),
        DbError::Corrupt(what) => format!("the file is damaged: {what}"),
        DbError::OutOfMemory => "the component has no memory left".into(),
        DbError::Failed(failure) => match failure.outcome {
            Outcome::NotApplied => failure.message.clone(),
            Outcome::Unknown => format!("{} (it may have happened)", failure.message),
        },
    }
}
