//! What happens to the managers of a file (`wit/events.wit`).

use std::time::Duration;

use super::handle::{Handle, call};
use super::options::nanoseconds;
use super::{Database, Message};
use crate::{Error, Instance};

/// Hears one event of one topic. One that goes out of scope stops listening
/// before the instance's next call, or with the instance.
pub struct Listener(pub(super) Handle);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

impl Instance {
    /// Listens for `event` of `topic`: `set` of `dict:config`.
    pub async fn on(
        &mut self,
        database: &Database,
        topic: &str,
        event: &str,
    ) -> Result<Listener, Error> {
        let database = database.0.on(self)?;
        let opened = call!(self, |store, api| api
            .beaver_db_events(&mut *store)?
            .listener()
            .call_open(store, database, topic, event))?;
        let resource = opened.map_err(Error::Db)?;
        Ok(Listener(self.registry().adopt(resource)))
    }

    /// Publishes an event of one's own if anybody listens for it; false otherwise.
    pub async fn emit(
        &mut self,
        database: &Database,
        topic: &str,
        event: &str,
        payload: &str,
    ) -> Result<bool, Error> {
        let database = database.0.on(self)?;
        let payload = &payload.to_owned(); // the bindings want a `&String` here
        call!(self, |store, api| api
            .beaver_db_events(&mut *store)?
            .call_emit(store, database, topic, event, payload))?
        .map_err(Error::Db)
    }
}

impl Listener {
    /// The next events, at least one and at most `max`, waiting for one
    /// (`None`: for ever; zero: looks once).
    pub async fn next(
        &self,
        instance: &mut Instance,
        max: u32,
        timeout: Option<Duration>,
    ) -> Result<Vec<Message>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_events(&mut *store)?
            .listener()
            .call_next(store, this, max, timeout.map(nanoseconds)))?
        .map_err(Error::Db)
    }

    /// Stops listening.
    pub async fn close(self, instance: &mut Instance) -> Result<(), Error> {
        let this = self.0.take(instance)?;
        call!(instance, |store, api| api
            .beaver_db_events(&mut *store)?
            .listener()
            .call_close(store, this))?
        .map_err(Error::Db)
    }
}
