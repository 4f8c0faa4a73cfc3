//! The core in this process, on SQLite's own VFS.

use crate::store::{DICT, FILE, QUEUE, Side, Store};
use anyhow::{Context as _, Result};
use beaver_core::{Database, Dict, LockOptions, Options, Queue, Transaction};
use std::path::Path;
use std::time::Duration;

/// Opens connections of this process.
#[derive(Clone)]
pub(crate) struct Native {
    path: String,
}

impl Native {
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE);
        let path = path.to_str().context("the directory's name is not UTF-8")?;
        Ok(Self { path: path.into() })
    }
}

impl Side for Native {
    type Blank = ();
    type Store = Connection;

    async fn instantiate(&self) -> Result<()> {
        Ok(())
    }

    async fn open(&self, (): ()) -> Result<Connection> {
        let database = Database::open(&self.path, &Options::default())?;
        Ok(Connection {
            transaction: None,
            dict: database.dict(DICT)?,
            queue: None,
            database,
        })
    }
}

/// A connection. The fields' order is that of their drop.
pub(crate) struct Connection {
    transaction: Option<Transaction>,
    dict: Dict,
    /// Opened when first used, as a program would.
    queue: Option<Queue>,
    database: Database,
}

impl Connection {
    fn queue(&mut self) -> Result<&Queue> {
        match &mut self.queue {
            Some(queue) => Ok(queue),
            none => Ok(none.insert(self.database.queue(QUEUE)?)),
        }
    }
}

impl Store for Connection {
    async fn nothing(&mut self) -> Result<()> {
        std::hint::black_box(self.dict.fencing_token());
        Ok(())
    }

    async fn get(&mut self, key: &str) -> Result<Option<String>> {
        Ok(self.dict.get(key)?)
    }

    async fn set(&mut self, key: &str, value: &str) -> Result<()> {
        Ok(self.dict.set(key, value, None)?)
    }

    async fn acquire(&mut self, ttl: Option<Duration>) -> Result<()> {
        let patience = LockOptions {
            timeout: Some(Duration::from_secs(30)),
            ttl,
        };
        Ok(self.dict.acquire(&patience)?)
    }

    async fn release(&mut self) -> Result<()> {
        Ok(self.dict.release()?)
    }

    async fn begin(&mut self) -> Result<()> {
        self.transaction = Some(self.database.begin()?);
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        let transaction = self.transaction.take().context("no transaction")?;
        Ok(transaction.commit()?)
    }

    async fn put(&mut self, data: &str) -> Result<()> {
        Ok(self.queue()?.put(data, 1.0)?)
    }

    async fn take(&mut self) -> Result<()> {
        std::hint::black_box(self.queue()?.get(Some(Duration::from_secs(1)))?);
        Ok(())
    }

    async fn take_batch(&mut self, count: u32) -> Result<()> {
        std::hint::black_box(
            self.queue()?
                .get_batch(count, Some(Duration::from_secs(1)))?,
        );
        Ok(())
    }

    async fn iterate(&mut self) -> Result<usize> {
        let mut items = self.dict.items()?;
        let mut count = 0;
        loop {
            let page = std::hint::black_box(items.next_page(256)?);
            if page.is_empty() {
                return Ok(count);
            }
            count += page.len();
        }
    }
}
