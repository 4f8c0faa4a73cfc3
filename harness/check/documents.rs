//! What happened to the documents of a collection: writes, connections, readings, with their
//! transactions and locks taken into account.
//!
//! What must stay true: a write, connection or reading of the collection is here if it may have
//! happened; a unit's operations were all made in one transaction that was or may have been committed, or under the collection's lock
//! while its holder certainly held it.

use super::effects::{Effect, Fate, effects};
use super::held_by_others::certainly_lasts;
use crate::history::{History, Operation};
use crate::protocol::{Capability, LockKind, LockName, Op};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a write leaves: a body, or nothing.
pub(super) type State<'h> = Option<&'h Value>;

/// An index or drop that may have happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write<'h> {
    /// Its place in the history.
    pub(super) at: usize,
    /// Whether and when.
    pub(super) effect: Effect,
    /// What it left.
    pub(super) state: State<'h>,
}

/// All writes on one document, in the order of their beginnings.
#[derive(Debug, Default)]
pub(super) struct Document<'h> {
    writes: Vec<Write<'h>>,
    /// For each write, the latest end up to it.
    ends: Vec<u64>,
}

impl<'h> Document<'h> {
    /// Another, which begins later than those before.
    fn add(&mut self, write: Write<'h>) {
        // In one transaction only the last counts.
        if let Some(last) = self.writes.last_mut()
            && last.effect.transaction.is_some()
            && last.effect.transaction == write.effect.transaction
            && last.effect.fate == write.effect.fate
        {
            *last = write;
            return;
        }
        let end = self.ends.last().copied().unwrap_or(0);
        self.ends.push(end.max(write.effect.to_ns));
        self.writes.push(write);
    }

    /// The write that certainly is the last before a reading in this time: nothing else can have come
    /// between or meanwhile. `Ok(None)`: nobody can have written anything.
    pub(super) fn last(&self, from_ns: u64, to_ns: u64) -> Result<Option<&Write<'h>>, Unclear> {
        let begun = self
            .writes
            .partition_point(|write| write.effect.from_ns <= to_ns);
        let Some(last) = begun.checked_sub(1) else {
            return Ok(None);
        };
        let write = &self.writes[last];
        let done = write.effect.fate == Fate::Done && write.effect.to_ns < from_ns;
        let before = last.checked_sub(1).map_or(0, |before| self.ends[before]);
        let alone = last == 0 || before < write.effect.from_ns;
        if done && alone {
            Ok(Some(write))
        } else {
            Err(Unclear)
        }
    }

    /// All of them.
    pub(super) fn writes(&self) -> &[Write<'h>] {
        &self.writes
    }
}

/// It depends on what nobody knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unclear;

/// A connection that may have been made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    /// Its place in the history.
    pub(super) at: usize,
    /// Whether and when.
    pub(super) effect: Effect,
    /// Whether it was made in a unit in which the source, and the target, had certainly been.
    pub(super) guarded: (bool, bool),
}

/// A reading that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'h> {
    /// Its place in the history.
    pub(super) at: usize,
    /// When it looked: not before this moment,
    pub(super) from_ns: u64,
    /// and not after this one.
    pub(super) to_ns: u64,
    /// What it said.
    pub(super) answer: &'h Value,
}

/// The kinds of units, in words.
pub(super) const TRANSACTION: &str = "transaction";
/// See [`TRANSACTION`].
pub(super) const HOLD: &str = "hold of the collection's lock";

/// Operations between which nobody else's came.
#[derive(Debug)]
pub(super) struct Unit {
    /// [`TRANSACTION`] or [`HOLD`].
    pub(super) kind: &'static str,
    /// Whether it took effect.
    pub(super) certain: bool,
    /// Their places in the history, in order.
    pub(super) operations: Vec<usize>,
}

/// All that is known about a collection.
#[derive(Debug, Default)]
pub(super) struct Documents<'h> {
    /// By key.
    pub(super) documents: HashMap<&'h str, Document<'h>>,
    /// By source and label, then by target.
    pub(super) connections: HashMap<(&'h str, &'h str), BTreeMap<&'h str, Vec<Connection>>>,
    /// For each word, the keys that some version of had it.
    pub(super) words: HashMap<&'h str, BTreeSet<&'h str>>,
    /// In the order of their invocations.
    pub(super) readings: Vec<Reading<'h>>,
    /// In the order of their first operations.
    pub(super) units: Vec<Unit>,
    /// For each unit, the last write on each document, if it was answered: its place in the history and what
    /// it left.
    pub(super) unit_writes: Vec<HashMap<&'h str, (usize, State<'h>)>>,
    /// The unit of a write, by its place in the history; of two the transaction.
    pub(super) unit_of: HashMap<usize, usize>,
    /// Of each operation of the history.
    pub(super) effects: Vec<Effect>,
}

/// The words of a document.
pub(super) fn words(body: &Value) -> impl Iterator<Item = &str> {
    let text = body.get("text").and_then(Value::as_str);
    text.unwrap_or_default().split_whitespace()
}

/// The name of the collection that an operation is on.
fn collection(op: &Op) -> Option<&str> {
    match op {
        Op::CollectionIndex { name, .. }
        | Op::CollectionGet { name, .. }
        | Op::CollectionDrop { name, .. }
        | Op::CollectionConnect { name, .. }
        | Op::CollectionNeighbors { name, .. }
        | Op::CollectionMatch { name, .. } => Some(name),
        _ => None,
    }
}

impl<'h> Documents<'h> {
    /// What the history says about the collection `name`.
    pub(super) fn of(history: &'h History, name: &str) -> Self {
        let effects = effects(history);
        let mut all = Self {
            units: units(history, &effects, name),
            effects,
            ..Self::default()
        };
        all.enter_unit_writes(history);
        let guarded = all.guarded(history);
        let mut writes: Vec<(&'h str, Write<'h>)> = Vec::new();
        for (at, operation) in history.operations.iter().enumerate() {
            let effect = all.effects[at];
            if collection(&operation.op) != Some(name) {
                continue;
            }
            match &operation.op {
                Op::CollectionIndex { key, body, .. } if effect.may_be() => {
                    for word in words(body) {
                        all.words.entry(word).or_default().insert(key);
                    }
                    let state = Some(body);
                    writes.push((key, Write { at, effect, state }));
                }
                Op::CollectionDrop { key, .. } if effect.may_be() => {
                    let state = None;
                    writes.push((key, Write { at, effect, state }));
                }
                Op::CollectionConnect {
                    source,
                    target,
                    label,
                    ..
                } if effect.may_be() => {
                    let guarded = guarded.get(&at).copied().unwrap_or_default();
                    let from = (source.as_str(), label.as_str());
                    let targets = all.connections.entry(from).or_default();
                    targets.entry(target).or_default().push(Connection {
                        at,
                        effect,
                        guarded,
                    });
                }
                Op::CollectionGet { .. }
                | Op::CollectionNeighbors { .. }
                | Op::CollectionMatch { .. } => {
                    if let Some(answer) = operation.ok()
                        && effect.fate == Fate::Done
                    {
                        all.readings.push(Reading {
                            at,
                            from_ns: effect.from_ns,
                            to_ns: effect.to_ns,
                            answer,
                        });
                    }
                }
                _ => {}
            }
        }
        writes.sort_by_key(|(_, write)| write.effect.from_ns);
        for (key, write) in writes {
            all.documents.entry(key).or_default().add(write);
        }
        all
    }

    fn enter_unit_writes(&mut self, history: &'h History) {
        for (number, unit) in self.units.iter().enumerate() {
            let mut writes = HashMap::new();
            for at in &unit.operations {
                let operation = &history.operations[*at];
                let (key, state) = match &operation.op {
                    Op::CollectionIndex { key, body, .. } => (key.as_str(), Some(body)),
                    Op::CollectionDrop { key, .. } => (key.as_str(), None),
                    _ => continue,
                };
                if operation.ok().is_some() {
                    writes.insert(key, (*at, state));
                    if unit.kind == TRANSACTION {
                        self.unit_of.insert(*at, number);
                    } else {
                        self.unit_of.entry(*at).or_insert(number);
                    }
                } else if operation.may_have_happened() {
                    writes.remove(key);
                }
            }
            self.unit_writes.push(writes);
        }
    }

    /// For each connection in a unit, whether its ends had been indexed or seen there before.
    fn guarded(&self, history: &History) -> HashMap<usize, (bool, bool)> {
        let mut guarded = HashMap::new();
        for unit in &self.units {
            let mut there: BTreeSet<&str> = BTreeSet::new();
            for at in &unit.operations {
                let operation = &history.operations[*at];
                match &operation.op {
                    Op::CollectionIndex { key, .. } if operation.ok().is_some() => {
                        there.insert(key);
                    }
                    Op::CollectionGet { key, .. }
                        if operation.ok().is_some_and(|body| !body.is_null()) =>
                    {
                        there.insert(key);
                    }
                    Op::CollectionDrop { key, .. } if operation.may_have_happened() => {
                        there.remove(key.as_str());
                    }
                    Op::CollectionConnect { source, target, .. } => {
                        let ends = (
                            there.contains(source.as_str()),
                            there.contains(target.as_str()),
                        );
                        guarded.insert(*at, ends);
                    }
                    _ => {}
                }
            }
        }
        guarded
    }
}

/// The transactions that may have been committed, and the holds of the collection's lock if these keep everybody else
/// out.
fn units(history: &History, effects: &[Effect], name: &str) -> Vec<Unit> {
    let mut transactions: HashMap<usize, Unit> = HashMap::new();
    let lock = LockName::new(LockKind::Collection, name);
    let mut held: HashMap<u64, (&Operation, Vec<usize>)> = HashMap::new();
    let mut holds: Vec<Unit> = Vec::new();
    let mut under_lock: Vec<bool> = vec![false; history.operations.len()];
    let fencing = history.header.driver.offers(Capability::Fencing);
    let ours = |operation: &Operation| collection(&operation.op) == Some(name);
    for (at, (operation, effect)) in history.operations.iter().zip(effects).enumerate() {
        if let Some(transaction) = effect.transaction
            && effect.may_be()
            && ours(operation)
        {
            let unit = transactions.entry(transaction).or_insert_with(|| Unit {
                kind: TRANSACTION,
                certain: false,
                operations: Vec::new(),
            });
            unit.certain |= effect.fate == Fate::Done;
            unit.operations.push(at);
        }
        match &operation.op {
            Op::LockAcquire { lock: of, .. } if *of == lock => {
                held.remove(&operation.session);
                if operation.ok().is_some() {
                    held.insert(operation.session, (operation, Vec::new()));
                }
            }
            Op::LockRelease { lock: of } if *of == lock => {
                let Some((acquire, operations)) = held.remove(&operation.session) else {
                    continue;
                };
                let Op::LockAcquire { ttl_ms, .. } = &acquire.op else {
                    continue;
                };
                let lasted = certainly_lasts(*ttl_ms, acquire.invoked_ns, operation.latest_ns());
                if operation.ok().is_some() && (fencing || lasted) {
                    for at in &operations {
                        under_lock[*at] = true;
                    }
                    holds.push(Unit {
                        kind: HOLD,
                        certain: true,
                        operations,
                    });
                }
            }
            _ if ours(operation) && effect.may_be() => {
                if let Some((_, operations)) = held.get_mut(&operation.session) {
                    operations.push(at);
                }
            }
            _ => {}
        }
    }
    // An advisory lock keeps out those who take it.
    let mandatory = history.header.driver.offers(Capability::MandatoryLocks);
    let written = history.operations.iter().zip(effects).zip(&under_lock);
    let mut written = written.filter(|((operation, effect), _)| {
        ours(operation) && operation.op.is_write() && effect.may_be()
    });
    let keeps_out =
        mandatory || written.all(|((_, effect), under)| *under && effect.fate == Fate::Done);
    let mut units: Vec<Unit> = transactions.into_values().collect();
    if keeps_out {
        units.extend(holds);
    }
    units.retain(|unit| unit.operations.len() > 1);
    units.sort_by_key(|unit| unit.operations.first().copied());
    units
}
