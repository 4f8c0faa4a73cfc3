//! Values of a history as small numbers, so that they compare and hash at no cost.
//!
//! What must stay true: two values have one number exactly if a system that keeps JSON may
//! give back the one for the other: `1` and `1.0` are the same number.

use serde_json::{Number, Value};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

/// Something that a system keeps, wherever in the history it stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Datum<'a> {
    /// JSON.
    Value(&'a Value),
    /// The data of a blob; the same as the JSON string.
    Text(&'a str),
}

/// The number of *absent*, which `null` stands for.
pub(super) const ABSENT: u32 = 0;

/// Gives numbers to values.
#[derive(Debug, Default)]
pub(super) struct Numbers<'a> {
    numbers: HashMap<Datum<'a>, u32>,
    data: Vec<Datum<'a>>,
}

impl<'a> Numbers<'a> {
    /// The number of a value, the same whenever it comes again.
    pub(super) fn of(&mut self, datum: Datum<'a>) -> u32 {
        if datum.is_null() {
            return ABSENT;
        }
        let next = u32::try_from(self.data.len() + 1).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(datum).or_insert(next);
        if number == next {
            self.data.push(datum);
        }
        number
    }

    /// How many there are, absent included.
    pub(super) fn len(&self) -> usize {
        self.data.len() + 1
    }

    /// What was given this number.
    pub(super) fn datum(&self, number: u32) -> Datum<'a> {
        let at = (number as usize).checked_sub(1);
        at.and_then(|at| self.data.get(at))
            .copied()
            .unwrap_or(Datum::Value(&Value::Null))
    }
}

impl Datum<'_> {
    /// As JSON.
    pub(super) fn to_value(self) -> Value {
        match self {
            Self::Value(value) => value.clone(),
            Self::Text(text) => text.into(),
        }
    }

    fn is_null(self) -> bool {
        matches!(self, Self::Value(Value::Null))
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Value(Value::String(text)) => Some(text),
            Self::Value(_) => None,
            Self::Text(text) => Some(text),
        }
    }
}

impl PartialEq for Datum<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self.text(), other.text()) {
            (Some(one), Some(other)) => return one == other,
            (None, None) => {}
            _ => return false,
        }
        match (self, other) {
            (Self::Value(one), Self::Value(other)) => same(one, other),
            _ => false,
        }
    }
}

impl Eq for Datum<'_> {}

impl Hash for Datum<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match (self.text(), self) {
            (Some(text), _) => text.hash(state),
            (None, Self::Value(value)) => hash(value, state),
            (None, Self::Text(_)) => {}
        }
    }
}

/// Whether two values are the same, numbers by what they are and not by how they are written.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || float(one).is_some_and(|one| float(other) == Some(one))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, one)| other.get(key).is_some_and(|other| same(one, other)))
        }
        _ => one == other,
    }
}

/// A number, unless it is an integer that a float can't hold.
fn float(number: &Number) -> Option<f64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64()?;
    // Beyond it, different integers would be one float.
    (number.is_f64() || float.abs() < EXACT).then_some(float)
}

fn hash(value: &Value, state: &mut impl Hasher) {
    match value {
        Value::Number(number) => {
            // 0.0 and -0.0 are equal.
            let float = number.as_f64().unwrap_or_default() + 0.0;
            float.to_bits().hash(state);
        }
        Value::String(text) => text.hash(state),
        Value::Array(items) => {
            items.len().hash(state);
            for item in items {
                hash(item, state);
            }
        }
        // The order of an object's fields says nothing.
        Value::Object(fields) => fields.len().hash(state),
        Value::Null | Value::Bool(_) => value.hash(state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_have_one_number_if_they_may_stand_for_each_other() {
        let values = [
            json!(1),
            json!(1.0),
            json!("1"),
            json!([1, {"a": 2.0}]),
            json!([1.0, {"a": 2}]),
            json!([1, {"a": 3}]),
            json!(9_007_199_254_740_993_u64),
            json!(9_007_199_254_740_992_u64),
            json!(false),
        ];
        let mut numbers = Numbers::default();
        let given: Vec<_> = values
            .iter()
            .map(|value| numbers.of(Datum::Value(value)))
            .collect();
        assert_eq!(given, [1, 1, 2, 3, 3, 4, 5, 6, 7]);
        assert_eq!(numbers.of(Datum::Text("1")), 2);
        assert_eq!(numbers.of(Datum::Value(&Value::Null)), ABSENT);
        assert_eq!(numbers.datum(2), Datum::Text("1"));
        assert_eq!(numbers.len(), 8);
    }
}
