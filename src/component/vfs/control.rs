//! `xFileControl`, and the way from a connection to its database file.
//!
//! What must stay true: an unknown opcode is `SQLITE_NOTFOUND`. SQLite asks
//! for every pragma and around every sync and commit, and goes on by itself.

use super::call::{Failure, Reply, on_file};
use super::codes::Operation;
use super::file::OpenFile;
use crate::bindings::beaver::host::storage::Interest;
use rusqlite::{Connection, ffi};
use std::ffi::{CStr, c_int, c_void};
use std::ops::Range;
use std::time::Duration;

/// The VFS's name.
pub(super) const VFS_NAME: &CStr = c"beaver";

// https://sqlite.org/c3ref/io_methods.html: "Applications that define a custom
// xFileControl method should use opcodes greater than 100 to avoid conflicts."
/// Fills in an `Option<u64>`.
const CHANGE_TOKEN: c_int = 7301;
/// Takes a [`WaitChange`].
const WAIT_CHANGE: c_int = 7302;
/// Takes a `Range<u64>` of tokens.
const CLAIM: c_int = 7303;
/// Takes a token, fills in whether it is claimed.
const IS_CLAIMED: c_int = 7304;
/// Takes an `Option<Interest>`.
const WATCH: c_int = 7305;
/// Takes a `&[u64]` of topics.
const ANNOUNCE: c_int = 7306;
/// Takes a token.
const END_CLAIM: c_int = 7307;

struct WaitChange {
    seen: u64,
    timeout: Duration,
}

/// `xFileControl`.
pub(super) unsafe extern "C" fn file_control(
    file: *mut ffi::sqlite3_file,
    opcode: c_int,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: SQLite passes an open file, and the argument that the opcode wants.
    unsafe {
        on_file(file, Operation::Control, |open| {
            control(open, opcode, argument)
        })
    }
}

/// # Safety
/// `argument` is what <https://sqlite.org/c3ref/c_fcntl_begin_atomic_write.html>
/// (for our own opcodes: the constants above) says for `opcode`.
unsafe fn control(open: &mut OpenFile, opcode: c_int, argument: *mut c_void) -> Reply {
    let number = argument.cast::<c_int>();
    // SAFETY: what the caller promises; every case reads and writes the type
    // that its opcode has.
    unsafe {
        match opcode {
            ffi::SQLITE_FCNTL_LOCKSTATE => *number = open.level,
            ffi::SQLITE_FCNTL_LAST_ERRNO => *number = super::codes::last_error(),
            // As os_unix.c: the old value comes back, and a negative one waits
            // as long as an int of milliseconds can say.
            ffi::SQLITE_FCNTL_LOCK_TIMEOUT => {
                let old = open.wal_index.lock_timeout_ms;
                open.wal_index.lock_timeout_ms =
                    u32::try_from(*number).unwrap_or(c_int::MAX as u32);
                *number = c_int::try_from(old).unwrap_or(c_int::MAX);
            }
            // "If the integer is -1, then it is overwritten with the current
            // WAL persistence setting."
            ffi::SQLITE_FCNTL_PERSIST_WAL => match *number {
                0 => open.persist_wal = false,
                1.. => open.persist_wal = true,
                _ => *number = c_int::from(open.persist_wal),
            },
            // The same, but it can't be turned off: it is the host's nature.
            ffi::SQLITE_FCNTL_POWERSAFE_OVERWRITE => *number = 1,
            ffi::SQLITE_FCNTL_VFSNAME => *argument.cast() = copy_for_sqlite(VFS_NAME)?,
            CHANGE_TOKEN => *argument.cast::<Option<u64>>() = open.handle.change_token().ok(),
            WAIT_CHANGE => {
                let WaitChange { seen, timeout } = *argument.cast::<WaitChange>();
                open.handle.wait_change(seen, nanoseconds(timeout))?;
            }
            WATCH => open.handle.watch(*argument.cast::<Option<Interest>>())?,
            ANNOUNCE => open.handle.announce(*argument.cast::<&[u64]>())?,
            CLAIM => {
                let tokens = &*argument.cast::<Range<u64>>();
                let count = tokens.end.saturating_sub(tokens.start);
                open.handle.claim(tokens.start, count)?;
            }
            END_CLAIM => open.handle.end_claim(*argument.cast::<u64>())?,
            IS_CLAIMED => {
                let (token, claimed) = &mut *argument.cast::<(u64, bool)>();
                *claimed = open.handle.is_claimed(*token)?;
            }
            // Also SQLITE_FCNTL_HAS_MOVED, which the host has no word for:
            // SQLite then takes the file to be where it was.
            _ => return Err(Failure::Code(ffi::SQLITE_NOTFOUND)),
        }
    }
    Ok(())
}

/// `text` in memory that SQLite frees.
fn copy_for_sqlite(text: &CStr) -> Result<*mut u8, Failure> {
    let bytes = text.to_bytes_with_nul();
    // SAFETY: the allocation has room for the text when it isn't null.
    unsafe {
        let copy = ffi::sqlite3_malloc64(bytes.len() as u64).cast::<u8>();
        if copy.is_null() {
            return Err(Failure::Code(ffi::SQLITE_NOMEM));
        }
        copy.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        Ok(copy)
    }
}

/// A number that differs whenever anybody has committed to the database of
/// `connection`; none when the host can't tell.
pub(crate) fn change_token(connection: &Connection) -> Option<u64> {
    let mut token: Option<u64> = None;
    (control_main(connection, CHANGE_TOKEN, &mut token) == ffi::SQLITE_OK).then_some(token)?
}

/// Waits until the token is no longer `seen`, at most `timeout`. False when
/// the host can't, and then it returns at once.
pub(crate) fn wait_change(connection: &Connection, seen: u64, timeout: Duration) -> bool {
    let mut wait = WaitChange { seen, timeout };
    control_main(connection, WAIT_CHANGE, &mut wait) == ffi::SQLITE_OK
}

/// Says what `connection` waits for from now on. Nothing happens when the host
/// can't wait.
pub(crate) fn watch(connection: &Connection, mut interest: Option<Interest>) {
    control_main(connection, WATCH, &mut interest);
}

/// Says what the last commit of `connection` concerned.
pub(crate) fn announce(connection: &Connection, mut topics: &[u64]) {
    control_main(connection, ANNOUNCE, &mut topics);
}

/// Claims `tokens` for as long as the connection is open; false when the host
/// can't.
pub(crate) fn claim(connection: &Connection, mut tokens: Range<u64>) -> bool {
    control_main(connection, CLAIM, &mut tokens) == ffi::SQLITE_OK
}

/// Ends the claim on `token`; false when the host can't.
pub(crate) fn end_claim(connection: &Connection, mut token: u64) -> bool {
    control_main(connection, END_CLAIM, &mut token) == ffi::SQLITE_OK
}

/// Whether another connection has claimed `token`; none when the host can't tell.
pub(crate) fn is_claimed(connection: &Connection, token: u64) -> Option<bool> {
    let mut question = (token, false);
    (control_main(connection, IS_CLAIMED, &mut question) == ffi::SQLITE_OK).then_some(question.1)
}

/// Sends `opcode` to the file of the main database.
fn control_main<T>(connection: &Connection, opcode: c_int, argument: &mut T) -> c_int {
    // SAFETY: the connection is open; `argument` has the type that `opcode`
    // wants, as the callers right above see to.
    unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            opcode,
            std::ptr::from_mut(argument).cast(),
        )
    }
}

/// 584 years are for ever.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
