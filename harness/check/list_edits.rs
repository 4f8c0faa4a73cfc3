//! Edits and readings of a list, made under its lock or in transactions, came one after the other.
//!
//! All that a session did to the list while it held the lock, or in one transaction, is one unit; any
//! other operation is one by itself. The units must have an order that respects real time and explains
//! all readings. Without the lock, a list may be seen while somebody under the lock
//! has changed half of what it will: such readings aren't judged.
//!
//! What must stay true: nobody else changes the list without the lock while somebody holds it,
//! or nothing is said.

use super::Findings;
use super::list_state::{Change, State};
use super::search::{Found, Model, Timed, search};
use super::transactions::Transactions;
use super::units::{Unit, binding_lock, leave_out_onlookers, units};
use super::values::{Datum, Numbers};
use super::wording::{deed, list, value};
use crate::history::{History, Operation};
use crate::protocol::{LockKind, Op};
use std::cell::Cell;

/// Steps of the search, beside some for each unit.
const BUDGET: u64 = 300_000;
/// How many units a violation tells of in words.
const TOLD_MAX: usize = 6;

/// An operation of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Read(State),
    Change(Change),
}

/// A unit.
#[derive(Clone, Debug)]
struct Edit {
    steps: Vec<Step>,
    /// Where in the list of units.
    unit: usize,
}

impl PartialEq for Edit {
    fn eq(&self, other: &Self) -> bool {
        self.steps == other.steps
    }
}

/// The list.
#[derive(Default)]
struct List {
    /// An index was used of which the protocol doesn't say what it means.
    unclear: Cell<bool>,
}

impl Model for List {
    type State = State;
    type Action = Edit;

    fn initial(&self) -> State {
        State::new()
    }

    fn step(&self, state: &State, edit: &Edit) -> Option<State> {
        let mut state = state.clone();
        for step in &edit.steps {
            match step {
                Step::Read(read) if *read != state => return None,
                Step::Read(_) => {}
                Step::Change(change) => {
                    if change.is_unclear() {
                        self.unclear.set(true);
                    }
                    if !change.apply(&mut state) {
                        return None;
                    }
                }
            }
        }
        Some(state)
    }

    fn reads_only(&self, edit: &Edit) -> bool {
        edit.steps.iter().all(|step| matches!(step, Step::Read(_)))
    }
}

pub(super) fn check(history: &History, name: &str, findings: &mut Findings) {
    let wanted = |op: &Op| match op {
        Op::ListPush { name: of, .. }
        | Op::ListInsert { name: of, .. }
        | Op::ListSet { name: of, .. }
        | Op::ListDelete { name: of, .. }
        | Op::ListItems { name: of } => of == name,
        _ => false,
    };
    let lock = match binding_lock(history, (LockKind::List, name), wanted) {
        Ok(lock) => lock,
        Err(why) => return findings.unknown(why),
    };
    let transactions = Transactions::of(history);
    let mut units = units(history, &transactions, lock, wanted);
    if let Err(why) = leave_out_onlookers(&mut units) {
        return findings.unknown(why);
    }
    findings.examined(units.len() as u64);
    if units.iter().any(|unit| unit.unclear) {
        return findings.unknown(format!(
            "list {name}: a session went on after an operation without an answer"
        ));
    }
    let mut numbers = Numbers::default();
    let actions: Vec<_> = (0..units.len())
        .filter_map(|at| action(&units, at, &mut numbers))
        .collect();
    let model = List::default();
    match search(&model, &actions, BUDGET + 10 * units.len() as u64) {
        Found::Order => {}
        Found::None(_) if model.unclear.get() => findings.unknown(format!(
            "list {name}: nobody says what an index below zero means"
        )),
        Found::None(at) => tell(name, &units, &actions, at, &numbers, findings),
        Found::Unknown => findings.unknown(format!(
            "list {name}: too many possible orders of {} units",
            units.len()
        )),
    }
}

fn action<'a>(units: &[Unit<'a>], at: usize, numbers: &mut Numbers<'a>) -> Option<Timed<Edit>> {
    let unit = units.get(at)?;
    let step = |operation: &&'a Operation| match (&operation.op, operation.ok()) {
        // What was read by who perhaps didn't commit says nothing.
        (Op::ListItems { .. }, got) => {
            let items = got.filter(|_| unit.certain)?.as_array()?;
            let items = items.iter().map(|item| numbers.of(Datum::Value(item)));
            Some(Step::Read(items.collect()))
        }
        _ => Change::of(operation, numbers).map(Step::Change),
    };
    Some(Timed {
        action: Edit {
            steps: unit.steps.iter().filter_map(step).collect(),
            unit: at,
        },
        from: unit.from,
        to: unit.to,
        certain: unit.certain,
    })
}

/// Tells of the unit that can't come after those before it.
fn tell(
    name: &str,
    units: &[Unit<'_>],
    actions: &[Timed<Edit>],
    at: usize,
    numbers: &Numbers<'_>,
    findings: &mut Findings,
) {
    let Some(bad) = actions.get(at) else { return };
    let Some(unit) = units.get(bad.action.unit) else {
        return;
    };
    // What changed the list before.
    let before: Vec<&Timed<Edit>> = actions
        .iter()
        .filter(|other| other.from <= bad.to && other.action.unit != bad.action.unit)
        .filter(|other| !List::default().reads_only(&other.action))
        .collect();
    let mut last = 0;
    let in_a_row = before.iter().all(|other| {
        let after = other.from > last || last == 0;
        last = other.to;
        after && other.to < bad.from
    });
    let mut ids: Vec<u64> = Vec::new();
    let mut told: Vec<String> = Vec::new();
    for other in before.iter().rev() {
        let steps = units.get(other.action.unit).map(|unit| &unit.steps);
        for step in steps.into_iter().flatten().rev() {
            if step.op.is_write() && told.len() < TOLD_MAX {
                told.push(deed(step));
                ids.push(step.id);
            }
        }
    }
    told.reverse();
    ids.reverse();
    let expected = in_a_row.then(|| {
        let mut state = State::new();
        for step in before.iter().flat_map(|other| &other.action.steps) {
            if let Step::Change(change) = step {
                change.apply(&mut state);
            }
        }
        state
    });
    let (odd, why) = match expected.and_then(|state| first_odd(unit, &bad.action, state)) {
        Some((odd, state)) => {
            let state: Vec<_> = state
                .iter()
                .map(|item| numbers.datum(*item).to_value())
                .collect();
            let left = value(&state.into());
            (odd, format!("but those before it left {left}"))
        }
        None => {
            let read = unit.steps.iter().find(|step| !step.op.is_write());
            match read.or(unit.steps.first()) {
                Some(odd) => (*odd, "which no order of the units explains".to_owned()),
                None => return,
            }
        }
    };
    ids.extend(unit.steps.iter().map(|step| step.id));
    findings.violation(
        format!("list {name}: {}, {why}: {}", deed(odd), list(&told)),
        ids,
    );
}

/// The first operation of a unit that can't be made in this state, and what was there then.
fn first_odd<'a>(unit: &Unit<'a>, edit: &Edit, mut state: State) -> Option<(&'a Operation, State)> {
    for (operation, step) in unit.steps.iter().zip(&edit.steps) {
        let fits = match step {
            Step::Read(read) => *read == state,
            Step::Change(change) => change.apply(&mut state),
        };
        if !fits {
            return Some((operation, state));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use crate::protocol::{ErrorCode, LockKind, LockName, Op};
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use serde_json::{Value, json};

    const NULL: Value = Value::Null;

    fn push(value: i64) -> Op {
        Op::ListPush {
            name: "l".into(),
            value: value.into(),
        }
    }

    fn items() -> Op {
        Op::ListItems { name: "l".into() }
    }

    fn acquire() -> Op {
        Op::LockAcquire {
            lock: LockName::new(LockKind::List, "l"),
            timeout_ms: None,
            ttl_ms: None,
        }
    }

    fn release() -> Op {
        Op::LockRelease {
            lock: LockName::new(LockKind::List, "l"),
        }
    }

    fn new() -> (Script, u64, u64) {
        let mut script = Script::new(CheckSpec::ListEdits { name: "l".into() });
        let one = script.session(0, 0);
        let two = script.session(1, 0);
        (script, one, two)
    }

    fn judge(script: &Script) -> (Verdict, String, Vec<u64>) {
        let result = script.judge();
        let first = result.violations.into_iter().next();
        let (message, ids) =
            first.map_or_else(Default::default, |first| (first.message, first.operations));
        (
            result.verdict,
            message + &result.unknown.unwrap_or_default(),
            ids,
        )
    }

    /// Reads and pushes under the lock, from `at` to `at` + 7.
    fn edit(script: &mut Script, session: u64, at: u64, read: Value, value: i64) {
        script.ok(session, at, at + 1, acquire(), NULL);
        script.ok(session, at + 2, at + 3, items(), read);
        script.ok(session, at + 4, at + 5, push(value), NULL);
        script.ok(session, at + 6, at + 7, release(), NULL);
    }

    #[test]
    fn a_reading_is_what_the_unit_before_left() {
        let (mut script, one, two) = new();
        edit(&mut script, one, 0, json!([]), 1);
        edit(&mut script, two, 10, json!([1]), 2);
        assert_eq!(judge(&script).0, Verdict::Pass);
        edit(&mut script, one, 20, json!([1]), 3);
        let (verdict, message, ids) = judge(&script);
        assert_eq!((verdict, ids), (Verdict::Fail, vec![3, 7, 10, 11]));
        assert_eq!(
            message,
            "list l: worker 0 read [1] (operation 10, 22.000 ms to 23.000 ms), but those before it \
             left [1,2]: worker 0 pushed 1 (operation 3, 4.000 ms to 5.000 ms) and worker 1 pushed \
             2 (operation 7, 14.000 ms to 15.000 ms)"
        );
    }

    #[test]
    fn two_at_once_that_come_between_each_other_are_found() {
        let (mut script, one, two) = new();
        script.ok(one, 0, 1, acquire(), NULL);
        script.ok(one, 2, 3, items(), json!([]));
        script.ok(two, 3, 4, acquire(), NULL);
        script.ok(two, 5, 6, items(), json!([]));
        script.ok(one, 7, 8, push(1), NULL);
        script.ok(two, 9, 10, push(2), NULL);
        script.ok(one, 11, 12, release(), NULL);
        script.ok(two, 13, 14, release(), NULL);
        let (verdict, message, ids) = judge(&script);
        assert_eq!(verdict, Verdict::Fail);
        assert!(message.contains("no order of the units"), "{message}");
        assert_eq!(ids, [5, 4, 6]);
    }

    #[test]
    fn onlookers_may_see_half_of_it() {
        let (mut script, one, two) = new();
        script.ok(one, 0, 1, acquire(), NULL);
        script.ok(one, 2, 3, push(1), NULL);
        script.ok(two, 4, 5, items(), json!([1]));
        script.ok(one, 6, 7, push(2), NULL);
        script.ok(one, 8, 9, release(), NULL);
        assert_eq!(judge(&script).0, Verdict::Pass);
        script.ok(two, 14, 15, items(), json!([1]));
        assert_eq!(judge(&script).0, Verdict::Fail);
        // Who changes it meanwhile makes everything uncertain.
        let (mut script, one, two) = new();
        script.ok(one, 0, 1, acquire(), NULL);
        script.ok(one, 2, 3, push(1), NULL);
        script.ok(two, 4, 5, push(3), NULL);
        script.ok(one, 6, 7, push(2), NULL);
        script.ok(one, 8, 9, release(), NULL);
        assert_eq!(judge(&script).0, Verdict::Unknown);
    }

    #[test]
    fn what_has_no_answer_is_there_or_not() {
        for (found, verdict) in [
            (json!([1]), Verdict::Pass),
            (json!([1, 2]), Verdict::Pass),
            (json!([2, 1]), Verdict::Fail),
            (json!([2]), Verdict::Fail),
        ] {
            let (mut script, one, two) = new();
            script.ok(one, 0, 1, acquire(), NULL);
            script.ok(one, 2, 3, push(1), NULL);
            script.info(one, 4, Some(5), push(2));
            edit(&mut script, two, 10, found, 3);
            assert_eq!(judge(&script).0, verdict);
        }
    }

    #[test]
    fn a_transaction_is_a_unit_or_nothing() {
        for (commit, found, verdict) in [
            (None, json!([1, 2]), Verdict::Pass),
            (None, json!([1]), Verdict::Fail),
            (None, json!([]), Verdict::Fail),
            (Some(ErrorCode::Conflict), json!([]), Verdict::Pass),
            (Some(ErrorCode::Conflict), json!([1, 2]), Verdict::Fail),
            (Some(ErrorCode::Gone), json!([]), Verdict::Pass),
            (Some(ErrorCode::Gone), json!([1, 2]), Verdict::Pass),
            (Some(ErrorCode::Gone), json!([1]), Verdict::Fail),
        ] {
            let (mut script, one, two) = new();
            script.ok(one, 0, 1, Op::Begin, NULL);
            script.ok(one, 2, 3, push(1), NULL);
            script.ok(one, 4, 5, push(2), NULL);
            match commit {
                None => script.ok(one, 6, 7, Op::Commit, NULL),
                Some(ErrorCode::Gone) => script.info(one, 6, Some(7), Op::Commit),
                Some(error) => script.fail(one, 6, 7, Op::Commit, error),
            };
            script.ok(two, 10, 11, items(), found.clone());
            let (found_verdict, message, _) = judge(&script);
            assert_eq!(found_verdict, verdict, "{commit:?} {found} {message}");
        }
    }

    /// Units one after the other, each with some edits and a reading; `lost`: one push that was
    /// acknowledged is not made.
    fn run(seed: u64, count: u64, lost: Option<u64>) -> Script {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut script = Script::new(CheckSpec::ListEdits { name: "l".into() });
        let mut sessions: Vec<u64> = (0..3).map(|worker| script.session(worker, 0)).collect();
        let mut state: Vec<Value> = Vec::new();
        for unit in 0..count {
            let worker = rng.random_range(0..3);
            let session = sessions[worker as usize];
            let at = unit * 100;
            script.ok(session, at, at + 1, acquire(), NULL);
            script.ok(session, at + 2, at + 3, items(), state.clone());
            let value = json!(unit);
            let index = rng.random_range(0..=state.len());
            let name = "l".to_owned();
            let op = match rng.random_range(0..4) {
                _ if lost == Some(unit) => push(unit as i64),
                1 => Op::ListInsert {
                    name,
                    index: index as i64,
                    value: value.clone(),
                },
                2 if index < state.len() => Op::ListSet {
                    name,
                    index: index as i64,
                    value: value.clone(),
                },
                3 if index < state.len() => Op::ListDelete {
                    name,
                    index: index as i64,
                },
                _ => push(unit as i64),
            };
            // What has no answer might explain a loss.
            let answered = lost.is_some() || rng.random_range(0..10) > 0;
            let happens = answered && lost != Some(unit);
            if happens || (!answered && rng.random()) {
                match &op {
                    Op::ListInsert { .. } => state.insert(index, value),
                    Op::ListSet { .. } => state[index] = value,
                    Op::ListDelete { .. } => drop(state.remove(index)),
                    _ => state.push(value),
                }
            }
            if answered {
                script.ok(session, at + 4, at + 5, op, NULL);
                script.ok(session, at + 6, at + 7, release(), NULL);
            } else {
                script.info(session, at + 4, Some(at + 5), op);
                sessions[worker as usize] = script.session(worker, at + 6);
            }
        }
        script.ok(sessions[0], count * 100, count * 100 + 1, items(), state);
        script
    }

    proptest! {
        #[test]
        fn correct_edits_are_never_accused(seed: u64, count in 1_u64..40) {
            let (verdict, message, _) = judge(&run(seed, count, None));
            prop_assert_ne!(verdict, Verdict::Fail, "{}", message);
        }
    }

    /// Not all: an edit without an answer may explain what is missing.
    #[test]
    fn lost_edits_are_found() {
        let found = (0..100)
            .filter(|seed| judge(&run(*seed, 30, Some(seed % 30))).0 == Verdict::Fail)
            .count();
        assert!(found > 90, "{found}");
    }

    #[test]
    fn most_is_decided() {
        let decided = (0..100)
            .filter(|seed| judge(&run(*seed, 40, None)).0 == Verdict::Pass)
            .count();
        assert!(decided > 80, "{decided}");
    }
}
