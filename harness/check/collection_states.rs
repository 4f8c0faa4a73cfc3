//! Readers see documents, edges and index entries together or not at all.
//!
//! The program's contract: each body is `{"text": "<word> <word> …", "version": n}`; one of its words belongs to
//! this version of this document alone, others may be in common. `collection-match` asks for one word.
//! Documents are connected in a unit in which both have been indexed or read before (the rules that need
//! it look whether it was so).
//!
//! A *unit* is a committed transaction, or a hold of the collection's lock that certainly lasted: between its
//! operations nobody else's came. (The lock of a system without `mandatory-locks` makes a unit only if every
//! write on the collection was made under it.) Within a unit, what was read agrees:
//! - a document that is read twice is the same;
//! - a match has a document if, and only if, the body that is read has the word;
//! - a neighbour, and the document whose neighbour it is, is there;
//! - of the documents that another unit wrote, all are as it left them, or as somebody left them who may have
//!   written them later. (A transaction may read in the middle of what a lock's holder writes: what
//!   was written under the lock is judged for its later holders.)
//!
//! After a unit's own write its reader expects what it wrote, and what was read before of that
//! document no longer counts.
//!
//! For readings anywhere, if it is certain which write came last before them:
//! - a document is what was written, in `get` and in `match`, with each of its words and no others;
//! - a document that was dropped is nowhere, until it may have been indexed, or connected, again;
//! - an edge leads to its target as long as nobody may have written either end, or once it was
//!   connected.
//!
//! And whatever is read was written by somebody.
//!
//! Soundness: an operation without an answer leaves unclear which write came last, from its beginning
//! on; readings of that document outside units are then not judged.

use super::Findings;
use super::documents::{Document, Documents, Reading, words};
use super::queue_items::shown;
use crate::history::{History, Operation};
use crate::protocol::Op;
use serde_json::Value;

pub(super) fn check(history: &History, name: &str, findings: &mut Findings) {
    let documents = Documents::of(history, name);
    let judge = Judge {
        history,
        name,
        documents: &documents,
        never_written: Document::default(),
    };
    findings.examined(documents.readings.len() as u64);
    for reading in &documents.readings {
        let operation = &history.operations[reading.at];
        match &operation.op {
            Op::CollectionGet { key, .. } => judge.get(reading, key, findings),
            Op::CollectionMatch { text, .. } => judge.matched(reading, text, findings),
            Op::CollectionNeighbors { key, label, .. } => {
                judge.neighbors(reading, key, label, findings);
            }
            _ => {}
        }
    }
    for unit in documents.units.iter().filter(|unit| unit.certain) {
        judge.unit(unit, findings);
    }
}

/// A collection in its history.
pub(super) struct Judge<'a, 'h> {
    history: &'h History,
    pub(super) name: &'a str,
    pub(super) documents: &'a Documents<'h>,
    never_written: Document<'h>,
}

/// The keys of an answer.
pub(super) fn keys(answer: &Value) -> impl Iterator<Item = &str> {
    let keys = answer.as_array().map_or(&[][..], Vec::as_slice);
    keys.iter().filter_map(Value::as_str)
}

impl<'h> Judge<'_, 'h> {
    pub(super) fn operation(&self, at: usize) -> &'h Operation {
        &self.history.operations[at]
    }

    fn document(&self, key: &str) -> &Document<'h> {
        let known = self.documents.documents.get(key);
        known.unwrap_or(&self.never_written)
    }

    fn who(&self, at: usize) -> String {
        let operation = self.operation(at);
        format!(
            "worker {}'s {} in collection {:?}",
            operation.worker,
            operation.op.name(),
            self.name
        )
    }

    fn get(&self, reading: &Reading<'h>, key: &str, findings: &mut Findings) {
        let (document, id) = (self.document(key), self.operation(reading.at).id);
        let who = self.who(reading.at);
        let written = document.writes().iter();
        let mut written = written.filter(|write| write.effect.from_ns <= reading.to_ns);
        if !reading.answer.is_null() && !written.any(|write| write.state == Some(reading.answer)) {
            findings.violation(
                format!(
                    "{who} found {} as {key:?}, which nobody had written",
                    shown(reading.answer)
                ),
                [id],
            );
            return;
        }
        let Ok(Some(last)) = document.last(reading.from_ns, reading.to_ns) else {
            return;
        };
        if last.state.unwrap_or(&Value::Null) == reading.answer {
            return;
        }
        let wrote = self.operation(last.at);
        let found = match reading.answer {
            Value::Null => format!("did not find {key:?}"),
            body => format!("found {} as {key:?}", shown(body)),
        };
        let instead = match last.state {
            None => format!("worker {} had dropped it", wrote.worker),
            Some(body) => format!("worker {} had written {}", wrote.worker, shown(body)),
        };
        findings.violation(
            format!("{who} {found}, though {instead} and nobody can have changed it since"),
            [wrote.id, id],
        );
    }

    fn matched(&self, reading: &Reading<'h>, word: &str, findings: &mut Findings) {
        if word.split_whitespace().count() != 1 {
            return;
        }
        let id = self.operation(reading.at).id;
        let who = format!("{} for {word:?}", self.who(reading.at));
        for key in keys(reading.answer) {
            let document = self.document(key);
            match document.last(reading.from_ns, reading.to_ns) {
                Ok(None) => {
                    findings.violation(
                        format!("{who} found {key:?}, which nobody had written"),
                        [id],
                    );
                }
                Ok(Some(last)) => {
                    let wrote = self.operation(last.at);
                    let why = match last.state {
                        None => "had dropped",
                        Some(body) if !words(body).any(|known| known == word) => {
                            "had replaced by one without this word"
                        }
                        Some(_) => continue,
                    };
                    findings.violation(
                        format!("{who} found {key:?}, which worker {} {why}", wrote.worker),
                        [wrote.id, id],
                    );
                }
                Err(_) => {}
            }
        }
        let found: Vec<&str> = keys(reading.answer).collect();
        let candidates = self.documents.words.get(word).into_iter().flatten();
        for key in candidates.filter(|key| !found.contains(*key)) {
            if let Ok(Some(last)) = self.document(key).last(reading.from_ns, reading.to_ns)
                && let Some(body) = last.state
                && words(body).any(|known| known == word)
            {
                let wrote = self.operation(last.at);
                findings.violation(
                    format!(
                        "{who} did not find {key:?}, which worker {} had written with this word",
                        wrote.worker
                    ),
                    [wrote.id, id],
                );
            }
        }
    }

    fn neighbors(&self, reading: &Reading<'h>, source: &str, label: &str, findings: &mut Findings) {
        let id = self.operation(reading.at).id;
        let who = format!("{} of {source:?} by {label:?}", self.who(reading.at));
        let found: Vec<&str> = keys(reading.answer).collect();
        let targets = self.documents.connections.get(&(source, label));
        for target in &found {
            let connections = targets.and_then(|targets| targets.get(target));
            let mut begun = connections
                .into_iter()
                .flatten()
                .filter(|connection| connection.effect.from_ns <= reading.to_ns)
                .peekable();
            if begun.peek().is_none() {
                findings.violation(
                    format!("{who} found {target:?}, which nobody had connected"),
                    [id],
                );
                continue;
            }
            let latest = begun
                .map(|connection| connection.effect.to_ns)
                .max()
                .unwrap_or(0);
            for end in [source, *target] {
                // A document that is indexed again has none of its edges back.
                let writes = self.document(end).writes().iter();
                let drop = writes.filter(|write| write.state.is_none()).find(|write| {
                    let certain = write.effect.to_ns < reading.from_ns;
                    certain && latest < write.effect.from_ns
                });
                if let Some(drop) = drop {
                    let dropped = self.operation(drop.at);
                    findings.violation(
                        format!(
                            "{who} found {target:?}, though worker {} had dropped {end:?} and nobody can have \
                             connected them since",
                            dropped.worker
                        ),
                        [dropped.id, id],
                    );
                    break;
                }
            }
        }
        for (target, connections) in targets.into_iter().flatten() {
            if found.contains(target) {
                continue;
            }
            let made = connections.iter().rev().find(|connection| {
                let both = connection.guarded == (true, true);
                both && connection.effect.to_ns < reading.from_ns
            });
            let Some(made) = made else {
                continue;
            };
            let changed = [source, *target].into_iter().any(|end| {
                self.document(end).writes().iter().any(|write| {
                    // The transaction that connects them may have written them before.
                    let own = write.effect.transaction.is_some()
                        && write.effect.transaction == made.effect.transaction
                        && write.at < made.at;
                    let over = write.effect.to_ns < made.effect.from_ns;
                    write.effect.from_ns <= reading.to_ns && !over && !own
                })
            });
            if !changed {
                let connected = self.operation(made.at);
                findings.violation(
                    format!(
                        "{who} did not find {target:?}, though worker {} had connected them and nobody can \
                         have changed either since",
                        connected.worker
                    ),
                    [connected.id, id],
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
