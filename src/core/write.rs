//! How every write runs: one `BEGIN IMMEDIATE` transaction that first looks
//! whether the manager's locks allow it.
//!
//! What must stay true:
//! - **Fencing.** A write through a handle that holds the lock verifies, in its
//!   own transaction, that the grant is still there.
//! - **Mandatory locks.** A write through any other handle takes its place in
//!   the lock's FIFO queue when somebody holds or awaits the lock.
//! - **Python's operations are not cut through.** BeaverDB 1.3.0 keeps a row in
//!   an internal lock while one of its methods runs, some of which are several
//!   statements. A live row there means: queue up behind it. No row can appear
//!   while our write transaction is open.
//! - A write that fails leaves nothing: not half of it, no lock row.

use crate::database::Database;
use crate::error::{Error, Outcome, Result};
use crate::events::{self, Event};
use crate::lease::gate::{Pass, Seen, Verdict};
use crate::lease::guarded::{self, Guarded};
use crate::lease::{GRANTED_AT, Lease, grant};
use crate::manager::Manager;
use crate::options::GuardMode;
use crate::orphan::Orphan;
use crate::schema;
use crate::topic;
use rusqlite::{Connection, params};
use std::cell::Cell;
use std::time::Duration;

/// What a write did.
pub(crate) enum Effect<T> {
    Changed(T),
    /// Nothing was written: no commit is needed.
    Unchanged(T),
}

/// Whether a write could break a Python method that is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interference {
    Possible,
    /// The write only adds a row, which no method of the reference minds.
    None,
}

pub(crate) struct Request<'a> {
    pub(crate) manager: &'a Manager,
    pub(crate) lease: Option<&'a Lease>,
    pub(crate) interference: Interference,
    /// What to tell listeners when something changed.
    pub(crate) event: Option<Event<'a>>,
    /// How long to wait for locks.
    pub(crate) wait: Duration,
    /// How long to wait for SQLite's write lock; none: `Options::busy_timeout`.
    pub(crate) write_limit: Option<Duration>,
}

/// An open write transaction; rolls back unless committed.
pub(crate) struct WriteTransaction<'a> {
    database: &'a Database,
    /// How many of the connection's orphans it has put away, the oldest first.
    reaped: usize,
    committed: bool,
}

impl<'a> WriteTransaction<'a> {
    pub(crate) fn database(&self) -> &'a Database {
        self.database
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.database.inner.connection
    }

    pub(crate) fn commit(mut self) -> Result<()> {
        self.database.commit_write(self.reaped)?;
        self.committed = true;
        Ok(())
    }

    /// The transaction that is open on `database`, which this neither commits nor undoes.
    pub(crate) fn open_on(database: &'a Database) -> Self {
        Self {
            database,
            reaped: 0,
            committed: true,
        }
    }

    /// Leaves the transaction open; whoever calls ends it, with
    /// [`Database::commit_write`] or a rollback.
    pub(crate) fn into_open(self) -> usize {
        let reaped = self.reaped;
        std::mem::forget(self);
        reaped
    }
}

impl Drop for WriteTransaction<'_> {
    fn drop(&mut self) {
        if !self.committed {
            let _ = self.database.undo_write();
        }
    }
}

impl Database {
    /// Begins a write transaction, waiting for SQLite's write lock up to
    /// `limit` (none: `Options::busy_timeout`).
    pub(crate) fn begin_write(&self, limit: Option<Duration>) -> Result<WriteTransaction<'_>> {
        let inner = &*self.inner;
        let timeout = inner.options.busy_timeout;
        self.begin_immediate(limit.map_or(timeout, |limit| limit.min(timeout)))?;
        self.forget_topics();
        let mut transaction = WriteTransaction {
            database: self,
            reaped: 0,
            committed: false,
        };
        for orphan in inner.orphans.borrow().iter() {
            orphan.put_away(&transaction)?;
            transaction.reaped += 1;
        }
        for kind in inner.unmade.borrow().iter() {
            schema::create_group(&inner.connection, *kind)?;
        }
        Ok(transaction)
    }

    /// Undoes the open write transaction, or what SQLite's own rollback after an error left in
    /// memory. FTS5 takes the totals of its index for read also when reading them failed
    /// (`fts5StorageLoadTotals`), and isn't told of a rollback any more when SQLite has rolled
    /// back before that: the connection's next write would store totals of an empty index. So the
    /// virtual tables are made anew.
    pub(crate) fn undo_write(&self) -> Result<()> {
        let connection = &self.inner.connection;
        if connection.is_autocommit() {
            connection.execute_batch("PRAGMA writable_schema = RESET")?;
        } else {
            connection.prepare_cached("ROLLBACK")?.execute([])?;
        }
        Ok(())
    }

    /// Commits; orphans that the transaction put away are then forgotten.
    pub(crate) fn commit_write(&self, reaped: usize) -> Result<()> {
        let connection = &self.inner.connection;
        self.count_commit();
        let committed = connection.prepare_cached("COMMIT")?.execute([]);
        if let Err(error) = committed.map_err(Error::at_commit) {
            if error.outcome() == Outcome::Unknown {
                // Were they withdrawn and are again, somebody else would be uncounted.
                let mut place = 0;
                self.inner.orphans.borrow_mut().retain(|orphan| {
                    place += 1;
                    place > reaped || !matches!(orphan, Orphan::Listener(_))
                });
            }
            return Err(error);
        }
        self.forget_orphans(reaped);
        self.inner.unmade.borrow_mut().clear();
        self.announce();
        self.checkpoint_if_due();
        Ok(())
    }

    /// Runs a read, in the open transaction if there is one.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.check_transaction()?;
        let mut undone = None;
        if self.is_due() && self.inner.connection.is_autocommit() {
            // What could not be put away, or made again, isn't to stay so until the next write.
            let transaction = self.begin_write(Some(Duration::ZERO));
            undone = transaction.and_then(WriteTransaction::commit).err();
        }
        self.set_busy_timeout(self.inner.options.busy_timeout)?;
        read(&self.inner.connection).map_err(|error| match undone {
            // It was made in a transaction that has been undone. (Of a full-text query SQLite says
            // so as it says what is wrong with one.)
            Some(why) if error.to_string().contains("no such table") => why,
            _ => error,
        })
    }

    /// Runs several reads on one state of the database.
    pub(crate) fn read_snapshot<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        self.read(|connection| {
            if self.inner.in_transaction.get() {
                return read(connection);
            }
            in_snapshot(connection, read)
        })
    }

    /// The same for what is not worth more than `limit` of waiting. Not inside
    /// a transaction.
    pub(crate) fn read_snapshot_within<T>(
        &self,
        limit: Duration,
        read: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        self.set_busy_timeout(limit.min(self.inner.options.busy_timeout))?;
        in_snapshot(&self.inner.connection, read)
    }

    fn check_transaction(&self) -> Result<()> {
        // SQLite rolls back by itself after some errors; going on would run
        // the rest of a transaction without the first half.
        if self.inner.in_transaction.get() && self.inner.connection.is_autocommit() {
            return Err(Error::NoTransaction);
        }
        Ok(())
    }

    /// Runs a write that no lock binds and no cache of Python's watches: to a
    /// log or a channel, where each of the reference's methods is one statement.
    /// `namespace`: whose contents a change concerns.
    pub(crate) fn write_unguarded<T>(
        &self,
        namespace: &str,
        write: impl FnOnce(&Connection) -> Result<Effect<T>>,
    ) -> Result<T> {
        self.check_transaction()?;
        let connection = &self.inner.connection;
        if self.inner.in_transaction.get() {
            return self.in_savepoint(|| match write(connection)? {
                Effect::Changed(value) => {
                    self.concerns(topic::contents(namespace));
                    Ok(value)
                }
                Effect::Unchanged(value) => Ok(value),
            });
        }
        let transaction = self.begin_write(None)?;
        match write(connection)? {
            Effect::Changed(value) => {
                self.concerns(topic::contents(namespace));
                transaction.commit().map(|()| value)
            }
            Effect::Unchanged(value) => Ok(value),
        }
    }

    /// Runs a write as this module's comment says.
    pub(crate) fn write<T>(
        &self,
        request: &Request<'_>,
        write: impl FnMut(&Connection) -> Result<Effect<T>>,
    ) -> Result<T> {
        self.write_as(self.inner.options.guard_mode, request, write)
    }

    /// The same with another meaning of the manager's lock.
    pub(crate) fn write_as<T>(
        &self,
        guard_mode: GuardMode,
        request: &Request<'_>,
        mut write: impl FnMut(&Connection) -> Result<Effect<T>>,
    ) -> Result<T> {
        self.check_transaction()?;
        if self.inner.in_transaction.get() {
            return self.write_in_transaction(guard_mode, request, write);
        }
        let guarded = Guarded {
            lock_name: &request.manager.lock_name,
            internal_lock_name: &request.manager.internal_lock_name,
            lease: request.lease,
            wait: request.wait,
            write_limit: request.write_limit,
        };
        let heard = Cell::new(None);
        guarded::write(
            self,
            &guarded,
            |_, lease, internal| {
                let (verdict, heard_at) = self.gate(guard_mode, request, lease, internal)?;
                heard.set(heard_at);
                Ok(verdict)
            },
            |_| {
                let effect = write(&self.inner.connection)?;
                if let Effect::Changed(_) = effect {
                    self.tell(request, heard.get())?;
                }
                Ok(effect)
            },
        )
    }

    fn write_in_transaction<T>(
        &self,
        guard_mode: GuardMode,
        request: &Request<'_>,
        mut write: impl FnMut(&Connection) -> Result<Effect<T>>,
    ) -> Result<T> {
        let manager = request.manager;
        let gate = || self.gate(guard_mode, request, request.lease, None);
        let (mut verdict, mut heard_at) = gate()?;
        // Once for each lock.
        for _ in 0..2 {
            let blocked_by = match verdict {
                Verdict::Public => &manager.lock_name,
                Verdict::Internal => &manager.internal_lock_name,
                Verdict::Open | Verdict::FenceOff | Verdict::Lost => break,
            };
            if self.is_taken(blocked_by)? {
                break;
            }
            (verdict, heard_at) = gate()?;
        }
        match verdict {
            Verdict::Open | Verdict::FenceOff => {}
            Verdict::Lost => return Err(Error::LockLost(manager.lock_name.clone())),
            // Waiting here would keep SQLite's write lock from whoever has to release.
            Verdict::Public => return Err(Error::Locked(manager.lock_name.clone())),
            Verdict::Internal => return Err(Error::Locked(manager.internal_lock_name.clone())),
        }
        self.in_savepoint(|| match write(&self.inner.connection)? {
            Effect::Changed(value) => self.tell(request, heard_at).map(|()| value),
            Effect::Unchanged(value) => Ok(value),
        })
    }

    /// Whether anybody holds or awaits a lock, once the rows of those who are gone are deleted.
    /// Call in a write transaction.
    pub(crate) fn is_taken(&self, lock_name: &str) -> Result<bool> {
        let transaction = WriteTransaction::open_on(self);
        let now = self.inner.runtime.unix_seconds();
        Ok(grant::living_head(self, &transaction, lock_name, "", now)?.is_some())
    }

    /// Runs a part of the open transaction, of which nothing is left if it fails.
    fn in_savepoint<T>(&self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        let connection = &self.inner.connection;
        connection
            .prepare_cached("SAVEPOINT beaver_write")?
            .execute([])?;
        let result = body();
        if !connection.is_autocommit() {
            if result.is_err() {
                connection
                    .prepare_cached("ROLLBACK TO beaver_write")?
                    .execute([])?;
            }
            connection
                .prepare_cached("RELEASE beaver_write")?
                .execute([])?;
        }
        result
    }

    /// Whether the locks allow the write, and when to say that the event happened, if
    /// somebody listens for it. Call inside its transaction.
    fn gate(
        &self,
        guard_mode: GuardMode,
        request: &Request<'_>,
        lease: Option<&Lease>,
        internal: Option<&Lease>,
    ) -> Result<(Verdict, Option<f64>)> {
        let now = self.inner.runtime.unix_seconds();
        let manager = request.manager;
        let own = lease.map_or("", |lease| lease.waiter_id.as_str());
        // No key is null: without an event nobody is looked for.
        let event = request.event.map(|event| event.registry_key(manager));
        let mut statement = self.inner.connection.prepare_cached(
            "SELECT
               EXISTS (SELECT 1 FROM beaver_lock_waiters
                 WHERE lock_name = ?1 AND expires_at > ?3),
               (SELECT waiter_id FROM beaver_lock_waiters
                 WHERE lock_name = ?2 AND +expires_at > ?3 ORDER BY requested_at LIMIT 1),
               EXISTS (SELECT 1 FROM beaver_lock_waiters
                 WHERE lock_name = ?1 AND requested_at = ?4 AND waiter_id = ?5),
               EXISTS (SELECT 1 FROM beaver_lock_waiters
                 WHERE lock_name = ?1 AND requested_at = ?4),
               EXISTS (SELECT 1 FROM beaver_dicts
                 WHERE dict_name = '__events__' AND key = ?6 AND CAST(value AS INTEGER) > 0)",
        )?;
        let mut rows = statement.query(params![
            manager.lock_name,
            manager.internal_lock_name,
            now,
            GRANTED_AT,
            own,
            event
        ])?;
        let Some(row) = rows.next()? else {
            return Err(Error::Corrupt("the lock table gave no answer".into()));
        };
        let seen = Seen {
            taken: row.get(0)?,
            owned: row.get(2)?,
            granted: row.get(3)?,
            under_way: row.get_ref(1)?.as_str_or_null().unwrap_or(Some("?")),
        };
        let heard: bool = row.get(4)?;
        let pass = Pass {
            guard_mode,
            has_lease: lease.is_some(),
            internal: internal.map(|lease| lease.waiter_id.as_str()),
            minds_methods: request.interference == Interference::Possible,
        };
        let verdict = pass.judge(&seen);
        if verdict == Verdict::FenceOff {
            self.concerns(topic::lock(&manager.lock_name));
            self.inner
                .connection
                .prepare_cached(
                    "DELETE FROM beaver_lock_waiters WHERE lock_name = ?1 AND requested_at = ?2",
                )?
                .execute(params![manager.lock_name, GRANTED_AT])?;
        }
        Ok((verdict, heard.then_some(now)))
    }

    /// Tells whoever wants to know that the manager changed.
    fn tell(&self, request: &Request<'_>, heard_at: Option<f64>) -> Result<()> {
        self.concerns(topic::contents(&request.manager.cache_namespace));
        touch(&self.inner.connection, &request.manager.cache_namespace)?;
        match (request.event, heard_at) {
            (Some(event), Some(now)) => events::publish(self, request.manager, event, now),
            _ => Ok(()),
        }
    }
}

fn in_snapshot<T>(
    connection: &Connection,
    read: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let _end = Snapshot(connection);
    read(connection)
}

/// An open read transaction.
struct Snapshot<'a>(&'a Connection);

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        // Nothing was written, so there is nothing to lose if it fails; SQLite may
        // have ended it by itself after an error.
        if !self.0.is_autocommit()
            && let Ok(mut end) = self.0.prepare_cached("ROLLBACK")
        {
            let _ = end.execute([]);
        }
    }
}

/// Tells Python's caches that the manager changed.
pub(crate) fn touch(connection: &Connection, namespace: &str) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO beaver_manager_versions (namespace, version) VALUES (?1, 1)
             ON CONFLICT (namespace) DO UPDATE SET version = version + 1",
        )?
        .execute([namespace])?;
    Ok(())
}
