//! Who lives but gave a lock up while somebody else wrote, so that its row stayed: the row
//! keeps the lock from nobody, though its time to live is an hour and its owner writes no more.

use super::PROGRAM;
use beaver_tests::{Error, Files, LockOptions, Options, Store, System, Table, both, ms, s};

/// Waits for nobody's commit.
fn hasty(files: &Files) -> Store {
    let options = Options {
        busy_timeout: ms(1),
        ..Options::default()
    };
    files.open_with(&options).unwrap()
}

fn an_hour() -> LockOptions {
    LockOptions {
        ttl: Some(s(3600)),
        ..LockOptions::timeout(s(60))
    }
}

/// Runs `during` while somebody else writes.
fn while_written(files: &Files, during: impl FnOnce()) {
    let writer = files.open();
    let transaction = writer.begin().unwrap();
    during();
    drop(transaction);
}

both! {
    // More often than a handle's claims may be in pieces: the next write mends them.
    fn the_lock_is_free_once_the_writer_is_done(files: &Files) {
        let (store, other) = (hasty(files), files.open());
        let table = Table::of(PROGRAM, files);
        for _ in 0..20 {
            let lock = store.lock("l").unwrap();
            lock.acquire(&an_hour()).unwrap();
            while_written(files, || drop(lock));
            assert_eq!(table.rows("l"), 1);
            let others = other.lock("l").unwrap();
            assert!(others.try_acquire(None).unwrap());
            assert_eq!(table.rows("l"), 1, "the row that stayed is gone");
            others.release().unwrap();
        }
    }

    fn whoever_waits_gets_it(files: &Files) {
        let store = hasty(files);
        let table = Table::of(PROGRAM, files);
        let lock = store.lock("l").unwrap();
        lock.acquire(&an_hour()).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| files.open().lock("l").unwrap().acquire(&an_hour()));
            beaver_tests::eventually("it is in line", || table.rows("l") == 2);
            while_written(files, || drop(lock));
            waiting.join().unwrap().unwrap();
        });
        assert!(store.lock("l").unwrap().try_acquire(None).unwrap());
    }

    fn other_locks_of_its_owner_stay(files: &Files) {
        let (store, other) = (hasty(files), files.open());
        let (given_up, kept) = (store.lock("l").unwrap(), store.lock("m").unwrap());
        given_up.acquire(&an_hour()).unwrap();
        kept.acquire(&an_hour()).unwrap();
        while_written(files, || drop(given_up));
        assert!(other.lock("l").unwrap().try_acquire(None).unwrap());
        let timed_out = other.lock("m").unwrap().acquire(&LockOptions::timeout(ms(20)));
        assert_eq!(timed_out.unwrap_err(), Error::Timeout);
        kept.release().unwrap();
    }

    // What can't be said by a claim waits for its owner's next write.
    fn as_many_as_there_are_pieces_are_free_the_others_soon(files: &Files) {
        let (store, other) = (hasty(files), files.open());
        let names: Vec<_> = (0..40).map(|number| format!("l{number}")).collect();
        let mut locks: Vec<_> = names.iter().map(|name| store.lock(name).unwrap()).collect();
        for lock in &locks {
            lock.acquire(&an_hour()).unwrap();
        }
        let mut number = 0;
        while_written(files, || {
            locks.retain(|_| {
                number += 1;
                number % 2 == 0
            });
        });
        let free = || {
            let takes = |name: &&String| other.lock(name).unwrap().try_acquire(None).unwrap();
            names.iter().filter(takes).count()
        };
        assert_eq!(free(), if files.system == System::Native { 20 } else { 15 });
        store.dict("d").unwrap().set("x", "1", None).unwrap();
        assert_eq!(free(), 20);
        drop(locks);
        assert_eq!(free(), 40);
    }

    // Claims in pieces in between, whatever the order.
    fn they_are_whole_again_after_each_write(files: &Files) {
        let (store, other) = (hasty(files), files.open());
        let take = || {
            let lock = store.lock("l").unwrap();
            lock.acquire(&an_hour()).unwrap();
            lock
        };
        for _ in 0..20 {
            let mut locks = ["a", "b", "c"].map(|name| {
                let lock = store.lock(name).unwrap();
                lock.acquire(&an_hour()).unwrap();
                Some(lock)
            });
            while_written(files, || {
                for at in [1, 0, 2] {
                    locks[at].take();
                }
            });
            // Which deletes the three rows first.
            take().release().unwrap();
        }
        let lock = take();
        while_written(files, || drop(lock));
        assert!(other.lock("l").unwrap().try_acquire(None).unwrap());
    }

    // There is no waiting in a transaction, so whoever finds the row there has to see to it.
    fn writes_in_transactions_go_on(files: &Files) {
        let (store, other) = (hasty(files), files.open());
        let table = Table::of(PROGRAM, files);
        let dict = store.dict("d").unwrap();
        dict.acquire(&an_hour()).unwrap();
        while_written(files, || drop(dict));
        let transaction = other.begin().unwrap();
        other.dict("d").unwrap().set("x", "1", None).unwrap();
        transaction.commit().unwrap();
        assert_eq!(table.rows("__lock__dict__d"), 0);

        let dict = store.dict("d").unwrap();
        dict.acquire(&an_hour()).unwrap();
        let transaction = other.begin().unwrap();
        let refused = other.dict("d").unwrap().set("x", "2", None);
        assert!(matches!(refused, Err(Error::Locked(_))), "{refused:?}");
        drop(transaction);
        dict.release().unwrap();
    }

    fn a_dictionary_may_become_encrypted(files: &Files) {
        let (store, other) = (hasty(files), files.open());
        let dict = store.dict("d").unwrap();
        dict.acquire(&an_hour()).unwrap();
        while_written(files, || drop(dict));
        other.dict_encrypted("d", "s3cret").unwrap();
    }

    // Whoever gives it up may be the writer. What it wrote under the lock, all see before it is free.
    fn what_is_given_up_in_a_transaction_is_free_once_that_has_ended(files: &Files) {
        let (store, other) = (files.open(), hasty(files));
        for commits in [true, false] {
            let lock = store.lock("l").unwrap();
            lock.acquire(&an_hour()).unwrap();
            let transaction = store.begin().unwrap();
            drop(lock);
            let others = other.lock("l").unwrap();
            assert_eq!(others.try_acquire(None).unwrap_err(), Error::Busy);
            if commits {
                transaction.commit().unwrap();
            } else {
                transaction.rollback().unwrap();
            }
            assert!(others.try_acquire(None).unwrap());
            others.release().unwrap();
        }
    }

    fn closing_deletes_the_row(files: &Files) {
        let store = hasty(files);
        let table = Table::of(PROGRAM, files);
        let lock = store.lock("l").unwrap();
        lock.acquire(&an_hour()).unwrap();
        while_written(files, || drop(lock));
        assert_eq!(table.rows("l"), 1);
        drop(store);
        assert_eq!(table.rows("l"), 0);
    }
}
