//! The lock algorithm under every interleaving of a few threads.
//!
//! One property each. That a model can fail is proved by a fault planted in the
//! store under the algorithm, which it must catch.

mod state;
mod store;
mod transaction;

use super::table::{LockTable as _, LockTransaction as _};
use super::wait::{Entry, GONE_LOOK, enter};
use super::{Fencing, Wanted, grant};
use crate::error::Error;
use loom::thread;
use state::Event;
use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use store::{Connection, Fault, LOCK, Store};

/// Tries all interleavings, or with a bound those in which threads are interrupted
/// no more often than that where they could go on. Returns how many there were.
fn explore(fault: Fault, preemptions: Option<usize>, model: fn(Fault)) -> usize {
    let mut builder = loom::model::Builder::new();
    // Set by `cargo xtask loom`. To the end, the largest would take hours.
    let deeper = usize::from(std::env::var_os("BEAVER_LOOM_EXHAUSTIVE").is_some());
    let preemptions = preemptions.map(|bound| bound + deeper);
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    let runs = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&runs);
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        model(fault);
    });
    runs.load(Ordering::Relaxed)
}

fn catches(fault: Fault, message: &str, preemptions: Option<usize>, model: fn(Fault)) {
    let failure = catch_unwind(AssertUnwindSafe(|| explore(fault, preemptions, model)));
    let failure = match failure {
        Ok(runs) => panic!("{fault:?} was not caught in {runs} interleavings"),
        Err(failure) => failure,
    };
    let text = failure
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| {
            failure
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
        })
        .unwrap_or_default();
    assert!(
        text.contains(message),
        "{fault:?} was caught otherwise: {text}"
    );
}

/// A model, and the faults that it must catch with the words of its failure.
macro_rules! models {
    ($($(#[$meta:meta])* fn $name:ident($store:ident) $(within $preemptions:literal preemptions)? catches $($fault:ident: $message:literal),+ $body:block)+) => {
        $(
            $(#[$meta])*
            mod $name {
                use super::*;

                const PREEMPTIONS: &[usize] = &[$($preemptions)?];

                fn model(fault: Fault) {
                    let $store = Store::new(fault);
                    $body
                }

                #[test]
                fn holds() {
                    let start = std::time::Instant::now();
                    let runs = explore(Fault::None, PREEMPTIONS.first().copied(), model);
                    println!(
                        "loom  {:<60} {runs} interleavings in {:.2} s",
                        stringify!($name),
                        start.elapsed().as_secs_f64()
                    );
                }

                #[test]
                fn catches_its_faults() {
                    $(catches(Fault::$fault, $message, PREEMPTIONS.first().copied(), model);)+
                }
            }
        )+
    };
}

mod gone;

const FOR_EVER: Option<Duration> = None;
/// Longer than any model.
const LONG_S: u64 = 1_000_000;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Who is inside; never two.
#[derive(Clone, Default)]
struct Inside(Rc<Cell<bool>>);

impl Inside {
    fn visit(&self, store: &Store) {
        assert!(!self.0.replace(true), "two holders at once");
        store.read(|_| ());
        self.0.set(false);
    }
}

fn wanted(ttl_s: u64) -> Wanted<'static> {
    Wanted {
        lock_name: LOCK,
        ttl: s(ttl_s),
        fencing: Fencing::With,
    }
}

fn rows(store: &Store) -> usize {
    store.read(|state| state.rows.len())
}

/// Each grant goes to who was first in line then.
fn check_order(events: &[Event]) {
    let mut line = VecDeque::new();
    for event in events {
        match event {
            Event::Enqueued { id } => line.push_back(id),
            Event::Granted { id, .. } => match line.pop_front() {
                None => {}
                Some(first) => assert_eq!(first, id, "granted out of turn: {events:?}"),
            },
            Event::Deleted { id, .. } => line.retain(|other| *other != id),
            Event::Extended { .. } => {}
        }
    }
}

/// Nobody else ends a grant before its time.
fn check_lifetimes(events: &[Event], ttl: Duration) {
    let mut held: Option<(&String, Duration)> = None;
    for event in events {
        match event {
            Event::Granted { id, at } | Event::Extended { id, at } => held = Some((id, *at)),
            Event::Deleted { id, by, at } => {
                if let Some((holder, since)) = held
                    && holder == id
                    && !id.starts_with(&format!("{by}:"))
                {
                    assert!(*at >= since + ttl, "a grant ended early: {events:?}");
                }
            }
            Event::Enqueued { .. } => {}
        }
    }
}

fn check_writes(store: &Store) {
    let writes = store.read(|state| state.writes.clone());
    assert!(writes.is_sorted(), "a stale holder wrote: {writes:?}");
}

models! {
    fn a_lock_has_one_holder(store) within 3 preemptions catches ExpiredEarly: "two holders at once" {
        let inside = Inside::default();
        let visit = |number: u32| {
            let (owner, inside) = (store.connect(number), inside.clone());
            move || {
                let lease = owner.acquire(FOR_EVER, LONG_S).unwrap();
                inside.visit(owner.store());
                grant::release(&owner, &lease).unwrap();
            }
        };
        let others = [thread::spawn(visit(1)), thread::spawn(visit(2))];
        visit(0)();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(rows(&store), 0);
    }

    /// Python takes its stamp, inserts its row at some time, and holds the lock
    /// when that row is the head.
    fn a_late_inserter_does_not_get_ahead_of_a_holder(store)
        catches GrantStaysPut: "two holders at once"
    {
        let (inside, early) = (Inside::default(), store.connect(1));
        let python = {
            let (store, inside) = (Rc::clone(&store), inside.clone());
            thread::spawn(move || {
                store.change(|state| state.insert_foreign("python", early.unix_seconds() - 1.0));
                if store.read(|state| state.is_head("python")) {
                    inside.visit(&store);
                }
                store.change(|state| state.delete_foreign("python"));
            })
        };
        let owner = store.connect(0);
        let lease = owner.acquire(FOR_EVER, LONG_S).unwrap();
        inside.visit(&store);
        assert!(grant::release(&owner, &lease).unwrap());
        python.join().unwrap();
    }

    fn grants_follow_the_order_of_commits(store) within 3 preemptions
        catches StampedBefore: "granted out of turn"
    {
        let holder = store.connect(0);
        let lease = holder.acquire(FOR_EVER, LONG_S).unwrap();
        let wait = |owner: Connection| move || {
            let lease = owner.acquire(FOR_EVER, LONG_S).unwrap();
            assert!(grant::release(&owner, &lease).unwrap());
        };
        // One clock is ahead: later to ask, it may not be earlier in line.
        let others = [
            thread::spawn(wait(store.connect(1).ahead(5.0))),
            thread::spawn(wait(store.connect(2))),
        ];
        assert!(grant::release(&holder, &lease).unwrap());
        for other in others {
            other.join().unwrap();
        }
        store.read(|state| check_order(&state.events));
        assert_eq!(rows(&store), 0);
    }

    fn a_timeout_leaves_no_row_and_holds_up_nobody(store) within 3 preemptions
        catches WaitLeavesRow: "deadlock"
    {
        let holder = store.connect(0);
        let lease = holder.acquire(FOR_EVER, LONG_S).unwrap();
        let impatient = {
            let owner = store.connect(1);
            thread::spawn(move || match owner.acquire(Some(s(5)), LONG_S) {
                Ok(lease) => assert!(grant::release(&owner, &lease).unwrap()),
                Err(error) => {
                    assert_eq!(error, Error::Timeout);
                    assert!(owner.monotonic() >= s(5), "a timeout was early");
                }
            })
        };
        let patient = {
            let owner = store.connect(2);
            thread::spawn(move || {
                let lease = owner.acquire(FOR_EVER, LONG_S).unwrap();
                assert!(grant::release(&owner, &lease).unwrap());
            })
        };
        store.advance(s(5));
        assert!(grant::release(&holder, &lease).unwrap());
        impatient.join().unwrap();
        patient.join().unwrap();
        assert_eq!(rows(&store), 0, "something is left behind");
    }

    fn a_time_to_live_runs_from_the_grant(store) within 3 preemptions
        catches TtlFromRequest: "a grant ended early"
    {
        let holder = store.connect(0);
        let lease = holder.acquire(FOR_EVER, 5).unwrap();
        let wait = |number: u32| {
            let owner = store.connect(number);
            move || {
                let lease = owner.acquire(FOR_EVER, 5).unwrap();
                grant::release(&owner, &lease).unwrap();
            }
        };
        let others = [thread::spawn(wait(1)), thread::spawn(wait(2))];
        store.advance(s(3));
        grant::release(&holder, &lease).unwrap();
        store.advance(s(3));
        for other in others {
            other.join().unwrap();
        }
        store.read(|state| check_lifetimes(&state.events, s(5)));
    }

    fn a_holder_past_its_time_writes_over_nobody(store)
        catches NotFenced: "a stale holder wrote"
    {
        let stale = store.connect(0);
        let lease = stale.acquire(FOR_EVER, 5).unwrap();
        let next = {
            let owner = store.connect(1);
            thread::spawn(move || {
                let lease = owner.acquire(FOR_EVER, LONG_S).unwrap();
                owner.write(Some(&lease), |_| ()).unwrap();
                assert!(grant::release(&owner, &lease).unwrap());
            })
        };
        store.advance(s(5));
        let written = stale.write(Some(&lease), |_| ());
        if let Err(error) = &written {
            assert_eq!(*error, Error::LockLost(LOCK.into()));
        }
        let held = grant::release(&stale, &lease).unwrap();
        assert!(written.is_ok() || !held, "what was lost came back");
        next.join().unwrap();
        check_writes(&store);
        assert_eq!(rows(&store), 0);
    }

    fn renewing_and_losing_exclude_each_other(store)
        catches RenewRevives: "a stale holder"
    {
        let late = store.connect(0);
        let lease = late.acquire(FOR_EVER, 5).unwrap();
        let next = {
            let owner = store.connect(1);
            thread::spawn(move || {
                let lease = owner.acquire(FOR_EVER, LONG_S).unwrap();
                owner.write(Some(&lease), |_| ()).unwrap_or_else(|error| {
                    panic!("a stale holder took the lock back: {error}")
                });
                grant::release(&owner, &lease).unwrap();
            })
        };
        store.advance(s(5));
        if grant::renew(&late, &lease, s(5)).unwrap() {
            late.write(Some(&lease), |_| ()).expect("the clock stands still since");
        }
        grant::release(&late, &lease).unwrap();
        next.join().unwrap();
        check_writes(&store);
        store.read(|state| check_lifetimes(&state.events, s(5)));
    }

    fn fencing_tokens_grow(store) within 3 preemptions
        catches TokenBefore: "tokens must grow", NotAlone: "tokens must grow"
    {
        let grants = Rc::new(Cell::new(0));
        let take = |number: u32| {
            let (owner, grants) = (store.connect(number), Rc::clone(&grants));
            move || {
                for _ in 0..2 {
                    if let Some(lease) = grant::try_acquire(&owner, &wanted(5)).unwrap() {
                        // Under the lock, so in the order of grants.
                        assert!(lease.token > grants.replace(lease.token), "tokens must grow");
                        grant::release(&owner, &lease).unwrap();
                    }
                }
            }
        };
        let others = [thread::spawn(take(1)), thread::spawn(take(2))];
        take(0)();
        for other in others {
            other.join().unwrap();
        }
    }

    fn reading_and_writing_under_the_lock_is_atomic(store) within 3 preemptions catches LockIgnored: "an increment was lost" {
        let guarded = |number: u32| {
            let owner = store.connect(number);
            move || {
                let lease = owner.acquire(FOR_EVER, LONG_S).unwrap();
                let value = owner.store().read(|state| state.value);
                owner.write(Some(&lease), |state| state.value = value + 1).unwrap();
                assert!(grant::release(&owner, &lease).unwrap());
            }
        };
        let other = thread::spawn(guarded(1));
        let without = {
            let owner = store.connect(2);
            thread::spawn(move || owner.write(None, |state| state.value += 1).unwrap())
        };
        guarded(0)();
        other.join().unwrap();
        without.join().unwrap();
        assert_eq!(store.read(|state| state.value), 3, "an increment was lost");
        assert_eq!(rows(&store), 0);
    }

    fn batches_under_the_lock_are_contiguous(store) catches GateBefore: "a batch was cut" {
        store.change(|state| state.items = (0..5).collect());
        let thief = {
            let owner = store.connect(1);
            thread::spawn(move || owner.write(None, |state| state.items.remove(0)).unwrap())
        };
        let owner = store.connect(0);
        let lease = owner.acquire(FOR_EVER, LONG_S).unwrap();
        let take = || owner.write(Some(&lease), |state| state.items.remove(0)).unwrap();
        let batch = [take(), take()];
        assert!(grant::release(&owner, &lease).unwrap());
        thief.join().unwrap();
        assert_eq!(batch[1], batch[0] + 1, "a batch was cut");
        assert_eq!(rows(&store), 0);
    }

    fn a_write_that_goes_before_a_late_holder_fences_it_off(store)
        catches StaleGrantStays: "an increment was lost"
    {
        let late = store.connect(0);
        let lease = late.acquire(FOR_EVER, 5).unwrap();
        let other = {
            let owner = store.connect(1);
            thread::spawn(move || owner.write(None, |state| state.value += 10).unwrap())
        };
        let value = store.read(|state| state.value);
        store.advance(s(5));
        let written = late.write(Some(&lease), |state| state.value = value + 1);
        grant::release(&late, &lease).unwrap();
        other.join().unwrap();
        let expected = 10 + u64::from(written.is_ok());
        assert_eq!(store.read(|state| state.value), expected, "an increment was lost");
        assert_eq!(rows(&store), 0);
    }

    fn who_waits_is_told_of_a_clearing(store) within 3 preemptions
        catches ClearingUnseen: "deadlock"
    {
        let holder = store.connect(0);
        let lease = holder.acquire(FOR_EVER, LONG_S).unwrap();
        let wait = |number: u32| {
            let owner = store.connect(number);
            move || match owner.acquire(FOR_EVER, LONG_S) {
                // It came after the clearing.
                Ok(lease) => assert!(grant::release(&owner, &lease).unwrap()),
                Err(error) => assert_eq!(error, Error::WaitCleared),
            }
        };
        let waiters = [thread::spawn(wait(1)), thread::spawn(wait(2))];
        let transaction = holder.begin(None).unwrap();
        assert!(transaction.clear(LOCK).unwrap() > 0);
        transaction.commit().unwrap();
        assert!(!grant::release(&holder, &lease).unwrap());
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(rows(&store), 0);
    }

    fn no_release_is_slept_through(store) within 3 preemptions
        catches ChangeTokenAfterLook: "deadlock"
    {
        let holder = store.connect(0);
        let lease = holder.acquire(FOR_EVER, LONG_S).unwrap();
        let wait = |number: u32| {
            let owner = store.connect(number);
            move || {
                let lease = owner.acquire(FOR_EVER, LONG_S).unwrap();
                assert!(grant::release(&owner, &lease).unwrap());
            }
        };
        let waiters = [thread::spawn(wait(1)), thread::spawn(wait(2))];
        assert!(grant::release(&holder, &lease).unwrap());
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(rows(&store), 0);
    }
}
