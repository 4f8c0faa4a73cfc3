//! Whether the batches of case 2 are what they should be. Why this proves it:
//! see `batches.rs`.

use crate::protocol::{Mode, Payload, PutRecord, TakeRecord, TakenItem};
use crate::verdict::{Verdict, Who};
use std::collections::{BTreeMap, BTreeSet};

/// All that is known about one queue.
pub(crate) struct Evidence {
    pub(crate) puts: Vec<(Who, PutRecord)>,
    pub(crate) takes: Vec<(Who, Mode, TakeRecord)>,
    /// The queue as native SQLite read it when all was put and nothing taken.
    /// None when items were put and taken at the same time: then the time
    /// stamps tell the order.
    pub(crate) order: Option<Vec<Payload>>,
    /// What native SQLite still found in the queue at the end.
    pub(crate) left: Vec<Payload>,
    pub(crate) size: usize,
}

pub(crate) fn judge(evidence: &Evidence) -> Verdict {
    let mut verdict = Verdict::default();
    exactly_once(evidence, &mut verdict);
    let order = match &evidence.order {
        Some(order) => order.clone(),
        None => order_by_time(evidence, &mut verdict),
    };
    contiguous(evidence, &order, &mut verdict);
    for mode in [Mode::Locked, Mode::Whole] {
        let mut ways = evidence
            .takes
            .iter()
            .filter(|(_, other, _)| *other == mode)
            .peekable();
        if ways.peek().is_some() && ways.all(|(_, _, record)| record.batches.is_empty()) {
            verdict.fail(format!("not one batch was taken {}", way(mode)));
        }
    }
    let put_errors = evidence
        .puts
        .iter()
        .map(|(who, record)| (who, &record.errors));
    let take_errors = evidence
        .takes
        .iter()
        .map(|(who, _, record)| (who, &record.errors));
    verdict.fail_each(
        put_errors
            .chain(take_errors)
            .flat_map(|(who, errors)| errors.iter().map(|error| format!("{}: {error}", who.name))),
    );
    verdict
}

fn way(mode: Mode) -> &'static str {
    match mode {
        Mode::Locked => "under the lock",
        Mode::Whole => "through get-batch",
    }
}

/// Every item that was put is taken by exactly one consumer.
fn exactly_once(evidence: &Evidence, verdict: &mut Verdict) {
    let mut takers: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (who, _, record) in &evidence.takes {
        for item in record.batches.iter().flatten() {
            takers
                .entry(item.payload.number)
                .or_default()
                .push(&who.name);
        }
    }
    verdict.fail_each(
        takers
            .iter()
            .filter(|(_, names)| names.len() > 1)
            .map(|(number, names)| {
                format!("item {number} was taken by each of: {}", names.join(", "))
            }),
    );
    let acknowledged: BTreeSet<u64> = evidence
        .puts
        .iter()
        .flat_map(|(_, record)| record.acknowledged.iter().copied())
        .collect();
    let unknown: BTreeSet<u64> = evidence
        .puts
        .iter()
        .flat_map(|(_, record)| record.unknown.iter().copied())
        .collect();
    let left: BTreeSet<u64> = evidence.left.iter().map(|payload| payload.number).collect();
    if acknowledged.is_empty() {
        verdict.fail("nothing was put, so this shows nothing");
    }
    verdict.fail_each(
        acknowledged
            .iter()
            .filter(|number| !takers.contains_key(number) && !left.contains(number))
            .map(|number| format!("item {number} was put and is gone, but nobody has it")),
    );
    verdict.fail_each(
        takers
            .keys()
            .filter(|number| !acknowledged.contains(number) && !unknown.contains(number))
            .map(|number| format!("item {number} was taken, but nobody put it")),
    );
    verdict.fail_each(
        left.iter()
            .map(|number| format!("item {number} is still in the queue")),
    );
}

/// All items in the order of their time stamps; checks that it is the order of the puts.
fn order_by_time(evidence: &Evidence, verdict: &mut Verdict) -> Vec<Payload> {
    let mut items: Vec<&TakenItem> = evidence
        .takes
        .iter()
        .flat_map(|(_, _, record)| record.batches.iter().flatten())
        .collect();
    items.sort_by(|a, b| {
        (a.priority.total_cmp(&b.priority)).then(a.timestamp.total_cmp(&b.timestamp))
    });
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    let mut overtaken = Vec::new();
    for item in &items {
        let Payload { producer, seq, .. } = item.payload;
        if let Some(before) = last.insert(producer, seq).filter(|before| *before >= seq) {
            overtaken.push(format!(
                "producer {producer} put its item {seq} before its item {before}, but it lies behind"
            ));
        }
    }
    verdict.fail_each(overtaken);
    items.into_iter().map(|item| item.payload).collect()
}

/// Each batch is a run of consecutive items of `order`, of the right length.
fn contiguous(evidence: &Evidence, order: &[Payload], verdict: &mut Verdict) {
    let mut places: BTreeMap<u64, usize> = BTreeMap::new();
    for (place, payload) in order.iter().enumerate() {
        places.entry(payload.number).or_insert(place);
    }
    let mut broken = Vec::new();
    for (who, mode, record) in &evidence.takes {
        for batch in &record.batches {
            // Under the lock, too: the consumer looked whether there are enough.
            if batch.len() != evidence.size {
                broken.push(format!(
                    "{} got {} items {}, not {}",
                    who.name,
                    batch.len(),
                    way(*mode),
                    evidence.size
                ));
            }
            let found: Vec<Option<usize>> = batch
                .iter()
                .map(|item| places.get(&item.payload.number).copied())
                .collect();
            let consecutive = found.windows(2).all(|pair| match pair {
                [Some(a), Some(b)] => a + 1 == *b,
                _ => false,
            });
            // A number without a place was never put: said elsewhere.
            if !consecutive && found.iter().all(Option::is_some) {
                let found: Vec<usize> = found.into_iter().flatten().collect();
                broken.push(format!(
                    "{} took the places {found:?} of the queue in one batch {}: not contiguous",
                    who.name,
                    way(*mode)
                ));
            }
        }
    }
    verdict.fail_each(broken);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Kind;

    fn who(kind: Kind) -> Who {
        Who {
            kind,
            name: format!("{kind} 0"),
        }
    }

    fn item(seq: u64) -> TakenItem {
        TakenItem {
            priority: 0.0,
            timestamp: 1_000.0 + seq as f64,
            payload: Payload::new(0, seq),
        }
    }

    fn record(batches: &[&[u64]]) -> TakeRecord {
        TakeRecord {
            batches: batches
                .iter()
                .map(|batch| batch.iter().copied().map(item).collect())
                .collect(),
            ..TakeRecord::default()
        }
    }

    /// One producer put 0 to 19; an instance takes under the lock, the native
    /// thread through get-batch.
    fn evidence(filled: bool, locked: &[&[u64]], whole: &[&[u64]]) -> Evidence {
        let put: Vec<Payload> = (0..20).map(|seq| Payload::new(0, seq)).collect();
        Evidence {
            puts: vec![(
                who(Kind::Native),
                PutRecord {
                    acknowledged: put.iter().map(|payload| payload.number).collect(),
                    ..PutRecord::default()
                },
            )],
            takes: vec![
                (who(Kind::Instance), Mode::Locked, record(locked)),
                (who(Kind::Native), Mode::Whole, record(whole)),
            ],
            order: filled.then_some(put),
            left: Vec::new(),
            size: 5,
        }
    }

    fn reasons(evidence: &Evidence) -> String {
        judge(evidence).reasons().join("\n")
    }

    const A: &[u64] = &[0, 1, 2, 3, 4];
    const B: &[u64] = &[5, 6, 7, 8, 9];
    const C: &[u64] = &[10, 11, 12, 13, 14];
    const D: &[u64] = &[15, 16, 17, 18, 19];

    #[test]
    fn faithful_recordings_pass() {
        for filled in [true, false] {
            assert_eq!(reasons(&evidence(filled, &[B, C], &[A, D])), "");
        }
    }

    #[test]
    fn an_item_taken_twice_fails_and_names_both() {
        for filled in [true, false] {
            let text = reasons(&evidence(filled, &[A, B], &[B, C, D]));
            assert!(
                text.contains("item 5 was taken by each of: instances 0, native 0"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_batch_with_a_gap_fails() {
        for filled in [true, false] {
            let evidence = evidence(filled, &[&[0, 1, 2, 3, 5], C], &[&[4, 6, 7, 8, 9], D]);
            let text = reasons(&evidence);
            assert!(
                text.contains("[0, 1, 2, 3, 5] of the queue in one batch under the lock"),
                "{text}"
            );
            assert!(
                text.contains("[4, 6, 7, 8, 9] of the queue in one batch through"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_batch_in_the_wrong_order_fails() {
        assert!(
            reasons(&evidence(true, &[&[1, 0, 2, 3, 4], B], &[C, D])).contains("[1, 0, 2, 3, 4]")
        );
    }

    #[test]
    fn a_lost_item_fails() {
        let text = reasons(&evidence(true, &[A, B], &[C]));
        assert!(
            text.contains("item 15 was put and is gone, but nobody has it"),
            "{text}"
        );
    }

    #[test]
    fn an_item_left_over_fails() {
        let mut evidence = evidence(true, &[A, B], &[C]);
        evidence.left = (15..20).map(|seq| Payload::new(0, seq)).collect();
        let text = reasons(&evidence);
        assert!(
            text.contains("item 15 is still in the queue") && !text.contains("is gone"),
            "{text}"
        );
    }

    #[test]
    fn an_item_from_nowhere_fails() {
        let mut evidence = evidence(true, &[A, B], &[C, D]);
        evidence.puts[0].1.acknowledged.pop();
        assert!(reasons(&evidence).contains("item 19 was taken, but nobody put it"));
        evidence.puts[0].1.unknown.push(19);
        assert_eq!(reasons(&evidence), "");
    }

    #[test]
    fn a_batch_of_the_wrong_size_fails() {
        let short = evidence(true, &[&[0, 1, 2], &[3, 4]], &[B, C, D]);
        assert!(reasons(&short).contains("instances 0 got 3 items under the lock, not 5"));
        let whole = evidence(false, &[A, B, C], &[&[15, 16, 17], &[18, 19]]);
        assert!(reasons(&whole).contains("native 0 got 3 items through get-batch, not 5"));
    }

    #[test]
    fn a_put_that_overtakes_its_producers_earlier_one_fails() {
        let mut evidence = evidence(false, &[A, B], &[C, D]);
        let batch = &mut evidence.takes[0].2.batches[0];
        let (first, second) = (batch[0].payload, batch[1].payload);
        batch[0].payload = second;
        batch[1].payload = first;
        assert!(reasons(&evidence).contains("producer 0 put its item 0 before its item 1"));
    }

    #[test]
    fn nothing_shown_is_nothing_proved() {
        assert!(
            reasons(&evidence(true, &[], &[A, B, C, D])).contains("not one batch was taken under")
        );
        let mut empty = evidence(true, &[], &[]);
        empty.puts.clear();
        assert!(reasons(&empty).contains("nothing was put"));
    }
}
