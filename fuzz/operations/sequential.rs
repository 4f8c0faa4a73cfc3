//! One worker's answers, against the reference store's.
//!
//! What must stay true: a *candidate* is a way in which all may have gone. There is one at first; where
//! nobody knows whether an operation happened, each becomes two; one that would have answered
//! otherwise is out. When none is left, something is wrong.

use beaver_harness::driver::{Answer, Client, Driver as _, Process, Reference};
use beaver_harness::history::{Operation, Outcome, Seen};
use beaver_harness::program::Fault;
use beaver_harness::protocol::{ErrorCode, Failure, Init, Op, VERSION};
use beaver_harness::sim::{self, Blow, Simulated};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// What a session and its operations were, in order.
#[derive(Clone)]
enum Asked {
    Op(Op),
    NextSession,
}

struct Candidate {
    asked: Vec<Asked>,
    in_transaction: bool,
    process: Arc<dyn Process>,
    /// None only between two sessions.
    client: Option<Box<dyn Client>>,
}

impl Candidate {
    fn new() -> Self {
        let init = Init {
            protocol: VERSION,
            database: "reference".into(),
            clock_offset_ms: 0,
            clock_resolution_ms: 0,
            settings: Map::new(),
        };
        let process = Reference::new().start(&init).unwrap();
        let client = Some(process.open(0).unwrap());
        Self {
            asked: Vec::new(),
            in_transaction: false,
            process,
            client,
        }
    }

    /// Another one that has gone the same way.
    fn again(&self) -> Self {
        let mut other = Self::new();
        for asked in &self.asked {
            match asked {
                Asked::Op(op) => drop(other.ask(op)),
                Asked::NextSession => other.next_session(),
            }
        }
        other
    }

    fn next_session(&mut self) {
        self.asked.push(Asked::NextSession);
        self.in_transaction = false;
        self.client = None;
        self.client = Some(self.process.open(0).unwrap());
    }

    fn ask(&mut self, op: &Op) -> Answer {
        self.asked.push(Asked::Op(op.clone()));
        let mut op = op.clone();
        // Nobody would bring what it waits for.
        if !self.in_transaction
            && let Op::QueueGet { timeout_ms, .. }
            | Op::QueueGetBatch { timeout_ms, .. }
            | Op::LockAcquire { timeout_ms, .. } = &mut op
        {
            *timeout_ms = Some(0);
        }
        let client = self.client.as_mut().unwrap();
        let answer = client.call(&op, false, Duration::ZERO);
        match op {
            Op::Begin => self.in_transaction = true,
            Op::Commit | Op::Rollback => self.in_transaction = false,
            _ => {}
        }
        answer
    }
}

/// What is wrong with what one worker was answered.
pub(super) fn compare(ran: &Simulated) -> Result<(), String> {
    let mut candidates = vec![Candidate::new()];
    let mut session = None;
    let fault_ns = first_fault_ns(ran)?;
    // What was before a power loss that may take commits back is compared.
    let losses = ran.history.faults.iter();
    let mut losses = losses.filter(|fault| fault.fault == Fault::PowerLoss);
    let end_ns = losses.next().map_or(u64::MAX, |loss| loss.at_ns);
    for operation in &ran.history.operations {
        if operation
            .latest_ns()
            .min(operation.completed_ns.unwrap_or(u64::MAX))
            > end_ns
            || operation.invoked_ns > end_ns
        {
            break;
        }
        if session.is_some_and(|known| known != operation.session) {
            candidates.iter_mut().for_each(Candidate::next_session);
        }
        session = Some(operation.session);
        // What had ended before the first fault has no excuse.
        let is_excusable = operation.completed_ns.unwrap_or(u64::MAX) >= fault_ns;
        let mut wrong = String::new();
        let mut left = Vec::new();
        for candidate in candidates {
            match follow(candidate, operation, is_excusable) {
                Ok(next) => left.extend(next),
                Err(why) => wrong = why,
            }
        }
        if left.is_empty() {
            return Err(format!("operation {}: {wrong}", operation.id));
        }
        candidates = left;
    }
    Ok(())
}

/// When the first fault came to pass that may be why something fails: the end of time if none did.
fn first_fault_ns(ran: &Simulated) -> Result<u64, String> {
    let mut first_ns = u64::MAX;
    for fault in &ran.faults {
        let at_ns = match fault.blow {
            Blow::Slow(_) => None,
            Blow::Io | Blow::ShortWrite | Blow::Full(_) | Blow::Busy => {
                Some(noted_ns(ran, fault).ok_or(format!("the history lacks {fault:?}"))?)
            }
            // They stand in the history as faults.
            _ => ran.history.faults.iter().map(|it| it.at_ns).min(),
        };
        first_ns = first_ns.min(at_ns.unwrap_or(u64::MAX));
    }
    Ok(first_ns)
}

/// When the simulator noted what it did at a call.
fn noted_ns(ran: &Simulated, fault: &sim::Fault) -> Option<u64> {
    let sim::Fault { worker, call, .. } = fault;
    let begin = format!("worker {worker}, host call {call}: ");
    let mut seen = ran.history.observations.iter();
    let noted = seen.find(|it| matches!(&it.seen, Seen::Note(note) if note.starts_with(&begin)));
    noted.map(|it| it.at_ns)
}

fn follow(
    mut candidate: Candidate,
    operation: &Operation,
    is_excusable: bool,
) -> Result<Vec<Candidate>, String> {
    let op = &operation.op;
    match &operation.outcome {
        Outcome::Ok { value, .. } => {
            let right = candidate.ask(op);
            // One that could not be given back, or that somebody left who is gone, is or isn't held.
            match right {
                Ok((right, _)) if same(op, value, &right) => Ok(vec![candidate]),
                _ if is_of_lock(op) && is_excusable => Ok(vec![candidate]),
                right => Err(format!("{op:?} gave {value}, not {right:?}")),
            }
        }
        Outcome::Fail(failure) => {
            let refuses = failure.error == ErrorCode::InTransaction && is_of_lock(op);
            if refuses && candidate.in_transaction {
                return Ok(vec![candidate]);
            }
            if is_excusable && is_of_a_fault(failure) {
                candidate.undone(op);
                return Ok(vec![candidate]);
            }
            match candidate.ask(op) {
                Err(right) if said(right.error) == said(failure.error) => Ok(vec![candidate]),
                right => Err(format!("{op:?} failed with {failure}, not {right:?}")),
            }
        }
        Outcome::Info(failure) => {
            if !is_excusable {
                return Err(format!(
                    "nobody knows of {op:?}, without a fault: {failure}"
                ));
            }
            let mut happened = candidate.again();
            drop(happened.ask(op));
            candidate.undone(op);
            Ok(vec![candidate, happened])
        }
    }
}

impl Candidate {
    /// It was asked for `op`, which did not happen.
    fn undone(&mut self, op: &Op) {
        // No transaction is open after its end, however that went.
        if self.in_transaction && matches!(op, Op::Commit | Op::Rollback) {
            drop(self.ask(&Op::Rollback));
        }
    }
}

fn is_of_lock(op: &Op) -> bool {
    matches!(
        op,
        Op::LockAcquire { .. }
            | Op::LockRelease { .. }
            | Op::LockRenew { .. }
            | Op::LockWaiting { .. }
    )
}

/// Who can't wait because of its own transaction may say the one or the other.
fn said(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::Deadlock => ErrorCode::InTransaction,
        other => other,
    }
}

/// Whether a fault may be why, now or before.
fn is_of_a_fault(failure: &Failure) -> bool {
    // SQLite's complaint about its own text, or that a table is missing.
    let is_ours = failure.message.contains("(SQLite code 1)");
    !is_ours
        && matches!(
            failure.error,
            ErrorCode::Failed
                | ErrorCode::Busy
                | ErrorCode::Timeout
                | ErrorCode::Locked
                | ErrorCode::LockLost
                | ErrorCode::NotHeld
                | ErrorCode::AlreadyHeld
                | ErrorCode::NoTransaction
        )
}

/// Whether two answers say the same.
fn same(op: &Op, one: &Value, other: &Value) -> bool {
    match op {
        // Each store draws its own.
        Op::LockAcquire { .. } => true,
        Op::CollectionNeighbors { .. } | Op::CollectionMatch { .. } => sorted(one) == sorted(other),
        Op::CollectionDrop { .. } => one.is_null() || one == other,
        _ => one == other,
    }
}

fn sorted(ids: &Value) -> Vec<String> {
    let ids = ids.as_array().into_iter().flatten();
    let mut ids: Vec<String> = ids.map(Value::to_string).collect();
    ids.sort();
    ids
}
