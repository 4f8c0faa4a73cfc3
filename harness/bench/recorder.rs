//! Timing operations one by one.

use crate::protocol::Sample;
use anyhow::Result;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// 100 s; longer operations count as this long.
const LATENCY_NS_MAX: u64 = 100_000_000_000;

/// A wall-clock bound on a measurement, in times of what it may measure, for
/// workloads that spend more on what isn't measured.
const PATIENCE: u32 = 4;

/// Latencies of operations and their sum.
pub(crate) struct Recorder {
    latency_ns: Histogram<u64>,
    busy: Duration,
}

impl Recorder {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            latency_ns: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)?,
            busy: Duration::ZERO,
        })
    }

    /// Awaits `operation` and records how long it took.
    pub(crate) async fn time<T>(
        &mut self,
        operation: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let start = Instant::now();
        let value = operation.await?;
        self.record(start.elapsed());
        Ok(value)
    }

    pub(crate) fn record(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.latency_ns.saturating_record(ns);
        self.busy += took;
    }

    /// Rates are by the operations' own time.
    pub(crate) fn sample(&self) -> Sample {
        Sample {
            ops: self.latency_ns.len(),
            seconds: self.busy.as_secs_f64(),
            p50_ns: self.latency_ns.value_at_quantile(0.5),
            p99_ns: self.latency_ns.value_at_quantile(0.99),
            max_ns: self.latency_ns.max(),
        }
    }
}

/// Repeats `step`, which times what it wants to be measured, until that makes
/// up `time`; a tenth of it before to warm up.
pub(crate) async fn measure(
    time: Duration,
    mut step: impl AsyncFnMut(&mut Recorder) -> Result<()>,
) -> Result<Sample> {
    repeat(time / 10, &mut step).await?;
    Ok(repeat(time, &mut step).await?.sample())
}

async fn repeat(
    time: Duration,
    step: &mut impl AsyncFnMut(&mut Recorder) -> Result<()>,
) -> Result<Recorder> {
    let mut recorder = Recorder::new()?;
    let start = Instant::now();
    loop {
        step(&mut recorder).await?;
        if recorder.busy >= time || start.elapsed() >= time * PATIENCE {
            return Ok(recorder);
        }
    }
}
