//! The native process: `beaver-core` on stock SQLite, one connection per thread.
//!
//! What must stay true: it is a process of its own. Stock SQLite uses POSIX
//! locks; closing any descriptor of the file drops all of a process's, those of
//! a beaver host in the same process included.

use crate::child;
use crate::store::{Failure, Item, LOCK_TTL, LOCK_WAIT, Result, Store};
use anyhow::Context as _;
use beaver_core::{Database, Dict, Lock, LockOptions, Options, Outcome, Queue};
use std::path::Path;
use std::time::Duration;

/// How many threads the native process has.
pub(crate) const WORKERS: usize = 2;

/// The process's main function.
pub(crate) fn run(database: &Path, workers: usize) -> anyhow::Result<()> {
    let path = database
        .to_str()
        .context("the database's path is not UTF-8")?
        .to_owned();
    let (staff, orders) = child::staff(workers);
    let threads: Vec<_> = orders
        .into_iter()
        .map(|desk| {
            let path = path.clone();
            std::thread::spawn(move || -> anyhow::Result<()> {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()?;
                let store = NativeStore(Database::open(
                    &path,
                    &Options {
                        lock_wait: LOCK_WAIT,
                        ..Options::default()
                    },
                )?);
                runtime.block_on(child::work(store, desk))
            })
        })
        .collect();
    child::serve(staff, threads)
}

/// A connection. Its calls block the thread, which has nothing else to do.
struct NativeStore(Database);

impl From<beaver_core::Error> for Failure {
    fn from(error: beaver_core::Error) -> Self {
        match error {
            // Others had the lock, or wrote, for as long as there was time.
            beaver_core::Error::Timeout
            | beaver_core::Error::Locked(_)
            | beaver_core::Error::Busy => Self::Timeout,
            other => Self::Other {
                unknown: other.outcome() == Outcome::Unknown,
                message: other.to_string(),
            },
        }
    }
}

impl From<beaver_core::Item> for Item {
    fn from(item: beaver_core::Item) -> Self {
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

impl Store for NativeStore {
    type Dict = Dict;
    type Queue = Queue;
    type Lock = Lock;

    async fn dict(&mut self, name: &str) -> Result<Dict> {
        Ok(self.0.dict(name)?)
    }

    async fn dict_acquire(&mut self, dict: &Dict, timeout: Duration) -> Result<()> {
        Ok(dict.acquire(&lock_options(Some(timeout)))?)
    }

    async fn dict_release(&mut self, dict: &Dict) -> Result<()> {
        Ok(dict.release()?)
    }

    async fn dict_get(&mut self, dict: &Dict, key: &str) -> Result<Option<String>> {
        Ok(dict.get(key)?)
    }

    async fn dict_set(&mut self, dict: &Dict, key: &str, value: &str) -> Result<()> {
        Ok(dict.set(key, value, None)?)
    }

    async fn queue(&mut self, name: &str) -> Result<Queue> {
        Ok(self.0.queue(name)?)
    }

    async fn queue_acquire(&mut self, queue: &Queue, timeout: Duration) -> Result<()> {
        Ok(queue.acquire(&lock_options(Some(timeout)))?)
    }

    async fn queue_release(&mut self, queue: &Queue) -> Result<()> {
        Ok(queue.release()?)
    }

    async fn queue_put(&mut self, queue: &Queue, data: &str, priority: f64) -> Result<()> {
        Ok(queue.put(data, priority)?)
    }

    async fn queue_len(&mut self, queue: &Queue) -> Result<u64> {
        Ok(queue.len()?)
    }

    async fn queue_try_get(&mut self, queue: &Queue) -> Result<Option<Item>> {
        Ok(queue.try_get()?.map(Item::from))
    }

    async fn queue_get_batch(
        &mut self,
        queue: &Queue,
        count: u32,
        timeout: Duration,
    ) -> Result<Vec<Item>> {
        let items = queue.get_batch(count, Some(timeout))?;
        Ok(items.into_iter().map(Item::from).collect())
    }

    async fn lock(&mut self, name: &str) -> Result<Lock> {
        Ok(self.0.lock(name)?)
    }

    async fn lock_acquire(&mut self, lock: &Lock, timeout: Option<Duration>) -> Result<u64> {
        lock.acquire(&lock_options(timeout))?;
        Ok(lock.fencing_token().unwrap_or_default())
    }

    async fn lock_release(&mut self, lock: &Lock) -> Result<()> {
        Ok(lock.release()?)
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
