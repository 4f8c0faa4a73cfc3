//! An example: a store of its own, and `beaver-harness` in its `cargo test`.
//!
//! The store keeps dictionaries in one SQLite file, with transactions and with locks that end
//! by themselves. It is small, but keeps what it claims. To try yours in the same way:
//!
//! 1. Implement [`Store`] for a client of it, as [`Notes`] does below: what it offers, how it is
//!    opened, and what it does with each operation of `PROTOCOL.md`.
//! 2. `tests/suite.rs`, one line:
//!    `beaver_harness::suite!(beaver_harness::driver::Embedded::<Notes>::new());`
//! 3. `cargo test`; `cargo test lock_` for what is about locks. A test that fails says what went
//!    wrong between whom, and how to see it as a page and how to run it again.
//! 4. For processes that are killed and stopped, `serve.rs` serves it as a child process.
//!
//! What it does not claim: it has no fair lines (`lock-waiting`), and since only time ends the
//! lock of a process that was killed, the scenario `killed-holder` would fail on it.

use beaver_harness::driver::Store;
use beaver_harness::protocol::{Capability, ErrorCode, Failure, Init, LockName, Op};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often somebody who waits looks again.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How long a lock lasts if nobody says.
const TTL_MS: u64 = 60_000;

/// A client: a connection, and the locks that it holds.
pub struct Notes {
    connection: Connection,
    /// The fencing token of each.
    held: HashMap<String, i64>,
}

impl Store for Notes {
    const NAME: &'static str = "notes";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: &'static [Capability] = &[
        Capability::Dict,
        Capability::Transactions,
        Capability::Locks,
        Capability::Fencing,
        Capability::Sqlite,
    ];

    fn open(init: &Init) -> Result<Self, Failure> {
        let mut connection = Connection::open(&init.database).map_err(failed)?;
        // Whoever writes is soon done. SQLite's own handler sleeps for up to 100 ms at a time.
        connection
            .busy_handler(Some(|tries| {
                std::thread::sleep(LOOK_EVERY);
                tries < 10_000
            }))
            .map_err(failed)?;
        // Of several who come first at once, SQLite refuses some: the harness tries again.
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = NORMAL;
                 CREATE TABLE IF NOT EXISTS dict (
                     name TEXT, key TEXT, value TEXT NOT NULL, PRIMARY KEY (name, key));
                 CREATE TABLE IF NOT EXISTS lock (
                     name TEXT PRIMARY KEY, token INTEGER NOT NULL, until_ms INTEGER NOT NULL);",
            )
            .map_err(failed)?;
        let held = HashMap::new();
        Ok(Self { connection, held })
    }

    fn call(&mut self, op: &Op) -> Result<Value, Failure> {
        match op {
            Op::DictGet { name, .. } | Op::DictSet { name, .. } | Op::DictDelete { name, .. } => {
                self.dict(name, op)
            }
            Op::LockAcquire {
                lock,
                timeout_ms,
                ttl_ms,
            } => self.acquire(lock, *timeout_ms, ttl_ms.unwrap_or(TTL_MS)),
            Op::LockRelease { lock } => self.release(&lock.to_string()),
            // At once with the right to write, so that nothing that it read is old when it writes.
            Op::Begin => self.execute("BEGIN IMMEDIATE"),
            Op::Commit => self.execute("COMMIT").inspect_err(|_| {
                let _ = self.execute("ROLLBACK");
            }),
            Op::Rollback => self.execute("ROLLBACK"),
            _ => Err(Failure::new(ErrorCode::Unsupported, op.name())),
        }
    }

    fn close(mut self) -> Result<(), Failure> {
        for lock in self.held.keys().cloned().collect::<Vec<_>>() {
            match self.release(&lock) {
                Err(failure) if failure.error != ErrorCode::LockLost => return Err(failure),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Notes {
    fn execute(&self, sql: &str) -> Result<Value, Failure> {
        self.connection.execute_batch(sql).map_err(failed)?;
        Ok(Value::Null)
    }

    /// Whoever holds the dictionary's lock does nothing on it once the lock is lost: looked up in
    /// the transaction that writes, so that nobody can get the lock between.
    fn dict(&mut self, name: &str, op: &Op) -> Result<Value, Failure> {
        let lock = format!("dict:{name}");
        let token = self.held.get(&lock).copied();
        let guarded = |connection: &Connection| {
            if let Some(token) = token
                && !is_held(connection, &lock, token)?
            {
                return Err(Failure::new(ErrorCode::LockLost, lock.as_str()));
            }
            access(connection, name, op)
        };
        if !self.connection.is_autocommit() {
            return guarded(&self.connection);
        }
        let own = self
            .connection
            .transaction_with_behavior(if token.is_some() || op.is_write() {
                TransactionBehavior::Immediate
            } else {
                TransactionBehavior::Deferred
            })
            .map_err(failed)?;
        let done = guarded(&own)?;
        own.commit().map_err(failed)?;
        Ok(done)
    }

    fn acquire(
        &mut self,
        lock: &LockName,
        timeout_ms: Option<u64>,
        ttl_ms: u64,
    ) -> Result<Value, Failure> {
        let lock = lock.to_string();
        if self.held.contains_key(&lock) {
            return Err(Failure::new(ErrorCode::AlreadyHeld, lock));
        }
        let began = Instant::now();
        loop {
            if let Some(token) = self.take_if_free(&lock, ttl_ms).map_err(failed)? {
                self.held.insert(lock, token);
                return Ok(json!({"token": token}));
            }
            if timeout_ms.is_some_and(|limit| began.elapsed() >= Duration::from_millis(limit)) {
                return Err(Failure::new(ErrorCode::Timeout, lock));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn take_if_free(&mut self, lock: &str, ttl_ms: u64) -> rusqlite::Result<Option<i64>> {
        // Who only looks holds up nobody.
        let looks_held = "SELECT 1 FROM lock WHERE name = ? AND until_ms > ?";
        let mut looks_held = self.connection.prepare_cached(looks_held)?;
        if looks_held.exists(params![lock, now_ms()])? {
            return Ok(None);
        }
        drop(looks_held);
        let immediate = TransactionBehavior::Immediate;
        let own = self.connection.transaction_with_behavior(immediate)?;
        // Read only now: waiting for the right to write is no part of the grant.
        let now = now_ms();
        // The clock may be up to a millisecond behind.
        let until = now.saturating_add_unsigned(ttl_ms.saturating_add(1));
        // A row stays when its lock is given back, so that tokens only grow.
        let taken = own.query_row(
            "INSERT INTO lock VALUES (?1, 1, ?3)
             ON CONFLICT (name) DO UPDATE SET token = token + 1, until_ms = ?3
             WHERE until_ms <= ?2 RETURNING token",
            params![lock, now, until],
            |row| row.get(0),
        );
        let token = taken.optional()?;
        own.commit()?;
        Ok(token)
    }

    fn release(&mut self, lock: &str) -> Result<Value, Failure> {
        let Some(token) = self.held.remove(lock) else {
            return Err(Failure::new(ErrorCode::NotHeld, lock));
        };
        let given_back = self.connection.execute(
            "UPDATE lock SET until_ms = 0 WHERE name = ? AND token = ? AND until_ms > ?",
            params![lock, token, now_ms()],
        );
        match given_back.map_err(failed)? {
            0 => Err(Failure::new(ErrorCode::LockLost, lock)),
            _ => Ok(Value::Null),
        }
    }
}

fn is_held(connection: &Connection, lock: &str, token: i64) -> Result<bool, Failure> {
    connection
        .prepare_cached("SELECT 1 FROM lock WHERE name = ? AND token = ? AND until_ms > ?")
        .and_then(|mut held| held.exists(params![lock, token, now_ms()]))
        .map_err(failed)
}

fn access(connection: &Connection, name: &str, op: &Op) -> Result<Value, Failure> {
    match op {
        Op::DictGet { key, .. } => {
            let sql = "SELECT value FROM dict WHERE name = ? AND key = ?";
            let row = connection.query_row(sql, [name, key], |row| row.get::<_, String>(0));
            let text = row.optional().map_err(failed)?;
            let value = text.map_or(Ok(Value::Null), |text| serde_json::from_str(&text));
            value.map_err(|error| Failure::new(ErrorCode::Failed, error.to_string()))
        }
        Op::DictSet { key, value, .. } => {
            let sql = "INSERT OR REPLACE INTO dict VALUES (?, ?, ?)";
            let done = connection.execute(sql, [name, key, &value.to_string()]);
            done.map(|_| Value::Null).map_err(failed)
        }
        Op::DictDelete { key, .. } => {
            let sql = "DELETE FROM dict WHERE name = ? AND key = ?";
            let deleted = connection.execute(sql, [name, key]).map_err(failed)?;
            Ok(json!(deleted == 1))
        }
        _ => Err(Failure::new(ErrorCode::Unsupported, op.name())),
    }
}

/// By the clock that all processes on this machine share.
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

/// SQLite says that it is busy before anything has happened; of other errors nobody knows.
fn failed(error: rusqlite::Error) -> Failure {
    let code = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy) => ErrorCode::Busy,
        _ => ErrorCode::Failed,
    };
    Failure::new(code, error.to_string())
}
