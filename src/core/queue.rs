//! A priority queue of JSON values, table `beaver_priority_queues`.
//!
//! What must stay true: an item is taken by exactly one `get`; a batch is
//! contiguous in queue order; among equal priorities the order of `put`s is the
//! order of their commits, whatever the clocks say.

use crate::cursor::{Ahead, check_max, check_order, pages_iterator, read_page};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::events::{self, Event, Payload};
use crate::json::python_text;
use crate::lease::WRITE_GRACE;
use crate::manager::{Kind, Manager};
use crate::owner::{Owner, lock_methods};
use crate::topic;
use crate::value;
use crate::write::{Effect, Interference, Request};
use rusqlite::{Connection, Row, params};
use std::rc::Rc;
use std::time::Duration;

/// The largest batch.
pub const MAX_BATCH: u32 = 65_536;

/// How soon a waiting `get` looks again at a lock that was held.
const LOCKED_LOOK: Duration = Duration::from_millis(250);

/// A handle for a queue: one lock owner. Dropping it gives its lock back.
///
/// Every method is one transaction of its own, or part of the open
/// [`Transaction`](crate::Transaction). Values are JSON texts.
#[derive(Debug)]
pub struct Queue {
    pub(crate) database: Database,
    manager: Rc<Manager>,
    owner: Owner,
}

lock_methods!(Queue);

/// An item of a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Lower comes first.
    pub priority: f64,
    /// When it was put: seconds since 1970-01-01 UTC, ascending among the
    /// items of one priority.
    pub timestamp: f64,
    /// The JSON text.
    pub data: String,
}

impl Database {
    /// A handle for the queue `name`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bad name.
    pub fn queue(&self, name: &str) -> Result<Queue> {
        Queue::open(self, name)
    }
}

impl Queue {
    fn open(database: &Database, name: &str) -> Result<Self> {
        let manager = Rc::new(Manager::new(Kind::Queue, name)?);
        Ok(Self {
            owner: Owner::new(database, &manager.lock_name),
            database: database.clone(),
            manager,
        })
    }

    /// The queue's name.
    pub fn name(&self) -> &str {
        &self.manager.name
    }

    /// Adds the JSON text `data`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a NaN priority, [`Error::InvalidJson`],
    /// [`Error::Locked`], [`Error::LockLost`], and what writing may report.
    pub fn put(&self, data: &str, priority: f64) -> Result<()> {
        check_priority(priority)?;
        let data = python_text(data)?;
        let wait = self.database.inner.options.lock_wait;
        self.write("put", Interference::None, wait, None, |connection| {
            let last: Option<f64> = connection
                .prepare_cached(
                    "SELECT max(timestamp) FROM beaver_priority_queues
                     WHERE queue_name = ?1 AND priority = ?2",
                )?
                .query_row(params![self.manager.name, priority], |row| row.get(0))?;
            let now = self.database.inner.runtime.unix_seconds();
            let timestamp = last.map_or(now, |last| now.max(last.next_up()));
            self.insert(connection, priority, timestamp, &data)?;
            Ok(Effect::Changed(()))
        })
    }

    /// Adds all of `items`, whose data are Python's JSON texts, with their
    /// timestamps, in one transaction.
    pub(crate) fn put_all(&self, items: &[Item]) -> Result<()> {
        let lease = self.owner.lease();
        let request = Request {
            manager: &self.manager,
            lease: lease.as_ref(),
            interference: Interference::None,
            event: None,
            wait: self.database.inner.options.lock_wait,
            write_limit: None,
        };
        self.database.write(&request, |connection| {
            for item in items {
                self.insert(connection, item.priority, item.timestamp, &item.data)?;
            }
            let payloads = items.iter().map(|_| Payload::Nothing);
            events::publish_if_heard(&self.database, &self.manager, "put", payloads)?;
            Ok(Effect::Changed(()))
        })
    }

    fn insert(
        &self,
        connection: &Connection,
        priority: f64,
        timestamp: f64,
        data: &str,
    ) -> Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO beaver_priority_queues (queue_name, priority, timestamp, data)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![self.manager.name, priority, timestamp, data])?;
        Ok(())
    }

    /// Another such handle, of the same lock owner: the lock doesn't end with it.
    pub(crate) fn share(&self) -> Self {
        Self {
            database: self.database.clone(),
            manager: Rc::clone(&self.manager),
            owner: self.owner.share(),
        }
    }

    /// Takes the first item, waiting for one up to `timeout` (none: for ever;
    /// zero: tries once).
    ///
    /// # Errors
    /// [`Error::Timeout`]: there was nothing to take. [`Error::Busy`]: there was, and others
    /// wrote all the time. [`Error::InTransaction`] when it would have to wait inside a
    /// transaction. Otherwise as [`Queue::put`].
    pub fn get(&self, timeout: Option<Duration>) -> Result<Item> {
        self.wait_for(timeout, 1, |wait, write_limit| {
            self.take_one(wait, Some(write_limit))
        })
    }

    /// Takes the first item; none when the queue is empty.
    ///
    /// # Errors
    /// As [`Queue::put`].
    pub fn try_get(&self) -> Result<Option<Item>> {
        self.take_one(self.database.inner.options.lock_wait, None)
    }

    /// Takes the first `count` items at once, in order, waiting up to
    /// `timeout` until there are as many.
    ///
    /// # Errors
    /// [`Error::Timeout`]: there weren't as many, and nothing was taken. [`Error::InvalidArgument`] unless
    /// `count` is 1 to [`MAX_BATCH`]. [`Error::TooLarge`]: so many have more bytes than one call
    /// returns, and nothing was taken; ask for fewer. Otherwise as [`Queue::get`].
    pub fn get_batch(&self, count: u32, timeout: Option<Duration>) -> Result<Vec<Item>> {
        if count == 0 || count > MAX_BATCH {
            return Err(Error::InvalidArgument(format!(
                "a batch has 1 to {MAX_BATCH} items"
            )));
        }
        self.wait_for(timeout, count, |wait, write_limit| {
            self.write(
                "get",
                Interference::Possible,
                wait,
                Some(write_limit),
                |connection| {
                    let rows = self.first(connection, count)?;
                    if rows.len() < count as usize {
                        return Ok(Effect::Unchanged(None));
                    }
                    rows.into_iter()
                        .map(|(rowid, item)| remove(connection, rowid).map(|()| item))
                        .collect::<Result<_>>()
                        .map(|items| Effect::Changed(Some(items)))
                },
            )
        })
    }

    /// The first item, left where it is; none when the queue is empty.
    ///
    /// # Errors
    /// What reading may report.
    pub fn peek(&self) -> Result<Option<Item>> {
        self.database.read(|connection| {
            Ok(self
                .first(connection, 1)?
                .into_iter()
                .next()
                .map(|(_, item)| item))
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
                .prepare_cached(
                    "SELECT count(*) FROM beaver_priority_queues WHERE queue_name = ?1",
                )?
                .query_row([&self.manager.name], |row| row.get(0))?;
            Ok(count.cast_unsigned())
        })
    }

    /// Removes every item; returns how many there were.
    ///
    /// # Errors
    /// As [`Queue::put`].
    pub fn clear(&self) -> Result<u64> {
        let wait = self.database.inner.options.lock_wait;
        self.write("clear", Interference::Possible, wait, None, |connection| {
            let deleted = connection
                .prepare_cached("DELETE FROM beaver_priority_queues WHERE queue_name = ?1")?
                .execute([&self.manager.name])? as u64;
            Ok(if deleted > 0 {
                Effect::Changed(deleted)
            } else {
                Effect::Unchanged(0)
            })
        })
    }

    /// The items in queue order, left where they are.
    ///
    /// # Errors
    /// None now; each page may fail.
    pub fn items(&self) -> Result<QueueItems> {
        Ok(QueueItems {
            database: self.database.clone(),
            manager: Rc::clone(&self.manager),
            after: None,
            done: false,
            ahead: Ahead::default(),
        })
    }

    fn write<T>(
        &self,
        event: &'static str,
        interference: Interference,
        wait: Duration,
        write_limit: Option<Duration>,
        write: impl FnMut(&Connection) -> Result<Effect<T>>,
    ) -> Result<T> {
        let lease = self.owner.lease();
        let request = Request {
            manager: &self.manager,
            lease: lease.as_ref(),
            interference,
            event: Some(Event::new(event, Payload::Nothing)),
            wait,
            write_limit,
        };
        self.database.write(&request, write)
    }

    fn take_one(&self, wait: Duration, write_limit: Option<Duration>) -> Result<Option<Item>> {
        self.write(
            "get",
            Interference::Possible,
            wait,
            write_limit,
            |connection| match self.first(connection, 1)?.pop() {
                None => Ok(Effect::Unchanged(None)),
                Some((rowid, item)) => {
                    remove(connection, rowid)?;
                    Ok(Effect::Changed(Some(item)))
                }
            },
        )
    }

    /// Repeats `take` until it takes something or the time is up.
    fn wait_for<T>(
        &self,
        timeout: Option<Duration>,
        count: u32,
        take: impl Fn(Duration, Duration) -> Result<Option<T>>,
    ) -> Result<T> {
        let inner = &*self.database.inner;
        let deadline = timeout.and_then(|timeout| inner.runtime.monotonic().checked_add(timeout));
        let remaining = || {
            deadline.map_or(Duration::MAX, |deadline| {
                deadline.saturating_sub(inner.runtime.monotonic())
            })
        };
        let mut first = true;
        let watching = self.database.watching();
        loop {
            // The first try needs no token: mostly it takes something. After it
            // a token is taken before each look, so that a commit after the
            // look ends the wait, and a read tells whether another try, which
            // takes the write lock, is worth while.
            let trying = std::mem::take(&mut first);
            let seen = (!trying).then(|| inner.runtime.change_token(&inner.connection));
            let mut longest = Duration::MAX;
            if trying || self.has(count)? {
                let (left, in_transaction) = (remaining(), inner.in_transaction.get());
                match take(left.min(inner.options.lock_wait), left.max(WRITE_GRACE)) {
                    Ok(Some(taken)) => return Ok(taken),
                    Ok(None) => {}
                    // The lock's holder may put or take, the writer will end: what
                    // counts is our own time. No commit tells of a lock that expires.
                    Err(Error::Locked(_)) if !in_transaction => longest = LOCKED_LOOK,
                    // Others in a circle may give up; a lock of our own stays.
                    Err(Error::Deadlock(circle)) if circle.len() > 1 => longest = LOCKED_LOOK,
                    // Not a timeout where there is something: that would say there isn't.
                    Err(Error::Busy) if remaining().is_zero() && !self.has(count)? => {
                        return Err(Error::Timeout);
                    }
                    Err(error) => return Err(error),
                }
            }
            if remaining().is_zero() {
                if longest != LOCKED_LOOK {
                    return Err(Error::Timeout);
                }
                let lock_name = &self.manager.lock_name;
                return Err(match self.database.timed_out(&[lock_name]) {
                    // As above: somebody stood in the way of what there is.
                    Error::Timeout if self.has(count)? => Error::Locked(lock_name.clone()),
                    error => error,
                });
            }
            if inner.in_transaction.get() {
                return Err(Error::InTransaction);
            }
            if let Some(seen) = seen {
                let wait = remaining().min(longest);
                if longest == LOCKED_LOOK {
                    watching.topic(topic::lock(&self.manager.lock_name), false);
                } else {
                    // A batch may want more than the one whose turn it is.
                    let contents = topic::contents(&self.manager.cache_namespace);
                    watching.topic(contents, count == 1);
                }
                inner.runtime.wait_change(&inner.connection, seen, wait);
            }
        }
    }

    fn has(&self, count: u32) -> Result<bool> {
        self.database.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM beaver_priority_queues
                     WHERE queue_name = ?1 LIMIT 1 OFFSET ?2)",
                )?
                .query_row(params![self.manager.name, count - 1], |row| row.get(0))?)
        })
    }

    fn first(&self, connection: &Connection, count: u32) -> Result<Vec<(i64, Item)>> {
        let mut statement = connection.prepare_cached(
            "SELECT priority, timestamp, data, rowid FROM beaver_priority_queues
             WHERE queue_name = ?1 ORDER BY priority, timestamp, rowid LIMIT ?2",
        )?;
        let mut rows = statement.query(params![self.manager.name, count])?;
        let (mut first, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let item = decode(row)?;
            bytes += item.data.len();
            value::check(bytes)?;
            first.push((row.get(3)?, item));
        }
        Ok(first)
    }
}

pub(crate) fn check_priority(priority: f64) -> Result<()> {
    if priority.is_nan() {
        return Err(Error::InvalidArgument(
            "a priority must be a number, not NaN".into(),
        ));
    }
    Ok(())
}

fn decode(row: &Row<'_>) -> rusqlite::Result<Item> {
    Ok(Item {
        priority: row.get(0)?,
        timestamp: row.get(1)?,
        data: value::text(row, 2)?,
    })
}

fn remove(connection: &Connection, rowid: i64) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM beaver_priority_queues WHERE rowid = ?1")?
        .execute([rowid])?;
    Ok(())
}

/// The items of a [`Queue`] in order. Reads page by page, each as the database is then.
#[derive(Debug)]
pub struct QueueItems {
    database: Database,
    manager: Rc<Manager>,
    after: Option<(f64, f64, i64)>,
    done: bool,
    ahead: Ahead<Item>,
}

impl QueueItems {
    /// The next page: at most `max`, fewer when they are large, empty at the end.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for 0, and what reading may report.
    pub fn next_page(&mut self, max: u32) -> Result<Vec<Item>> {
        check_max(max)?;
        if self.done {
            return Ok(Vec::new());
        }
        let (priority, timestamp, rowid) =
            self.after
                .unwrap_or((f64::NEG_INFINITY, f64::NEG_INFINITY, i64::MIN));
        let page = self.database.read(|connection| {
            read_page(
                &mut *connection.prepare_cached(
                    "SELECT priority, timestamp, data, rowid FROM beaver_priority_queues
                     WHERE queue_name = ?1 AND (priority, timestamp, rowid) > (?2, ?3, ?4)
                     ORDER BY priority, timestamp, rowid",
                )?,
                params![self.manager.name, priority, timestamp, rowid],
                max,
                |row| {
                    let item = decode(row)?;
                    let size = item.data.len() + 24;
                    Ok(((row.get::<_, i64>(3)?, item), size))
                },
            )
        })?;
        let place = |(rowid, item): &(i64, Item)| (item.priority, item.timestamp, *rowid);
        check_order(self.after, page.iter().map(place))?;
        match page.last() {
            Some((rowid, last)) => self.after = Some((last.priority, last.timestamp, *rowid)),
            None => self.done = true,
        }
        Ok(page.into_iter().map(|(_, item)| item).collect())
    }
}

pages_iterator!(QueueItems, Item);
