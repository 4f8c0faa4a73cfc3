//! An open file: the host's handle behind SQLite's `sqlite3_file`, and the
//! `sqlite3_io_methods` on it. `shm.rs` and `control.rs` have the rest of them.

use super::call::{Failure, Reply, on_file, unsigned};
use super::codes::Operation;
use super::shm::{self, WalIndex};
use super::{control, raw};
use crate::bindings::beaver::host::storage::{self, Capabilities, LockLevel, SyncKind};
use rusqlite::ffi;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

/// What SQLite allocates for us (`szOsFile` bytes): its own part first.
#[repr(C)]
pub(super) struct Slot {
    base: ffi::sqlite3_file,
    /// Initialized exactly while `base.pMethods` isn't null.
    open: MaybeUninit<OpenFile>,
}

// SQLite aligns what it allocates to 8 bytes.
const _: () = assert!(align_of::<Slot>() <= 8);

/// An open file. The handle comes first because fields drop in order: the host
/// takes its mappings out of the wal-index's buffers when the handle goes, and
/// only then may the buffers be freed.
pub(super) struct OpenFile {
    pub(super) handle: storage::File,
    /// What the host calls it.
    pub(super) number: u32,
    pub(super) wal_index: WalIndex,
    /// The lock that SQLite last got or kept; only `SQLITE_FCNTL_LOCKSTATE`
    /// (debugging) looks at it.
    pub(super) level: c_int,
    /// `SQLITE_FCNTL_PERSIST_WAL`.
    pub(super) persist_wal: bool,
    /// What the host offers.
    capabilities: Capabilities,
}

impl OpenFile {
    pub(super) fn new(handle: storage::File) -> Self {
        Self {
            number: handle.number(),
            handle,
            wal_index: WalIndex::default(),
            level: ffi::SQLITE_LOCK_NONE,
            persist_wal: false,
            capabilities: storage::get_capabilities(),
        }
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.handle.is_read_only()
    }

    /// Reads up to `length` bytes at `offset`; returns how many there were.
    ///
    /// # Safety
    /// `buffer` is good for writing `length` bytes, and nothing else uses them.
    unsafe fn read(
        &self,
        buffer: *mut u8,
        length: usize,
        offset: u64,
    ) -> Result<usize, storage::ErrorCode> {
        if self.capabilities.contains(Capabilities::DIRECT_READ) {
            // SAFETY: what the caller promises.
            return unsafe { raw::read_into(&self.handle, offset, buffer, length) };
        }
        // SQLite reads at most a page and a frame header at a time, far less
        // than the host's limit.
        let wanted = u32::try_from(length).map_err(|_| storage::ErrorCode::InvalidArgument)?;
        let bytes = self.handle.read_at(offset, wanted)?;
        let got = bytes.len().min(length);
        // SAFETY: `got` is at most `length`; `bytes` is a fresh allocation.
        unsafe { buffer.copy_from_nonoverlapping(bytes.as_ptr(), got) };
        Ok(got)
    }
}

impl Slot {
    /// Marks the slot as holding no file.
    ///
    /// # Safety
    /// `file` points to `size_of::<Slot>()` writable bytes, aligned to 8.
    pub(super) unsafe fn clear(file: *mut ffi::sqlite3_file) {
        // SAFETY: what the caller promises.
        unsafe { (&raw mut (*file).pMethods).write(ptr::null()) };
    }

    /// Puts `open` into the slot; from here on SQLite calls `xClose` for it.
    ///
    /// # Safety
    /// As for [`Slot::clear`], and the slot holds no file.
    pub(super) unsafe fn fill(file: *mut ffi::sqlite3_file, open: OpenFile) {
        // https://sqlite.org/wal.html#noshm: WAL without shared memory works
        // only with exclusive locking. Without the version 2 methods SQLite
        // knows: it leaves new files in their journal mode and answers
        // SQLITE_CANTOPEN for files in WAL mode, which core explains.
        let methods = if open.capabilities.contains(Capabilities::SHARED_MEMORY) {
            &METHODS
        } else {
            &METHODS_WITHOUT_WAL
        };
        let slot = file.cast::<Self>();
        // SAFETY: the slot is ours to fill. `write` because its bytes are
        // uninitialized: there is no old value to drop.
        unsafe {
            (&raw mut (*slot).open).cast::<OpenFile>().write(open);
            (&raw mut (*slot).base.pMethods).write(methods);
        }
    }

    /// The file in the slot.
    ///
    /// # Safety
    /// The slot holds a file, and no other reference to it exists during `'a`.
    pub(super) unsafe fn open_file<'a>(file: *mut ffi::sqlite3_file) -> &'a mut OpenFile {
        // SAFETY: the slot holds a file, so `open` is initialized.
        unsafe { (*file.cast::<Self>()).open.assume_init_mut() }
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved),
    xFileControl: Some(control::file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm::map),
    xShmLock: Some(shm::lock),
    xShmBarrier: Some(shm::barrier),
    xShmUnmap: Some(shm::unmap),
    // Version 3, memory-mapped database files: SQLITE_MAX_MMAP_SIZE is 0.
    xFetch: None,
    xUnfetch: None,
};

static METHODS_WITHOUT_WAL: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    ..METHODS
};

/// `xClose`. Dropping the handle releases every lock and mapping on the host.
unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes an open file once and doesn't use it afterwards.
    unsafe {
        ptr::drop_in_place(Slot::open_file(file));
        Slot::clear(file);
    }
    ffi::SQLITE_OK
}

/// `xRead`.
///
/// https://sqlite.org/c3ref/io_methods.html: "If xRead() returns
/// SQLITE_IOERR_SHORT_READ it must also fill in the unread portions of the
/// buffer with zeros. […] failure to zero-fill short reads will eventually
/// lead to database corruption."
unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    let body = |open: &mut OpenFile| -> Reply {
        let length = amount as usize;
        let buffer = buffer.cast::<u8>();
        let offset = unsigned(offset)?;
        // SAFETY: SQLite's buffer holds `amount` (positive) bytes and is
        // nobody else's during the call; `got` is at most `length`.
        unsafe {
            let got = open.read(buffer, length, offset)?;
            if got < length {
                buffer.add(got).write_bytes(0, length - got);
                return Err(Failure::Code(ffi::SQLITE_IOERR_SHORT_READ));
            }
        }
        Ok(())
    };
    // SAFETY: SQLite passes an open file.
    unsafe { on_file(file, Operation::Read, body) }
}

/// `xWrite`.
unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: SQLite passes an open file, and `amount` (positive) bytes that
    // don't change during the call.
    unsafe {
        on_file(file, Operation::Write, |open| {
            let data = std::slice::from_raw_parts(buffer.cast::<u8>(), amount as usize);
            Ok(open.handle.write_at(unsigned(offset)?, data)?)
        })
    }
}

/// `xTruncate`.
unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: SQLite passes an open file.
    unsafe {
        on_file(file, Operation::Truncate, |open| {
            Ok(open.handle.truncate(unsigned(size)?)?)
        })
    }
}

/// `xSync`.
///
/// https://sqlite.org/c3ref/io_methods.html: "The first choice is the normal
/// fsync(). The second choice is a Mac OS X style fullsync." The first may be
/// an `fdatasync`, as in SQLite's own VFS for Unix: "as far as SQLite is
/// concerned, an fdatasync() is always adequate" (os_unix.c, `full_fsync`).
unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let kind = if flags & 0x0f == ffi::SQLITE_SYNC_FULL {
        SyncKind::Full
    } else {
        SyncKind::Data
    };
    // SAFETY: SQLite passes an open file.
    unsafe { on_file(file, Operation::Sync, |open| Ok(open.handle.sync(kind)?)) }
}

/// `xFileSize`.
unsafe extern "C" fn size(file: *mut ffi::sqlite3_file, out: *mut i64) -> c_int {
    // SAFETY: SQLite passes an open file and a place for the answer.
    unsafe {
        on_file(file, Operation::Size, |open| {
            let size = open.handle.size()?;
            out.write(i64::try_from(size).unwrap_or(i64::MAX));
            Ok(())
        })
    }
}

/// `xLock`.
///
/// https://sqlite.org/c3ref/io_methods.html: "If the database file lock is
/// already at or above the requested lock, then the call to xLock() is a
/// no-op." The host sees to that: it knows the lock, we don't.
unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite passes an open file.
    unsafe {
        on_file(file, Operation::Lock, |open| {
            open.handle.lock(lock_level(level)?)?;
            open.level = open.level.max(level);
            Ok(())
        })
    }
}

/// `xUnlock`, to SHARED or NONE.
unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite passes an open file.
    unsafe {
        on_file(file, Operation::Unlock, |open| {
            open.handle.unlock(lock_level(level)?)?;
            open.level = open.level.min(level);
            Ok(())
        })
    }
}

fn lock_level(level: c_int) -> Result<LockLevel, Failure> {
    Ok(match level {
        ffi::SQLITE_LOCK_NONE => LockLevel::Unlocked,
        ffi::SQLITE_LOCK_SHARED => LockLevel::Shared,
        ffi::SQLITE_LOCK_RESERVED => LockLevel::Reserved,
        ffi::SQLITE_LOCK_PENDING => LockLevel::Pending,
        ffi::SQLITE_LOCK_EXCLUSIVE => LockLevel::Exclusive,
        _ => return Err(Failure::Code(ffi::SQLITE_MISUSE)),
    })
}

/// `xCheckReservedLock`: whether anybody, this connection included, holds
/// RESERVED or more.
unsafe extern "C" fn check_reserved(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: SQLite passes an open file and a place for the answer.
    unsafe {
        on_file(file, Operation::CheckReserved, |open| {
            out.write(c_int::from(open.handle.check_reserved()?));
            Ok(())
        })
    }
}

/// `xSectorSize`: as SQLite's VFS for Unix says.
unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    4096
}

/// `xDeviceCharacteristics`: as SQLite's VFS for Unix says.
///
/// - POWERSAFE_OVERWRITE: writing some bytes never endangers their neighbours
///   (<https://sqlite.org/psow.html>). Without it every commit to the WAL is
///   padded to a sector.
/// - SUBPAGE_READ: reads may be of any size and place.
/// - Not UNDELETABLE_WHEN_OPEN: on Unix others can delete an open journal.
/// - No ATOMIC, SAFE_APPEND or SEQUENTIAL: no file system keeps such promises
///   through a power loss.
unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE | ffi::SQLITE_IOCAP_SUBPAGE_READ
}
