//! What was done to a manager, in units that nothing may come between: transactions, and what was
//! done while a lock was held.
//!
//! What must stay true:
//! - What was done in a transaction that was undone is in no unit.
//! - A unit is certain as a whole or not at all. An operation without an answer is a unit by
//!   itself that isn't certain: it may come late, if nothing keeps it from that. A
//!   transaction of which nobody knows whether it was committed is one, too.
//! - Where that isn't the whole truth (a session went on after an operation without an answer, so that it
//!   may lie in the middle of the unit), the unit is `unclear`.

use super::transactions::{Fate, Place, Transactions};
use crate::history::{History, Operation};
use crate::protocol::{LockKind, LockName, Op};
use std::collections::HashMap;

/// What holds a unit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// A transaction.
    Transaction,
    /// A lock.
    Lock,
    /// It is one operation, made without either.
    Alone,
}

/// What nothing may come between.
#[derive(Clone, Debug)]
pub(super) struct Unit<'a> {
    /// What holds it together.
    pub(super) guard: Guard,
    /// What was done, in order.
    pub(super) steps: Vec<&'a Operation>,
    /// Not before this.
    pub(super) from: u64,
    /// All was done by then; the end of time if it isn't certain.
    pub(super) to: u64,
    /// Whether it happened.
    pub(super) certain: bool,
    /// See above.
    pub(super) unclear: bool,
    /// An operation without an answer was made in it.
    doubt: bool,
}

impl<'a> Unit<'a> {
    fn new(guard: Guard, from: u64, certain: bool) -> Self {
        Self {
            guard,
            steps: Vec::new(),
            from,
            to: if certain { 0 } else { u64::MAX },
            certain,
            unclear: false,
            doubt: false,
        }
    }

    fn push(&mut self, step: &'a Operation, to: u64) {
        self.steps.push(step);
        self.to = self.to.max(to);
        self.unclear |= self.doubt;
    }

    /// How many operations in it change something.
    pub(super) fn writes(&self) -> usize {
        let writes = self.steps.iter().filter(|step| step.op.is_write());
        writes.count()
    }

    /// Whether others may see it half done: it is held together by a lock only.
    fn is_in_steps(&self) -> bool {
        self.guard == Guard::Lock && self.writes() > 1
    }
}

/// The units of the operations that `wanted` picks, in the order in which they began. `lock` makes
/// units; other locks don't.
pub(super) fn units<'a>(
    history: &'a History,
    transactions: &Transactions,
    lock: Option<&LockName>,
    wanted: impl Fn(&Op) -> bool,
) -> Vec<Unit<'a>> {
    let mut units: Vec<Unit<'a>> = Vec::new();
    // Who holds the lock, and the unit made under it so far.
    let mut held: HashMap<u64, Option<usize>> = HashMap::new();
    let mut of_transaction: HashMap<u32, usize> = HashMap::new();
    let add = |units: &mut Vec<Unit<'a>>, guard, from, certain| {
        units.push(Unit::new(guard, from, certain));
        units.len() - 1
    };
    for (at, operation) in history.operations.iter().enumerate() {
        match &operation.op {
            Op::LockAcquire { lock: of, .. } if lock == Some(of) && operation.ok().is_some() => {
                held.insert(operation.session, None);
                continue;
            }
            // Also if that fails: then it was lost before.
            Op::LockRelease { lock: of } if lock == Some(of) => {
                held.remove(&operation.session);
                continue;
            }
            op if !wanted(op) || !operation.may_have_happened() => continue,
            // What was read without an answer says nothing.
            op if operation.is_info() && !op.is_write() => continue,
            _ => {}
        }
        let place = transactions.place(at);
        let (number, own) = match place {
            Place::In(number) => (Some(number), transactions.get(number)),
            _ => (None, None),
        };
        if own.is_some_and(|own| own.fate == Fate::Undone) {
            continue;
        }
        let in_doubt = own.is_some_and(|own| own.fate == Fate::Unknown);
        let from = own.map_or(operation.invoked_ns, |own| own.begun_ns);
        let to = own.map_or(operation.latest_ns(), |own| own.ended_ns);
        let by_lock = held.get_mut(&operation.session);
        // The unit that it belongs to, if that is certain.
        let unit = match (by_lock, number) {
            (Some(known), _) if !in_doubt => {
                let unit = known.unwrap_or_else(|| add(&mut units, Guard::Lock, from, true));
                *known = Some(unit);
                Some(unit)
            }
            (_, Some(number)) => {
                let known = of_transaction.entry(number);
                let unit = *known.or_insert_with(|| {
                    let from = own.map_or(from, |own| if in_doubt { own.commit_ns } else { from });
                    add(&mut units, Guard::Transaction, from, !in_doubt)
                });
                Some(unit)
            }
            (None, None) => None,
            (Some(_), None) => None,
        };
        let unsure = operation.is_info() || place == Place::Unsure;
        let parent = unit.and_then(|unit| units.get_mut(unit));
        let guard = parent.as_ref().map_or(Guard::Alone, |unit| unit.guard);
        match parent {
            Some(unit) if !unsure => unit.push(operation, to),
            _ => {
                if let Some(unit) = parent {
                    unit.doubt = true;
                    // In a transaction it comes with all else of it.
                    unit.unclear |= unit.guard == Guard::Transaction;
                }
                let alone = add(&mut units, guard, operation.invoked_ns, !unsure);
                if let Some(unit) = units.get_mut(alone) {
                    unit.push(operation, to);
                }
            }
        }
    }
    units.retain(|unit| !unit.steps.is_empty());
    units.sort_by_key(|unit| unit.from);
    units
}

/// Takes out what may have seen a unit under a lock half done: who only reads, without the lock. Writes
/// without the lock at the same time are an error, as then nothing is certain.
pub(super) fn leave_out_onlookers(units: &mut Vec<Unit<'_>>) -> Result<(), String> {
    let mut busy: Vec<(u64, u64)> = units
        .iter()
        .filter(|unit| unit.is_in_steps())
        .map(|unit| (unit.from, unit.to))
        .collect();
    // In the order of their begins; the latest end so far.
    let mut latest = 0;
    for (_, to) in &mut busy {
        latest = latest.max(*to);
        *to = latest;
    }
    let overlaps = |unit: &Unit<'_>| {
        let begun = busy.partition_point(|(from, _)| *from <= unit.to);
        let last = begun.checked_sub(1).and_then(|at| busy.get(at));
        last.is_some_and(|(_, to)| *to >= unit.from)
    };
    let mut trouble = None;
    units.retain(|unit| {
        if unit.guard == Guard::Lock || !overlaps(unit) {
            return true;
        }
        if unit.certain && unit.writes() > 0 {
            trouble = unit.steps.first().map(|step| super::wording::deed_at(step));
        }
        unit.writes() > 0
    });
    match trouble {
        Some(deed) => Err(format!("{deed} without the lock, while others held it")),
        None => Ok(()),
    }
}

/// The lock that makes units of what is done to a manager: its own, if anybody takes that; otherwise
/// the one that all take who work with it under a lock.
///
/// # Errors
/// They take several.
pub(super) fn binding_lock<'a>(
    history: &'a History,
    own: (LockKind, &str),
    wanted: impl Fn(&Op) -> bool,
) -> Result<Option<&'a LockName>, String> {
    let mut held: HashMap<u64, Vec<&LockName>> = HashMap::new();
    let mut common: Option<Vec<&LockName>> = None;
    for operation in &history.operations {
        match &operation.op {
            Op::LockAcquire { lock, .. } if operation.ok().is_some() => {
                if lock.kind == own.0 && lock.name == own.1 {
                    return Ok(Some(lock));
                }
                held.entry(operation.session).or_default().push(lock);
            }
            Op::LockRelease { lock } => {
                if let Some(held) = held.get_mut(&operation.session) {
                    held.retain(|other| *other != lock);
                }
            }
            op if wanted(op) => {
                let now = held.get(&operation.session);
                if let Some(now) = now.filter(|now| !now.is_empty()) {
                    let common = common.get_or_insert_with(|| now.clone());
                    common.retain(|lock| now.contains(lock));
                }
            }
            _ => {}
        }
    }
    match common {
        None => Ok(None),
        Some(common) => match common.first() {
            Some(lock) => Ok(Some(lock)),
            None => Err(format!(
                "those who work with {} don't all take the same lock",
                own.1
            )),
        },
    }
}
