//! What the demo itself sees of the file: plain SQL through stock SQLite, in
//! this process, which runs no instance.
//!
//! What must stay true: nothing of `beaver-core` or `beaver-host` here. The
//! verdicts must not depend on the code that they judge.

use crate::protocol::Payload;
use anyhow::{Context as _, Result};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use std::path::Path;
use std::time::Duration;

/// A connection of stock SQLite.
pub(crate) struct Observer {
    connection: Connection,
}

impl Observer {
    /// Looks on while others work; never writes.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    /// After everybody has gone: may recover and empty the write-ahead log.
    pub(crate) fn open_alone(path: &Path) -> Result<Self> {
        Self::open_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    fn open_with(path: &Path, access: OpenFlags) -> Result<Self> {
        let connection = Connection::open_with_flags(path, access)
            .with_context(|| format!("opening {} through native SQLite", path.display()))?;
        connection.busy_timeout(Duration::from_secs(10))?;
        Ok(Self { connection })
    }

    /// The text stored under `key`.
    pub(crate) fn dict_value(&self, dict: &str, key: &str) -> Result<Option<String>> {
        let value = self
            .connection
            .prepare_cached("SELECT value FROM beaver_dicts WHERE dict_name = ?1 AND key = ?2")?
            .query_row([dict, key], |row| row.get(0))
            .optional()?;
        Ok(value)
    }

    /// The number stored under `key`.
    pub(crate) fn dict_number(&self, dict: &str, key: &str) -> Result<Option<u64>> {
        self.dict_value(dict, key)?
            .map(|text| {
                text.parse()
                    .with_context(|| format!("{dict}[{key}] holds {text}, which is no count"))
            })
            .transpose()
    }

    /// How many items a queue has.
    pub(crate) fn queue_len(&self, queue: &str) -> Result<u64> {
        let count: i64 = self
            .connection
            .prepare_cached("SELECT count(*) FROM beaver_priority_queues WHERE queue_name = ?1")?
            .query_row([queue], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// A queue's items in the order in which they are to be taken.
    pub(crate) fn queue_payloads(&self, queue: &str) -> Result<Vec<Payload>> {
        self.texts(
            "SELECT data FROM beaver_priority_queues WHERE queue_name = ?1
             ORDER BY priority, timestamp, rowid",
            queue,
        )?
        .iter()
        .map(|text| serde_json::from_str(text).with_context(|| format!("an item: {text}")))
        .collect()
    }

    /// A queue's texts in the order in which they were committed.
    pub(crate) fn queue_labels(&self, queue: &str) -> Result<Vec<String>> {
        self.texts(
            "SELECT data FROM beaver_priority_queues WHERE queue_name = ?1 ORDER BY rowid",
            queue,
        )?
        .iter()
        .map(|text| serde_json::from_str(text).with_context(|| format!("a label: {text}")))
        .collect()
    }

    /// Holder and waiters of a lock, in line.
    pub(crate) fn lock_rows(&self, lock: &str) -> Result<Vec<String>> {
        self.texts(
            "SELECT waiter_id FROM beaver_lock_waiters WHERE lock_name = ?1 ORDER BY requested_at",
            lock,
        )
    }

    /// Every row of the lock table, whatever the lock.
    pub(crate) fn all_lock_rows(&self) -> Result<Vec<String>> {
        self.texts(
            "SELECT lock_name || ' by ' || waiter_id FROM beaver_lock_waiters WHERE ?1 = ''",
            "",
        )
    }

    /// What SQLite says about the whole file: `ok`, or what is wrong.
    pub(crate) fn integrity(&self) -> Result<Vec<String>> {
        let mut statement = self.connection.prepare("PRAGMA integrity_check")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn texts(&self, sql: &str, parameter: &str) -> Result<Vec<String>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([parameter], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
