//! What Python's vector index watches: `beaver_vector_change_log` and
//! `beaver_collection_versions`.
//!
//! A process of BeaverDB 1.3.0 keeps the vectors in memory: a *base*, read when
//! the base version rises, and the changes since, which it follows by the log.
//! What must stay true: after any of our commits such a process, whether it had
//! a copy or not, finds at its next search the vectors that the table holds.
//!
//! The log alone can't say everything. A process adds a changed vector to the
//! old one instead of replacing it, and one that starts leaves out every
//! document that the log has dropped, also when it came back. Where that would
//! be wrong the base version rises: everybody reads the table anew. New base
//! versions are ids of the log, which never come again: the reference's `clear`
//! deletes the version, and a number counted up from nothing would be lower
//! than the one that others remember.

use crate::error::{Error, Result};
use rusqlite::{Connection, params};

const SET: i64 = 1;
const REMOVED: i64 = 2;

/// After so many changes, as in the reference, the next one raises the base version.
const CHANGES_MAX: i64 = 100;

struct State {
    changes: i64,
    /// Whether the document in question was removed in the log.
    removed: bool,
    base: Option<i64>,
}

/// The document `id` has a new vector; `replaced` when it had another before.
pub(super) fn vector_set(
    connection: &Connection,
    name: &str,
    id: &str,
    replaced: bool,
) -> Result<()> {
    let state = state(connection, name, id)?;
    let change = append(connection, name, id, SET)?;
    // Without a version the collection is new, or the reference has cleared it
    // behind the back of processes that still have the old base.
    if replaced || state.removed || state.base.is_none() || state.changes >= CHANGES_MAX {
        raise_base(connection, name, &state, change, change - 1)?;
    }
    Ok(())
}

/// The document `id` has no vector any more.
pub(super) fn vector_removed(connection: &Connection, name: &str, id: &str) -> Result<()> {
    let state = state(connection, name, id)?;
    let change = append(connection, name, id, REMOVED)?;
    if state.changes >= CHANGES_MAX {
        raise_base(connection, name, &state, change, change)?;
    }
    Ok(())
}

/// No document is left. Whether anybody may know of a vector.
pub(super) fn all_removed(connection: &Connection, name: &str) -> Result<()> {
    let state = state(connection, name, "")?;
    if state.changes > 0 || state.base.is_some() {
        let change = append(connection, name, "", REMOVED)?;
        raise_base(connection, name, &state, change, change)?;
    }
    Ok(())
}

/// Raises the base version if there was a change since the last time.
pub(super) fn compact(connection: &Connection, name: &str) -> Result<bool> {
    let state = state(connection, name, "")?;
    if state.changes == 0 {
        return Ok(false);
    }
    let change = append(connection, name, "", REMOVED)?;
    raise_base(connection, name, &state, change, change)?;
    Ok(true)
}

fn state(connection: &Connection, name: &str, id: &str) -> Result<State> {
    let mut statement = connection
        .prepare_cached(
            "SELECT count(*), coalesce(max(item_id = ?2 AND operation_type = 2), 0),
               (SELECT base_version FROM beaver_collection_versions WHERE collection_name = ?1)
             FROM beaver_vector_change_log WHERE collection_name = ?1",
        )
        .map_err(|error| match Error::from(error) {
            Error::Failed { message, .. } | Error::UnsupportedFormat(message)
                if message.contains("base_version") =>
            {
                Error::UnsupportedFormat(
                    "the file's vectors were kept by BeaverDB 0.20 or older, in another table"
                        .into(),
                )
            }
            other => other,
        })?;
    Ok(statement.query_row([name, id], |row| {
        Ok(State {
            changes: row.get(0)?,
            removed: row.get(1)?,
            base: row.get(2)?,
        })
    })?)
}

fn append(connection: &Connection, name: &str, id: &str, change: i64) -> Result<i64> {
    connection
        .prepare_cached(
            "INSERT INTO beaver_vector_change_log (collection_name, item_id, operation_type)
             VALUES (?1, ?2, ?3)",
        )?
        .execute(params![name, id, change])?;
    Ok(connection.last_insert_rowid())
}

/// Raises the base version, to at least `change`, and forgets the log up to `upto`.
fn raise_base(
    connection: &Connection,
    name: &str,
    state: &State,
    change: i64,
    upto: i64,
) -> Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM beaver_vector_change_log WHERE collection_name = ?1 AND log_id <= ?2",
        )?
        .execute(params![name, upto])?;
    let version = state.base.unwrap_or(0).saturating_add(1).max(change);
    connection
        .prepare_cached(
            "INSERT INTO beaver_collection_versions (collection_name, base_version) VALUES (?1, ?2)
             ON CONFLICT (collection_name) DO UPDATE SET base_version = excluded.base_version",
        )?
        .execute(params![name, version])?;
    Ok(())
}
