//! The lines of a history file.

use super::{Seen, SessionEnd, TaskOutcome};
use crate::check::{Bounds, CheckSpec};
use crate::program::Fault;
use crate::protocol::{Description, Failure, Op};
use crate::step::Step;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format: 1.
    pub history: u32,
    /// The name of the workload or scenario.
    pub program: String,
    /// What it shows, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub promise: String,
    /// What all random choices came from.
    pub seed: u64,
    /// How many workers.
    pub workers: u32,
    /// What was driven.
    pub driver: Description,
    /// What "in time" means.
    #[serde(default)]
    pub bounds: Bounds,
    /// What is to be checked.
    pub checks: Vec<CheckSpec>,
    /// The command that repeats the run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub replay: String,
    /// When it was run, in seconds since 1970-01-01 UTC.
    #[serde(default)]
    pub unix_s: f64,
    /// Whether its times are those of a simulator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub virtual_time: bool,
}

/// Something and when, in nanoseconds since the run began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment<T> {
    /// When.
    pub time_ns: u64,
    /// What.
    #[serde(flatten)]
    pub what: T,
}

/// A line after the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "HISTORY.md documents each event and field")]
pub enum Event {
    Session {
        time_ns: u64,
        session: u64,
        worker: u32,
        process: u32,
        #[serde(default, skip_serializing_if = "is_zero")]
        clock_offset_ms: i64,
    },
    Over {
        time_ns: u64,
        session: u64,
        how: SessionEnd,
    },
    Task {
        time_ns: u64,
        task: u64,
        worker: u32,
        step: Step,
    },
    End {
        time_ns: u64,
        task: u64,
        outcome: TaskOutcome,
    },
    Invoke {
        time_ns: u64,
        id: u64,
        session: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<u64>,
        op: Op,
    },
    Ok {
        time_ns: u64,
        id: u64,
        value: Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<u64>,
    },
    Fail(Moment<Ended>),
    Info(Moment<Ended>),
    Fault {
        time_ns: u64,
        fault: Fault,
        sessions: Vec<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pause: Option<u64>,
    },
    Resumed {
        time_ns: u64,
        sessions: Vec<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pause: Option<u64>,
    },
    Seen(Moment<Seen>),
}

impl Event {
    /// When.
    pub fn time_ns(&self) -> u64 {
        match self {
            Self::Session { time_ns, .. }
            | Self::Over { time_ns, .. }
            | Self::Task { time_ns, .. }
            | Self::End { time_ns, .. }
            | Self::Invoke { time_ns, .. }
            | Self::Ok { time_ns, .. }
            | Self::Fault { time_ns, .. }
            | Self::Resumed { time_ns, .. } => *time_ns,
            Self::Fail(moment) | Self::Info(moment) => moment.time_ns,
            Self::Seen(moment) => moment.time_ns,
        }
    }
}

/// How an operation ended without success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Of the operation.
    pub id: u64,
    /// Why.
    #[serde(flatten)]
    pub failure: Failure,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}
