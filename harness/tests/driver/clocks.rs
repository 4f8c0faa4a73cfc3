//! Clients whose wall clock is off.

use crate::support::{Folder, User, acquire, each, lock, release, take};
use beaver_harness::protocol::{ErrorCode, Op};
use serde_json::json;

#[test]
fn each_process_has_the_clock_that_it_is_told() {
    each(|driver| {
        let folder = Folder::new();
        let with_offset = |offset_ms| {
            let mut init = folder.init();
            init.clock_offset_ms = offset_ms;
            driver.start(&init).unwrap()
        };
        let (right, ahead) = (with_offset(0), with_offset(3_600_000));
        let mut user = User::of(&right, 0);
        let mut early = User::of(&ahead, 0);
        let held = Op::LockAcquire {
            lock: lock("lock:a"),
            timeout_ms: None,
            ttl_ms: Some(60_000),
        };
        user.ok(held);
        // An hour ahead, that grant has expired; by the right clock it has not.
        let count = Op::LockWaiting {
            lock: lock("lock:a"),
        };
        assert_eq!(early.ok(count.clone()), json!(0));
        assert_eq!(user.ok(count), json!(1));
        // Waiting goes by another clock.
        assert_eq!(early.fails(take(Some(5))), ErrorCode::Timeout);
        user.ok(release("lock:a"));
        user.ok(acquire("lock:a", Some(0)));
    });
}

#[test]
fn a_clock_may_go_in_steps() {
    each(|driver| {
        let folder = Folder::new();
        let mut init = folder.init();
        // All of thirty years is one moment.
        init.clock_resolution_ms = 1_000_000_000_000;
        let process = driver.start(&init).unwrap();
        let mut user = User::of(&process, 0);
        user.ok(Op::LockAcquire {
            lock: lock("lock:a"),
            timeout_ms: None,
            ttl_ms: Some(1),
        });
        // By a right clock it would have expired after a millisecond.
        let mut other = User::of(&process, 1);
        assert_eq!(other.fails(acquire("lock:a", Some(50))), ErrorCode::Timeout);
    });
}
