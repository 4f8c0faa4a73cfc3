//! SQLite's lock levels as steps on byte ranges: the portable half of file
//! locking, without a system call (those are in `ofd`).
//!
//! What must stay true:
//! - The ranges and their order are native SQLite's (`unixLock`,
//!   `posixUnlock`), because native SQLite may hold the other side.
//! - Stepping down from exclusive to shared never leaves a moment without the
//!   shared lock.
//! - After a failure the level held is the level recorded: raising either
//!   happened or not, except that reserved to exclusive may stop at pending.

use super::error::ErrorCode;
use super::kinds::LockLevel;

/// First byte of SQLite's lock page; at 1 GiB, where no data may be.
const PENDING: u64 = 0x4000_0000;
const RESERVED: u64 = PENDING + 1;
const SHARED_FIRST: u64 = PENDING + 2;
const SHARED_LEN: u64 = 510;
/// All of the above.
const ALL_LEN: u64 = 2 + SHARED_LEN;

/// What a byte range is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeLock {
    Read,
    Write,
    Unlock,
}

/// Byte-range locks on one open file, none of which ever waits.
pub(crate) trait ByteRange {
    /// Sets `[start, start + len)`; `Busy` when another holder conflicts, and
    /// then nothing changed.
    fn set(&self, to: RangeLock, start: u64, len: u64) -> Result<(), ErrorCode>;

    /// The lock, if any, that another holder has in the way of `want`.
    fn conflict(
        &self,
        want: RangeLock,
        start: u64,
        len: u64,
    ) -> Result<Option<RangeLock>, ErrorCode>;
}

/// The level one handle holds.
#[derive(Debug)]
pub(crate) struct FileLock {
    level: LockLevel,
}

impl FileLock {
    pub(crate) fn new() -> FileLock {
        FileLock {
            level: LockLevel::Unlocked,
        }
    }

    pub(crate) fn level(&self) -> LockLevel {
        self.level
    }

    /// Raises the level to `to`. `shared_with_others` is asked before the step
    /// to exclusive: whether somebody else is attached to the wal-index (then
    /// nobody may be exclusive, whatever the byte ranges say).
    pub(crate) fn raise(
        &mut self,
        range: &impl ByteRange,
        to: LockLevel,
        shared_with_others: impl FnOnce() -> Result<bool, ErrorCode>,
    ) -> Result<(), ErrorCode> {
        if to <= self.level {
            return Ok(());
        }
        match (self.level, to) {
            (LockLevel::Unlocked, LockLevel::Shared) => {
                // A writer that waits for readers holds PENDING: passing
                // through it is how a new reader lets the writer go first.
                range.set(RangeLock::Read, PENDING, 1)?;
                let shared = range.set(RangeLock::Read, SHARED_FIRST, SHARED_LEN);
                let passed = range.set(RangeLock::Unlock, PENDING, 1);
                if let Err(error) = shared.and(passed) {
                    // Keep nothing rather than a lock that no level stands for.
                    let _ = range.set(RangeLock::Unlock, PENDING, ALL_LEN);
                    return Err(error);
                }
            }
            (LockLevel::Shared, LockLevel::Reserved) => {
                range.set(RangeLock::Write, RESERVED, 1)?;
            }
            (
                LockLevel::Shared | LockLevel::Reserved | LockLevel::Pending,
                LockLevel::Exclusive,
            ) => {
                // From shared (a hot journal's roll-back) SQLite skips
                // PENDING: two readers that both want to roll back would else
                // shut out each other and everybody who could help.
                if self.level == LockLevel::Reserved {
                    range.set(RangeLock::Write, PENDING, 1)?;
                    self.level = LockLevel::Pending;
                }
                if shared_with_others()? {
                    return Err(ErrorCode::Busy);
                }
                range.set(RangeLock::Write, SHARED_FIRST, SHARED_LEN)?;
            }
            // SQLite's pager never asks for pending, nor for anything but
            // shared when unlocked.
            _ => return Err(ErrorCode::InvalidArgument),
        }
        self.level = to;
        Ok(())
    }

    /// Lowers the level to `to`, shared or unlocked.
    pub(crate) fn lower(&mut self, range: &impl ByteRange, to: LockLevel) -> Result<(), ErrorCode> {
        match to {
            _ if self.level <= to => return Ok(()),
            LockLevel::Shared => {
                // Turns the write lock into a read lock in one step; only then
                // may others come past PENDING.
                range
                    .set(RangeLock::Read, SHARED_FIRST, SHARED_LEN)
                    .map_err(never_busy)?;
                range
                    .set(RangeLock::Unlock, PENDING, 2)
                    .map_err(never_busy)?;
            }
            LockLevel::Unlocked => {
                range
                    .set(RangeLock::Unlock, PENDING, ALL_LEN)
                    .map_err(never_busy)?;
            }
            _ => return Err(ErrorCode::InvalidArgument),
        }
        self.level = to;
        Ok(())
    }

    /// Whether anybody, this handle included, holds reserved or more.
    pub(crate) fn anyone_reserved(&self, range: &impl ByteRange) -> Result<bool, ErrorCode> {
        if self.level >= LockLevel::Reserved {
            return Ok(true);
        }
        Ok(range.conflict(RangeLock::Write, RESERVED, 1)?.is_some())
    }
}

/// Weakening a lock can't conflict with anyone who follows the protocol, and
/// `busy` would tell SQLite to try again at a point where it can't.
fn never_busy(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::Busy => ErrorCode::Io,
        other => other,
    }
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
