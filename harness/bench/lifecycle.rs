//! Instances coming and going, and what an idle one keeps.

use crate::measurement::IDLE;
use crate::protocol::{Reply, Sample};
use crate::recorder::{Recorder, measure};
use crate::store::{Side, Store};
use crate::workloads::key;
use anyhow::{Context as _, Result};
use std::time::{Duration, Instant};

pub(crate) async fn instantiate(side: &impl Side, time: Duration) -> Result<Sample> {
    measure(time, async |recorder: &mut Recorder| {
        recorder.time(side.instantiate()).await?;
        Ok(())
    })
    .await
}

pub(crate) async fn open(side: &impl Side, time: Duration) -> Result<Sample> {
    measure(time, async |recorder: &mut Recorder| {
        let blank = side.instantiate().await?;
        recorder.time(open_and_get(side, blank)).await?;
        Ok(())
    })
    .await
}

/// Dropping what has an open database.
pub(crate) async fn dropping(side: &impl Side, time: Duration) -> Result<Sample> {
    measure(time, async |recorder: &mut Recorder| {
        let blank = side.instantiate().await?;
        let store = open_and_get(side, blank).await?;
        let start = Instant::now();
        drop(store);
        recorder.record(start.elapsed());
        Ok(())
    })
    .await
}

/// By how much this process's own memory grows per idle instance.
pub(crate) async fn memory(side: &impl Side) -> Result<Reply> {
    let mut idle = Vec::with_capacity(IDLE as usize);
    let before = anonymous_bytes()?;
    for _ in 0..IDLE {
        let blank = side.instantiate().await?;
        idle.push(open_and_get(side, blank).await?);
    }
    let grown = anonymous_bytes()? - before;
    drop(idle);
    Ok(Reply::Bytes(grown / f64::from(IDLE)))
}

async fn open_and_get<S: Side>(side: &S, blank: S::Blank) -> Result<S::Store> {
    let mut store = side.open(blank).await?;
    store.get(&key(0)).await?.context("an entry is missing")?;
    Ok(store)
}

/// The memory of this process that isn't a file's.
fn anonymous_bytes() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kibibytes: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .context("the kernel doesn't say how much memory this process has")?
        .trim()
        .parse()?;
    Ok(kibibytes * 1024.0)
}
