//! A list of JSON values, table `beaver_lists`.
//!
//! What must stay true: an index means one item, the same in every method and
//! in Python, whatever the order keys are; room between two items never runs
//! out (`order.rs`); every write waits for a Python method under way, because
//! the reference's look up a row or a key in one statement and use it in the next.

mod cursor;
mod order;

pub use cursor::ListItems;

use crate::database::Database;
use crate::error::{Error, Result};
use crate::events::{self, Event, Payload};
use crate::json::python_text;
use crate::manager::{Kind, Manager};
use crate::owner::{Owner, lock_methods};
use crate::value;
use crate::write::{Effect, Interference, Request, touch};
use order::Run;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};
use std::cell::Cell;
use std::rc::Rc;

/// A handle for a list: one lock owner. Dropping it gives its lock back.
///
/// Every method is one transaction of its own, or part of the open
/// [`Transaction`](crate::Transaction). Values are JSON texts. An index counts
/// from the front, or from the end when it is negative: -1 is the last item.
/// Finding it takes time in proportion to its distance from that end.
///
/// ```
/// # fn main() -> beaver_core::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("app.db");
/// # let path = path.to_str().unwrap();
/// use beaver_core::{Database, Options};
///
/// let db = Database::open(path, &Options::default())?;
/// let tasks = db.list("tasks")?;
/// tasks.push(r#""cook""#)?;
/// tasks.push(r#""eat""#)?;
/// tasks.insert(1, r#""set the table""#)?;
/// assert_eq!(tasks.get(-1)?.as_deref(), Some(r#""eat""#));
/// let last_two: Vec<String> = tasks.slice(Some(-2), None)?.collect::<Result<_, _>>()?;
/// assert_eq!(last_two, [r#""set the table""#, r#""eat""#]);
/// assert_eq!(tasks.pop_first()?.as_deref(), Some(r#""cook""#));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct List {
    pub(crate) database: Database,
    manager: Rc<Manager>,
    /// The row of `beaver_manager_versions` that counts how often keys were
    /// spread. No manager of the reference has a namespace that begins like it.
    spreads_namespace: Rc<str>,
    owner: Owner,
    /// Where this handle inserted last.
    run: Cell<Option<Run>>,
}

lock_methods!(List);

impl Database {
    /// A handle for the list `name`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bad name; [`Error::UnsupportedFormat`]
    /// when the file was opened read-only and has had no list yet.
    pub fn list(&self, name: &str) -> Result<List> {
        List::open(self, name)
    }
}

impl List {
    fn open(database: &Database, name: &str) -> Result<Self> {
        let manager = Rc::new(Manager::new(Kind::List, name)?);
        database.require(Kind::List)?;
        Ok(Self {
            owner: Owner::new(database, &manager.lock_name),
            database: database.clone(),
            manager,
            spreads_namespace: format!("list-spreads:{name}").into(),
            run: Cell::new(None),
        })
    }

    /// The list's name.
    pub fn name(&self) -> &str {
        &self.manager.name
    }

    /// Adds the JSON text `value` at the end.
    ///
    /// # Errors
    /// [`Error::InvalidJson`], [`Error::InvalidArgument`], [`Error::Locked`],
    /// [`Error::LockLost`], and what writing may report.
    pub fn push(&self, value: &str) -> Result<()> {
        let value = python_text(value)?;
        self.write("push", Payload::Nothing, |connection| {
            self.append(connection, &value)?;
            Ok(Effect::Changed(()))
        })
    }

    /// Adds all of `values`, which are Python's JSON texts, at the end, in one transaction.
    pub(crate) fn push_all(&self, values: &[String]) -> Result<()> {
        self.write("push", Payload::Nothing, |connection| {
            for value in values {
                self.append(connection, value)?;
            }
            // The last one's event is the write's own.
            let payloads = values.iter().skip(1).map(|_| Payload::Nothing);
            events::publish_if_heard(&self.database, &self.manager, "push", payloads)?;
            Ok(Effect::Changed(()))
        })
    }

    /// Another such handle, of the same lock owner: the lock doesn't end with it.
    pub(crate) fn share(&self) -> Self {
        Self {
            database: self.database.clone(),
            manager: Rc::clone(&self.manager),
            spreads_namespace: Rc::clone(&self.spreads_namespace),
            owner: self.owner.share(),
            run: Cell::new(None),
        }
    }

    /// Adds the JSON text `value` at the front.
    ///
    /// # Errors
    /// As [`List::push`].
    pub fn prepend(&self, value: &str) -> Result<()> {
        let value = python_text(value)?;
        self.write("prepend", Payload::Nothing, |connection| {
            self.append_to_front(connection, &value)?;
            Ok(Effect::Changed(()))
        })
    }

    /// Adds the JSON text `value` before the item `index`, as Python's
    /// `list.insert`: an index beyond an end means that end, and -1 before the
    /// last item.
    ///
    /// # Errors
    /// As [`List::push`].
    pub fn insert(&self, index: i64, value: &str) -> Result<()> {
        let value = python_text(value)?;
        self.write("insert", Payload::Index(index), |connection| {
            match self.place(connection, index)? {
                Place::Front => {
                    self.append_to_front(connection, &value)?;
                    // The reference calls its own method there, which has an event too.
                    self.tell_too("prepend")?;
                }
                Place::End => {
                    self.append(connection, &value)?;
                    self.tell_too("push")?;
                }
                Place::Between(before, after) => {
                    let run = match order::between(before, after, self.run.get()) {
                        Some(run) => run,
                        None => Run::new(self.spread(connection, before)?),
                    };
                    self.insert_at(connection, run.last(), &value)?;
                    self.run.set(Some(run));
                }
            }
            Ok(Effect::Changed(()))
        })
    }

    /// Removes the last item and returns its JSON text; none when the list is empty.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::LockLost`], and what writing may report.
    pub fn pop(&self) -> Result<Option<String>> {
        self.take(
            "pop",
            "DELETE FROM beaver_lists WHERE rowid = (
               SELECT rowid FROM beaver_lists WHERE list_name = ?1
               ORDER BY item_order DESC LIMIT 1)
             RETURNING item_value",
        )
    }

    /// Removes the first item and returns its JSON text; none when the list is
    /// empty. The reference's `deque`.
    ///
    /// # Errors
    /// As [`List::pop`].
    pub fn pop_first(&self) -> Result<Option<String>> {
        self.take(
            "deque",
            "DELETE FROM beaver_lists WHERE rowid = (
               SELECT rowid FROM beaver_lists WHERE list_name = ?1
               ORDER BY item_order LIMIT 1)
             RETURNING item_value",
        )
    }

    /// The JSON text of the item `index`; none when there is no such item.
    ///
    /// # Errors
    /// What reading may report.
    pub fn get(&self, index: i64) -> Result<Option<String>> {
        self.database.read(|connection| {
            let (mut statement, offset) = at_index(
                connection,
                index,
                "SELECT item_value FROM beaver_lists WHERE list_name = ?1
                 ORDER BY item_order LIMIT 1 OFFSET ?2",
                "SELECT item_value FROM beaver_lists WHERE list_name = ?1
                 ORDER BY item_order DESC LIMIT 1 OFFSET ?2",
            )?;
            Ok(statement
                .query_row(params![self.manager.name, offset], |row| {
                    value::text(row, 0)
                })
                .optional()?)
        })
    }

    /// Replaces the item `index` by the JSON text `value`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when there is no such item; otherwise as [`List::push`].
    pub fn set(&self, index: i64, value: &str) -> Result<()> {
        let value = python_text(value)?;
        self.write("set", Payload::Index(index), |connection| {
            let (mut statement, offset) = at_index(
                connection,
                index,
                "UPDATE beaver_lists SET item_value = ?3 WHERE rowid = (
                   SELECT rowid FROM beaver_lists WHERE list_name = ?1
                   ORDER BY item_order LIMIT 1 OFFSET ?2)",
                "UPDATE beaver_lists SET item_value = ?3 WHERE rowid = (
                   SELECT rowid FROM beaver_lists WHERE list_name = ?1
                   ORDER BY item_order DESC LIMIT 1 OFFSET ?2)",
            )?;
            match statement.execute(params![self.manager.name, offset, value])? {
                0 => Err(Error::OutOfRange),
                _ => Ok(Effect::Changed(())),
            }
        })
    }

    /// Removes the item `index`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when there is no such item; otherwise as [`List::pop`].
    pub fn delete(&self, index: i64) -> Result<()> {
        self.write("del", Payload::Index(index), |connection| {
            let (mut statement, offset) = at_index(
                connection,
                index,
                "DELETE FROM beaver_lists WHERE rowid = (
                   SELECT rowid FROM beaver_lists WHERE list_name = ?1
                   ORDER BY item_order LIMIT 1 OFFSET ?2)",
                "DELETE FROM beaver_lists WHERE rowid = (
                   SELECT rowid FROM beaver_lists WHERE list_name = ?1
                   ORDER BY item_order DESC LIMIT 1 OFFSET ?2)",
            )?;
            match statement.execute(params![self.manager.name, offset])? {
                0 => Err(Error::OutOfRange),
                _ => Ok(Effect::Changed(())),
            }
        })
    }

    /// Whether the list has an item with the JSON text that Python prints for
    /// `value`. Reads the list up to it.
    ///
    /// # Errors
    /// [`Error::InvalidJson`], [`Error::InvalidArgument`], and what reading may report.
    pub fn contains(&self, value: &str) -> Result<bool> {
        let value = python_text(value)?;
        self.database.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM beaver_lists
                     WHERE list_name = ?1 AND item_value = ?2)",
                )?
                .query_row(params![self.manager.name, value], |row| row.get(0))?)
        })
    }

    /// The number of items.
    ///
    /// # Errors
    /// What reading may report.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a count is a query; is_empty would hide that"
    )]
    pub fn len(&self) -> Result<u64> {
        self.database.read(|connection| {
            let count: i64 = connection
                .prepare_cached("SELECT count(*) FROM beaver_lists WHERE list_name = ?1")?
                .query_row([&self.manager.name], |row| row.get(0))?;
            Ok(count.cast_unsigned())
        })
    }

    /// Removes every item; returns how many there were.
    ///
    /// # Errors
    /// As [`List::pop`].
    pub fn clear(&self) -> Result<u64> {
        self.write("clear", Payload::Nothing, |connection| {
            let deleted = connection
                .prepare_cached("DELETE FROM beaver_lists WHERE list_name = ?1")?
                .execute([&self.manager.name])? as u64;
            Ok(if deleted > 0 {
                Effect::Changed(deleted)
            } else {
                Effect::Unchanged(0)
            })
        })
    }

    /// The items in order.
    ///
    /// # Errors
    /// None now; each page may fail.
    pub fn items(&self) -> Result<ListItems> {
        Ok(ListItems::all(self))
    }

    /// Python's `list[start:stop]`: the items from the index `start` (none: the
    /// front) up to, not including, the index `stop` (none: the end). An index
    /// beyond an end means that end. Where the slice begins, and how many items
    /// it has at most, is settled by this call; the items are read later.
    ///
    /// # Errors
    /// What reading may report; each page may fail too.
    pub fn slice(&self, start: Option<i64>, stop: Option<i64>) -> Result<ListItems> {
        ListItems::slice(self, start, stop)
    }

    fn write<T>(
        &self,
        event: &'static str,
        payload: Payload<'_>,
        write: impl FnMut(&Connection) -> Result<Effect<T>>,
    ) -> Result<T> {
        let lease = self.owner.lease();
        let request = Request {
            manager: &self.manager,
            lease: lease.as_ref(),
            // Also an added row: Python's `push` reads the largest key, then inserts.
            interference: Interference::Possible,
            event: Some(Event::new(event, payload)),
            wait: self.database.inner.options.lock_wait,
            write_limit: None,
        };
        self.database.write(&request, write)
    }

    /// Publishes a second event of this write.
    fn tell_too(&self, event: &'static str) -> Result<()> {
        events::publish_if_heard(&self.database, &self.manager, event, [Payload::Nothing])
    }

    fn take(&self, event: &'static str, sql: &str) -> Result<Option<String>> {
        self.write(event, Payload::Nothing, |connection| {
            let taken = connection
                .prepare_cached(sql)?
                .query_row([&self.manager.name], |row| value::text(row, 0))
                .optional()?;
            Ok(match taken {
                Some(_) => Effect::Changed(taken),
                None => Effect::Unchanged(None),
            })
        })
    }

    fn append(&self, connection: &Connection, value: &str) -> Result<()> {
        // Adding 1.0 gives the same key again, which is ignored, once keys are
        // too large (or infinite: another program's).
        let added = connection
            .prepare_cached(
                "INSERT OR IGNORE INTO beaver_lists (list_name, item_order, item_value)
                 VALUES (?1, 1.0 + coalesce(
                   (SELECT max(item_order) FROM beaver_lists WHERE list_name = ?1), 0.0), ?2)",
            )?
            .execute(params![self.manager.name, value])?;
        if added == 0 {
            let key = self.renumber(connection, Some(f64::INFINITY))?;
            self.insert_at(connection, key, value)?;
        }
        Ok(())
    }

    fn append_to_front(&self, connection: &Connection, value: &str) -> Result<()> {
        let added = connection
            .prepare_cached(
                "INSERT OR IGNORE INTO beaver_lists (list_name, item_order, item_value)
                 VALUES (?1, -1.0 + coalesce(
                   (SELECT min(item_order) FROM beaver_lists WHERE list_name = ?1), 0.0), ?2)",
            )?
            .execute(params![self.manager.name, value])?;
        if added == 0 {
            let key = self.renumber(connection, None)?;
            self.insert_at(connection, key, value)?;
        }
        Ok(())
    }

    fn insert_at(&self, connection: &Connection, key: f64, value: &str) -> Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO beaver_lists (list_name, item_order, item_value)
                 VALUES (?1, ?2, ?3)",
            )?
            .execute(params![self.manager.name, key, value])?;
        Ok(())
    }

    /// Makes room after the key `before`; returns a key there.
    fn spread(&self, connection: &Connection, before: f64) -> Result<f64> {
        touch(connection, &self.spreads_namespace)?;
        order::spread(connection, &self.manager.name, before)
    }

    fn renumber(&self, connection: &Connection, before: Option<f64>) -> Result<f64> {
        touch(connection, &self.spreads_namespace)?;
        order::renumber(connection, &self.manager.name, before)
    }

    /// Where an item inserted at `index` belongs.
    fn place(&self, connection: &Connection, index: i64) -> Result<Place> {
        if index == 0 {
            return Ok(Place::Front);
        }
        // The item that is pushed back, and the one before it.
        let (sql, offset) = if index < 0 {
            (
                "SELECT item_order FROM beaver_lists WHERE list_name = ?1
                 ORDER BY item_order DESC LIMIT 2 OFFSET ?2",
                !index,
            )
        } else {
            (
                "SELECT item_order FROM beaver_lists WHERE list_name = ?1
                 ORDER BY item_order LIMIT 2 OFFSET ?2",
                index - 1,
            )
        };
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![self.manager.name, offset])?;
        let mut next =
            || -> Result<Option<f64>> { Ok(rows.next()?.map(|row| row.get(0)).transpose()?) };
        Ok(match (next()?, next()?) {
            (Some(after), Some(before)) if index < 0 => Place::Between(before, after),
            (Some(before), Some(after)) => Place::Between(before, after),
            _ if index < 0 => Place::Front,
            _ => Place::End,
        })
    }
}

enum Place {
    Front,
    End,
    /// Between two keys.
    Between(f64, f64),
}

/// The statement for an index from the front or the one for an index from the
/// end, and how many rows to skip.
fn at_index<'a>(
    connection: &'a Connection,
    index: i64,
    from_front: &str,
    from_end: &str,
) -> Result<(CachedStatement<'a>, i64)> {
    let (sql, offset) = if index < 0 {
        (from_end, !index)
    } else {
        (from_front, index)
    };
    Ok((connection.prepare_cached(sql)?, offset))
}
