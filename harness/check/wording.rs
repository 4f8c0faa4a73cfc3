//! Operations and values in words.

use super::values::Datum;
use crate::history::{Operation, Outcome};
use crate::protocol::Op;
use serde_json::Value;
use std::fmt::Write as _;

/// How much of a value is shown, in characters.
const SHOWN_MAX: usize = 60;

/// A value, shortened.
pub(super) fn value(value: &Value) -> String {
    if value.is_null() {
        return "nothing".into();
    }
    cut(&value.to_string())
}

/// The same.
pub(super) fn datum(datum: Datum<'_>) -> String {
    match datum {
        Datum::Value(known) => value(known),
        Datum::Text(text) => cut(&format!("{text:?}")),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A moment in milliseconds.
pub(super) fn ms(ns: u64) -> String {
    format!("{}.{:03} ms", ns / 1_000_000, ns / 1000 % 1000)
}

/// Which operation and when: `operation 17, 12.000 ms to 12.500 ms`.
pub(super) fn when(operation: &Operation) -> String {
    let mut text = format!("operation {}, {}", operation.id, ms(operation.invoked_ns));
    let _ = match operation.completed_ns {
        Some(at) => write!(text, " to {}", ms(at)),
        None => write!(text, ", never answered"),
    };
    text
}

/// Who did what and when: `worker 3 read 5 (operation 17, 12.000 ms to 12.500 ms)`.
pub(super) fn deed(operation: &Operation) -> String {
    format!(
        "worker {} {} ({})",
        operation.worker,
        what(operation),
        when(operation)
    )
}

/// The same with the manager and the key.
pub(super) fn deed_at(operation: &Operation) -> String {
    let place = place(&operation.op).map_or_else(String::new, |place| format!(" [{place}]"));
    format!(
        "worker {} {}{place} ({})",
        operation.worker,
        what(operation),
        when(operation)
    )
}

/// What an operation is about: `dict d, key k`.
pub(super) fn place(op: &Op) -> Option<String> {
    Some(match op {
        Op::DictGet { name, key }
        | Op::DictSet { name, key, .. }
        | Op::DictDelete { name, key } => {
            format!("dict {name}, key {key}")
        }
        Op::BlobGet { name, key }
        | Op::BlobPut { name, key, .. }
        | Op::BlobDelete { name, key } => {
            format!("blobs {name}, key {key}")
        }
        Op::CollectionGet { name, key }
        | Op::CollectionIndex { name, key, .. }
        | Op::CollectionDrop { name, key } => format!("collection {name}, document {key}"),
        Op::ListPush { name, .. }
        | Op::ListInsert { name, .. }
        | Op::ListSet { name, .. }
        | Op::ListDelete { name, .. }
        | Op::ListItems { name } => format!("list {name}"),
        Op::QueuePut { name, .. } | Op::QueueGet { name, .. } | Op::QueueGetBatch { name, .. } => {
            format!("queue {name}")
        }
        Op::LogAppend { name, .. } | Op::LogRead { name } => format!("log {name}"),
        _ => return None,
    })
}

fn what(operation: &Operation) -> String {
    let doubt = match &operation.outcome {
        Outcome::Ok { .. } => "",
        Outcome::Fail(_) => "in vain ",
        Outcome::Info(_) => "perhaps ",
    };
    let got = operation.ok();
    let done = match &operation.op {
        Op::DictGet { .. }
        | Op::BlobGet { .. }
        | Op::CollectionGet { .. }
        | Op::ListItems { .. }
        | Op::LogRead { .. } => match got {
            Some(got) => format!("read {}", value(got)),
            None => "tried to read".into(),
        },
        Op::DictSet { value: new, .. } => format!("{doubt}set {}", value(new)),
        Op::BlobPut { data, .. } => format!("{doubt}put {}", datum(Datum::Text(data))),
        Op::CollectionIndex { body, .. } => format!("{doubt}indexed {}", value(body)),
        Op::DictDelete { .. } | Op::BlobDelete { .. } | Op::CollectionDrop { .. } => match got {
            Some(Value::Bool(false)) => "found nothing to delete".into(),
            _ => format!("{doubt}deleted it"),
        },
        Op::ListPush { value: new, .. } => format!("{doubt}pushed {}", value(new)),
        Op::ListInsert {
            index, value: new, ..
        } => {
            format!("{doubt}inserted {} at {index}", value(new))
        }
        Op::ListSet {
            index, value: new, ..
        } => format!("{doubt}set item {index} to {}", value(new)),
        Op::ListDelete { index, .. } => format!("{doubt}deleted item {index}"),
        Op::LogAppend { value: new, .. } => format!("{doubt}appended {}", value(new)),
        Op::QueuePut {
            value: new,
            priority,
            ..
        } => {
            format!("{doubt}put {} with priority {priority}", value(new))
        }
        Op::QueueGet { .. } | Op::QueueGetBatch { .. } => match got {
            Some(got) => format!("took {}", value(got)),
            None => format!("{doubt}took something"),
        },
        op => format!("{doubt}did {}", op.name()),
    };
    match operation.commit() {
        Some(commit) => format!("{done} as commit {commit}"),
        None => done,
    }
}

/// `a`, `a and b`, `a; b; and c`.
pub(super) fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [one, other] => format!("{one} and {other}"),
        [all @ .., last] => format!("{}; and {last}", all.join("; ")),
    }
}
