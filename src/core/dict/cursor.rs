//! Iterating over a dictionary, page by page, in the order of the keys.
//!
//! What must stay true: each page begins behind the last key of the one before, whatever was
//! written in between; only a page that was read whole moves the position.

use super::{Dict, Entry, reveal, stored_limit};
use crate::cursor::{Ahead, check_max, check_order, pages_iterator, read_page};
use crate::database::Database;
use crate::error::Result;
use crate::manager::Manager;
use crate::secret::{self, Secret};
use crate::value;
use rusqlite::params;
use std::rc::Rc;

impl Dict {
    /// The keys in order of their bytes.
    ///
    /// # Errors
    /// None now; each page may fail.
    pub fn keys(&self) -> Result<Keys> {
        Ok(Keys {
            position: self.start(None),
            ahead: Ahead::default(),
        })
    }

    /// The values in key order.
    ///
    /// # Errors
    /// None now; each page may fail.
    pub fn values(&self) -> Result<Values> {
        Ok(Values {
            position: self.start(self.secret.clone()),
            ahead: Ahead::default(),
        })
    }

    /// The entries in key order.
    ///
    /// # Errors
    /// None now; each page may fail.
    pub fn items(&self) -> Result<Items> {
        Ok(Items {
            position: self.start(self.secret.clone()),
            ahead: Ahead::default(),
        })
    }

    /// How many entries had not expired at one moment, and those.
    pub(crate) fn items_now(&self) -> Result<(u64, Items)> {
        let now = self.now();
        let mut items = self.items()?;
        items.position.now = Some(now);
        let count = self
            .database
            .read(|connection| self.count_at(connection, now))?;
        Ok((count, items))
    }

    /// Values come decrypted by `secret`; keys need none.
    fn start(&self, secret: Option<Rc<Secret>>) -> Position {
        Position {
            database: self.database.clone(),
            manager: Rc::clone(&self.manager),
            secret,
            now: None,
            after: None,
            done: false,
        }
    }
}

/// Where an iteration stands: after a key.
#[derive(Debug)]
struct Position {
    database: Database,
    manager: Rc<Manager>,
    secret: Option<Rc<Secret>>,
    /// The time by which entries have expired or not; none: that of each page.
    now: Option<f64>,
    after: Option<String>,
    done: bool,
}

impl Position {
    fn next_page(&mut self, max: u32) -> Result<Vec<Entry>> {
        check_max(max)?;
        if self.done {
            return Ok(Vec::new());
        }
        let now = self
            .now
            .unwrap_or_else(|| self.database.inner.runtime.unix_seconds());
        let limit = stored_limit(self.secret.as_deref());
        let mut page = self.database.read(|connection| {
            // No key sorts before the empty one, which is a key like any other.
            let sql = match self.after {
                None => {
                    "SELECT key, value FROM beaver_dicts WHERE dict_name = ?1 AND key >= ?2
                     AND (expires_at IS NULL OR expires_at > ?3) ORDER BY key"
                }
                Some(_) => {
                    "SELECT key, value FROM beaver_dicts WHERE dict_name = ?1 AND key > ?2
                     AND (expires_at IS NULL OR expires_at > ?3) ORDER BY key"
                }
            };
            let after = self.after.as_deref().unwrap_or_default();
            read_page(
                &mut *connection.prepare_cached(sql)?,
                params![self.manager.name, after, now],
                max,
                |row| {
                    let entry = Entry {
                        key: value::text(row, 0)?,
                        value: value::text_within(row, 1, limit)?,
                    };
                    let size = entry.key.len()
                        + match &self.secret {
                            Some(_) => secret::opened_bytes(entry.value.len()),
                            None => entry.value.len(),
                        };
                    Ok((entry, size))
                },
            )
        })?;
        let keys = page.iter().map(|entry| entry.key.as_str());
        check_order(self.after.as_deref(), keys)?;
        if let Some(secret) = self.secret.as_deref() {
            for Entry { key, value } in &mut page {
                *value = reveal(Some(secret), &self.manager.name, key, std::mem::take(value))?;
            }
        }
        match page.last() {
            Some(last) => self.after = Some(last.key.clone()),
            None => self.done = true,
        }
        Ok(page)
    }
}

macro_rules! cursor {
    ($(#[$doc:meta])* $name:ident, $item:ty, $map:expr) => {
        $(#[$doc])*
        /// Reads page by page, each as the database is then.
        #[derive(Debug)]
        pub struct $name {
            position: Position,
            ahead: Ahead<$item>,
        }

        impl $name {
            /// The next page: at most `max`, fewer when they are large, empty at the end.
            ///
            /// # Errors
            /// [`Error::InvalidArgument`] for 0, and what reading may report.
            pub fn next_page(&mut self, max: u32) -> Result<Vec<$item>> {
                Ok(self.position.next_page(max)?.into_iter().map($map).collect())
            }
        }

        pages_iterator!($name, $item);
    };
}

cursor!(
    /// The keys of a [`Dict`].
    Keys, String, |entry| entry.key
);
cursor!(
    /// The values of a [`Dict`].
    Values, String, |entry| entry.value
);
cursor!(
    /// The entries of a [`Dict`].
    Items, Entry, |entry| entry
);
