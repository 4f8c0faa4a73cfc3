//! The kernel's place in a model: byte-range locks by handle.
//!
//! What must stay true: a conflict between two handles of this process is a
//! broken model, not an answer: the queue is to know it before the kernel is asked.

use super::error::ErrorCode;
use super::lock::{ByteRange, RangeLock};
use super::sync::{Arc, AtomicBool, Mutex, Ordering};

/// One file's locks.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    /// Whether another process has all of it.
    pub(crate) elsewhere: AtomicBool,
    bytes: Mutex<Vec<Held>>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    byte: u64,
    by: usize,
    exclusively: bool,
}

/// One handle's descriptor.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) number: usize,
}

impl Kernel {
    /// Whether nobody has a lock.
    pub(crate) fn is_free(&self) -> bool {
        self.bytes.lock().is_empty()
    }
}

impl ByteRange for Handle {
    fn set(&self, to: RangeLock, start: u64, len: u64) -> Result<(), ErrorCode> {
        let range = start..start + len;
        let exclusively = to == RangeLock::Write;
        if to != RangeLock::Unlock {
            if self.kernel.elsewhere.load(Ordering::Acquire) {
                return Err(ErrorCode::Busy);
            }
            let neighbour = self.kernel.bytes.lock().iter().any(|held| {
                range.contains(&held.byte)
                    && held.by != self.number
                    && (exclusively || held.exclusively)
            });
            assert!(!neighbour, "two handles hold what excludes each other");
        }
        let mut bytes = self.kernel.bytes.lock();
        bytes.retain(|held| !range.contains(&held.byte) || held.by != self.number);
        if to != RangeLock::Unlock {
            bytes.extend(range.map(|byte| Held {
                byte,
                by: self.number,
                exclusively,
            }));
        }
        Ok(())
    }

    fn conflict(
        &self,
        want: RangeLock,
        start: u64,
        len: u64,
    ) -> Result<Option<RangeLock>, ErrorCode> {
        let range = start..start + len;
        let bytes = self.kernel.bytes.lock();
        let other = bytes.iter().find(|held| {
            range.contains(&held.byte)
                && held.by != self.number
                && (want == RangeLock::Write || held.exclusively)
        });
        Ok(other.map(|held| {
            if held.exclusively {
                RangeLock::Write
            } else {
                RangeLock::Read
            }
        }))
    }
}
