//! What the parent and a side say to each other: JSON, a line each way.
//!
//! A side measures by itself, a crew's workers do single things. Python's
//! processes speak the same (`python_side.py`, `python_crew.py`).

use crate::measurement::Measurement;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
    Waits(Waits),
    Contended(Contended),
    Failed(String),
}

/// Operations in one round on one side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) ops: u64,
    pub(crate) seconds: f64,
    /// Of one operation.
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
}

/// What all workers did together who counted up one number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Contended {
    /// The increments that were made; quantiles are of the waits for the lock.
    pub(crate) sample: Sample,
    /// Increments that were made and that the counter doesn't show.
    pub(crate) lost: u64,
    /// Increments that ended with an error.
    pub(crate) failed: u64,
}

/// What one of them did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Increments {
    pub(crate) wait_ns: Vec<u64>,
    pub(crate) increments: u64,
    pub(crate) failed: u64,
    /// When the last was done.
    pub(crate) to_ns: u64,
}

/// Waits that are few enough to be told one by one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Waits {
    pub(crate) wait_ns: Vec<u64>,
    /// Of each of them, what the call that ended it took whoever made it.
    pub(crate) release_ns: Vec<u64>,
}

/// What a crew is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CrewOrder {
    /// Forget all workers; have this many, on the file in `directory`.
    Open {
        directory: PathBuf,
        workers: usize,
    },
    Do {
        worker: usize,
        task: Task,
    },
}

/// What a worker is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Task {
    /// Take the dictionary's lock; none: for the usual time to live.
    Acquire {
        ttl_s: Option<f64>,
    },
    Release,
    /// Count up the counter under the lock, again and again between two moments.
    Contend {
        from_ns: u64,
        until_ns: u64,
    },
    /// Read the counter.
    Count,
}

/// What a crew answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CrewReply {
    /// Said once, before the first order.
    Ready,
    /// The process of each worker.
    Opened {
        pids: Vec<u32>,
    },
    Did {
        worker: usize,
        done: Done,
    },
    Failed(String),
}

/// What came of a task. Moments are those of `clock.rs`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Done {
    Acquired { at_ns: u64 },
    Released { from_ns: u64, to_ns: u64 },
    Contended(Increments),
    Counted(u64),
    Failed(String),
}

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "a rate for the eye")]
    pub(crate) fn per_second(&self) -> f64 {
        self.ops as f64 / self.seconds.max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `python_crew.py` reads and writes exactly these.
    #[test]
    fn what_crews_say_is_what_python_knows() {
        let order = |task| serde_json::to_string(&CrewOrder::Do { worker: 3, task }).unwrap();
        assert_eq!(
            order(Task::Release),
            r#"{"do":{"worker":3,"task":"release"}}"#
        );
        assert_eq!(
            order(Task::Acquire { ttl_s: None }),
            r#"{"do":{"worker":3,"task":{"acquire":{"ttl_s":null}}}}"#
        );
        let reply = |text| serde_json::from_str(text).unwrap();
        assert!(matches!(reply(r#""ready""#), CrewReply::Ready));
        let acquired = r#"{"did": {"worker": 3, "done": {"acquired": {"at_ns": 9}}}}"#;
        assert!(matches!(
            reply(acquired),
            CrewReply::Did {
                worker: 3,
                done: Done::Acquired { at_ns: 9 }
            }
        ));
    }
}
