//! How many bytes the files of a grant may hold together.
//!
//! What must stay true:
//! - What is added is taken before it is written, and counts as used until it is written. So all
//!   instances with clones of a grant stay within its limit. (Near it, what others are just
//!   writing may count twice, and `full` come a little early.)
//! - Nobody makes a file shorter while another writes within it: what that one writes again behind the
//!   new end would have been taken by nobody.
//! - A file that was deleted while it is open still takes its room: it is remembered from its opening.
//! - The allowance is only what was left when all was last added up. What others add, and what is
//!   deleted, counts from the next time, which comes when it is used up.
//! - Adding up takes at most a tenth of anybody's time: a guest may be at its limit again and again.

use super::error::ErrorCode;
use super::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use super::thread_time::thread_time;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// What a file takes however short it is: else there could be any number of empty ones.
pub(crate) const FILE_BYTES_MIN: u64 = 4096;

/// Adding up that takes less computing than this may be done each time.
const SHORT: Duration = Duration::from_millis(1);

/// A limit, and what is left of it.
#[derive(Debug)]
pub(crate) struct Quota {
    max_bytes: u64,
    state: Mutex<State>,
    sizes: RwLock<()>,
}

#[derive(Debug, Default)]
struct State {
    allowance: u64,
    /// Taken, and perhaps not yet written.
    pending: u64,
    /// All that are open, and some that were.
    open: Vec<Weak<OwnedFd>>,
    /// Until then what doesn't fit into the allowance is refused without a look.
    looks_from: Option<Instant>,
}

/// Bytes that were taken; to be kept until they are written.
#[derive(Debug)]
pub(crate) struct Taken {
    quota: Arc<Quota>,
    bytes: u64,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.quota.state.lock().pending -= self.bytes;
    }
}

impl Quota {
    /// Nothing is known to be left, so the first to take something adds up.
    pub(crate) fn new(max_bytes: u64) -> Quota {
        Quota {
            max_bytes,
            state: Mutex::default(),
            sizes: RwLock::default(),
        }
    }

    /// To be held from looking at a file's size until the write is done.
    pub(crate) fn keep_sizes(&self) -> RwLockReadGuard<'_, ()> {
        self.sizes.read()
    }

    /// To be held while a file is made shorter.
    pub(crate) fn change_sizes(&self) -> RwLockWriteGuard<'_, ()> {
        self.sizes.write()
    }

    /// Remembers a file for as long as it is open.
    pub(crate) fn remember(&self, file: &Arc<OwnedFd>) {
        let mut state = self.state.lock();
        if state.open.len() == state.open.capacity() {
            state.open.retain(|file| file.strong_count() > 0);
        }
        state.open.push(Arc::downgrade(file));
    }

    /// Takes `bytes`, or answers `full`. `named` adds up the files that have a name, as they are.
    pub(crate) fn take(
        self: &Arc<Self>,
        bytes: u64,
        named: impl FnOnce() -> Result<u64, ErrorCode>,
    ) -> Result<Taken, ErrorCode> {
        let mut state = self.state.lock();
        if state.allowance < bytes {
            let (began, worked) = (Instant::now(), thread_time());
            if state.looks_from.is_some_and(|from| began < from) {
                return Err(ErrorCode::Full);
            }
            let used = named()?.saturating_add(state.nameless_bytes());
            state.allowance = self.max_bytes.saturating_sub(used);
            state.allowance = state.allowance.saturating_sub(state.pending);
            let took = thread_time().saturating_sub(worked);
            // Also after a look that found room: whoever deletes one file and makes another, at the limit,
            // would have everybody wait for one look after the other.
            state.looks_from = (took >= SHORT).then(|| began + took * 10);
        }
        state.allowance = state.allowance.checked_sub(bytes).ok_or(ErrorCode::Full)?;
        state.pending += bytes;
        drop(state);
        Ok(Taken {
            quota: Arc::clone(self),
            bytes,
        })
    }
}

impl State {
    /// What was deleted and is still open.
    fn nameless_bytes(&mut self) -> u64 {
        let mut bytes = 0_u64;
        self.open.retain(|file| {
            let Some(file) = file.upgrade() else {
                return false;
            };
            if let Ok(stat) = rustix::fs::fstat(&file)
                && stat.st_nlink == 0
            {
                bytes = bytes.saturating_add(stat.st_size.unsigned_abs().max(FILE_BYTES_MIN));
            }
            true
        });
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn files_are_added_up_when_the_allowance_is_used_up_and_not_before() {
        let quota = Arc::new(Quota::new(100));
        let (used, asked) = (Cell::new(0), Cell::new(0));
        let take = |bytes| {
            let named = || {
                asked.set(asked.get() + 1);
                Ok(used.get())
            };
            quota.take(bytes, named).map(drop)
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
        let failing = quota.take(1, || Err(ErrorCode::Io));
        assert_eq!(failing.map(drop), Err(ErrorCode::Io));
    }

    #[test]
    fn a_long_look_is_not_repeated_at_once() {
        for (used, fits) in [(100, false), (99, true)] {
            let quota = Arc::new(Quota::new(100));
            let began = Instant::now();
            let slow = || {
                let until = thread_time() + SHORT * 100;
                while thread_time() < until {}
                Ok(used)
            };
            assert_eq!(quota.take(1, slow).is_ok(), fits);
            // The look is measured in processor time, the pause (ten times that) in real time: a slow
            // machine may have passed it.
            let never = || {
                assert!(began.elapsed() > SHORT * 1000, "looked again");
                Ok(100)
            };
            assert_eq!(quota.take(1, never).map(drop), Err(ErrorCode::Full));
            quota.take(0, never).map(drop).unwrap();
        }
    }

    #[test]
    fn what_others_are_writing_is_not_given_out_again() {
        let quota = Arc::new(Quota::new(100));
        let first = quota.take(60, || Ok(0)).unwrap();
        assert_eq!(quota.take(60, || Ok(0)).map(drop), Err(ErrorCode::Full));
        quota.take(40, || Ok(0)).map(drop).unwrap();
        drop(first);
        quota.take(60, || Ok(0)).map(drop).unwrap();
    }
}
