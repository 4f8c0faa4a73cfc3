//! The reference store by itself.

use super::*;
use crate::protocol::ErrorCode;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

struct User {
    client: Box<dyn Client>,
}

/// As many users of one store.
fn users<const N: usize>(driver: &Reference) -> [User; N] {
    let init = Init {
        protocol: VERSION,
        database: "store".into(),
        clock_offset_ms: 0,
        clock_resolution_ms: 0,
        settings: serde_json::Map::default(),
    };
    // The store lives as long as this process, which its clients keep.
    let process = driver.start(&init).unwrap();
    std::array::from_fn(|at| User {
        client: process.open(u32::try_from(at).unwrap()).unwrap(),
    })
}

impl User {
    fn answer(&mut self, op: Value, certify: bool) -> Answer {
        let op: Op = serde_json::from_value(op).unwrap();
        self.client.call(&op, certify, PATIENCE)
    }

    fn ok(&mut self, op: Value) -> Value {
        self.answer(op.clone(), false)
            .unwrap_or_else(|failure| panic!("{op}: {failure}"))
            .0
    }

    fn error(&mut self, op: Value) -> ErrorCode {
        match self.answer(op.clone(), false) {
            Ok((value, _)) => panic!("{op}: {value}"),
            Err(failure) => failure.error,
        }
    }

    fn set(&mut self, value: u32) -> Value {
        self.ok(set(value))
    }

    fn get(&mut self) -> Value {
        self.ok(json!({"op": "dict-get", "name": "d", "key": "k"}))
    }
}

fn set(value: u32) -> Value {
    json!({"op": "dict-set", "name": "d", "key": "k", "value": value})
}

fn acquire(timeout_ms: Option<u64>, ttl_ms: Option<u64>) -> Value {
    json!({"op": "lock-acquire", "lock": "dict:d", "timeout_ms": timeout_ms, "ttl_ms": ttl_ms})
}

fn release() -> Value {
    json!({"op": "lock-release", "lock": "dict:d"})
}

fn control(what: &str) -> Value {
    json!({"op": what})
}

fn renew(ttl_ms: u64) -> Value {
    json!({"op": "lock-renew", "lock": "dict:d", "ttl_ms": ttl_ms})
}

/// Waits until so many hold or wait for the lock.
fn await_line(user: &mut User, count: u64) {
    await_line_of("dict:d", user, count);
}

fn await_line_of(lock: &str, user: &mut User, count: u64) {
    let began = Instant::now();
    while user.ok(json!({"op": "lock-waiting", "lock": lock})) != json!(count) {
        assert!(began.elapsed() < PATIENCE, "there are never {count}");
        std::thread::yield_now();
    }
}

#[test]
fn a_lock_goes_round_in_the_order_of_the_line() {
    let driver = Reference::new();
    let [mut holder, mut first, mut second, mut watcher] = users(&driver);
    holder.ok(acquire(None, None));
    assert_eq!(holder.error(acquire(None, None)), ErrorCode::AlreadyHeld);
    assert_eq!(first.error(acquire(Some(0), None)), ErrorCode::Timeout);
    std::thread::scope(|scope| {
        let first = scope.spawn(move || {
            let token = first.ok(acquire(None, None))["token"].as_u64().unwrap();
            first.set(1);
            first.ok(release());
            token
        });
        await_line(&mut watcher, 2);
        let second = scope.spawn(move || {
            let token = second.ok(acquire(None, None))["token"].as_u64().unwrap();
            let seen = second.get();
            second.ok(release());
            (token, seen)
        });
        await_line(&mut watcher, 3);
        holder.ok(release());
        let (later, seen) = second.join().unwrap();
        assert!(first.join().unwrap() < later);
        assert_eq!(seen, json!(1));
    });
    assert_eq!(holder.error(release()), ErrorCode::NotHeld);
}

#[test]
fn who_lost_a_lock_is_told_and_writes_nothing() {
    let driver = Reference::new();
    let [mut late, mut next] = users(&driver);
    late.ok(acquire(None, Some(60_000)));
    late.set(1);
    // Shorter than it was.
    late.ok(renew(30));
    next.ok(acquire(None, None));
    next.set(2);
    assert_eq!(late.error(set(3)), ErrorCode::LockLost);
    assert_eq!(late.error(renew(30)), ErrorCode::LockLost);
    assert_eq!(late.error(release()), ErrorCode::LockLost);
    assert_eq!(late.error(release()), ErrorCode::NotHeld);
    assert_eq!(next.get(), json!(2));
}

#[test]
fn a_transaction_whose_lock_is_lost_does_not_commit() {
    let driver = Reference::new();
    let [mut late, mut watcher] = users(&driver);
    late.ok(acquire(None, Some(60_000)));
    late.ok(control("begin"));
    late.set(1);
    late.ok(renew(10));
    await_line(&mut watcher, 0);
    assert_eq!(late.error(control("commit")), ErrorCode::LockLost);
    assert_eq!(watcher.get(), Value::Null);
    assert_eq!(late.error(control("commit")), ErrorCode::NoTransaction);
}

#[test]
fn a_write_without_the_lock_waits_for_it() {
    let driver = Reference::new();
    let [mut holder, mut other, mut watcher] = users(&driver);
    holder.ok(acquire(None, None));
    let get = json!({"op": "queue-get", "name": "q", "timeout_ms": 0});
    assert_eq!(other.error(get), ErrorCode::Timeout);
    std::thread::scope(|scope| {
        scope.spawn(move || other.set(2));
        await_line(&mut watcher, 2);
        holder.set(1);
        assert_eq!(holder.get(), json!(1));
        holder.ok(release());
    });
    await_line(&mut watcher, 0);
    assert_eq!(watcher.get(), json!(2));
}

#[test]
fn a_transaction_is_seen_whole_or_not_at_all() {
    let driver = Reference::new();
    let [mut one, mut other] = users(&driver);
    one.ok(control("begin"));
    assert_eq!(one.error(control("begin")), ErrorCode::InTransaction);
    one.set(1);
    assert_eq!((one.get(), other.get()), (json!(1), Value::Null));
    let take = json!({"op": "queue-get", "name": "q", "timeout_ms": 5});
    assert_eq!(one.error(take), ErrorCode::Deadlock);
    one.ok(control("rollback"));
    assert_eq!(one.get(), Value::Null);
    one.ok(control("begin"));
    one.set(2);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            other.ok(json!({"op": "dict-set", "name": "d", "key": "other", "value": 0}));
            other.get()
        });
        one.ok(control("commit"));
        assert_eq!(writer.join().unwrap(), json!(2));
    });
}

#[test]
fn who_is_dropped_leaves_nothing() {
    let driver = Reference::new();
    let [mut doomed, mut other, mut watcher] = users(&driver);
    doomed.ok(acquire(None, None));
    let waits = json!({"op": "lock-acquire", "lock": "lock:x", "timeout_ms": null});
    other.ok(waits.clone());
    let abandoner = doomed.client.abandoner();
    std::thread::scope(|scope| {
        let under_way = scope.spawn(move || (doomed.error(waits), doomed));
        await_line_of("lock:x", &mut watcher, 2);
        abandoner.abandon(false).unwrap();
        let (error, mut doomed) = under_way.join().unwrap();
        assert_eq!(error, ErrorCode::Gone);
        assert_eq!(doomed.error(set(2)), ErrorCode::Gone);
    });
    other.ok(acquire(Some(0), None));
    other.ok(release());
    let [mut doomed] = users(&driver);
    doomed.ok(control("begin"));
    doomed.set(1);
    doomed.client.abandoner().abandon(true).unwrap();
    other.ok(json!({"op": "dict-set", "name": "d", "key": "other", "value": 2}));
    assert_eq!(other.get(), Value::Null);
}

#[test]
fn followers_get_what_comes_after() {
    let driver = Reference::new();
    let [mut writer, mut reader] = users(&driver);
    for (publish, follow, next) in [
        ("log-append", "log-follow", "log-next"),
        ("channel-publish", "channel-subscribe", "channel-next"),
    ] {
        let say = |value: u32| json!({"op": publish, "name": "n", "value": value});
        let next = json!({"op": next, "name": "n", "timeout_ms": 10});
        assert_eq!(reader.error(next.clone()), ErrorCode::Invalid);
        writer.ok(say(1));
        reader.ok(json!({"op": follow, "name": "n"}));
        writer.ok(say(2));
        writer.ok(say(3));
        assert_eq!(reader.ok(next.clone()), json!([2, 3]));
        let asked = Instant::now();
        assert_eq!(reader.error(next), ErrorCode::Timeout);
        assert!(asked.elapsed() >= Duration::from_millis(10));
    }
    let all = reader.ok(json!({"op": "log-read", "name": "n"}));
    assert_eq!(all, json!([1, 2, 3]));
}

#[test]
fn commit_numbers_count_what_took_effect() {
    let driver = Reference::new();
    let [mut one, mut other] = users(&driver);
    assert_eq!(one.answer(set(1), true).unwrap().1, Some(1));
    let failed = json!({"op": "list-delete", "name": "l", "index": 0});
    other.answer(failed, true).unwrap_err();
    other.ok(control("begin"));
    assert_eq!(other.answer(set(2), true).unwrap().1, Some(2));
    other.ok(control("rollback"));
    let get = json!({"op": "dict-get", "name": "d", "key": "k"});
    assert_eq!(one.answer(get, true).unwrap(), (json!(1), Some(2)));
}

#[test]
fn what_never_comes_ends_the_client() {
    let driver = Reference::new();
    let [mut holder, mut waiter, mut watcher] = users(&driver);
    holder.ok(acquire(None, None));
    let forever = serde_json::from_value(acquire(None, None)).unwrap();
    let given_up = waiter
        .client
        .call(&forever, false, Duration::from_millis(5));
    assert_eq!(given_up.unwrap_err().error, ErrorCode::Gone);
    await_line(&mut watcher, 1);
}

#[test]
fn a_driver_of_one_defect_has_its_name() {
    assert_eq!(Reference::new().name(), "reference");
    let driver = Reference::broken(Defect::QueueLoses, 2);
    assert_eq!(driver.name(), "reference:queue-loses:2");
    let [mut user] = users(&driver);
    for value in 0..4 {
        user.ok(json!({"op": "queue-put", "name": "q", "value": value, "priority": 1}));
    }
    let batch = user.ok(json!({"op": "queue-get-batch", "name": "q", "count": 2, "timeout_ms": 0}));
    assert_eq!(batch[1]["value"], 2);
}

#[test]
fn an_open_transaction_is_no_reason_to_find_nothing() {
    let driver = Reference::new();
    let [mut one, mut other] = users(&driver);
    other.ok(json!({"op": "queue-put", "name": "q", "value": 1, "priority": 1}));
    one.ok(control("begin"));
    std::thread::scope(|scope| {
        let take = scope.spawn(|| {
            other.ok(json!({"op": "queue-get", "name": "q", "timeout_ms": 0}))["value"].clone()
        });
        one.ok(control("commit"));
        assert_eq!(take.join().unwrap(), json!(1));
    });
}

#[test]
fn who_passes_and_finds_nothing_lets_the_next_pass() {
    // Which of the two wakes first is chance.
    for _ in 0..100 {
        let driver = Reference::new();
        let [mut holder, mut taker, mut next, mut watcher] = users(&driver);
        let mut await_line = |count| await_line_of("queue:q", &mut watcher, count);
        let acquire = json!({"op": "lock-acquire", "lock": "queue:q", "timeout_ms": null});
        let release = json!({"op": "lock-release", "lock": "queue:q"});
        let take = json!({"op": "queue-get", "name": "q", "timeout_ms": null});
        let put = json!({"op": "queue-put", "name": "q", "value": 1, "priority": 1});
        holder.ok(acquire.clone());
        std::thread::scope(|scope| {
            let taker = scope.spawn(move || taker.ok(take));
            await_line(2);
            let last = release.clone();
            scope.spawn(move || {
                next.ok(acquire);
                next.ok(put);
                next.ok(last);
            });
            await_line(3);
            holder.ok(release);
            assert_eq!(taker.join().unwrap()["value"], 1);
        });
    }
}
