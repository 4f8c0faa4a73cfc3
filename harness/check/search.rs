//! Whether concurrent actions can have happened one after the other: the search of Wing, Gong
//! and Lowe, with Lowe's just-in-time choice.
//!
//! Walks along the calls and returns in the order of time. An action is put in its place only
//! when its return is reached and it isn't in its place yet: then it comes next, or another one
//! that is under way does, and so on, with backtracking. Where it was in vain before (the
//! same place in time, the same state, the same actions done) it isn't tried again.
//!
//! What must stay true:
//! - An action that isn't certain may come at any time after its call, or never.
//! - What comes out doesn't depend on time or chance: the budget is counted in steps.

use std::collections::HashSet;
use std::hash::Hash;

/// What actions do, one after the other. Pure.
pub(super) trait Model {
    /// What actions change.
    type State: Clone + Eq + Hash;
    /// What is done, with its result if that is known.
    type Action: PartialEq;

    /// Before all else.
    fn initial(&self) -> Self::State;

    /// What follows, if an action can have this result in this state.
    fn step(&self, state: &Self::State, action: &Self::Action) -> Option<Self::State>;

    /// Whether it leaves every state as it is.
    fn reads_only(&self, action: &Self::Action) -> bool;
}

/// An action and when it took effect.
#[derive(Clone, Debug)]
pub(super) struct Timed<A> {
    /// What.
    pub(super) action: A,
    /// Not before this.
    pub(super) from: u64,
    /// And not after this.
    pub(super) to: u64,
    /// Whether it took effect at all; if that isn't certain, `to` means nothing.
    pub(super) certain: bool,
}

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An order that explains all results.
    Order,
    /// There is none, not even for what had been called when the certain action at this place returned.
    None(usize),
    /// The budget was not enough.
    Unknown,
}

/// No action.
const NOBODY: usize = usize::MAX;

#[derive(Clone, Copy)]
struct Event {
    action: usize,
    slot: usize,
    is_return: bool,
}

/// A choice of what comes next at a return.
struct Choice {
    /// How long the trail was.
    trail: usize,
    /// The next slot to try; the returning action itself was the first.
    next: usize,
}

enum Done<S> {
    /// An event was passed.
    Passed,
    /// The action in this slot was put in its place; the state before.
    Placed(usize, Option<S>),
}

struct Search<'a, M: Model> {
    model: &'a M,
    actions: &'a [Timed<M::Action>],
    events: Vec<Event>,
    /// How many events were passed.
    at: usize,
    state: M::State,
    /// Who is under way, by slot.
    open: Vec<usize>,
    /// Who is in its place, by slot.
    placed: Vec<u64>,
    /// How many that only read are under way and not in their places.
    readers: usize,
    trail: Vec<Done<M::State>>,
    in_vain: HashSet<(usize, Box<[u64]>, M::State)>,
    budget: u64,
}

/// Looks for an order of `actions` that `model` allows and that respects time: what ended
/// before something else began comes before it.
pub(super) fn search<M: Model>(model: &M, actions: &[Timed<M::Action>], budget: u64) -> Found {
    let (events, slots) = events(actions);
    let mut search = Search {
        model,
        actions,
        events,
        at: 0,
        state: model.initial(),
        open: vec![NOBODY; slots],
        placed: vec![0; slots.div_ceil(64)],
        readers: 0,
        trail: Vec::new(),
        in_vain: HashSet::new(),
        budget,
    };
    search.run()
}

/// Calls and returns in the order of time, calls first; and how many slots they need. Actions that
/// are under way at the same time have different slots.
fn events<A>(actions: &[Timed<A>]) -> (Vec<Event>, usize) {
    let mut order: Vec<(u64, bool, usize)> = Vec::with_capacity(actions.len() * 2);
    for (at, action) in actions.iter().enumerate() {
        order.push((action.from, false, at));
        if action.certain {
            order.push((action.to.max(action.from), true, at));
        }
    }
    order.sort_unstable();
    let mut slot_of = vec![0; actions.len()];
    let mut free = Vec::new();
    let mut slots = 0;
    let events = order
        .into_iter()
        .map(|(_, is_return, action)| {
            let slot = if is_return {
                let slot = slot_of.get(action).copied().unwrap_or(0);
                free.push(slot);
                slot
            } else {
                let slot = free.pop().unwrap_or_else(|| {
                    slots += 1;
                    slots - 1
                });
                if let Some(of) = slot_of.get_mut(action) {
                    *of = slot;
                }
                slot
            };
            Event {
                action,
                slot,
                is_return,
            }
        })
        .collect();
    (events, slots)
}

impl<M: Model> Search<'_, M> {
    fn run(&mut self) -> Found {
        let mut choices: Vec<Choice> = Vec::new();
        let mut furthest = (0, NOBODY);
        loop {
            let Some(returning) = self.walk() else {
                return Found::Order;
            };
            if self.at >= furthest.0 {
                furthest = (self.at, returning.action);
            }
            let known = !self.in_vain.is_empty() && self.in_vain.contains(&self.here());
            if !known {
                if !self.spend() {
                    return Found::Unknown;
                }
                let others = (0..self.open.len())
                    .any(|slot| slot != returning.slot && self.may_be_placed(slot));
                if others {
                    choices.push(Choice {
                        trail: self.trail.len(),
                        next: 0,
                    });
                } else if choices.is_empty() {
                    // Nothing before this could have been otherwise.
                    self.trail.clear();
                }
                if self.place(returning.slot) {
                    continue;
                }
            }
            // On to the next possibility, here or further back.
            loop {
                let Some(choice) = choices.last_mut() else {
                    return Found::None(furthest.1);
                };
                let (trail, mut next) = (choice.trail, choice.next);
                self.undo(trail);
                let returning = self.events[self.at].slot;
                let found = loop {
                    if next == self.open.len() {
                        break false;
                    }
                    let slot = next;
                    next += 1;
                    if slot != returning && self.may_be_placed(slot) {
                        if !self.spend() {
                            return Found::Unknown;
                        }
                        if self.place(slot) {
                            break true;
                        }
                    }
                };
                choice.next = next;
                if found {
                    break;
                }
                choices.pop();
                let here = self.here();
                self.in_vain.insert(here);
            }
        }
    }

    fn spend(&mut self) -> bool {
        self.budget = self.budget.saturating_sub(1);
        self.budget > 0
    }

    fn here(&self) -> (usize, Box<[u64]>, M::State) {
        (self.at, self.placed.as_slice().into(), self.state.clone())
    }

    fn is_placed(&self, slot: usize) -> bool {
        self.placed[slot / 64] >> (slot % 64) & 1 == 1
    }

    fn flip(&mut self, slot: usize) {
        self.placed[slot / 64] ^= 1 << (slot % 64);
    }

    /// Passes events up to the return of an action that isn't in its place; none: all are.
    fn walk(&mut self) -> Option<Event> {
        while let Some(event) = self.events.get(self.at).copied() {
            if event.is_return {
                if !self.is_placed(event.slot) {
                    return Some(event);
                }
                self.flip(event.slot);
                self.open[event.slot] = NOBODY;
                self.at += 1;
                self.trail.push(Done::Passed);
            } else {
                self.open[event.slot] = event.action;
                self.at += 1;
                self.trail.push(Done::Passed);
                if self.only_reads(event.action) {
                    self.readers += 1;
                    self.place(event.slot);
                }
            }
        }
        None
    }

    fn only_reads(&self, action: usize) -> bool {
        let timed = &self.actions[action];
        timed.certain && self.model.reads_only(&timed.action)
    }

    /// Whether it is worth trying. What only reads was put in its place as soon as it could be:
    /// that never stands in the way of anything.
    fn may_be_placed(&self, slot: usize) -> bool {
        let action = self.open[slot];
        if action == NOBODY || self.is_placed(slot) {
            return false;
        }
        let timed = &self.actions[action];
        if self.model.reads_only(&timed.action) {
            return false;
        }
        // Of several that aren't certain and are the same, the first will do.
        timed.certain
            || !self.open[..slot].iter().enumerate().any(|(other, known)| {
                *known != NOBODY
                    && !self.actions[*known].certain
                    && !self.is_placed(other)
                    && self.actions[*known].action == timed.action
            })
    }

    /// Puts the action in this slot in its place, if the state allows it.
    fn place(&mut self, slot: usize) -> bool {
        let action = self.open[slot];
        let Some(next) = self.model.step(&self.state, &self.actions[action].action) else {
            return false;
        };
        self.flip(slot);
        if self.only_reads(action) {
            self.readers -= 1;
            self.trail.push(Done::Placed(slot, None));
            return true;
        }
        let before = std::mem::replace(&mut self.state, next);
        self.trail.push(Done::Placed(slot, Some(before)));
        if self.readers > 0 {
            for other in 0..self.open.len() {
                let reader = self.open[other];
                if reader != NOBODY && !self.is_placed(other) && self.only_reads(reader) {
                    self.place(other);
                }
            }
        }
        true
    }

    /// Back to when the trail was so long.
    fn undo(&mut self, trail: usize) {
        while self.trail.len() > trail {
            match self.trail.pop() {
                Some(Done::Placed(slot, before)) => {
                    self.flip(slot);
                    match before {
                        Some(before) => self.state = before,
                        None => self.readers += 1,
                    }
                }
                Some(Done::Passed) => {
                    self.at -= 1;
                    let event = self.events[self.at];
                    if event.is_return {
                        self.open[event.slot] = event.action;
                        self.flip(event.slot);
                    } else {
                        if self.only_reads(event.action) {
                            self.readers -= 1;
                        }
                        self.open[event.slot] = NOBODY;
                    }
                }
                None => return,
            }
        }
    }
}

/// Leaves certain only what is needed for there being no order: the others count as if nobody
/// knew whether they happened. `actions` must have none.
///
/// `useless` says whether an action that isn't certain can be left out altogether, because
/// whatever else happens with it, happens without it.
pub(super) fn core<M: Model>(
    model: &M,
    actions: &mut Vec<Timed<M::Action>>,
    budget: u64,
    useless: impl Fn(&Timed<M::Action>, &[Timed<M::Action>]) -> bool,
) where
    Timed<M::Action>: Clone,
{
    let Found::None(last) = search(model, actions, budget) else {
        return;
    };
    let end = actions.get(last).map_or(u64::MAX, |last| last.to);
    actions.retain(|action| action.from <= end);
    for action in actions.iter_mut() {
        action.certain &= action.to <= end;
    }
    let mut rest = budget.saturating_mul(20);
    // What was read first: without it, less of what was written matters.
    for only_readers in [true, false] {
        let mut size = actions.len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            while from < actions.len() {
                let to = (from + size).min(actions.len());
                let mut fewer = actions.clone();
                for action in fewer.get_mut(from..to).unwrap_or_default() {
                    action.certain &= only_readers && !model.reads_only(&action.action);
                }
                let certain = |of: &[Timed<_>]| of.iter().filter(|one| one.certain).count();
                let less = certain(&fewer) < certain(actions);
                prune(model, &mut fewer, &useless);
                rest = rest.saturating_sub(fewer.len() as u64);
                if rest == 0 {
                    return;
                }
                let less = less || fewer.len() < actions.len();
                if less && matches!(search(model, &fewer, budget), Found::None(_)) {
                    // Wherever those were that were left out: none is passed over.
                    from = to.saturating_sub(actions.len() - fewer.len());
                    *actions = fewer;
                } else {
                    from = to;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }
}

/// Leaves out what is useless, and what only reads and isn't certain.
pub(super) fn prune<M: Model>(
    model: &M,
    actions: &mut Vec<Timed<M::Action>>,
    useless: &impl Fn(&Timed<M::Action>, &[Timed<M::Action>]) -> bool,
) where
    Timed<M::Action>: Clone,
{
    actions.retain(|action| action.certain || !model.reads_only(&action.action));
    let all = actions.clone();
    actions.retain(|action| action.certain || !useless(action, &all));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cell that must be left as it was found.
    struct Cell;

    impl Model for Cell {
        type State = u32;
        type Action = (Option<u32>, Option<u32>);

        fn initial(&self) -> u32 {
            0
        }

        fn step(&self, state: &u32, (finds, leaves): &Self::Action) -> Option<u32> {
            (finds.is_none() || *finds == Some(*state)).then(|| leaves.unwrap_or(*state))
        }

        fn reads_only(&self, action: &Self::Action) -> bool {
            action.1.is_none()
        }
    }

    fn write(value: u32, from: u64, to: u64) -> Timed<(Option<u32>, Option<u32>)> {
        Timed {
            action: (None, Some(value)),
            from,
            to,
            certain: true,
        }
    }

    fn read(value: u32, from: u64, to: u64) -> Timed<(Option<u32>, Option<u32>)> {
        Timed {
            action: (Some(value), None),
            from,
            to,
            certain: true,
        }
    }

    #[test]
    fn a_core_is_what_cannot_be_done_without() {
        let mut actions = vec![
            write(1, 0, 1),
            write(2, 2, 3),
            write(1, 4, 5),
            read(1, 6, 7),
            read(2, 8, 9),
            write(3, 10, 11),
        ];
        assert_eq!(search(&Cell, &actions, 1000), Found::None(4));
        core(&Cell, &mut actions, 1000, |action, all| {
            !all.iter().any(|other| other.action.0 == action.action.1)
        });
        let left: Vec<_> = actions.iter().map(|action| action.from).collect();
        assert_eq!(left, [2, 4, 8]);
    }

    #[test]
    fn what_touches_is_concurrent_and_what_does_not_is_ordered() {
        let actions = [write(1, 0, 5), write(2, 5, 9), read(1, 10, 11)];
        assert_eq!(search(&Cell, &actions, 1000), Found::Order);
        let actions = [write(1, 0, 4), write(2, 5, 9), read(1, 10, 11)];
        assert_eq!(search(&Cell, &actions, 1000), Found::None(2));
    }

    #[test]
    fn a_budget_that_is_not_enough_decides_nothing() {
        let mut actions: Vec<_> = (1..30).map(|value| write(value, 0, 100)).collect();
        actions.push(read(99, 200, 201));
        assert_eq!(search(&Cell, &actions, 10_000), Found::Unknown);
        assert_eq!(search(&Cell, &actions[..29], 10_000), Found::Order);
    }
}
