//! A list of JSON values (`wit/list.wit`).

use super::Database;
use super::dump::{DumpCursor, Loader};
use super::handle::{call, handle};
use super::locking::lock_methods;
use crate::{Error, Instance};

handle! {
    /// A list. Two handles of one name are two lock owners; closing one
    /// releases the lock it holds. A negative index counts from the end.
    List
}

impl Instance {
    /// A handle for the list `name`.
    pub async fn list(&mut self, database: &Database, name: &str) -> Result<List, Error> {
        let database = database.0.on(self)?;
        let opened = call!(self, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_open(store, database, name))?;
        let resource = opened.map_err(Error::Db)?;
        Ok(List(self.registry().adopt(resource)))
    }
}

lock_methods!(List, beaver_db_list, list);

impl List {
    /// Adds the JSON text `value` at the end.
    pub async fn push(&self, instance: &mut Instance, value: &str) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        let value = &value.to_owned(); // the bindings want a `&String` here
        call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_push(store, this, value))?
        .map_err(Error::Db)
    }

    /// Adds the JSON text `value` at the front.
    pub async fn prepend(&self, instance: &mut Instance, value: &str) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        let value = &value.to_owned(); // the bindings want a `&String` here
        call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_prepend(store, this, value))?
        .map_err(Error::Db)
    }

    /// Adds the JSON text `value` before the item `index`, as Python's `list.insert`.
    pub async fn insert(
        &self,
        instance: &mut Instance,
        index: i64,
        value: &str,
    ) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        let value = &value.to_owned(); // the bindings want a `&String` here
        call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_insert(store, this, index, value))?
        .map_err(Error::Db)
    }

    /// Removes the last item and returns it; none when the list is empty.
    pub async fn pop(&self, instance: &mut Instance) -> Result<Option<String>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_pop(store, this))?
        .map_err(Error::Db)
    }

    /// Removes the first item and returns it; none when the list is empty.
    pub async fn pop_first(&self, instance: &mut Instance) -> Result<Option<String>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_pop_first(store, this))?
        .map_err(Error::Db)
    }

    /// The item `index`; none when there is none.
    pub async fn get(&self, instance: &mut Instance, index: i64) -> Result<Option<String>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_get(store, this, index))?
        .map_err(Error::Db)
    }

    /// Replaces the item `index`. [`DbError::OutOfRange`](super::DbError::OutOfRange)
    /// when there is none.
    pub async fn set(&self, instance: &mut Instance, index: i64, value: &str) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        let value = &value.to_owned(); // the bindings want a `&String` here
        call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_set(store, this, index, value))?
        .map_err(Error::Db)
    }

    /// Removes the item `index`. [`DbError::OutOfRange`](super::DbError::OutOfRange)
    /// when there is none.
    pub async fn delete(&self, instance: &mut Instance, index: i64) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_delete(store, this, index))?
        .map_err(Error::Db)
    }

    /// The items from `start` up to, not including, `stop`, as Python's `list[start:stop]`.
    pub async fn slice(
        &self,
        instance: &mut Instance,
        start: Option<i64>,
        stop: Option<i64>,
    ) -> Result<ListCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_slice(store, this, start, stop))?
        .map_err(Error::Db)?;
        Ok(ListCursor(instance.registry().adopt(cursor)))
    }

    /// The items in order, page by page.
    pub async fn items(&self, instance: &mut Instance) -> Result<ListCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_items(store, this))?
        .map_err(Error::Db)?;
        Ok(ListCursor(instance.registry().adopt(cursor)))
    }

    /// Whether an item has the text that `value` would be stored as.
    pub async fn contains(&self, instance: &mut Instance, value: &str) -> Result<bool, Error> {
        let this = self.0.on(instance)?;
        let value = &value.to_owned(); // the bindings want a `&String` here
        call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_contains(store, this, value))?
        .map_err(Error::Db)
    }

    /// The number of items.
    pub async fn len(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_len(store, this))?
        .map_err(Error::Db)
    }

    /// Removes every item; returns how many there were.
    pub async fn clear(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_clear(store, this))?
        .map_err(Error::Db)
    }

    /// The contents as JSON text, piece by piece.
    pub async fn dump(&self, instance: &mut Instance) -> Result<DumpCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_dump(store, this))?
        .map_err(Error::Db)?;
        Ok(DumpCursor(instance.registry().adopt(cursor)))
    }

    /// Loads a dump piece by piece.
    pub async fn loader(&self, instance: &mut Instance) -> Result<Loader, Error> {
        let this = self.0.on(instance)?;
        let loader = call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .list()
            .call_loader(store, this))?
        .map_err(Error::Db)?;
        Ok(Loader(instance.registry().adopt(loader)))
    }
}

handle! {
    /// Where an iteration over a list stands.
    ListCursor
}

impl ListCursor {
    /// The next page: at most `max` items; empty at the end.
    pub async fn next(&self, instance: &mut Instance, max: u32) -> Result<Vec<String>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_list(&mut *store)?
            .item_cursor()
            .call_next(store, this, max))?
        .map_err(Error::Db)
    }
}
