//! What a transaction does: all or nothing, seen by nobody in part.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{Error, LockOptions, both, ms, s};

both! {
    // Found in review: the tables that its opening made went with the rollback.
    fn a_handle_opened_inside_works_after_the_rollback(files: &Files) {
        let store = files.open();
        let transaction = store.begin().unwrap();
        let (list, blob) = (store.list("l").unwrap(), store.blob("b").unwrap());
        let (log, channel) = (store.log("g").unwrap(), store.channel("c").unwrap());
        list.push("1").unwrap();
        transaction.rollback().unwrap();
        assert_eq!(list.len().unwrap(), 0);
        list.push("2").unwrap();
        blob.put("k", b"x", None).unwrap();
        log.append("1", None).unwrap();
        channel.publish("1").unwrap();
        assert_eq!(list.get(0).unwrap().as_deref(), Some("2"));
        assert_eq!(log.len().unwrap() + channel.len().unwrap() + blob.len().unwrap(), 3);
        // Twice in a row, so that what made them again went as well.
        let other = beaver_tests::Files::new(files.system);
        let store = other.open();
        for _ in 0..2 {
            let transaction = store.begin().unwrap();
            let list = store.list("l").unwrap();
            list.push("1").unwrap();
            transaction.rollback().unwrap();
            assert_eq!(list.len().unwrap(), 0);
        }
    }

    fn commits_across_managers_at_once(files: &Files) {
        let (store, other) = (files.open(), files.open());
        let (dict, queue) = (store.dict("d").unwrap(), store.queue("q").unwrap());
        let (seen_dict, seen_queue) = (other.dict("d").unwrap(), other.queue("q").unwrap());
        let transaction = store.begin().unwrap();
        dict.set("x", "1", None).unwrap();
        queue.put("2", 0.0).unwrap();
        assert_eq!(dict.get("x").unwrap().as_deref(), Some("1"), "it sees itself");
        assert_eq!(seen_dict.get("x").unwrap(), None, "others don't");
        assert_eq!(seen_queue.len().unwrap(), 0);
        transaction.commit().unwrap();
        assert_eq!(seen_dict.get("x").unwrap().as_deref(), Some("1"));
        assert_eq!(seen_queue.len().unwrap(), 1);
    }

    fn rolls_back_on_request_and_on_drop(files: &Files) {
        let store = files.open();
        let dict = store.dict("d").unwrap();
        let transaction = store.begin().unwrap();
        dict.set("x", "1", None).unwrap();
        transaction.rollback().unwrap();
        assert_eq!(dict.get("x").unwrap(), None);
        let transaction = store.begin().unwrap();
        dict.set("x", "2", None).unwrap();
        drop(transaction);
        assert_eq!(dict.get("x").unwrap(), None);
        dict.set("x", "3", None).unwrap();
        assert_eq!(dict.get("x").unwrap().as_deref(), Some("3"));
    }

    fn one_at_a_time_and_no_waiting_inside(files: &Files) {
        let store = files.open();
        let (dict, queue) = (store.dict("d").unwrap(), store.queue("q").unwrap());
        let lock = store.lock("l").unwrap();
        let transaction = store.begin().unwrap();
        assert_eq!(store.begin().map(drop).unwrap_err(), Error::InTransaction);
        let options = LockOptions::timeout(s(1));
        assert_eq!(lock.acquire(&options).unwrap_err(), Error::InTransaction);
        assert_eq!(lock.try_acquire(None).unwrap_err(), Error::InTransaction);
        assert_eq!(dict.acquire(&options).unwrap_err(), Error::InTransaction);
        assert_eq!(lock.clear().unwrap_err(), Error::InTransaction);
        assert_eq!(queue.get(Some(s(1))).unwrap_err(), Error::InTransaction);
        assert_eq!(queue.get_batch(2, None).unwrap_err(), Error::InTransaction);
        assert_eq!(store.checkpoint().unwrap_err(), Error::InTransaction);
        assert_eq!(queue.get(Some(ms(0))).unwrap_err(), Error::Timeout);
        queue.put("1", 0.0).unwrap();
        assert_eq!(queue.get(Some(s(1))).unwrap().data, "1", "what is there needs no waiting");
        transaction.commit().unwrap();
    }

    fn an_operation_that_fails_leaves_the_rest_of_it(files: &Files) {
        let store = files.open();
        let dict = store.dict("d").unwrap();
        let transaction = store.begin().unwrap();
        dict.set("x", "1", None).unwrap();
        assert!(matches!(dict.set("y", "not json", None), Err(Error::InvalidJson(_))));
        dict.set("z", "3", None).unwrap();
        transaction.commit().unwrap();
        assert_eq!(dict.key_pages(10).unwrap().concat(), ["x", "z"]);
    }

    fn respects_locks_and_is_fenced(files: &Files) {
        let (store, other) = (files.open(), files.open());
        let (dict, theirs) = (store.dict("d").unwrap(), other.dict("d").unwrap());
        theirs.acquire(&LockOptions::timeout(s(1))).unwrap();
        let transaction = store.begin().unwrap();
        assert_eq!(dict.set("x", "1", None).unwrap_err(), Error::Locked("__lock__dict__d".into()));
        transaction.rollback().unwrap();
        theirs.release().unwrap();

        dict.acquire(&LockOptions::timeout(s(1)).ttl(ms(10))).unwrap();
        theirs.acquire(&LockOptions::timeout(s(60))).unwrap();
        let transaction = store.begin().unwrap();
        assert_eq!(dict.set("x", "1", None).unwrap_err(), Error::LockLost("__lock__dict__d".into()));
        drop(transaction);
        assert_eq!(theirs.get("x").unwrap(), None);
    }

    fn under_the_lock_it_is_one_unit(files: &Files) {
        let store = files.open();
        let dict = store.dict("d").unwrap();
        dict.acquire(&LockOptions::timeout(s(1))).unwrap();
        let transaction = store.begin().unwrap();
        dict.set("x", "1", None).unwrap();
        dict.set("y", "2", None).unwrap();
        transaction.commit().unwrap();
        dict.release().unwrap();
        assert_eq!(dict.len().unwrap(), 2);
    }

    fn a_handle_dropped_inside_gives_its_lock_back_after(files: &Files) {
        let store = files.open();
        let held = store.dict("held").unwrap();
        held.acquire(&LockOptions::timeout(s(1))).unwrap();
        let transaction = store.begin().unwrap();
        drop(held);
        store.dict("d").unwrap().set("x", "1", None).unwrap();
        transaction.commit().unwrap();
        assert!(files.open().dict("held").unwrap().try_acquire(None).unwrap());
    }

    // Write skew and lost updates need two writers at once; there is one.
    fn transfers_keep_the_sum(files: &Files) {
        let accounts = files.open().dict("accounts").unwrap();
        for account in 0..5 {
            accounts.set(&account.to_string(), "100", None).unwrap();
        }
        std::thread::scope(|scope| {
            for worker in 0..3_u64 {
                scope.spawn(move || {
                    let store = files.open();
                    let accounts = store.dict("accounts").unwrap();
                    for round in 0..40_u64 {
                        let (from, to) = ((worker + round) % 5, (worker * 2 + round * 3 + 1) % 5);
                        let transaction = store.begin().unwrap();
                        let read = |account: u64| -> i64 {
                            accounts.get(&account.to_string()).unwrap().unwrap().parse().unwrap()
                        };
                        let (a, b) = (read(from), read(to));
                        if from != to {
                            accounts.set(&from.to_string(), &(a - 7).to_string(), None).unwrap();
                            accounts.set(&to.to_string(), &(b + 7).to_string(), None).unwrap();
                        }
                        if round % 4 == 0 {
                            transaction.rollback().unwrap();
                        } else {
                            transaction.commit().unwrap();
                        }
                        // A reader outside sees whole transfers only.
                        let outside = files.open();
                        let view = outside.begin().unwrap();
                        let sum: i64 = outside.dict("accounts").unwrap().value_pages(10).unwrap()
                            .concat().iter().map(|text| text.parse::<i64>().unwrap()).sum();
                        assert_eq!(sum, 500);
                        drop(view);
                    }
                });
            }
        });
    }
}
