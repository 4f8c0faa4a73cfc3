//! Several locks at once: all or none, and never in each other's way.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{Error, LockOptions, Lockable, Options, Table, both, eventually, ms, s};
use std::sync::Mutex;
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_beaver-test-process");

const X: &str = "__lock__dict__x";
const Y: &str = "__lock__queue__y";

fn wait_for(seconds: u64) -> LockOptions {
    LockOptions::timeout(s(seconds))
}

/// The numbers of a seed (an LCG; good enough to mix orders).
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

both! {
    fn every_kind_of_handle_holds_its_lock_and_gives_it_back(files: &Files) {
        let (store, other) = (files.open(), files.open());
        let (dict, list, queue) =
            (store.dict("m").unwrap(), store.list("m").unwrap(), store.queue("m").unwrap());
        let (notes, blob, lock) =
            (store.collection("m").unwrap(), store.blob("m").unwrap(), store.lock("m").unwrap());
        let all: [Lockable<'_>; 6] = [
            (&lock).into(), (&dict).into(), (&list).into(),
            (&queue).into(), (&notes).into(), (&blob).into(),
        ];
        store.acquire_all(&all, &wait_for(1)).unwrap();
        let names = ["m", "__lock__dict__m", "__lock__list__m", "__lock__queue__m",
            "__lock__collection__m", "__lock__blob__m"];
        for name in names {
            assert!(!other.lock(name).unwrap().try_acquire(None).unwrap(), "{name}");
        }
        dict.set("k", "1", None).unwrap();
        list.push("1").unwrap();
        queue.put("1", 0.0).unwrap();
        blob.put("k", b"1", None).unwrap();
        assert!(lock.fencing_token().is_some() && notes.fencing_token().is_some());
        dict.renew(Some(s(60))).unwrap();
        for released in [
            lock.release(), dict.release(), list.release(),
            queue.release(), notes.release(), blob.release(),
        ] {
            released.unwrap();
        }
        for name in names {
            assert!(other.lock(name).unwrap().try_acquire(None).unwrap(), "{name}");
        }
        store.acquire_all(&[], &wait_for(1)).unwrap();
    }

    fn what_cannot_be_taken_together_takes_nothing(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let store = files.open();
        let (x, y) = (store.dict("x").unwrap(), store.queue("y").unwrap());
        let twice = store.dict("x").unwrap();
        let by_name = store.lock(X).unwrap();
        for second in [Lockable::Dict(&twice), Lockable::Lock(&by_name)] {
            match store.acquire_all(&[(&x).into(), (&y).into(), second], &wait_for(1)) {
                Err(Error::InvalidArgument(reason)) => assert!(reason.contains(X), "{reason}"),
                result => panic!("{result:?}"),
            }
        }
        let no_time = wait_for(1).ttl(Duration::ZERO);
        assert!(matches!(
            store.acquire_all(&[(&x).into()], &no_time),
            Err(Error::InvalidArgument(_))
        ));
        y.acquire(&wait_for(1)).unwrap();
        let all = [(&x).into(), (&y).into()];
        assert_eq!(store.acquire_all(&all, &wait_for(1)), Err(Error::AlreadyHeld));
        assert_eq!(x.fencing_token(), None);
        y.release().unwrap();
        let transaction = store.begin().unwrap();
        assert_eq!(store.acquire_all(&all, &wait_for(1)), Err(Error::InTransaction));
        transaction.rollback().unwrap();
        assert_eq!(table.query("SELECT count(*) FROM beaver_lock_waiters"), 0);
    }

    fn a_timeout_leaves_none_of_them(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let (store, other) = (files.open(), files.open());
        let (x, y, z) =
            (store.dict("x").unwrap(), store.queue("y").unwrap(), store.lock("z").unwrap());
        let theirs = other.queue("y").unwrap();
        theirs.acquire(&wait_for(1)).unwrap();
        let all = [(&x).into(), (&y).into(), (&z).into()];
        for timeout in [ms(0), ms(1), ms(60)] {
            let start = std::time::Instant::now();
            assert_eq!(store.acquire_all(&all, &LockOptions::timeout(timeout)), Err(Error::Timeout));
            assert!(start.elapsed() >= timeout);
            assert_eq!(table.query("SELECT count(*) FROM beaver_lock_waiters"), 1);
            assert_eq!(x.fencing_token().or(y.fencing_token()).or(z.fencing_token()), None);
        }
        theirs.release().unwrap();
        store.acquire_all(&all, &wait_for(60)).unwrap();
    }

    fn nothing_is_held_before_all_can_be_and_all_live_their_full_time(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let holder = files.open().queue("y").unwrap();
        holder.acquire(&wait_for(1)).unwrap();
        std::thread::scope(|scope| {
            let set = scope.spawn(|| {
                let store = files.open();
                let (x, y) = (store.dict("x").unwrap(), store.queue("y").unwrap());
                store.acquire_all(&[(&y).into(), (&x).into()], &wait_for(60).ttl(s(7200))).unwrap();
                let alike = table_of(files).query(
                    "SELECT count(DISTINCT requested_at) = 1
                        AND max(expires_at) - min(expires_at) < 1
                        AND min(expires_at) > unixepoch() + 7000 FROM beaver_lock_waiters",
                );
                assert_eq!(alike, 1);
                let tokens = (x.fencing_token().unwrap(), y.fencing_token().unwrap());
                assert_eq!(tokens, (1, 2), "one grant of x, the second of y");
            });
            eventually("the set is in line", || table.rows(X) == 1 && table.rows(Y) == 2);
            let granted = table.query(&format!(
                "SELECT count(*) FROM beaver_lock_waiters WHERE lock_name = '{X}' AND requested_at < 0"
            ));
            assert_eq!(granted, 0);
            holder.release().unwrap();
            set.join().unwrap();
        });
        assert_eq!(table.query("SELECT count(*) FROM beaver_lock_waiters"), 0);
    }

    fn a_set_keeps_its_place_in_every_line(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let holder = files.open().queue("y").unwrap();
        holder.acquire(&wait_for(1)).unwrap();
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let order = &order;
            scope.spawn(move || {
                let store = files.open();
                let (x, y) = (store.dict("x").unwrap(), store.queue("y").unwrap());
                store.acquire_all(&[(&x).into(), (&y).into()], &wait_for(60)).unwrap();
                order.lock().unwrap().push("set");
                x.release().unwrap();
            });
            eventually("the set is in line", || table.rows(X) == 1);
            scope.spawn(move || {
                let x = files.open().dict("x").unwrap();
                x.acquire(&wait_for(60)).unwrap();
                order.lock().unwrap().push("one");
            });
            eventually("the next is in line", || table.rows(X) == 2);
            // The same for a write without the lock.
            let hasty = files.open_with(&Options { lock_wait: ms(20), ..Options::default() }).unwrap();
            assert_eq!(hasty.dict("x").unwrap().set("k", "1", None), Err(Error::Locked(X.into())));
            holder.release().unwrap();
        });
        assert_eq!(*order.lock().unwrap(), ["set", "one"]);
    }

    fn sets_in_any_order_lose_nothing_and_never_lock_each_other_out(files: &Files) {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        drop(files.open());
        let totals = Mutex::new([0_u64; 4]);
        std::thread::scope(|scope| {
            for seed in 1..=4 {
                let totals = &totals;
                scope.spawn(move || {
                    let mut number = numbers(seed);
                    let store = files.open();
                    let dicts = NAMES.map(|name| store.dict(name).unwrap());
                    for _ in 0..25 {
                        // Two or three of the four, in an order of its own.
                        let mut picked = vec![0, 1, 2, 3];
                        for place in (1..4_u64).rev() {
                            picked.swap(place as usize, number(place + 1) as usize);
                        }
                        picked.truncate(2 + number(2) as usize);
                        let all: Vec<_> = picked.iter().map(|n| (&dicts[*n]).into()).collect();
                        store.acquire_all(&all, &wait_for(60)).unwrap();
                        for n in &picked {
                            let dict = &dicts[*n];
                            let value: u64 = dict.get("n").unwrap().map_or(0, |text| text.parse().unwrap());
                            dict.set("n", &(value + 1).to_string(), None).unwrap();
                        }
                        for n in &picked {
                            dicts[*n].release().unwrap();
                            totals.lock().unwrap()[*n] += 1;
                        }
                    }
                });
            }
            // Among others who want just one.
            scope.spawn(|| {
                let dict = files.open().dict("b").unwrap();
                for _ in 0..25 {
                    dict.acquire(&wait_for(60)).unwrap();
                    let value: u64 = dict.get("n").unwrap().map_or(0, |text| text.parse().unwrap());
                    dict.set("n", &(value + 1).to_string(), None).unwrap();
                    dict.release().unwrap();
                }
            });
        });
        let mut totals = totals.into_inner().unwrap();
        totals[1] += 25;
        let store = files.open();
        for (name, total) in NAMES.iter().zip(totals) {
            let value = store.dict(name).unwrap().get("n").unwrap();
            assert_eq!(value, Some(total.to_string()), "{name}");
        }
        assert_eq!(table_of(files).query("SELECT count(*) FROM beaver_lock_waiters"), 0);
    }

    fn a_cleared_lock_ends_the_wait_for_all(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let holder = files.open().queue("y").unwrap();
        holder.acquire(&wait_for(1)).unwrap();
        std::thread::scope(|scope| {
            let set = scope.spawn(|| {
                let store = files.open();
                let (x, y) = (store.dict("x").unwrap(), store.queue("y").unwrap());
                store.acquire_all(&[(&x).into(), (&y).into()], &LockOptions::default())
            });
            eventually("the set is in line", || table.rows(Y) == 2);
            files.open().lock(Y).unwrap().clear().unwrap();
            assert_eq!(set.join().unwrap(), Err(Error::WaitCleared));
        });
        assert_eq!(table.query("SELECT count(*) FROM beaver_lock_waiters"), 0);
    }

    // With those who take one lock after the other a set can stand in a circle, also by
    // its place in line: it ends as among two of those.
    fn a_circle_with_one_by_one_is_named(files: &Files) {
        drop(files.open());
        let table = Table::of(PROGRAM, files);
        let store = files.open();
        let (x, y, z) =
            (store.dict("x").unwrap(), store.queue("y").unwrap(), store.lock("z").unwrap());
        y.acquire(&wait_for(60)).unwrap();
        std::thread::scope(|scope| {
            let set = scope.spawn(|| {
                let store = files.open();
                let (x, y) = (store.dict("x").unwrap(), store.queue("y").unwrap());
                store.acquire_all(&[(&x).into(), (&y).into()], &wait_for(60))
            });
            eventually("the set is next for x", || table.rows(X) == 1);
            let short = LockOptions::timeout(ms(50));
            assert_eq!(x.acquire(&short), Err(Error::Deadlock(vec![X.into(), Y.into()])));
            y.release().unwrap();
            set.join().unwrap().unwrap();
            // And seen by the set.
            z.acquire(&wait_for(60)).unwrap();
            scope.spawn(|| {
                let store = files.open();
                let (y, z) = (store.queue("y").unwrap(), store.lock("z").unwrap());
                y.acquire(&wait_for(60)).unwrap();
                z.acquire(&wait_for(60)).unwrap();
            });
            eventually("the other waits for z", || table.rows("z") == 2);
            let both = [(&x).into(), (&y).into()];
            assert_eq!(
                store.acquire_all(&both, &short),
                Err(Error::Deadlock(vec![Y.into(), "z".into()]))
            );
            z.release().unwrap();
        });
        assert_eq!(table.query("SELECT count(*) FROM beaver_lock_waiters"), 0);
    }

    fn locks_taken_together_are_lost_and_fenced_one_by_one(files: &Files) {
        let (store, other) = (files.open(), files.open());
        let (x, y) = (store.dict("x").unwrap(), store.queue("y").unwrap());
        store.acquire_all(&[(&x).into(), (&y).into()], &wait_for(1).ttl(ms(1))).unwrap();
        y.renew(Some(s(3600))).unwrap();
        let theirs = other.dict("x").unwrap();
        theirs.acquire(&wait_for(60)).unwrap();
        assert!(theirs.fencing_token() > x.fencing_token());
        assert_eq!(x.set("k", "1", None), Err(Error::LockLost(X.into())));
        y.put("1", 0.0).unwrap();
        assert_eq!(x.release(), Err(Error::LockLost(X.into())));
        y.release().unwrap();
    }
}

fn table_of(files: &beaver_tests::Files) -> Table {
    Table::of(PROGRAM, files)
}
