//! BeaverDB's managers and locks over one SQLite file.
//!
//! The same code runs in the WebAssembly component and natively; nothing here
//! knows which. The file format is that of BeaverDB 1.x (the Python package
//! `beaver-db` 1.3.0), which may use the same file at the same time.
//!
//! ```
//! # fn main() -> beaver_core::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("app.db");
//! # let path = path.to_str().unwrap();
//! use beaver_core::{Database, LockOptions, Options};
//! use std::time::Duration;
//!
//! let db = Database::open(path, &Options::default())?;
//! let config = db.dict("config")?;
//! config.with(&LockOptions::timeout(Duration::from_secs(5)), |config| {
//!     let n: u64 = config.get("runs")?.map_or(0, |text| text.parse().unwrap_or(0));
//!     config.set("runs", &(n + 1).to_string(), None)
//! })?;
//! assert_eq!(config.get("runs")?.as_deref(), Some("1"));
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//!
//! A [`Database`] is one SQLite connection and belongs to one thread; open one
//! in each thread. Every handle ([`Dict`], [`List`], [`Queue`], [`Lock`]) is a lock owner
//! of its own, so a second thread never walks in on the first one's lock.
//!
//! # Several locks
//!
//! [`Database::with_all`] takes several locks at once, without a deadlock. Guards
//! of one handle nest. A second handle of the same manager is another owner, also
//! from the same [`Database`]: what would wait there for the first, for ever,
//! ends at once with [`Error::Deadlock`]. Pass the handle on instead of opening
//! it again.
//!
//! # Errors
//!
//! Every failure is an [`Error`] whose [`outcome`](Error::outcome) says whether
//! the operation definitely did not happen.

mod backup;
mod blob;
mod busy;
mod channel;
mod checkpoint;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod claims;
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
#[path = "claims/none.rs"]
mod claims;
mod collection;
mod cursor;
mod database;
mod deadlock;
mod dict;
mod dump;
mod error;
mod events;
mod follow;
mod guard;
mod json;
mod lease;
mod list;
mod lock;
mod lock_set;
mod log;
mod manager;
mod managers;
mod options;
mod orphan;
mod owner;
mod queue;
mod runtime;
mod schema;
mod secret;
mod stats;
mod stream;
mod topic;
mod transaction;
mod vacuum;
mod value;
mod waiter_id;
mod watch;
mod write;

pub use backup::IfExists;
pub use blob::{
    Blob, BlobContent, BlobKeys, BlobReader, BlobWriter, MAX_BLOB_BYTES, MAX_CHUNK_BYTES,
};
pub use channel::{Channel, History, Message, Subscription};
pub use collection::{
    Collection, Direction, Document, Documents, Edge, Edges, FullText, FusedHit, Hit,
    HybridOptions, IndexOptions, MAX_DIMENSIONS, MAX_FUZZINESS, MAX_FUZZY_QUERY_CHARS,
    MAX_QUERY_BYTES, MAX_TOP_K, MAX_WALK_BYTES, MatchOptions, Metric, Ranking, Step, Walk,
    WalkOptions, rerank,
};
pub use database::Database;
pub use dict::{Dict, Entry, Items, Keys, Values};
pub use dump::{Dump, Loader, MAX_DUMP_CHUNK_BYTES};
pub use error::{Error, Outcome, Result};
pub use events::Listener;
pub use guard::{Guard, GuardAll, Lockable};
pub use json::{MAX_DEPTH, python_text};
pub use list::{List, ListItems};
pub use lock::Lock;
pub use log::{Live, Log, LogEntries, LogEntry, Tail, Window};
pub use manager::{MAX_KEY_BYTES, MAX_NAME_BYTES, MAX_VALUE_BYTES};
pub use managers::{ManagerEntry, ManagerKind, Managers};
pub use options::{Durability, GuardMode, Journal, JournalChoice, LockOptions, OpenMode, Options};
pub use queue::{Item, MAX_BATCH, Queue, QueueItems};
pub use runtime::{Interest, Runtime, SystemRuntime};
pub use stats::Stats;
pub use transaction::Transaction;

/// The SQLite that this build carries, for callers that need its C interface.
pub use rusqlite;
