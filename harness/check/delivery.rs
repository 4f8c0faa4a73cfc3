//! What a log and a channel promise alike: no loss, no duplicate, one order.
//!
//! The program's contract: the values are distinct. Then
//! - whatever is seen was appended, by an append that happened or may have, and not only later;
//! - no reading has a value twice, and no follower is delivered one twice;
//! - no value stands before another whose append was over before its own began;
//! - all readings and followers agree on one order;
//! - a reading has all that was certainly there when it began: what had been appended for certain, or seen by
//!   somebody;
//! - a follower is not delivered what was there before it followed; and from the first value that
//!   it is delivered, or from when it followed, on, it is delivered everything, up to the last value, or
//!   up to when a `…-next` ended in `timeout`. What lies between is certain by times, or
//!   by where it stands in the longest sequence. Where an answer of its own was lost, its values
//!   before and after are looked at apart; so of a follower that died, only what it was
//!   delivered counts.
//!
//! Nothing is said about where a value stands whose append overlapped others'.

use super::Findings;
use super::one_order::{Before, contradiction};
use super::queue_items::shown;
use super::streams::{Entry, Seen, Sequence, Stream};
use crate::history::{History, Operation};

/// How a log's or a channel's things are called.
pub(super) struct Words<'a> {
    /// Such as `log "l"`.
    pub(super) stream: String,
    /// Such as `appended`.
    pub(super) appended: &'a str,
}

pub(super) fn check(
    history: &History,
    stream: &Stream<'_>,
    words: &Words<'_>,
    findings: &mut Findings,
) {
    findings.examined(stream.operations);
    let judge = Judge {
        history,
        stream,
        words,
    };
    for at in &stream.malformed {
        let operation = &history.operations[*at];
        let answer = operation.ok().map(shown).unwrap_or_default();
        let (name, worker) = (operation.op.name(), operation.worker);
        findings.violation(
            format!(
                "worker {worker}'s {name} was answered with {answer}, which is no list of values"
            ),
            [operation.id],
        );
    }
    judge.nothing_from_nowhere(findings);
    for sequence in &stream.sequences {
        judge.nothing_twice(sequence, findings);
        judge.real_time(sequence, findings);
    }
    let mut entries = stream.entries.iter();
    if stream.sequences.is_empty() && entries.any(|entry| entry.done().is_some()) {
        findings.unknown(format!("nobody read or followed {}", words.stream));
    }
    judge.one_order(findings);
    judge.readings_are_whole(findings);
    judge.followers_miss_nothing(findings);
}

/// A stream in its history.
pub(super) struct Judge<'a, 'h> {
    pub(super) history: &'h History,
    pub(super) stream: &'a Stream<'h>,
    pub(super) words: &'a Words<'a>,
}

impl<'h> Judge<'_, 'h> {
    pub(super) fn operation(&self, at: usize) -> &'h Operation {
        &self.history.operations[at]
    }

    pub(super) fn entry(&self, seen: &Seen) -> &Entry<'h> {
        &self.stream.entries[seen.entry]
    }

    pub(super) fn value(&self, seen: &Seen) -> String {
        shown(self.entry(seen).value)
    }

    /// Who read or followed, in words.
    pub(super) fn who(&self, sequence: &Sequence) -> String {
        let operation = self.operation(sequence.at);
        let kind = if sequence.parts.is_none() {
            "reading"
        } else {
            "follower"
        };
        format!(
            "worker {}'s {kind} of {}",
            operation.worker, self.words.stream
        )
    }

    fn nothing_from_nowhere(&self, findings: &mut Findings) {
        let (appended, of) = (self.words.appended, &self.words.stream);
        // The first time that each is seen.
        let mut first: Vec<Option<&Seen>> = vec![None; self.stream.entries.len()];
        for seen in self
            .stream
            .sequences
            .iter()
            .flat_map(|sequence| &sequence.seen)
        {
            let known = &mut first[seen.entry];
            let end = |seen: &Seen| self.operation(seen.at).latest_ns();
            if known.is_none_or(|known| end(seen) < end(known)) {
                *known = Some(seen);
            }
        }
        for seen in first.into_iter().flatten() {
            let reader = self.operation(seen.at);
            let who = format!("worker {} saw {} in {of}", reader.worker, self.value(seen));
            let entry = self.entry(seen);
            let mut possible = entry.possible().peekable();
            if possible.peek().is_none() {
                match entry.appends.first() {
                    None => {
                        findings.violation(format!("{who}, which nobody {appended}"), [reader.id]);
                    }
                    Some((at, _)) => {
                        let append = self.operation(*at);
                        let why = if append.ok().is_some() {
                            format!("which was {appended} in a transaction that was undone")
                        } else {
                            format!("whose {} had failed", append.op.name())
                        };
                        findings.violation(
                            format!("{who}, {why} (worker {})", append.worker),
                            [append.id, reader.id],
                        );
                    }
                }
            } else {
                let mut appends = possible.map(|(at, _)| self.operation(at));
                let end = reader.latest_ns();
                if let Some(append) = appends.next()
                    && append.invoked_ns > end
                    && appends.all(|append| append.invoked_ns > end)
                {
                    findings.violation(
                        format!("{who} before it was {appended} by worker {}", append.worker),
                        [reader.id, append.id],
                    );
                }
            }
        }
    }

    fn nothing_twice(&self, sequence: &Sequence, findings: &mut Findings) {
        let mut entries: Vec<Seen> = sequence.seen.clone();
        entries.sort_by_key(|seen| seen.entry);
        for same in entries.chunk_by(|a, b| a.entry == b.entry) {
            let [first, second, ..] = same else {
                continue;
            };
            let appends = self.entry(first).possible().count().max(1);
            if same.len() <= appends {
                continue;
            }
            let mut ids = vec![self.operation(first.at).id, self.operation(second.at).id];
            ids.dedup();
            findings.violation(
                format!(
                    "{} has {} {} times, though it was {} once",
                    self.who(sequence),
                    self.value(first),
                    same.len(),
                    self.words.appended
                ),
                ids,
            );
        }
    }

    fn real_time(&self, sequence: &Sequence, findings: &mut Findings) {
        // Of those before, the one whose append began last.
        let mut latest: Option<(u64, Seen)> = None;
        for seen in &sequence.seen {
            let Some((_, effect)) = self.entry(seen).append() else {
                continue;
            };
            if let Some((from_ns, before)) = latest
                && effect.to_ns < from_ns
            {
                let append = |seen: &Seen| self.entry(seen).append().map(|(at, _)| at);
                let appends = [seen, &before].into_iter().filter_map(append);
                let mut ids: Vec<u64> = appends.map(|at| self.operation(at).id).collect();
                ids.push(self.operation(before.at).id);
                if seen.at != before.at {
                    ids.push(self.operation(seen.at).id);
                }
                findings.violation(
                    format!(
                        "{} has {} before {}, which had been {} before {} was begun",
                        self.who(sequence),
                        self.value(&before),
                        self.value(seen),
                        self.words.appended,
                        self.value(&before)
                    ),
                    ids,
                );
                // One for each sequence is enough: whatever follows stands behind the same one.
                return;
            }
            if latest.is_none_or(|(from_ns, _)| from_ns < effect.from_ns) {
                latest = Some((effect.from_ns, *seen));
            }
        }
    }

    fn one_order(&self, findings: &mut Findings) {
        let Some(circle) = contradiction(self.stream) else {
            return;
        };
        let told = circle.iter().map(|Before { first, second }| {
            let (one, other) = (self.value(first), self.value(second));
            let worker = self.operation(second.at).worker;
            format!("{one} before {other} for worker {worker}")
        });
        let told: Vec<_> = told.collect();
        let mut ids = Vec::new();
        for seen in circle.iter().flat_map(|edge| [edge.first, edge.second]) {
            let id = self.operation(seen.at).id;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        findings.violation(
            format!(
                "the values of {} came in orders that contradict each other: {}",
                self.words.stream,
                told.join(", ")
            ),
            ids,
        );
    }
}

#[cfg(test)]
mod tests;
