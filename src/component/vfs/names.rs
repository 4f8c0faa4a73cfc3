//! The VFS methods on names: open, delete, access, full path.
//!
//! What must stay true: a name goes to the host as it is. The host decides
//! what it means and whether it may be used; there is no current directory,
//! and no way around the grant.

use super::call::{Failure, Reply, name, reply};
use super::codes::Operation;
use super::file::{OpenFile, Slot};
use crate::bindings::beaver::host::storage::{self, FileKind, OpenFlags};
use rusqlite::ffi;
use std::ffi::{CStr, c_char, c_int};

/// The longest name, with SQLite's suffixes.
pub(super) const MAX_NAME_BYTES: c_int = 4096;

/// `xOpen`.
///
/// https://sqlite.org/c3ref/vfs.html: "the xOpen method must set the
/// sqlite3_file.pMethods to either a valid sqlite3_io_methods object or to
/// NULL. xOpen must do this even if the open fails."
pub(super) unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives `szOsFile` bytes at `file` and a valid or null `path`.
    let path = unsafe {
        Slot::clear(file);
        name(path)
    };
    let operation = if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
        Operation::OpenDatabase
    } else {
        Operation::OpenJournal
    };
    reply(operation, || {
        // Files without a name (temporary databases, sub-journals) live in
        // memory, as SQLite is built with SQLITE_TEMP_STORE=3. Super-journals
        // (a commit over several attached files) have no place in the host's
        // contract. Should either turn up nevertheless, it can't be opened.
        let (Some(path), Some(kind)) = (path, kind(flags)) else {
            return Err(Failure::Code(ffi::SQLITE_CANTOPEN));
        };
        let opened = OpenFile::new(storage::open_file(path, kind, how(flags))?);
        // https://sqlite.org/c3ref/vfs.html: "If xOpen() opens a file read-only
        // then it sets *pOutFlags to include SQLITE_OPEN_READONLY."
        let granted = if opened.is_read_only() {
            (flags & !(ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE))
                | ffi::SQLITE_OPEN_READONLY
        } else {
            flags
        };
        // SAFETY: as above; `out_flags` is null or a place for the answer.
        unsafe {
            if let Some(out_flags) = out_flags.as_mut() {
                *out_flags = granted;
            }
            Slot::fill(file, opened);
        }
        Ok(())
    })
}

/// What the file is to SQLite, where the host's contract has a word for it.
fn kind(flags: c_int) -> Option<FileKind> {
    if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
        Some(FileKind::MainDb)
    } else if flags & ffi::SQLITE_OPEN_MAIN_JOURNAL != 0 {
        Some(FileKind::MainJournal)
    } else if flags & ffi::SQLITE_OPEN_WAL != 0 {
        Some(FileKind::Wal)
    } else {
        None
    }
}

fn how(flags: c_int) -> OpenFlags {
    let mut how = OpenFlags::empty();
    how.set(OpenFlags::CREATE, flags & ffi::SQLITE_OPEN_CREATE != 0);
    how.set(
        OpenFlags::EXCLUSIVE,
        flags & ffi::SQLITE_OPEN_EXCLUSIVE != 0,
    );
    how.set(OpenFlags::READ_ONLY, flags & ffi::SQLITE_OPEN_READONLY != 0);
    how.set(
        OpenFlags::DELETE_ON_CLOSE,
        flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0,
    );
    how
}

/// `xDelete`.
pub(super) unsafe extern "C" fn delete(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    sync_directory: c_int,
) -> c_int {
    // SAFETY: SQLite passes a NUL-terminated name.
    let path = unsafe { name(path) };
    reply(Operation::Delete, || {
        Ok(storage::delete_file(named(path)?, sync_directory != 0)?)
    })
}

/// `xAccess`, whatever access is asked about: only `PRAGMA temp_store_directory`
/// asks for more than existence, and that pragma isn't built in.
///
/// An error must stay an error: told "absent" of a super-journal that it can't
/// see (a native writer's, named by an absolute path), SQLite would throw away
/// the hot journal that names it, and with it half of a commit.
pub(super) unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    _flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes a NUL-terminated name.
    let path = unsafe { name(path) };
    reply(Operation::Access, || {
        let exists = storage::file_exists(named(path)?)?;
        // SAFETY: SQLite passes a place for the answer.
        unsafe { out.write(c_int::from(exists)) };
        Ok(())
    })
}

fn named(path: Option<&str>) -> Result<&str, Failure> {
    path.ok_or(Failure::Host(storage::ErrorCode::InvalidArgument))
}

/// `xFullPathname`: names are relative to the grant already, so it copies.
///
/// https://sqlite.org/c3ref/vfs.html: "If the output buffer is not large
/// enough, SQLITE_CANTOPEN should be returned."
pub(super) unsafe extern "C" fn full_path(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    capacity: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite passes a NUL-terminated name.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes_with_nul();
    reply(Operation::OpenDatabase, || -> Reply {
        if usize::try_from(capacity).is_ok_and(|capacity| bytes.len() <= capacity) {
            // SAFETY: `out` has room for `capacity` bytes and isn't the name.
            unsafe { out.copy_from_nonoverlapping(bytes.as_ptr().cast(), bytes.len()) };
            Ok(())
        } else {
            Err(Failure::Code(ffi::SQLITE_CANTOPEN))
        }
    })
}
