//! The promises of a lock (DESIGN's list of what the reference gets wrong), for
//! a lock by name and for the locks of managers.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{
    Error, Files, GuardMode, IndexOptions, LockOptions, Lockable, Options, Store, System, Table,
    both, eventually, ms, s,
};
use std::sync::Mutex;
use std::time::Instant;

const PROGRAM: &str = env!("CARGO_BIN_EXE_beaver-test-process");

/// A handle of every manager that has a lock, each named "m".
struct Every {
    dict: beaver_tests::Dict,
    list: beaver_tests::List,
    queue: beaver_tests::Queue,
    collection: beaver_tests::Collection,
    blob: beaver_tests::Blob,
}

impl Every {
    fn of(store: &Store) -> Self {
        Self {
            dict: store.dict("m").unwrap(),
            list: store.list("m").unwrap(),
            queue: store.queue("m").unwrap(),
            collection: store.collection("m").unwrap(),
            blob: store.blob("m").unwrap(),
        }
    }

    fn all(&self) -> [Lockable<'_>; 5] {
        [
            (&self.dict).into(),
            (&self.list).into(),
            (&self.queue).into(),
            (&self.collection).into(),
            (&self.blob).into(),
        ]
    }

    /// So that every write has something to change.
    fn fill(&self) {
        for n in 0..20 {
            let (key, value) = (format!("k{n}"), n.to_string());
            self.dict.set(&key, &value, None).unwrap();
            self.list.push(&value).unwrap();
            self.queue.put(&value, 0.0).unwrap();
            self.blob.put(&key, b"x", None).unwrap();
        }
    }

    /// Tries every way to write.
    fn writes(&self) -> Vec<(&'static str, Result<(), Error>)> {
        let Self {
            dict,
            list,
            queue,
            collection,
            blob,
        } = self;
        let index = |id| collection.index(Some(id), None, None, &IndexOptions::default());
        vec![
            ("dict", dict.set("a", "1", None)),
            ("dict", dict.delete("k0").map(drop)),
            ("dict", dict.pop("k1").map(drop)),
            ("dict", dict.clear().map(drop)),
            ("list", list.push("1")),
            ("list", list.prepend("1")),
            ("list", list.insert(1, "1")),
            ("list", list.set(0, "2")),
            ("list", list.delete(0)),
            ("list", list.pop().map(drop)),
            ("list", list.pop_first().map(drop)),
            ("list", list.clear().map(drop)),
            ("queue", queue.put("1", 0.0)),
            ("queue", queue.try_get().map(drop)),
            ("queue", queue.clear().map(drop)),
            ("collection", index("a").map(drop)),
            ("collection", collection.connect("a", "b", "to", None)),
            (
                "collection",
                collection.disconnect("a", "b", "to").map(drop),
            ),
            ("collection", collection.drop("a").map(drop)),
            ("collection", collection.compact().map(drop)),
            ("collection", collection.clear().map(drop)),
            ("blob", blob.put("a", b"x", None)),
            ("blob", blob.delete("k0").map(drop)),
            (
                "blob",
                blob.writer("b").and_then(|mut writer| writer.finish(None)),
            ),
            ("blob", blob.clear().map(drop)),
        ]
    }
}

fn wait_for(seconds: u64) -> LockOptions {
    LockOptions::timeout(s(seconds))
}

both! {
    fn is_exclusive_and_not_reentrant(files: &Files) {
        let store = files.open();
        let (a, b) = (store.lock("l").unwrap(), store.lock("l").unwrap());
        a.acquire(&wait_for(1)).unwrap();
        assert_eq!(a.acquire(&wait_for(1)).unwrap_err(), Error::AlreadyHeld);
        assert_eq!(a.try_acquire(None).unwrap_err(), Error::AlreadyHeld);
        assert!(!b.try_acquire(None).unwrap(), "another handle is another owner");
        assert_eq!(b.release().unwrap_err(), Error::NotHeld);
        assert_eq!(b.renew(None).unwrap_err(), Error::NotHeld);
        assert_eq!(b.fencing_token(), None);
        a.release().unwrap();
        assert_eq!(a.release().unwrap_err(), Error::NotHeld);
        assert!(b.try_acquire(None).unwrap());
    }

    fn dropping_the_handle_gives_the_lock_back(files: &Files) {
        let store = files.open();
        let a = store.lock("l").unwrap();
        a.acquire(&wait_for(1)).unwrap();
        drop(a);
        assert!(store.lock("l").unwrap().try_acquire(None).unwrap());
    }

    fn a_timeout_is_never_early_and_leaves_nothing(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let (a, b) = (files.open().lock("l").unwrap(), files.open().lock("l").unwrap());
        a.acquire(&wait_for(1)).unwrap();
        for timeout in [ms(0), ms(1), ms(60)] {
            let start = Instant::now();
            assert_eq!(b.acquire(&LockOptions::timeout(timeout)).unwrap_err(), Error::Timeout);
            assert!(start.elapsed() >= timeout);
            assert_eq!(table.rows("l"), 1, "only the holder's row is left");
        }
        a.release().unwrap();
        assert_eq!(table.rows("l"), 0);
    }

    fn grants_follow_the_order_of_requests(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let holder = files.open().lock("l").unwrap();
        holder.acquire(&wait_for(1)).unwrap();
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for waiter in 0..5_u64 {
                let order = &order;
                scope.spawn(move || {
                    let store = files.open();
                    let lock = store.lock("l").unwrap();
                    lock.acquire(&wait_for(60)).unwrap();
                    order.lock().unwrap().push((waiter, lock.fencing_token().unwrap()));
                    lock.release().unwrap();
                });
                eventually("the waiter is in line", || table.rows("l") == waiter + 2);
            }
            holder.release().unwrap();
        });
        let order = order.into_inner().unwrap();
        assert_eq!(order.iter().map(|(waiter, _)| *waiter).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!(order.windows(2).all(|pair| pair[0].1 < pair[1].1), "fencing tokens grow: {order:?}");
    }

    fn a_waiter_that_times_out_does_not_hold_up_the_next(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let holder = files.open().lock("l").unwrap();
        holder.acquire(&wait_for(1)).unwrap();
        std::thread::scope(|scope| {
            let impatient = scope.spawn(|| {
                files.open().lock("l").unwrap().acquire(&LockOptions::timeout(s(5)))
            });
            eventually("the first is in line", || table.rows("l") == 2);
            let patient = scope.spawn(|| files.open().lock("l").unwrap().acquire(&wait_for(60)));
            eventually("the second is in line", || table.rows("l") == 3);
            assert_eq!(impatient.join().unwrap().unwrap_err(), Error::Timeout);
            assert_eq!(table.rows("l"), 2);
            holder.release().unwrap();
            patient.join().unwrap().unwrap();
        });
    }

    // Reference, point 3: it counts the time to live from the request.
    fn the_time_to_live_runs_from_the_grant(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let holder = files.open().lock("l").unwrap();
        holder.acquire(&wait_for(1)).unwrap();
        let released = std::sync::OnceLock::new();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let (lock, other) = (files.open().lock("l").unwrap(), files.open().lock("l").unwrap());
                lock.acquire(&wait_for(60).ttl(s(2))).unwrap();
                // Waited longer than it lives, and yet it lives.
                let waited = other.acquire(&LockOptions::timeout(ms(200)));
                let given_back = lock.release();
                // On a slow machine its time may be over.
                if released.get().is_none_or(|at: &Instant| at.elapsed() < s(2)) {
                    assert_eq!(waited, Err(Error::Timeout));
                    given_back.unwrap();
                }
            });
            eventually("the waiter is in line", || table.rows("l") == 2);
            let start = Instant::now();
            while start.elapsed() < ms(2100) {
                std::thread::sleep(ms(50));
            }
            released.set(Instant::now()).unwrap();
            holder.release().unwrap();
            waiter.join().unwrap();
        });
    }

    // Point 4: a waiter that waits longer than its time to live must still get the lock.
    fn a_waiter_outlives_its_time_to_live(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let holder = files.open().lock("l").unwrap();
        holder.acquire(&wait_for(1)).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                files.open().lock("l").unwrap().acquire(&wait_for(60).ttl(ms(50)))
            });
            eventually("the waiter is in line", || table.rows("l") == 2);
            std::thread::sleep(ms(150));
            holder.release().unwrap();
            waiter.join().unwrap().unwrap();
        });
    }

    // Point 5: a holder past its time writes silently over the next one.
    fn a_stale_holder_is_fenced_off(files: &Files) {
        let (stale, next) = (files.open().dict("d").unwrap(), files.open().dict("d").unwrap());
        stale.acquire(&wait_for(1).ttl(ms(20))).unwrap();
        let old_token = stale.fencing_token().unwrap();
        stale.set("x", "\"before\"", None).unwrap();
        next.acquire(&wait_for(60)).unwrap();
        assert!(next.fencing_token().unwrap() > old_token);
        next.set("x", "\"next\"", None).unwrap();
        for attempt in [
            stale.set("x", "\"late\"", None).unwrap_err(),
            stale.delete("x").unwrap_err(),
            stale.clear().unwrap_err(),
            stale.renew(None).unwrap_err(),
            stale.release().unwrap_err(),
        ] {
            assert_eq!(attempt, Error::LockLost("__lock__dict__d".into()));
        }
        assert_eq!(next.get("x").unwrap().as_deref(), Some("\"next\""));
        next.release().unwrap();
        // After the report the handle is free again.
        stale.acquire(&wait_for(1)).unwrap();
    }

    fn a_holder_past_its_time_keeps_the_lock_while_nobody_is_next(files: &Files) {
        let dict = files.open().dict("d").unwrap();
        dict.acquire(&wait_for(1).ttl(ms(1))).unwrap();
        std::thread::sleep(ms(20));
        dict.set("x", "1", None).unwrap();
        dict.renew(Some(s(60))).unwrap();
        dict.release().unwrap();
    }

    // The same when the next one is a write that took no lock: found in review.
    fn a_stale_holder_is_fenced_off_by_a_write_without_the_lock(files: &Files) {
        let store = files.open();
        let (stale, other) = (store.dict("d").unwrap(), store.dict("d").unwrap());
        stale.acquire(&wait_for(1).ttl(ms(1))).unwrap();
        std::thread::sleep(ms(20));
        other.set("n", "10", None).unwrap();
        assert!(matches!(stale.set("n", "2", None), Err(Error::LockLost(_))));
        assert!(matches!(stale.release(), Err(Error::LockLost(_))));
        assert_eq!(other.get("n").unwrap().as_deref(), Some("10"));
        // And inside a transaction.
        stale.acquire(&wait_for(1).ttl(ms(1))).unwrap();
        std::thread::sleep(ms(20));
        let transaction = store.begin().unwrap();
        other.set("n", "11", None).unwrap();
        transaction.commit().unwrap();
        assert!(matches!(stale.set("n", "2", None), Err(Error::LockLost(_))));
    }

    // Found in review: a write that waited for the manager's lock kept the
    // internal one, which the lock's holder wanted next.
    fn a_write_that_waits_for_the_lock_is_in_nobodys_way(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let holder = files.open().dict("d").unwrap();
        // A method of Python's is under way.
        table.change("INSERT INTO beaver_lock_waiters VALUES ('__internal_lock__dict__d', 'pid:1', 1.0, 9e9)");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let options = Options { lock_wait: s(60), ..Options::default() };
                files.open_with(&options).unwrap().dict("d").unwrap().set("x", "1", None)
            });
            eventually("the writer waits for the method", || table.rows("__internal_lock__dict__d") == 2);
            holder.acquire(&wait_for(10)).unwrap();
            table.change("DELETE FROM beaver_lock_waiters WHERE waiter_id = 'pid:1'");
            eventually("the writer waits for the lock", || table.rows("__lock__dict__d") == 2);
            assert_eq!(table.rows("__internal_lock__dict__d"), 0);
            holder.set("x", "0", None).unwrap();
            holder.release().unwrap();
            writer.join().unwrap().unwrap();
        });
        assert_eq!(holder.get("x").unwrap().as_deref(), Some("1"));
    }

    fn renewing_keeps_the_lock(files: &Files) {
        let store = files.open();
        let (lock, other) = (store.lock("l").unwrap(), store.lock("l").unwrap());
        lock.acquire(&wait_for(1).ttl(ms(200))).unwrap();
        lock.renew(Some(s(3600))).unwrap();
        std::thread::sleep(ms(250));
        assert!(!other.try_acquire(None).unwrap());
        lock.release().unwrap();
    }

    // Point 9: the reference's lock is advisory.
    fn a_write_without_the_lock_waits_for_it_then_fails(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let store = files.open();
        let impatient = files.open_with(&Options { lock_wait: ms(50), ..Options::default() }).unwrap();
        let (dict, queue) = (store.dict("d").unwrap(), store.queue("q").unwrap());
        dict.acquire(&wait_for(1)).unwrap();
        queue.acquire(&wait_for(1)).unwrap();
        queue.put("1", 0.0).unwrap();
        let (dict2, queue2) = (impatient.dict("d").unwrap(), impatient.queue("q").unwrap());
        let locked = |lock: &str| Error::Locked(lock.into());
        assert_eq!(dict2.set("x", "1", None).unwrap_err(), locked("__lock__dict__d"));
        assert_eq!(dict2.clear().unwrap_err(), locked("__lock__dict__d"));
        assert_eq!(queue2.put("2", 0.0).unwrap_err(), locked("__lock__queue__q"));
        assert_eq!(queue2.try_get().unwrap_err(), locked("__lock__queue__q"));
        assert!(matches!(queue2.get(Some(ms(10))).unwrap_err(), Error::Locked(_)));
        assert_eq!(table.rows("__lock__dict__d"), 1, "the failed writes left no row");
        assert_eq!(table.rows("__lock__queue__q"), 1);
        // Reading is free, and other managers are not concerned.
        assert_eq!(dict2.get("x").unwrap(), None);
        assert_eq!(queue2.len().unwrap(), 1);
        impatient.dict("other").unwrap().set("x", "1", None).unwrap();
    }

    fn a_write_without_the_lock_goes_on_once_it_is_free(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let dict = files.open().dict("d").unwrap();
        dict.acquire(&wait_for(1)).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let options = Options { lock_wait: s(60), ..Options::default() };
                files.open_with(&options).unwrap().dict("d").unwrap().set("x", "\"after\"", None)
            });
            eventually("the writer is in line", || table.rows("__lock__dict__d") == 2);
            dict.set("x", "\"during\"", None).unwrap();
            dict.release().unwrap();
            writer.join().unwrap().unwrap();
        });
        assert_eq!(dict.get("x").unwrap().as_deref(), Some("\"after\""));
        assert_eq!(table.rows("__lock__dict__d"), 0, "its own lock row is gone too");
    }

    fn a_write_whose_place_in_line_is_cleared_goes_on(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let store = files.open();
        let dict = store.dict("d").unwrap();
        dict.acquire(&wait_for(1)).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let options = Options { lock_wait: s(60), ..Options::default() };
                files.open_with(&options).unwrap().dict("d").unwrap().set("x", "1", None)
            });
            eventually("the writer is in line", || table.rows("__lock__dict__d") == 2);
            assert_eq!(store.lock("__lock__dict__d").unwrap().clear().unwrap(), 2);
            writer.join().unwrap().unwrap();
        });
        assert_eq!(dict.get("x").unwrap().as_deref(), Some("1"));
        assert_eq!(dict.release().unwrap_err(), Error::LockLost("__lock__dict__d".into()));
    }

    fn a_lock_binds_every_write_of_its_manager_unless_it_is_advisory(files: &Files) {
        let holder = files.open();
        let every = Every::of(&holder);
        every.fill();
        holder.acquire_all(&every.all(), &wait_for(1)).unwrap();
        let mandatory = Options { lock_wait: ms(0), ..Options::default() };
        let advisory = Options { guard_mode: GuardMode::Advisory, ..mandatory.clone() };
        let (mandatory, advisory) =
            (files.open_with(&mandatory).unwrap(), files.open_with(&advisory).unwrap());
        for (kind, result) in Every::of(&mandatory).writes() {
            assert_eq!(result, Err(Error::Locked(format!("__lock__{kind}__m"))));
        }
        for (kind, result) in Every::of(&advisory).writes() {
            result.unwrap_or_else(|error| panic!("{kind}: {error}"));
        }
        // The holder's own verify, in both modes, that the lock is still held.
        let fenced = |every: &Every| {
            for (kind, result) in every.writes() {
                assert_eq!(result, Err(Error::LockLost(format!("__lock__{kind}__m"))));
            }
        };
        for manager in ["dict", "list", "queue", "collection", "blob"] {
            holder.lock(&format!("__lock__{manager}__m")).unwrap().clear().unwrap();
        }
        fenced(&every);
        let every = Every::of(&advisory);
        advisory.acquire_all(&every.all(), &wait_for(1)).unwrap();
        for (kind, result) in every.writes() {
            result.unwrap_or_else(|error| panic!("{kind}: {error}"));
            advisory.lock(&format!("__lock__{kind}__m")).unwrap().clear().unwrap();
        }
        fenced(&every);
    }

    fn advisory_mode_writes_regardless_but_is_still_fenced(files: &Files) {
        let advisory = files
            .open_with(&Options { guard_mode: GuardMode::Advisory, ..Options::default() })
            .unwrap();
        let dict = files.open().dict("d").unwrap();
        dict.acquire(&wait_for(1)).unwrap();
        let other = advisory.dict("d").unwrap();
        other.set("x", "1", None).unwrap();
        dict.release().unwrap();
        other.acquire(&wait_for(1).ttl(ms(1))).unwrap();
        dict.acquire(&wait_for(60)).unwrap();
        assert!(matches!(other.set("x", "2", None), Err(Error::LockLost(_))));
    }

    // Point 2: two requests with the same time.
    // Point 1: a foreign inserter that is late, with an early time.
    fn a_late_inserter_with_an_early_time_does_not_get_ahead_of_a_holder(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let (holder, waiter) = (files.open().lock("l").unwrap(), files.open().lock("l").unwrap());
        holder.acquire(&wait_for(1)).unwrap();
        table.change("INSERT INTO beaver_lock_waiters VALUES ('l', 'late', 1.0, 9e9)");
        holder.renew(None).unwrap();
        // The late one is next, before those who come now.
        assert_eq!(waiter.acquire(&LockOptions::timeout(ms(20))).unwrap_err(), Error::Timeout);
        holder.release().unwrap();
        assert!(!waiter.try_acquire(None).unwrap());
        table.change("DELETE FROM beaver_lock_waiters WHERE waiter_id = 'late'");
        assert!(waiter.try_acquire(None).unwrap());
    }

    // Point 10: a clock far ahead or behind doesn't change the order.
    fn a_request_from_the_future_does_not_block_those_behind_it(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let store = files.open();
        drop(store.lock("l").unwrap());
        table.change("INSERT INTO beaver_lock_waiters VALUES ('l', 'future', 9e15, 9e9)");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let lock = files.open().lock("l").unwrap();
                lock.acquire(&wait_for(60)).unwrap();
                lock.release().unwrap();
            });
            eventually("the waiter is in line", || table.rows("l") == 2);
            table.change("DELETE FROM beaver_lock_waiters WHERE waiter_id = 'future'");
            waiter.join().unwrap();
        });
        assert_eq!(table.rows("l"), 0);
    }

    fn an_expired_holder_of_any_kind_is_overtaken(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let store = files.open();
        drop(store.lock("l").unwrap());
        table.change("INSERT INTO beaver_lock_waiters VALUES ('l', 'dead', 1.0, 2.0)");
        let lock = store.lock("l").unwrap();
        lock.acquire(&wait_for(60)).unwrap();
        assert_eq!(table.rows("l"), 1);
    }

    fn clear_tells_the_holder_and_the_waiters(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let store = files.open();
        let holder = store.lock("l").unwrap();
        assert_eq!(holder.clear().unwrap(), 0);
        holder.acquire(&wait_for(1)).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| files.open().lock("l").unwrap().acquire(&LockOptions::default()));
            eventually("the waiter is in line", || table.rows("l") == 2);
            assert_eq!(store.lock("l").unwrap().clear().unwrap(), 2);
            assert_eq!(waiter.join().unwrap().unwrap_err(), Error::WaitCleared);
        });
        assert_eq!(holder.renew(None).unwrap_err(), Error::LockLost("l".into()));
        assert_eq!(holder.release().unwrap_err(), Error::LockLost("l".into()));
    }

    // Points 1, 7 and 11: contended increments lose nothing, between handles,
    // threads and instances, and a queue's batches under the lock are contiguous.
    fn contended_increments_lose_nothing(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        drop(files.open());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let dict = files.open().dict("d").unwrap();
                    for _ in 0..50 {
                        dict.acquire(&wait_for(60)).unwrap();
                        let n: u32 = dict.get("n").unwrap().map_or(0, |text| text.parse().unwrap());
                        dict.set("n", &(n + 1).to_string(), None).unwrap();
                        dict.release().unwrap();
                    }
                });
            }
        });
        assert_eq!(files.open().dict("d").unwrap().get("n").unwrap().as_deref(), Some("200"));
        assert_eq!(table.rows("__lock__dict__d"), 0);
    }

    fn batches_under_the_lock_are_contiguous(files: &Files) {
        let queue = files.open().queue("q").unwrap();
        for n in 0..120 {
            queue.put(&n.to_string(), 0.0).unwrap();
        }
        let began = Instant::now();
        let batches = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let batches = &batches;
                scope.spawn(move || {
                    let queue = files.open().queue("q").unwrap();
                    loop {
                        let batch: Vec<u32> = if worker == 0 {
                            // One that never takes the lock can't steal from a batch.
                            match queue.get_batch(1, Some(ms(0))) {
                                Ok(batch) => batch.iter().map(|i| i.data.parse().unwrap()).collect(),
                                Err(Error::Timeout | Error::Locked(_)) => Vec::new(),
                                // It doesn't wait long for a writer either: a checkpoint may be slow.
                                Err(Error::Busy) if began.elapsed() < s(60) => Vec::new(),
                                Err(error) => panic!("{error}"),
                            }
                        } else {
                            queue.acquire(&wait_for(60)).unwrap();
                            let batch = (0..5)
                                .filter_map(|_| queue.try_get().unwrap())
                                .map(|item| item.data.parse().unwrap())
                                .collect();
                            queue.release().unwrap();
                            batch
                        };
                        if batch.is_empty() && queue.len().unwrap() == 0 {
                            return;
                        }
                        batches.lock().unwrap().push(batch);
                    }
                });
            }
        });
        let batches = batches.into_inner().unwrap();
        for batch in &batches {
            assert!(batch.windows(2).all(|pair| pair[1] == pair[0] + 1), "{batch:?}");
        }
        let mut all = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..120).collect::<Vec<_>>());
    }
}

#[test]
fn a_grant_stands_before_any_clock() {
    let files = Files::new(System::Native);
    let lock = files.open().lock("l").unwrap();
    lock.acquire(&wait_for(1)).unwrap();
    let table = Table::of(PROGRAM, &files);
    assert_eq!(table.rows("l"), 1);
    assert_eq!(
        table.query("SELECT requested_at < 0 FROM beaver_lock_waiters"),
        1
    );
    assert_eq!(
        table.query("SELECT expires_at > 1.7e9 FROM beaver_lock_waiters"),
        1
    );
}
