//! A host process: `beaver-host` with its share of the component instances.
//!
//! What must stay true: nothing in this process opens the file but the host.
//! Instances live on two threads, several per thread, as in a server: one that
//! waits must leave its thread to the others.

use crate::child::{self, Desk};
use crate::store::{Failure, Item, LOCK_TTL, LOCK_WAIT, Result, Store};
use anyhow::Context as _;
use beaver_host::client::{
    Database, DbError, Dict, Item as HostItem, Lock, LockOptions, OpenOptions, Outcome, Queue,
};
use beaver_host::{Error, Grant, Host, Instance};
use std::path::{Path, PathBuf};
use std::time::Duration;

const THREADS: usize = 2;

/// The process's main function.
pub(crate) fn run(database: &Path, instances: usize) -> anyhow::Result<()> {
    let host = Host::builder()
        .max_instances(u32::try_from(instances)?)
        .build()?;
    let (staff, desks) = child::staff(instances);
    let mut rooms: Vec<Vec<Desk>> = (0..THREADS).map(|_| Vec::new()).collect();
    for (index, desk) in desks.into_iter().enumerate() {
        rooms[index % THREADS].push(desk);
    }
    let threads = rooms
        .into_iter()
        .filter(|desks| !desks.is_empty())
        .map(|desks| {
            let (host, database) = (host.clone(), database.to_owned());
            std::thread::spawn(move || room(&host, &database, desks))
        })
        .collect();
    child::serve(staff, threads)
}

/// One thread: its instances take turns on it.
fn room(host: &Host, database: &Path, desks: Vec<Desk>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut tasks = tokio::task::JoinSet::new();
        for desk in desks {
            let (host, database) = (host.clone(), database.to_owned());
            tasks.spawn_local(async move {
                let store = InstanceStore::open(&host, database).await?;
                child::work(store, desk).await
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.context("an instance's task")??;
        }
        Ok(())
    })
}

/// One instance with the file open in it.
struct InstanceStore {
    instance: Instance,
    database: Database,
}

impl InstanceStore {
    async fn open(host: &Host, path: PathBuf) -> anyhow::Result<Self> {
        let directory = path.parent().context("the database's directory")?;
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.context("the database's name is not UTF-8")?;
        let mut instance = host.instantiate(Grant::directory(directory)?).await?;
        let options = OpenOptions {
            lock_wait: Some(LOCK_WAIT),
            ..OpenOptions::default()
        };
        let database = instance.open(name, &options).await?;
        Ok(Self { instance, database })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            // Others had the lock, or wrote, for as long as there was time.
            Error::Db(DbError::Timeout | DbError::Locked(_) | DbError::Busy) => Self::Timeout,
            other => Self::Other {
                unknown: other.outcome() == Outcome::Unknown,
                message: other.to_string(),
            },
        }
    }
}

impl From<HostItem> for Item {
    fn from(item: HostItem) -> Self {
        Self {
            priority: item.priority,
            timestamp: item.timestamp,
            data: item.data,
        }
    }
}

fn lock_options(timeout: Option<Duration>) -> LockOptions {
    LockOptions {
        timeout,
        ttl: Some(LOCK_TTL),
    }
}

impl Store for InstanceStore {
    type Dict = Dict;
    type Queue = Queue;
    type Lock = Lock;

    async fn dict(&mut self, name: &str) -> Result<Dict> {
        Ok(self.instance.dict(&self.database, name).await?)
    }

    async fn dict_acquire(&mut self, dict: &Dict, timeout: Duration) -> Result<()> {
        let options = lock_options(Some(timeout));
        Ok(dict.acquire(&mut self.instance, options).await?)
    }

    async fn dict_release(&mut self, dict: &Dict) -> Result<()> {
        Ok(dict.release(&mut self.instance).await?)
    }

    async fn dict_get(&mut self, dict: &Dict, key: &str) -> Result<Option<String>> {
        Ok(dict.get(&mut self.instance, key).await?)
    }

    async fn dict_set(&mut self, dict: &Dict, key: &str, value: &str) -> Result<()> {
        Ok(dict.set(&mut self.instance, key, value, None).await?)
    }

    async fn queue(&mut self, name: &str) -> Result<Queue> {
        Ok(self.instance.queue(&self.database, name).await?)
    }

    async fn queue_acquire(&mut self, queue: &Queue, timeout: Duration) -> Result<()> {
        let options = lock_options(Some(timeout));
        Ok(queue.acquire(&mut self.instance, options).await?)
    }

    async fn queue_release(&mut self, queue: &Queue) -> Result<()> {
        Ok(queue.release(&mut self.instance).await?)
    }

    async fn queue_put(&mut self, queue: &Queue, data: &str, priority: f64) -> Result<()> {
        Ok(queue.put(&mut self.instance, data, priority).await?)
    }

    async fn queue_len(&mut self, queue: &Queue) -> Result<u64> {
        Ok(queue.len(&mut self.instance).await?)
    }

    async fn queue_try_get(&mut self, queue: &Queue) -> Result<Option<Item>> {
        Ok(queue.try_get(&mut self.instance).await?.map(Item::from))
    }

    async fn queue_get_batch(
        &mut self,
        queue: &Queue,
        count: u32,
        timeout: Duration,
    ) -> Result<Vec<Item>> {
        let items = queue
            .get_batch(&mut self.instance, count, Some(timeout))
            .await?;
        Ok(items.into_iter().map(Item::from).collect())
    }

    async fn lock(&mut self, name: &str) -> Result<Lock> {
        Ok(self.instance.lock(&self.database, name).await?)
    }

    async fn lock_acquire(&mut self, lock: &Lock, timeout: Option<Duration>) -> Result<u64> {
        lock.acquire(&mut self.instance, lock_options(timeout))
            .await?;
        let token = lock.fencing_token(&mut self.instance).await?;
        Ok(token.unwrap_or_default())
    }

    async fn lock_release(&mut self, lock: &Lock) -> Result<()> {
        Ok(lock.release(&mut self.instance).await?)
    }

    async fn close(self) -> Result<()> {
        Ok(self.instance.close().await?)
    }
}
