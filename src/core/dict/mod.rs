//! A dictionary from text to JSON, table `beaver_dicts`.
//!
//! What must stay true: an expired entry is as good as absent, to every method;
//! values are Python's JSON text, or an encrypted form of it (`secret.rs`); a
//! write counts up the manager's version.

mod cursor;

pub use cursor::{Items, Keys, Values};

use crate::database::Database;
use crate::error::{Error, Result};
use crate::events::{self, Event, Payload};
use crate::json::python_text;
use crate::manager::{Kind, Manager, check_key};
use crate::owner::{Owner, check_ttl, lock_methods};
use crate::secret::{self, Secret};
use crate::value::{self, MAX_READ_BYTES};
use crate::write::{Effect, Interference, Request};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

/// A handle for a dictionary: one lock owner. Dropping it gives its lock back.
///
/// Every method is one transaction of its own, or part of the open
/// [`Transaction`](crate::Transaction). Values are JSON texts.
#[derive(Debug)]
pub struct Dict {
    pub(crate) database: Database,
    manager: Rc<Manager>,
    owner: Owner,
    /// What its values are encrypted with, if they are.
    secret: Option<Rc<Secret>>,
}

lock_methods!(Dict);

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The JSON text.
    pub value: String,
}

impl Database {
    /// A handle for the dictionary `name`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bad name, [`Error::UnsupportedFormat`]
    /// when it is encrypted.
    pub fn dict(&self, name: &str) -> Result<Dict> {
        let manager = Manager::new(Kind::Dict, name)?;
        if self
            .read(|connection| secret::registration(connection, name))?
            .is_some()
        {
            return Err(secret::encrypted(name));
        }
        Ok(Dict::new(self, manager, None))
    }

    /// A handle for the dictionary `name`, whose values are encrypted with
    /// `secret`: AES-128-CBC with HMAC-SHA-256, as the Python package stores
    /// them. Keys and times to live are not encrypted. A dictionary that holds
    /// nothing becomes an encrypted one with the first handle, for good.
    ///
    /// Deriving the key takes as long as it is meant to, about 15 ms natively
    /// and 100 ms in the component: keep the handle.
    ///
    /// ```
    /// # fn main() -> beaver_core::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("app.db");
    /// # let path = path.to_str().unwrap();
    /// use beaver_core::{Database, Error, Options};
    ///
    /// let db = Database::open(path, &Options::default())?;
    /// let tokens = db.dict_encrypted("tokens", "open sesame")?;
    /// tokens.set("api", "\"s3cr3t\"", None)?;
    /// assert_eq!(tokens.get("api")?.as_deref(), Some("\"s3cr3t\""));
    /// assert!(matches!(
    ///     db.dict_encrypted("tokens", "open barley"),
    ///     Err(Error::WrongSecret(_))
    /// ));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::WrongSecret`]; [`Error::InvalidArgument`] for a bad name, an
    /// empty secret, and a dictionary that holds plain values;
    /// [`Error::Locked`], at once, when it would become an encrypted one while
    /// somebody holds or awaits its lock;
    /// [`Error::InTransaction`] when it would become an encrypted one inside a
    /// transaction; [`Error::Corrupt`]; and what writing may report.
    pub fn dict_encrypted(&self, name: &str, secret: &str) -> Result<Dict> {
        let manager = Manager::new(Kind::Dict, name)?;
        let secret = Secret::of_dict(self, name, secret)?;
        Ok(Dict::new(self, manager, Some(Rc::new(secret))))
    }
}

impl Dict {
    fn new(database: &Database, manager: Manager, secret: Option<Rc<Secret>>) -> Self {
        Self {
            owner: Owner::new(database, &manager.lock_name),
            database: database.clone(),
            manager: Rc::new(manager),
            secret,
        }
    }

    /// The dictionary's name.
    pub fn name(&self) -> &str {
        &self.manager.name
    }

    /// Sets `key` to the JSON text `value`, replacing what was there, its time
    /// to live included. Without `ttl` the entry never expires.
    ///
    /// # Errors
    /// [`Error::InvalidJson`], [`Error::InvalidArgument`], [`Error::Locked`],
    /// [`Error::LockLost`], and what writing may report.
    pub fn set(&self, key: &str, value: &str, ttl: Option<Duration>) -> Result<()> {
        check_key(key)?;
        let ttl = check_ttl(ttl)?;
        let value = python_text(value)?;
        let value = self.seal(&value)?;
        let event = Event::new("set", Payload::Key(key));
        self.write(Some(event), |connection| {
            Secret::check(connection, &self.manager.name, self.secret.as_deref())?;
            let expires_at = ttl.map(|ttl| self.now() + ttl.as_secs_f64());
            self.upsert(connection, key, &value, expires_at)?;
            Ok(Effect::Changed(()))
        })
    }

    /// Sets all of `entries`, whose values are Python's JSON texts, in one transaction.
    pub(crate) fn set_all(&self, entries: &[Entry]) -> Result<()> {
        let sealed: Vec<Cow<'_, str>> = entries
            .iter()
            .map(|entry| self.seal(&entry.value))
            .collect::<Result<_>>()?;
        self.write(None, |connection| {
            Secret::check(connection, &self.manager.name, self.secret.as_deref())?;
            for (entry, value) in entries.iter().zip(&sealed) {
                self.upsert(connection, &entry.key, value, None)?;
            }
            let payloads = entries.iter().map(|entry| Payload::Key(&entry.key));
            events::publish_if_heard(&self.database, &self.manager, "set", payloads)?;
            Ok(Effect::Changed(()))
        })
    }

    /// What is stored for a value.
    fn seal<'a>(&self, value: &'a str) -> Result<Cow<'a, str>> {
        Ok(match &self.secret {
            Some(secret) => secret.seal(value, &*self.database.inner.runtime)?.into(),
            None => value.into(),
        })
    }

    /// Whether its values are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.secret.is_some()
    }

    fn upsert(
        &self,
        connection: &Connection,
        key: &str,
        value: &str,
        expires_at: Option<f64>,
    ) -> Result<()> {
        // Not INSERT OR REPLACE: that gives the row a new rowid and rewrites
        // the index, a third of the time of a write.
        connection
            .prepare_cached(
                "INSERT INTO beaver_dicts (dict_name, key, value, expires_at)
                 VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (dict_name, key)
                 DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at",
            )?
            .execute(params![self.manager.name, key, value, expires_at])?;
        Ok(())
    }

    /// The JSON text of `key`; none when it is absent or expired.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for an encrypted value that was changed, and what
    /// reading may report.
    pub fn get(&self, key: &str) -> Result<Option<String>> {
        check_key(key)?;
        self.database
            .read(|connection| self.select(connection, key))?
            .map(|stored| reveal(self.secret.as_deref(), &self.manager.name, key, stored))
            .transpose()
    }

    /// Whether [`Dict::get`] would return a value.
    ///
    /// # Errors
    /// What reading may report.
    pub fn contains(&self, key: &str) -> Result<bool> {
        check_key(key)?;
        self.database.read(|connection| self.holds(connection, key))
    }

    /// Removes `key`. False when it was absent or expired.
    ///
    /// # Errors
    /// As [`Dict::set`].
    pub fn delete(&self, key: &str) -> Result<bool> {
        // Without reading it, which may be too large.
        let is_there = |connection: &Connection| {
            let found = self.holds(connection, key)?;
            Ok(found.then_some(()))
        };
        Ok(self.remove(key, is_there)?.is_some())
    }

    /// Removes `key` and returns its JSON text; none when it was absent or expired.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for an encrypted value that was changed, which then
    /// stays; otherwise as [`Dict::set`].
    pub fn pop(&self, key: &str) -> Result<Option<String>> {
        self.remove(key, |connection| {
            let Some(stored) = self.select(connection, key)? else {
                return Ok(None);
            };
            // What became encrypted meanwhile is no JSON to give out and lose.
            Secret::check(connection, &self.manager.name, self.secret.as_deref())?;
            reveal(self.secret.as_deref(), &self.manager.name, key, stored).map(Some)
        })
    }

    /// Removes `key`, expired or not, and returns what `take` finds there before.
    fn remove<T>(
        &self,
        key: &str,
        take: impl Fn(&Connection) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        check_key(key)?;
        let event = Event::new("del", Payload::Key(key));
        self.write(Some(event), |connection| {
            let value = take(connection)?;
            let deleted = connection
                .prepare_cached("DELETE FROM beaver_dicts WHERE dict_name = ?1 AND key = ?2")?
                .execute([self.manager.name.as_str(), key])?;
            Ok(if deleted > 0 {
                Effect::Changed(value)
            } else {
                Effect::Unchanged(value)
            })
        })
    }

    /// The number of entries that have not expired.
    ///
    /// # Errors
    /// What reading may report.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a count is a query; is_empty would hide that"
    )]
    pub fn len(&self) -> Result<u64> {
        self.database.read(|connection| self.count(connection))
    }

    /// Removes every entry; returns how many had not expired.
    ///
    /// # Errors
    /// As [`Dict::set`].
    pub fn clear(&self) -> Result<u64> {
        let event = Event::new("clear", Payload::Nothing);
        self.write(Some(event), |connection| {
            Secret::check(connection, &self.manager.name, self.secret.as_deref())?;
            let live = self.count(connection)?;
            let deleted = connection
                .prepare_cached("DELETE FROM beaver_dicts WHERE dict_name = ?1")?
                .execute([&self.manager.name])?;
            Ok(if deleted > 0 {
                Effect::Changed(live)
            } else {
                Effect::Unchanged(live)
            })
        })
    }

    /// Another such handle, of the same lock owner: the lock doesn't end with it.
    pub(crate) fn share(&self) -> Self {
        Self {
            database: self.database.clone(),
            manager: Rc::clone(&self.manager),
            owner: self.owner.share(),
            secret: self.secret.clone(),
        }
    }

    fn now(&self) -> f64 {
        self.database.inner.runtime.unix_seconds()
    }

    fn write<T>(
        &self,
        event: Option<Event<'_>>,
        write: impl FnMut(&Connection) -> Result<Effect<T>>,
    ) -> Result<T> {
        let lease = self.owner.lease();
        let request = Request {
            manager: &self.manager,
            lease: lease.as_ref(),
            interference: Interference::Possible,
            event,
            wait: self.database.inner.options.lock_wait,
            write_limit: None,
        };
        self.database.write(&request, write)
    }

    fn holds(&self, connection: &Connection, key: &str) -> Result<bool> {
        let found: Option<Option<f64>> = connection
            .prepare_cached(
                "SELECT expires_at FROM beaver_dicts WHERE dict_name = ?1 AND key = ?2",
            )?
            .query_row([self.manager.name.as_str(), key], |row| row.get(0))
            .optional()?;
        Ok(found.is_some_and(|expires_at| expires_at.is_none_or(|at| at > self.now())))
    }

    fn select(&self, connection: &Connection, key: &str) -> Result<Option<String>> {
        let limit = stored_limit(self.secret.as_deref());
        let found: Option<(String, Option<f64>)> = connection
            .prepare_cached(
                "SELECT value, expires_at FROM beaver_dicts WHERE dict_name = ?1 AND key = ?2",
            )?
            .query_row([self.manager.name.as_str(), key], |row| {
                Ok((value::text_within(row, 0, limit)?, row.get(1)?))
            })
            .optional()?;
        // In the component reading the clock is a call to the host: only if need be.
        Ok(found
            .filter(|(_, expires_at)| expires_at.is_none_or(|at| at > self.now()))
            .map(|(value, _)| value))
    }

    fn count(&self, connection: &Connection) -> Result<u64> {
        self.count_at(connection, self.now())
    }

    fn count_at(&self, connection: &Connection, now: f64) -> Result<u64> {
        let count: i64 = connection
            .prepare_cached(
                "SELECT count(*) FROM beaver_dicts WHERE dict_name = ?1
                 AND (expires_at IS NULL OR expires_at > ?2)",
            )?
            .query_row(params![self.manager.name, now], |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }
}

/// The most bytes that are stored for a value that can be returned.
fn stored_limit(secret: Option<&Secret>) -> usize {
    match secret {
        Some(_) => secret::sealed_bytes(MAX_READ_BYTES),
        None => MAX_READ_BYTES,
    }
}

/// The JSON text of what is stored under `key`.
fn reveal(secret: Option<&Secret>, name: &str, key: &str, stored: String) -> Result<String> {
    let Some(secret) = secret else {
        return Ok(stored);
    };
    secret.open(&stored).ok_or_else(|| {
        Error::Corrupt(format!(
            "the value of {key:?} in dictionary {name:?} was changed, or isn't encrypted with its secret"
        ))
    })
}
