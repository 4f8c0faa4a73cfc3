//! What SQLite says about the file when all is over.
//!
//! What must stay true: nobody else in this process has the file open any more. (SQLite's locks
//! are POSIX locks, which a process loses when any of its descriptors of the file is closed.)

use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::Path;
use std::time::Duration;

const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The lines of `PRAGMA integrity_check`, which are `ok` alone if nothing is wrong. A file that was
/// never made is as it should be.
///
/// What SQLite refuses to read as a database is an answer too.
pub(crate) fn check(database: &Path) -> rusqlite::Result<String> {
    let broken = [ErrorCode::NotADatabase, ErrorCode::DatabaseCorrupt];
    match ask(database) {
        Err(error)
            if error
                .sqlite_error_code()
                .is_some_and(|code| broken.contains(&code)) =>
        {
            Ok(error.to_string())
        }
        answer => answer,
    }
}

fn ask(database: &Path) -> rusqlite::Result<String> {
    if !database.exists() {
        return Ok("ok".to_owned());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    // The system may be using it.
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    Ok(lines.collect::<rusqlite::Result<Vec<_>>>()?.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_database_is_told_and_not_a_trouble_of_the_harness() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        assert_eq!(check(&path).unwrap(), "ok");
        std::fs::write(&path, vec![7; 8192]).unwrap();
        assert!(check(&path).unwrap().contains("not a database"));
    }
}
