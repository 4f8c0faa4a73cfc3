//! Claims: bytes of the database file, far beyond its data, that a handle
//! locks for as long as it lives, so that others can tell for sure that it is gone.
//!
//! What must stay true: the kernel releases a claim with the handle's open file
//! description, so with its drop or the death of its process, and not before. A
//! process that is merely stopped keeps its claims. Native SQLite locks
//! none of these bytes.

use super::error::ErrorCode;
use super::lock::{ByteRange, RangeLock};

/// Where claims start: no file gets there, and SQLite locks only at 2^30.
const CLAIMS_AT: u64 = 1 << 62;
/// How many tokens there are; the last byte stays below 2^63.
const TOKENS: u64 = 1 << 61;

/// Claims `token`; `Busy` when another handle has.
pub(crate) fn claim(file: &impl ByteRange, token: u64) -> Result<(), ErrorCode> {
    file.set(RangeLock::Write, at(token)?, 1)
}

/// Whether another handle has claimed `token`.
pub(crate) fn is_claimed(file: &impl ByteRange, token: u64) -> Result<bool, ErrorCode> {
    Ok(file.conflict(RangeLock::Write, at(token)?, 1)?.is_some())
}

/// Ends all claims of this handle.
pub(crate) fn release_all(file: &impl ByteRange) -> Result<(), ErrorCode> {
    file.set(RangeLock::Unlock, CLAIMS_AT, TOKENS)
}

fn at(token: u64) -> Result<u64, ErrorCode> {
    // The guest's number must not wrap round into SQLite's locks.
    if token < TOKENS {
        Ok(CLAIMS_AT + token)
    } else {
        Err(ErrorCode::InvalidArgument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    #[test]
    fn a_claim_is_seen_by_others_until_its_handle_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let open = || -> OwnedFd {
            std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .unwrap()
                .into()
        };
        let (mine, other) = (open(), open());
        for token in [0, 7, TOKENS - 1] {
            assert_eq!(is_claimed(&other, token), Ok(false));
            claim(&mine, token).unwrap();
            assert_eq!(is_claimed(&other, token), Ok(true));
            assert_eq!(claim(&other, token), Err(ErrorCode::Busy));
        }
        release_all(&mine).unwrap();
        assert_eq!(is_claimed(&other, 7), Ok(false));
        claim(&mine, 7).unwrap();
        drop(mine);
        assert_eq!(is_claimed(&other, 7), Ok(false));
        for token in [TOKENS, u64::MAX] {
            assert_eq!(claim(&other, token), Err(ErrorCode::InvalidArgument));
            assert_eq!(is_claimed(&other, token), Err(ErrorCode::InvalidArgument));
        }
    }
}
