//! What one connection does, timed operation by operation.

use crate::measurement::{BATCH, ENTRIES};
use crate::protocol::Sample;
use crate::recorder::{Recorder, measure};
use crate::store::Store;
use anyhow::{Context as _, Result, ensure};
use std::time::Duration;

/// Not one of the entries that are read: those stay as they are.
const COUNTER: &str = "counter";

/// What a dictionary entry or a queue's item holds.
pub(crate) const VALUE: &str =
    r#"{"name": "Ada Lovelace", "visits": 1815, "tags": ["first", "programmer"]}"#;

/// Items put at once where putting isn't what is measured.
const CHUNK: u32 = 100;

/// The key of an entry.
pub(crate) fn key(number: usize) -> String {
    format!("user:{number:06}")
}

/// Keys in an order that has nothing to do with theirs in the file, for ever.
struct Keys {
    keys: Vec<String>,
    at: usize,
}

impl Keys {
    fn new() -> Self {
        Self {
            keys: (0..ENTRIES).map(key).collect(),
            at: 0,
        }
    }

    fn next(&mut self) -> &str {
        /// Has no common divisor with the number of entries: meets all.
        const STEP: usize = 6_151;
        self.at = (self.at + STEP) % self.keys.len();
        &self.keys[self.at]
    }
}

pub(crate) async fn call(store: &mut impl Store, time: Duration) -> Result<Sample> {
    measure(time, async |recorder: &mut Recorder| {
        recorder.time(store.nothing()).await
    })
    .await
}

pub(crate) async fn get(store: &mut impl Store, time: Duration) -> Result<Sample> {
    let mut keys = Keys::new();
    measure(time, async |recorder: &mut Recorder| {
        let value = recorder.time(store.get(keys.next())).await?;
        value.context("an entry is missing")?;
        Ok(())
    })
    .await
}

/// Somebody's commit makes SQLite forget the pages that it has read.
pub(crate) async fn get_cold<S: Store>(
    store: &mut S,
    other: &mut S,
    time: Duration,
) -> Result<Sample> {
    let mut keys = Keys::new();
    measure(time, async |recorder: &mut Recorder| {
        other.set("other", VALUE).await?;
        let value = recorder.time(store.get(keys.next())).await?;
        value.context("an entry is missing")?;
        Ok(())
    })
    .await
}

pub(crate) async fn set(store: &mut impl Store, time: Duration) -> Result<Sample> {
    let mut keys = Keys::new();
    measure(time, async |recorder: &mut Recorder| {
        recorder.time(store.set(keys.next(), VALUE)).await
    })
    .await
}

pub(crate) async fn transaction(store: &mut impl Store, time: Duration) -> Result<Sample> {
    store.set(COUNTER, "0").await?;
    measure(time, async |recorder: &mut Recorder| {
        recorder
            .time(async {
                store.begin().await?;
                increment(store, COUNTER).await?;
                store.commit().await
            })
            .await
    })
    .await
}

pub(crate) async fn locked(store: &mut impl Store, time: Duration) -> Result<Sample> {
    store.set(COUNTER, "0").await?;
    measure(time, async |recorder: &mut Recorder| {
        recorder
            .time(async {
                store.acquire(None).await?;
                increment(store, COUNTER).await?;
                store.release().await
            })
            .await
    })
    .await
}

/// Reads, adds one, writes.
pub(crate) async fn increment(store: &mut impl Store, key: &str) -> Result<()> {
    let text = store.get(key).await?.context("the counter is missing")?;
    let count: u64 = text.parse().context("the counter is no number")?;
    store.set(key, &(count + 1).to_string()).await
}

/// The queue is emptied now and then, so that it stays as short as a queue is.
pub(crate) async fn put(store: &mut impl Store, time: Duration) -> Result<Sample> {
    measure(time, async |recorder: &mut Recorder| {
        for _ in 0..CHUNK {
            recorder.time(store.put(VALUE)).await?;
        }
        store.take_batch(CHUNK).await
    })
    .await
}

pub(crate) async fn take(store: &mut impl Store, time: Duration) -> Result<Sample> {
    measure(time, async |recorder: &mut Recorder| {
        fill(store).await?;
        for _ in 0..CHUNK {
            recorder.time(store.take()).await?;
        }
        Ok(())
    })
    .await
}

pub(crate) async fn take_batch(store: &mut impl Store, time: Duration) -> Result<Sample> {
    measure(time, async |recorder: &mut Recorder| {
        fill(store).await?;
        for _ in 0..CHUNK / BATCH {
            recorder.time(store.take_batch(BATCH)).await?;
        }
        Ok(())
    })
    .await
}

async fn fill(store: &mut impl Store) -> Result<()> {
    store.begin().await?;
    for _ in 0..CHUNK {
        store.put(VALUE).await?;
    }
    store.commit().await
}

pub(crate) async fn iterate(store: &mut impl Store, time: Duration) -> Result<Sample> {
    measure(time, async |recorder: &mut Recorder| {
        let count = recorder.time(store.iterate()).await?;
        ensure!(count >= ENTRIES, "only {count} entries came");
        Ok(())
    })
    .await
}
