//! Reading a list, or a slice of it, page by page.
//!
//! What must stay true: an item that stays in the list during the whole
//! iteration, and isn't moved out of the slice by others, is returned exactly
//! once and in order, also when the order keys are spread between two pages.

use super::List;
use crate::cursor::{Ahead, PAGE_BYTES, check_max, out_of_order, pages_iterator};
use crate::database::Database;
use crate::error::Result;
use crate::manager::Manager;
use crate::value;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::collections::VecDeque;
use std::rc::Rc;

/// How many of the last items returned are remembered, to find the place by.
const RECENT: usize = 64;

/// How much of an item's text tells it from another with its row's number.
const MARK_CHARS: usize = 64;

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
    /// The last items returned, the last one at the back.
    recent: VecDeque<Mark>,
    /// How many more items there may be.
    remaining: u64,
    ahead: Ahead<String>,
}

/// An item's row. SQLite gives a row's number again when the table's newest row was
/// deleted, or its insertion rolled back; then the text is another one.
#[derive(Clone, Debug)]
struct Mark {
    rowid: i64,
    /// The beginning of the item.
    text: String,
}

impl Mark {
    fn new(rowid: i64, value: &str) -> Self {
        Self {
            rowid,
            text: value.chars().take(MARK_CHARS).collect(),
        }
    }

    /// The item's key, if it is still there.
    fn key(&self, connection: &Connection, list: &str) -> Result<Option<f64>> {
        Ok(connection
            .prepare_cached(
                "SELECT item_order FROM beaver_lists
                 WHERE rowid = ?2 AND list_name = ?1 AND substr(item_value, 1, ?4) = ?3",
            )?
            .query_row(
                params![list, self.rowid, self.text, MARK_CHARS as i64],
                |row| row.get(0),
            )
            .optional()?)
    }
}

/// A place between two items.
#[derive(Debug)]
struct Position {
    /// The item after it, where it is known.
    next: Option<Mark>,
    /// What comes next has this key or a larger one, as long as `spreads` is
    /// what it was. After that the items around it tell where the place is.
    key: f64,
    spreads: i64,
}

/// What no list has been spread.
const NEVER: i64 = -1;

impl Position {
    const START: Self = Self {
        next: None,
        key: f64::NEG_INFINITY,
        spreads: 0,
    };

    /// Just before the item of a row with its number, its key, the spreads, and
    /// its text.
    fn before(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            next: Some(Mark::new(row.get(0)?, row.get_ref(3)?.as_str()?)),
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
            recent: VecDeque::new(),
            remaining,
            ahead: Ahead::default(),
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
        let database = self.database.clone();
        let inner = &*database.inner;
        if self
            .rollbacks
            .is_some_and(|seen| seen != inner.rollbacks.get())
        {
            // The keys seen inside never were, and their count is given out again.
            self.position.spreads = NEVER;
        }
        let page = match database.read(|connection| self.read_page(connection, max))? {
            Some(page) => page,
            None => database.read_snapshot(|connection| {
                self.position.key = self.find_again(connection)?;
                self.position.spreads = self.spreads(connection)?;
                self.read_page(connection, max)
                    .map(Option::unwrap_or_default)
            })?,
        };
        self.rollbacks = inner.in_transaction.get().then(|| inner.rollbacks.get());
        self.remaining = match page.len() as u64 {
            0 => 0,
            read => self.remaining - read,
        };
        Ok(page)
    }

    /// Reads a page and where it ended, in one statement: one view of the
    /// database. None, and nothing has changed: keys were moved, so the place has
    /// to be found again.
    fn read_page(&mut self, connection: &Connection, max: u64) -> Result<Option<Vec<String>>> {
        let mut statement = connection.prepare_cached(
            "SELECT item_value, rowid, item_order, coalesce(
               (SELECT version FROM beaver_manager_versions WHERE namespace = ?2), 0)
             FROM beaver_lists
             WHERE list_name = ?1 AND item_order >= ?3 AND rowid IS NOT ?4
             ORDER BY item_order",
        )?;
        // No key comes after infinity, which others can have written.
        let last = self.recent.back().map(|mark| mark.rowid);
        let mut rows = statement.query(params![
            self.manager.name,
            self.spreads_namespace,
            self.position.key,
            last.filter(|_| self.position.key == f64::INFINITY)
        ])?;
        let (mut page, mut rowids, mut bytes) = (Vec::new(), Vec::new(), 0);
        let (mut key, mut next, mut before) = (self.position.key, None, None);
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(3)? != self.position.spreads && key != f64::NEG_INFINITY {
                return Ok(None);
            }
            let (value, rowid): (String, i64) = (value::text(row, 0)?, row.get(1)?);
            let order: f64 = row.get(2)?;
            if order < key || before.is_some_and(|before| order <= before) {
                return Err(out_of_order());
            }
            before = Some(order);
            if page.len() as u64 >= max || bytes >= PAGE_BYTES {
                next = Some(Mark::new(rowid, &value));
                break;
            }
            self.position.spreads = row.get(3)?;
            key = order.next_up();
            bytes += value.len();
            page.push(value);
            rowids.push(rowid);
        }
        if page.is_empty() {
            let has_moved = self.spreads(connection)? != self.position.spreads;
            return Ok((!has_moved || key == f64::NEG_INFINITY).then_some(page));
        }
        self.position.key = key;
        self.position.next = next;
        let read = page.iter().zip(rowids);
        let last = read.skip(page.len().saturating_sub(RECENT));
        self.recent
            .extend(last.map(|(value, rowid)| Mark::new(rowid, value)));
        self.recent
            .drain(..self.recent.len().saturating_sub(RECENT));
        Ok(Some(page))
    }

    /// How often the list's keys have been moved.
    fn spreads(&self, connection: &Connection) -> Result<i64> {
        let spreads = connection
            .prepare_cached("SELECT version FROM beaver_manager_versions WHERE namespace = ?1")?
            .query_row([&self.spreads_namespace], |row| row.get(0))
            .optional()?;
        Ok(spreads.unwrap_or(0))
    }

    /// The key of the place by the items around it: after the last one returned, or
    /// before the next one, or else after the last of those before that is still there.
    fn find_again(&self, connection: &Connection) -> Result<f64> {
        let list = &self.manager.name;
        let mut returned = self.recent.iter().rev();
        if let Some(last) = returned.next()
            && let Some(key) = last.key(connection, list)?
        {
            return Ok(key.next_up());
        }
        if let Some(next) = &self.position.next
            && let Some(key) = next.key(connection, list)?
        {
            return Ok(key);
        }
        for mark in returned {
            if let Some(key) = mark.key(connection, list)? {
                return Ok(key.next_up());
            }
        }
        Ok(self.position.key)
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
                   (SELECT version FROM beaver_manager_versions WHERE namespace = ?2), 0),
                   item_value
                 FROM beaver_lists WHERE list_name = ?1
                 ORDER BY item_order DESC LIMIT 1 OFFSET ?3",
                !start,
            )
        } else {
            (
                "SELECT rowid, item_order, coalesce(
                   (SELECT version FROM beaver_manager_versions WHERE namespace = ?2), 0),
                   item_value
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
               item_value, (SELECT length FROM list)
             FROM beaver_lists WHERE list_name = ?1
             ORDER BY item_order
             LIMIT 1 OFFSET iif(?3 < 0, max(?3 + (SELECT length FROM list), 0), ?3)",
        )?
        .query_row(
            params![list.manager.name, list.spreads_namespace, start],
            |row| {
                let length: i64 = row.get(4)?;
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

    fn open() -> (tempfile::TempDir, Database) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let database = Database::open(path.to_str().unwrap(), &Options::default()).unwrap();
        (directory, database)
    }

    // Found by the model: SQLite gives a row's number again after a rollback, and the
    // place was taken to be where the new row of that number is.
    #[test]
    fn a_row_that_was_rolled_back_is_not_taken_for_the_next_of_its_number() {
        let (_directory, database) = open();
        let list = database.list("l").unwrap();
        list.push("0").unwrap();
        let transaction = database.begin().unwrap();
        list.push("1").unwrap();
        let mut items = list.items().unwrap();
        assert_eq!(items.next_page(2).unwrap(), ["0", "1"]);
        transaction.rollback().unwrap();
        list.prepend("2").unwrap();
        assert!(items.next_page(9).unwrap().is_empty(), "0 again");
    }

    // The same without a transaction, which takes a spread.
    #[test]
    fn a_row_that_was_deleted_is_not_taken_for_the_next_of_its_number() {
        let (_directory, database) = open();
        let list = database.list("l").unwrap();
        for value in 0..3 {
            list.push(&value.to_string()).unwrap();
        }
        let mut items = list.items().unwrap();
        assert_eq!(items.next_page(3).unwrap(), ["0", "1", "2"]);
        assert_eq!(list.pop().unwrap().as_deref(), Some("2"));
        list.prepend("3").unwrap();
        let spread = "INSERT OR REPLACE INTO beaver_manager_versions VALUES ('list-spreads:l', 1)";
        let connection = &database.inner.connection;
        connection.execute_batch(spread).unwrap();
        assert!(items.next_page(9).unwrap().is_empty(), "0 and 1 again");
    }
}
