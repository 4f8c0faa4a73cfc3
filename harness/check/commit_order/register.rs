//! A key, a blob or a document, in commit order.

use super::super::Findings;
use super::super::values::Datum;
use super::super::wording::{datum, deed, place};
use super::Deeds;
use crate::history::Operation;
use crate::protocol::Op;
use serde_json::Value;

const ABSENT: Datum<'_> = Datum::Value(&Value::Null);

/// What an operation leaves; none: it only reads.
fn left(op: &Op) -> Option<Datum<'_>> {
    match op {
        Op::DictSet { value, .. } => Some(Datum::Value(value)),
        Op::CollectionIndex { body, .. } => Some(Datum::Value(body)),
        Op::BlobPut { data, .. } => Some(Datum::Text(data)),
        Op::DictDelete { .. } | Op::BlobDelete { .. } | Op::CollectionDrop { .. } => Some(ABSENT),
        _ => None,
    }
}

pub(super) fn replay(deeds: &Deeds<'_>, findings: &mut Findings) {
    let mut state = ABSENT;
    let mut last: Option<&Operation> = None;
    let mut perhaps = deeds.perhaps.iter().peekable();
    // What may have been written without our knowing, each once.
    let mut pending: Vec<&Operation> = Vec::new();
    for (number, operation) in &deeds.order {
        while let Some((_, other)) = perhaps.next_if(|(after, _)| after < number) {
            pending.push(other);
        }
        let got = operation.ok();
        let finds = match (&operation.op, got) {
            (Op::DictGet { .. } | Op::BlobGet { .. } | Op::CollectionGet { .. }, Some(got)) => {
                Some(Datum::Value(got))
            }
            _ => None,
        };
        let was_there = match &operation.op {
            Op::DictDelete { .. } | Op::BlobDelete { .. } | Op::CollectionDrop { .. } => {
                got.and_then(Value::as_bool)
            }
            _ => None,
        };
        let explained = match (finds, was_there) {
            (Some(found), _) => {
                found == state || {
                    let by = pending.iter().position(|one| left(&one.op) == Some(found));
                    by.map(|by| pending.swap_remove(by)).is_some()
                }
            }
            // Which of several it was doesn't matter: nothing is there now.
            (None, Some(was_there)) => {
                (state != ABSENT) == was_there
                    || pending
                        .iter()
                        .any(|one| (left(&one.op) != Some(ABSENT)) == was_there)
            }
            (None, None) => true,
        };
        if !explained {
            let title = place(&operation.op).unwrap_or_default();
            let since = last.map_or_else(|| "from the beginning".to_owned(), deed);
            findings.violation(
                format!(
                    "{title}: {}, but in commit order it was {}: {since}",
                    deed(operation),
                    datum(state)
                ),
                last.map(|last| last.id).into_iter().chain([operation.id]),
            );
        }
        // What was found is there, whatever should have been.
        if let Some(found) = finds {
            state = found;
        }
        if let Some(left) = left(&operation.op) {
            state = left;
            last = Some(operation);
        }
    }
}
