//! Correct concurrent histories of a collection, for the tests of its check.
//!
//! What must stay true: a correct collection could have made each history that is made here.

use super::CheckSpec;
use super::script::Script;
use crate::history::SessionEnd;
use crate::protocol::Op;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The body of a version of a document.
pub(crate) fn body(key: &str, version: u64) -> Value {
    json!({"text": format!("{key}{version} all"), "version": version})
}

pub(crate) fn index(key: &str, version: u64) -> Op {
    Op::CollectionIndex {
        name: "c".into(),
        key: key.into(),
        body: body(key, version),
    }
}

pub(crate) fn drop_it(key: &str) -> Op {
    Op::CollectionDrop {
        name: "c".into(),
        key: key.into(),
    }
}

pub(crate) fn connect(source: &str, target: &str) -> Op {
    Op::CollectionConnect {
        name: "c".into(),
        source: source.into(),
        target: target.into(),
        label: "next".into(),
    }
}

pub(crate) fn get(key: &str) -> Op {
    Op::CollectionGet {
        name: "c".into(),
        key: key.into(),
    }
}

pub(crate) fn matching(text: &str) -> Op {
    Op::CollectionMatch {
        name: "c".into(),
        text: text.into(),
    }
}

pub(crate) fn neighbors(key: &str) -> Op {
    Op::CollectionNeighbors {
        name: "c".into(),
        key: key.into(),
        label: "next".into(),
    }
}

const KEYS: [&str; 3] = ["k", "l", "m"];

/// What happens next in a simulation.
#[derive(Clone, Copy, Debug)]
enum Act {
    Index(u8),
    Drop(u8),
    /// Indexes two and connects them, as one transaction.
    Connect(u8, u8),
    Get(u8),
    Match(u8),
    Neighbors(u8),
    /// Reads a document, what has the common word, and neighbours, as one transaction.
    Unit(u8, u8),
}

/// One act, how wide its interval is, and whether it has an answer, and if not, whether it happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    act: Act,
    before: u8,
    after: u8,
    answered: bool,
    happened: bool,
}

/// Moves of a simulation.
pub(crate) fn moves() -> impl Strategy<Value = Vec<Move>> {
    let key = || 0_u8..3;
    let act = prop_oneof![
        4 => key().prop_map(Act::Index),
        2 => key().prop_map(Act::Drop),
        3 => (key(), key()).prop_map(|(source, target)| Act::Connect(source, target)),
        2 => key().prop_map(Act::Get),
        2 => key().prop_map(Act::Match),
        2 => key().prop_map(Act::Neighbors),
        4 => (key(), key()).prop_map(|(read, from)| Act::Unit(read, from)),
    ];
    let one = (
        act,
        any::<u8>(),
        any::<u8>(),
        prop::bool::weighted(0.95),
        any::<bool>(),
    );
    let one = one.prop_map(|(act, before, after, answered, happened)| Move {
        act,
        before,
        after,
        answered,
        happened,
    });
    prop::collection::vec(one, 1..50)
}

/// The collection itself.
#[derive(Clone, Default)]
struct Collection {
    documents: BTreeMap<&'static str, u64>,
    edges: BTreeSet<(&'static str, &'static str)>,
}

impl Collection {
    fn read(&self, key: &str) -> Value {
        let version = self.documents.get(key);
        version.map_or(Value::Null, |version| body(key, *version))
    }

    fn neighbors(&self, key: &str) -> Value {
        let edges = self.edges.iter().filter(|(source, _)| *source == key);
        edges.map(|(_, target)| *target).collect()
    }

    fn matching(&self, word: &str) -> Value {
        let documents = self.documents.iter();
        let found =
            documents.filter(|(key, version)| word == "all" || word == format!("{key}{version}"));
        found.map(|(key, _)| *key).collect()
    }
}

const PACE: u64 = 100;
const SPREAD: u64 = 4;

/// Simulates the moves, each by a session of its own, to be judged by `check`.
pub(crate) fn simulate(check: CheckSpec, moves: &[Move]) -> Script {
    let mut now = Collection::default();
    let mut version = 0;
    // Who, from, to, what, and the answer.
    let mut lines: Vec<(usize, u64, u64, Op, Option<Value>)> = Vec::new();
    for (number, one) in moves.iter().enumerate() {
        let at = (number as u64 + 10) * PACE;
        let from = at - u64::from(one.before) * SPREAD * PACE / 256;
        let to = at + u64::from(one.after) * SPREAD * PACE / 256;
        let key = |key: u8| KEYS[usize::from(key)];
        let kept = now.clone();
        // As one transaction: in the time before `at`, in which nothing else happens.
        let mut transaction = |operations: Vec<(Op, Value)>, answered: bool| {
            lines.push((
                number,
                from.min(at - 60),
                at - 58,
                Op::Begin,
                Some(Value::Null),
            ));
            for (place, (op, value)) in operations.into_iter().enumerate() {
                let begun = at - 56 + 4 * place as u64;
                lines.push((number, begun, begun + 2, op, Some(value)));
            }
            let committed = answered.then_some(Value::Null);
            lines.push((number, at - 4, to, Op::Commit, committed));
        };
        let (op, answer) = match one.act {
            Act::Index(which) => {
                version += 1;
                now.documents.insert(key(which), version);
                (index(key(which), version), Value::Null)
            }
            Act::Drop(which) => {
                let which = key(which);
                let there = now.documents.remove(which).is_some();
                now.edges
                    .retain(|(source, target)| *source != which && *target != which);
                (drop_it(which), there.into())
            }
            Act::Get(which) => (get(key(which)), now.read(key(which))),
            Act::Match(which) => {
                let word = match now.documents.get(key(which)) {
                    Some(version) => format!("{}{version}", key(which)),
                    None => "all".to_owned(),
                };
                (matching(&word), now.matching(&word))
            }
            Act::Neighbors(which) => (neighbors(key(which)), now.neighbors(key(which))),
            Act::Connect(source, target) => {
                let (source, target) = (key(source), key(target));
                version += 2;
                now.documents.insert(source, version - 1);
                now.documents.insert(target, version);
                now.edges.insert((source, target));
                let operations = [
                    index(source, version - 1),
                    index(target, version),
                    connect(source, target),
                ];
                let operations = operations.map(|op| (op, Value::Null)).into();
                transaction(operations, one.answered);
                if !one.answered && !one.happened {
                    now = kept;
                }
                continue;
            }
            Act::Unit(read, from) => {
                let (read, from) = (key(read), key(from));
                let operations = vec![
                    (get(read), now.read(read)),
                    (matching("all"), now.matching("all")),
                    (neighbors(from), now.neighbors(from)),
                    (get(from), now.read(from)),
                ];
                transaction(operations, true);
                continue;
            }
        };
        if !one.answered && !one.happened {
            now = kept;
        }
        lines.push((number, from, to, op, one.answered.then_some(answer)));
    }
    let mut script = Script::new(check);
    let sessions = (0..moves.len()).map(|who| script.session(who as u32, 0));
    let sessions: Vec<u64> = sessions.collect();
    lines.sort_by_key(|line| line.1);
    for (who, from, to, op, answer) in lines {
        match answer {
            Some(value) => {
                script.ok(sessions[who], from, to, op, value);
            }
            None => {
                script.info(sessions[who], from, None, op);
                script.over(sessions[who], to, SessionEnd::Killed);
            }
        }
    }
    script
}

/// The first readings of units, as places in the history; the next is the match of the common word.
pub(crate) fn readings(script: &Script) -> Vec<usize> {
    let operations = &script.history.operations;
    let pairs = operations.windows(2).enumerate();
    pairs
        .filter(|(_, pair)| {
            pair[0].session == pair[1].session
                && matches!(pair[0].op, Op::CollectionGet { .. })
                && matches!(pair[1].op, Op::CollectionMatch { .. })
        })
        .map(|(at, _)| at)
        .collect()
}
