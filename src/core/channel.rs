//! Messages to whoever listens, table `beaver_pubsub_log`.
//!
//! What must stay true: a stamp is after every other in the table, of whatever
//! channel: it is the table's key, and Python's subscribers ask for what is later
//! than the last they saw. Nothing here takes or awaits a lock.

use crate::cursor::{Ahead, pages_iterator};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::events::EVENTS_CHANNEL;
use crate::follow::{Follower, Start};
use crate::json::python_text;
use crate::manager::{Kind, Manager};
use crate::stream::{Range, Record, Table, check_stamp};
use crate::write::Effect;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

pub(crate) static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::new("beaver_pubsub_log", "channel_name", "message_payload"));

/// A handle for a channel.
///
/// Every write is one transaction of its own, or part of the open
/// [`Transaction`](crate::Transaction). Payloads are JSON texts. Messages stay in
/// the file until they are pruned. A channel has no lock.
///
/// ```
/// # fn main() -> beaver_core::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("app.db");
/// use beaver_core::{Database, Options};
/// use std::time::Duration;
///
/// let db = Database::open(path.to_str().unwrap(), &Options::default())?;
/// let channel = db.channel("news")?;
/// let mut subscription = channel.subscribe(None)?;
/// let stamp = channel.publish(r#""hello""#)?;
/// let messages = subscription.next_page(10, Some(Duration::from_secs(1)))?;
/// assert_eq!((messages[0].timestamp, messages[0].payload.as_str()), (stamp, r#""hello""#));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Channel {
    database: Database,
    manager: Rc<Manager>,
}

/// A message of a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Seconds since 1970-01-01 UTC; no two messages of a file have the same.
    pub timestamp: f64,
    /// The JSON text.
    pub payload: String,
}

impl From<Record> for Message {
    fn from(record: Record) -> Self {
        Self {
            timestamp: record.timestamp,
            payload: record.data,
        }
    }
}

impl Database {
    /// A handle for the channel `name`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bad name.
    pub fn channel(&self, name: &str) -> Result<Channel> {
        self.require(Kind::Channel)?;
        Ok(Channel {
            database: self.clone(),
            manager: Rc::new(Manager::new(Kind::Channel, name)?),
        })
    }
}

impl Channel {
    /// The channel's name.
    pub fn name(&self) -> &str {
        &self.manager.name
    }

    /// Sends the JSON text `payload` to all who listen, now or later, and
    /// returns its stamp: later than that of every message that is there on any
    /// channel, whatever the clocks say.
    ///
    /// # Errors
    /// [`Error::InvalidJson`]; [`Error::InvalidArgument`] on the channel of the
    /// events, which [`Database::emit`] publishes; and what writing may report.
    pub fn publish(&self, payload: &str) -> Result<f64> {
        if self.manager.name == EVENTS_CHANNEL {
            // Python's listeners end for good with the first message that isn't an event.
            return Err(Error::InvalidArgument(format!(
                "{EVENTS_CHANNEL} is the channel of the events: use emit"
            )));
        }
        let payload = python_text(payload)?;
        self.database
            .write_unguarded(&self.manager.cache_namespace, |connection| {
                let now = self.database.inner.runtime.unix_seconds();
                publish(connection, &self.manager.name, &payload, now).map(Effect::Changed)
            })
    }

    /// Listens from now on, or from after the stamp `after`: then the messages
    /// with a later stamp come first.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for NaN, [`Error::InTransaction`], and what
    /// reading may report.
    pub fn subscribe(&self, after: Option<f64>) -> Result<Subscription> {
        let start = match after {
            None => Start::Now,
            Some(stamp) => Start::After(check_stamp("the start", stamp)?),
        };
        Ok(Subscription {
            follower: Follower::new(&self.database, &TABLE, &self.manager, start)?,
        })
    }

    /// The messages that are there in the order of their stamps: all, or those
    /// with a stamp later than `after`, and of these all or the last `last`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for NaN, and what reading may report.
    pub fn history(&self, after: Option<f64>, last: Option<u64>) -> Result<History> {
        let mut after = check_stamp("the start", after.unwrap_or(f64::NEG_INFINITY))?;
        if let Some(last) = last {
            let before_them: Option<f64> = self.database.read(|connection| {
                Ok(connection
                    .prepare_cached(
                        "SELECT timestamp FROM beaver_pubsub_log
                         WHERE channel_name = ?1 AND timestamp > ?2
                         ORDER BY timestamp DESC LIMIT 1 OFFSET ?3",
                    )?
                    .query_row(
                        params![
                            self.manager.name,
                            after,
                            i64::try_from(last).unwrap_or(i64::MAX)
                        ],
                        |row| row.get(0),
                    )
                    .optional()?)
            })?;
            after = before_them.unwrap_or(after);
        }
        Ok(History {
            range: Range::new(&self.database, &TABLE, &self.manager, after, f64::INFINITY),
            ahead: Ahead::default(),
        })
    }

    /// The number of messages that are there.
    ///
    /// # Errors
    /// What reading may report.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a count is a query; is_empty would hide that"
    )]
    pub fn len(&self) -> Result<u64> {
        self.database
            .read(|connection| TABLE.count(connection, &self.manager.name))
    }

    /// Removes the messages with a stamp before `before`; returns how many.
    /// Who listens and hadn't received them doesn't.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for NaN, and what writing may report.
    pub fn prune(&self, before: f64) -> Result<u64> {
        let before = check_stamp("the end", before)?;
        self.write(|connection| TABLE.remove(connection, &self.manager.name, before))
    }

    /// Removes every message; returns how many there were.
    ///
    /// # Errors
    /// What writing may report.
    pub fn clear(&self) -> Result<u64> {
        self.write(|connection| TABLE.clear(connection, &self.manager.name))
    }

    fn write(&self, remove: impl Fn(&Connection) -> Result<u64>) -> Result<u64> {
        self.database
            .write_unguarded(&self.manager.cache_namespace, |connection| {
                Ok(match remove(connection)? {
                    0 => Effect::Unchanged(0),
                    removed => Effect::Changed(removed),
                })
            })
    }
}

/// Adds a message. Call inside a write transaction.
pub(crate) fn publish(connection: &Connection, name: &str, payload: &str, now: f64) -> Result<f64> {
    let greatest: Option<f64> = connection
        .prepare_cached("SELECT max(timestamp) FROM beaver_pubsub_log")?
        .query_row([], |row| row.get(0))?;
    let stamp = greatest.map_or(now, |greatest| now.max(greatest.next_up()));
    if !stamp.is_finite() {
        return Err(Error::Corrupt(
            "a message has no finite time; clear its channel".into(),
        ));
    }
    connection
        .prepare_cached(
            "INSERT INTO beaver_pubsub_log (timestamp, channel_name, message_payload)
             VALUES (?1, ?2, ?3)",
        )?
        .execute(params![stamp, name, payload])?;
    Ok(stamp)
}

/// Receives what is published on a [`Channel`]: every message once, in the
/// order of the commits, whoever published it. Nothing is kept for a
/// subscription in the file: what is pruned before it is received is gone.
#[derive(Debug)]
pub struct Subscription {
    follower: Follower,
}

impl Subscription {
    /// The next messages, at least one and at most `max`, fewer when they are
    /// large. Waits for one up to `timeout` (none: for ever; zero: looks once).
    ///
    /// # Errors
    /// [`Error::Timeout`]: nothing came, and nothing is skipped.
    /// [`Error::InvalidArgument`] for a `max` of 0. [`Error::InTransaction`]: what
    /// a transaction sees may be rolled back.
    pub fn next_page(&mut self, max: u32, timeout: Option<Duration>) -> Result<Vec<Message>> {
        let records = self.follower.wait(max, timeout)?;
        Ok(records.into_iter().map(Message::from).collect())
    }
}

/// The messages of a [`Channel`] in the order of their stamps. Reads page by
/// page, each as the database is then.
#[derive(Debug)]
pub struct History {
    range: Range,
    ahead: Ahead<Message>,
}

impl History {
    /// The next page: at most `max`, fewer when they are large, empty at the end.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for 0, and what reading may report.
    pub fn next_page(&mut self, max: u32) -> Result<Vec<Message>> {
        let page = self.range.next_page(max)?;
        Ok(page.into_iter().map(Message::from).collect())
    }
}

pages_iterator!(History, Message);
