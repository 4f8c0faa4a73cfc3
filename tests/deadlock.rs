//! Waits that can't help: for a lock of one's own, and in a circle. None hangs, and
//! each says why.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{
    Error, GuardMode, IndexOptions, LockOptions, Options, Process, Store, System, Table, both,
    eventually, ms, s,
};
use serde_json::json;
use std::time::Instant;

const PROGRAM: &str = env!("CARGO_BIN_EXE_beaver-test-process");

fn wait_for(seconds: u64) -> LockOptions {
    LockOptions::timeout(s(seconds))
}

fn circle(locks: &[&str]) -> Error {
    Error::Deadlock(locks.iter().map(|lock| (*lock).to_owned()).collect())
}

/// Longer than any test takes that passes.
fn long() -> LockOptions {
    LockOptions::default().ttl(s(120))
}

both! {
    fn two_owners_in_opposite_order_end_by_timeout_and_name_both_locks(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let store = files.open();
        let (x, y) = (store.dict("x").unwrap(), store.queue("y").unwrap());
        x.acquire(&long()).unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let store = files.open();
                let (x, y) = (store.dict("x").unwrap(), store.queue("y").unwrap());
                y.acquire(&long()).unwrap();
                x.acquire(&wait_for(60)).unwrap();
                x.set("n", "2", None).unwrap();
            });
            eventually("the other waits for x", || table.rows("__lock__dict__x") == 2);
            let start = Instant::now();
            assert_eq!(
                y.acquire(&LockOptions::timeout(ms(100))),
                Err(circle(&["__lock__queue__y", "__lock__dict__x"]))
            );
            assert!(start.elapsed() >= ms(100));
            assert_eq!(table.rows("__lock__queue__y"), 1, "nothing is left behind");
            x.set("n", "1", None).unwrap();
            x.release().unwrap();
            other.join().unwrap();
        });
        assert_eq!(x.get("n").unwrap().as_deref(), Some("2"));
        y.acquire(&wait_for(60)).unwrap();
    }

    fn a_circle_of_three_names_all_locks_in_order(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let store = files.open();
        let (a, b) = (store.lock("a").unwrap(), store.lock("b").unwrap());
        a.acquire(&long()).unwrap();
        std::thread::scope(|scope| {
            for (held, wanted) in [("c", "a"), ("b", "c")] {
                scope.spawn(move || {
                    let store = files.open();
                    let (held, wanted) = (store.lock(held).unwrap(), store.lock(wanted).unwrap());
                    held.acquire(&long()).unwrap();
                    wanted.acquire(&wait_for(60)).unwrap();
                });
                eventually("it waits", || table.rows(wanted) == 2);
            }
            assert_eq!(b.acquire(&LockOptions::timeout(ms(50))), Err(circle(&["b", "c", "a"])));
            a.release().unwrap();
        });
        b.acquire(&wait_for(60)).unwrap();
    }

    fn it_may_be_another_process_of_either_system(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let store = files.open();
        let (x, y) = (store.lock("x").unwrap(), store.lock("y").unwrap());
        for system in [System::Native, System::Component] {
            let mut process = Process::start(PROGRAM, system, &files.database());
            x.acquire(&long()).unwrap();
            process.call(json!({"op": "acquire", "name": "y"}));
            process.send(&json!({"op": "acquire", "name": "x"}));
            eventually("the process waits", || table.rows("x") == 2);
            assert_eq!(y.acquire(&LockOptions::timeout(ms(50))), Err(circle(&["y", "x"])));
            x.release().unwrap();
            assert_eq!(process.answer(), json!({"ok": null}));
            process.call(json!({"op": "release", "name": "x"}));
            process.call(json!({"op": "release", "name": "y"}));
        }
    }

    fn a_write_without_the_lock_says_so_too(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let store = files.open_with(&Options { lock_wait: ms(50), ..Options::default() }).unwrap();
        let (x, y) = (store.list("x").unwrap(), store.blob("y").unwrap());
        x.acquire(&long()).unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let store = files.open_with(&Options { lock_wait: s(60), ..Options::default() }).unwrap();
                let (x, y) = (store.list("x").unwrap(), store.blob("y").unwrap());
                y.acquire(&long()).unwrap();
                x.push("1").unwrap();
            });
            eventually("the other waits for x", || table.rows("__lock__list__x") == 2);
            assert_eq!(
                y.put("k", b"1", None),
                Err(circle(&["__lock__blob__y", "__lock__list__x"]))
            );
            x.release().unwrap();
            other.join().unwrap();
        });
        assert_eq!(y.get("k").unwrap(), None, "it definitely did not happen");
        assert_eq!(x.len().unwrap(), 1);
        assert_eq!(table.rows("__lock__list__x") + table.rows("__lock__blob__y"), 0);
    }

    // It waits on while others may give up, longer than a write waits for a lock.
    fn a_queue_says_so_when_its_own_time_is_up(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let store = files.open_with(&Options { lock_wait: ms(10), ..Options::default() }).unwrap();
        let (x, queue) = (store.lock("x").unwrap(), store.queue("q").unwrap());
        x.acquire(&long()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let store = files.open();
                let (x, queue) = (store.lock("x").unwrap(), store.queue("q").unwrap());
                queue.acquire(&long()).unwrap();
                queue.put("1", 0.0).unwrap();
                x.acquire(&wait_for(60)).unwrap();
            });
            eventually("the other waits for x", || table.rows("x") == 2);
            let start = Instant::now();
            let expected = || circle(&["__lock__queue__q", "x"]);
            assert_eq!(queue.get(Some(ms(60))).unwrap_err(), expected());
            assert!(start.elapsed() >= ms(60));
            assert_eq!(queue.try_get().unwrap_err(), expected());
            x.release().unwrap();
        });
        assert_eq!(queue.get(Some(s(60))).unwrap().data, "1");
    }

    fn a_wait_outside_of_a_circle_just_times_out(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let (ours, theirs, third) = (files.open(), files.open(), files.open());
        let own = ours.lock("own").unwrap();
        own.acquire(&long()).unwrap();
        let busy = theirs.lock("busy").unwrap();
        busy.acquire(&long()).unwrap();
        let short = LockOptions::timeout(ms(20));
        assert_eq!(ours.lock("busy").unwrap().acquire(&short), Err(Error::Timeout));
        let far = third.lock("far").unwrap();
        far.acquire(&long()).unwrap();
        std::thread::scope(|scope| {
            // Whoever holds "chained" waits, but not for us.
            scope.spawn(|| {
                let store = files.open();
                let chained = store.lock("chained").unwrap();
                chained.acquire(&long()).unwrap();
                store.lock("far").unwrap().acquire(&wait_for(60)).unwrap();
            });
            eventually("it waits", || table.rows("far") == 2);
            assert_eq!(ours.lock("chained").unwrap().acquire(&short), Err(Error::Timeout));
            far.release().unwrap();
        });
        // Nor does a Python process whose threads may do both things at once.
        table.change("INSERT INTO beaver_lock_waiters VALUES ('python', 'pid:7:id:a', 1.0, 9e9)");
        table.change("INSERT INTO beaver_lock_waiters VALUES ('own', 'pid:7:id:b', 1.0, 9e9)");
        assert_eq!(ours.lock("python").unwrap().acquire(&short), Err(Error::Timeout));
    }

    // Nobody could release it meanwhile, so waiting would only burn its time to live
    // and then take it from its holder.
    fn a_lock_of_another_handle_of_the_same_database_is_not_waited_for(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let store = files.open();
        let (holder, nested) = (store.dict("d").unwrap(), store.dict("d").unwrap());
        holder.acquire(&long()).unwrap();
        let own = || Err(circle(&["__lock__dict__d"]));
        assert_eq!(nested.acquire(&LockOptions::default()), own());
        assert_eq!(nested.acquire(&wait_for(240)), own());
        assert_eq!(store.acquire_all(&[(&nested).into()], &wait_for(240)), own());
        // What doesn't wait says what it always says.
        assert_eq!(nested.acquire(&LockOptions::timeout(ms(0))), Err(Error::Timeout));
        assert!(!nested.try_acquire(None).unwrap());
        assert_eq!(table.rows("__lock__dict__d"), 1, "nothing is left behind");
        // The same while somebody else is in line.
        table.change("INSERT INTO beaver_lock_waiters VALUES ('__lock__dict__d', 'pid:7:id:a', 1.0, 9e9)");
        assert_eq!(nested.acquire(&wait_for(240)), own());
        table.change("DELETE FROM beaver_lock_waiters WHERE waiter_id = 'pid:7:id:a'");
        holder.set("x", "1", None).unwrap();
        holder.release().unwrap();
        nested.acquire(&wait_for(60)).unwrap();
    }

    fn a_write_by_another_handle_of_the_same_database_ends_at_once(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let patient = Options { lock_wait: s(240), ..Options::default() };
        let store = files.open_with(&patient).unwrap();
        let (dict, list, queue) =
            (store.dict("m").unwrap(), store.list("m").unwrap(), store.queue("m").unwrap());
        let (notes, blob) = (store.collection("m").unwrap(), store.blob("m").unwrap());
        let all = [(&dict).into(), (&list).into(), (&queue).into(), (&notes).into(), (&blob).into()];
        store.acquire_all(&all, &long()).unwrap();
        queue.put("0", 0.0).unwrap();
        let writes = |store: &Store| {
            let queue = store.queue("m").unwrap();
            let notes = store.collection("m").unwrap();
            vec![
                ("dict", store.dict("m").unwrap().set("x", "1", None)),
                ("list", store.list("m").unwrap().push("1")),
                ("queue", queue.put("1", 0.0)),
                ("queue", queue.try_get().map(drop)),
                ("queue", queue.get(None).map(drop)),
                ("queue", queue.get_batch(1, None).map(drop)),
                ("collection", notes.index(None, None, None, &IndexOptions::default()).map(drop)),
                ("blob", store.blob("m").unwrap().put("k", b"1", None)),
            ]
        };
        for (kind, result) in writes(&store) {
            assert_eq!(result, Err(circle(&[&format!("__lock__{kind}__m")])));
        }
        // Reading is free, and the holder's own handles write.
        assert_eq!(store.dict("m").unwrap().len().unwrap(), 0);
        dict.set("x", "0", None).unwrap();
        // In a transaction nobody waits anyway.
        let transaction = store.begin().unwrap();
        assert_eq!(
            store.dict("m").unwrap().set("x", "1", None),
            Err(Error::Locked("__lock__dict__m".into()))
        );
        dict.set("x", "2", None).unwrap();
        transaction.commit().unwrap();
        assert_eq!(table.query("SELECT count(*) FROM beaver_lock_waiters"), 5);
        for kind in ["dict", "list", "queue", "collection", "blob"] {
            store.lock(&format!("__lock__{kind}__m")).unwrap().clear().unwrap();
        }
        let items = store.queue("m").unwrap();
        for n in ["1", "2"] {
            items.put(n, 0.0).unwrap();
        }
        for (kind, result) in writes(&store) {
            result.unwrap_or_else(|error| panic!("{kind}: {error}"));
        }
    }

    fn an_advisory_lock_stops_no_handle_of_the_same_database(files: &Files) {
        let advisory = Options { guard_mode: GuardMode::Advisory, ..Options::default() };
        let store = files.open_with(&advisory).unwrap();
        let (holder, nested) = (store.dict("d").unwrap(), store.dict("d").unwrap());
        holder.acquire(&long()).unwrap();
        nested.set("x", "1", None).unwrap();
        holder.set("y", "2", None).unwrap();
        assert_eq!(nested.acquire(&wait_for(240)), Err(circle(&["__lock__dict__d"])));
        holder.release().unwrap();
    }

    // Past its time, or lost, it is a lock like any other.
    fn an_own_lock_that_has_run_out_is_taken(files: &Files) {
        let store = files.open();
        let (stale, next) = (store.dict("d").unwrap(), store.dict("d").unwrap());
        stale.acquire(&wait_for(1).ttl(ms(1))).unwrap();
        std::thread::sleep(ms(20));
        next.acquire(&wait_for(60)).unwrap();
        next.set("x", "1", None).unwrap();
        assert_eq!(stale.set("x", "2", None), Err(Error::LockLost("__lock__dict__d".into())));
        next.release().unwrap();
        let theirs = files.open().dict("d").unwrap();
        theirs.acquire(&long()).unwrap();
        assert_eq!(next.acquire(&LockOptions::timeout(ms(20))), Err(Error::Timeout));
    }
}
