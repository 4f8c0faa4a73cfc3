//! Messages to whoever listens (`wit/channel.wit`).

use std::time::Duration;

use super::handle::{call, handle};
use super::options::nanoseconds;
use super::{Database, Message};
use crate::{Error, Instance};

handle! {
    /// A channel.
    Channel
}

impl Instance {
    /// A handle for the channel `name`.
    pub async fn channel(&mut self, database: &Database, name: &str) -> Result<Channel, Error> {
        let database = database.0.on(self)?;
        let opened = call!(self, |store, api| api
            .beaver_db_channel(&mut *store)?
            .channel()
            .call_open(store, database, name))?;
        let resource = opened.map_err(Error::Db)?;
        Ok(Channel(self.registry().adopt(resource)))
    }
}

impl Channel {
    /// Sends the JSON text `payload` to all who listen; returns its timestamp,
    /// in seconds since 1970-01-01 UTC.
    pub async fn publish(&self, instance: &mut Instance, payload: &str) -> Result<f64, Error> {
        let this = self.0.on(instance)?;
        let payload = &payload.to_owned(); // the bindings want a `&String` here
        call!(instance, |store, api| api
            .beaver_db_channel(&mut *store)?
            .channel()
            .call_publish(store, this, payload))?
        .map_err(Error::Db)
    }

    /// Listens from now on, or from after the timestamp `after`.
    pub async fn subscribe(
        &self,
        instance: &mut Instance,
        after: Option<f64>,
    ) -> Result<Subscription, Error> {
        let this = self.0.on(instance)?;
        let subscription = call!(instance, |store, api| api
            .beaver_db_channel(&mut *store)?
            .channel()
            .call_subscribe(store, this, after))?
        .map_err(Error::Db)?;
        Ok(Subscription(instance.registry().adopt(subscription)))
    }

    /// The messages that are there, all or those after `after`, and of these
    /// all or the last `last`, page by page.
    pub async fn history(
        &self,
        instance: &mut Instance,
        after: Option<f64>,
        last: Option<u64>,
    ) -> Result<MessageCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_channel(&mut *store)?
            .channel()
            .call_history(store, this, after, last))?
        .map_err(Error::Db)?;
        Ok(MessageCursor(instance.registry().adopt(cursor)))
    }

    /// The number of messages that are there.
    pub async fn len(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_channel(&mut *store)?
            .channel()
            .call_len(store, this))?
        .map_err(Error::Db)
    }

    /// Removes the messages with a timestamp before `before`; returns how many.
    pub async fn prune(&self, instance: &mut Instance, before: f64) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_channel(&mut *store)?
            .channel()
            .call_prune(store, this, before))?
        .map_err(Error::Db)
    }

    /// Removes every message; returns how many there were.
    pub async fn clear(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_channel(&mut *store)?
            .channel()
            .call_clear(store, this))?
        .map_err(Error::Db)
    }
}

handle! {
    /// Where an iteration over messages stands.
    MessageCursor
}

impl MessageCursor {
    /// The next page: at most `max` messages; empty at the end.
    pub async fn next(&self, instance: &mut Instance, max: u32) -> Result<Vec<Message>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_channel(&mut *store)?
            .message_cursor()
            .call_next(store, this, max))?
        .map_err(Error::Db)
    }
}

handle! {
    /// Receives a channel's messages, every one once.
    Subscription
}

impl Subscription {
    /// The next messages, at least one and at most `max`, waiting for one
    /// (`None`: for ever; zero: looks once).
    pub async fn next(
        &self,
        instance: &mut Instance,
        max: u32,
        timeout: Option<Duration>,
    ) -> Result<Vec<Message>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_channel(&mut *store)?
            .subscription()
            .call_next(store, this, max, timeout.map(nanoseconds)))?
        .map_err(Error::Db)
    }
}
