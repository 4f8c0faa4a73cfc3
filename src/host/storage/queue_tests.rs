//! The order of waiters, on plain data.

use super::super::testing::counting_waker;
use super::*;

fn exclusive(first: u32, count: u32) -> SlotLock {
    SlotLock::new(first, count, ShmLockKind::Exclusive).unwrap()
}

fn shared(slot: u32) -> SlotLock {
    SlotLock::new(slot, 1, ShmLockKind::Shared).unwrap()
}

#[test]
fn slots_out_of_range_are_refused() {
    for (first, count) in [(0, 0), (0, 9), (8, 1), (7, 2), (u32::MAX, 1), (1, u32::MAX)] {
        let refused = SlotLock::new(first, count, ShmLockKind::Exclusive);
        assert_eq!(refused, Err(ErrorCode::InvalidArgument), "{first} {count}");
    }
    assert!(SlotLock::new(3, 2, ShmLockKind::Shared).is_err());
    assert_eq!(exclusive(0, 8).mask(), 0xff);
    assert_eq!(exclusive(4, 3).mask(), 0b0111_0000);
}

#[test]
fn a_release_wakes_the_first_and_only_the_first() {
    let mut queue = SlotQueue::default();
    queue.acquired(exclusive(0, 1));
    let woken: Vec<_> = (0..3)
        .map(|_| {
            let (waker, woken) = counting_waker();
            (queue.join(exclusive(0, 1), waker), woken)
        })
        .collect();
    queue
        .released(exclusive(0, 1))
        .into_iter()
        .for_each(Waker::wake);
    assert_eq!(
        woken
            .iter()
            .map(|(_, woken)| woken.count())
            .collect::<Vec<_>>(),
        [1, 0, 0]
    );
    // It gives up instead of taking the lock: the next one hears of it.
    queue.leave(woken[0].0).into_iter().for_each(Waker::wake);
    assert_eq!(
        woken
            .iter()
            .map(|(_, woken)| woken.count())
            .collect::<Vec<_>>(),
        [1, 1, 0]
    );
    // Leaving twice is nothing.
    assert!(queue.leave(woken[0].0).is_empty());
}

#[test]
fn sharers_go_together_but_not_past_an_exclusive_waiter() {
    let mut queue = SlotQueue::default();
    queue.acquired(exclusive(3, 1));
    let wants = [shared(3), shared(3), exclusive(3, 1), shared(3)];
    let woken: Vec<_> = wants
        .map(|wants| {
            let (waker, woken) = counting_waker();
            let ticket = queue.join(wants, waker);
            (ticket, woken)
        })
        .into();
    queue
        .released(exclusive(3, 1))
        .into_iter()
        .for_each(Waker::wake);
    assert_eq!(
        woken
            .iter()
            .map(|(_, woken)| woken.count())
            .collect::<Vec<_>>(),
        [1, 1, 0, 0]
    );
    assert!(queue.is_first(Some(woken[1].0), shared(3)));
    assert!(!queue.is_first(Some(woken[2].0), exclusive(3, 1)));
    assert!(!queue.is_first(Some(woken[3].0), shared(3)));
    assert!(
        !queue.is_first(None, shared(3)),
        "a newcomer queues behind the exclusive waiter"
    );
    assert!(
        queue.is_first(None, exclusive(0, 1)),
        "other slots are another matter"
    );

    // Both take it; the exclusive waiter is woken by the last release only.
    for reader in &woken[..2] {
        queue.acquired(shared(3));
        queue.leave(reader.0).into_iter().for_each(Waker::wake);
    }
    assert_eq!(
        woken[2].1.count(),
        0,
        "its turn, but the sharers are in the way"
    );
    assert!(queue.released(shared(3)).is_empty());
    queue.released(shared(3)).into_iter().for_each(Waker::wake);
    assert_eq!((woken[2].1.count(), woken[3].1.count()), (1, 0));
}

#[test]
fn a_range_waits_for_its_last_slot_and_keeps_its_place() {
    let mut queue = SlotQueue::default();
    queue.acquired(shared(4));
    queue.acquired(exclusive(6, 1));
    let (waker, woken) = counting_waker();
    queue.join(exclusive(4, 4), waker);
    let (waker, behind) = counting_waker();
    queue.join(shared(5), waker);
    assert!(queue.released(exclusive(6, 1)).is_empty());
    queue.released(shared(4)).into_iter().for_each(Waker::wake);
    assert_eq!((woken.count(), behind.count()), (1, 0));
}
