//! Copying a database while others use it.
//!
//! What must stay true:
//! - The copy is the database as it was at one moment.
//! - All or nothing at the destination, whatever happens meanwhile: SQLite's
//!   own transaction there covers the whole copy, and nobody else can open the
//!   file before it ends. Until then a new file is a database that says that it
//!   is an unfinished backup ([`schema::mark_unfinished`]), and an old one is
//!   what it was.
//! - Writers are kept out at most for the last of [`TRIES_MAX`] tries, and with
//!   a write-ahead log not at all.

use crate::database::{Database, clamp_busy, distrust, plain_name};
use crate::error::{Error, Outcome, Result};
use crate::options::Journal;
use crate::runtime::POLL_INTERVAL;
use crate::schema::{self, Found};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::time::Duration;

/// Pages copied at a time: 4 MiB, some 10 ms.
const STEP_PAGES: i32 = 1024;

/// With a rollback journal a commit in the middle starts the copy over; the
/// last try is made at one go, and writers wait for it.
const TRIES_MAX: u32 = 3;

/// What to do when the destination of a backup exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfExists {
    /// [`Error::Exists`].
    #[default]
    Fail,
    /// Replace it when it is a BeaverDB 1.x file that nobody has open.
    Replace,
}

impl Database {
    /// Copies the database, as it is at one moment, to the file `path`, while
    /// others read and write. Returns the size of the copy in bytes.
    ///
    /// The copy is one file on its own, in rollback-journal mode, which any
    /// SQLite opens, also read-only. Nobody holds a lock in it. When this
    /// returns it is on the device. Until then, and after a failure or a crash,
    /// a new file holds a database that every BeaverDB refuses to open (an
    /// unfinished backup, which the next one takes the place of), or is empty if
    /// nothing was written yet, and a file that was to be replaced is as it was before.
    ///
    /// With a write-ahead log writers go on meanwhile, and the log can't start
    /// over until the end. With a rollback journal a commit of somebody else
    /// starts the copy over; after a few times it is made at one go and writers wait.
    ///
    /// # Errors
    /// [`Error::Exists`], also when something that isn't a database has that
    /// name; [`Error::UnsupportedFormat`] when that was to be replaced;
    /// [`Error::Busy`] when somebody else has the destination open;
    /// [`Error::InvalidArgument`] when it is this database;
    /// [`Error::InTransaction`], [`Error::AccessDenied`], [`Error::NotFound`]
    /// (no such directory), [`Error::ReadOnly`], [`Error::Full`].
    pub fn backup(&self, path: &str, if_exists: IfExists) -> Result<u64> {
        let inner = &*self.inner;
        if inner.in_transaction.get() {
            return Err(Error::InTransaction);
        }
        self.check_destination(path)?;
        let mut copy = self.open_copy(path)?;
        let page_size_bytes = inner
            .connection
            .query_row("PRAGMA page_size", [], |row| row.get(0))?;
        claim(&copy, if_exists, page_size_bytes)?;
        let size = self.copy_to(&mut copy, page_size_bytes).inspect_err(|_| {
            // After an error SQLite leaves the rollback to the next reader. If
            // this one can't do it either, whoever opens the file will.
            let _ = schema::inspect(&copy);
        })?;
        finish(&copy);
        // Closing can report nothing that would matter now.
        drop(copy);
        Ok(size)
    }

    fn check_destination(&self, path: &str) -> Result<()> {
        let problem = if path.is_empty() || path.contains('\0') {
            "a database name must not be empty or contain NUL"
        } else if ["-journal", "-wal", "-shm"]
            .iter()
            .any(|suffix| path.ends_with(suffix))
        {
            // It could be another database's.
            "a database's name must not end in -journal, -wal or -shm"
        } else if self
            .inner
            .connection
            .path()
            .is_some_and(|own| self.inner.runtime.is_same_file(own, path))
        {
            "a database can't be backed up to itself"
        } else {
            return Ok(());
        };
        Err(Error::InvalidArgument(problem.into()))
    }

    fn open_copy(&self, path: &str) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let copy = Connection::open_with_flags(&*plain_name(path), flags).map_err(|error| {
            match Error::from(error) {
                Error::AccessDenied => self.inner.runtime.explain_cannot_open(path),
                other => other,
            }
        })?;
        distrust(&copy)?;
        copy.busy_timeout(clamp_busy(self.inner.options.busy_timeout))?;
        Ok(copy)
    }

    fn copy_to(&self, copy: &mut Connection, page_size_bytes: u32) -> Result<u64> {
        let inner = &*self.inner;
        self.set_busy_timeout(inner.options.busy_timeout)?;
        // One view of the log for the whole copy, beside which writers go on.
        let log = self.journal() == Journal::Wal;
        let _view = log.then(|| View::open(&inner.connection)).transpose()?;
        let backup = Backup::new(&inner.connection, copy)?;
        // Beside a rollback journal a busy writer leaves gaps of less than a
        // millisecond: SQLite's own waiting, up to 100 ms a time, misses them.
        self.set_busy_timeout(Duration::ZERO)?;
        let mut waiting_since = None;
        let (mut tries, mut copied) = (1, 0);
        loop {
            let pages = if tries < TRIES_MAX { STEP_PAGES } else { -1 };
            match backup.step(pages).map_err(at_step)? {
                StepResult::Done => break,
                StepResult::More => {
                    let progress = backup.progress();
                    let now = progress.pagecount - progress.remaining;
                    tries += u32::from(now <= copied);
                    copied = now;
                    waiting_since = None;
                }
                // Busy: a writer is committing.
                _ => {
                    let now = inner.runtime.monotonic();
                    let since = *waiting_since.get_or_insert(now);
                    if now.saturating_sub(since) >= inner.options.busy_timeout {
                        return Err(Error::Busy);
                    }
                    inner.runtime.sleep(POLL_INTERVAL);
                }
            }
        }
        let pages = u64::try_from(backup.progress().pagecount).unwrap_or_default();
        Ok(pages * u64::from(page_size_bytes))
    }
}

/// Takes the destination for this connection alone, and makes sure that what
/// is in it may go.
fn claim(copy: &Connection, if_exists: IfExists, page_size_bytes: u32) -> Result<()> {
    // Looks before it takes anything: what isn't ours stays untouched.
    let _: State = state(copy, if_exists)?;
    copy.execute_batch("PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=EXTRA")?;
    // The copy's transaction must be one of a rollback journal: it covers any
    // size, and what is left in the end is a single file.
    let journal: String = copy.query_row("PRAGMA journal_mode=DELETE", [], |row| row.get(0))?;
    if !journal.eq_ignore_ascii_case("delete") {
        return Err(Error::Busy);
    }
    copy.execute_batch(&format!("PRAGMA page_size={page_size_bytes}"))?;
    // With exclusive locking the lock stays when this transaction ends.
    copy.execute_batch("BEGIN EXCLUSIVE")?;
    if state(copy, if_exists)? == State::New {
        schema::mark_unfinished(copy)?;
    }
    copy.execute_batch("COMMIT").map_err(Error::at_commit)
}

/// What a destination is to a backup.
#[derive(PartialEq, Eq)]
enum State {
    /// Nothing is in it, or an unfinished backup.
    New,
    /// A database that may be replaced.
    Replaceable,
}

fn state(copy: &Connection, if_exists: IfExists) -> Result<State> {
    match (schema::inspect(copy), if_exists) {
        (Ok(Found::Empty), _) => Ok(State::New),
        (Err(Error::UnsupportedFormat(_)), _) if schema::is_unfinished(copy) => Ok(State::New),
        (Ok(_), IfExists::Replace) => Ok(State::Replaceable),
        (Ok(_) | Err(Error::UnsupportedFormat(_) | Error::Corrupt(_)), IfExists::Fail) => {
            Err(Error::Exists)
        }
        (Err(error), _) => Err(error),
    }
}

/// Makes the best of a copy that is complete. What fails here leaves a good
/// copy all the same: in WAL mode, or with locks that run out.
fn finish(copy: &Connection) {
    let _ = copy.execute_batch(
        "PRAGMA journal_mode=DELETE;
         DELETE FROM beaver_lock_waiters",
    );
}

/// An error of a step, the last of which commits.
fn at_step(error: rusqlite::Error) -> Error {
    match Error::from(error) {
        Error::Failed { message, .. } => Error::Failed {
            message,
            outcome: Outcome::Unknown,
        },
        other => other,
    }
}

/// A read transaction.
struct View<'a>(&'a Connection);

impl<'a> View<'a> {
    fn open(connection: &'a Connection) -> Result<Self> {
        connection.execute_batch("BEGIN")?;
        let view = Self(connection);
        // `BEGIN` alone reads nothing yet.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(view)
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        let _ = self.0.execute_batch("ROLLBACK");
    }
}
