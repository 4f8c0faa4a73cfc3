//! Histories written by hand, for the tests of checks.
//!
//! Times are milliseconds. Operations are added in the order of their invocations.

use super::{Bounds, CheckResult, CheckSpec};
use crate::history::{
    FaultRecord, Header, History, Observation, Operation, Outcome, Seen, Session, SessionEnd, Task,
    TaskOutcome,
};
use crate::program::Fault;
use crate::protocol::{Description, ErrorCode, Failure, Op, VERSION};
use crate::step::Step;
use serde_json::Value;

const MS: u64 = 1_000_000;

/// A history in the making.
pub(crate) struct Script {
    pub(crate) history: History,
}

impl Script {
    /// Nothing yet, to be judged by one check.
    pub(crate) fn new(check: CheckSpec) -> Self {
        let header = Header {
            history: 1,
            program: "script".into(),
            promise: String::new(),
            seed: 0,
            workers: 0,
            driver: Description {
                protocol: VERSION,
                name: "script".into(),
                version: String::new(),
                capabilities: Vec::new(),
            },
            bounds: Bounds::default(),
            checks: vec![check],
            replay: String::new(),
            unix_s: 0.0,
            virtual_time: false,
        };
        Self {
            history: History {
                header,
                operations: Vec::new(),
                tasks: Vec::new(),
                sessions: Vec::new(),
                faults: Vec::new(),
                observations: Vec::new(),
            },
        }
    }

    /// A session of `worker`, in process `worker`.
    pub(crate) fn session(&mut self, worker: u32, at: u64) -> u64 {
        let session = self.history.sessions.len() as u64 + 1;
        self.history.sessions.push(Session {
            session,
            worker,
            process: worker,
            clock_offset_ms: 0,
            opened_ns: at * MS,
            over: None,
        });
        self.history.header.workers = self.history.header.workers.max(worker + 1);
        session
    }

    /// The session ends.
    pub(crate) fn over(&mut self, session: u64, at: u64, how: SessionEnd) {
        self.history.sessions[session as usize - 1].over = Some((at * MS, how));
    }

    /// A task begins; operations that are added from now on with [`within`](Self::within) belong to it.
    pub(crate) fn task(
        &mut self,
        worker: u32,
        from: u64,
        to: u64,
        step: Step,
        outcome: TaskOutcome,
    ) -> u64 {
        let task = self.history.tasks.len() as u64 + 1;
        self.history.tasks.push(Task {
            task,
            worker,
            step,
            begun_ns: from * MS,
            ended_ns: Some(to * MS),
            outcome,
        });
        task
    }

    fn add(&mut self, session: u64, from: u64, to: Option<u64>, op: Op, outcome: Outcome) -> u64 {
        let last = self
            .history
            .operations
            .last()
            .map_or(0, |last| last.invoked_ns);
        assert!(
            last <= from * MS,
            "operations are added in the order of their invocations"
        );
        let id = self.history.operations.len() as u64 + 1;
        self.history.operations.push(Operation {
            id,
            session,
            worker: self.history.sessions[session as usize - 1].worker,
            task: None,
            op,
            invoked_ns: from * MS,
            completed_ns: to.map(|to| to * MS),
            outcome,
        });
        id
    }

    /// An operation that took effect; returns its number.
    pub(crate) fn ok(
        &mut self,
        session: u64,
        from: u64,
        to: u64,
        op: Op,
        value: impl Into<Value>,
    ) -> u64 {
        let value = value.into();
        self.add(
            session,
            from,
            Some(to),
            op,
            Outcome::Ok {
                value,
                commit: None,
            },
        )
    }

    /// The same with a place in commit order.
    pub(crate) fn certified(
        &mut self,
        session: u64,
        from: u64,
        to: u64,
        op: Op,
        value: impl Into<Value>,
        commit: u64,
    ) -> u64 {
        let value = value.into();
        self.add(
            session,
            from,
            Some(to),
            op,
            Outcome::Ok {
                value,
                commit: Some(commit),
            },
        )
    }

    /// An operation that definitely did not happen.
    pub(crate) fn fail(
        &mut self,
        session: u64,
        from: u64,
        to: u64,
        op: Op,
        error: ErrorCode,
    ) -> u64 {
        let failure = Failure {
            definite: true,
            ..Failure::new(error, "")
        };
        self.add(session, from, Some(to), op, Outcome::Fail(failure))
    }

    /// An operation of which nobody knows; `to`: when its error came.
    pub(crate) fn info(&mut self, session: u64, from: u64, to: Option<u64>, op: Op) -> u64 {
        self.add(
            session,
            from,
            to,
            op,
            Outcome::Info(Failure::new(ErrorCode::Gone, "")),
        )
    }

    /// Puts an operation into a task.
    pub(crate) fn within(&mut self, task: u64, id: u64) -> u64 {
        self.history.operations[id as usize - 1].task = Some(task);
        id
    }

    /// Something is done to these sessions.
    pub(crate) fn fault(&mut self, at: u64, fault: Fault, sessions: &[u64], until: Option<u64>) {
        self.history.faults.push(FaultRecord {
            at_ns: at * MS,
            fault,
            sessions: sessions.to_vec(),
            until_ns: until.map(|until| until * MS),
        });
    }

    /// The harness sees something.
    pub(crate) fn seen(&mut self, at: u64, seen: Seen) {
        self.history.observations.push(Observation {
            at_ns: at * MS,
            seen,
        });
    }

    /// What the check says.
    pub(crate) fn judge(&self) -> CheckResult {
        self.history.header.checks[0].run(&self.history)
    }
}
