//! The slots and their queue against lists that are searched from end to end.

use super::*;
use ShmKind::{Exclusive, Shared};
use proptest::prelude::*;
use std::collections::BTreeSet;

const HOLDERS: u64 = 4;

type Lock = (u32, u32, ShmKind);

fn slots((first, count, _): Lock) -> std::ops::Range<u32> {
    first..first + count
}

fn conflict(one: Lock, two: Lock) -> bool {
    let overlap = slots(one).any(|slot| slots(two).contains(&slot));
    overlap && (one.2 == Exclusive || two.2 == Exclusive)
}

#[derive(Default)]
struct Model {
    /// One entry per slot.
    held: Vec<(Holder, u32, ShmKind)>,
    waiting: Vec<(Ticket, Holder, Lock)>,
}

impl Model {
    fn known(&self, holder: Holder, lock: Lock) -> Option<ShmAnswer> {
        let (first, count, kind) = lock;
        if count == 0 || first >= 8 || count > 8 - first || (kind == Shared && count > 1) {
            return Some(ShmAnswer::Invalid);
        }
        let mine = |kind| {
            (self.held.iter()).any(|(other, slot, has)| {
                *other == holder && *has == kind && slots(lock).contains(slot)
            })
        };
        match kind {
            Shared if mine(Exclusive) => Some(ShmAnswer::Invalid),
            Shared if mine(Shared) => Some(ShmAnswer::Done),
            Exclusive if mine(Exclusive) || mine(Shared) => Some(ShmAnswer::Invalid),
            _ => None,
        }
    }

    fn blockers(&self, holder: Holder, lock: Lock) -> Vec<Holder> {
        let blocking: BTreeSet<Holder> = (self.held.iter())
            .filter(|(other, slot, kind)| *other != holder && conflict(lock, (*slot, 1, *kind)))
            .map(|(other, ..)| *other)
            .collect();
        blocking.into_iter().collect()
    }

    fn try_lock(&mut self, holder: Holder, lock: Lock) -> ShmAnswer {
        if let Some(known) = self.known(holder, lock) {
            return known;
        }
        if !self.blockers(holder, lock).is_empty() {
            return ShmAnswer::Busy;
        }
        (self.held).extend(slots(lock).map(|slot| (holder, slot, lock.2)));
        ShmAnswer::Done
    }

    /// `before`: how many are ahead.
    fn lock_in_turn(&mut self, holder: Holder, lock: Lock, before: usize) -> ShmAnswer {
        let is_first = (self.waiting[..before].iter()).all(|(.., other)| !conflict(*other, lock));
        match self.known(holder, lock) {
            None if !is_first => ShmAnswer::Busy,
            _ => self.try_lock(holder, lock),
        }
    }

    fn unlock(&mut self, holder: Holder, lock: Lock) -> ShmAnswer {
        let mine = |entry: &(Holder, u32, ShmKind)| {
            entry.0 == holder && entry.2 == lock.2 && slots(lock).contains(&entry.1)
        };
        let (first, count, kind) = lock;
        let fits = first < 8 && (1..=8 - first).contains(&count);
        let is_held = self.held.iter().filter(|entry| mine(entry)).count() == count as usize;
        if !fits || !is_held || (kind == Shared && count > 1) {
            return ShmAnswer::Invalid;
        }
        self.held.retain(|entry| !mine(entry));
        ShmAnswer::Done
    }

    fn drop_holder(&mut self, holder: Holder) {
        self.held.retain(|(other, ..)| *other != holder);
        self.waiting.retain(|(_, other, _)| *other != holder);
    }

    /// Those who could have the lock now, in turn.
    fn able(&self) -> Vec<Ticket> {
        (self.waiting.iter().enumerate())
            .filter(|(before, (_, holder, lock))| {
                self.blockers(*holder, *lock).is_empty()
                    && (self.waiting[..*before].iter()).all(|(.., other)| !conflict(*other, *lock))
            })
            .map(|(_, (ticket, ..))| *ticket)
            .collect()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Try(Lock),
    Wait(Lock),
    Unlock(Lock),
    /// The n-th of those who were woken.
    Retry(usize),
    /// The n-th of those who wait.
    Cancel(usize),
    Drop,
}

fn lock() -> impl Strategy<Value = Lock> {
    prop_oneof![
        4 => (0u32..3).prop_map(|slot| (slot, 1, Shared)),
        4 => (0u32..3, 1u32..3).prop_map(|(first, count)| (first, count, Exclusive)),
        1 => (0u32..10, 0u32..10, prop::sample::select(vec![Shared, Exclusive])),
    ]
}

fn op() -> impl Strategy<Value = (Holder, Op)> {
    let op = prop_oneof![
        2 => lock().prop_map(Op::Try),
        4 => lock().prop_map(Op::Wait),
        4 => lock().prop_map(Op::Unlock),
        4 => (0usize..4).prop_map(Op::Retry),
        1 => (0usize..4).prop_map(Op::Cancel),
        1 => Just(Op::Drop),
    ];
    ((0..HOLDERS).prop_map(Holder), op)
}

proptest! {
    #[test]
    fn answers_and_order_are_those_of_the_lists(ops in prop::collection::vec(op(), 0..120)) {
        let mut locks = ShmLocks::default();
        let mut model = Model::default();
        // Woken, and not run since.
        let mut woken: Vec<Ticket> = Vec::new();
        for (holder, op) in ops {
            match op {
                Op::Try(lock) => prop_assert_eq!(
                    locks.try_lock(holder, lock.0, lock.1, lock.2),
                    model.try_lock(holder, lock)
                ),
                Op::Wait(lock) => {
                    let expected = model.lock_in_turn(holder, lock, model.waiting.len());
                    match locks.lock_or_wait(holder, lock.0, lock.1, lock.2) {
                        Ok(ticket) => {
                            prop_assert_eq!(expected, ShmAnswer::Busy);
                            model.waiting.push((ticket, holder, lock));
                        }
                        Err(answer) => prop_assert_eq!(answer, expected),
                    }
                }
                Op::Unlock(lock) => {
                    let (answer, more) = locks.unlock(holder, lock.0, lock.1, lock.2);
                    prop_assert_eq!(answer, model.unlock(holder, lock));
                    woken.extend(more);
                }
                Op::Retry(index) if index < woken.len() => {
                    let ticket = woken.remove(index);
                    let place = model.waiting.iter().position(|(other, ..)| *other == ticket);
                    let expected = match place {
                        Some(place) => {
                            let (_, holder, lock) = model.waiting[place];
                            model.lock_in_turn(holder, lock, place)
                        }
                        None => ShmAnswer::Invalid,
                    };
                    if expected != ShmAnswer::Busy {
                        model.waiting.retain(|(other, ..)| *other != ticket);
                    }
                    let (answer, more) = locks.retry(ticket);
                    prop_assert_eq!(answer, expected);
                    woken.extend(more);
                }
                Op::Cancel(index) if index < model.waiting.len() => {
                    let (ticket, ..) = model.waiting.remove(index);
                    woken.extend(locks.cancel(ticket));
                    prop_assert!(locks.cancel(ticket).is_empty());
                }
                Op::Retry(_) | Op::Cancel(_) => {}
                Op::Drop => {
                    model.drop_holder(holder);
                    woken.extend(locks.drop_holder(holder));
                }
            }
            for slot in 0..8 {
                let mut holders = (0..HOLDERS).map(Holder);
                let alone = holders.clone().filter(|who| locks.holds(*who, slot, 1, Exclusive));
                let sharing = holders.clone().filter(|who| locks.holds(*who, slot, 1, Shared));
                let (alone, sharing) = (alone.count(), sharing.count());
                prop_assert!(alone == 0 || alone + sharing == 1);
                let is_same = |who, kind| {
                    locks.blockers(who, slot, 1, kind) == model.blockers(who, (slot, 1, kind))
                        && locks.holds(who, slot, 1, kind)
                            == model.held.contains(&(who, slot, kind))
                };
                prop_assert!(holders.all(|who| is_same(who, Shared) && is_same(who, Exclusive)));
            }
            let waiting: Vec<_> = (model.waiting.iter())
                .map(|(ticket, holder, _)| (*ticket, *holder))
                .collect();
            prop_assert_eq!(locks.waiting().collect::<Vec<_>>(), waiting);
            // Nobody is left to sleep although he could go ahead.
            prop_assert!(model.able().iter().all(|ticket| woken.contains(ticket)));
        }
    }
}

#[test]
fn waiters_are_served_in_the_order_of_coming() {
    let mut locks = ShmLocks::default();
    let holders: Vec<Holder> = (0..4).map(Holder).collect();
    assert_eq!(locks.try_lock(holders[0], 0, 1, Exclusive), ShmAnswer::Done);
    let first = locks.lock_or_wait(holders[1], 0, 1, Exclusive).unwrap();
    let second = locks.lock_or_wait(holders[2], 0, 1, Exclusive).unwrap();
    assert_eq!(
        locks.lock_or_wait(holders[2], 3, 1, Exclusive),
        Err(ShmAnswer::Done),
        "nobody waits for that slot"
    );
    let (answer, woken) = locks.unlock(holders[0], 0, 1, Exclusive);
    assert_eq!((answer, woken), (ShmAnswer::Done, vec![first]));
    assert_eq!(locks.retry(second).0, ShmAnswer::Busy, "not its turn");
    assert_eq!(
        locks.try_lock(holders[3], 0, 1, Exclusive),
        ShmAnswer::Done,
        "who doesn't wait may overtake"
    );
    assert_eq!(locks.retry(first), (ShmAnswer::Busy, vec![]));
    assert_eq!(locks.drop_holder(holders[3]), [first]);
    assert_eq!(locks.cancel(first), [second], "it passes the wake-up on");
    assert_eq!(locks.retry(second), (ShmAnswer::Done, vec![]));
    assert_eq!(locks.retry(second).0, ShmAnswer::Invalid);
}

#[test]
fn the_planted_fault_lets_exclusive_in_beside_all() {
    let mut locks = ShmLocks::new(LockFaults {
        shm_ignored: true,
        ..LockFaults::default()
    });
    for (holder, kind) in [(0, Exclusive), (1, Exclusive), (2, Shared), (3, Exclusive)] {
        let answer = locks.try_lock(Holder(holder), 4, 1, kind);
        assert_eq!(answer, ShmAnswer::Done);
        assert!(locks.holds(Holder(holder), 4, 1, kind));
    }
    assert_eq!(locks.unlock(Holder(0), 4, 1, Exclusive).0, ShmAnswer::Done);
    assert!(locks.holds(Holder(1), 4, 1, Exclusive));
}
