//! What was read of a collection within one unit agrees: the part of
//! [`collection_states`](super::collection_states) that needs no certainty about what came when.
//!
//! What must stay true: a fact that the unit's own write has made old is compared with nothing newer.

use super::Findings;
use super::collection_states::{Judge, keys};
use super::documents::{HOLD, Unit, words};
use super::effects::Fate;
use super::queue_items::shown;
use crate::protocol::Op;
use serde_json::Value;
use std::collections::HashMap;

impl<'h> Judge<'_, 'h> {
    /// What was read between two of its own writes agrees; the first contradiction is reported.
    pub(super) fn unit(&self, unit: &Unit, findings: &mut Findings) {
        let mut facts = Facts::default();
        for at in &unit.operations {
            let operation = self.operation(*at);
            let effect = self.documents.effects[*at];
            let answer = operation.ok().filter(|_| effect.fate == Fate::Done);
            let fact = match (&operation.op, answer) {
                (Op::CollectionGet { key, .. }, Some(body)) => Fact::Is(key, body),
                (Op::CollectionMatch { text, .. }, Some(found)) => {
                    Fact::Matches(text, keys(found).collect())
                }
                (Op::CollectionNeighbors { key, label, .. }, Some(found)) => {
                    Fact::Leads(key, label, keys(found).collect())
                }
                (Op::CollectionIndex { key, body, .. }, Some(_)) => {
                    facts.written(key, *at, Some(body));
                    continue;
                }
                (Op::CollectionDrop { key, .. }, Some(_)) => {
                    facts.written(key, *at, Some(&Value::Null));
                    continue;
                }
                (Op::CollectionIndex { key, .. } | Op::CollectionDrop { key, .. }, None) => {
                    facts.written(key, *at, None);
                    continue;
                }
                _ => continue,
            };
            let wrong = facts.known.iter().find_map(|(known, other)| {
                let why = self.contradiction(&facts, (*known, other), (*at, &fact))?;
                Some((*known, why))
            });
            if let Some((known, why)) = wrong {
                findings.violation(
                    format!(
                        "worker {} saw in one {} of collection {:?}: {why}",
                        operation.worker, unit.kind, self.name
                    ),
                    [self.operation(known).id, operation.id],
                );
                return;
            }
            facts.known.push((*at, fact));
        }
        if let Some((why, shown)) = self.half_a_unit(unit, &facts) {
            let worker = unit.operations.first().map(|at| self.operation(*at).worker);
            findings.violation(
                format!(
                    "worker {} saw in one {} of collection {:?}: {why}",
                    worker.unwrap_or_default(),
                    unit.kind,
                    self.name
                ),
                shown.map(|at| self.operation(at).id),
            );
        }
    }

    /// Who sees a document as some unit wrote it, sees every other document that this unit wrote like that, or
    /// as somebody left it who may have written it later.
    fn half_a_unit(&self, unit: &Unit, facts: &Facts<'h>) -> Option<(String, [usize; 4])> {
        let read = facts.known.iter().filter_map(|(at, fact)| match fact {
            Fact::Is(key, body) if !facts.writes.contains_key(key) => Some((*at, *key, *body)),
            _ => None,
        });
        let read: Vec<_> = read.collect();
        for (at, key, body) in read.iter().filter(|(_, _, body)| !body.is_null()) {
            let document = self.documents.documents.get(key)?;
            let writes = document.writes().iter();
            let mut same = writes.filter(|write| write.state == Some(*body));
            let (Some(wrote), None) = (same.next(), same.next()) else {
                continue;
            };
            let Some(number) = self.documents.unit_of.get(&wrote.at) else {
                continue;
            };
            // A lock keeps no transaction from reading in the middle of what its holder writes.
            let writer = &self.documents.units[*number];
            if writer.kind == HOLD && unit.kind != HOLD {
                continue;
            }
            let written = &self.documents.unit_writes[*number];
            for (other_at, other, seen) in &read {
                let Some((with, left)) = written.get(other) else {
                    continue;
                };
                let seen_state = (!seen.is_null()).then_some(*seen);
                let effect = &self.documents.effects[*with];
                let of_other = self.documents.documents.get(other)?;
                let mut later = of_other.writes().iter();
                let explained = later.any(|write| {
                    write.state == seen_state && write.at != *with && !write.effect.precedes(effect)
                });
                if *left == seen_state || explained {
                    continue;
                }
                let worker = self.operation(wrote.at).worker;
                let why = format!(
                    "{key:?} as worker {worker} had written it, {}, but {other:?} as {} and not as {}, which the \
                     same {} had made of it",
                    shown(body),
                    shown(seen),
                    shown(left.unwrap_or(&Value::Null)),
                    writer.kind
                );
                return Some((why, [wrote.at, *with, *at, *other_at]));
            }
        }
        None
    }

    fn contradiction(
        &self,
        facts: &Facts<'h>,
        one: (usize, &Fact<'h>),
        other: (usize, &Fact<'h>),
    ) -> Option<String> {
        match (one.1, other.1) {
            (Fact::Is(key, body), Fact::Is(same, now)) => (key == same && body != now)
                .then(|| format!("{key:?} was {} and then {}", shown(body), shown(now))),
            (Fact::Is(key, body), Fact::Matches(word, found)) => {
                let current = facts.current(key, other.0);
                current.then(|| matches(key, body, word, found)).flatten()
            }
            (Fact::Matches(word, found), Fact::Is(key, body)) => {
                let current = facts.current(key, one.0);
                current.then(|| matches(key, body, word, found)).flatten()
            }
            (Fact::Is(key, body), Fact::Leads(source, label, found)) => {
                let current = facts.current(key, other.0);
                current
                    .then(|| self.leads(key, body, source, label, found))
                    .flatten()
            }
            (Fact::Leads(source, label, found), Fact::Is(key, body)) => {
                let current = facts.current(key, one.0);
                current
                    .then(|| self.leads(key, body, source, label, found))
                    .flatten()
            }
            _ => None,
        }
    }

    /// An edge leads from a document that is there to one that is there, if it was so when they were
    /// connected.
    fn leads(
        &self,
        key: &str,
        body: &Value,
        source: &str,
        label: &str,
        found: &[&str],
    ) -> Option<String> {
        if !body.is_null() {
            return None;
        }
        let targets = self.documents.connections.get(&(source, label))?;
        let target = if key == source {
            found.iter().find(|target| {
                let connections = targets.get(*target).into_iter().flatten();
                let mut connections = connections.peekable();
                connections.peek().is_some() && connections.all(|made| made.guarded.0)
            })
        } else {
            found.iter().find(|target| {
                let connections = targets.get(*target).into_iter().flatten();
                let mut connections = connections.peekable();
                **target == key
                    && connections.peek().is_some()
                    && connections.all(|made| made.guarded.1)
            })
        };
        target.map(|target| {
            format!(
                "an edge {label:?} from {source:?} to {target:?}, and that {key:?} is not there"
            )
        })
    }
}

/// A match has a document if and only if the document has the word.
fn matches(key: &str, body: &Value, word: &str, found: &[&str]) -> Option<String> {
    if word.split_whitespace().count() != 1 {
        return None;
    }
    let has = words(body).any(|known| known == word);
    let is_found = found.contains(&key);
    if has == is_found {
        return None;
    }
    let body = if body.is_null() {
        "not there".to_owned()
    } else {
        shown(body)
    };
    let found = if is_found { "found" } else { "not found" };
    Some(format!("{key:?} is {body}, and is {found} for {word:?}"))
}

/// Something that was read in a unit, or written by it.
enum Fact<'h> {
    /// This document is this, or null.
    Is(&'h str, &'h Value),
    /// This word has these documents.
    Matches(&'h str, Vec<&'h str>),
    /// From this document, edges of this label lead to these.
    Leads(&'h str, &'h str, Vec<&'h str>),
}

/// What a unit knows.
#[derive(Default)]
struct Facts<'h> {
    /// With the operations that showed it, by their places in the history.
    known: Vec<(usize, Fact<'h>)>,
    /// The unit's own last write on a document.
    writes: HashMap<&'h str, usize>,
}

impl<'h> Facts<'h> {
    /// The unit wrote this, or something that nobody knows.
    fn written(&mut self, key: &'h str, at: usize, body: Option<&'h Value>) {
        let of_it = |fact: &Fact<'_>| matches!(fact, Fact::Is(known, _) if *known == key);
        self.known.retain(|(_, fact)| !of_it(fact));
        self.writes.insert(key, at);
        if let Some(body) = body {
            self.known.push((at, Fact::Is(key, body)));
        }
    }

    /// Whether something that was read of this document at `at` is not older than the unit's own write.
    fn current(&self, key: &str, at: usize) -> bool {
        self.writes.get(key).is_none_or(|write| *write <= at)
    }
}
