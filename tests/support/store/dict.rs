//! See `beaver_core::Dict`.

use super::Store;
use super::{Cursor, pages};
use crate::component::Remote;
use crate::{Entry, Result};
use beaver_core as native;
use beaver_host::client;
use std::time::Duration;

/// A dictionary of either system.
#[derive(Debug)]
pub enum Dict {
    /// The core in this process.
    Native(native::Dict),
    /// The component.
    Component(Remote<client::Dict>),
}

impl Store {
    /// A handle for a dictionary.
    ///
    /// # Errors
    /// What opening the handle reports.
    pub fn dict(&self, name: &str) -> Result<Dict> {
        match self {
            Self::Native(db) => db.dict(name).map(Dict::Native),
            Self::Component(db) => db
                .open(async |db, instance| instance.dict(db, name).await)
                .map(Dict::Component),
        }
    }

    /// A handle for an encrypted dictionary.
    ///
    /// # Errors
    /// What opening the handle reports.
    pub fn dict_encrypted(&self, name: &str, secret: &str) -> Result<Dict> {
        match self {
            Self::Native(db) => db.dict_encrypted(name, secret).map(Dict::Native),
            Self::Component(db) => db
                .open(async |db, instance| instance.dict_encrypted(db, name, secret).await)
                .map(Dict::Component),
        }
    }
}

locking!(Dict);
dumping!(Dict);
loading!(Dict);

impl Dict {
    forward! {
        set(key: &str, value: &str, ttl: Option<Duration>) -> ();
        get(key: &str) -> Option<String>;
        contains(key: &str) -> bool;
        delete(key: &str) -> bool;
        pop(key: &str) -> Option<String>;
        #[expect(clippy::len_without_is_empty, reason = "as in core")]
        len() -> u64;
        clear() -> u64;
    }

    /// All keys, read in pages of at most `max`, with the pages' lengths.
    ///
    /// # Errors
    /// What reading reports.
    pub fn key_pages(&self, max: u32) -> Result<Vec<Vec<String>>> {
        match self {
            Self::Native(dict) => {
                let mut cursor = dict.keys()?;
                pages(|| cursor.next_page(max))
            }
            Self::Component(dict) => {
                let cursor = dict.open(async |dict, instance| dict.keys(instance).await)?;
                pages(|| cursor.run(async |cursor, instance| cursor.next(instance, max).await))
            }
        }
    }

    /// All values, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn value_pages(&self, max: u32) -> Result<Vec<Vec<String>>> {
        match self {
            Self::Native(dict) => {
                let mut cursor = dict.values()?;
                pages(|| cursor.next_page(max))
            }
            Self::Component(dict) => {
                let cursor = dict.open(async |dict, instance| dict.values(instance).await)?;
                pages(|| cursor.run(async |cursor, instance| cursor.next(instance, max).await))
            }
        }
    }

    /// All entries, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn item_pages(&self, max: u32) -> Result<Vec<Vec<Entry>>> {
        self.items()?.pages(max)
    }

    /// As the core's `items`.
    ///
    /// # Errors
    /// As the core's.
    pub fn items(&self) -> Result<Cursor<Entry>> {
        match self {
            Self::Native(dict) => {
                let mut cursor = dict.items()?;
                Ok(Cursor::new(move |max| cursor.next_page(max)))
            }
            Self::Component(dict) => {
                let cursor = dict.open(async |dict, instance| dict.items(instance).await)?;
                Ok(Cursor::new(move |max| {
                    let page = cursor.run(async |cursor, i| cursor.next(i, max).await)?;
                    Ok(page
                        .into_iter()
                        .map(|e| Entry {
                            key: e.key,
                            value: e.value,
                        })
                        .collect())
                }))
            }
        }
    }
}
