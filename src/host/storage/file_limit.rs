//! The process's own limit on how large a file may become.
//!
//! What must stay true: nothing that a guest asks for reaches the kernel if it lies beyond. The answer to
//! that is a signal, `SIGXFSZ`, which ends the process.

use super::error::ErrorCode;
use rustix::process::{Resource, getrlimit};

/// Refuses what ends beyond `RLIMIT_FSIZE`. Asked each time: it may be changed from outside.
pub(crate) fn check_process_limit(end: u64) -> Result<(), ErrorCode> {
    match getrlimit(Resource::Fsize).current {
        Some(limit) if end > limit => Err(ErrorCode::Full),
        _ => Ok(()),
    }
}
