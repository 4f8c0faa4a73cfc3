//! The calls that the claims need of the C libraries.
#![allow(unsafe_code)]

use rusqlite::{Connection, ffi};
use std::ffi::{c_int, c_uint};
use std::fs::File;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::AsRawFd as _;

/// Gives the calling thread an empty descriptor table of its own. False: it can't be
/// had, and nothing has changed.
///
/// To be called by a thread that uses no descriptor, while another thread of the
/// process is sure to live.
pub(super) fn leave_descriptor_table() -> bool {
    // One step: were the table copied first, the copy would keep files (the other
    // ends of pipes) open for a moment that everybody else has closed. And containers
    // that refuse unshare(2) know this one.
    // SAFETY: no memory is involved. The descriptors are closed in the copy, which no
    // other thread sees, so none that anybody owns is closed under its owner.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            0 as c_uint,
            c_uint::MAX,
            libc::CLOSE_RANGE_UNSHARE,
        )
    };
    result == 0
}

/// Lets others see that these bytes are taken.
pub(super) fn lock(file: &File, bytes: &Range<u64>) -> bool {
    // A shared lock, which a file that is open for reading may have; whoever asks
    // asks whether an exclusive one could be had.
    set(file, libc::F_RDLCK, bytes)
}

/// Lets others see that they are free.
pub(super) fn unlock(file: &File, bytes: &Range<u64>) -> bool {
    set(file, libc::F_UNLCK, bytes)
}

fn set(file: &File, kind: c_int, bytes: &Range<u64>) -> bool {
    let lock = flock(kind, bytes);
    lock.is_some_and(|mut lock| fcntl(file, libc::F_OFD_SETLK, &mut lock))
}

/// Bytes that somebody else has locked, if any of these are; none: it can't be told.
pub(super) fn locked(file: &File, bytes: &Range<u64>) -> Option<Option<Range<u64>>> {
    let mut lock = flock(libc::F_WRLCK, bytes)?;
    if !fcntl(file, libc::F_OFD_GETLK, &mut lock) {
        return None;
    }
    if c_int::from(lock.l_type) == libc::F_UNLCK {
        return Some(None);
    }
    let start = u64::try_from(lock.l_start).ok()?;
    // 0: up to where no byte is any more (fcntl(2)).
    let end = match u64::try_from(lock.l_len).ok()? {
        0 => u64::MAX,
        length => start.checked_add(length)?,
    };
    Some(Some(start..end))
}

fn flock(kind: c_int, bytes: &Range<u64>) -> Option<libc::flock> {
    Some(libc::flock {
        l_type: libc::c_short::try_from(kind).ok()?,
        l_whence: libc::c_short::try_from(libc::SEEK_SET).ok()?,
        l_start: i64::try_from(bytes.start).ok()?,
        l_len: i64::try_from(bytes.end.checked_sub(bytes.start)?).ok()?,
        // Must be zero for OFD locks (fcntl(2)).
        l_pid: 0,
    })
}

fn fcntl(file: &File, command: c_int, lock: &mut libc::flock) -> bool {
    // SAFETY: the file is open for the whole call, and both commands take a pointer
    // to one `flock`, which `lock` is, writable and initialised.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(lock)) };
    result == 0
}

/// Blocks all signals for the calling thread, and for those that it starts, until the
/// result is dropped.
pub(super) fn block_signals() -> Option<BlockedSignals> {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigfillset` fills `all` in before it is read; `pthread_sigmask` fills
    // `before` in when it returns 0.
    unsafe {
        let blocked = libc::sigfillset(all.as_mut_ptr()) == 0
            && libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr()) == 0;
        blocked.then(|| BlockedSignals(before.assume_init()))
    }
}

/// What was blocked before.
pub(super) struct BlockedSignals(libc::sigset_t);

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: the set is initialised, and the old one isn't asked for.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut());
        }
    }
}

/// Tells open connections apart.
pub(super) fn key(connection: &Connection) -> usize {
    // SAFETY: the pointer is only looked at as a number.
    unsafe { connection.handle() }.addr()
}

/// Whether the name of the connection's file leads to another file by now, or to none.
pub(super) fn has_moved(connection: &Connection) -> Option<bool> {
    let mut moved: c_int = 0;
    // SAFETY: the connection is open, and this opcode takes a pointer to an int
    // (https://sqlite.org/c3ref/c_fcntl_begin_atomic_write.html).
    let result = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_HAS_MOVED,
            (&raw mut moved).cast(),
        )
    };
    (result == ffi::SQLITE_OK).then_some(moved != 0)
}
