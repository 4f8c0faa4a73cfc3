//! What SQLite says about the file when all is over.
//!
//! What must stay true: nobody else in this process has the file open any more. (SQLite's locks
//! are POSIX locks, which a process loses when any of its descriptors of the file is closed.)

use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// The lines of `PRAGMA integrity_check`, which are `ok` alone if nothing is wrong. A file that was
/// never made is as it should be.
pub(super) fn check(database: &Path) -> rusqlite::Result<String> {
    if !database.exists() {
        return Ok("ok".to_owned());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    Ok(lines.collect::<rusqlite::Result<Vec<_>>>()?.join("\n"))
}
