//! Following a stream in the order of its commits.
//!
//! The order of the stamps is another: a log takes entries with a time of
//! their own, and Python takes a message's time before it inserts it. So a
//! follower's position is a rowid: SQLite gives them out in that order.
//!
//! What must stay true:
//! - **Nothing is lost and nothing comes twice**, whoever wrote it: no rowid is
//!   given out twice (`stream.rs`).
//! - **Positions are of committed rows.** No follower looks while a transaction
//!   is open on its connection: it could see what is rolled back later.

use crate::cursor::{PAGE_BYTES, check_max, check_order};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::manager::Manager;
use crate::stream::{Record, Table};
use crate::topic;
use crate::value;
use rusqlite::{Connection, params};
use std::rc::Rc;
use std::time::Duration;

/// Where to start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Start {
    /// After everything that is committed.
    Now,
    /// With what is there and has a later stamp.
    After(f64),
}

/// A position in a stream.
#[derive(Debug)]
pub(crate) struct Follower {
    database: Database,
    table: &'static Table,
    manager: Rc<Manager>,
    /// The first row of the table that wasn't looked at; none behind the last that there can be.
    next: Option<i64>,
    /// The last row of the stream at or before that, if it was looked at.
    own: Option<i64>,
    /// Up to this row, only what has a later stamp than this.
    start: Option<(i64, f64)>,
}

impl Follower {
    /// A follower that has its place.
    pub(crate) fn new(
        database: &Database,
        table: &'static Table,
        manager: &Rc<Manager>,
        start: Start,
    ) -> Result<Self> {
        let mut follower = Self::unplaced(database, table, manager)?;
        database.read_snapshot(|connection| follower.place(connection, start))?;
        Ok(follower)
    }

    /// One that is still to be given its place.
    pub(crate) fn unplaced(
        database: &Database,
        table: &'static Table,
        manager: &Rc<Manager>,
    ) -> Result<Self> {
        let follower = Self {
            database: database.clone(),
            table,
            manager: Rc::clone(manager),
            next: None,
            own: None,
            start: None,
        };
        follower.check_no_transaction()?;
        table.keep_rowids(database)?;
        Ok(follower)
    }

    /// Gives it its place. Call inside a transaction.
    pub(crate) fn place(&mut self, connection: &Connection, start: Start) -> Result<()> {
        let (table, name) = (self.table, self.manager.name.as_str());
        let last = table.last(connection)?;
        (self.next, self.own, self.start) = (last.checked_add(1), None, None);
        if let Start::After(stamp) = start
            && let Some(first) = table.first_after(connection, name, stamp)?
        {
            self.next = Some(first);
            self.start = Some((last, stamp));
        }
        Ok(())
    }

    pub(crate) fn check_no_transaction(&self) -> Result<()> {
        if self.database.inner.in_transaction.get() {
            Err(Error::InTransaction)
        } else {
            Ok(())
        }
    }

    /// What has come, at most `max`, waiting for something up to `timeout`
    /// (none: for ever; zero: looks once).
    pub(crate) fn wait(&mut self, max: u32, timeout: Option<Duration>) -> Result<Vec<Record>> {
        check_max(max)?;
        self.check_no_transaction()?;
        let database = self.database.clone();
        let inner = &*database.inner;
        let runtime = &*inner.runtime;
        let deadline = timeout.and_then(|timeout| runtime.monotonic().checked_add(timeout));
        let remaining = || {
            deadline.map_or(Duration::MAX, |deadline| {
                deadline.saturating_sub(runtime.monotonic())
            })
        };
        // The first look needs no token: mostly there is something.
        let mut seen = None;
        let watching = database.watching();
        loop {
            match self.look(max, i64::MAX, |_| true) {
                Ok(records) if !records.is_empty() => return Ok(records),
                Ok(_) => {}
                Err(Error::Busy) if remaining().is_zero() => return Err(Error::Timeout),
                Err(Error::Busy) => {}
                Err(error) => return Err(error),
            }
            let left = remaining();
            if left.is_zero() {
                return Err(Error::Timeout);
            }
            if let Some(seen) = seen {
                watching.topic(topic::contents(&self.manager.cache_namespace), false);
                runtime.wait_change(&inner.connection, seen, left);
            }
            // Taken before the next look, so that a commit after that ends the wait.
            seen = Some(runtime.change_token(&inner.connection));
        }
    }

    /// What has come up to the row `until`, at most `max` of what `keep` wants
    /// by its stamp; empty when there is no more.
    ///
    /// # Errors
    /// [`Error::Corrupt`] behind a stranger's row with the last rowid: SQLite gives what comes after it
    /// any rowid, so nothing tells what is new.
    pub(crate) fn look(
        &mut self,
        max: u32,
        until: i64,
        keep: impl Fn(f64) -> bool,
    ) -> Result<Vec<Record>> {
        let Some(first) = self.next else {
            return Err(Error::Corrupt("a row has the last rowid".into()));
        };
        let (mut seen, mut own) = (None, self.own);
        let (mut records, mut bytes) = (Vec::new(), 0);
        self.database.read(|connection| {
            let mut statement = connection.prepare_cached(&self.table.walk)?;
            let mut rows = statement.query(params![first, self.manager.name])?;
            while let Some(row) = rows.next()? {
                let rowid = row.get(0)?;
                if rowid > until {
                    break;
                }
                check_order(seen.or(first.checked_sub(1)), [rowid])?;
                seen = Some(rowid);
                if !row.get::<_, bool>(1)? {
                    continue;
                }
                own = Some(rowid);
                let timestamp = row.get(2)?;
                let before = self
                    .start
                    .is_some_and(|(last, stamp)| rowid <= last && timestamp <= stamp);
                if before || !keep(timestamp) {
                    continue;
                }
                let record = Record {
                    timestamp,
                    data: value::text(row, 3)?,
                };
                bytes += record.size();
                records.push(record);
                if bytes >= PAGE_BYTES || records.len() >= max as usize {
                    break;
                }
            }
            Ok(())
        })?;
        // Only now: after an error the next look sees the same again.
        self.own = own;
        if let Some(seen) = seen {
            self.next = seen.checked_add(1);
        }
        Ok(records)
    }

    /// Whether the last row of the stream that it looked at is gone. Says so once.
    pub(crate) fn was_cleared(&mut self, connection: &Connection) -> Result<bool> {
        let Some(own) = self.own else {
            return Ok(false);
        };
        let cleared = !self.table.holds(connection, &self.manager.name, own)?;
        if cleared {
            self.own = None;
        }
        Ok(cleared)
    }

    /// The last row of the table.
    pub(crate) fn last(&self, connection: &Connection) -> Result<i64> {
        self.table.last(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    fn database(rowid: i64) -> (tempfile::TempDir, Database) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.db");
        let db = Database::open(path.to_str().unwrap(), &Options::default()).unwrap();
        db.log("g").unwrap();
        db.channel("p").unwrap();
        let connection = &db.inner.connection;
        for sql in [
            "INSERT INTO beaver_logs (rowid, log_name, timestamp, data) VALUES (?1, 'g', 5, '1')",
            "INSERT INTO beaver_pubsub_log (rowid, channel_name, timestamp, message_payload)
             VALUES (?1, 'p', 5, '1')",
        ] {
            connection.execute(sql, [rowid]).unwrap();
        }
        (dir, db)
    }

    const NOW: Option<Duration> = Some(Duration::ZERO);

    #[test]
    fn a_strangers_first_rowid_is_followed_too() {
        let (_dir, db) = database(i64::MIN);
        let (log, channel) = (db.log("g").unwrap(), db.channel("p").unwrap());
        let mut tail = log.tail(Some(0.0)).unwrap();
        let mut subscription = channel.subscribe(Some(0.0)).unwrap();
        let mut live = log
            .live(Duration::from_secs(1 << 40), Duration::ZERO)
            .unwrap();
        live.next_window(NOW).unwrap();
        for data in ["1", "2"] {
            let entries = tail.next_page(10, NOW).unwrap();
            assert_eq!(entries.len(), 1);
            assert_eq!(entries[0].data, data);
            assert_eq!(live.entered(10).unwrap()[0].data, data);
            let messages = subscription.next_page(10, NOW).unwrap();
            assert_eq!(messages.len(), 1);
            assert_eq!(messages[0].payload, data);
            assert_eq!(tail.next_page(10, NOW), Err(Error::Timeout));
            log.append("2", None).unwrap();
            channel.publish("2").unwrap();
            live.next_window(NOW).unwrap();
        }
    }

    #[test]
    fn behind_the_last_rowid_nothing_is_waited_for() {
        let (_dir, db) = database(i64::MAX);
        let log = db.log("g").unwrap();
        let mut tail = log.tail(Some(0.0)).unwrap();
        assert_eq!(tail.next_page(10, NOW).unwrap().len(), 1);
        assert!(matches!(tail.next_page(10, None), Err(Error::Corrupt(_))));
        let mut tail = log.tail(None).unwrap();
        assert!(matches!(tail.next_page(10, None), Err(Error::Corrupt(_))));
    }
}
