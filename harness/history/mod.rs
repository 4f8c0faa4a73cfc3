//! What happened in a run: `HISTORY.md`, as types. Checks read nothing else.
//!
//! What must stay true: `operations` are in the order of their invocations, those of one session come one
//! after the other while it lives, and each `id`, `task` and `session` is the number of one operation, task
//! and session. Whoever reads a history from a file can rely on that: [`read`] refuses what
//! no recorder can write, as a [`Contradiction`].

mod builder;
mod contradiction;
mod event;
mod read;
mod write;

pub use contradiction::{Contradiction, What};
pub use event::{Ended, Event, Header, Moment};
pub use read::{ReadError, read};
pub use write::Recorder;

use crate::check::{Bounds, CheckSpec};
use crate::program::Fault;
use crate::protocol::{Failure, LockName, Op};
use crate::step::Step;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A whole run.
#[derive(Clone, Debug)]
pub struct History {
    /// What was run, on what.
    pub header: Header,
    /// All operations, in the order of their invocations.
    pub operations: Vec<Operation>,
    /// All tasks, in the order in which they began.
    pub tasks: Vec<Task>,
    /// All sessions, in the order in which they were opened.
    pub sessions: Vec<Session>,
    /// All faults, in order.
    pub faults: Vec<FaultRecord>,
    /// What the harness observed, in order.
    pub observations: Vec<Observation>,
}

/// One operation of one session.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its number.
    pub id: u64,
    /// Who did it.
    pub session: u64,
    /// The worker that the session belongs to.
    pub worker: u32,
    /// The task it is part of.
    pub task: Option<u64>,
    /// What was asked.
    pub op: Op,
    /// When, before the request was sent.
    pub invoked_ns: u64,
    /// When the answer had been read; none if there was none.
    pub completed_ns: Option<u64>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It took effect, between invocation and completion.
    Ok {
        /// Its result.
        value: Value,
        /// Its place in commit order.
        commit: Option<u64>,
    },
    /// It definitely did not happen.
    Fail(Failure),
    /// Nobody knows: it may take effect at any time after its invocation, or never.
    Info(Failure),
}

impl Operation {
    /// The result, if it took effect.
    pub fn ok(&self) -> Option<&Value> {
        match &self.outcome {
            Outcome::Ok { value, .. } => Some(value),
            _ => None,
        }
    }

    /// Its place in commit order.
    pub fn commit(&self) -> Option<u64> {
        match &self.outcome {
            Outcome::Ok { commit, .. } => *commit,
            _ => None,
        }
    }

    /// The error, definite or not.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Ok { .. } => None,
            Outcome::Fail(failure) | Outcome::Info(failure) => Some(failure),
        }
    }

    /// Whether it may have taken effect.
    pub fn may_have_happened(&self) -> bool {
        !matches!(self.outcome, Outcome::Fail(_))
    }

    /// Whether nobody knows.
    pub fn is_info(&self) -> bool {
        matches!(self.outcome, Outcome::Info(_))
    }

    /// The last moment at which it may have taken effect: the end of time if nobody knows.
    pub fn latest_ns(&self) -> u64 {
        match (&self.outcome, self.completed_ns) {
            (Outcome::Info(_), _) | (_, None) => u64::MAX,
            (_, Some(at)) => at,
        }
    }
}

/// One task of one worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its number.
    pub task: u64,
    /// Who did it.
    pub worker: u32,
    /// What was to be done.
    pub step: Step,
    /// When it began.
    pub begun_ns: u64,
    /// When it ended; none if it never did.
    pub ended_ns: Option<u64>,
    /// What came of it.
    pub outcome: TaskOutcome,
}

/// What came of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskOutcome {
    /// All of it was done.
    Done,
    /// Some of it failed; the words say what.
    Failed(String),
    /// What it waited for, or counted on, never came; the words say what.
    InVain(String),
    /// The run ended before what it waited for came; the words say what.
    Late(String),
    /// Nobody knows.
    Unknown,
}

/// One life of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub session: u64,
    /// The worker it belongs to.
    pub worker: u32,
    /// The number of the operating system process it lives in; a process that is started again
    /// has another.
    pub process: u32,
    /// By how much its wall clock is off.
    pub clock_offset_ms: i64,
    /// When it was ready.
    pub opened_ns: u64,
    /// When it ended and how; none: it was alive at the end of the run.
    pub over: Option<(u64, SessionEnd)>,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionEnd {
    /// In good order.
    Closed,
    /// Abandoned.
    Dropped,
    /// Its guest failed.
    Trapped,
    /// SIGKILL.
    Killed,
    /// Its process ended by itself or stopped answering and was killed.
    Lost,
    /// The harness ended it, for reasons of its own.
    GivenUp,
}

/// Something that was done to the system.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRecord {
    /// When.
    pub at_ns: u64,
    /// What.
    pub fault: Fault,
    /// Whose sessions it hit.
    pub sessions: Vec<u64>,
    /// When a pause was over.
    pub until_ns: Option<u64>,
}

/// Something that the harness saw by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// So many held or waited for a lock at some moment between `asked_ns` and the
    /// time of the observation.
    Waiting {
        /// The lock.
        lock: LockName,
        /// How many.
        count: u64,
        /// When it was asked.
        asked_ns: u64,
    },
    /// What `PRAGMA integrity_check` said when all was over, or after all processes were killed.
    IntegrityCheck(String),
    /// What killed processes left beside the file when nobody had it open any more.
    Remains {
        /// The length of the log with what isn't in the file yet; 0: there is none.
        wal_bytes: u64,
        /// Whether a journal says that the file holds half a transaction.
        hot_journal: bool,
    },
    /// What the simulator's audit found when all was over; `ok`: nothing.
    Audit(String),
    /// The harness waited no longer for an operation that waits for ever. It was asked for and not
    /// answered for `after_ms`.
    GaveUp {
        /// Which.
        id: u64,
        /// For how long it waited.
        after_ms: u64,
    },
    /// A worker that had a client before could not get another, however often it tried.
    NotReopened {
        /// Who.
        worker: u32,
        /// What the system said last.
        message: String,
    },
    /// A note for the reader.
    Note(String),
}

/// See [`Seen`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// When.
    pub at_ns: u64,
    /// What.
    pub seen: Seen,
}

impl History {
    /// The operation of this number.
    pub fn operation(&self, id: u64) -> Option<&Operation> {
        // Numbers are given in the order of invocations.
        let at = self
            .operations
            .binary_search_by_key(&id, |operation| operation.id);
        at.ok().and_then(|at| self.operations.get(at))
    }

    /// The session of this number.
    pub fn session(&self, session: u64) -> Option<&Session> {
        let at = self
            .sessions
            .binary_search_by_key(&session, |known| known.session);
        at.ok().and_then(|at| self.sessions.get(at))
    }

    /// The task of this number.
    pub fn task(&self, task: u64) -> Option<&Task> {
        let at = self.tasks.binary_search_by_key(&task, |known| known.task);
        at.ok().and_then(|at| self.tasks.get(at))
    }

    /// What "in time" means.
    pub fn bounds(&self) -> &Bounds {
        &self.header.bounds
    }

    /// The checks that the program names.
    pub fn checks(&self) -> &[CheckSpec] {
        &self.header.checks
    }

    /// The last moment of the run.
    pub fn end_ns(&self) -> u64 {
        let operations = self
            .operations
            .iter()
            .map(|op| op.completed_ns.unwrap_or(op.invoked_ns));
        let faults = self
            .faults
            .iter()
            .map(|fault| fault.until_ns.unwrap_or(fault.at_ns));
        let tasks = self
            .tasks
            .iter()
            .map(|task| task.ended_ns.unwrap_or(task.begun_ns));
        operations.chain(faults).chain(tasks).max().unwrap_or(0)
    }
}
