//! Commit-order numbers: one for each certified operation, in the order of the commits, and
//! none for what didn't happen.

use crate::support::{
    Folder, LONG, User, acquire, each, get, lock, put, release, set, take, until_waiting,
};
use beaver_harness::driver::Driver;
use beaver_harness::protocol::{ErrorCode, Op};
use serde_json::json;

#[test]
fn numbers_count_what_happened() {
    each(|driver| {
        let folder = Folder::new();
        let process = folder.start(driver);
        let mut user = User::of(&process, 0);
        assert_eq!(user.certified(set("a", 1)), (json!(null), 1));
        user.ok(set("a", 2));
        assert_eq!(user.certified(get("a")), (json!(2), 2));
        let empty = user.0.call(&take(Some(0)), true, LONG).unwrap_err();
        assert_eq!(empty.error, ErrorCode::Timeout);
        let late = user.0.call(&take(Some(20)), true, LONG).unwrap_err();
        assert_eq!(late.error, ErrorCode::Timeout);
        assert_eq!(user.certified(put("x")).1, 3);
        let (item, number) = user.certified(take(Some(0)));
        assert_eq!((&item["value"], number), (&json!("x"), 4));
        // Nothing that a workload sees.
        user.ok(Op::Begin);
        assert_eq!(user.certified(set("b", 1)).1, 5);
        assert_eq!(user.certified(set("c", 1)).1, 6);
        user.ok(Op::Commit);
        user.ok(Op::Begin);
        assert_eq!(user.certified(set("b", 2)).1, 7);
        user.ok(Op::Rollback);
        assert_eq!(user.certified(get("b")), (json!(1), 7));
        // Taking a lock can't be counted.
        let answer = user.0.call(&acquire("lock:a", None), true, LONG).unwrap();
        assert_eq!(answer.1, None);
    });
}

#[test]
fn a_holder_is_counted_and_a_stranger_waits_its_turn() {
    each(|driver| {
        let folder = Folder::new();
        let process = folder.start(driver);
        let mut holder = User::of(&process, 0);
        let mut stranger = User::of(&process, 1);
        holder.ok(acquire("dict:d", None));
        assert_eq!(holder.certified(set("a", 1)).1, 1);
        let call = std::thread::spawn(move || (stranger.certified(set("a", 2)).1, stranger));
        until_waiting(&mut holder, "dict:d", 2);
        assert_eq!(holder.certified(get("a")), (json!(1), 2));
        holder.ok(release("dict:d"));
        let (number, mut stranger) = call.join().unwrap();
        assert_eq!(number, 3);
        let waiting = stranger.ok(Op::LockWaiting {
            lock: lock("dict:d"),
        });
        assert_eq!(waiting, 0, "the lock was given back");
    });
}

#[test]
fn a_lock_that_does_not_come_is_the_operation_s_own_error() {
    each(|driver| {
        let folder = Folder::new();
        let mut init = folder.init();
        init.settings.insert("lock-wait-ms".into(), json!(20));
        let process = driver.start(&init).unwrap();
        let mut holder = User::of(&process, 0);
        let mut stranger = User::of(&process, 1);
        holder.ok(acquire("dict:d", None));
        holder.ok(acquire("queue:q", None));
        holder.ok(put("x"));
        let locked = stranger.0.call(&set("a", 1), true, LONG).unwrap_err();
        assert_eq!((locked.error, locked.definite), (ErrorCode::Locked, true));
        let late = stranger.0.call(&take(Some(20)), true, LONG).unwrap_err();
        assert_eq!((late.error, late.definite), (ErrorCode::Timeout, true));
        holder.ok(release("queue:q"));
        assert_eq!(stranger.certified(take(Some(0))).1, 1);
    });
}

#[test]
fn whoever_waits_for_an_item_is_counted_when_it_comes() {
    each(|driver| {
        let folder = Folder::new();
        let process = folder.start(driver);
        let mut taker = User::of(&process, 0);
        let (started, start) = std::sync::mpsc::channel();
        let call = std::thread::spawn(move || {
            started.send(()).unwrap();
            taker.certified(Op::QueueGetBatch {
                name: "q".into(),
                count: 2,
                timeout_ms: None,
            })
        });
        start.recv().unwrap();
        let mut putter = User::of(&process, 1);
        putter.certified(put("x"));
        putter.certified(put("y"));
        let (items, number) = call.join().unwrap();
        assert_eq!(items.as_array().unwrap().len(), 2);
        assert_eq!(number, 3);
    });
}

#[test]
fn numbers_of_many_clients_are_all_different() {
    const CLIENTS: u32 = 4;
    const EACH: u64 = 25;
    each(|driver| {
        let folder = Folder::new();
        let process = folder.start(driver);
        let counted: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let mut user = User::of(&process, number);
                std::thread::spawn(move || -> Vec<u64> {
                    let write = |n| user.certified(set(&format!("{number}-{n}"), n)).1;
                    (0..EACH).map(write).collect()
                })
            })
            .collect();
        let counted = counted.into_iter().map(|thread| thread.join().unwrap());
        let mut all: Vec<u64> = counted
            .inspect(|own| assert!(own.is_sorted()))
            .flatten()
            .collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(1..=u64::from(CLIENTS) * EACH));
    });
}

#[test]
fn unknown_settings_are_refused() {
    each(|driver: &dyn Driver| {
        let folder = Folder::new();
        let mut init = folder.init();
        init.settings.insert("durabilty".into(), json!("full"));
        let error = driver.start(&init).err().unwrap();
        assert!(format!("{error:#}").contains("no setting durabilty"));
    });
}
