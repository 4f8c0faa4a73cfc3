//! A list, in commit order.
//!
//! What must stay true: where an operation without an answer may have come is tried out, at
//! every place, until a reading decides; where that is too much, nothing is said.

use super::super::Findings;
use super::super::list_state::{Change, State};
use super::super::values::{Datum, Numbers};
use super::super::wording::{deed, place, value};
use super::Deeds;
use crate::history::Operation;
use crate::protocol::Op;
use std::collections::HashSet;

/// How many states are followed at once.
const STATES_MAX: usize = 2000;

/// A list that may be, and which of the operations without an answer it needs.
type Possible = (State, Vec<u32>);

pub(super) fn replay(deeds: &Deeds<'_>, findings: &mut Findings) {
    let mut numbers = Numbers::default();
    let title = deeds
        .order
        .first()
        .and_then(|(_, operation)| place(&operation.op))
        .unwrap_or_default();
    let mut perhaps = Vec::new();
    for (after, operation) in &deeds.perhaps {
        if let Some(change) = Change::of(operation, &mut numbers) {
            perhaps.push((*after, change));
        }
    }
    let mut possible: Vec<Possible> = vec![(Vec::new(), Vec::new())];
    let mut last: Option<&Operation> = None;
    for (number, operation) in &deeds.order {
        let available = perhaps.partition_point(|(after, _)| after < number);
        let Some(wider) = widen(possible, perhaps.get(..available).unwrap_or_default()) else {
            findings.unknown(format!(
                "{title}: too many possible states after operations without an answer"
            ));
            return;
        };
        possible = wider;
        if let (Op::ListItems { .. }, Some(got)) = (&operation.op, operation.ok()) {
            let Some(items) = got.as_array() else {
                continue;
            };
            let read: State = items
                .iter()
                .map(|item| numbers.of(Datum::Value(item)))
                .collect();
            let expected = possible.first().map(|(state, _)| state.clone());
            possible.retain(|(state, _)| *state == read);
            if possible.is_empty() {
                let shown = expected.unwrap_or_default();
                let shown: Vec<_> = shown
                    .iter()
                    .map(|item| numbers.datum(*item).to_value())
                    .collect();
                findings.violation(
                    format!(
                        "{title}: {}, but in commit order it was {}{}",
                        deed(operation),
                        value(&shown.into()),
                        last.map_or_else(String::new, |last| format!(", last {}", deed(last))),
                    ),
                    last.map(|last| last.id).into_iter().chain([operation.id]),
                );
                // It is what it is. Whatever was needed for that can't be known.
                possible = vec![(read, Vec::new())];
            }
            continue;
        }
        let Some(change) = Change::of(operation, &mut numbers) else {
            continue;
        };
        if change.is_unclear() {
            findings.unknown(format!(
                "{title}: {}, and nobody says what an index below zero means",
                deed(operation)
            ));
            return;
        }
        let before = possible.first().map_or(0, |(state, _)| state.len());
        possible.retain_mut(|(state, _)| change.apply(state));
        if possible.is_empty() {
            findings.violation(
                format!(
                    "{title}: {}, but in commit order the list had {before} items",
                    deed(operation)
                ),
                last.map(|last| last.id).into_iter().chain([operation.id]),
            );
            return;
        }
        last = Some(operation);
    }
}

/// All states that may come of these by changes that perhaps were made; none: too many.
fn widen(possible: Vec<Possible>, perhaps: &[(u64, Change)]) -> Option<Vec<Possible>> {
    if perhaps.is_empty() {
        return Some(possible);
    }
    let mut known: HashSet<Possible> = possible.iter().cloned().collect();
    let mut all = possible;
    let mut at = 0;
    while let Some((state, used)) = all.get(at).cloned() {
        at += 1;
        for (which, (_, change)) in (0_u32..).zip(perhaps) {
            if used.contains(&which) {
                continue;
            }
            // What can't be told apart needs no trying out twice, but an index that nobody explains
            // might do anything.
            if change.is_unclear() {
                return None;
            }
            let mut next = state.clone();
            if !change.apply(&mut next) {
                continue;
            }
            let mut used = used.clone();
            used.push(which);
            used.sort_unstable();
            let next = (next, used);
            if known.insert(next.clone()) {
                all.push(next);
            }
            if all.len() > STATES_MAX {
                return None;
            }
        }
    }
    Some(all)
}
