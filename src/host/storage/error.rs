//! Why a storage call failed: the WIT's `error-code`, made from `errno`.
//!
//! What must stay true: an error never carries a host path, and only
//! [`ErrorCode::Io`] may mean that the call had part of its effect.

use rustix::io::Errno;

/// The WIT's `error-code`; each case's promise is written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ErrorCode {
    /// The name or access is outside the grant.
    #[error("the name or access is outside the grant")]
    Access,
    /// There is no such file.
    #[error("there is no such file")]
    NotFound,
    /// `exclusive` was asked for and the file exists.
    #[error("the file exists")]
    Exists,
    /// The file, the grant or the file system is read-only.
    #[error("the file, the grant or the file system is read-only")]
    ReadOnly,
    /// The device is full, or a quota or the instance's limit is reached.
    #[error("the device is full, or a storage limit is reached")]
    Full,
    /// Another handle holds a conflicting lock.
    #[error("another handle holds a conflicting lock")]
    Busy,
    /// A conflicting lock was still held when the timeout had passed.
    #[error("a conflicting lock was held for the whole timeout")]
    TimedOut,
    /// The process or the instance has no file handle left.
    #[error("no file handle is left")]
    TooManyFiles,
    /// An argument is out of range.
    #[error("an argument is out of range")]
    InvalidArgument,
    /// The host doesn't offer this.
    #[error("this host doesn't offer that")]
    Unsupported,
    /// The operating system reported an error.
    #[error("the operating system reported an error")]
    Io,
}

impl From<Errno> for ErrorCode {
    fn from(errno: Errno) -> ErrorCode {
        match errno {
            // ELOOP: O_NOFOLLOW met a symbolic link. ENXIO: a socket, or a fifo
            // without a reader. EISDIR: a directory. None is a database file.
            Errno::ACCESS
            | Errno::PERM
            | Errno::LOOP
            | Errno::NXIO
            | Errno::ISDIR
            | Errno::NOTDIR
            | Errno::NODEV => ErrorCode::Access,
            Errno::NOENT => ErrorCode::NotFound,
            Errno::EXIST => ErrorCode::Exists,
            Errno::ROFS => ErrorCode::ReadOnly,
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => ErrorCode::Full,
            Errno::AGAIN | Errno::TXTBSY => ErrorCode::Busy,
            Errno::MFILE | Errno::NFILE => ErrorCode::TooManyFiles,
            Errno::INVAL | Errno::NAMETOOLONG | Errno::OVERFLOW => ErrorCode::InvalidArgument,
            Errno::OPNOTSUPP | Errno::NOSYS => ErrorCode::Unsupported,
            _ => ErrorCode::Io,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_becomes_the_case_that_says_what_to_do() {
        for (errno, code) in [
            (Errno::NOSPC, ErrorCode::Full),
            (Errno::DQUOT, ErrorCode::Full),
            (Errno::FBIG, ErrorCode::Full),
            (Errno::ROFS, ErrorCode::ReadOnly),
            (Errno::ACCESS, ErrorCode::Access),
            (Errno::LOOP, ErrorCode::Access),
            (Errno::MFILE, ErrorCode::TooManyFiles),
            (Errno::NFILE, ErrorCode::TooManyFiles),
            (Errno::AGAIN, ErrorCode::Busy),
            (Errno::IO, ErrorCode::Io),
            (Errno::NOLCK, ErrorCode::Io),
        ] {
            assert_eq!(ErrorCode::from(errno), code, "{errno:?}");
        }
    }
}
