//! One register: what is read, written, deleted or exchanged there in one step.
//!
//! What must stay true: the two ways to a verdict agree. [`zones`] is for registers in which each value
//! is written once (Gibbons and Korach: one zone in time for each value; takes n log n); the
//! search is for all.

use super::search::{Model, Timed};
use super::values::ABSENT;
use std::collections::HashSet;

/// What an action must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finds {
    /// Whatever.
    Any,
    /// This value.
    This(u32),
    /// Any value but *absent*.
    Present,
}

/// One step: finds something and leaves something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    /// What it found.
    pub(super) finds: Finds,
    /// What it left, if it changed anything.
    pub(super) leaves: Option<u32>,
    /// Which steps of the history it stands for, in the order in which they were made: reading and writing.
    pub(super) operations: [Option<usize>; 2],
    /// Before this nobody else can have seen what it left.
    pub(super) visible: u64,
}

impl Access {
    /// The same step, whoever made it.
    fn is_like(&self, other: &Self) -> bool {
        self.finds == other.finds && self.leaves == other.leaves
    }
}

/// What the search needs to know of an access.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step(pub(super) Access);

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_like(&other.0)
    }
}

/// A register that is absent at first.
#[derive(Debug)]
pub(super) struct Register;

impl Model for Register {
    type State = u32;
    type Action = Step;

    fn initial(&self) -> u32 {
        ABSENT
    }

    fn step(&self, state: &u32, action: &Step) -> Option<u32> {
        let found = match action.0.finds {
            Finds::Any => true,
            Finds::This(value) => value == *state,
            Finds::Present => *state != ABSENT,
        };
        found.then(|| action.0.leaves.unwrap_or(*state))
    }

    fn reads_only(&self, action: &Step) -> bool {
        action.0.leaves.is_none()
    }
}

/// Whether nothing that is certain could need what this action leaves: without it, whoever
/// comes next finds what was there before, and must not care.
pub(super) fn useless(action: &Timed<Step>, all: &[Timed<Step>]) -> bool {
    let Some(left) = action.action.0.leaves else {
        return true;
    };
    !all.iter().any(|other| match other.action.0.finds {
        Finds::Any => false,
        Finds::This(value) => value == left,
        Finds::Present => left != ABSENT,
    })
}

/// Whether [`zones`] can judge it.
pub(super) fn each_value_is_written_once(actions: &[Timed<Step>]) -> bool {
    let mut written = HashSet::with_capacity(actions.len());
    actions.iter().all(|action| {
        let access = action.action.0;
        match (access.finds, access.leaves) {
            (Finds::This(_), None) => true,
            (Finds::Any, Some(value)) => value != ABSENT && written.insert(value),
            _ => false,
        }
    })
}

/// What is wrong with a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The read ended before anybody could have seen what was written.
    Early {
        /// Place of the reading action.
        read: usize,
        /// Place of the writing action.
        write: usize,
    },
    /// One value was there before and after another.
    Twice {
        /// The value that came again.
        again: Zone,
        /// The one that had replaced it.
        between: Zone,
    },
}

/// All that was done with one value: written once, read many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Zone {
    /// The action that wrote it; none: it was there at first.
    pub(super) write: Option<usize>,
    /// The earliest end of an action, and whose.
    pub(super) first_end: (u64, Option<usize>),
    /// The latest begin of one, and whose.
    pub(super) last_begin: (u64, Option<usize>),
}

/// Judges a register in which each value is written once and each value that is read was written.
/// `values`: how many there are, absent included.
pub(super) fn zones(actions: &[Timed<Step>], values: usize) -> Vec<Wrong> {
    let nobody = Zone {
        write: None,
        first_end: (u64::MAX, None),
        last_begin: (0, None),
    };
    let mut zones = vec![nobody; values];
    if let Some(zone) = zones.first_mut() {
        // Written before all else.
        zone.first_end.0 = 0;
    }
    let mut wrong = Vec::new();
    for (at, action) in actions.iter().enumerate() {
        let access = action.action.0;
        let value = match (access.finds, access.leaves) {
            (_, Some(value)) | (Finds::This(value), None) => value,
            _ => continue,
        };
        let Some(zone) = zones.get_mut(value as usize) else {
            continue;
        };
        if access.leaves.is_some() {
            zone.write = Some(at);
        }
        // Times begin at 1 here, so that the first value was there before.
        let (from, to) = (action.from.saturating_add(1), action.to.saturating_add(1));
        if action.certain && to < zone.first_end.0 {
            zone.first_end = (to, Some(at));
        }
        if from > zone.last_begin.0 {
            zone.last_begin = (from, Some(at));
        }
    }
    for (at, action) in actions.iter().enumerate() {
        let access = action.action.0;
        let (Finds::This(value), None) = (access.finds, access.leaves) else {
            continue;
        };
        let write = zones.get(value as usize).and_then(|zone| zone.write);
        if let Some(write) = write
            && let Some(writer) = actions.get(write)
            && action.to < writer.from
        {
            wrong.push(Wrong::Early { read: at, write });
        }
    }
    if !wrong.is_empty() {
        return wrong;
    }
    zones.retain(|zone| zone.write.is_some() || zone.first_end.0 == 0);
    let is_forward = |zone: &Zone| zone.first_end.0 < zone.last_begin.0;
    let (mut forward, backward): (Vec<_>, Vec<_>) = zones.into_iter().partition(is_forward);
    forward.sort_unstable_by_key(|zone| zone.first_end.0);
    // Of the forward zones so far, the one that lasts longest.
    let mut longest: Vec<Zone> = Vec::with_capacity(forward.len());
    for zone in &forward {
        let last = longest.last().copied();
        if let Some(last) = last
            && zone.first_end.0 < last.last_begin.0
        {
            wrong.push(twice(last, *zone));
        }
        longest.push(match last {
            Some(last) if last.last_begin.0 > zone.last_begin.0 => last,
            _ => *zone,
        });
    }
    for zone in backward {
        let before = forward.partition_point(|other| other.first_end.0 < zone.last_begin.0);
        let last = before.checked_sub(1).and_then(|at| longest.get(at));
        if let Some(last) = last
            && zone.first_end.0 < last.last_begin.0
        {
            wrong.push(twice(*last, zone));
        }
    }
    wrong
}

/// Of two values each of which was there before the other, the one that was read again.
fn twice(one: Zone, other: Zone) -> Wrong {
    // What begins last can't be the writing of both.
    let (again, between) = if one.last_begin.1 == one.write {
        (other, one)
    } else {
        (one, other)
    };
    Wrong::Twice { again, between }
}

#[cfg(test)]
mod tests {
    use super::super::generate::{Slot, slots};
    use super::super::search::{Found, prune, search};
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn access(slot: Slot, finds: Finds, leaves: Option<u32>, certain: bool) -> Timed<Step> {
        Timed {
            action: Step(Access {
                finds,
                leaves,
                operations: [None, None],
                visible: slot.from,
            }),
            // No two moments are the same, as porcupine might see it otherwise.
            from: slot.from * 2,
            to: slot.to * 2 + 1,
            certain,
        }
    }

    /// What several workers do with a register that is atomic, but for faults.
    fn history(seed: u64, distinct: bool, faults: u32) -> Vec<Timed<Step>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let workers = rng.random_range(1..5);
        let count = rng.random_range(1..14);
        let mut state = ABSENT;
        let mut before = ABSENT;
        let mut next = 0;
        let mut actions: Vec<_> = slots(&mut rng, workers, count)
            .into_iter()
            .map(|slot| {
                let fault = rng.random_range(0..100) < faults;
                let certain = rng.random_range(0..10) > 0;
                let kind = rng.random_range(0..if distinct { 6 } else { 9 });
                let (finds, leaves) = match kind {
                    0..=2 => (Finds::This(if fault { before } else { state }), None),
                    3..=5 => {
                        next += 1;
                        let new = if distinct {
                            next
                        } else {
                            rng.random_range(1..4)
                        };
                        (Finds::Any, Some(new))
                    }
                    6 | 7 if state == ABSENT => (Finds::This(ABSENT), None),
                    6 | 7 => (Finds::Present, Some(ABSENT)),
                    _ => (Finds::This(state), Some(rng.random_range(1..4))),
                };
                let happens = (certain && !fault) || rng.random();
                let reads = leaves.is_none();
                if let (Some(new), true) = (leaves, happens) {
                    before = std::mem::replace(&mut state, new);
                }
                // Nobody knows what an action without an answer found.
                let finds = if certain { finds } else { Finds::Any };
                access(slot, finds, leaves, certain || reads)
            })
            .filter(|action| {
                action.action.0.finds != Finds::Any || action.action.0.leaves.is_some()
            })
            .collect();
        actions.sort_by_key(|action| action.from);
        actions
    }

    #[derive(Clone, Debug)]
    struct Peer;

    impl porcupine_rs::Model for Peer {
        type State = u32;
        type Op = Access;
        type Metadata = ();

        fn init() -> u32 {
            ABSENT
        }

        fn step(state: &u32, access: &Access) -> (bool, u32) {
            match Register.step(state, &Step(*access)) {
                Some(next) => (true, next),
                None => (false, *state),
            }
        }
    }

    /// What porcupine says. An action without an answer writes blindly: at the end of time
    /// it does no harm, so "never" is the same as "last".
    fn peer(actions: &[Timed<Step>]) -> bool {
        let history: Vec<_> = actions
            .iter()
            .map(|action| porcupine_rs::Operation::<Peer> {
                client_id: None,
                call_time: i64::try_from(action.from).unwrap(),
                return_time: if action.certain {
                    i64::try_from(action.to).unwrap()
                } else {
                    i64::MAX
                },
                op: action.action.0,
                metadata: None,
            })
            .collect();
        porcupine_rs::check_operations(&history)
    }

    fn ours(actions: &[Timed<Step>]) -> bool {
        match search(&Register, actions, 1_000_000) {
            Found::Order => true,
            Found::None(_) => false,
            Found::Unknown => panic!("the budget was not enough for {} actions", actions.len()),
        }
    }

    /// Whether each value read was written, as [`zones`] asks for.
    fn is_written(actions: &[Timed<Step>]) -> bool {
        let written: HashSet<_> = actions.iter().filter_map(|a| a.action.0.leaves).collect();
        actions.iter().all(|action| match action.action.0.finds {
            Finds::This(value) => value == ABSENT || written.contains(&value),
            _ => true,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_search_agrees_with_porcupine(seed: u64, faults in 0_u32..40) {
            let actions = history(seed, false, faults);
            prop_assert_eq!(ours(&actions), peer(&actions), "{:#?}", actions);
        }

        #[test]
        fn zones_agree_with_porcupine(seed: u64, faults in 0_u32..40) {
            let mut actions = history(seed, true, faults);
            prop_assume!(is_written(&actions));
            let expected = peer(&actions);
            prune(&Register, &mut actions, &useless);
            prop_assert!(each_value_is_written_once(&actions));
            prop_assert_eq!(zones(&actions, 20).is_empty(), expected, "{:#?}", actions);
            prop_assert_eq!(ours(&actions), expected);
        }

        #[test]
        fn what_is_correct_passes(seed: u64, distinct: bool) {
            let actions = history(seed, distinct, 0);
            prop_assert!(ours(&actions), "{:#?}", actions);
        }
    }

    /// So that the comparisons above compare something.
    #[test]
    fn both_verdicts_are_common() {
        for distinct in [false, true] {
            let legal = (0..1000)
                .filter(|seed| ours(&history(*seed, distinct, 20)))
                .count();
            assert!((100..900).contains(&legal), "{legal}");
        }
    }
}
