//! A priority queue of JSON values (`wit/queue.wit`).

use std::time::Duration;

use super::dump::{DumpCursor, Loader};
use super::handle::{call, handle};
use super::locking::lock_methods;
use super::options::nanoseconds;
use super::{Database, Item};
use crate::{Error, Instance};

handle! {
    /// A queue. Two handles of one name are two lock owners; closing one
    /// releases the lock it holds.
    Queue
}

impl Instance {
    /// A handle for the queue `name`.
    pub async fn queue(&mut self, database: &Database, name: &str) -> Result<Queue, Error> {
        let database = database.0.on(self)?;
        let opened = call!(self, |store, api| api
            .beaver_db_queue(&mut *store)?
            .queue()
            .call_open(store, database, name))?;
        let resource = opened.map_err(Error::Db)?;
        Ok(Queue(self.registry().adopt(resource)))
    }
}

lock_methods!(Queue, beaver_db_queue, queue);

impl Queue {
    /// Adds the JSON text `data`. Lower priorities come first.
    pub async fn put(
        &self,
        instance: &mut Instance,
        data: &str,
        priority: f64,
    ) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        let data = &data.to_owned(); // the bindings want a `&String` here
        call!(instance, |store, api| api
            .beaver_db_queue(&mut *store)?
            .queue()
            .call_put(store, this, data, priority))?
        .map_err(Error::Db)
    }

    /// Takes the first item, waiting for one (`None`: for ever; zero: tries once).
    pub async fn get(
        &self,
        instance: &mut Instance,
        timeout: Option<Duration>,
    ) -> Result<Item, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_queue(&mut *store)?
            .queue()
            .call_get(store, this, timeout.map(nanoseconds)))?
        .map_err(Error::Db)
    }

    /// Takes the first item; none when the queue is empty.
    pub async fn try_get(&self, instance: &mut Instance) -> Result<Option<Item>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_queue(&mut *store)?
            .queue()
            .call_try_get(store, this))?
        .map_err(Error::Db)
    }

    /// Takes the first `count` items, all at once, waiting until there are as many.
    pub async fn get_batch(
        &self,
        instance: &mut Instance,
        count: u32,
        timeout: Option<Duration>,
    ) -> Result<Vec<Item>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_queue(&mut *store)?
            .queue()
            .call_get_batch(store, this, count, timeout.map(nanoseconds)))?
        .map_err(Error::Db)
    }

    /// The first item, left where it is.
    pub async fn peek(&self, instance: &mut Instance) -> Result<Option<Item>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_queue(&mut *store)?
            .queue()
            .call_peek(store, this))?
        .map_err(Error::Db)
    }

    /// The number of items.
    pub async fn len(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_queue(&mut *store)?
            .queue()
            .call_len(store, this))?
        .map_err(Error::Db)
    }

    /// The items in queue order, left where they are, page by page.
    pub async fn items(&self, instance: &mut Instance) -> Result<ItemCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_queue(&mut *store)?
            .queue()
            .call_items(store, this))?
        .map_err(Error::Db)?;
        Ok(ItemCursor(instance.registry().adopt(cursor)))
    }

    /// Removes every item; returns how many there were.
    pub async fn clear(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_queue(&mut *store)?
            .queue()
            .call_clear(store, this))?
        .map_err(Error::Db)
    }

    /// The contents as JSON text, piece by piece.
    pub async fn dump(&self, instance: &mut Instance) -> Result<DumpCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_queue(&mut *store)?
            .queue()
            .call_dump(store, this))?
        .map_err(Error::Db)?;
        Ok(DumpCursor(instance.registry().adopt(cursor)))
    }

    /// Loads a dump piece by piece.
    pub async fn loader(&self, instance: &mut Instance) -> Result<Loader, Error> {
        let this = self.0.on(instance)?;
        let loader = call!(instance, |store, api| api
            .beaver_db_queue(&mut *store)?
            .queue()
            .call_loader(store, this))?
        .map_err(Error::Db)?;
        Ok(Loader(instance.registry().adopt(loader)))
    }
}

handle! {
    /// Where an iteration over items stands.
    ItemCursor
}

impl ItemCursor {
    /// The next page: at most `max` items; empty at the end.
    pub async fn next(&self, instance: &mut Instance, max: u32) -> Result<Vec<Item>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_queue(&mut *store)?
            .item_cursor()
            .call_next(store, this, max))?
        .map_err(Error::Db)
    }
}
