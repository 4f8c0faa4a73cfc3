//! What the tests share: one interface over the native build and the
//! component, files to try them on, and other processes to share those with.
//!
//! What must stay true: a test written against [`Store`] is run against both
//! systems by [`both!`], and nothing here retries, sleeps for luck or hides a
//! result. The host and native SQLite never meet in one process on one file:
//! closing any descriptor would drop SQLite's POSIX locks there.

mod component;
mod process;
mod store;

pub use component::{Host, component_host};
pub use process::{Process, python};
pub use store::{
    Blob, BlobReader, BlobWriter, Channel, Collection, Cursor, Dict, Dump, List, ListItems,
    Listener, Live, Loader, Lock, Log, Queue, Store, Subscription, Tail, Transaction,
};

pub use beaver_core::{
    BlobContent, Direction, Document, Durability, Edge, Entry, Error, FullText, FusedHit,
    GuardMode, Hit, HybridOptions, IfExists, IndexOptions, Item, Journal, JournalChoice,
    LockOptions, LogEntry, ManagerEntry, ManagerKind, MatchOptions, Message, Metric, OpenMode,
    Options, Outcome, Ranking, Result, Stats, Step, WalkOptions, Window,
};

use std::time::Duration;

/// Which implementation a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// The core in this process, over SQLite's own operating-system layer.
    Native,
    /// The component under wasmtime in this process.
    Component,
}

/// A directory with one database file, removed at the end.
#[derive(Debug)]
pub struct Files {
    directory: tempfile::TempDir,
    /// The system that opens stores here.
    pub system: System,
}

impl Files {
    /// A new, empty directory.
    ///
    /// # Panics
    /// When the system has no temporary directory.
    pub fn new(system: System) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("beaver-test-")
            .tempdir()
            .unwrap_or_else(|error| panic!("a temporary directory: {error}"));
        Self { directory, system }
    }

    /// The directory.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// The database file `app.db`.
    pub fn database(&self) -> std::path::PathBuf {
        self.directory.path().join("app.db")
    }

    /// Opens it with the default options.
    ///
    /// # Panics
    /// When it can't be opened.
    pub fn open(&self) -> Store {
        self.open_with(&Options::default())
            .unwrap_or_else(|error| panic!("open: {error}"))
    }

    /// Opens it.
    ///
    /// # Errors
    /// What opening reports.
    pub fn open_with(&self, options: &Options) -> Result<Store> {
        Store::open(self.system, &self.database(), options)
    }
}

/// Runs a test for the native build and for the component.
#[macro_export]
macro_rules! both {
    ($($(#[$meta:meta])* fn $name:ident($files:ident: &Files) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                fn check($files: &$crate::Files) $body

                #[test]
                $(#[$meta])*
                fn native() {
                    check(&$crate::Files::new($crate::System::Native));
                }

                #[test]
                $(#[$meta])*
                fn component() {
                    check(&$crate::Files::new($crate::System::Component));
                }
            }
        )*
    };
}

/// Milliseconds.
pub const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Seconds.
pub const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Waits for `condition`, which another thread or process brings about; fails
/// the test after a minute, which only says that it never came.
///
/// # Panics
/// After a minute.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < s(60), "{what}: not after a minute");
        std::thread::sleep(ms(1));
    }
}
