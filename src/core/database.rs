//! Opening a database, and the state that everything opened from it shares.

use crate::checkpoint::Checkpoints;
use crate::error::{Error, Result};
use crate::manager::Kind;
use crate::options::{Durability, Journal, JournalChoice, OpenMode, Options};
use crate::orphan::Orphan;
use crate::runtime::{Interest, POLL_INTERVAL, Runtime, SystemRuntime};
use crate::schema::{self, Found, Groups};
use crate::transaction::Transaction;
use crate::waiter_id::WaiterIds;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// An open database: one SQLite connection, for one thread.
///
/// Cloning gives another reference to the same connection; it closes when the
/// last reference, held by a manager or not, is gone.
#[derive(Clone, Debug)]
pub struct Database {
    pub(crate) inner: Rc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) connection: Connection,
    pub(crate) runtime: Rc<dyn Runtime>,
    pub(crate) options: Options,
    journal: Journal,
    /// Made when first asked for: most connections need no lock, so no claim.
    waiter_ids: OnceCell<WaiterIds>,
    /// How many of this connection's handles hold their locks, as far as they know.
    pub(crate) held: Cell<usize>,
    /// Whether a [`Transaction`] is open on this connection.
    pub(crate) in_transaction: Cell<bool>,
    /// What could not be put away when its owner was dropped; the next read or write
    /// does it, or the end of the connection.
    pub(crate) orphans: RefCell<Vec<Orphan>>,
    /// What the open write transaction concerns, or the last one did.
    pub(crate) topics: RefCell<Vec<u64>>,
    /// Whether waits end when something changes, once it was asked.
    pub(crate) is_told: OnceCell<bool>,
    /// What the host was told that this connection waits for.
    pub(crate) watched: Cell<Option<Interest>>,
    /// Blobs whose writers were dropped and whose pieces may still be there;
    /// the next writer removes them.
    pub(crate) dropped_uploads: RefCell<Vec<String>>,
    /// What SQLite's busy timeout is set to now.
    busy_timeout: Cell<Duration>,
    pub(crate) checkpoints: Checkpoints,
    /// Managers whose tables were made in a transaction that has not been
    /// committed: handles rely on them, so the next write makes them again.
    pub(crate) unmade: RefCell<Vec<Kind>>,
    /// How many transactions were rolled back. What was seen inside one never
    /// was, and its version numbers are given out again.
    pub(crate) rollbacks: Cell<u64>,
    /// The managers whose tables are known to be there. Tables are never dropped.
    groups: Cell<Groups>,
    /// Commits of this connection, the unsuccessful included; see `data_version`.
    pub(crate) commits: Cell<u64>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("options", &self.options)
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if Rc::strong_count(&self.inner) == 1 && !self.inner.orphans.borrow().is_empty() {
            self.reap();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.waiter_ids.get().is_some() {
            self.runtime.end_claims(&self.connection);
        }
    }
}

/// Statements kept compiled per connection; more than there are.
const STATEMENT_CACHE: usize = 256;

impl Database {
    /// Opens `path` with the operating system's clocks.
    ///
    /// # Errors
    /// See [`Database::open_with`].
    pub fn open(path: &str, options: &Options) -> Result<Self> {
        Self::open_with(path, options, Rc::new(SystemRuntime::new()))
    }

    /// Opens `path` and makes the tables when the file is new. Blocks while
    /// somebody else creates or recovers the same file, up to
    /// [`Options::busy_timeout`].
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::AccessDenied`], [`Error::UnsupportedFormat`]
    /// (not BeaverDB 1.x: the file is left as it is), [`Error::WalUnsupported`],
    /// [`Error::ReadOnly`], [`Error::Busy`], [`Error::Corrupt`].
    pub fn open_with(path: &str, options: &Options, runtime: Rc<dyn Runtime>) -> Result<Self> {
        if path.is_empty() || path.contains('\0') {
            return Err(Error::InvalidArgument(
                "a database name must not be empty or contain NUL".into(),
            ));
        }
        let explain = |error: Error| match error {
            Error::AccessDenied => runtime.explain_cannot_open(path),
            other => other,
        };
        let access = match options.mode {
            OpenMode::Create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            OpenMode::Existing => OpenFlags::SQLITE_OPEN_READ_WRITE,
            OpenMode::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&*plain_name(path), flags)
            .map_err(|error| explain(error.into()))?;
        // Without it SQLite compiles a statement anew whenever a bound value
        // that its planner has looked at changes: half the time of a write.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        distrust(&connection)?;
        connection.busy_timeout(clamp_busy(options.busy_timeout))?;
        connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
        connection
            .execute_batch(match options.durability {
                Durability::Normal => {
                    "PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY; PRAGMA cell_size_check=ON"
                }
                // Not FULL: with a rollback journal a commit is the journal's deletion, and FULL doesn't
                // sync that. With a write-ahead log they are the same.
                Durability::Full => {
                    "PRAGMA synchronous=EXTRA; PRAGMA temp_store=MEMORY; PRAGMA cell_size_check=ON"
                }
            })
            .map_err(|error| explain(error.into()))?;
        let read_only = options.mode == OpenMode::ReadOnly;
        let mut found = schema::inspect(&connection).map_err(explain)?;
        let journal = set_journal(&connection, options, &*runtime).map_err(explain)?;
        let complete = |found: &Found| matches!(found, Found::Complete(_));
        if !complete(&found) && !read_only {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            let made = schema::inspect(&connection).and_then(|now| {
                found = now;
                if complete(&found) {
                    Ok(())
                } else {
                    schema::create(&connection, &found)
                }
            });
            match made {
                Ok(()) => connection
                    .execute_batch("COMMIT")
                    .map_err(Error::at_commit)?,
                Err(error) => {
                    let _ = connection.execute_batch("ROLLBACK");
                    return Err(error);
                }
            }
        } else if found == Found::Empty {
            return Err(Error::UnsupportedFormat(
                "the file has no BeaverDB tables yet, and it was opened read-only".into(),
            ));
        }
        let groups = match found {
            Found::Complete(groups) | Found::Partial(groups) => groups,
            Found::Empty => Groups::default(),
        };
        let checkpoints = Checkpoints::of(&mut connection)?;
        // From the first commit on, the host is to rely on being told.
        runtime.announce(&connection, &[]);
        Ok(Self {
            inner: Rc::new(Inner {
                connection,
                runtime,
                options: options.clone(),
                journal,
                waiter_ids: OnceCell::new(),
                held: Cell::new(0),
                in_transaction: Cell::new(false),
                orphans: RefCell::default(),
                topics: RefCell::default(),
                is_told: OnceCell::new(),
                watched: Cell::new(None),
                dropped_uploads: RefCell::default(),
                busy_timeout: Cell::new(options.busy_timeout),
                checkpoints,
                unmade: RefCell::default(),
                rollbacks: Cell::new(0),
                groups: Cell::new(groups),
                commits: Cell::new(0),
            }),
        })
    }

    /// The BeaverDB version that the file names, if it names one.
    ///
    /// # Errors
    /// What reading may report.
    pub fn format_version(&self) -> Result<Option<String>> {
        let text: Option<String> = self.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT value FROM beaver_dicts
                     WHERE dict_name = '__metadata__' AND key = 'version'",
                )?
                .query_row([], |row| row.get(0))
                .optional()?)
        })?;
        Ok(text.map(|text| text.trim_matches('"').to_owned()))
    }

    /// The journal in use.
    pub fn journal(&self) -> Journal {
        self.inner.journal
    }

    /// Copies what can be copied from the write-ahead log into the database
    /// and empties the log if nobody reads it. Returns the frames left in the
    /// log; 0 with a rollback journal. Doesn't wait for readers or writers.
    ///
    /// # Errors
    /// [`Error::InTransaction`]; [`Error::Busy`] while somebody else
    /// checkpoints; and what writing may report.
    pub fn checkpoint(&self) -> Result<u64> {
        if self.inner.in_transaction.get() {
            return Err(Error::InTransaction);
        }
        self.set_busy_timeout(Duration::ZERO)?;
        let result =
            self.inner
                .connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
                });
        self.set_busy_timeout(self.inner.options.busy_timeout)?;
        match result? {
            (0, _) => Ok(0),
            // Somebody else is at it, and SQLite didn't look further.
            (_, ..0) => Err(Error::Busy),
            (_, frames) => Ok(frames.cast_unsigned()),
        }
    }

    /// Sees to it that the file has the tables of `kind`; every handle's first
    /// step. In an open transaction, a write's own too, it is part of that.
    ///
    /// # Errors
    /// [`Error::UnsupportedFormat`] when they are missing in a file opened
    /// read-only, and what writing may report.
    pub(crate) fn require(&self, kind: Kind) -> Result<()> {
        let inner = &*self.inner;
        let read_only = inner.options.mode == OpenMode::ReadOnly;
        let is_enough =
            |groups: Groups| groups.contains(kind) || read_only && groups.is_readable(kind);
        if is_enough(inner.groups.get()) {
            return Ok(());
        }
        // Somebody else may have made them since the last look. What an open
        // transaction made goes with it if it is rolled back: not to be kept in mind.
        if let Found::Complete(groups) | Found::Partial(groups) = self.read(schema::inspect)? {
            if inner.connection.is_autocommit() {
                inner.groups.set(groups);
            }
            if is_enough(groups) {
                return Ok(());
            }
        }
        if read_only {
            return Err(Error::UnsupportedFormat(format!(
                "the file has no table for a {} yet, and it was opened read-only",
                kind.as_str()
            )));
        }
        if !inner.connection.is_autocommit() {
            inner.unmade.borrow_mut().push(kind);
            return schema::create_group(&inner.connection, kind);
        }
        let transaction = self.begin_write(None)?;
        schema::create_group(&inner.connection, kind)?;
        transaction.commit()
    }

    /// Whether the file is known to have all tables of `kind`, ours too, which
    /// one that is only read may lack.
    pub(crate) fn is_complete(&self, kind: Kind) -> bool {
        self.inner.groups.get().contains(kind)
    }

    /// Starts a transaction; blocks for the write lock up to
    /// [`Options::busy_timeout`].
    ///
    /// # Errors
    /// [`Error::InTransaction`], [`Error::Busy`].
    pub fn begin(&self) -> Result<Transaction> {
        Transaction::begin(self)
    }

    /// Runs `body` in a transaction: commits when it returns `Ok`, rolls back
    /// when it fails or panics.
    ///
    /// # Errors
    /// Those of `body`, of [`Database::begin`] and of [`Transaction::commit`].
    pub fn transaction<T>(&self, body: impl FnOnce(&Transaction) -> Result<T>) -> Result<T> {
        let transaction = self.begin()?;
        let value = body(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    pub(crate) fn waiter_ids(&self) -> &WaiterIds {
        let inner = &*self.inner;
        let make = || WaiterIds::of(&inner.connection, &*inner.runtime);
        inner.waiter_ids.get_or_init(make)
    }

    /// Call with each commit, also one that fails: it may have happened.
    pub(crate) fn count_commit(&self) {
        let commits = &self.inner.commits;
        commits.set(commits.get().wrapping_add(1));
    }

    /// How long SQLite waits for locks from now on.
    pub(crate) fn set_busy_timeout(&self, timeout: Duration) -> Result<()> {
        if self.inner.busy_timeout.get() != timeout {
            self.inner.connection.busy_timeout(clamp_busy(timeout))?;
            self.inner.busy_timeout.set(timeout);
        }
        Ok(())
    }
}

/// What SQLite advises for files of strangers, besides `cell_size_check`, which finds a page that was
/// tampered with before it is used: what the schema calls can't have side effects beyond the tables,
/// and nobody but FTS5 writes to its tables.
pub(crate) fn distrust(connection: &Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    Ok(())
}

/// A name is a name: rusqlite's SQLite is built to read `file:` as a URI and
/// `:memory:` as no file at all.
pub(crate) fn plain_name(path: &str) -> Cow<'_, str> {
    if path.starts_with("file:") || path.starts_with(':') {
        format!("./{path}").into()
    } else {
        path.into()
    }
}

/// rusqlite refuses more milliseconds than an `i32` holds.
pub(crate) fn clamp_busy(timeout: Duration) -> Duration {
    timeout.min(Duration::from_millis(i32::MAX as u64))
}

/// Asks for the journal. SQLite's busy timeout doesn't cover the change of mode,
/// which fails while others open the same new file.
fn set_journal(
    connection: &Connection,
    options: &Options,
    runtime: &dyn Runtime,
) -> Result<Journal> {
    let ask = |sql: &str| -> Result<Journal> {
        let mode: String = connection.query_row(sql, [], |row| row.get(0))?;
        Ok(if mode.eq_ignore_ascii_case("wal") {
            Journal::Wal
        } else {
            Journal::Rollback
        })
    };
    let ask_until = |sql: &str, patience: Duration| {
        let start = runtime.monotonic();
        loop {
            match ask(sql) {
                Err(Error::Busy) if runtime.monotonic().saturating_sub(start) < patience => {
                    runtime.sleep(POLL_INTERVAL);
                }
                other => return other,
            }
        }
    };
    if options.mode == OpenMode::ReadOnly {
        return ask("PRAGMA journal_mode");
    }
    match options.journal {
        JournalChoice::Automatic => {
            let patience = options.busy_timeout.min(Duration::from_secs(1));
            match ask_until("PRAGMA journal_mode=WAL", patience) {
                // Somebody uses the file with its rollback journal: so do we.
                Err(Error::Busy | Error::ReadOnly) => ask("PRAGMA journal_mode"),
                other => other,
            }
        }
        JournalChoice::Wal => match ask_until("PRAGMA journal_mode=WAL", options.busy_timeout)? {
            Journal::Wal => Ok(Journal::Wal),
            Journal::Rollback => Err(Error::WalUnsupported),
        },
        JournalChoice::Rollback => {
            match ask_until("PRAGMA journal_mode=DELETE", options.busy_timeout)? {
                Journal::Rollback => Ok(Journal::Rollback),
                Journal::Wal => Err(Error::Busy),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IndexOptions;

    #[test]
    fn a_file_of_a_stranger_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let path = path.to_str().unwrap();
        let open = || Database::open(path, &Options::default()).unwrap();
        let body = Some(r#"{"t": "words"}"#);
        let index = |database: &Database| {
            let collection = database.collection("c")?;
            collection.index(Some("a"), body, None, &IndexOptions::default())
        };
        index(&open()).unwrap();
        let stranger = Connection::open(path).unwrap();
        stranger
            .execute_batch(
                "CREATE TRIGGER t AFTER INSERT ON beaver_dicts BEGIN
                     UPDATE beaver_fts_index_data SET block = x'00'; END",
            )
            .unwrap();
        drop(stranger);
        let database = open();
        assert!(database.dict("d").unwrap().set("k", "1", None).is_err());
        index(&database).unwrap();
        let config = |config| database.inner.connection.db_config(config).unwrap();
        assert!(!config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA));
        let sql = "PRAGMA cell_size_check";
        let checks = |row: &rusqlite::Row<'_>| row.get::<_, bool>(0);
        let connection = &database.inner.connection;
        assert!(connection.query_row(sql, [], checks).unwrap());
    }
}
