//! `beaver:db/dict`.

use crate::Component;
use crate::bindings::exports::beaver::db::database::DatabaseBorrow;
use crate::bindings::exports::beaver::db::dict as wit;
use crate::bindings::exports::beaver::db::dump::{DumpCursor, Loader};
use crate::bindings::exports::beaver::db::types::{Duration, Error};
use crate::convert::duration;
use crate::dump;
use crate::lock::lock_methods;
use beaver_core::{Database, Dict, Items, Keys, Values};
use std::cell::RefCell;

impl wit::Guest for Component {
    type Dict = Dict;
    type KeyCursor = RefCell<Keys>;
    type ValueCursor = RefCell<Values>;
    type EntryCursor = RefCell<Items>;
}

impl wit::GuestDict for Dict {
    fn open(db: DatabaseBorrow<'_>, name: String) -> Result<wit::Dict, Error> {
        Ok(wit::Dict::new(db.get::<Database>().dict(&name)?))
    }

    fn open_encrypted(
        db: DatabaseBorrow<'_>,
        name: String,
        secret: String,
    ) -> Result<wit::Dict, Error> {
        let dict = db.get::<Database>().dict_encrypted(&name, &secret)?;
        Ok(wit::Dict::new(dict))
    }

    fn set(&self, key: String, value: String, ttl: Option<Duration>) -> Result<(), Error> {
        Ok(self.set(&key, &value, duration(ttl))?)
    }

    fn get(&self, key: String) -> Result<Option<String>, Error> {
        Ok(self.get(&key)?)
    }

    fn contains(&self, key: String) -> Result<bool, Error> {
        Ok(self.contains(&key)?)
    }

    fn delete(&self, key: String) -> Result<bool, Error> {
        Ok(self.delete(&key)?)
    }

    fn pop(&self, key: String) -> Result<Option<String>, Error> {
        Ok(self.pop(&key)?)
    }

    fn len(&self) -> Result<u64, Error> {
        Ok(self.len()?)
    }

    fn clear(&self) -> Result<u64, Error> {
        Ok(self.clear()?)
    }

    fn keys(&self) -> Result<wit::KeyCursor, Error> {
        Ok(wit::KeyCursor::new(RefCell::new(self.keys()?)))
    }

    fn values(&self) -> Result<wit::ValueCursor, Error> {
        Ok(wit::ValueCursor::new(RefCell::new(self.values()?)))
    }

    fn items(&self) -> Result<wit::EntryCursor, Error> {
        Ok(wit::EntryCursor::new(RefCell::new(self.items()?)))
    }

    fn dump(&self) -> Result<DumpCursor, Error> {
        Ok(dump::cursor(self.dump()?))
    }

    fn loader(&self) -> Result<Loader, Error> {
        Ok(dump::loader(self.loader()?))
    }

    lock_methods!();
}

// The cursors' cells are never borrowed twice: a component isn't entered again
// while a call runs.

impl wit::GuestKeyCursor for RefCell<Keys> {
    fn next(&self, max: u32) -> Result<Vec<String>, Error> {
        Ok(self.borrow_mut().next_page(max)?)
    }
}

impl wit::GuestValueCursor for RefCell<Values> {
    fn next(&self, max: u32) -> Result<Vec<String>, Error> {
        Ok(self.borrow_mut().next_page(max)?)
    }
}

impl wit::GuestEntryCursor for RefCell<Items> {
    fn next(&self, max: u32) -> Result<Vec<wit::Entry>, Error> {
        let page = self.borrow_mut().next_page(max)?;
        Ok(page
            .into_iter()
            .map(|entry| wit::Entry {
                key: entry.key,
                value: entry.value,
            })
            .collect())
    }
}
