//! Claims: bytes of the database file, far beyond its data, that a handle
//! locks for as long as it lives, so that others can tell for sure that it is gone, or that
//! it has given up what one of them stands for.
//!
//! What must stay true: the kernel releases a claim with the handle's open file
//! description, so with its drop or the death of its process, and not before. A
//! process that is merely stopped keeps its claims. Native SQLite locks
//! none of these bytes.

use super::error::ErrorCode;
use super::lock::{ByteRange, RangeLock};
use std::ops::Range;

/// Where claims start: no file gets there, and SQLite locks only at 2^30.
const CLAIMS_AT: u64 = 1 << 62;
/// How many tokens there are; the last byte stays below 2^63.
const TOKENS: u64 = 1 << 61;

/// Claims `tokens`; `Busy` when another handle has one of them.
pub(crate) fn claim(file: &impl ByteRange, tokens: &Range<u64>) -> Result<(), ErrorCode> {
    let (start, len) = bytes(tokens)?;
    file.set(RangeLock::Write, start, len)
}

/// Ends this handle's claims on `tokens`.
pub(crate) fn end(file: &impl ByteRange, tokens: &Range<u64>) -> Result<(), ErrorCode> {
    let (start, len) = bytes(tokens)?;
    file.set(RangeLock::Unlock, start, len)
}

/// Whether another handle has claimed `token`.
pub(crate) fn is_claimed(file: &impl ByteRange, token: u64) -> Result<bool, ErrorCode> {
    let (start, len) = bytes(&one(token)?)?;
    Ok(file.conflict(RangeLock::Write, start, len)?.is_some())
}

/// Ends all claims of this handle.
pub(crate) fn release_all(file: &impl ByteRange) -> Result<(), ErrorCode> {
    file.set(RangeLock::Unlock, CLAIMS_AT, TOKENS)
}

/// `token` alone.
pub(crate) fn one(token: u64) -> Result<Range<u64>, ErrorCode> {
    some(token, 1)
}

/// The `count` tokens from `first` on.
pub(crate) fn some(first: u64, count: u64) -> Result<Range<u64>, ErrorCode> {
    let end = first.checked_add(count).filter(|end| *end <= TOKENS);
    let end = end.filter(|_| count > 0);
    Ok(first..end.ok_or(ErrorCode::InvalidArgument)?)
}

/// Where they are, and how many. The guest's numbers must not wrap round into SQLite's locks.
fn bytes(tokens: &Range<u64>) -> Result<(u64, u64), ErrorCode> {
    let count = tokens.end.saturating_sub(tokens.start);
    some(tokens.start, count).map(|tokens| (CLAIMS_AT + tokens.start, count))
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
            let tokens = one(token).unwrap();
            assert_eq!(is_claimed(&other, token), Ok(false));
            claim(&mine, &tokens).unwrap();
            assert_eq!(is_claimed(&other, token), Ok(true));
            assert_eq!(claim(&other, &tokens), Err(ErrorCode::Busy));
        }
        release_all(&mine).unwrap();
        assert_eq!(is_claimed(&other, 7), Ok(false));
        claim(&mine, &(0..TOKENS)).unwrap();
        assert_eq!(is_claimed(&other, 0), Ok(true));
        assert_eq!(is_claimed(&other, TOKENS - 1), Ok(true));
        end(&mine, &(7..8)).unwrap();
        assert_eq!(is_claimed(&other, 6), Ok(true));
        assert_eq!(is_claimed(&other, 7), Ok(false));
        assert_eq!(is_claimed(&other, 8), Ok(true));
        assert_eq!(claim(&other, &(6..8)), Err(ErrorCode::Busy));
        claim(&other, &(7..8)).unwrap();
        drop(mine);
        assert_eq!(is_claimed(&other, 8), Ok(false));
        for token in [TOKENS, u64::MAX] {
            assert_eq!(one(token), Err(ErrorCode::InvalidArgument));
            assert_eq!(is_claimed(&other, token), Err(ErrorCode::InvalidArgument));
        }
        for (first, count) in [(0, TOKENS + 1), (TOKENS - 1, 2), (2, u64::MAX), (5, 0)] {
            assert_eq!(some(first, count), Err(ErrorCode::InvalidArgument));
            let tokens = first..first.wrapping_add(count);
            assert_eq!(claim(&other, &tokens), Err(ErrorCode::InvalidArgument));
            assert_eq!(end(&other, &tokens), Err(ErrorCode::InvalidArgument));
        }
    }
}
