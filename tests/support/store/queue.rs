//! See `beaver_core::Queue`.

use super::Cursor;
use super::Store;
use crate::component::Remote;
use crate::{Item, Result};
use beaver_core as native;
use beaver_host::client;
use std::time::Duration;

/// A queue of either system.
#[derive(Debug)]
pub enum Queue {
    /// The core in this process.
    Native(native::Queue),
    /// The component.
    Component(Remote<client::Queue>),
}

impl Store {
    /// A handle for a queue.
    ///
    /// # Errors
    /// What opening the handle reports.
    pub fn queue(&self, name: &str) -> Result<Queue> {
        match self {
            Self::Native(db) => db.queue(name).map(Queue::Native),
            Self::Component(db) => db
                .open(async |db, instance| instance.queue(db, name).await)
                .map(Queue::Component),
        }
    }
}

locking!(Queue);
dumping!(Queue);
loading!(Queue);

impl Queue {
    forward! {
        put(data: &str, priority: f64) -> ();
        #[expect(clippy::len_without_is_empty, reason = "as in core")]
        len() -> u64;
        clear() -> u64;
    }

    /// As the core's `get`.
    ///
    /// # Errors
    /// As the core's.
    pub fn get(&self, timeout: Option<Duration>) -> Result<Item> {
        match self {
            Self::Native(queue) => queue.get(timeout),
            Self::Component(queue) => queue
                .run(async |queue, instance| queue.get(instance, timeout).await)
                .map(item),
        }
    }

    /// As the core's `try_get`.
    ///
    /// # Errors
    /// As the core's.
    pub fn try_get(&self) -> Result<Option<Item>> {
        match self {
            Self::Native(queue) => queue.try_get(),
            Self::Component(queue) => Ok(queue
                .run(async |queue, instance| queue.try_get(instance).await)?
                .map(item)),
        }
    }

    /// As the core's `peek`.
    ///
    /// # Errors
    /// As the core's.
    pub fn peek(&self) -> Result<Option<Item>> {
        match self {
            Self::Native(queue) => queue.peek(),
            Self::Component(queue) => Ok(queue
                .run(async |queue, instance| queue.peek(instance).await)?
                .map(item)),
        }
    }

    /// As the core's `get_batch`.
    ///
    /// # Errors
    /// As the core's.
    pub fn get_batch(&self, count: u32, timeout: Option<Duration>) -> Result<Vec<Item>> {
        match self {
            Self::Native(queue) => queue.get_batch(count, timeout),
            Self::Component(queue) => Ok(queue
                .run(async |queue, instance| queue.get_batch(instance, count, timeout).await)?
                .into_iter()
                .map(item)
                .collect()),
        }
    }

    /// All items, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn item_pages(&self, max: u32) -> Result<Vec<Vec<Item>>> {
        self.items()?.pages(max)
    }

    /// As the core's `items`.
    ///
    /// # Errors
    /// As the core's.
    pub fn items(&self) -> Result<Cursor<Item>> {
        match self {
            Self::Native(queue) => {
                let mut cursor = queue.items()?;
                Ok(Cursor::new(move |max| cursor.next_page(max)))
            }
            Self::Component(queue) => {
                let cursor = queue.open(async |queue, instance| queue.items(instance).await)?;
                Ok(Cursor::new(move |max| {
                    let page = cursor.run(async |cursor, i| cursor.next(i, max).await)?;
                    Ok(page.into_iter().map(item).collect())
                }))
            }
        }
    }
}

fn item(item: client::Item) -> Item {
    Item {
        priority: item.priority,
        timestamp: item.timestamp,
        data: item.data,
    }
}
