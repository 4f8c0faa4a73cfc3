//! What the timeline draws, as compact JSON inside the page.
//!
//! What must stay true:
//! - The text can't end its script element or begin a comment, whatever a driver said: it has no `<`.
//! - Numbers are ones that JavaScript holds exactly.
//! - Columns of one table have the same length; an index into a table is within it.

use crate::history::{Operation, Outcome, Seen, SessionEnd, TaskOutcome};
use crate::protocol::{LockName, Op};
use crate::report::words::{cut, remains};
use crate::report::{Judged, OpGroup};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

/// Longer texts are cut.
const TEXT_MAX: usize = 240;
/// The greatest integer up to which JavaScript holds all.
const EXACT_MAX: u64 = (1 << 53) - 1;

/// Times are nanoseconds since the run began; `-1` stands for none; texts are indices into
/// `strings`; workers are indices into `lanes`.
#[derive(Default, Serialize)]
struct Data {
    /// The numbers of the workers, one per lane.
    lanes: Vec<u32>,
    end: u64,
    strings: Vec<String>,
    /// Name, group, and place among the kinds of the group.
    kinds: Vec<(&'static str, &'static str, u32)>,
    locks: Vec<String>,
    operations: Operations,
    tasks: Tasks,
    /// Lane, lock, from, until, lapsed, acquire (an index of an operation).
    holds: Vec<(u32, u32, u64, u64, i64, i64)>,
    /// Number, lane, process, opened, over, how it ended, clock offset in ms.
    sessions: Vec<(u64, u32, u32, u64, i64, &'static str, i64)>,
    /// When, until, name, lanes of the sessions that it hit.
    faults: Vec<(u64, i64, &'static str, Vec<u32>)>,
    /// From, until, operations left out.
    gaps: Vec<(u64, u64, u64)>,
    /// When and what.
    notes: Vec<(u64, u32)>,
    /// Indices of operations, by check and violation.
    violations: Vec<Vec<Vec<u32>>>,
}

/// Columns; `at` and `id` are differences to the row before.
#[derive(Default, Serialize)]
struct Operations {
    id: Vec<u64>,
    at: Vec<i64>,
    took: Vec<i64>,
    lane: Vec<u32>,
    session: Vec<u64>,
    kind: Vec<u32>,
    lock: Vec<i64>,
    /// The fields of the request, as JSON without the braces.
    arguments: Vec<u32>,
    /// 0 ok, 1 fail, 2 info.
    outcome: Vec<u8>,
    result: Vec<u32>,
    commit: Vec<i64>,
    /// An index of a task.
    task: Vec<i64>,
}

/// Columns; `at` is the difference to the row before.
#[derive(Default, Serialize)]
struct Tasks {
    id: Vec<u64>,
    lane: Vec<u32>,
    at: Vec<i64>,
    took: Vec<i64>,
    step: Vec<u32>,
    outcome: Vec<u32>,
}

/// A table without duplicates.
struct Table<T> {
    rows: Vec<T>,
    known: HashMap<T, u32>,
}

impl<T: Clone + Eq + std::hash::Hash> Table<T> {
    fn new() -> Self {
        Self {
            rows: Vec::new(),
            known: HashMap::new(),
        }
    }

    fn index(&mut self, row: T) -> u32 {
        if let Some(index) = self.known.get(&row) {
            return *index;
        }
        let index = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        self.rows.push(row.clone());
        self.known.insert(row, index);
        index
    }
}

fn exact(number: u64) -> u64 {
    number.min(EXACT_MAX)
}

/// The number, or -1 for none.
fn or_none(number: Option<u64>) -> i64 {
    number.map_or(-1, |number| i64::try_from(exact(number)).unwrap_or(-1))
}

/// The difference to the last, which it replaces.
fn step(last: &mut u64, next: u64) -> i64 {
    let next = exact(next);
    let from = i64::try_from(std::mem::replace(last, next)).unwrap_or(0);
    i64::try_from(next).unwrap_or(0) - from
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// What a script element of this run holds.
pub(super) fn embedded(judged: &Judged) -> String {
    let data = data(judged);
    let text = serde_json::to_string(&data);
    // Nothing in it has a key that isn't text, so it can't fail; if it did, there is no timeline.
    let text = text.unwrap_or_else(|_| "null".to_owned());
    // Only texts have a `<`, and in a text it may be written so.
    text.replace('<', "\\u003c")
}

fn data(judged: &Judged) -> Data {
    let excerpt = &judged.excerpt;
    let workers = excerpt.sessions.iter().map(|session| session.worker);
    let workers = workers.chain(excerpt.operations.iter().map(|op| op.worker));
    let lanes: BTreeSet<u32> = workers
        .chain(excerpt.tasks.iter().map(|task| task.worker))
        .collect();
    let lane_of: HashMap<u32, u32> = lanes
        .iter()
        .enumerate()
        .map(|(at, worker)| (*worker, index(at)))
        .collect();
    let lane = |worker: u32| lane_of.get(&worker).copied().unwrap_or(0);
    let shade = |name: &str| judged.summary.kind(name).map_or(0, |kind| kind.shade);
    let mut strings = Table::new();
    let mut kinds = Table::new();
    let mut locks = Table::new();
    let mut data = Data {
        end: exact(excerpt.end_ns),
        ..Data::default()
    };
    let mut task_at = HashMap::new();
    let mut last = 0;
    for (at, task) in excerpt.tasks.iter().enumerate() {
        task_at.insert(task.task, index(at));
        let tasks = &mut data.tasks;
        tasks.id.push(exact(task.task));
        tasks.lane.push(lane(task.worker));
        tasks.at.push(step(&mut last, task.begun_ns));
        tasks.took.push(or_none(
            task.ended_ns.map(|end| end.saturating_sub(task.begun_ns)),
        ));
        let text = serde_json::to_string(&task.step).unwrap_or_default();
        tasks.step.push(strings.index(cut(&text, TEXT_MAX)));
        let outcome = match &task.outcome {
            TaskOutcome::Done => "done".to_owned(),
            TaskOutcome::Failed(why) => format!("failed: {}", cut(why, TEXT_MAX)),
            TaskOutcome::InVain(why) => format!("in vain: {}", cut(why, TEXT_MAX)),
            TaskOutcome::Late(why) => format!("the run ended: {}", cut(why, TEXT_MAX)),
            TaskOutcome::Unknown => "unknown".to_owned(),
        };
        tasks.outcome.push(strings.index(outcome));
    }
    let mut operation_at = HashMap::new();
    let (mut last_id, mut last_at) = (0, 0);
    for (at, operation) in excerpt.operations.iter().enumerate() {
        operation_at.insert(operation.id, index(at));
        let rows = &mut data.operations;
        rows.id.push(operation.id.saturating_sub(last_id));
        last_id = operation.id;
        rows.at.push(step(&mut last_at, operation.invoked_ns));
        let took = operation
            .completed_ns
            .map(|end| end.saturating_sub(operation.invoked_ns));
        rows.took.push(or_none(took));
        rows.lane.push(lane(operation.worker));
        rows.session.push(exact(operation.session));
        let name = operation.op.name();
        let kind = kinds.index((name, OpGroup::of(&operation.op).name(), shade(name)));
        rows.kind.push(kind);
        let lock = lock_of(&operation.op).map(|lock| locks.index(lock.to_string()));
        rows.lock.push(lock.map_or(-1, i64::from));
        rows.arguments.push(strings.index(arguments(&operation.op)));
        let (outcome, result) = result(operation);
        rows.outcome.push(outcome);
        rows.result.push(strings.index(result));
        rows.commit.push(or_none(operation.commit()));
        let task = operation.task.and_then(|task| task_at.get(&task));
        rows.task.push(task.copied().map_or(-1, i64::from));
    }
    for hold in &excerpt.holds {
        let acquire = operation_at.get(&hold.acquire).copied();
        data.holds.push((
            lane(hold.worker),
            locks.index(hold.lock.to_string()),
            exact(hold.from_ns),
            exact(hold.until_ns),
            or_none(hold.lapsed_ns),
            acquire.map_or(-1, i64::from),
        ));
    }
    let mut session_lane = HashMap::new();
    for session in &excerpt.sessions {
        session_lane.insert(session.session, lane(session.worker));
        let how = session.over.map_or("", |(_, how)| end_word(how));
        data.sessions.push((
            exact(session.session),
            lane(session.worker),
            session.process,
            exact(session.opened_ns),
            or_none(session.over.map(|(at, _)| at)),
            how,
            session.clock_offset_ms.clamp(-(1 << 53), 1 << 53),
        ));
    }
    for fault in &excerpt.faults {
        let mut hit: BTreeSet<u32> = fault
            .sessions
            .iter()
            .filter_map(|session| session_lane.get(session).copied())
            .collect();
        // What ends or stops no session, such as a clock that jumps, still befalls somebody.
        if hit.is_empty() {
            let befallen = fault.fault.worker();
            hit.extend(befallen.and_then(|worker| lane_of.get(&worker)).copied());
        }
        data.faults.push((
            exact(fault.at_ns),
            or_none(fault.until_ns),
            fault.fault.name(),
            hit.into_iter().collect(),
        ));
    }
    for gap in &excerpt.gaps {
        data.gaps.push((
            exact(gap.from_ns),
            exact(gap.until_ns),
            exact(gap.operations),
        ));
    }
    for observation in &excerpt.observations {
        let text = match &observation.seen {
            Seen::Waiting { .. } => continue,
            Seen::IntegrityCheck(said) => format!("integrity_check: {said}"),
            Seen::Audit(said) => format!("audit: {said}"),
            Seen::Remains {
                wal_bytes,
                hot_journal,
            } => remains(*wal_bytes, *hot_journal),
            Seen::NotReopened { worker, message } => {
                format!("worker {worker} could not open the store again: {message}")
            }
            Seen::GaveUp { id, after_ms } => {
                format!("operation {id} was given up after {after_ms} ms")
            }
            Seen::Note(note) => note.clone(),
        };
        let text = strings.index(cut(&text, TEXT_MAX));
        data.notes.push((exact(observation.at_ns), text));
    }
    data.violations = judged
        .results
        .iter()
        .map(|result| {
            let indices = |ids: &Vec<u64>| {
                ids.iter()
                    .filter_map(|id| operation_at.get(id).copied())
                    .collect()
            };
            result
                .violations
                .iter()
                .map(|violation| indices(&violation.operations))
                .collect()
        })
        .collect();
    data.lanes = lanes.into_iter().collect();
    data.strings = strings.rows;
    data.kinds = kinds.rows;
    data.locks = locks.rows;
    data
}

/// The fields of a request, as JSON without the braces: `"name":"d","key":"k"`.
pub(super) fn arguments(op: &Op) -> String {
    let text = serde_json::to_string(op).unwrap_or_default();
    let name = format!("{{\"op\":\"{}\"", op.name());
    let fields = text.strip_prefix(&name).unwrap_or(&text);
    let fields = fields.strip_prefix(',').unwrap_or(fields);
    cut(fields.strip_suffix('}').unwrap_or(fields), TEXT_MAX)
}

/// Its outcome as a number, and its result or error in words.
pub(super) fn result(operation: &Operation) -> (u8, String) {
    match &operation.outcome {
        Outcome::Ok { value, .. } => (0, cut(&value.to_string(), TEXT_MAX)),
        Outcome::Fail(failure) => (1, cut(&failure.to_string(), TEXT_MAX)),
        Outcome::Info(failure) => (2, cut(&failure.to_string(), TEXT_MAX)),
    }
}

fn lock_of(op: &Op) -> Option<&LockName> {
    match op {
        Op::LockAcquire { lock, .. }
        | Op::LockRenew { lock, .. }
        | Op::LockRelease { lock }
        | Op::LockWaiting { lock } => Some(lock),
        _ => None,
    }
}

fn end_word(how: SessionEnd) -> &'static str {
    match how {
        SessionEnd::Closed => "closed",
        SessionEnd::Dropped => "dropped",
        SessionEnd::Trapped => "trapped",
        SessionEnd::Killed => "killed",
        SessionEnd::Lost => "lost",
        SessionEnd::GivenUp => "given up",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Run, fixture};
    use serde_json::Value;

    fn parsed(run: Run, max: usize) -> (Judged, Value) {
        let judged = run.condense(max);
        let value = serde_json::from_str(&embedded(&judged)).unwrap();
        (judged, value)
    }

    fn numbers(value: &Value) -> Vec<i64> {
        let all = value.as_array().unwrap().iter();
        all.map(|number| number.as_i64().unwrap()).collect()
    }

    #[test]
    fn operations_come_back_as_they_were() {
        for (run, max) in [
            (fixture::lost_update(), 100),
            (fixture::many(8, 5_000, 2), 1_000),
        ] {
            let (judged, value) = parsed(run, max);
            let rows = &value["operations"];
            let column = |name: &str| numbers(&rows[name]);
            let text = |index: i64| {
                value["strings"][index as usize]
                    .as_str()
                    .unwrap()
                    .to_owned()
            };
            let (mut id, mut at) = (0, 0);
            for (row, operation) in judged.excerpt.operations.iter().enumerate() {
                id += column_at(rows, "id", row);
                at += column_at(rows, "at", row);
                assert_eq!((id as u64, at as u64), (operation.id, operation.invoked_ns));
                let took = column_at(rows, "took", row);
                assert_eq!(
                    (took >= 0).then_some((at + took) as u64),
                    operation.completed_ns
                );
                let lane = column_at(rows, "lane", row) as usize;
                assert_eq!(value["lanes"][lane], operation.worker);
                let kind = column_at(rows, "kind", row) as usize;
                assert_eq!(value["kinds"][kind][0], operation.op.name());
                let fields = text(column_at(rows, "arguments", row));
                let comma = if fields.is_empty() { "" } else { "," };
                let op = format!("{{\"op\":\"{}\"{comma}{fields}}}", operation.op.name());
                assert_eq!(serde_json::from_str::<Op>(&op).unwrap(), operation.op);
                let shown = text(column_at(rows, "result", row));
                assert_eq!(
                    result(operation),
                    (column_at(rows, "outcome", row) as u8, shown)
                );
                let task = column_at(rows, "task", row);
                let task =
                    (task >= 0).then(|| value["tasks"]["id"][task as usize].as_u64().unwrap());
                assert_eq!(task, operation.task);
            }
            assert_eq!(column("id").len(), judged.excerpt.operations.len());
        }
    }

    fn column_at(rows: &Value, name: &str, row: usize) -> i64 {
        rows[name][row].as_i64().unwrap()
    }

    #[test]
    fn violations_point_at_their_operations() {
        let (judged, value) = parsed(fixture::many(8, 5_000, 2), 1_000);
        let ids: Vec<u64> = judged.excerpt.operations.iter().map(|op| op.id).collect();
        let named = numbers(&value["violations"][0][0]);
        let named: Vec<u64> = named.iter().map(|at| ids[*at as usize]).collect();
        assert_eq!(named, judged.results[0].violations[0].operations);
        assert!(!named.is_empty());
        let gaps: u64 = judged.excerpt.gaps.iter().map(|gap| gap.operations).sum();
        assert_eq!(gaps, judged.excerpt.left_out());
    }

    #[test]
    fn no_time_is_greater_than_a_number_of_javascript() {
        let mut run = fixture::lost_update();
        run.history.sessions[0].opened_ns = u64::MAX;
        run.history.operations[16].completed_ns = Some(u64::MAX);
        run.history.operations[16].worker = u32::MAX;
        run.history.faults[0].at_ns = u64::MAX;
        let (_, value) = parsed(run, 100);
        fn greatest(value: &Value) -> f64 {
            match value {
                Value::Number(number) => number.as_f64().unwrap().abs(),
                Value::Array(all) => all.iter().map(greatest).fold(0.0, f64::max),
                Value::Object(all) => all.values().map(greatest).fold(0.0, f64::max),
                _ => 0.0,
            }
        }
        assert!(greatest(&value) <= EXACT_MAX as f64);
        assert_eq!(value["lanes"].as_array().unwrap().len(), 4);
    }
}
