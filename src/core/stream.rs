//! What logs and channels have in common: stamped rows of many streams in one
//! table, where a row's stamp tells its time and its rowid the order of the commits.
//!
//! What must stay true where anybody follows (`follow.rs`): **a rowid is given
//! out once.** SQLite gives those of deleted rows at a table's end out again, so
//! a trigger in the file leaves one row of a stream that nobody uses in the place
//! of the last. It works for whoever deletes, Python too. `VACUUM` keeps the
//! rowids of tables that have an index, as both have (tried in `tests/streams.rs`).

use crate::cursor::{check_max, check_order, read_page};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::manager::Manager;
use crate::options::OpenMode;
use crate::value;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::rc::Rc;

/// A row of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) timestamp: f64,
    pub(crate) data: String,
}

impl Record {
    pub(crate) fn size(&self) -> usize {
        self.data.len() + 16
    }
}

/// A table of streams: the statements on it.
#[derive(Debug)]
pub(crate) struct Table {
    /// Every row from a rowid on; no data where it is another stream's.
    pub(crate) walk: String,
    last: String,
    first_after: String,
    holds: String,
    range: String,
    count: String,
    remove: String,
    clear: String,
    trigger: String,
    create_trigger: String,
}

impl Table {
    /// The statements on `table`, whose columns are `name` (the stream's),
    /// `timestamp` and `data`.
    pub(crate) fn new(table: &str, name: &str, data: &str) -> Self {
        let sql = |text: &str| {
            text.replace("$table", table)
                .replace("$name", name)
                .replace("$data", data)
        };
        Self {
            // Not by the stream's index, which is in the order of the stamps.
            walk: sql(
                "SELECT rowid, $name = ?2, timestamp, CASE WHEN $name = ?2 THEN $data END
                 FROM $table NOT INDEXED WHERE rowid >= ?1 ORDER BY rowid",
            ),
            last: sql("SELECT rowid FROM $table ORDER BY rowid DESC LIMIT 1"),
            first_after: sql("SELECT min(rowid) FROM $table WHERE $name = ?1 AND timestamp > ?2"),
            holds: sql(
                "SELECT EXISTS (SELECT 1 FROM $table NOT INDEXED WHERE rowid = ?2 AND $name = ?1)",
            ),
            range: sql("SELECT timestamp, $data FROM $table
                 WHERE $name = ?1 AND timestamp > ?2 AND timestamp <= ?3 ORDER BY timestamp"),
            count: sql("SELECT count(*) FROM $table WHERE $name = ?1"),
            remove: sql("DELETE FROM $table WHERE $name = ?1 AND timestamp < ?2"),
            clear: sql("DELETE FROM $table WHERE $name = ?1"),
            trigger: sql("$table_keep_last"),
            // Python's lists of names leave out what begins with underscores.
            create_trigger: sql("
CREATE TRIGGER IF NOT EXISTS $table_keep_last AFTER DELETE ON $table
WHEN NOT EXISTS (SELECT 1 FROM $table WHERE rowid > OLD.rowid)
BEGIN
    DELETE FROM $table WHERE $name = '__beaver_cleared__';
    INSERT INTO $table (rowid, $name, timestamp, $data)
    VALUES (OLD.rowid, '__beaver_cleared__', -OLD.rowid, 'null');
END"),
        }
    }

    /// Sees to it that no rowid of the table is given out twice from now on.
    /// Where the file can't be written that is left to chance.
    pub(crate) fn keep_rowids(&self, database: &Database) -> Result<()> {
        let there: bool = database.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND name = ?1)",
                )?
                .query_row([&self.trigger], |row| row.get(0))?)
        })?;
        if there || database.inner.options.mode == OpenMode::ReadOnly {
            return Ok(());
        }
        let transaction = database.begin_write(None)?;
        database
            .inner
            .connection
            .execute_batch(&self.create_trigger)?;
        transaction.commit()
    }

    /// The rowid of the last commit; 0 when there is none.
    pub(crate) fn last(&self, connection: &Connection) -> Result<i64> {
        Ok(connection
            .prepare_cached(&self.last)?
            .query_row([], |row| row.get(0))
            .optional()?
            .unwrap_or(0))
    }

    /// The first commit of a stream among its rows with a later stamp.
    pub(crate) fn first_after(
        &self,
        connection: &Connection,
        name: &str,
        stamp: f64,
    ) -> Result<Option<i64>> {
        Ok(connection
            .prepare_cached(&self.first_after)?
            .query_row(params![name, stamp], |row| row.get(0))?)
    }

    /// Whether a row is there and of this stream.
    pub(crate) fn holds(&self, connection: &Connection, name: &str, rowid: i64) -> Result<bool> {
        Ok(connection
            .prepare_cached(&self.holds)?
            .query_row(params![name, rowid], |row| row.get(0))?)
    }

    /// The number of a stream's rows.
    pub(crate) fn count(&self, connection: &Connection, name: &str) -> Result<u64> {
        let count: i64 = connection
            .prepare_cached(&self.count)?
            .query_row([name], |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }

    /// Deletes a stream's rows with a stamp before `before`.
    pub(crate) fn remove(&self, connection: &Connection, name: &str, before: f64) -> Result<u64> {
        let removed = connection
            .prepare_cached(&self.remove)?
            .execute(params![name, before])?;
        Ok(removed as u64)
    }

    /// Removes everything of `name`, whatever its stamps are. Returns how much.
    pub(crate) fn clear(&self, connection: &Connection, name: &str) -> Result<u64> {
        let removed = connection.prepare_cached(&self.clear)?.execute([name])?;
        Ok(removed as u64)
    }
}

/// The rows of a stream in the order of their stamps, page by page.
#[derive(Debug)]
pub(crate) struct Range {
    database: Database,
    table: &'static Table,
    manager: Rc<Manager>,
    after: f64,
    end: f64,
    done: bool,
}

impl Range {
    /// Those with a stamp after `after` and up to `end`.
    pub(crate) fn new(
        database: &Database,
        table: &'static Table,
        manager: &Rc<Manager>,
        after: f64,
        end: f64,
    ) -> Self {
        Self {
            database: database.clone(),
            table,
            manager: Rc::clone(manager),
            after,
            end,
            done: false,
        }
    }

    pub(crate) fn next_page(&mut self, max: u32) -> Result<Vec<Record>> {
        check_max(max)?;
        if self.done {
            return Ok(Vec::new());
        }
        let page = self.database.read(|connection| {
            read_page(
                &mut *connection.prepare_cached(&self.table.range)?,
                params![self.manager.name, self.after, self.end],
                max,
                |row| {
                    let record = Record {
                        timestamp: row.get(0)?,
                        data: value::text(row, 1)?,
                    };
                    let size = record.size();
                    Ok((record, size))
                },
            )
        })?;
        check_order(Some(self.after), page.iter().map(|record| record.timestamp))?;
        match page.last() {
            Some(last) => self.after = last.timestamp,
            None => self.done = true,
        }
        Ok(page)
    }
}

/// Refuses what is no time.
pub(crate) fn check_stamp(what: &str, stamp: f64) -> Result<f64> {
    if stamp.is_nan() {
        return Err(Error::InvalidArgument(format!(
            "{what} must be a number of seconds, not NaN"
        )));
    }
    Ok(stamp)
}
