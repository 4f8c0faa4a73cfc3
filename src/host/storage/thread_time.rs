//! What a thread has computed.

use std::time::Duration;

/// For how long this thread has computed, in the kernel or out of it; waiting, for a device or for its
/// turn, doesn't count.
pub(crate) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
