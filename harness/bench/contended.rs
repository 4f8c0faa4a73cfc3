//! Several workers count up one number, each under the dictionary's lock.
//!
//! Instances are tasks of one host process on as many threads as there are
//! cores; natively each worker is a thread with a connection of its own.

use crate::component::Component;
use crate::native::Native;
use crate::protocol::Sample;
use crate::recorder::Recorder;
use crate::store::{Side, Store};
use crate::workloads::increment;
use anyhow::{Context as _, Result, anyhow, ensure};
use std::sync::Barrier;
use std::time::{Duration, Instant};

const COUNTER: &str = "contended";

pub(crate) fn instances(side: &Component, workers: usize, time: Duration) -> Result<Sample> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        let mut stores = Vec::new();
        for _ in 0..workers {
            stores.push(side.open(side.instantiate().await?).await?);
        }
        let mut observer = side.open(side.instantiate().await?).await?;
        observer.set(COUNTER, "0").await?;
        let start = Instant::now();
        let tasks: Vec<_> = stores
            .into_iter()
            .map(|store| tokio::spawn(work(store, start + time)))
            .collect();
        let mut waits = Recorder::new()?;
        for task in tasks {
            waits.add(&task.await??)?;
        }
        let sample = waits.sample_over(start.elapsed());
        check(&mut observer, &sample).await?;
        Ok(sample)
    })
}

pub(crate) fn threads(side: &Native, workers: usize, time: Duration) -> Result<Sample> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut observer = runtime.block_on(side.open(()))?;
    runtime.block_on(observer.set(COUNTER, "0"))?;
    let ready = Barrier::new(workers + 1);
    let thread = || -> Result<Recorder> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let opened = runtime.block_on(side.open(()));
        // Before any error, or the others would wait for ever.
        ready.wait();
        runtime.block_on(work(opened?, Instant::now() + time))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(thread)).collect();
        ready.wait();
        let start = Instant::now();
        let mut waits = Recorder::new()?;
        for thread in threads {
            let worker = thread.join().map_err(|_| anyhow!("a worker panicked"))??;
            waits.add(&worker)?;
        }
        let sample = waits.sample_over(start.elapsed());
        runtime.block_on(check(&mut observer, &sample))?;
        Ok(sample)
    })
}

/// Records the waits for the lock.
async fn work<S: Store>(mut store: S, until: Instant) -> Result<Recorder> {
    let mut waits = Recorder::new()?;
    while Instant::now() < until {
        waits.time(store.acquire(None)).await?;
        increment(&mut store, COUNTER).await?;
        store.release().await?;
    }
    Ok(waits)
}

/// A fast side that loses updates is no fast side.
async fn check(store: &mut impl Store, sample: &Sample) -> Result<()> {
    let text = store
        .get(COUNTER)
        .await?
        .context("the counter is missing")?;
    ensure!(
        text.parse() == Ok(sample.ops),
        "{} increments were made, and the counter says {text}",
        sample.ops
    );
    Ok(())
}
