//! The operating system under the WIT's `storage`: files, SQLite's byte-range
//! locks, the shared wal-index, and waiting for commits. Knows nothing of
//! wasm: the embedding hands it names, bytes and addresses.
//!
//! The rooms: `grant` opens files; `file` is one of them; `lock` (state
//! machine) and `ofd` (system calls) lock the database; `mapping` and `shm`
//! are the wal-index, `sigbus` survives its being cut, `queue` (order) and `shm_wait` (future) its waiters;
//! `token` and `hub` notice commits; `timer` wakes; `registry` finds what
//! handles of one file share.
//!
//! What must stay true:
//! - Nothing outside the grant can be reached, and no error names a host path.
//! - Native SQLite in *other* processes excludes us and is excluded. In this
//!   process a database must never be opened with native SQLite: its POSIX
//!   locks would be dropped by our closing any descriptor of the file.
//! - Locks of one mutex order: hub or queue, then a handle's own, then an
//!   alarm, then the timer. No waker is called under any of them.

mod claim;
mod commits;
mod error;
mod extent;
mod fd_limit;
mod file;
mod file_limit;
mod grant;
mod hub;
mod kinds;
mod lock;
mod mapping;
mod ofd;
mod queue;
mod quota;
mod registry;
mod shm;
mod shm_wait;
mod sigbus;
mod sync;
mod thread_time;
mod timer;
mod token;
mod watch;

#[cfg(test)]
mod native_tests;
#[cfg(test)]
mod testing;

pub use commits::Commits;
pub use error::ErrorCode;
pub use fd_limit::raise_fd_limit;
pub use file::OpenFile;
pub use grant::Grant;
pub use hub::ChangeWait;
pub use kinds::{
    Capabilities, FileKind, LockLevel, OpenFlags, ShmLockKind, StorageLimits, SyncKind,
};
pub use shm_wait::ShmWait;
pub(crate) use thread_time::thread_time;
pub(crate) use timer::Nap;
pub use watch::{Begin, Interest, WatcherId, Watchers};

pub(crate) use mapping::Mappings;
pub use mapping::REGION_BYTES;
pub(crate) use sigbus::losses;

use sync::{Arc, AtomicUsize, Ordering};

/// One instance's files.
#[derive(Debug)]
pub struct Storage {
    grant: Grant,
    limits: StorageLimits,
    open_files: Arc<AtomicUsize>,
}

impl Storage {
    /// Lets an instance use what `grant` allows, within `limits`.
    pub fn new(grant: Grant, limits: StorageLimits) -> Storage {
        Storage {
            grant,
            limits,
            open_files: Arc::default(),
        }
    }

    /// What this storage offers. Constant.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            shared_memory: self.grant.offers_shared_memory(),
            wait_change: self.grant.offers_waking(),
            claims: !self.grant.is_read_only(),
        }
    }

    /// Opens a file; see the WIT's `open-file`.
    pub fn open_file(
        &self,
        name: &str,
        kind: FileKind,
        flags: OpenFlags,
    ) -> Result<OpenFile, ErrorCode> {
        let counted = HandleCount::one_more(&self.open_files, self.limits.max_open_files)?;
        OpenFile::open(
            &self.grant,
            name,
            kind,
            flags,
            self.limits.max_file_bytes,
            counted,
        )
    }

    /// Deletes a file; see the WIT's `delete-file`.
    pub fn delete_file(&self, name: &str, sync_directory: bool) -> Result<(), ErrorCode> {
        self.grant.check_name(name)?;
        // Others may have it mapped; a second one under the same name would
        // split the database's users in two. `shm_unmap` deletes it safely.
        if grant::database_of(name, "-shm").is_some() {
            return Err(ErrorCode::Access);
        }
        if self.grant.is_read_only() {
            return Err(ErrorCode::ReadOnly);
        }
        if !grant::is_regular(&self.grant.stat(name)?) {
            return Err(ErrorCode::Access);
        }
        self.grant.unlink(name)?;
        if sync_directory {
            self.grant.sync_directory()
        } else {
            Ok(())
        }
    }

    /// Whether a file exists and isn't empty. Something else under that name
    /// is an error, not an absence: native SQLite might take a linked journal
    /// for a hot one, so we mustn't ignore it.
    pub fn file_exists(&self, name: &str) -> Result<bool, ErrorCode> {
        self.grant.check_name(name)?;
        match self.grant.stat(name) {
            Ok(stat) if grant::is_regular(&stat) => Ok(stat.st_size > 0),
            Ok(_) => Err(ErrorCode::Access),
            Err(ErrorCode::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// One of the handles an instance may have; given back when dropped.
#[derive(Debug)]
pub(crate) struct HandleCount(Arc<AtomicUsize>);

impl HandleCount {
    pub(crate) fn one_more(open: &Arc<AtomicUsize>, max: usize) -> Result<HandleCount, ErrorCode> {
        open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < max).then_some(count + 1)
        })
        .map_err(|_| ErrorCode::TooManyFiles)?;
        Ok(HandleCount(Arc::clone(open)))
    }
}

impl Drop for HandleCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
