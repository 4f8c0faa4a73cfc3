//! The pieces of blobs that are being written, table `beaver_blob_parts`.
//!
//! What must stay true: each piece is committed by itself, so that no upload
//! holds SQLite's write lock while its source is slow; and nothing is
//! left of an upload whose writer is gone. That is known of an instance of the
//! component (see [`waiter_id`](crate::waiter_id)), whose pieces the next writer
//! removes; others', when nobody has called their writer for [`UPLOAD_TTL`].

use crate::database::Database;
use crate::error::{Error, Result};
use rusqlite::{Connection, params};
use std::time::Duration;

/// How long the pieces of a writer that isn't called are kept.
pub(super) const UPLOAD_TTL: Duration = Duration::from_secs(60 * 60);

/// How many pieces one transaction removes: others write in between.
const REMOVED_AT_ONCE: u32 = 16;

/// How long a path that can't report waits for SQLite's write lock.
const DROP_WAIT: Duration = Duration::from_millis(100);

/// Commits one piece, or adds it to the open transaction. May be repeated.
pub(super) fn add(database: &Database, upload: &str, number: u32, data: &[u8]) -> Result<()> {
    in_transaction(database, None, |connection| {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO beaver_blob_parts (upload, number, expires_at, data)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![upload, number, expires_at(database), data])?;
        Ok(())
    })
}

/// Keeps the pieces for another [`UPLOAD_TTL`]; [`Error::Changed`] when they are gone.
pub(super) fn renew(database: &Database, upload: &str) -> Result<()> {
    in_transaction(database, None, |connection| {
        let renewed = connection
            .prepare_cached(
                "UPDATE beaver_blob_parts SET expires_at = ?2 WHERE upload = ?1 AND number = 0",
            )?
            .execute(params![upload, expires_at(database)])?;
        if renewed == 0 {
            return Err(Error::Changed);
        }
        Ok(())
    })
}

/// Whether all pieces are there.
pub(super) fn check(connection: &Connection, upload: &str, count: u32, bytes: u64) -> Result<()> {
    let (found, size): (u32, i64) = connection
        .prepare_cached(
            "SELECT count(*), ifnull(sum(octet_length(data)), 0)
             FROM beaver_blob_parts WHERE upload = ?1",
        )?
        .query_row([upload], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if (found, size.cast_unsigned()) != (count, bytes) {
        return Err(Error::Changed);
    }
    Ok(())
}

/// Calls `take` with each piece in order.
pub(super) fn each(
    connection: &Connection,
    upload: &str,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut statement = connection
        .prepare_cached("SELECT data FROM beaver_blob_parts WHERE upload = ?1 ORDER BY number")?;
    let mut rows = statement.query([upload])?;
    while let Some(row) = rows.next()? {
        take(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?;
    }
    Ok(())
}

/// Removes all pieces of one upload. Call inside a write transaction.
pub(super) fn remove(connection: &Connection, upload: &str) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM beaver_blob_parts WHERE upload = ?1")?
        .execute([upload])?;
    Ok(())
}

/// Removes the pieces of a writer that was dropped. What can't be done now is
/// left to the connection's next writer.
pub(super) fn give_up(database: &Database, upload: String, pieces: u32) {
    let inner = &*database.inner;
    if inner.in_transaction.get() {
        // They come back if it is rolled back.
        let _ = remove(&inner.connection, &upload);
        inner.dropped_uploads.borrow_mut().push(upload);
        return;
    }
    let removed = (0..rounds(pieces))
        .try_for_each(|_| remove_some(database, Some(DROP_WAIT), &upload, |_| Ok(true)).map(drop));
    if removed.is_ok() {
        return;
    }
    inner.dropped_uploads.borrow_mut().push(upload);
}

/// Removes the pieces of whoever is gone.
pub(super) fn sweep(database: &Database) -> Result<()> {
    let inner = &*database.inner;
    // Inside a transaction removing would only be for the time being.
    if inner.in_transaction.get() {
        return Ok(());
    }
    // Only what is there now, and no longer than that takes: a trigger of the file may keep
    // what is removed, or bring it back.
    for (upload, pieces) in database.read(|connection| abandoned(database, connection))? {
        for _ in 0..rounds(pieces) {
            // Looked at again, because its writer may have come back to life.
            let gone = |connection: &Connection| is_abandoned(database, connection, &upload);
            if !remove_some(database, None, &upload, gone)? {
                break;
            }
        }
    }
    inner.dropped_uploads.borrow_mut().clear();
    Ok(())
}

/// How many times [`remove_some`] takes for so many pieces.
fn rounds(pieces: u32) -> u32 {
    pieces.div_ceil(REMOVED_AT_ONCE)
}

/// Removes some pieces of an upload if `allowed`, asked inside the transaction, says so. False when it
/// removed none.
fn remove_some(
    database: &Database,
    limit: Option<Duration>,
    upload: &str,
    allowed: impl FnOnce(&Connection) -> Result<bool>,
) -> Result<bool> {
    let transaction = database.begin_write(limit)?;
    let connection = &database.inner.connection;
    if !allowed(connection)? {
        return Ok(false);
    }
    // The first piece, which says until when, goes last.
    let removed = connection
        .prepare_cached(
            "DELETE FROM beaver_blob_parts WHERE upload = ?1 AND number IN
             (SELECT number FROM beaver_blob_parts WHERE upload = ?1
              ORDER BY number DESC LIMIT ?2)",
        )?
        .execute(params![upload, REMOVED_AT_ONCE])?;
    transaction.commit()?;
    Ok(removed > 0)
}

/// The uploads whose writers are gone, each with the number of its pieces.
fn abandoned(database: &Database, connection: &Connection) -> Result<Vec<(String, u32)>> {
    let mut statement = connection.prepare_cached(
        "SELECT upload, max(expires_at), count(*) FROM beaver_blob_parts GROUP BY upload",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let upload: String = row.get(0)?;
        if is_gone(database, connection, &upload, row.get(1)?) {
            found.push((upload, row.get(2)?));
        }
    }
    Ok(found)
}

/// Whether an upload has pieces, and its writer is gone.
fn is_abandoned(database: &Database, connection: &Connection, upload: &str) -> Result<bool> {
    let expires_at: Option<f64> = connection
        .prepare_cached("SELECT max(expires_at) FROM beaver_blob_parts WHERE upload = ?1")?
        .query_row([upload], |row| row.get(0))?;
    Ok(expires_at.is_some_and(|at| is_gone(database, connection, upload, at)))
}

fn is_gone(database: &Database, connection: &Connection, upload: &str, expires_at: f64) -> bool {
    let inner = &*database.inner;
    let has_ended = || {
        let claim = database.waiter_ids().claim_of_other(upload);
        claim.is_some_and(|token| inner.runtime.is_gone(connection, token))
    };
    inner
        .dropped_uploads
        .borrow()
        .iter()
        .any(|dropped| dropped == upload)
        || expires_at <= inner.runtime.unix_seconds()
        || has_ended()
}

fn expires_at(database: &Database) -> f64 {
    database.inner.runtime.unix_seconds() + UPLOAD_TTL.as_secs_f64()
}

/// Runs `write` in the open transaction, or in one of its own.
fn in_transaction(
    database: &Database,
    limit: Option<Duration>,
    write: impl FnOnce(&Connection) -> Result<()>,
) -> Result<()> {
    let inner = &*database.inner;
    if inner.in_transaction.get() {
        return database.read(write);
    }
    let transaction = database.begin_write(limit)?;
    write(&inner.connection)?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    fn pieces(database: &Database) -> i64 {
        let count = "SELECT count(*) FROM beaver_blob_parts";
        let connection = &database.inner.connection;
        connection.query_row(count, [], |row| row.get(0)).unwrap()
    }

    /// Triggers of a stranger's file, which keep what is removed or bring it back.
    const TRIGGERS: [&str; 3] = [
        "CREATE TRIGGER t BEFORE DELETE ON beaver_blob_parts BEGIN SELECT RAISE(IGNORE); END",
        "CREATE TRIGGER t AFTER DELETE ON beaver_blob_parts BEGIN
             INSERT INTO beaver_blob_parts VALUES (OLD.upload, OLD.number, 1, OLD.data); END",
        "CREATE TRIGGER t AFTER DELETE ON beaver_blob_parts BEGIN
             INSERT INTO beaver_blob_parts VALUES (OLD.upload || 'x', 0, 1, OLD.data); END",
    ];

    #[test]
    fn sweeping_and_giving_up_end_whatever_comes_back() {
        for trigger in TRIGGERS {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("app.db");
            let database = Database::open(path.to_str().unwrap(), &Options::default()).unwrap();
            let blob = database.blob("b").unwrap();
            let connection = &database.inner.connection;
            connection
                .execute_batch(&format!(
                    "INSERT INTO beaver_blob_parts VALUES ('stranger', 0, 1, x'00'); {trigger}"
                ))
                .unwrap();
            let mut writer = blob.writer("key").unwrap();
            for _ in 0..3 {
                writer.write(&vec![0; 1 << 20]).unwrap();
            }
            let before = pieces(&database);
            assert!(before > 1);
            drop(writer);
            assert!(pieces(&database) >= before);
        }
    }

    #[test]
    fn every_piece_of_whoever_is_gone_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let database = Database::open(path.to_str().unwrap(), &Options::default()).unwrap();
        let blob = database.blob("b").unwrap();
        let connection = &database.inner.connection;
        for (upload, count, expires_at) in [("one", 16, 1.0), ("other", 33, 2.0), ("new", 2, 9e9)] {
            for number in 0..count {
                connection
                    .execute(
                        "INSERT INTO beaver_blob_parts VALUES (?1, ?2, ?3, x'00')",
                        params![upload, number, expires_at],
                    )
                    .unwrap();
            }
        }
        blob.writer("key").unwrap();
        assert_eq!(pieces(&database), 2);
    }
}
