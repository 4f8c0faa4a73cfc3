//! A dictionary from text to JSON (`wit/dict.wit`).

use std::time::Duration;

use super::dump::{DumpCursor, Loader};
use super::handle::{call, handle};
use super::locking::lock_methods;
use super::options::nanoseconds;
use super::{Database, Entry};
use crate::{Error, Instance};

handle! {
    /// A dictionary. Two handles of one name are two lock owners; closing one
    /// releases the lock it holds.
    Dict
}

impl Instance {
    /// A handle for the dictionary `name`, which exists as long as it has entries.
    pub async fn dict(&mut self, database: &Database, name: &str) -> Result<Dict, Error> {
        let database = database.0.on(self)?;
        let opened = call!(self, |store, api| api
            .beaver_db_dict(&mut *store)?
            .dict()
            .call_open(store, database, name))?;
        let resource = opened.map_err(Error::Db)?;
        Ok(Dict(self.registry().adopt(resource)))
    }

    /// A handle for the dictionary `name`, whose values are encrypted with
    /// `secret`. Deriving the key takes about 100 ms: keep the handle.
    pub async fn dict_encrypted(
        &mut self,
        database: &Database,
        name: &str,
        secret: &str,
    ) -> Result<Dict, Error> {
        let database = database.0.on(self)?;
        let opened = call!(self, |store, api| api
            .beaver_db_dict(&mut *store)?
            .dict()
            .call_open_encrypted(store, database, name, secret))?;
        let resource = opened.map_err(Error::Db)?;
        Ok(Dict(self.registry().adopt(resource)))
    }
}

lock_methods!(Dict, beaver_db_dict, dict);

impl Dict {
    /// Sets `key` to the JSON text `value`, replacing what was there. `ttl`: how
    /// long it stays; `None` is for good.
    pub async fn set(
        &self,
        instance: &mut Instance,
        key: &str,
        value: &str,
        ttl: Option<Duration>,
    ) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        let value = &value.to_owned(); // the bindings want a `&String` here
        call!(instance, |store, api| api
            .beaver_db_dict(&mut *store)?
            .dict()
            .call_set(store, this, key, value, ttl.map(nanoseconds)))?
        .map_err(Error::Db)
    }

    /// The JSON text of `key`, as stored; none when it is absent or expired.
    pub async fn get(&self, instance: &mut Instance, key: &str) -> Result<Option<String>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_dict(&mut *store)?
            .dict()
            .call_get(store, this, key))?
        .map_err(Error::Db)
    }

    /// Whether [`get`](Self::get) would return a value.
    pub async fn contains(&self, instance: &mut Instance, key: &str) -> Result<bool, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_dict(&mut *store)?
            .dict()
            .call_contains(store, this, key))?
        .map_err(Error::Db)
    }

    /// Removes `key`; false when there was nothing.
    pub async fn delete(&self, instance: &mut Instance, key: &str) -> Result<bool, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_dict(&mut *store)?
            .dict()
            .call_delete(store, this, key))?
        .map_err(Error::Db)
    }

    /// Removes `key` and returns its value.
    pub async fn pop(&self, instance: &mut Instance, key: &str) -> Result<Option<String>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_dict(&mut *store)?
            .dict()
            .call_pop(store, this, key))?
        .map_err(Error::Db)
    }

    /// The number of entries that have not expired.
    pub async fn len(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_dict(&mut *store)?
            .dict()
            .call_len(store, this))?
        .map_err(Error::Db)
    }

    /// Removes every entry; returns how many were live.
    pub async fn clear(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_dict(&mut *store)?
            .dict()
            .call_clear(store, this))?
        .map_err(Error::Db)
    }

    /// The keys in ascending order of their bytes, page by page.
    pub async fn keys(&self, instance: &mut Instance) -> Result<KeyCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_dict(&mut *store)?
            .dict()
            .call_keys(store, this))?
        .map_err(Error::Db)?;
        Ok(KeyCursor(instance.registry().adopt(cursor)))
    }

    /// The values in key order, page by page.
    pub async fn values(&self, instance: &mut Instance) -> Result<ValueCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_dict(&mut *store)?
            .dict()
            .call_values(store, this))?
        .map_err(Error::Db)?;
        Ok(ValueCursor(instance.registry().adopt(cursor)))
    }

    /// Keys and values in key order, page by page.
    pub async fn items(&self, instance: &mut Instance) -> Result<EntryCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_dict(&mut *store)?
            .dict()
            .call_items(store, this))?
        .map_err(Error::Db)?;
        Ok(EntryCursor(instance.registry().adopt(cursor)))
    }

    /// The contents as JSON text, piece by piece.
    pub async fn dump(&self, instance: &mut Instance) -> Result<DumpCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_dict(&mut *store)?
            .dict()
            .call_dump(store, this))?
        .map_err(Error::Db)?;
        Ok(DumpCursor(instance.registry().adopt(cursor)))
    }

    /// Loads a dump piece by piece.
    pub async fn loader(&self, instance: &mut Instance) -> Result<Loader, Error> {
        let this = self.0.on(instance)?;
        let loader = call!(instance, |store, api| api
            .beaver_db_dict(&mut *store)?
            .dict()
            .call_loader(store, this))?
        .map_err(Error::Db)?;
        Ok(Loader(instance.registry().adopt(loader)))
    }
}

handle! {
    /// Where an iteration over keys stands.
    KeyCursor
}

impl KeyCursor {
    /// The next page: at most `max` keys; empty at the end.
    pub async fn next(&self, instance: &mut Instance, max: u32) -> Result<Vec<String>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_dict(&mut *store)?
            .key_cursor()
            .call_next(store, this, max))?
        .map_err(Error::Db)
    }
}

handle! {
    /// Where an iteration over values stands.
    ValueCursor
}

impl ValueCursor {
    /// The next page: at most `max` values; empty at the end.
    pub async fn next(&self, instance: &mut Instance, max: u32) -> Result<Vec<String>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_dict(&mut *store)?
            .value_cursor()
            .call_next(store, this, max))?
        .map_err(Error::Db)
    }
}

handle! {
    /// Where an iteration over entries stands.
    EntryCursor
}

impl EntryCursor {
    /// The next page: at most `max` entries; empty at the end.
    pub async fn next(&self, instance: &mut Instance, max: u32) -> Result<Vec<Entry>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_dict(&mut *store)?
            .entry_cursor()
            .call_next(store, this, max))?
        .map_err(Error::Db)
    }
}
