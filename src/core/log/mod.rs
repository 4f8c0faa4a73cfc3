//! A log of JSON values by time, table `beaver_logs`.
//!
//! What must stay true: no entry is lost to another's time (an entry's key is
//! its stamp: a taken one moves to the next free); what is appended without a
//! time comes after what was appended before it, whatever the clocks say, as
//! far as [`CLOCK_BACK_MAX_S`]; nothing here takes or awaits a lock.

mod live;
mod tail;

pub use live::{Live, Window};
pub use tail::Tail;

use crate::cursor::{Ahead, pages_iterator};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::json::python_text;
use crate::manager::{Kind, Manager};
use crate::stream::{Range, Record, Table, check_stamp};
use crate::write::Effect;
use rusqlite::{Connection, params};
use std::rc::Rc;
use std::sync::LazyLock;

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new("beaver_logs", "log_name", "data"));

/// How far the clock may be set back without new entries coming before old
/// ones. An entry further ahead than this was given a time to come, which is
/// not to push every later one there.
const CLOCK_BACK_MAX_S: f64 = 86_400.0;

/// The times that Python's `datetime` knows: years 1 to 9999.
const TIMES: std::ops::RangeInclusive<f64> = -62_135_596_800.0..=253_402_300_799.0;

/// A handle for a log.
///
/// Every write is one transaction of its own, or part of the open
/// [`Transaction`](crate::Transaction). Values are JSON texts. A log has no
/// lock: appending disturbs nobody and waits for nobody but SQLite's writer.
///
/// ```
/// # fn main() -> beaver_core::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("app.db");
/// use beaver_core::{Database, Options};
/// use std::time::Duration;
///
/// let db = Database::open(path.to_str().unwrap(), &Options::default())?;
/// let log = db.log("visits")?;
/// let mut tail = log.tail(None)?;
/// let first = log.append(r#"{"page": "/"}"#, None)?;
/// let second = log.append(r#"{"page": "/"}"#, Some(first))?;
/// assert!(second > first);
/// assert_eq!(tail.next_page(10, Some(Duration::ZERO))?.len(), 2);
/// assert_eq!(log.range(first, second)?.count(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Log {
    pub(crate) database: Database,
    manager: Rc<Manager>,
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    /// Seconds since 1970-01-01 UTC; no two entries of a log have the same.
    pub timestamp: f64,
    /// The JSON text.
    pub data: String,
}

impl From<Record> for LogEntry {
    fn from(record: Record) -> Self {
        Self {
            timestamp: record.timestamp,
            data: record.data,
        }
    }
}

impl Database {
    /// A handle for the log `name`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bad name.
    pub fn log(&self, name: &str) -> Result<Log> {
        self.require(Kind::Log)?;
        Ok(Log {
            database: self.clone(),
            manager: Rc::new(Manager::new(Kind::Log, name)?),
        })
    }
}

impl Log {
    /// The log's name.
    pub fn name(&self) -> &str {
        &self.manager.name
    }

    /// Adds the JSON text `data` and returns its stamp.
    ///
    /// Without a `timestamp` (seconds since 1970-01-01 UTC) it is now, or just
    /// after the last entry: stamps ascend, also when the clock is set back (by
    /// up to a day). A `timestamp` that is taken moves to the next free one
    /// that a float can tell from it, under a microsecond later.
    ///
    /// # Errors
    /// [`Error::InvalidJson`]; [`Error::InvalidArgument`] for a time outside the
    /// years 1 to 9999; and what writing may report.
    pub fn append(&self, data: &str, timestamp: Option<f64>) -> Result<f64> {
        timestamp.map_or(Ok(()), check_timestamp)?;
        let data = python_text(data)?;
        self.database
            .write_unguarded(&self.manager.cache_namespace, |connection| {
                let wanted = match timestamp {
                    Some(timestamp) => timestamp,
                    None => self.next_stamp(connection)?,
                };
                Ok(Effect::Changed(self.insert(connection, wanted, &data)?))
            })
    }

    /// Adds all of `entries`, whose data are Python's JSON texts, in one transaction.
    pub(crate) fn append_all(&self, entries: &[LogEntry]) -> Result<()> {
        self.database
            .write_unguarded(&self.manager.cache_namespace, |connection| {
                for entry in entries {
                    self.insert(connection, entry.timestamp, &entry.data)?;
                }
                Ok(Effect::Changed(()))
            })
    }

    /// Adds an entry with the stamp that is wanted, or the next free one.
    fn insert(&self, connection: &Connection, wanted: f64, data: &str) -> Result<f64> {
        // Adding zero makes one of the two zeros, which are one key.
        let mut stamp = wanted + 0.0;
        let mut insert = connection.prepare_cached(
            "INSERT INTO beaver_logs (log_name, timestamp, data) VALUES (?1, ?2, ?3)
             ON CONFLICT (log_name, timestamp) DO NOTHING",
        )?;
        if insert.execute(params![self.manager.name, stamp, data])? == 0 {
            stamp = self.next_free(connection, stamp)?;
            insert.execute(params![self.manager.name, stamp, data])?;
        }
        Ok(stamp)
    }

    /// The stamp of the last entry in order.
    pub(crate) fn last_stamp(&self) -> Result<Option<f64>> {
        self.database.read(|connection| {
            Ok(connection
                .prepare_cached("SELECT max(timestamp) FROM beaver_logs WHERE log_name = ?1")?
                .query_row([&self.manager.name], |row| row.get(0))?)
        })
    }

    /// Another such handle.
    pub(crate) fn share(&self) -> Self {
        Self {
            database: self.database.clone(),
            manager: Rc::clone(&self.manager),
        }
    }

    fn next_stamp(&self, connection: &Connection) -> Result<f64> {
        let now = self.database.inner.runtime.unix_seconds();
        let last: Option<f64> = connection
            .prepare_cached(
                "SELECT max(timestamp) FROM beaver_logs WHERE log_name = ?1 AND timestamp <= ?2",
            )?
            .query_row(params![self.manager.name, now + CLOCK_BACK_MAX_S], |row| {
                row.get(0)
            })?;
        Ok(last.map_or(now, |last| now.max(last.next_up())))
    }

    /// The first free stamp after a run of taken ones. Found by doubling, then
    /// halving: a million entries of one second are not to be walked for each.
    fn next_free(&self, connection: &Connection, taken: f64) -> Result<f64> {
        let mut exists = connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM beaver_logs WHERE log_name = ?1 AND timestamp = ?2)",
        )?;
        let mut is_taken = |stamp: f64| -> Result<bool> {
            Ok(exists.query_row(params![self.manager.name, stamp], |row| row.get(0))?)
        };
        // A stranger's entries may be wherever is looked: then it ends with the floats.
        let last = place(f64::MAX);
        let (mut low, mut high, mut step) = (place(taken), place(taken), 1_i64);
        while low == high {
            if low >= last {
                return Err(Error::Corrupt("no later time is free in the log".into()));
            }
            high = low.saturating_add(step).min(last);
            if is_taken(stamp_at(high))? {
                low = high;
            }
            step = step.saturating_mul(2);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if is_taken(stamp_at(middle))? {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(stamp_at(high))
    }

    /// The number of entries.
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

    /// The entries from `start` to `end`, both included, in the order of their
    /// stamps.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for NaN; each page may fail.
    pub fn range(&self, start: f64, end: f64) -> Result<LogEntries> {
        let start = check_stamp("the start", start)?;
        let end = check_stamp("the end", end)?;
        Ok(LogEntries {
            range: Range::new(
                &self.database,
                &TABLE,
                &self.manager,
                start.next_down(),
                end,
            ),
            ahead: Ahead::default(),
        })
    }

    /// All entries in the order of their stamps.
    ///
    /// # Errors
    /// None now; each page may fail.
    pub fn entries(&self) -> Result<LogEntries> {
        self.range(f64::NEG_INFINITY, f64::INFINITY)
    }

    /// Removes every entry; returns how many there were.
    ///
    /// # Errors
    /// What writing may report.
    pub fn clear(&self) -> Result<u64> {
        self.database
            .write_unguarded(&self.manager.cache_namespace, |connection| {
                Ok(match TABLE.clear(connection, &self.manager.name)? {
                    0 => Effect::Unchanged(0),
                    removed => Effect::Changed(removed),
                })
            })
    }
}

pub(crate) fn check_timestamp(timestamp: f64) -> Result<()> {
    if !TIMES.contains(&timestamp) {
        return Err(Error::InvalidArgument(format!(
            "a timestamp is in seconds, in the years 1 to 9999; this one is {timestamp}"
        )));
    }
    Ok(())
}

/// Where a float stands among all floats in their order.
fn place(value: f64) -> i64 {
    let bits = value.to_bits().cast_signed();
    if bits < 0 { i64::MIN - bits } else { bits }
}

/// The float at a [`place`].
fn stamp_at(place: i64) -> f64 {
    let bits = if place < 0 { i64::MIN - place } else { place };
    f64::from_bits(bits.cast_unsigned())
}

/// The entries of a [`Log`] in the order of their stamps. Reads page by page,
/// each as the database is then.
#[derive(Debug)]
pub struct LogEntries {
    range: Range,
    ahead: Ahead<LogEntry>,
}

impl LogEntries {
    /// The next page: at most `max`, fewer when they are large, empty at the end.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for 0, and what reading may report.
    pub fn next_page(&mut self, max: u32) -> Result<Vec<LogEntry>> {
        let page = self.range.next_page(max)?;
        Ok(page.into_iter().map(LogEntry::from).collect())
    }
}

pages_iterator!(LogEntries, LogEntry);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_next_place_is_the_next_float(value in any::<f64>().prop_filter("a number", |f| f.is_finite())) {
            let value = value + 0.0;
            prop_assert_eq!(stamp_at(place(value)).to_bits(), value.to_bits());
            prop_assert_eq!(stamp_at(place(value) + 1).to_bits(), value.next_up().to_bits());
        }
    }

    #[test]
    fn looking_for_a_free_stamp_ends_wherever_strangers_entries_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let options = crate::Options::default();
        let database = Database::open(path.to_str().unwrap(), &options).unwrap();
        let log = database.log("g").unwrap();
        let put = |place: i64| {
            let sql = "INSERT OR IGNORE INTO beaver_logs VALUES ('g', ?1, '1')";
            let connection = &database.inner.connection;
            connection.execute(sql, [stamp_at(place)]).unwrap();
        };
        let transaction = database.begin().unwrap();
        (0..62).for_each(|power| put(place(1.0) + (1 << power) - 1));
        assert!(log.append("2", Some(1.0)).unwrap() > 1.0);
        put(place(f64::MAX));
        let appended = log.append("2", Some(1.0));
        assert!(matches!(appended, Err(Error::Corrupt(_))), "{appended:?}");
        transaction.commit().unwrap();
    }
}
