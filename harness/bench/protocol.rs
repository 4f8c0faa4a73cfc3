//! What the parent and a side say to each other: JSON, a line each way.
//!
//! Python's side speaks the same (`python_side.py`).

use crate::measurement::Measurement;
use serde::{Deserialize, Serialize};

/// "Measure this for so long."
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) measure: Measurement,
    pub(crate) seconds: f64,
}

/// What came of an order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// Said once, before the first order.
    Ready,
    Times(Sample),
    Bytes(f64),
    Failed(String),
}

/// Operations in one round on one side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) ops: u64,
    pub(crate) seconds: f64,
    /// Of one operation; for contended increments, of the wait for the lock.
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
}

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "a rate for the eye")]
    pub(crate) fn per_second(&self) -> f64 {
        self.ops as f64 / self.seconds.max(1e-9)
    }
}
