//! Byte-range locks by open file description (`F_OFD_SETLK`): the system-call
//! half of file locking.
//!
//! What must stay true: only OFD locks are ever used in this process. They
//! conflict with native SQLite's POSIX locks in other processes and between
//! two descriptors here, and closing a descriptor of the same file elsewhere
//! in the process doesn't drop them, as it would POSIX locks.
#![allow(unsafe_code)]

use super::error::ErrorCode;
use super::lock::{ByteRange, RangeLock};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, OwnedFd};

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "beaver-host's storage needs 64-bit Linux: OFD locks and MAP_FIXED over guest memory"
);

impl ByteRange for OwnedFd {
    fn set(&self, to: RangeLock, start: u64, len: u64) -> Result<(), ErrorCode> {
        fcntl(self, libc::F_OFD_SETLK, &mut flock(to, start, len)?)
    }

    fn conflict(
        &self,
        want: RangeLock,
        start: u64,
        len: u64,
    ) -> Result<Option<RangeLock>, ErrorCode> {
        let mut answer = flock(want, start, len)?;
        fcntl(self, libc::F_OFD_GETLK, &mut answer)?;
        Ok(match i32::from(answer.l_type) {
            libc::F_RDLCK => Some(RangeLock::Read),
            libc::F_WRLCK => Some(RangeLock::Write),
            _ => None,
        })
    }
}

fn flock(kind: RangeLock, start: u64, len: u64) -> Result<libc::flock, ErrorCode> {
    let kind = match kind {
        RangeLock::Read => libc::F_RDLCK,
        RangeLock::Write => libc::F_WRLCK,
        RangeLock::Unlock => libc::F_UNLCK,
    };
    let number = |n: u64| i64::try_from(n).map_err(|_| ErrorCode::InvalidArgument);
    Ok(libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: number(start)?,
        l_len: number(len)?,
        // Must be zero for OFD locks (fcntl(2)).
        l_pid: 0,
    })
}

fn fcntl(fd: &OwnedFd, command: libc::c_int, flock: &mut libc::flock) -> Result<(), ErrorCode> {
    loop {
        // Past the C library, whose `fcntl` looks at every command first: twice a read.
        // SAFETY: `fd` is open for the whole call, and both commands take a
        // pointer to one `flock`, which `flock` is, writable and initialised; it
        // is the kernel's `struct flock64`, as `off_t` has 64 bits.
        let result = unsafe {
            libc::syscall(
                libc::SYS_fcntl,
                fd.as_raw_fd(),
                command,
                std::ptr::from_mut(flock),
            )
        };
        if result == 0 {
            return Ok(());
        }
        let errno = std::io::Error::last_os_error()
            .raw_os_error()
            .map(Errno::from_raw_os_error);
        return Err(match errno {
            Some(Errno::INTR) => continue,
            // fcntl(2): either may say "held by somebody else".
            Some(Errno::AGAIN | Errno::ACCESS) => ErrorCode::Busy,
            // A write lock on a descriptor that is open only for reading.
            Some(Errno::BADF) => ErrorCode::ReadOnly,
            // A kernel or file system without OFD locks.
            Some(Errno::INVAL) => ErrorCode::Unsupported,
            Some(errno) => ErrorCode::from(errno),
            None => ErrorCode::Io,
        });
    }
}
