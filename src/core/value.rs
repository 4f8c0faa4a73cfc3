//! What a row holds, no larger than one call returns.
//!
//! What must stay true: nothing that is read for a caller is copied before its size is known to be one
//! that can be returned. Others' files hold larger values, and the component's callers take no more
//! than 128 MiB from one call: beyond that they end its instance.

use crate::error::{Error, Result};
use crate::manager::MAX_VALUE_BYTES;
use rusqlite::Row;
use rusqlite::types::{Type, ValueRef};

/// The most bytes of one thing that is returned: of a value with its key. A little more than a value has,
/// since the object that a document's body is stored in has some of its own.
pub(crate) const MAX_READ_BYTES: usize = MAX_VALUE_BYTES + (1 << 20);

/// How an [`Error::TooLarge`] comes through SQLite's errors.
#[derive(Debug, thiserror::Error)]
#[error("{0} bytes")]
pub(crate) struct TooLarge(pub(crate) usize);

/// Refuses what has more bytes than are returned.
pub(crate) fn check(bytes: usize) -> Result<()> {
    if bytes > MAX_READ_BYTES {
        return Err(Error::TooLarge(bytes as u64));
    }
    Ok(())
}

/// The same while a row is read.
pub(crate) fn check_row(bytes: usize) -> rusqlite::Result<()> {
    within(0, bytes, MAX_READ_BYTES)
}

/// The text of a column.
pub(crate) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    text_within(row, column, MAX_READ_BYTES)
}

/// The text of a column of at most `limit` bytes.
pub(crate) fn text_within(row: &Row<'_>, column: usize, limit: usize) -> rusqlite::Result<String> {
    within(column, bytes_of(row, column)?, limit)?;
    row.get(column)
}

/// The text of a column that may be NULL.
pub(crate) fn text_or_null(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    within(column, bytes_of(row, column)?, MAX_READ_BYTES)?;
    row.get(column)
}

fn bytes_of(row: &Row<'_>, column: usize) -> rusqlite::Result<usize> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 0,
    })
}

fn within(column: usize, bytes: usize, limit: usize) -> rusqlite::Result<()> {
    if bytes > limit {
        let error = Box::new(TooLarge(bytes));
        return Err(rusqlite::Error::FromSqlConversionFailure(
            column,
            Type::Text,
            error,
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Database, JournalChoice, Options};
    use std::fmt::Debug;
    use std::time::Duration;

    fn database() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let options = Options {
            journal: JournalChoice::Rollback,
            ..Options::default()
        };
        let database = Database::open(path.to_str().unwrap(), &options).unwrap();
        let sql = "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF";
        database.inner.connection.execute_batch(sql).unwrap();
        (folder, database)
    }

    /// More than is returned, as SQL, and its bytes.
    const LARGE: &str = "hex(zeroblob(33 << 20))";
    const LARGE_BYTES: u64 = 66 << 20;

    #[test]
    fn what_others_stored_too_large_is_refused_and_stays() {
        fn refused<T: Debug>(what: &str, result: Result<T>) {
            match result {
                Err(Error::TooLarge(bytes)) => assert!(bytes >= LARGE_BYTES, "{what}: {bytes}"),
                other => panic!("{what}: {:.200}", format!("{other:?}")),
            }
        }
        let (_folder, database) = database();
        let now = Some(Duration::ZERO);
        let put = |table: &str, values: &str| {
            let sql = format!(
                "INSERT INTO {table} VALUES ({})",
                values.replace('$', LARGE)
            );
            database.inner.connection.execute(&sql, []).unwrap();
        };
        let take = |table: &str| {
            let sql = format!("DELETE FROM {table}");
            let taken = database.inner.connection.execute(&sql, []).unwrap();
            assert_eq!(taken, 1, "{table}: it is still there");
        };

        let dict = database.dict("d").unwrap();
        put("beaver_dicts", "'d', 'k', $, NULL");
        refused("get", dict.get("k"));
        refused("pop", dict.pop("k"));
        refused("values", dict.values().unwrap().next_page(1));
        assert!(dict.delete("k").unwrap());

        let list = database.list("l").unwrap();
        put("beaver_lists", "'l', 1, $");
        refused("list get", list.get(0));
        refused("list pop", list.pop());
        refused("list items", list.items().unwrap().next_page(1));
        take("beaver_lists");

        let queue = database.queue("q").unwrap();
        put("beaver_priority_queues", "'q', 1, 1, $");
        refused("peek", queue.peek());
        refused("queue get", queue.get(now));
        refused("queue items", queue.items().unwrap().next_page(1));
        take("beaver_priority_queues");

        let log = database.log("g").unwrap();
        put("beaver_logs", "'g', 1, $");
        refused("entries", log.entries().unwrap().next_page(1));
        refused("tail", log.tail(Some(0.0)).unwrap().next_page(1, now));
        log.clear().unwrap();

        let collection = database.collection("c").unwrap();
        put("beaver_collections", "'c', 'a', NULL, $");
        refused("document", collection.get("a"));
        take("beaver_collections");
        put("beaver_collections", "'c', 'a', zeroblob(66 << 20), NULL");
        refused("vector", collection.documents().unwrap().next_page(1));
        take("beaver_collections");
        put("beaver_edges", "'c', 'a', 'b', 'to', $");
        let mut edges = collection.edges("a", crate::Direction::Outgoing).unwrap();
        refused("edge", edges.next_page(1));
        take("beaver_edges");

        let blob = database.blob("b").unwrap();
        put("beaver_blobs", "'b', 'k', x'00', $");
        refused("blob", blob.get("k"));
        refused("metadata", blob.metadata("k"));
        take("beaver_blobs");
        put("beaver_blobs", "'b', $, x'00', NULL");
        refused("keys", blob.keys().unwrap().next_page(1));
    }

    #[test]
    fn a_row_is_refused_that_is_too_large_as_a_whole() {
        let (_folder, database) = database();
        let half = LARGE.replace("33", "17");
        let sql = format!("INSERT INTO beaver_dicts VALUES ('d', {half}, {half}, NULL)");
        database.inner.connection.execute(&sql, []).unwrap();
        let page = database.dict("d").unwrap().items().unwrap().next_page(1);
        assert_eq!(page.unwrap_err(), Error::TooLarge(2 * (34 << 20)));
    }

    #[test]
    fn a_batch_is_refused_that_is_too_large_as_a_whole() {
        let (_folder, database) = database();
        let queue = database.queue("q").unwrap();
        let half = LARGE.replace("33", "17");
        let sql = format!("INSERT INTO beaver_priority_queues VALUES ('q', ?1, 1, {half})");
        for priority in 0..2 {
            database.inner.connection.execute(&sql, [priority]).unwrap();
        }
        let batch = |count| queue.get_batch(count, Some(Duration::ZERO));
        assert!(matches!(batch(2), Err(Error::TooLarge(_))));
        assert_eq!(batch(1).unwrap().len(), 1);
        assert_eq!(queue.len().unwrap(), 1);
    }

    #[test]
    fn the_largest_value_comes_back_and_no_larger_one_is_stored() {
        let (_folder, database) = database();
        let dict = database.dict("d").unwrap();
        let largest = LARGE.replace("33", "32");
        let sql = format!("INSERT INTO beaver_dicts VALUES ('d', 'k', {largest}, NULL)");
        database.inner.connection.execute(&sql, []).unwrap();
        assert_eq!(dict.get("k").unwrap().unwrap().len(), MAX_VALUE_BYTES);
        // Python's text has six bytes for each of these.
        let value = format!("\"{}\"", "\u{7f}".repeat(MAX_VALUE_BYTES / 6 + 1));
        let set = dict.set("k", &value, None);
        assert!(matches!(set, Err(Error::InvalidArgument(_))));
    }
}
