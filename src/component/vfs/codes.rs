//! Host errors as SQLite result codes, per operation.
//!
//! What must stay true:
//! - Whatever goes wrong in the middle of a write is `SQLITE_FULL` or a
//!   `SQLITE_IOERR`. pager.c, `pager_error()`: "If the second argument is
//!   SQLITE_FULL, SQLITE_IOERR or one of the IOERR sub-codes, the pager enters
//!   the ERROR state […] the contents of the pager-cache cannot be trusted."
//!   Any other code would let SQLite go on with a cache that isn't what the
//!   file holds.
//! - Only a lock may be `SQLITE_BUSY`: SQLite answers it by trying again.
//! - `SQLITE_CANTOPEN` means that the name can't be opened and nothing else,
//!   so that core can find out why (`Runtime::explain_cannot_open`).

use crate::bindings::beaver::host::storage::ErrorCode;
use rusqlite::ffi;
use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, Ordering};

/// What SQLite asked for.
#[derive(Clone, Copy)]
pub(super) enum Operation {
    OpenDatabase,
    OpenJournal,
    Delete,
    Access,
    Read,
    Write,
    Truncate,
    Sync,
    Size,
    Lock,
    Unlock,
    CheckReserved,
    Control,
    ShmMap,
    ShmLock,
    ShmUnlock,
    ShmUnmap,
}

/// The host's last error of this instance, as `sqlite3_system_errno` tells it:
/// its place among `storage.error-code`'s cases, from 1. An atomic only because
/// a static must be one; a component has one thread.
static LAST_ERROR: AtomicI32 = AtomicI32::new(0);

/// See [`LAST_ERROR`].
pub(super) fn last_error() -> c_int {
    LAST_ERROR.load(Ordering::Relaxed)
}

/// SQLite's code for `error` in `operation`.
#[cold]
pub(super) fn result_code(operation: Operation, error: ErrorCode) -> c_int {
    LAST_ERROR.store(i32::from(error as u8) + 1, Ordering::Relaxed);
    match (operation, error) {
        // https://sqlite.org/rescode.html#busy: "the database file could not be
        // written (or in some cases read) because of concurrent activity by
        // some other database connection"
        (Operation::Lock | Operation::ShmLock | Operation::ShmMap, ErrorCode::Busy) => {
            ffi::SQLITE_BUSY
        }
        // https://sqlite.org/rescode.html#busy_timeout: "a blocking Posix
        // advisory file lock request in the VFS layer failed due to a timeout".
        // SQLite then doesn't call the busy handler on top of the wait.
        (Operation::ShmLock | Operation::ShmMap, ErrorCode::TimedOut) => ffi::SQLITE_BUSY_TIMEOUT,

        // https://sqlite.org/rescode.html#ioerr_delete_noent: "the xDelete
        // method on the VFS object failed because the file being deleted does
        // not exist". Two connections that recover or close at the same time
        // both delete; SQLite forgives exactly this code.
        (Operation::Delete, ErrorCode::NotFound) => ffi::SQLITE_IOERR_DELETE_NOENT,

        // https://sqlite.org/rescode.html#perm: "the requested access mode for
        // a newly created database could not be provided"
        (Operation::OpenDatabase | Operation::OpenJournal, ErrorCode::Access) => ffi::SQLITE_PERM,
        (Operation::OpenDatabase, ErrorCode::ReadOnly) => ffi::SQLITE_READONLY,
        // https://sqlite.org/rescode.html#readonly_directory: "the database is
        // read-only because process does not have permission to create a
        // journal file in the same directory as the database"
        (Operation::OpenJournal, ErrorCode::ReadOnly) => ffi::SQLITE_READONLY_DIRECTORY,

        // https://sqlite.org/rescode.html#readonly_cantinit: "originates in the
        // xShmMap method of a VFS to indicate that the shared memory region
        // used by WAL mode exists buts its content is unreliable and unusable
        // by the current process since the current process does not have write
        // permission". SQLite then reads the log into private memory under a
        // shared lock, or fails if it can't have that.
        (Operation::ShmMap, ErrorCode::ReadOnly) => ffi::SQLITE_READONLY_CANTINIT,

        // https://sqlite.org/rescode.html#full: "a write could not complete
        // because the disk is full". File handles run out like a disk does.
        // Not so a sync or the wal-index, which can fail after a commit record
        // was written: core takes this code for a sure sign that it wasn't.
        (
            Operation::OpenDatabase
            | Operation::OpenJournal
            | Operation::Write
            | Operation::Truncate,
            ErrorCode::Full | ErrorCode::TooManyFiles,
        ) => ffi::SQLITE_FULL,

        (operation, _) => io_error(operation),
    }
}

/// The code of `operation` for what SQLite has no better word for.
fn io_error(operation: Operation) -> c_int {
    match operation {
        Operation::OpenDatabase | Operation::OpenJournal => ffi::SQLITE_CANTOPEN,
        Operation::Delete => ffi::SQLITE_IOERR_DELETE,
        Operation::Access => ffi::SQLITE_IOERR_ACCESS,
        Operation::Read => ffi::SQLITE_IOERR_READ,
        Operation::Write => ffi::SQLITE_IOERR_WRITE,
        Operation::Truncate => ffi::SQLITE_IOERR_TRUNCATE,
        Operation::Sync => ffi::SQLITE_IOERR_FSYNC,
        Operation::Size => ffi::SQLITE_IOERR_FSTAT,
        Operation::Lock => ffi::SQLITE_IOERR_LOCK,
        Operation::Unlock => ffi::SQLITE_IOERR_UNLOCK,
        Operation::CheckReserved => ffi::SQLITE_IOERR_CHECKRESERVEDLOCK,
        Operation::Control => ffi::SQLITE_IOERR,
        Operation::ShmMap | Operation::ShmUnmap => ffi::SQLITE_IOERR_SHMMAP,
        Operation::ShmLock | Operation::ShmUnlock => ffi::SQLITE_IOERR_SHMLOCK,
    }
}
