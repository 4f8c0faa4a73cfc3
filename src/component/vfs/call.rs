//! What every C callback does around its body: find the file behind SQLite's
//! pointer, run, and turn the failure into a result code. No callback maps an
//! error anywhere else.
//!
//! There is no `catch_unwind`: the guest is built with `panic=abort`, so a
//! panic is a trap and never unwinds into C.

use super::codes::{self, Operation};
use super::file::{OpenFile, Slot};
use crate::bindings::beaver::host::storage::ErrorCode;
use rusqlite::ffi;
use std::ffi::{CStr, c_char, c_int};

/// Why a callback failed.
pub(super) enum Failure {
    /// The host said so; `codes.rs` knows what SQLite wants to hear.
    Host(ErrorCode),
    /// SQLite's contract dictates this code.
    Code(c_int),
}

impl From<ErrorCode> for Failure {
    fn from(error: ErrorCode) -> Self {
        Self::Host(error)
    }
}

/// What a callback's body returns.
pub(super) type Reply = Result<(), Failure>;

/// Runs `body` and returns SQLite's code for what came of it.
pub(super) fn reply(operation: Operation, body: impl FnOnce() -> Reply) -> c_int {
    match body() {
        Ok(()) => ffi::SQLITE_OK,
        Err(Failure::Host(error)) => codes::result_code(operation, error),
        Err(Failure::Code(code)) => code,
    }
}

/// As [`reply`], with the open file behind `file`.
///
/// # Safety
/// `file` was filled in by `xOpen`, which succeeded, and was not closed.
/// Nobody else uses it during the call (see [`mod@super`]).
pub(super) unsafe fn on_file(
    file: *mut ffi::sqlite3_file,
    operation: Operation,
    body: impl FnOnce(&mut OpenFile) -> Reply,
) -> c_int {
    // SAFETY: the caller promises an open file that is ours alone for now.
    let open = unsafe { Slot::open_file(file) };
    reply(operation, || body(open))
}

/// The name behind a pointer from SQLite; none when there is no name or it
/// isn't UTF-8, which no WIT string can carry.
///
/// # Safety
/// `name` is null or points to a NUL-terminated string that outlives `'a`.
pub(super) unsafe fn name<'a>(name: *const c_char) -> Option<&'a str> {
    if name.is_null() {
        return None;
    }
    // SAFETY: not null, and NUL-terminated by the caller's promise.
    unsafe { CStr::from_ptr(name) }.to_str().ok()
}

/// An offset or a size from SQLite. A negative one is SQLite's mistake (or a
/// corrupt file's) and must not become a huge one.
pub(super) fn unsigned(value: i64) -> Result<u64, Failure> {
    u64::try_from(value).map_err(|_| Failure::Host(ErrorCode::InvalidArgument))
}
