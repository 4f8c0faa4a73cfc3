//! Reading a list, or a slice of it, page by page.
//!
//! What must stay true: an item that stays in the list during the whole
//! iteration, and isn't moved out of the slice by others, is returned exactly
//! once and in order, also when the order keys are spread between two pages.

use super::List;
use crate::cursor::{PAGE_BYTES, check_max, pages_iterator};
use crate::database::Database;
use crate::error::Result;
use crate::manager::Manager;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::rc::Rc;

/// The items of a [`List`], or of a slice of it, in order. Reads page by page,
/// each as the database is then.
#[derive(Debug)]
pub struct ListItems {
    database: Database,
    manager: Rc<Manager>,
    spreads_namespace: Rc<str>,
    position: Position,
    /// The place was found inside a transaction: how many had been rolled back before.
    rollbacks: Option<u64>,
    /// How many more items there may be.
    remaining: u64,
    buffer: std::vec::IntoIter<String>,
}

/// A place between two items.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// The row of the last item returned.
    previous: Option<i64>,
    /// The row of the item after it.
    next: Option<i64>,
    /// What comes next has this key or a larger one, as long as `spreads` is
    /// what it was. After that it is a row's number, which stays the same, that
    /// tells where the place is: the previous one's, or the next one's where
    /// the previous one was deleted. (A number is given again when the table's
    /// newest row is deleted. All of that between two pages isn't guarded against.)
    key: f64,
    spreads: i64,
}

/// What no list has been spread.
const NEVER: i64 = -1;

impl Position {
    const START: Self = Self {
        previous: None,
        next: None,
        key: f64::NEG_INFINITY,
        spreads: 0,
    };

    /// Just before the item of a row with its number, its key, and the spreads.
    fn before(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            previous: None,
            next: Some(row.get(0)?),
            key: row.get(1)?,
            spreads: row.get(2)?,
        })
    }
}

impl ListItems {
    pub(super) fn all(list: &List) -> Self {
        Self::new(list, Position::START, u64::MAX)
    }

    /// Python's `list[start:stop]`.
    pub(super) fn slice(list: &List, start: Option<i64>, stop: Option<i64>) -> Result<Self> {
        let start = start.unwrap_or(0);
        let found = list
            .database
            .read(|connection| find_slice(connection, list, start, stop))?;
        let (position, length) = found.unwrap_or((Position::START, 0));
        Ok(Self::new(list, position, length))
    }

    fn new(list: &List, position: Position, remaining: u64) -> Self {
        Self {
            database: list.database.clone(),
            manager: Rc::clone(&list.manager),
            spreads_namespace: Rc::clone(&list.spreads_namespace),
            position,
            rollbacks: list
                .database
                .inner
                .in_transaction
                .get()
                .then(|| list.database.inner.rollbacks.get()),
            remaining,
            buffer: Vec::new().into_iter(),
        }
    }

    /// The next page: at most `max`, fewer when they are large, empty at the end.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for 0, and what
    /// reading may report.
    pub fn next_page(&mut self, max: u32) -> Result<Vec<String>> {
        check_max(max)?;
        let max = self.remaining.min(max.into());
        if max == 0 {
            return Ok(Vec::new());
        }
        let inner = &*self.database.inner;
        if self
            .rollbacks
            .is_some_and(|seen| seen != inner.rollbacks.get())
        {
            // The keys seen inside never were, and their count is given out again.
            self.position.spreads = NEVER;
        }
        let (page, position) = self
            .database
            .read(|connection| self.read_page(connection, max))?;
        self.position = position;
        self.rollbacks = inner.in_transaction.get().then(|| inner.rollbacks.get());
        self.remaining = match page.len() as u64 {
            0 => 0,
            read => self.remaining - read,
        };
        Ok(page)
    }

    /// Reads a page and where it ended, in one statement: one view of the database.
    fn read_page(&self, connection: &Connection, max: u64) -> Result<(Vec<String>, Position)> {
        let mut position = self.position;
        let mut statement = connection.prepare_cached(
            "WITH spread (times) AS (
               SELECT coalesce(
                 (SELECT version FROM beaver_manager_versions WHERE namespace = ?2), 0)
             )
             SELECT item_value, rowid, item_order, (SELECT times FROM spread)
             FROM beaver_lists
             WHERE list_name = ?1 AND rowid IS NOT ?3 AND item_order >= coalesce(
               (SELECT item_order FROM beaver_lists
                WHERE rowid = ?3 AND list_name = ?1 AND ?6 <> (SELECT times FROM spread)),
               (SELECT item_order FROM beaver_lists
                WHERE rowid = ?4 AND list_name = ?1 AND ?6 <> (SELECT times FROM spread)),
               ?5)
             ORDER BY item_order",
        )?;
        let mut rows = statement.query(params![
            self.manager.name,
            self.spreads_namespace,
            position.previous,
            position.next,
            position.key,
            position.spreads
        ])?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            if page.len() as u64 >= max || bytes >= PAGE_BYTES {
                position.next = row.get(1)?;
                break;
            }
            let value: String = row.get(0)?;
            bytes += value.len();
            page.push(value);
            position = Position {
                previous: row.get(1)?,
                next: None,
                key: row.get::<_, f64>(2)?.next_up(),
                spreads: row.get(3)?,
            };
        }
        Ok((page, position))
    }
}

pages_iterator!(ListItems, String);

/// Where a slice begins, and how many items it has at most; none when it is empty.
///
/// Each case is one statement, hence one view of the database. The list is
/// counted only where it must be: to compare an index from the front with one
/// from the end, and when an index from the end lies before the front.
fn find_slice(
    connection: &Connection,
    list: &List,
    start: i64,
    stop: Option<i64>,
) -> Result<Option<(Position, u64)>> {
    let same_end = stop.is_none_or(|stop| (start < 0) == (stop < 0));
    if same_end {
        let length = stop.map_or(u64::MAX, |stop| distance(start, stop));
        let (sql, offset) = if start < 0 {
            (
                "SELECT rowid, item_order, coalesce(
                   (SELECT version FROM beaver_manager_versions WHERE namespace = ?2), 0)
                 FROM beaver_lists WHERE list_name = ?1
                 ORDER BY item_order DESC LIMIT 1 OFFSET ?3",
                !start,
            )
        } else {
            (
                "SELECT rowid, item_order, coalesce(
                   (SELECT version FROM beaver_manager_versions WHERE namespace = ?2), 0)
                 FROM beaver_lists WHERE list_name = ?1
                 ORDER BY item_order LIMIT 1 OFFSET ?3",
                start,
            )
        };
        let found = connection
            .prepare_cached(sql)?
            .query_row(
                params![list.manager.name, list.spreads_namespace, offset],
                Position::before,
            )
            .optional()?;
        if found.is_some() || start >= 0 {
            return Ok(found.map(|position| (position, length)));
        }
    }
    Ok(connection
        .prepare_cached(
            "WITH list (length) AS (SELECT count(*) FROM beaver_lists WHERE list_name = ?1)
             SELECT rowid, item_order, coalesce(
               (SELECT version FROM beaver_manager_versions WHERE namespace = ?2), 0),
               (SELECT length FROM list)
             FROM beaver_lists WHERE list_name = ?1
             ORDER BY item_order
             LIMIT 1 OFFSET iif(?3 < 0, max(?3 + (SELECT length FROM list), 0), ?3)",
        )?
        .query_row(
            params![list.manager.name, list.spreads_namespace, start],
            |row| {
                let length: i64 = row.get(3)?;
                let place = |index: i64| {
                    if index < 0 {
                        (index + length).max(0)
                    } else {
                        index.min(length)
                    }
                };
                let stop = stop.map_or(length, place);
                Ok((Position::before(row)?, distance(place(start), stop)))
            },
        )
        .optional()?)
}

/// From one index up to another of the same sign.
fn distance(start: i64, stop: i64) -> u64 {
    u64::try_from(stop - start).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use crate::{Database, Options};

    // Found in review: the count of spreads is given out again after a rollback.
    #[test]
    fn a_place_found_inside_a_rolled_back_transaction_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let database = Database::open(path.to_str().unwrap(), &Options::default()).unwrap();
        let list = database.list("l").unwrap();
        for value in 0..6 {
            list.push(&value.to_string()).unwrap();
        }
        let spread = |keys: &str| {
            let connection = &database.inner.connection;
            let sql = format!(
                "UPDATE beaver_lists SET item_order = {keys};
                 INSERT OR REPLACE INTO beaver_manager_versions VALUES ('list-spreads:l', 1)"
            );
            connection.execute_batch(&sql).unwrap();
        };
        let transaction = database.begin().unwrap();
        spread("item_order + 100");
        let mut items = list.items().unwrap();
        assert_eq!(items.next_page(2).unwrap(), ["0", "1"]);
        transaction.rollback().unwrap();
        spread("item_order + 1000");
        assert_eq!(items.next_page(9).unwrap(), ["2", "3", "4", "5"]);
    }
}
