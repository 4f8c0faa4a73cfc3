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
mod tests {
    use super::super::document_history::{
        body, connect, drop_it, get, index, matching, moves, neighbors, readings, simulate,
    };
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use crate::history::Outcome;
    use crate::protocol::{Capability, ErrorCode, LockKind, LockName, Op};
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::{Value, json};

    fn spec() -> CheckSpec {
        CheckSpec::CollectionStates { name: "c".into() }
    }

    fn script() -> (Script, u64, u64) {
        let mut script = Script::new(spec());
        let (a, b) = (script.session(0, 0), script.session(1, 0));
        (script, a, b)
    }

    fn fails(script: &Script, words: &str, operations: &[u64]) {
        let result = script.judge();
        assert_eq!(result.violation_count, 1, "{result:?}");
        let violation = &result.violations[0];
        assert!(violation.message.contains(words), "{}", violation.message);
        assert_eq!(violation.operations, operations, "{}", violation.message);
    }

    fn passes(script: &Script) {
        let result = script.judge();
        assert_eq!(result.verdict, Verdict::Pass, "{result:?}");
    }

    fn set(script: &mut Script, id: u64, value: Value) {
        script.history.operations[id as usize - 1].outcome = Outcome::Ok {
            value,
            commit: None,
        };
    }

    #[test]
    fn a_document_is_what_was_written_last() {
        let (mut script, a, b) = script();
        script.ok(a, 1, 2, index("k", 1), ());
        script.ok(b, 3, 9, index("k", 2), ());
        script.ok(a, 4, 5, get("k"), body("k", 1));
        let late = script.ok(a, 10, 11, get("k"), body("k", 2));
        let word = script.ok(a, 12, 13, matching("k2"), json!(["k"]));
        script.ok(a, 14, 15, matching("k1"), json!([]));
        script.ok(a, 16, 17, matching("all"), json!(["k"]));
        passes(&script);
        set(&mut script, late, body("k", 1));
        fails(&script, "and nobody can have changed it since", &[2, late]);
        set(&mut script, late, body("k", 3));
        fails(&script, "which nobody had written", &[late]);
        set(&mut script, late, body("k", 2));
        set(&mut script, word, json!([]));
        fails(
            &script,
            r#"did not find "k", which worker 1 had written with this word"#,
            &[2, word],
        );
        set(&mut script, word, json!(["k"]));
        script.ok(a, 18, 19, matching("k1"), json!(["k"]));
        fails(&script, "had replaced by one without this word", &[2, 8]);
    }

    #[test]
    fn what_nobody_knows_of_leaves_open_what_came_last() {
        let (mut script, a, b) = script();
        script.ok(a, 1, 2, index("k", 1), ());
        script.info(b, 3, Some(4), index("k", 2));
        script.ok(a, 5, 6, get("k"), body("k", 1));
        script.ok(a, 7, 8, get("k"), body("k", 2));
        script.ok(a, 9, 10, matching("k1"), json!([]));
        passes(&script);
    }

    #[test]
    fn what_was_dropped_is_nowhere() {
        let (mut script, a, b) = script();
        script.ok(a, 1, 2, index("k", 1), ());
        script.ok(a, 3, 4, index("l", 1), ());
        script.ok(a, 5, 6, connect("l", "k"), ());
        let linked = script.ok(a, 7, 8, neighbors("l"), json!(["k"]));
        let dropped = script.ok(b, 9, 10, drop_it("k"), true);
        let read = script.ok(a, 11, 12, get("k"), Value::Null);
        let word = script.ok(a, 13, 14, matching("all"), json!(["l"]));
        let edges = script.ok(a, 15, 16, neighbors("l"), json!([]));
        passes(&script);
        set(&mut script, read, body("k", 1));
        fails(&script, "though worker 1 had dropped it", &[dropped, read]);
        set(&mut script, read, Value::Null);
        set(&mut script, word, json!(["k", "l"]));
        fails(
            &script,
            r#"found "k", which worker 1 had dropped"#,
            &[dropped, word],
        );
        set(&mut script, word, json!(["l"]));
        set(&mut script, edges, json!(["k"]));
        fails(
            &script,
            r#"had dropped "k" and nobody can have connected them since"#,
            &[dropped, edges],
        );
        set(&mut script, edges, json!([]));
        set(&mut script, linked, json!(["m"]));
        fails(&script, "which nobody had connected", &[linked]);
    }

    #[test]
    fn an_edge_that_was_made_is_there() {
        let (mut script, a, b) = script();
        script.ok(a, 1, 2, Op::Begin, ());
        script.ok(a, 3, 4, index("k", 1), ());
        script.ok(a, 5, 6, index("l", 1), ());
        script.ok(a, 7, 8, connect("l", "k"), ());
        script.ok(a, 9, 10, Op::Commit, ());
        let edges = script.ok(b, 11, 12, neighbors("l"), json!(["k"]));
        passes(&script);
        set(&mut script, edges, json!([]));
        fails(
            &script,
            r#"did not find "k", though worker 0 had connected them"#,
            &[4, edges],
        );
        // Somebody may have dropped it meanwhile.
        script.history.operations.pop();
        script.info(a, 10, None, drop_it("k"));
        script.ok(b, 11, 12, neighbors("l"), json!([]));
        passes(&script);
    }

    #[test]
    fn half_of_what_another_transaction_wrote_is_found() {
        let (mut script, a, b) = script();
        let write = |script: &mut Script, at: u64, version: u64| {
            let (session, last) = (a, Op::Commit);
            script.ok(session, at, at, Op::Begin, ());
            script.ok(session, at + 1, at + 1, index("k", version), ());
            script.ok(session, at + 2, at + 2, index("l", version), ());
            script.ok(session, at + 3, at + 3, last, ())
        };
        write(&mut script, 1, 1);
        let committed = write(&mut script, 10, 2);
        // While others may write, so that nothing else is certain; and one like the first, or not.
        let writer = script.session(2, 0);
        script.ok(writer, 14, 99, index("k", 3), ());
        let other = script.session(3, 0);
        let late = script.ok(other, 15, 99, index("l", 3), ());
        unit(
            &mut script,
            b,
            20,
            &[(get("k"), body("k", 2)), (get("l"), body("l", 1))],
        );
        fails(
            &script,
            "which the same transaction had made of it",
            &[6, 7, 12, 13],
        );
        // Also if nobody heard of the commit: what is seen was committed.
        let kept = script.history.operations[committed as usize - 1]
            .outcome
            .clone();
        let gone = crate::protocol::Failure::new(ErrorCode::Gone, "");
        script.history.operations[committed as usize - 1].outcome = Outcome::Info(gone);
        fails(
            &script,
            "which the same transaction had made of it",
            &[6, 7, 12, 13],
        );
        script.history.operations[committed as usize - 1].outcome = kept;
        // The other way round: a newer one of the other is somebody else's.
        set(&mut script, 12, body("k", 3));
        set(&mut script, 13, body("l", 2));
        passes(&script);
        // It may have been written again.
        set(&mut script, 12, body("k", 2));
        set(&mut script, 13, body("l", 1));
        script.history.operations[late as usize - 1].op = index("l", 1);
        passes(&script);
        // Gone, though nobody can have dropped it.
        set(&mut script, 13, Value::Null);
        fails(&script, r#"but "l" as null"#, &[6, 7, 12, 13]);
        script.history.operations[late as usize - 1].op = drop_it("l");
        passes(&script);
    }

    /// A transaction in which these are read, one millisecond after the other.
    fn unit(script: &mut Script, session: u64, at: u64, read: &[(Op, Value)]) {
        script.ok(session, at, at, Op::Begin, ());
        for (number, (op, value)) in read.iter().enumerate() {
            let at = at + number as u64 + 1;
            script.ok(session, at, at, op.clone(), value.clone());
        }
        script.ok(session, at + 50, at + 51, Op::Commit, ());
    }

    #[test]
    fn torn_readings_in_a_transaction_are_found() {
        let cases = [
            (get("k"), body("k", 1), get("k"), body("k", 2), "and then"),
            (
                get("k"),
                body("k", 1),
                matching("k2"),
                json!(["k"]),
                "is found for",
            ),
            (
                matching("k2"),
                json!([]),
                get("k"),
                body("k", 2),
                "is not found for",
            ),
            (
                matching("all"),
                json!(["k"]),
                get("k"),
                Value::Null,
                "is not there, and is found",
            ),
            (
                neighbors("l"),
                json!(["k"]),
                get("k"),
                Value::Null,
                "and that \"k\" is not there",
            ),
            (
                get("l"),
                Value::Null,
                neighbors("l"),
                json!(["k"]),
                "and that \"l\" is not there",
            ),
        ];
        for (one, saw, other, seen, words) in cases {
            let (mut script, a, b) = script();
            script.ok(a, 1, 2, Op::Begin, ());
            script.ok(a, 3, 4, index("k", 1), ());
            script.ok(a, 5, 6, index("l", 1), ());
            script.ok(a, 7, 8, connect("l", "k"), ());
            script.ok(a, 9, 10, Op::Commit, ());
            // While others write all the time, so that nothing else is certain.
            for (at, op) in [(11, index("k", 2)), (12, drop_it("k")), (13, drop_it("l"))] {
                let writer = script.session(2, 0);
                script.ok(writer, at, 99, op, ());
            }
            unit(&mut script, b, 20, &[(one, saw), (other, seen)]);
            fails(&script, words, &[10, 11]);
            assert!(
                script.judge().violations[0]
                    .message
                    .contains("in one transaction")
            );
            // Two readings by themselves are no unit.
            let end = script.history.operations.len() - 1;
            script.history.operations[end].op = Op::Rollback;
            passes(&script);
        }
    }

    #[test]
    fn a_unit_sees_what_it_wrote() {
        let (mut script, a, _) = script();
        script.ok(a, 1, 2, Op::Begin, ());
        script.ok(a, 3, 4, matching("k1"), json!([]));
        script.ok(a, 5, 6, get("k"), Value::Null);
        script.ok(a, 7, 8, index("k", 1), ());
        script.ok(a, 9, 10, get("k"), body("k", 1));
        let word = script.ok(a, 11, 12, matching("k1"), json!(["k"]));
        script.ok(a, 13, 14, Op::Commit, ());
        passes(&script);
        set(&mut script, word, json!([]));
        fails(&script, "is not found for", &[4, word]);
    }

    #[test]
    fn a_lock_makes_a_unit_if_it_keeps_everybody_out() {
        let lock = LockName::new(LockKind::Collection, "c");
        let (mut script, a, b) = script();
        let acquire = Op::LockAcquire {
            lock: lock.clone(),
            timeout_ms: None,
            ttl_ms: None,
        };
        script.ok(a, 1, 99, index("k", 1), ());
        script.ok(b, 2, 3, acquire, ());
        script.ok(b, 4, 5, get("k"), Value::Null);
        script.ok(b, 6, 7, get("k"), body("k", 1));
        script.ok(b, 8, 9, Op::LockRelease { lock }, ());
        passes(&script);
        let capabilities = &mut script.history.header.driver.capabilities;
        capabilities.push(Capability::MandatoryLocks);
        fails(&script, "in one hold of the collection's lock", &[3, 4]);
        // Nobody writes but under the lock.
        script.history.header.driver.capabilities.clear();
        script.history.operations.remove(0);
        let result = script.judge();
        assert_eq!(result.violation_count, 2, "{result:?}");
        assert!(
            result.violations[0]
                .message
                .contains("which nobody had written")
        );
        assert!(result.violations[1].message.contains("in one hold"));
    }

    #[test]
    fn an_operation_that_failed_wrote_nothing() {
        let (mut script, a, b) = script();
        script.fail(a, 1, 2, index("k", 1), ErrorCode::Locked);
        script.ok(b, 3, 4, matching("k1"), json!([]));
        passes(&script);
        script.ok(b, 5, 6, matching("all"), json!(["k"]));
        fails(&script, "which nobody had written", &[3]);
    }

    proptest! {
        #![proptest_config(super::super::queue_history::patient())]

        #[test]
        fn correct_histories_pass(moves in moves()) {
            let result = simulate(spec(), &moves).judge();
            prop_assert_eq!(result.verdict, Verdict::Pass, "{:?}", result);
        }

        #[test]
        fn a_reading_that_is_turned_over_in_a_unit_is_found(moves in moves(), which in any::<Index>()) {
            let mut script = simulate(spec(), &moves);
            // Each unit reads a document, and matches its common word.
            let units = readings(&script);
            prop_assume!(!units.is_empty());
            let at = units[which.index(units.len())];
            let Op::CollectionGet { key, .. } = &script.history.operations[at].op else {
                unreachable!()
            };
            let key = key.clone();
            let Outcome::Ok { value: Value::Array(found), .. } =
                &mut script.history.operations[at + 1].outcome
            else {
                unreachable!()
            };
            match found.iter().position(|known| *known == key) {
                Some(place) => drop(found.remove(place)),
                None => found.push(key.clone().into()),
            }
            let result = script.judge();
            let id = at as u64 + 2;
            let found = result.violations.iter().any(|found| found.operations.contains(&id));
            prop_assert!(found, "{}: {:?}", id, result);
        }
    }
}
