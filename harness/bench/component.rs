//! The component, through `beaver-host`'s client.

use crate::args::Place;
use crate::measurement::{IDLE, WORKERS_MAX};
use crate::store::{DICT, FILE, QUEUE, Side, Store};
use anyhow::{Context as _, Result};
use beaver_host::client::{Database, Dict, LockOptions, OpenOptions, Queue, Transaction};
use beaver_host::{Grant, Host, Instance};
use std::path::Path;
use std::time::Duration;

/// Starts instances in this process.
pub(crate) struct Component {
    host: Host,
    grant: Grant,
}

/// A host with the compiled component from `cache`, compiled first if need be.
pub(crate) fn host(cache: &Path) -> Result<Host> {
    // Those that idle, those that contend, and the two that are always there.
    let instances = IDLE + WORKERS_MAX as u32 + 2;
    let host = Host::builder().max_instances(instances).cache_dir(cache);
    host.build().context("the host could not be made")
}

impl Component {
    pub(crate) fn new(place: &Place) -> Result<Self> {
        Ok(Self {
            host: host(&place.cache)?,
            grant: Grant::directory(&place.directory)?,
        })
    }
}

impl Side for Component {
    type Blank = Instance;
    type Store = Connection;

    async fn instantiate(&self) -> Result<Instance> {
        Ok(self.host.instantiate(self.grant.clone()).await?)
    }

    async fn open(&self, mut instance: Instance) -> Result<Connection> {
        let database = instance.open(FILE, &OpenOptions::default()).await?;
        let dict = instance.dict(&database, DICT).await?;
        Ok(Connection {
            instance,
            database,
            dict,
            queue: None,
            transaction: None,
        })
    }
}

/// An instance with an open database.
pub(crate) struct Connection {
    instance: Instance,
    database: Database,
    dict: Dict,
    /// Opened when first used, as a program would.
    queue: Option<Queue>,
    transaction: Option<Transaction>,
}

impl Connection {
    async fn queue(&mut self) -> Result<(&Queue, &mut Instance)> {
        let queue = match &mut self.queue {
            Some(queue) => queue,
            none => none.insert(self.instance.queue(&self.database, QUEUE).await?),
        };
        Ok((queue, &mut self.instance))
    }
}

impl Store for Connection {
    async fn nothing(&mut self) -> Result<()> {
        std::hint::black_box(self.dict.fencing_token(&mut self.instance).await?);
        Ok(())
    }

    async fn get(&mut self, key: &str) -> Result<Option<String>> {
        Ok(self.dict.get(&mut self.instance, key).await?)
    }

    async fn set(&mut self, key: &str, value: &str) -> Result<()> {
        Ok(self.dict.set(&mut self.instance, key, value, None).await?)
    }

    async fn acquire(&mut self, ttl: Option<Duration>) -> Result<()> {
        let patience = LockOptions {
            timeout: Some(Duration::from_secs(30)),
            ttl,
        };
        Ok(self.dict.acquire(&mut self.instance, patience).await?)
    }

    async fn release(&mut self) -> Result<()> {
        Ok(self.dict.release(&mut self.instance).await?)
    }

    async fn begin(&mut self) -> Result<()> {
        let begun = self.instance.begin_transaction(&self.database).await?;
        self.transaction = Some(begun);
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        let transaction = self.transaction.take().context("no transaction")?;
        Ok(transaction.commit(&mut self.instance).await?)
    }

    async fn put(&mut self, data: &str) -> Result<()> {
        let (queue, instance) = self.queue().await?;
        Ok(queue.put(instance, data, 1.0).await?)
    }

    async fn take(&mut self) -> Result<()> {
        let timeout = Some(Duration::from_secs(1));
        let (queue, instance) = self.queue().await?;
        std::hint::black_box(queue.get(instance, timeout).await?);
        Ok(())
    }

    async fn take_batch(&mut self, count: u32) -> Result<()> {
        let timeout = Some(Duration::from_secs(1));
        let (queue, instance) = self.queue().await?;
        std::hint::black_box(queue.get_batch(instance, count, timeout).await?);
        Ok(())
    }

    async fn iterate(&mut self) -> Result<usize> {
        let items = self.dict.items(&mut self.instance).await?;
        let mut count = 0;
        loop {
            let page = std::hint::black_box(items.next(&mut self.instance, 256).await?);
            if page.is_empty() {
                break;
            }
            count += page.len();
        }
        items.close(&mut self.instance).await?;
        Ok(count)
    }
}
