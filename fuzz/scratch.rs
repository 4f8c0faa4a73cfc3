//! Databases for one input each, on a disk in memory where there is one: an input takes less time
//! than a sync.

use beaver_core::{Database, Options};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Linux's file system in memory.
const IN_MEMORY: &str = "/dev/shm";

/// A folder with a database, gone when this is dropped.
pub(crate) struct Scratch {
    folder: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let parent = Path::new(IN_MEMORY);
        let folder = if parent.is_dir() {
            tempfile::tempdir_in(parent)
        } else {
            tempfile::tempdir()
        };
        Self {
            folder: folder.unwrap(),
        }
    }

    /// For whoever wants more than a database.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the database is, or will be.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("f.db")
    }

    /// Opens it with the default options.
    pub(crate) fn open(&self) -> Database {
        Database::open(self.path().to_str().unwrap(), &Options::default()).unwrap()
    }
}
