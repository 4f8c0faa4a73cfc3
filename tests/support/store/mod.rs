//! One interface over the native build and the component: a file for each
//! manager, forwarding to one or the other.

#[macro_use]
mod forward;
mod blob;
mod channel;
mod collection;
mod database;
mod dict;
mod dump;
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
pub use dump::{Dump, Loader};
pub use events::Listener;
pub use list::{List, ListItems};
pub use lock::Lock;
pub use log::{Live, Log, Tail};
pub use queue::Queue;
pub use transaction::Transaction;

use crate::component::{Instance, Remote};
use crate::{Error, Options, Result, System};
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
}

/// An open cursor of either system.
pub struct Cursor<T>(Box<dyn FnMut(u32) -> Result<Vec<T>>>);

impl<T> Cursor<T> {
    fn new(next: impl FnMut(u32) -> Result<Vec<T>> + 'static) -> Self {
        Self(Box::new(next))
    }

    /// As the core's `next_page`.
    ///
    /// # Errors
    /// As the core's.
    pub fn next_page(&mut self, max: u32) -> Result<Vec<T>> {
        (self.0)(max)
    }

    /// The rest, in pages of at most `max`.
    fn pages(mut self, max: u32) -> Result<Vec<Vec<T>>> {
        pages(|| self.next_page(max))
    }
}

impl<T> std::fmt::Debug for Cursor<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor").finish_non_exhaustive()
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
