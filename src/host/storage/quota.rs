//! How many bytes the files of a grant may hold together.
//!
//! What must stay true:
//! - What is added is taken from the allowance before it is written. So all instances with clones
//!   of a grant stay within its limit, but for what each is writing at the moment the files are
//!   added up.
//! - The allowance is only what was left when they were last added up. What others add, and what
//!   is deleted, counts from the next time, which comes when it is used up.

use super::error::ErrorCode;
use super::sync::Mutex;

/// What a file takes however short it is: else there could be any number of empty ones.
pub(crate) const FILE_BYTES_MIN: u64 = 4096;

/// A limit, and what is left of it.
#[derive(Debug)]
pub(crate) struct Quota {
    max_bytes: u64,
    allowance: Mutex<u64>,
}

impl Quota {
    /// Nothing is known to be left, so the first to take something adds up.
    pub(crate) fn new(max_bytes: u64) -> Quota {
        Quota {
            max_bytes,
            allowance: Mutex::new(0),
        }
    }

    /// Takes `bytes`, or answers `full`. `used` adds up the files as they are.
    pub(crate) fn take(
        &self,
        bytes: u64,
        used: impl FnOnce() -> Result<u64, ErrorCode>,
    ) -> Result<(), ErrorCode> {
        let mut allowance = self.allowance.lock();
        if *allowance < bytes {
            *allowance = self.max_bytes.saturating_sub(used()?);
        }
        *allowance = allowance.checked_sub(bytes).ok_or(ErrorCode::Full)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn files_are_added_up_when_the_allowance_is_used_up_and_not_before() {
        let quota = Quota::new(100);
        let (used, asked) = (Cell::new(0), Cell::new(0));
        let take = |bytes| {
            quota.take(bytes, || {
                asked.set(asked.get() + 1);
                Ok(used.get())
            })
        };
        for _ in 0..10 {
            take(10).unwrap();
        }
        assert_eq!(asked.get(), 1);
        used.set(100);
        assert_eq!(take(1), Err(ErrorCode::Full));
        take(0).unwrap();
        used.set(40);
        take(60).unwrap();
        used.set(1000);
        assert_eq!(take(1), Err(ErrorCode::Full));
        assert_eq!(quota.take(1, || Err(ErrorCode::Io)), Err(ErrorCode::Io));
    }
}
