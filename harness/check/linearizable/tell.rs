//! What is wrong with a key, in words.

use super::super::register::{Finds, Register, Zone, useless};
use super::super::search::core;
use super::super::transactions::Place;
use super::super::values::{ABSENT, Datum};
use super::super::wording::{datum, deed, list};
use super::{BUDGET_CORE, Key, TOLD_MAX, Touch, touch};
use crate::history::Operation;
use crate::protocol::Op;

impl<'a> Key<'a, '_> {
    pub(super) fn tell_early(&mut self, read: usize, write: usize) {
        let (Some(reader), Some(writer)) = (self.operation(read), self.operation(write)) else {
            return;
        };
        let when = match self.transactions.place(write) {
            Place::In(_) => "whose transaction had not been committed by then",
            _ => "and not before",
        };
        self.findings.violation(
            format!(
                "{}: {}, but {}, {when}",
                self.title,
                deed(reader),
                deed(writer)
            ),
            [reader.id, writer.id],
        );
    }

    pub(super) fn tell_unwritten(&mut self, read: usize) {
        let Some(reader) = self.operation(read) else {
            return;
        };
        let got = match touch(reader) {
            Some(Touch::Read(got)) => got,
            _ => return,
        };
        // Somebody may have tried.
        let mut tried = self.operations.iter().filter_map(|at| {
            let operation = self.operation(*at)?;
            let wrote = match &operation.op {
                Op::DictSet { value, .. } => Datum::Value(value) == got,
                Op::BlobPut { data, .. } => Datum::Text(data) == got,
                _ => false,
            };
            wrote.then_some((*at, operation))
        });
        let Some((at, tried)) = tried.next_back() else {
            self.findings.violation(
                format!("{}: {}, which nobody ever wrote", self.title, deed(reader)),
                [reader.id],
            );
            return;
        };
        let why = match self.transactions.place(at) {
            Place::In(_) if tried.may_have_happened() => {
                "only in a transaction that was undone or wrote it over itself"
            }
            _ => "only what certainly failed wrote it",
        };
        self.findings.violation(
            format!(
                "{}: {}, but {why}: {}",
                self.title,
                deed(reader),
                deed(tried)
            ),
            [tried.id, reader.id],
        );
    }

    /// The operations that an action stands for.
    fn made_of(&self, action: usize) -> impl Iterator<Item = &'a Operation> + use<'a> {
        let both = self
            .actions
            .get(action)
            .map_or([None, None], |action| action.action.0.operations);
        let history = self.history;
        both.into_iter()
            .flatten()
            .filter_map(|at| history.operations.get(at))
    }

    fn deed(&self, action: Option<usize>) -> String {
        let all: Vec<_> = action
            .into_iter()
            .flat_map(|action| self.made_of(action))
            .map(deed)
            .collect();
        list(&all)
    }

    fn ids(&self, actions: impl IntoIterator<Item = usize>) -> Vec<u64> {
        let mut ids: Vec<u64> = actions
            .into_iter()
            .flat_map(|action| self.made_of(action).map(|operation| operation.id))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    pub(super) fn tell_twice(&mut self, again: Zone, between: Zone) {
        let value = |zone: Zone| {
            let written = zone.write.and_then(|at| self.actions.get(at));
            let number = written.and_then(|action| action.action.0.leaves);
            datum(self.numbers.datum(number.unwrap_or(ABSENT)))
        };
        let mut before = vec![again.first_end.1, between.last_begin.1, between.first_end.1];
        before.dedup();
        let told: Vec<_> = before
            .iter()
            .flatten()
            .map(|action| self.deed(Some(*action)))
            .collect();
        let message = format!(
            "{}: {}, but by then {} had been replaced by {} for good: {}",
            self.title,
            self.deed(again.last_begin.1),
            value(again),
            value(between),
            told.join("; then "),
        );
        let shown = [again.write, between.write, again.last_begin.1];
        let ids = self.ids(shown.into_iter().chain(before).flatten());
        self.findings.violation(message, ids);
    }

    pub(super) fn tell_core(&mut self) {
        let mut actions = self.actions.clone();
        core(&Register, &mut actions, BUDGET_CORE, useless);
        // What was finished last is what can't be explained.
        let last = actions
            .iter()
            .enumerate()
            .filter(|(_, action)| action.certain)
            .max_by_key(|(_, action)| (action.action.0.finds != Finds::Any, action.to))
            .map(|(at, _)| at);
        self.actions = actions;
        let odd = self.deed(last);
        let mut others: Vec<usize> = (0..self.actions.len())
            .filter(|at| Some(*at) != last)
            .collect();
        others.sort_by_key(|at| self.actions.get(*at).map(|action| action.from));
        let mut told: Vec<_> = others
            .iter()
            .take(TOLD_MAX)
            .map(|at| self.deed(Some(*at)))
            .collect();
        if others.len() > TOLD_MAX {
            told.push(format!("{} more", others.len() - TOLD_MAX));
        }
        let ids = self.ids(0..self.actions.len());
        let message = format!(
            "{}: {odd}, which no order of the operations explains: {}",
            self.title,
            list(&told)
        );
        self.findings.violation(message, ids);
    }
}
