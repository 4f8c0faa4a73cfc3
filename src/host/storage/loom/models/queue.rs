//! Models of waiting for slots of the wal-index.
//!
//! A model first lets its threads race, then looks: who isn't served by then
//! must have been woken, or it never will be.

use super::error::ErrorCode;
use super::kernel::{Handle, Kernel};
use super::kinds::ShmLockKind;
use super::polled::{Polled, block_on, together};
use super::queue::{SlotLock, SlotQueue};
use super::registry::{FileId, Registry};
use super::shm::Shm;
use super::shm_wait::ShmWait;
use super::sync::{Arc, Mutex, Ordering};
use super::timer::{self, NEVER, SOON};
use std::task::Poll;
use std::time::Duration;

const FILE: FileId = FileId {
    device: 1,
    inode: 1,
};
const READER: u32 = 3;

loom::lazy_static! {
    static ref QUEUES: Registry<Mutex<SlotQueue>> = Registry::new();
}

fn writer() -> SlotLock {
    slot(0, ShmLockKind::Exclusive)
}

fn slot(slot: u32, kind: ShmLockKind) -> SlotLock {
    SlotLock::new(slot, 1, kind).expect("one slot in range")
}

/// Some handles of one file.
fn handles<const N: usize>() -> (Arc<Kernel>, [Arc<Shm>; N]) {
    let kernel = Arc::new(Kernel::default());
    let handles = std::array::from_fn(|number| {
        let kernel = Arc::clone(&kernel);
        let queue = QUEUES.get(FILE, Mutex::default);
        Arc::new(Shm::new(queue, Handle { kernel, number }, FILE))
    });
    (kernel, handles)
}

fn wait(handle: &Arc<Shm>, timeout: Duration) -> Polled<ShmWait> {
    Polled::new(ShmWait::new(Arc::clone(handle), writer(), timeout))
}

/// A wait that has taken its place in the queue.
fn queued(handle: &Arc<Shm>, timeout: Duration) -> Polled<ShmWait> {
    let mut wait = wait(handle, timeout);
    assert_eq!(wait.poll(), Poll::Pending, "the lock is held");
    wait
}

/// The wait ends with the lock, without anything more happening.
fn assert_served(wait: &mut Polled<ShmWait>) {
    assert_eq!(wait.poll_if_woken(), Poll::Ready(Ok(())), "not woken");
}

fn unlock(handle: &Shm) {
    handle.unlock(writer()).expect("it holds the lock");
}

fn assert_nothing_left(kernel: &Kernel) {
    assert!(kernel.is_free(), "a lock is left");
    let queue = QUEUES.get(FILE, Mutex::default);
    assert!(queue.lock().is_first(None, writer()), "a place is left");
    assert_eq!(timer::alarms(), 0, "an alarm is left");
}

/// A release while somebody is about to join: it gets the lock or is woken.
pub fn a_release_meets_a_wait() {
    let (kernel, [holder, waiter]) = handles();
    assert_eq!(holder.try_lock(writer()), Ok(()));
    let mut waiting = wait(&waiter, NEVER);
    let (polled, ()) = together(|| waiting.poll(), move || unlock(&holder));
    if polled.is_pending() {
        assert_served(&mut waiting);
    }
    unlock(&waiter);
    assert_nothing_left(&kernel);
}

/// Whoever came later is served later, however often it looks.
pub fn waiters_are_served_in_order() {
    let (kernel, [holder, first, second]) = handles();
    assert_eq!(holder.try_lock(writer()), Ok(()));
    let mut first_wait = queued(&first, NEVER);
    let mut second_wait = queued(&second, NEVER);
    let ((first_polled, mut second_wait), ()) = together(
        || {
            together(
                || first_wait.poll_if_woken(),
                move || {
                    let polled = second_wait.poll();
                    assert_eq!(polled, Poll::Pending, "overtook the first in line");
                    second_wait
                },
            )
        },
        move || unlock(&holder),
    );
    if first_polled.is_pending() {
        assert_served(&mut first_wait);
    }
    unlock(&first);
    assert_served(&mut second_wait);
    unlock(&second);
    assert_nothing_left(&kernel);
}

/// Somebody who is willing to wait comes when the lock is free but promised.
pub fn a_newcomer_queues() {
    let (kernel, [holder, first, newcomer]) = handles();
    assert_eq!(holder.try_lock(writer()), Ok(()));
    let mut first_wait = queued(&first, NEVER);
    let mut new_wait = wait(&newcomer, NEVER);
    let (polled, ()) = together(|| new_wait.poll(), move || unlock(&holder));
    assert_eq!(polled, Poll::Pending, "overtook the first in line");
    assert_served(&mut first_wait);
    unlock(&first);
    assert_served(&mut new_wait);
    unlock(&newcomer);
    assert_nothing_left(&kernel);
}

/// Somebody who isn't willing to wait may take the lock from under a waiter
/// that was woken for it; the waiter keeps its place.
pub fn a_try_strands_nobody() {
    let (kernel, [holder, first, trying]) = handles();
    assert_eq!(holder.try_lock(writer()), Ok(()));
    let mut first_wait = queued(&first, NEVER);
    let ((polled, ()), ()) = together(
        || {
            together(
                || first_wait.poll_if_woken(),
                move || match trying.try_lock(writer()) {
                    Ok(()) => unlock(&trying),
                    Err(error) => assert_eq!(error, ErrorCode::Busy),
                },
            )
        },
        move || unlock(&holder),
    );
    if polled.is_pending() {
        assert_served(&mut first_wait);
    }
    unlock(&first);
    assert_nothing_left(&kernel);
}

/// A waiter is dropped while the lock is given to it.
pub fn a_dropped_wait_passes_its_turn_on() {
    let (kernel, [holder, first, second]) = handles();
    assert_eq!(holder.try_lock(writer()), Ok(()));
    let first_wait = queued(&first, NEVER);
    let mut second_wait = queued(&second, NEVER);
    together(|| drop(first_wait), move || unlock(&holder));
    assert_served(&mut second_wait);
    unlock(&second);
    assert_nothing_left(&kernel);
}

/// A deadline comes while the lock is given to the waiter: it takes the lock
/// or the next one gets it.
pub fn a_deadline_meets_a_wake_up() {
    let (kernel, [holder, first, second]) = handles();
    assert_eq!(holder.try_lock(writer()), Ok(()));
    let mut first_wait = queued(&first, SOON);
    let mut second_wait = queued(&second, NEVER);
    let ((mut answer, ()), ()) = together(
        || together(|| first_wait.poll_if_woken(), timer::pass),
        move || unlock(&holder),
    );
    if answer.is_pending() {
        // An alarm that was set when its time had passed.
        timer::pass();
        answer = first_wait.poll_if_woken();
    }
    match answer {
        Poll::Ready(Ok(())) => unlock(&first),
        other => assert_eq!(other, Poll::Ready(Err(ErrorCode::TimedOut))),
    }
    assert_served(&mut second_wait);
    unlock(&second);
    assert_nothing_left(&kernel);
}

/// Handles that share a slot ask to have it alone: refused, as SQLite never
/// does it; waiting for one another, they would wait for ever.
pub fn an_upgrade_is_refused() {
    let (_, [one, other]) = handles();
    for handle in [&one, &other] {
        assert_eq!(
            handle.try_lock(slot(READER, ShmLockKind::Shared)),
            Ok(()),
            "shared"
        );
    }
    let upgrade = |handle: Arc<Shm>| {
        let alone = slot(READER, ShmLockKind::Exclusive);
        block_on(ShmWait::new(handle, alone, NEVER))
    };
    let (ours, theirs) = together(|| upgrade(one), move || upgrade(other));
    let refused = Err(ErrorCode::InvalidArgument);
    assert_eq!((ours, theirs), (refused, refused));
}

/// One shares, another comes to share, a third wants to be alone. The kernel's
/// stand-in watches over who excludes whom.
pub fn sharers_and_a_writer_exclude_each_other() {
    let (kernel, [one, other, alone]) = handles();
    let shared = slot(READER, ShmLockKind::Shared);
    let exclusive = slot(READER, ShmLockKind::Exclusive);
    let use_it = |handle: Arc<Shm>, lock| {
        let wait = ShmWait::new(Arc::clone(&handle), lock, NEVER);
        assert_eq!(block_on(wait), Ok(()));
        handle.unlock(lock).expect("it holds the lock");
    };
    assert_eq!(one.try_lock(shared), Ok(()));
    together(
        || {
            together(
                || one.unlock(shared).expect("it holds the lock"),
                move || use_it(other, shared),
            )
        },
        move || use_it(alone, exclusive),
    );
    assert_nothing_left(&kernel);
}

/// Two threads share a slot through one handle, which so has it once.
pub fn two_tries_of_one_handle_take_one_lock() {
    let (kernel, [one, other]) = handles();
    let shared = slot(READER, ShmLockKind::Shared);
    let exclusive = slot(READER, ShmLockKind::Exclusive);
    let same = Arc::clone(&one);
    let taken = together(|| one.try_lock(shared), move || same.try_lock(shared));
    assert_eq!(taken, (Ok(()), Ok(())));
    one.unlock(shared).expect("it holds the lock");
    assert_eq!(other.try_lock(exclusive), Ok(()), "the slot is held");
    other.unlock(exclusive).expect("it holds the lock");
    assert_nothing_left(&kernel);
}

/// A file is closed while a wait of its is running.
pub fn a_closed_handle_takes_nothing() {
    let (kernel, [closing, next]) = handles();
    let mut waiting = wait(&closing, NEVER);
    let (polled, ()) = together(|| waiting.poll(), move || closing.close());
    match polled {
        // Before it was closed.
        Poll::Ready(Ok(())) => {}
        other => assert_eq!(other, Poll::Ready(Err(ErrorCode::InvalidArgument))),
    }
    assert!(kernel.is_free(), "a closed handle holds a lock");
    assert_eq!(next.try_lock(writer()), Ok(()));
    unlock(&next);
    assert_nothing_left(&kernel);
}

/// A file is closed with the lock while somebody is about to wait for it.
pub fn a_closed_holder_is_succeeded() {
    let (kernel, [holder, waiter]) = handles();
    assert_eq!(holder.try_lock(writer()), Ok(()));
    let mut waiting = wait(&waiter, NEVER);
    let (polled, ()) = together(|| waiting.poll(), move || drop(holder));
    if polled.is_pending() {
        assert_served(&mut waiting);
    }
    unlock(&waiter);
    assert_nothing_left(&kernel);
}

/// Two handles hold a slot each of a range; whoever releases last wakes the
/// one that wants all of it.
pub fn a_range_waits_for_its_last_slot() {
    let (kernel, [one, other, waiter]) = handles();
    let (first, last) = (
        slot(4, ShmLockKind::Exclusive),
        slot(6, ShmLockKind::Shared),
    );
    assert_eq!(
        (one.try_lock(first), other.try_lock(last)),
        (Ok(()), Ok(()))
    );
    let range = SlotLock::new(4, 4, ShmLockKind::Exclusive).expect("slots in range");
    let mut waiting = Polled::new(ShmWait::new(Arc::clone(&waiter), range, NEVER));
    assert_eq!(waiting.poll(), Poll::Pending, "both are held");
    let (polled, ()) = together(
        || {
            one.unlock(first).expect("it holds the lock");
            waiting.poll_if_woken()
        },
        move || other.unlock(last).expect("it holds the lock"),
    );
    if polled.is_pending() {
        assert_served(&mut waiting);
    }
    waiter.unlock(range).expect("it holds the lock");
    assert_nothing_left(&kernel);
}

/// Another process holds the lock and tells nobody when it lets go.
pub fn another_process_is_asked_again() {
    let (kernel, [waiter]) = handles();
    kernel.elsewhere.store(true, Ordering::Relaxed);
    let mut waiting = wait(&waiter, NEVER);
    let (polled, ()) = together(|| waiting.poll(), {
        let kernel = Arc::clone(&kernel);
        move || kernel.elsewhere.store(false, Ordering::Release)
    });
    if polled.is_pending() {
        timer::tick();
        assert_served(&mut waiting);
    }
    unlock(&waiter);
    assert_nothing_left(&kernel);
}

/// The one who asks another process's lock leaves; the next one asks.
pub fn whoever_is_first_asks() {
    let (kernel, [asking, next]) = handles();
    kernel.elsewhere.store(true, Ordering::Relaxed);
    let asking_wait = queued(&asking, NEVER);
    let mut next_wait = queued(&next, NEVER);
    let (mut polled, ()) = together(
        || {
            drop(asking_wait);
            next_wait.poll_if_woken()
        },
        {
            let kernel = Arc::clone(&kernel);
            move || kernel.elsewhere.store(false, Ordering::Release)
        },
    );
    if polled.is_pending() {
        timer::tick();
        polled = next_wait.poll_if_woken();
    }
    assert_eq!(polled, Poll::Ready(Ok(())), "not woken");
    unlock(&next);
    assert_nothing_left(&kernel);
}
