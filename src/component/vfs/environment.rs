//! The VFS methods that are no file's: clock, sleep, randomness, last error.

use super::codes;
use crate::bindings::beaver::host::storage;
use rusqlite::ffi;
use std::ffi::{c_char, c_int};
use std::time::{SystemTime, UNIX_EPOCH};

/// https://sqlite.org/c3ref/vfs.html: "The return value is the actual number
/// of bytes of randomness obtained."
pub(super) unsafe extern "C" fn randomness(
    _: *mut ffi::sqlite3_vfs,
    length: c_int,
    out: *mut c_char,
) -> c_int {
    let Ok(wanted) = usize::try_from(length) else {
        return 0;
    };
    // SAFETY: SQLite gives a buffer of `length` bytes; it may be uninitialized,
    // hence the zeros before there is a slice.
    let buffer = unsafe {
        out.write_bytes(0, wanted);
        std::slice::from_raw_parts_mut(out.cast::<u8>(), wanted)
    };
    match getrandom::fill(buffer) {
        Ok(()) => length,
        Err(_) => 0,
    }
}

/// Parks the instance on the host, not a thread.
pub(super) unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    storage::sleep(u64::from(microseconds.unsigned_abs()) * 1000);
    microseconds
}

/// https://sqlite.org/c3ref/vfs.html: "The xCurrentTimeInt64() method returns,
/// as an integer, the Julian Day Number multiplied by 86400000".
pub(super) unsafe extern "C" fn current_time_ms(
    _: *mut ffi::sqlite3_vfs,
    out: *mut ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes a place for the answer.
    unsafe { out.write(julian_ms()) };
    ffi::SQLITE_OK
}

/// The same in days, for callers older than SQLite 3.7.
pub(super) unsafe extern "C" fn current_time_days(
    _: *mut ffi::sqlite3_vfs,
    out: *mut f64,
) -> c_int {
    // SAFETY: SQLite passes a place for the answer.
    unsafe { out.write(julian_ms() as f64 / 86_400_000.0) };
    ffi::SQLITE_OK
}

fn julian_ms() -> i64 {
    /// 1970-01-01 00:00 UTC.
    const UNIX_EPOCH_JULIAN_MS: i64 = 210_866_760_000_000;
    let since = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    };
    UNIX_EPOCH_JULIAN_MS.saturating_add(since)
}

/// What `sqlite3_system_errno` tells; see `codes::last_error`.
pub(super) unsafe extern "C" fn last_error(
    _: *mut ffi::sqlite3_vfs,
    _: c_int,
    _: *mut c_char,
) -> c_int {
    codes::last_error()
}
