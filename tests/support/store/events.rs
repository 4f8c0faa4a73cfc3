//! See `beaver_core::Listener`.

use super::Store;
use super::channel::messages;
use crate::component::Remote;
use crate::{Message, Result};
use beaver_core as native;
use beaver_host::client;
use std::time::Duration;

/// A listener of either system.
#[derive(Debug)]
pub enum Listener {
    /// The core in this process.
    Native(native::Listener),
    /// The component.
    Component(Remote<client::Listener>),
}

impl Store {
    /// As the core's `on`.
    ///
    /// # Errors
    /// As the core's.
    pub fn on(&self, topic: &str, event: &str) -> Result<Listener> {
        match self {
            Self::Native(db) => db.on(topic, event).map(Listener::Native),
            Self::Component(db) => db
                .open(async |db, instance| instance.on(db, topic, event).await)
                .map(Listener::Component),
        }
    }

    /// As the core's `emit`.
    ///
    /// # Errors
    /// As the core's.
    pub fn emit(&self, topic: &str, event: &str, payload: &str) -> Result<bool> {
        match self {
            Self::Native(db) => db.emit(topic, event, payload),
            Self::Component(db) => {
                db.run(async |db, instance| instance.emit(db, topic, event, payload).await)
            }
        }
    }
}

impl Listener {
    /// As the core's `next_page`.
    ///
    /// # Errors
    /// As the core's.
    pub fn next_page(&mut self, max: u32, timeout: Option<Duration>) -> Result<Vec<Message>> {
        match self {
            Self::Native(listener) => listener.next_page(max, timeout),
            Self::Component(listener) => listener
                .run(async |l, instance| l.next(instance, max, timeout).await)
                .map(messages),
        }
    }

    /// As the core's `close`.
    ///
    /// # Errors
    /// As the core's.
    pub fn close(self) -> Result<()> {
        match self {
            Self::Native(listener) => listener.close(),
            Self::Component(listener) => {
                listener.consume(async |l, instance| l.close(instance).await)
            }
        }
    }
}
