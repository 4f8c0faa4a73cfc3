//! One interface over the native build and the component.

use crate::component::{Instance, Remote};
use crate::{Entry, Error, Item, Journal, LockOptions, Options, Result, System};
use beaver_core as native;
use beaver_host::client;
use std::path::Path;
use std::time::Duration;

/// An open database of either system.
#[derive(Debug)]
pub enum Store {
    /// The core in this process.
    Native(native::Database),
    /// The component.
    Component(Remote<client::Database>),
}

/// A dictionary of either system.
#[derive(Debug)]
pub enum Dict {
    /// The core in this process.
    Native(native::Dict),
    /// The component.
    Component(Remote<client::Dict>),
}

/// A queue of either system.
#[derive(Debug)]
pub enum Queue {
    /// The core in this process.
    Native(native::Queue),
    /// The component.
    Component(Remote<client::Queue>),
}

/// A lock of either system.
#[derive(Debug)]
pub enum Lock {
    /// The core in this process.
    Native(native::Lock),
    /// The component.
    Component(Remote<client::Lock>),
}

/// A transaction of either system.
#[derive(Debug)]
pub enum Transaction {
    /// The core in this process.
    Native(native::Transaction),
    /// The component.
    Component(Remote<client::Transaction>),
}

impl Store {
    /// Opens the file at `path`. The component is granted its directory.
    ///
    /// # Errors
    /// What opening reports.
    pub fn open(system: System, path: &Path, options: &Options) -> Result<Self> {
        match system {
            System::Native => {
                let path = path.to_str().ok_or(Error::NotFound)?;
                Ok(Self::Native(native::Database::open(path, options)?))
            }
            System::Component => Ok(Self::Component(Instance::start(path)?.open(path, options)?)),
        }
    }

    /// A handle for a dictionary.
    ///
    /// # Errors
    /// What opening the handle reports.
    pub fn dict(&self, name: &str) -> Result<Dict> {
        match self {
            Self::Native(db) => db.dict(name).map(Dict::Native),
            Self::Component(db) => db
                .open(async |db, instance| instance.dict(db, name).await)
                .map(Dict::Component),
        }
    }

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

    /// A handle for a lock.
    ///
    /// # Errors
    /// What opening the handle reports.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        match self {
            Self::Native(db) => db.lock(name).map(Lock::Native),
            Self::Component(db) => db
                .open(async |db, instance| instance.lock(db, name).await)
                .map(Lock::Component),
        }
    }

    /// Starts a transaction.
    ///
    /// # Errors
    /// What beginning reports.
    pub fn begin(&self) -> Result<Transaction> {
        match self {
            Self::Native(db) => db.begin().map(Transaction::Native),
            Self::Component(db) => db
                .open(async |db, instance| instance.begin_transaction(db).await)
                .map(Transaction::Component),
        }
    }

    /// The version that the file names.
    ///
    /// # Errors
    /// What reading reports.
    pub fn format_version(&self) -> Result<Option<String>> {
        match self {
            Self::Native(db) => db.format_version(),
            Self::Component(db) => db.run(async |db, i| db.format_version(i).await),
        }
    }

    /// The journal in use.
    ///
    /// # Errors
    /// When the instance is gone.
    pub fn journal(&self) -> Result<Journal> {
        match self {
            Self::Native(db) => Ok(db.journal()),
            Self::Component(db) => Ok(match db.run(async |db, i| db.journal(i).await)? {
                client::Journal::Rollback => Journal::Rollback,
                _ => Journal::Wal,
            }),
        }
    }

    /// Frames left in the log after a checkpoint.
    ///
    /// # Errors
    /// What it reports.
    pub fn checkpoint(&self) -> Result<u64> {
        match self {
            Self::Native(db) => db.checkpoint(),
            Self::Component(db) => db.run(async |db, i| db.checkpoint(i).await),
        }
    }
}

/// The methods that are the same on both sides.
macro_rules! forward {
    ($($(#[$meta:meta])* $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(
            $(#[$meta])*
            /// As the core's method of this name.
            ///
            /// # Errors
            /// As the core's.
            pub fn $name(&self, $($argument: $type),*) -> Result<$result> {
                match self {
                    Self::Native(handle) => handle.$name($($argument),*),
                    Self::Component(handle) => {
                        handle.run(async |handle, instance| handle.$name(instance, $($argument),*).await)
                    }
                }
            }
        )*
    };
}

/// The lock's methods, which every manager has.
macro_rules! locking {
    ($type:ty) => {
        impl $type {
            forward! {
                try_acquire(ttl: Option<Duration>) -> bool;
                release() -> ();
                renew(ttl: Option<Duration>) -> ();
            }

            /// As the core's `acquire`.
            ///
            /// # Errors
            /// As the core's.
            pub fn acquire(&self, options: &LockOptions) -> Result<()> {
                match self {
                    Self::Native(handle) => handle.acquire(options),
                    Self::Component(handle) => {
                        let options = client::LockOptions {
                            timeout: options.timeout,
                            ttl: options.ttl,
                        };
                        handle.run(async |handle, instance| handle.acquire(instance, options).await)
                    }
                }
            }

            /// As the core's `fencing_token`.
            ///
            /// # Panics
            /// When the instance is gone.
            pub fn fencing_token(&self) -> Option<u64> {
                match self {
                    Self::Native(handle) => handle.fencing_token(),
                    Self::Component(handle) => handle
                        .run(async |handle, instance| handle.fencing_token(instance).await)
                        .unwrap_or_else(|error| panic!("fencing_token: {error}")),
                }
            }
        }
    };
}

locking!(Dict);
locking!(Queue);
locking!(Lock);

impl Dict {
    forward! {
        set(key: &str, value: &str, ttl: Option<Duration>) -> ();
        get(key: &str) -> Option<String>;
        contains(key: &str) -> bool;
        delete(key: &str) -> bool;
        pop(key: &str) -> Option<String>;
        #[expect(clippy::len_without_is_empty, reason = "as in core")]
        len() -> u64;
        clear() -> u64;
    }

    /// All keys, read in pages of at most `max`, with the pages' lengths.
    ///
    /// # Errors
    /// What reading reports.
    pub fn key_pages(&self, max: u32) -> Result<Vec<Vec<String>>> {
        match self {
            Self::Native(dict) => {
                let mut cursor = dict.keys()?;
                pages(|| cursor.next_page(max))
            }
            Self::Component(dict) => {
                let cursor = dict.open(async |dict, instance| dict.keys(instance).await)?;
                pages(|| cursor.run(async |cursor, instance| cursor.next(instance, max).await))
            }
        }
    }

    /// All values, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn value_pages(&self, max: u32) -> Result<Vec<Vec<String>>> {
        match self {
            Self::Native(dict) => {
                let mut cursor = dict.values()?;
                pages(|| cursor.next_page(max))
            }
            Self::Component(dict) => {
                let cursor = dict.open(async |dict, instance| dict.values(instance).await)?;
                pages(|| cursor.run(async |cursor, instance| cursor.next(instance, max).await))
            }
        }
    }

    /// All entries, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn item_pages(&self, max: u32) -> Result<Vec<Vec<Entry>>> {
        match self {
            Self::Native(dict) => {
                let mut cursor = dict.items()?;
                pages(|| cursor.next_page(max))
            }
            Self::Component(dict) => {
                let cursor = dict.open(async |dict, instance| dict.items(instance).await)?;
                pages(|| {
                    let page = cursor.run(async |cursor, i| cursor.next(i, max).await)?;
                    Ok(page
                        .into_iter()
                        .map(|e| Entry {
                            key: e.key,
                            value: e.value,
                        })
                        .collect())
                })
            }
        }
    }
}

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
        match self {
            Self::Native(queue) => {
                let mut cursor = queue.items()?;
                pages(|| cursor.next_page(max))
            }
            Self::Component(queue) => {
                let cursor = queue.open(async |queue, instance| queue.items(instance).await)?;
                pages(|| {
                    let page = cursor.run(async |cursor, i| cursor.next(i, max).await)?;
                    Ok(page.into_iter().map(item).collect())
                })
            }
        }
    }
}

impl Lock {
    forward! {
        clear() -> u64;
    }
}

impl Transaction {
    /// As the core's `commit`.
    ///
    /// # Errors
    /// As the core's.
    pub fn commit(self) -> Result<()> {
        match self {
            Self::Native(transaction) => transaction.commit(),
            Self::Component(transaction) => transaction
                .consume(async |transaction, instance| transaction.commit(instance).await),
        }
    }

    /// As the core's `rollback`.
    ///
    /// # Errors
    /// As the core's.
    pub fn rollback(self) -> Result<()> {
        match self {
            Self::Native(transaction) => transaction.rollback(),
            Self::Component(transaction) => transaction
                .consume(async |transaction, instance| transaction.rollback(instance).await),
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

fn pages<T>(mut next: impl FnMut() -> Result<Vec<T>>) -> Result<Vec<Vec<T>>> {
    let mut pages = Vec::new();
    loop {
        let page = next()?;
        if page.is_empty() {
            return Ok(pages);
        }
        pages.push(page);
    }
}
