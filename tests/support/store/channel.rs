//! See `beaver_core::Channel`.

use super::Cursor;
use super::Store;
use crate::component::Remote;
use crate::{Message, Result};
use beaver_core as native;
use beaver_host::client;
use std::time::Duration;

/// A channel of either system.
#[derive(Debug)]
pub enum Channel {
    /// The core in this process.
    Native(native::Channel),
    /// The component.
    Component(Remote<client::Channel>),
}

/// A subscription of either system.
#[derive(Debug)]
pub enum Subscription {
    /// The core in this process.
    Native(native::Subscription),
    /// The component.
    Component(Remote<client::Subscription>),
}

impl Store {
    /// A handle for a channel.
    ///
    /// # Errors
    /// What opening the handle reports.
    pub fn channel(&self, name: &str) -> Result<Channel> {
        match self {
            Self::Native(db) => db.channel(name).map(Channel::Native),
            Self::Component(db) => db
                .open(async |db, instance| instance.channel(db, name).await)
                .map(Channel::Component),
        }
    }
}

impl Channel {
    forward! {
        publish(payload: &str) -> f64;
        #[expect(clippy::len_without_is_empty, reason = "as in core")]
        len() -> u64;
        prune(before: f64) -> u64;
        clear() -> u64;
    }

    /// As the core's `subscribe`.
    ///
    /// # Errors
    /// As the core's.
    pub fn subscribe(&self, after: Option<f64>) -> Result<Subscription> {
        match self {
            Self::Native(channel) => channel.subscribe(after).map(Subscription::Native),
            Self::Component(channel) => channel
                .open(async |channel, instance| channel.subscribe(instance, after).await)
                .map(Subscription::Component),
        }
    }

    /// The history, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn history_pages(
        &self,
        after: Option<f64>,
        last: Option<u64>,
        max: u32,
    ) -> Result<Vec<Vec<Message>>> {
        self.history(after, last)?.pages(max)
    }

    /// As the core's `history`.
    ///
    /// # Errors
    /// As the core's.
    pub fn history(&self, after: Option<f64>, last: Option<u64>) -> Result<Cursor<Message>> {
        match self {
            Self::Native(channel) => {
                let mut cursor = channel.history(after, last)?;
                Ok(Cursor::new(move |max| cursor.next_page(max)))
            }
            Self::Component(channel) => {
                let cursor = channel.open(async |c, i| c.history(i, after, last).await)?;
                Ok(Cursor::new(move |max| {
                    Ok(messages(cursor.run(async |c, i| c.next(i, max).await)?))
                }))
            }
        }
    }
}

impl Subscription {
    /// As the core's `next_page`.
    ///
    /// # Errors
    /// As the core's.
    pub fn next_page(&mut self, max: u32, timeout: Option<Duration>) -> Result<Vec<Message>> {
        match self {
            Self::Native(subscription) => subscription.next_page(max, timeout),
            Self::Component(subscription) => subscription
                .run(async |s, instance| s.next(instance, max, timeout).await)
                .map(messages),
        }
    }
}

pub(super) fn messages(page: Vec<client::Message>) -> Vec<Message> {
    page.into_iter()
        .map(|message| Message {
            timestamp: message.timestamp,
            payload: message.payload,
        })
        .collect()
}
