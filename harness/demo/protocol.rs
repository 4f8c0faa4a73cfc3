//! What the demo and its processes tell each other: JSON, one message per line,
//! orders on a child's standard input, events on its standard output.
//!
//! What must stay true: `python_worker.py` speaks the same. An order is for one
//! worker (an instance, a native thread, the Python process) and is answered by
//! exactly one report; a worker's orders are carried out one after the other.
//! A child exits when its standard input closes, whatever it is doing.

use serde::{Deserialize, Serialize};

/// A line to a child.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Command {
    /// Work for one of the child's workers.
    Order { worker: usize, order: Order },
    /// Orders without an end of their own end now, after the step under way.
    /// The next order starts afresh.
    Stop,
    /// Close everything and exit.
    Quit,
}

/// Work for one worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub(crate) enum Order {
    /// Adds one to a number under its dictionary's lock, again and again, until `Stop`.
    Increments {
        dict: String,
        key: String,
        timeout_ms: u64,
    },
    /// Puts items.
    Put(PutOrder),
    /// Takes batches until `Stop`.
    Take(TakeOrder),
    /// Takes a lock and keeps it until `Release`.
    Hold { lock: String },
    /// Gives the lock back.
    Release,
    /// Waits for a lock; when it comes, notes that and gives it back.
    Wait {
        lock: String,
        /// None waits for ever.
        deadline_ms: Option<u64>,
        /// The queue to put `label` into while holding the lock.
        log: String,
        label: String,
    },
}

/// See [`Order::Put`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PutOrder {
    pub(crate) queue: String,
    /// Tells this producer from all others of the queue.
    pub(crate) producer: u64,
    /// How many items to put at most.
    pub(crate) count: u64,
    /// After this time only the batch under way is completed.
    pub(crate) limit_ms: u64,
    /// The number of items put is a multiple of it.
    pub(crate) batch: u64,
    /// Items get the priorities 0 to `priorities - 1` in turn.
    pub(crate) priorities: u64,
    /// Hold the queue's lock for each put. Only Python needs it: see `batches.rs`.
    pub(crate) under_lock: bool,
}

/// See [`Order::Take`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TakeOrder {
    pub(crate) queue: String,
    pub(crate) mode: Mode,
    pub(crate) size: u32,
}

/// How to take a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// One by one under the queue's lock.
    Locked,
    /// All at once through `get-batch`.
    Whole,
}

/// An item's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payload {
    pub(crate) producer: u64,
    pub(crate) seq: u64,
    /// No other item of the queue has it.
    pub(crate) number: u64,
}

impl Payload {
    pub(crate) fn new(producer: u64, seq: u64) -> Self {
        Self {
            producer,
            seq,
            number: producer * 1_000_000 + seq,
        }
    }
}

/// A line from a child.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// The file is open in every worker.
    Ready,
    /// The child can't go on and exits.
    Failed { message: String },
    /// The answer to an order.
    Report { worker: usize, report: Report },
}

/// What came of an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case")]
pub(crate) enum Report {
    Increments(IncrementsRecord),
    Put(PutRecord),
    Take(TakeRecord),
    /// The lock is held.
    Held {
        token: u64,
    },
    /// The lock was given back.
    Released,
    Wait(WaitRecord),
    /// The order could not be carried out.
    Failed {
        message: String,
    },
}

/// One worker's increments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct IncrementsRecord {
    /// The value written by each acknowledged increment, in order.
    pub(crate) written: Vec<u64>,
    /// Increments whose outcome the error left open.
    pub(crate) unknown: u64,
    /// Waits for the lock that ended with `timeout`; nothing was written.
    pub(crate) timeouts: u64,
    /// How long each acquired lock was waited for.
    pub(crate) wait_us: Vec<u64>,
    /// What should not have happened.
    pub(crate) errors: Vec<String>,
}

/// One worker's puts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PutRecord {
    /// The numbers of the items whose put was acknowledged.
    pub(crate) acknowledged: Vec<u64>,
    /// The numbers of those whose put failed with an open outcome.
    pub(crate) unknown: Vec<u64>,
    pub(crate) errors: Vec<String>,
}

/// One worker's batches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TakeRecord {
    pub(crate) batches: Vec<Vec<TakenItem>>,
    /// From asking for a batch to having it, per batch.
    pub(crate) wait_us: Vec<u64>,
    pub(crate) errors: Vec<String>,
}

/// An item as a consumer got it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TakenItem {
    pub(crate) priority: f64,
    pub(crate) timestamp: f64,
    pub(crate) payload: Payload,
}

/// How one wait for a lock ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WaitRecord {
    pub(crate) ended: WaitEnd,
    /// From asking to the answer, by the worker's monotonic clock.
    pub(crate) waited_us: u64,
}

/// See [`WaitRecord`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub(crate) enum WaitEnd {
    Timeout,
    Granted {
        /// None from Python, which takes no fencing tokens.
        token: Option<u64>,
        /// When, in microseconds since 1970-01-01 UTC.
        at_us: u64,
    },
    Failed {
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_that_the_python_worker_reads_and_writes() {
        let command = Command::Order {
            worker: 0,
            order: Order::Take(TakeOrder {
                queue: "q".into(),
                mode: Mode::Locked,
                size: 5,
            }),
        };
        assert_eq!(
            serde_json::to_string(&command).unwrap(),
            r#"{"do":"order","worker":0,"order":{"order":"take","queue":"q","mode":"locked","size":5}}"#
        );
        assert_eq!(
            serde_json::to_string(&Command::Stop).unwrap(),
            r#"{"do":"stop"}"#
        );
        let line = r#"{"event":"report","worker":0,"report":{"report":"wait","waited_us":7,"ended":{"how":"granted","token":null,"at_us":5}}}"#;
        let event: Event = serde_json::from_str(line).unwrap();
        assert!(matches!(
            event,
            Event::Report {
                worker: 0,
                report: Report::Wait(_)
            }
        ));
    }

    #[test]
    fn time_stamps_survive_the_pipe_bit_by_bit() {
        for ulps in 0..1000 {
            let timestamp = f64::from_bits(1_790_000_000.123_456_f64.to_bits() + ulps);
            let item = TakenItem {
                priority: 0.0,
                timestamp,
                payload: Payload::new(1, 2),
            };
            let text = serde_json::to_string(&item).unwrap();
            assert_eq!(serde_json::from_str::<TakenItem>(&text).unwrap(), item);
        }
    }
}
