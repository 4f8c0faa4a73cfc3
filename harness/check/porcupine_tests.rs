//! Our verdicts against those of `porcupine-rs`, which shares no code with ours, on small random
//! histories: a queue, and several keys of a dictionary through the whole check.

use super::generate::{Slot, script, slots};
use super::search::{Found, Model, Timed, search};
use super::{CheckSpec, Verdict};
use crate::history::{Operation, Outcome};
use crate::protocol::{ErrorCode, Failure, Op};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// What is done with a queue; taken without an answer: something or nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Put(u8),
    Take(Option<u8>),
}

#[derive(Clone, Debug)]
struct Fifo;

impl Model for Fifo {
    type State = Vec<u8>;
    type Action = Deed;

    fn initial(&self) -> Vec<u8> {
        Vec::new()
    }

    fn step(&self, state: &Vec<u8>, deed: &Deed) -> Option<Vec<u8>> {
        match deed {
            Deed::Put(item) => Some(state.iter().copied().chain([*item]).collect()),
            Deed::Take(item) if state.first().copied() == *item => {
                Some(state.iter().skip(1).copied().collect())
            }
            Deed::Take(_) => None,
        }
    }

    fn reads_only(&self, deed: &Deed) -> bool {
        *deed == Deed::Take(None)
    }
}

impl porcupine_rs::Model for Fifo {
    type State = Vec<u8>;
    type Op = Deed;
    type Metadata = ();

    fn init() -> Vec<u8> {
        Vec::new()
    }

    fn step(state: &Vec<u8>, deed: &Deed) -> (bool, Vec<u8>) {
        match Model::step(&Self, state, deed) {
            Some(next) => (true, next),
            None => (false, state.clone()),
        }
    }
}

/// What workers do with a queue that gives an item out of order now and then.
fn queue(seed: u64, faults: u32) -> Vec<Timed<Deed>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count = rng.random_range(4..14);
    let mut inside: Vec<u8> = Vec::new();
    let mut actions: Vec<_> = slots(&mut rng, 3, count)
        .into_iter()
        .map(|slot| {
            let certain = rng.random_range(0..8) > 0;
            let (action, certain) = if rng.random() {
                let item = rng.random_range(0..3);
                if certain || rng.random() {
                    inside.push(item);
                }
                (Deed::Put(item), certain)
            } else if inside.is_empty() {
                (Deed::Take(None), true)
            } else {
                let wrong = rng.random_range(0..100) < faults;
                let at = if wrong { inside.len() - 1 } else { 0 };
                (Deed::Take(Some(inside.remove(at))), true)
            };
            Timed {
                action,
                from: slot.from * 2,
                to: slot.to * 2 + 1,
                certain,
            }
        })
        .collect();
    actions.sort_by_key(|action| action.from);
    actions
}

fn operation<M: porcupine_rs::Model>(
    op: M::Op,
    from: u64,
    to: u64,
    certain: bool,
) -> porcupine_rs::Operation<M> {
    porcupine_rs::Operation {
        client_id: None,
        call_time: i64::try_from(from).unwrap(),
        // Never is the same as last, for what changes something and is free to find anything.
        return_time: if certain {
            i64::try_from(to).unwrap()
        } else {
            i64::MAX
        },
        op,
        metadata: None,
    }
}

/// Three keys as one object: porcupine isn't told that they are independent.
#[derive(Clone, Debug)]
struct Keys;

impl porcupine_rs::Model for Keys {
    type State = Vec<Value>;
    type Op = (usize, Operation);
    type Metadata = ();

    fn init() -> Vec<Value> {
        vec![Value::Null; 3]
    }

    fn step(state: &Vec<Value>, (key, operation): &(usize, Operation)) -> (bool, Vec<Value>) {
        let mut next = state.clone();
        let legal = match (&operation.op, operation.ok()) {
            (Op::DictGet { .. }, Some(got)) => *got == state[*key],
            (Op::DictSet { value, .. }, _) => {
                next[*key] = value.clone();
                true
            }
            (Op::DictDelete { .. }, got) => {
                next[*key] = Value::Null;
                got.is_none_or(|got| *got == json!(!state[*key].is_null()))
            }
            _ => true,
        };
        (legal, next)
    }
}

/// What workers do with three keys, some of whose readings are stale.
fn keys(seed: u64, faults: u32, distinct: bool) -> Vec<(Slot, Op, Outcome)> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count = rng.random_range(4..30);
    let mut now = vec![Value::Null; 3];
    let mut before = now.clone();
    slots(&mut rng, 4, count)
        .into_iter()
        .enumerate()
        .map(|(at, slot)| {
            // No two moments are the same, as porcupine might see it otherwise.
            let slot = Slot {
                from: slot.from * 2,
                to: slot.to * 2 + 1,
                ..slot
            };
            let which = rng.random_range(0..3_usize);
            let (name, key) = ("d".to_owned(), which.to_string());
            let certain = rng.random_range(0..8) > 0;
            let ok = |value: Value| match certain {
                true => Outcome::Ok {
                    value,
                    commit: None,
                },
                false => Outcome::Info(Failure::new(ErrorCode::Gone, "")),
            };
            let (op, outcome, new) = match rng.random_range(0..6) {
                0..=2 => {
                    let stale = rng.random_range(0..100) < faults;
                    let got = if stale { &before } else { &now }[which].clone();
                    return (slot, Op::DictGet { name, key }, ok(got));
                }
                3 if !distinct => {
                    let was = json!(!now[which].is_null());
                    (Op::DictDelete { name, key }, ok(was), Value::Null)
                }
                _ => {
                    let value = if distinct {
                        json!(at)
                    } else {
                        json!(rng.random_range(0..3))
                    };
                    let op = Op::DictSet {
                        name,
                        key,
                        value: value.clone(),
                    };
                    (op, ok(Value::Null), value)
                }
            };
            if certain || rng.random() {
                before[which] = std::mem::replace(&mut now[which], new);
            }
            (slot, op, outcome)
        })
        .collect()
}

fn both(seed: u64, faults: u32, distinct: bool) -> (Verdict, bool) {
    let script = script(CheckSpec::Linearizable, keys(seed, faults, distinct));
    let history: Vec<_> = script
        .history
        .operations
        .iter()
        .map(|one| {
            let key = match &one.op {
                Op::DictGet { key, .. } | Op::DictSet { key, .. } | Op::DictDelete { key, .. } => {
                    key.parse().unwrap()
                }
                _ => 0,
            };
            let to = one.completed_ns.unwrap_or(u64::MAX);
            operation::<Keys>((key, one.clone()), one.invoked_ns, to, !one.is_info())
        })
        .collect();
    (
        script.judge().verdict,
        porcupine_rs::check_operations(&history),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn queues_are_judged_as_by_porcupine(seed: u64, faults in 0_u32..100) {
        let actions = queue(seed, faults);
        let history: Vec<_> = actions
            .iter()
            .map(|one| operation::<Fifo>(one.action, one.from, one.to, one.certain))
            .collect();
        let expected = porcupine_rs::check_operations(&history);
        let found = search(&Fifo, &actions, 1_000_000);
        prop_assert_ne!(found, Found::Unknown);
        prop_assert_eq!(found == Found::Order, expected, "{:#?}", actions);
    }

    #[test]
    fn several_keys_are_judged_as_by_porcupine(seed: u64, faults in 0_u32..100, distinct: bool) {
        let (ours, legal) = both(seed, faults, distinct);
        let expected = if legal { Verdict::Pass } else { Verdict::Fail };
        prop_assert_eq!(ours, expected);
    }
}

/// So that the comparisons above compare something.
#[test]
fn both_verdicts_are_common() {
    let legal = |seed| {
        let history: Vec<_> = queue(seed, 90)
            .into_iter()
            .map(|one| operation::<Fifo>(one.action, one.from, one.to, one.certain))
            .collect();
        porcupine_rs::check_operations(&history)
    };
    let queues = (0..500).filter(|seed| legal(*seed)).count();
    assert!((100..450).contains(&queues), "{queues}");
    for distinct in [false, true] {
        let keys = (0..500).filter(|seed| both(*seed, 80, distinct).1).count();
        assert!((50..450).contains(&keys), "{keys}");
    }
}
