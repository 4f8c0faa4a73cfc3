//! The wal-index: 32 KiB regions of this instance's memory over which the host
//! maps the real, shared `-shm` file.
//!
//! What must stay true:
//! - A buffer that the host may have mapped is never given back to the
//!   allocator, which would write into everybody's wal-index. It goes back only
//!   after the host said that it is private again, or closed the file.
//! - Regions stay where they are until `xShmUnmap`: SQLite keeps pointers.
//!
//! # Why plain loads of this memory are sound
//!
//! Others change it under us, and two compilers stand between SQLite's source
//! and the machine: clang, for which these are volatile or relaxed atomic
//! accesses, and cranelift, for which every load is an ordinary one that it
//! may merge with an earlier load of the same address in the same function.
//! Both treat a call that they can't see into as changing any memory, so a load
//! is never merged with one on the other side of a call, nor moved over it.
//! wal.c reads a place again for its meaning only on the other side of such a
//! call: an `xShmLock`, which orders memory by way of the lock, or an
//! `xShmBarrier`, which is WebAssembly's `atomic.fence`: a fence to clang and
//! to cranelift, and an instruction for the machine (so don't make it a no-op;
//! the specification asks it to order shared memories only, and a host
//! that maps regions has to know that its compiler orders this one too, as
//! cranelift does). It never spins on a place
//! without a call in the loop. Loads merged between two calls see what one load
//! at the earlier moment would have seen, which was possible before.
//! Accesses are aligned words or half-words, which machines don't tear.

use super::call::{Failure, Reply, on_file};
use super::codes::Operation;
use super::file::OpenFile;
use super::raw;
use crate::bindings::beaver::host::storage::{self, ErrorCode, ShmAnswer, ShmLockKind};
use rusqlite::ffi;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

/// SQLite's `WALINDEX_PGSZ`.
const REGION_BYTES: usize = 32 * 1024;

/// The contract wants 4096; a multiple of the host's page size is what mapping
/// needs, and that is 16 KiB on Apple's machines.
const REGION_LAYOUT: Layout = match Layout::from_size_align(REGION_BYTES, REGION_BYTES) {
    Ok(layout) => layout,
    Err(_) => panic!("not a layout"),
};

/// A buffer for one region.
struct Region(NonNull<u8>);

impl Region {
    fn new() -> Option<Self> {
        // SAFETY: the layout isn't empty.
        NonNull::new(unsafe { alloc_zeroed(REGION_LAYOUT) }).map(Self)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and private: see the file's head.
        unsafe { dealloc(self.0.as_ptr(), REGION_LAYOUT) };
    }
}

/// A database file's part in the wal-index.
#[derive(Default)]
pub(super) struct WalIndex {
    /// Region `n` at place `n`: SQLite asks for a few, in order.
    mapped: Vec<Region>,
    /// Buffers that may or may not be mapped, because the host failed with
    /// `io` half-way. The next map uses them again; the file's drop frees them.
    doubtful: Vec<Region>,
    /// `SQLITE_FCNTL_LOCK_TIMEOUT`: how long `xShmLock` may wait.
    pub(super) lock_timeout_ms: u32,
}

/// `xShmMap`.
///
/// wal.c, `walIndexPageRealloc()`: "(3) rc==SQLITE_OK and *ppPage==NULL", when
/// the region doesn't exist and `extend` is false.
pub(super) unsafe extern "C" fn map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    bytes: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite passes an open file and a place for the answer.
    unsafe {
        out.write(std::ptr::null_mut());
        on_file(file, Operation::ShmMap, |open| {
            let wanted = usize::try_from(region).map_err(|_| ErrorCode::InvalidArgument)?;
            if usize::try_from(bytes) != Ok(REGION_BYTES) {
                return Err(Failure::Host(ErrorCode::InvalidArgument));
            }
            while open.wal_index.mapped.len() <= wanted {
                if !open.map_next(extend != 0)? {
                    return Ok(());
                }
            }
            if let Some(region) = open.wal_index.mapped.get(wanted) {
                out.write(region.0.as_ptr().cast());
            }
            Ok(())
        })
    }
}

impl OpenFile {
    /// Maps the first region that isn't mapped; false when it doesn't exist.
    fn map_next(&mut self, extend: bool) -> Result<bool, Failure> {
        let index = &mut self.wal_index;
        let number = u32::try_from(index.mapped.len()).map_err(|_| ErrorCode::InvalidArgument)?;
        let (region, used) = match index.doubtful.pop() {
            Some(region) => (region, true),
            None => (
                Region::new().ok_or(Failure::Code(ffi::SQLITE_IOERR_NOMEM))?,
                false,
            ),
        };
        // SAFETY: the buffer is ours, without references to it, and stays until
        // `unmap` or the end of the file.
        let answer = unsafe {
            raw::shm_map(
                &self.handle,
                number,
                extend,
                region.0.as_ptr(),
                REGION_BYTES,
            )
        };
        if answer == Ok(true) {
            index.mapped.push(region);
        } else if used || answer == Err(ErrorCode::Io) {
            // "Except for `io`, the call definitely had no effect."
            index.doubtful.push(region);
        }
        Ok(answer?)
    }
}

/// `xShmLock`.
///
/// A lock waits when SQLite said so by `SQLITE_FCNTL_LOCK_TIMEOUT` just before
/// (wal.c, `walEnableBlocking`): it does where no deadlock can come of it.
pub(super) unsafe extern "C" fn lock(
    file: *mut ffi::sqlite3_file,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    let kind = if flags & ffi::SQLITE_SHM_EXCLUSIVE != 0 {
        ShmLockKind::Exclusive
    } else {
        ShmLockKind::Shared
    };
    let (first, count) = (first.unsigned_abs(), count.unsigned_abs());
    // SAFETY: SQLite passes an open file.
    unsafe {
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            on_file(file, Operation::ShmUnlock, |open| {
                done(storage::shm_unlock(open.number, first, count, kind))
            })
        } else {
            on_file(file, Operation::ShmLock, |open| {
                let timeout = u64::from(open.wal_index.lock_timeout_ms) * 1_000_000;
                if timeout == 0 {
                    done(storage::shm_lock(open.number, first, count, kind))
                } else {
                    Ok(open.handle.shm_lock_wait(first, count, kind, timeout)?)
                }
            })
        }
    }
}

fn done(answer: ShmAnswer) -> Reply {
    Err(Failure::Host(match answer {
        ShmAnswer::Done => return Ok(()),
        ShmAnswer::Busy => ErrorCode::Busy,
        ShmAnswer::InvalidArgument => ErrorCode::InvalidArgument,
        ShmAnswer::Unsupported => ErrorCode::Unsupported,
        ShmAnswer::Io => ErrorCode::Io,
    }))
}

unsafe extern "C" {
    /// `fence.c`: Rust has no stable way to write this instruction.
    safe fn beaver_memory_fence();
}

/// `xShmBarrier`: see the file's head.
pub(super) unsafe extern "C" fn barrier(_: *mut ffi::sqlite3_file) {
    beaver_memory_fence();
}

/// `xShmUnmap`. Also called when nothing is mapped, before closing.
pub(super) unsafe extern "C" fn unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    // SAFETY: SQLite passes an open file, and gave up its pointers to regions.
    unsafe {
        on_file(file, Operation::ShmUnmap, |open| {
            let mapped = std::mem::take(&mut open.wal_index.mapped);
            if let Err(error) = open.handle.shm_unmap(delete != 0) {
                open.wal_index.doubtful.extend(mapped);
                return Err(error.into());
            }
            // Private again, so the buffers may go.
            drop(mapped);
            open.wal_index.doubtful.clear();
            Ok(())
        })
    }
}
