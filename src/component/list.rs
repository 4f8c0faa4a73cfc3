//! `beaver:db/list`.

use crate::Component;
use crate::bindings::exports::beaver::db::database::DatabaseBorrow;
use crate::bindings::exports::beaver::db::dump::{DumpCursor, Loader};
use crate::bindings::exports::beaver::db::list as wit;
use crate::bindings::exports::beaver::db::types::Error;
use crate::dump;
use crate::lock::lock_methods;
use beaver_core::{Database, List, ListItems};
use std::cell::RefCell;

impl wit::Guest for Component {
    type List = List;
    type ItemCursor = RefCell<ListItems>;
}

impl wit::GuestList for List {
    fn open(db: DatabaseBorrow<'_>, name: String) -> Result<wit::List, Error> {
        Ok(wit::List::new(db.get::<Database>().list(&name)?))
    }

    fn push(&self, value: String) -> Result<(), Error> {
        Ok(self.push(&value)?)
    }

    fn prepend(&self, value: String) -> Result<(), Error> {
        Ok(self.prepend(&value)?)
    }

    fn insert(&self, index: i64, value: String) -> Result<(), Error> {
        Ok(self.insert(index, &value)?)
    }

    fn pop(&self) -> Result<Option<String>, Error> {
        Ok(self.pop()?)
    }

    fn pop_first(&self) -> Result<Option<String>, Error> {
        Ok(self.pop_first()?)
    }

    fn get(&self, index: i64) -> Result<Option<String>, Error> {
        Ok(self.get(index)?)
    }

    fn set(&self, index: i64, value: String) -> Result<(), Error> {
        Ok(self.set(index, &value)?)
    }

    fn delete(&self, index: i64) -> Result<(), Error> {
        Ok(self.delete(index)?)
    }

    fn slice(&self, start: Option<i64>, stop: Option<i64>) -> Result<wit::ItemCursor, Error> {
        Ok(wit::ItemCursor::new(RefCell::new(self.slice(start, stop)?)))
    }

    fn items(&self) -> Result<wit::ItemCursor, Error> {
        Ok(wit::ItemCursor::new(RefCell::new(self.items()?)))
    }

    fn contains(&self, value: String) -> Result<bool, Error> {
        Ok(self.contains(&value)?)
    }

    fn len(&self) -> Result<u64, Error> {
        Ok(self.len()?)
    }

    fn clear(&self) -> Result<u64, Error> {
        Ok(self.clear()?)
    }

    fn dump(&self) -> Result<DumpCursor, Error> {
        Ok(dump::cursor(self.dump()?))
    }

    fn loader(&self) -> Result<Loader, Error> {
        Ok(dump::loader(self.loader()?))
    }

    lock_methods!();
}

impl wit::GuestItemCursor for RefCell<ListItems> {
    fn next(&self, max: u32) -> Result<Vec<String>, Error> {
        // Never borrowed twice: a component isn't entered again during a call.
        Ok(self.borrow_mut().next_page(max)?)
    }
}
