//! What both sides can do, so that each workload is written once.
//!
//! Natively the futures are ready at once: the compiler turns them into plain
//! calls.

use anyhow::Result;
use std::time::Duration;

/// The dictionary that everything works on, and the queue.
pub(crate) const DICT: &str = "bench";
pub(crate) const QUEUE: &str = "jobs";

/// The database file's name in its directory.
pub(crate) const FILE: &str = "bench.db";

/// One connection with a dictionary and a queue.
pub(crate) trait Store {
    /// As little as a call can do.
    async fn nothing(&mut self) -> Result<()>;
    async fn get(&mut self, key: &str) -> Result<Option<String>>;
    async fn set(&mut self, key: &str, value: &str) -> Result<()>;
    /// Takes the dictionary's lock; without `ttl` for the usual time to live.
    async fn acquire(&mut self, ttl: Option<Duration>) -> Result<()>;
    async fn release(&mut self) -> Result<()>;
    async fn begin(&mut self) -> Result<()>;
    async fn commit(&mut self) -> Result<()>;
    async fn put(&mut self, data: &str) -> Result<()>;
    async fn take(&mut self) -> Result<()>;
    async fn take_batch(&mut self, count: u32) -> Result<()>;
    /// Reads all entries of the dictionary; returns how many there were.
    async fn iterate(&mut self) -> Result<usize>;
}

/// How stores come to be.
pub(crate) trait Side {
    /// What there is before a database is open: an instance; natively nothing.
    type Blank;
    type Store: Store;

    async fn instantiate(&self) -> Result<Self::Blank>;
    async fn open(&self, blank: Self::Blank) -> Result<Self::Store>;
}
