//! Instances on a machine of one's own: what a machine may do to them.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_host::client::OpenOptions;
use beaver_host::machine::{Clocks, Crashed, ErrorCode, HostCall, Machine, MachineHost, Reply};
use beaver_host::{Error, Host};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Answers every call in the same way, and counts.
struct Stubborn {
    answer: fn() -> Result<Reply, Crashed>,
    fuel: u64,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    calls: AtomicU64,
    dropped: AtomicU64,
}

impl Machine for Stubborn {
    fn poll_call(
        &mut self,
        call: &mut HostCall<'_>,
        _: &mut Context<'_>,
    ) -> Poll<Result<Reply, Crashed>> {
        assert!(!format!("{call:?}").is_empty());
        self.seen.calls.fetch_add(1, Ordering::Relaxed);
        Poll::Ready((self.answer)())
    }

    fn slice(&mut self) -> NonZeroU64 {
        NonZeroU64::new(self.fuel).unwrap()
    }
}

impl Drop for Stubborn {
    fn drop(&mut self) {
        self.seen.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

struct Still;

impl Clocks for Still {
    fn wall(&self) -> Duration {
        Duration::from_secs(1_700_000_000)
    }

    fn monotonic_ns(&self) -> u64 {
        0
    }

    fn random(&self) -> u64 {
        7
    }
}

fn host() -> MachineHost {
    Host::builder()
        .max_instances(4)
        .build_for_machines()
        .unwrap()
}

/// Opens a database; how often the future was pending, and what came of it.
fn open(answer: fn() -> Result<Reply, Crashed>, fuel: u64) -> (u64, Error, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let machine = Stubborn {
        answer,
        fuel,
        seen: Arc::clone(&seen),
    };
    let host = host();
    let opening = async {
        let mut instance = host.boot(machine, Arc::new(Still)).await?;
        instance.open("a.db", &OpenOptions::default()).await?;
        Ok(())
    };
    let mut opening = Box::pin(opening);
    let mut context = Context::from_waker(Waker::noop());
    for pending in 0..u64::MAX {
        if let Poll::Ready(opened) = opening.as_mut().poll(&mut context) {
            let error: Result<(), Error> = opened;
            drop(opening);
            return (pending, error.unwrap_err(), seen);
        }
    }
    unreachable!()
}

#[test]
fn a_crash_ends_the_instance_and_its_machine() {
    let (_, error, seen) = open(|| Err(Crashed), 1 << 40);
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert_eq!(seen.calls.load(Ordering::Relaxed), 1);
    assert_eq!(seen.dropped.load(Ordering::Relaxed), 1);
}

#[test]
fn an_answer_that_makes_no_sense_is_a_trap() {
    let (_, error, seen) = open(|| Ok(Reply::Bytes(Vec::new())), 1 << 40);
    assert!(matches!(error, Error::Trap { .. }), "{error}");
    assert_eq!(seen.dropped.load(Ordering::Relaxed), 1);
}

#[test]
fn a_machine_may_refuse_everything() {
    let (_, error, _) = open(|| Ok(Reply::Failed(ErrorCode::Io)), 1 << 40);
    assert!(matches!(error, Error::Db(_)), "{error}");
}

#[test]
fn a_guest_is_cut_at_the_same_places_each_time() {
    let cut = |fuel| open(|| Err(Crashed), fuel).0;
    let many = cut(10);
    assert!(many > 100, "{many}");
    assert_eq!(cut(10), many);
    assert!(cut(1000) < many / 10);
    assert_eq!(cut(1 << 40), 0);
}
