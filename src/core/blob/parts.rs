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
pub(super) fn give_up(database: &Database, upload: String) {
    let inner = &*database.inner;
    if inner.in_transaction.get() {
        // They come back if it is rolled back.
        let _ = remove(&inner.connection, &upload);
        inner.dropped_uploads.borrow_mut().push(upload);
        return;
    }
    loop {
        match remove_some(database, Some(DROP_WAIT), |_| Ok(Some(upload.clone()))) {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => break,
        }
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
    while database
        .read(|connection| abandoned(database, connection))?
        .is_some()
    {
        // Looked for again, because its writer may have come back to life.
        remove_some(database, None, |connection| abandoned(database, connection))?;
    }
    inner.dropped_uploads.borrow_mut().clear();
    Ok(())
}

/// Removes some pieces of the upload that `choose` names; false when it named
/// none or none is left.
fn remove_some(
    database: &Database,
    limit: Option<Duration>,
    choose: impl FnOnce(&Connection) -> Result<Option<String>>,
) -> Result<bool> {
    let transaction = database.begin_write(limit)?;
    let connection = &database.inner.connection;
    let Some(upload) = choose(connection)? else {
        return Ok(false);
    };
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

/// An upload whose writer is gone, if there is one.
fn abandoned(database: &Database, connection: &Connection) -> Result<Option<String>> {
    let inner = &*database.inner;
    let mut statement = connection
        .prepare_cached("SELECT upload, max(expires_at) FROM beaver_blob_parts GROUP BY upload")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let upload: String = row.get(0)?;
        let expires_at: f64 = row.get(1)?;
        let is_gone = || {
            let claim = database.waiter_ids().claim_of_other(&upload);
            claim.is_some_and(|token| inner.runtime.is_gone(connection, token))
        };
        if inner.dropped_uploads.borrow().contains(&upload)
            || expires_at <= inner.runtime.unix_seconds()
            || is_gone()
        {
            return Ok(Some(upload));
        }
    }
    Ok(None)
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
