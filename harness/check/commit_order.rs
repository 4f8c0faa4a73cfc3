//! The order that commit numbers give is legal, and none contradicts real time.
//!
//! Numbers are distinct; what ended before something else began has the lower number; and what was done,
//! one after the other by number, explains every result: of dictionaries, blobs and documents by key,
//! of lists, queues and logs.
//!
//! What has no number, and what becomes of it:
//! - *Nobody knows whether it happened*: it may come at any place after what had certainly
//!   ended before it began, or never. It is thought to have happened when a result needs it.
//! - *It happened, but asked for no number*: it has its place where real time leaves only one.
//!   Otherwise its object isn't judged, or only the operation isn't, if it reads.
//!
//! What must stay true: whatever is chosen for operations without a number, it is never to the
//! system's disadvantage; where too much would have to be tried, the verdict is `Unknown`.

mod items;
mod log;
mod queue;
mod register;
mod timeline;

use super::Findings;
use super::transactions::Transactions;
use crate::history::{History, Operation};
use crate::protocol::Op;
use std::collections::HashMap;
use timeline::Timeline;

/// Something that operations change independently of all else.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Object<'a> {
    Key(&'a str, &'a str),
    Blob(&'a str, &'a str),
    Document(&'a str, &'a str),
    List(&'a str),
    Queue(&'a str),
    Log(&'a str),
}

fn object(op: &Op) -> Option<Object<'_>> {
    Some(match op {
        Op::DictGet { name, key }
        | Op::DictSet { name, key, .. }
        | Op::DictDelete { name, key } => Object::Key(name, key),
        Op::BlobGet { name, key }
        | Op::BlobPut { name, key, .. }
        | Op::BlobDelete { name, key } => Object::Blob(name, key),
        Op::CollectionGet { name, key }
        | Op::CollectionIndex { name, key, .. }
        | Op::CollectionDrop { name, key } => Object::Document(name, key),
        Op::ListPush { name, .. }
        | Op::ListInsert { name, .. }
        | Op::ListSet { name, .. }
        | Op::ListDelete { name, .. }
        | Op::ListItems { name } => Object::List(name),
        Op::QueuePut { name, .. } | Op::QueueGet { name, .. } | Op::QueueGetBatch { name, .. } => {
            Object::Queue(name)
        }
        Op::LogAppend { name, .. } | Op::LogRead { name } => Object::Log(name),
        _ => return None,
    })
}

/// What was done with one object.
#[derive(Default)]
struct Deeds<'a> {
    /// What happened, in order.
    order: Vec<(u64, &'a Operation)>,
    /// What perhaps happened, and after which number at the earliest; in this order.
    perhaps: Vec<(u64, &'a Operation)>,
    /// What asked for no number: after which, and before which.
    unnumbered: Vec<(u64, u64, &'a Operation)>,
}

pub(super) fn check(history: &History, findings: &mut Findings) {
    let transactions = Transactions::of(history);
    let timeline = Timeline::of(history, &transactions);
    if timeline.order.is_empty() {
        return;
    }
    findings.examined(timeline.order.len() as u64);
    timeline.check_numbers(findings);
    timeline.check_time(findings);

    let mut objects: HashMap<Object<'_>, usize> = HashMap::new();
    let mut all: Vec<(Object<'_>, Deeds<'_>)> = Vec::new();
    let mut of = |op| {
        let object = object(op)?;
        Some(*objects.entry(object).or_insert_with(|| {
            all.push((object, Deeds::default()));
            all.len() - 1
        }))
    };
    let numbered: Vec<_> = timeline
        .order
        .iter()
        .filter_map(|one| Some((of(&one.operation.op)?, one)))
        .collect();
    let others: Vec<_> = timeline
        .others
        .iter()
        .filter_map(|one| Some((of(&one.operation.op)?, one)))
        .collect();
    for (at, one) in numbered {
        if let Some((_, deeds)) = all.get_mut(at) {
            deeds.order.push((one.number, one.operation));
        }
    }
    for (at, one) in others {
        let (after, before) = timeline.between(one);
        let Some((_, deeds)) = all.get_mut(at) else {
            continue;
        };
        match one.certain {
            true => deeds.unnumbered.push((after, before, one.operation)),
            false if one.operation.op.is_write() => deeds.perhaps.push((after, one.operation)),
            false => {}
        }
    }
    for (object, mut deeds) in all {
        // Without a number there is no order to judge.
        if deeds.order.is_empty() {
            continue;
        }
        if let Err(operation) = deeds.place_unnumbered() {
            findings.unknown(format!(
                "{} has no number, and real time doesn't say where it belongs",
                super::wording::deed_at(operation)
            ));
            continue;
        }
        deeds.perhaps.sort_by_key(|(after, _)| *after);
        match object {
            Object::Key(..) | Object::Blob(..) | Object::Document(..) => {
                register::replay(&deeds, findings);
            }
            Object::List(_) => items::replay(&deeds, findings),
            Object::Queue(_) => queue::replay(&deeds, findings),
            Object::Log(_) => log::replay(&deeds, findings),
        }
    }
}

impl<'a> Deeds<'a> {
    /// Gives what happened without a number its place, if there is only one.
    fn place_unnumbered(&mut self) -> Result<(), &'a Operation> {
        let mut placed: Vec<(u64, &Operation)> = Vec::new();
        for (after, before, operation) in std::mem::take(&mut self.unnumbered) {
            // Numbers of this object that lie between.
            let from = self.order.partition_point(|(number, _)| *number <= after);
            let is_between = self
                .order
                .get(from)
                .is_some_and(|(number, _)| *number < before);
            // Others without a number: in the order of their calls.
            let overlaps = placed.iter().rev().any(|(other, earlier)| {
                *other >= after
                    && earlier.latest_ns() >= operation.invoked_ns
                    && (earlier.op.is_write() || operation.op.is_write())
            });
            if !is_between && !overlaps {
                placed.push((after, operation));
            } else if operation.op.is_write() {
                return Err(operation);
            }
        }
        if !placed.is_empty() {
            self.order.append(&mut placed);
            // Stable: what was added comes after the number it must come after.
            self.order.sort_by_key(|(number, _)| *number);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
