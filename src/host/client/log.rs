//! A log of JSON values by time (`wit/log.wit`).

use std::time::Duration;

use super::dump::{DumpCursor, Loader};
use super::handle::{call, handle};
use super::options::nanoseconds;
use super::{Database, LogEntry, Window};
use crate::{Error, Instance};

handle! {
    /// A log.
    Log
}

impl Instance {
    /// A handle for the log `name`.
    pub async fn log(&mut self, database: &Database, name: &str) -> Result<Log, Error> {
        let database = database.0.on(self)?;
        let opened = call!(self, |store, api| api
            .beaver_db_log(&mut *store)?
            .log()
            .call_open(store, database, name))?;
        let resource = opened.map_err(Error::Db)?;
        Ok(Log(self.registry().adopt(resource)))
    }
}

impl Log {
    /// Adds the JSON text `data` and returns its timestamp, in seconds since
    /// 1970-01-01 UTC. Without one it is now, or just after the last entry's.
    pub async fn append(
        &self,
        instance: &mut Instance,
        data: &str,
        timestamp: Option<f64>,
    ) -> Result<f64, Error> {
        let this = self.0.on(instance)?;
        let data = &data.to_owned(); // the bindings want a `&String` here
        call!(instance, |store, api| api
            .beaver_db_log(&mut *store)?
            .log()
            .call_append(store, this, data, timestamp))?
        .map_err(Error::Db)
    }

    /// The number of entries.
    pub async fn len(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_log(&mut *store)?
            .log()
            .call_len(store, this))?
        .map_err(Error::Db)
    }

    /// The entries from `start` to `end`, both included, page by page.
    pub async fn range(
        &self,
        instance: &mut Instance,
        start: f64,
        end: f64,
    ) -> Result<LogCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_log(&mut *store)?
            .log()
            .call_range(store, this, start, end))?
        .map_err(Error::Db)?;
        Ok(LogCursor(instance.registry().adopt(cursor)))
    }

    /// All entries by their timestamps, page by page.
    pub async fn entries(&self, instance: &mut Instance) -> Result<LogCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_log(&mut *store)?
            .log()
            .call_entries(store, this))?
        .map_err(Error::Db)?;
        Ok(LogCursor(instance.registry().adopt(cursor)))
    }

    /// Follows the log from now on, or from after the timestamp `after`.
    pub async fn tail(&self, instance: &mut Instance, after: Option<f64>) -> Result<Tail, Error> {
        let this = self.0.on(instance)?;
        let tail = call!(instance, |store, api| api
            .beaver_db_log(&mut *store)?
            .log()
            .call_tail(store, this, after))?
        .map_err(Error::Db)?;
        Ok(Tail(instance.registry().adopt(tail)))
    }

    /// Looks every `period` at the last `window` of time.
    pub async fn live(
        &self,
        instance: &mut Instance,
        window: Duration,
        period: Duration,
    ) -> Result<Live, Error> {
        let this = self.0.on(instance)?;
        let (window, period) = (nanoseconds(window), nanoseconds(period));
        let live = call!(instance, |store, api| api
            .beaver_db_log(&mut *store)?
            .log()
            .call_live(store, this, window, period))?
        .map_err(Error::Db)?;
        Ok(Live(instance.registry().adopt(live)))
    }

    /// Removes every entry; returns how many there were.
    pub async fn clear(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_log(&mut *store)?
            .log()
            .call_clear(store, this))?
        .map_err(Error::Db)
    }

    /// The contents as JSON text, piece by piece.
    pub async fn dump(&self, instance: &mut Instance) -> Result<DumpCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_log(&mut *store)?
            .log()
            .call_dump(store, this))?
        .map_err(Error::Db)?;
        Ok(DumpCursor(instance.registry().adopt(cursor)))
    }

    /// Loads a dump piece by piece.
    pub async fn loader(&self, instance: &mut Instance) -> Result<Loader, Error> {
        let this = self.0.on(instance)?;
        let loader = call!(instance, |store, api| api
            .beaver_db_log(&mut *store)?
            .log()
            .call_loader(store, this))?
        .map_err(Error::Db)?;
        Ok(Loader(instance.registry().adopt(loader)))
    }
}

handle! {
    /// Where an iteration over a log's entries stands.
    LogCursor
}

impl LogCursor {
    /// The next page: at most `max` entries; empty at the end.
    pub async fn next(&self, instance: &mut Instance, max: u32) -> Result<Vec<LogEntry>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_log(&mut *store)?
            .entry_cursor()
            .call_next(store, this, max))?
        .map_err(Error::Db)
    }
}

handle! {
    /// Follows a log: every entry once, in the order of the commits.
    Tail
}

impl Tail {
    /// The next entries, at least one and at most `max`, waiting for one
    /// (`None`: for ever; zero: looks once).
    pub async fn next(
        &self,
        instance: &mut Instance,
        max: u32,
        timeout: Option<Duration>,
    ) -> Result<Vec<LogEntry>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_log(&mut *store)?
            .tail()
            .call_next(store, this, max, timeout.map(nanoseconds)))?
        .map_err(Error::Db)
    }
}

handle! {
    /// A window that moves over a log.
    Live
}

impl Live {
    /// The window as it is now, a period after the one before.
    pub async fn next(
        &self,
        instance: &mut Instance,
        timeout: Option<Duration>,
    ) -> Result<Window, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_log(&mut *store)?
            .live()
            .call_next(store, this, timeout.map(nanoseconds)))?
        .map_err(Error::Db)
    }

    /// What came into the window since the one before, page by page.
    pub async fn entered(&self, instance: &mut Instance, max: u32) -> Result<Vec<LogEntry>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_log(&mut *store)?
            .live()
            .call_entered(store, this, max))?
        .map_err(Error::Db)
    }
}
