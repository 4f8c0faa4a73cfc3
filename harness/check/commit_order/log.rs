//! A log, in commit order.

use super::super::Findings;
use super::super::values::Datum;
use super::super::wording::{deed, place, value};
use super::Deeds;
use crate::history::Operation;
use crate::protocol::Op;
use serde_json::Value;

pub(super) fn replay(deeds: &Deeds<'_>, findings: &mut Findings) {
    // What stands in the log, as far as it was read; then what was appended since.
    let mut known: &[Value] = &[];
    let mut since: Vec<&Operation> = Vec::new();
    let mut perhaps = deeds.perhaps.iter().peekable();
    let mut pending: Vec<&Operation> = Vec::new();
    for (number, operation) in &deeds.order {
        while let Some((_, other)) = perhaps.next_if(|(after, _)| after < number) {
            pending.push(other);
        }
        let got = match (&operation.op, operation.ok()) {
            (Op::LogAppend { .. }, _) => {
                since.push(operation);
                continue;
            }
            (Op::LogRead { .. }, Some(Value::Array(got))) => got,
            _ => continue,
        };
        match compare(known, &since, &mut pending, got) {
            Ok(()) => {}
            Err(Odd::Ambiguous) => {
                let title = place(&operation.op).unwrap_or_default();
                findings.unknown(format!(
                    "{title}: equal values were appended without an answer"
                ));
                return;
            }
            Err(Odd::At(at, expected)) => {
                let title = place(&operation.op).unwrap_or_default();
                let found = got.get(at).map_or("nothing".to_owned(), value);
                let should = match (known.get(at), expected) {
                    (Some(known), _) => format!("{} was read before", value(known)),
                    (None, Some(expected)) => deed(expected),
                    (None, None) => "there should be nothing more".to_owned(),
                };
                findings.violation(
                    format!(
                        "{title}: worker {} read {found} as value {at} ({}), where in commit order \
                         {should}",
                        operation.worker,
                        super::super::wording::when(operation),
                    ),
                    expected.map(|one| one.id).into_iter().chain([operation.id]),
                );
            }
        }
        known = got;
        since.clear();
    }
}

enum Odd<'a> {
    /// It can't be told which value is whose.
    Ambiguous,
    /// This value is none that can stand here; instead of it, this one should.
    At(usize, Option<&'a Operation>),
}

fn appended(operation: &Operation) -> Option<Datum<'_>> {
    match &operation.op {
        Op::LogAppend { value, .. } => Some(Datum::Value(value)),
        _ => None,
    }
}

/// Whether `got` is what was known, and then what was appended since, in order, with
/// some of `pending` between.
fn compare<'a>(
    known: &[Value],
    since: &[&'a Operation],
    pending: &mut Vec<&'a Operation>,
    got: &[Value],
) -> Result<(), Odd<'a>> {
    let is_same = |(one, other): (&Value, &Value)| super::super::values::same(one, other);
    if let Some(odd) = known.iter().zip(got).position(|pair| !is_same(pair)) {
        return Err(Odd::At(odd, None));
    }
    let mut next = since.iter();
    let mut expected = next.next();
    let mut used = Vec::new();
    for (at, value) in got.iter().enumerate().skip(known.len()) {
        let value = Datum::Value(value);
        if expected.is_some_and(|one| appended(one) == Some(value)) {
            expected = next.next();
            continue;
        }
        let by = (0..pending.len()).find(|by| {
            !used.contains(by) && pending.get(*by).and_then(|one| appended(one)) == Some(value)
        });
        match by {
            Some(by) => used.push(by),
            None => return Err(odd(at, expected, since, pending)),
        }
    }
    if got.len() < known.len() || expected.is_some() {
        return Err(odd(got.len(), expected, since, pending));
    }
    let mut at = 0;
    pending.retain(|_| {
        at += 1;
        !used.contains(&(at - 1))
    });
    Ok(())
}

fn odd<'a>(
    at: usize,
    expected: Option<&&'a Operation>,
    since: &[&Operation],
    pending: &[&Operation],
) -> Odd<'a> {
    let doubled = pending
        .iter()
        .any(|one| since.iter().any(|other| appended(one) == appended(other)));
    if doubled {
        return Odd::Ambiguous;
    }
    Odd::At(at, expected.copied())
}
