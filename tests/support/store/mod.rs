//! One interface over the native build and the component: a file for each
//! manager, forwarding to one or the other.

#[macro_use]
mod forward;
mod blob;
mod channel;
mod collection;
mod dict;
mod events;
mod list;
mod lock;
mod log;
mod queue;
mod transaction;

pub use blob::{Blob, BlobReader, BlobWriter};
pub use channel::{Channel, Subscription};
pub use collection::Collection;
pub use dict::Dict;
pub use events::Listener;
pub use list::{List, ListItems};
pub use lock::Lock;
pub use log::{Live, Log, Tail};
pub use queue::Queue;
pub use transaction::Transaction;

use crate::component::{Instance, Remote};
use crate::{Error, Journal, Options, Result, System};
use beaver_core as native;
use beaver_host::client;
use std::path::Path;

/// An open database of either system.
#[derive(Debug)]
pub enum Store {
    /// The core in this process.
    Native(native::Database),
    /// The component.
    Component(Remote<client::Database>),
}

impl Store {
    /// Opens the file at `path`. The component is granted its directory.
    ///
    /// # Errors
    /// What opening reports.
    pub fn open(system: System, path: &Path, options: &Options) -> Result<Self> {
        match system {
            System::Native => {
                let path = path.to_str().ok_or(Error::NotFound)?;
                Ok(Self::Native(native::Database::open(path, options)?))
            }
            System::Component => Ok(Self::Component(Instance::start(path)?.open(path, options)?)),
        }
    }

    /// The version that the file names.
    ///
    /// # Errors
    /// What reading reports.
    pub fn format_version(&self) -> Result<Option<String>> {
        match self {
            Self::Native(db) => db.format_version(),
            Self::Component(db) => db.run(async |db, i| db.format_version(i).await),
        }
    }

    /// The journal in use.
    ///
    /// # Errors
    /// When the instance is gone.
    pub fn journal(&self) -> Result<Journal> {
        match self {
            Self::Native(db) => Ok(db.journal()),
            Self::Component(db) => Ok(match db.run(async |db, i| db.journal(i).await)? {
                client::Journal::Rollback => Journal::Rollback,
                _ => Journal::Wal,
            }),
        }
    }

    /// Frames left in the log after a checkpoint.
    ///
    /// # Errors
    /// What it reports.
    pub fn checkpoint(&self) -> Result<u64> {
        match self {
            Self::Native(db) => db.checkpoint(),
            Self::Component(db) => db.run(async |db, i| db.checkpoint(i).await),
        }
    }
}

/// Reads pages to the end.
fn pages<T>(mut next: impl FnMut() -> Result<Vec<T>>) -> Result<Vec<Vec<T>>> {
    let mut pages = Vec::new();
    loop {
        let page = next()?;
        if page.is_empty() {
            return Ok(pages);
        }
        pages.push(page);
    }
}
