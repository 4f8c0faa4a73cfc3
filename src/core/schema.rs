//! BeaverDB 1.3.0's tables: which of them a file has, and making those we use.
//!
//! What must stay true: column names, types, keys and index names are the
//! reference's, because its `CREATE … IF NOT EXISTS` runs on files made here
//! and finds them. Tables of managers we don't have yet are left to whoever
//! needs them first. A file that isn't BeaverDB 1.x is never written to.

use crate::error::{Error, Result};
use rusqlite::Connection;

/// The version that files made here name, in the reference's own place for it:
/// it warns when it finds another.
pub(crate) const FORMAT_VERSION: &str = "1.3.0";

/// Ours; the reference doesn't know it and doesn't mind.
const FENCING_TABLE: &str = "beaver_lock_fencing";

const TABLES: [&str; 5] = [
    "beaver_dicts",
    "beaver_priority_queues",
    "beaver_lock_waiters",
    "beaver_manager_versions",
    FENCING_TABLE,
];

const CREATE: &str = "
CREATE TABLE IF NOT EXISTS beaver_dicts (
    dict_name TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    expires_at REAL,
    PRIMARY KEY (dict_name, key)
);
CREATE TABLE IF NOT EXISTS beaver_priority_queues (
    queue_name TEXT NOT NULL,
    priority REAL NOT NULL,
    timestamp REAL NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_priority_queue_order
    ON beaver_priority_queues (queue_name, priority ASC, timestamp ASC);
CREATE TABLE IF NOT EXISTS beaver_lock_waiters (
    lock_name TEXT NOT NULL,
    waiter_id TEXT NOT NULL,
    requested_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    PRIMARY KEY (lock_name, requested_at)
);
CREATE INDEX IF NOT EXISTS idx_lock_expires ON beaver_lock_waiters (lock_name, expires_at);
CREATE INDEX IF NOT EXISTS idx_lock_waiter_id ON beaver_lock_waiters (lock_name, waiter_id);
CREATE TABLE IF NOT EXISTS beaver_manager_versions (
    namespace TEXT PRIMARY KEY,
    version INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS beaver_lock_fencing (
    lock_name TEXT PRIMARY KEY,
    token INTEGER NOT NULL
) WITHOUT ROWID;
";

/// What a file's tables say about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No table at all.
    Empty,
    /// Everything that is needed.
    Complete,
    /// A BeaverDB 1.x file without some of our tables.
    Partial,
}

/// Looks at the tables of the file; refuses what isn't BeaverDB 1.x.
pub(crate) fn inspect(connection: &Connection) -> Result<Found> {
    let mut statement = connection
        .prepare_cached("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")?;
    let mut rows = statement.query([])?;
    let (mut any, mut ours, mut second_generation) = (false, 0, false);
    while let Some(row) = rows.next()? {
        let name = row.get_ref(0)?.as_str().unwrap_or_default();
        // SQLite's own tables (sqlite_stat1, sqlite_sequence) say nothing.
        if name.starts_with("sqlite_") {
            continue;
        }
        any = true;
        ours += usize::from(TABLES.contains(&name));
        second_generation |= name.starts_with("__beaver_");
    }
    let file_of_the_reference = ours > 0;
    match () {
        () if !any => Ok(Found::Empty),
        () if ours == TABLES.len() => Ok(Found::Complete),
        () if file_of_the_reference => Ok(Found::Partial),
        () if second_generation => Err(Error::UnsupportedFormat(
            "the file was made by BeaverDB 2.x, whose tables differ; this package uses 1.x files".into(),
        )),
        () => Err(Error::UnsupportedFormat(
            "the file is a SQLite database, but not BeaverDB's; give a new file or one made by beaver-db 1.x".into(),
        )),
    }
}

/// Makes what is missing. Call inside a write transaction, after `inspect`
/// there: another process may have been first.
pub(crate) fn create(connection: &Connection, found: &Found) -> Result<()> {
    connection.execute_batch(CREATE)?;
    if *found == Found::Empty {
        connection.execute(
            "INSERT OR IGNORE INTO beaver_dicts (dict_name, key, value, expires_at)
             VALUES ('__metadata__', 'version', ?1, NULL)",
            [format!("\"{FORMAT_VERSION}\"")],
        )?;
    }
    Ok(())
}
