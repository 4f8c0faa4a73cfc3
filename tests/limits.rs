//! What an instance may use, and what becomes of it when it wants more: a typed
//! error, and everything it held released at that moment.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_host::client::{DbError, IfExists, LockOptions, OpenMode, OpenOptions};
use beaver_host::{Error, Grant, Host, Instance};
use beaver_tests::{Files, System, Table, ms, s};
use std::path::Path;
use std::sync::{Arc, Mutex};

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

fn files() -> Files {
    Files::new(System::Component)
}

async fn start(host: &Host, files: &Files) -> Instance {
    let grant = Grant::directory(files.directory()).unwrap();
    host.instantiate(grant).await.unwrap()
}

/// How many of this process's descriptors and mappings concern `directory`.
fn in_use(directory: &Path) -> (usize, usize) {
    let directory = directory.to_str().unwrap();
    let descriptors = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        // The grant keeps the directory itself open.
        .filter(|target| {
            target
                .to_string_lossy()
                .starts_with(&format!("{directory}/"))
        })
        .count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mappings = maps.lines().filter(|line| line.contains(directory)).count();
    (descriptors, mappings)
}

/// JSON that takes the guest long to read, and nothing to write.
fn long_work() -> String {
    format!("[{}1", "1,".repeat(20 << 20))
}

#[test]
fn a_runaway_guest_is_stopped_and_its_write_lock_is_free_at_once() {
    let files = files();
    let host = Host::builder()
        .max_instances(4)
        .cpu_limit(ms(50))
        .build()
        .unwrap();
    run(async {
        let mut runaway = start(&host, &files).await;
        let mut other = start(&host, &files).await;
        let db = runaway
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        let dict = runaway.dict(&db, "d").await.unwrap();
        let transaction = runaway.begin_transaction(&db).await.unwrap();
        dict.set(&mut runaway, "x", "1", None).await.unwrap();

        let error = dict
            .set(&mut runaway, "y", &long_work(), None)
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::CpuLimit(limit) if limit == ms(50)),
            "{error:?}"
        );
        assert!(error.is_fatal());

        // It is still in scope, and holds nothing any more.
        assert_eq!(in_use(files.directory()), (0, 0));
        let db = other.open("app.db", &OpenOptions::default()).await.unwrap();
        let dict2 = other.dict(&db, "d").await.unwrap();
        assert_eq!(dict2.get(&mut other, "x").await.unwrap(), None);
        dict2.set(&mut other, "x", "2", None).await.unwrap();

        let error = dict.get(&mut runaway, "x").await.unwrap_err();
        assert!(matches!(error, Error::Poisoned), "{error:?}");
        drop(transaction);
    });
}

#[test]
fn a_busy_guest_does_not_keep_others_of_its_thread_from_running() {
    let files = files();
    let host = Host::builder().max_instances(4).build().unwrap();
    run(async {
        let mut busy = start(&host, &files).await;
        let mut other = start(&host, &files).await;
        let db = busy.open("app.db", &OpenOptions::default()).await.unwrap();
        let dict = busy.dict(&db, "d").await.unwrap();
        let db2 = other.open("app.db", &OpenOptions::default()).await.unwrap();
        let dict2 = other.dict(&db2, "d").await.unwrap();
        let work = long_work();
        let busy_call = dict.set(&mut busy, "x", &work, None);
        let other_call = async {
            // More turns than fit between two ends of a long call.
            for _ in 0..3 {
                dict2.get(&mut other, "x").await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        // Whoever ends first: were the busy one never to yield, it would be it.
        tokio::select! {
            biased;
            result = busy_call => panic!("the busy one went first: {result:?}"),
            () = other_call => {}
        }
    });
}

#[test]
fn memory_beyond_the_limit_is_refused_with_a_typed_error() {
    let files = files();
    let host = Host::builder()
        .max_instances(4)
        .memory_limit_bytes(16 << 20)
        .build()
        .unwrap();
    run(async {
        let mut greedy = start(&host, &files).await;
        let db = greedy
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        let dict = greedy.dict(&db, "d").await.unwrap();
        dict.set(&mut greedy, "x", "1", None).await.unwrap();
        let large = format!("\"{}\"", "x".repeat(30 << 20));
        let error = dict.set(&mut greedy, "y", &large, None).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::MemoryLimit(_) | Error::Db(DbError::OutOfMemory)
            ),
            "{error:?}"
        );
        let mut other = start(&host, &files).await;
        let db = other.open("app.db", &OpenOptions::default()).await.unwrap();
        let dict = other.dict(&db, "d").await.unwrap();
        assert_eq!(
            dict.get(&mut other, "x").await.unwrap().as_deref(),
            Some("1")
        );
        assert_eq!(dict.get(&mut other, "y").await.unwrap(), None);
    });
}

#[test]
fn a_call_that_waits_too_long_is_stopped() {
    let files = files();
    let host = Host::builder()
        .max_instances(4)
        .call_timeout(s(2))
        .build()
        .unwrap();
    run(async {
        let mut holder = start(&host, &files).await;
        let db = holder
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        let lock = holder.lock(&db, "l").await.unwrap();
        lock.acquire(&mut holder, LockOptions::default())
            .await
            .unwrap();
        let mut waiter = start(&host, &files).await;
        let db = waiter
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        let lock = waiter.lock(&db, "l").await.unwrap();
        let error = lock
            .acquire(&mut waiter, LockOptions::default())
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::CallTimeout(limit) if limit == s(2)),
            "{error:?}"
        );
        assert!(waiter.is_poisoned());
        assert!(!holder.is_poisoned());
    });
}

#[test]
fn an_instance_stopped_while_it_waits_for_several_locks_is_in_nobodys_way() {
    let files = files();
    let host = Host::builder()
        .max_instances(4)
        .call_timeout(s(2))
        .build()
        .unwrap();
    run(async {
        let mut holder = start(&host, &files).await;
        let db = holder
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        let (x, y) = (
            holder.lock(&db, "x").await.unwrap(),
            holder.lock(&db, "y").await.unwrap(),
        );
        y.acquire(&mut holder, LockOptions::default())
            .await
            .unwrap();
        let mut waiter = start(&host, &files).await;
        let db = waiter
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        let (x2, y2) = (
            waiter.lock(&db, "x").await.unwrap(),
            waiter.lock(&db, "y").await.unwrap(),
        );
        let error = db
            .acquire_all(
                &mut waiter,
                &[(&x2).into(), (&y2).into()],
                LockOptions::default(),
            )
            .await
            .unwrap_err();
        assert!(matches!(error, Error::CallTimeout(_)), "{error:?}");
        // Its places stand at the head of x and behind the holder of y.
        assert!(x.try_acquire(&mut holder, None).await.unwrap());
        y.release(&mut holder).await.unwrap();
        assert!(y.try_acquire(&mut holder, None).await.unwrap());
    });
}

#[test]
fn a_future_dropped_half_way_stops_the_instance() {
    let files = files();
    let host = Host::builder().max_instances(4).build().unwrap();
    run(async {
        let mut instance = start(&host, &files).await;
        let db = instance
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        let queue = instance.queue(&db, "q").await.unwrap();
        let waiting = queue.get(&mut instance, None);
        assert!(tokio::time::timeout(ms(30), waiting).await.is_err());
        assert!(instance.is_poisoned());
        assert_eq!(in_use(files.directory()), (0, 0));
    });
}

#[test]
fn more_instances_than_allowed_are_refused() {
    let files = files();
    let host = Host::builder().max_instances(2).build().unwrap();
    run(async {
        let one = start(&host, &files).await;
        let _two = start(&host, &files).await;
        let grant = || Grant::directory(files.directory()).unwrap();
        let error = host.instantiate(grant()).await.unwrap_err();
        assert!(matches!(error, Error::TooManyInstances(2)), "{error:?}");
        drop(one);
        host.instantiate(grant()).await.unwrap();
    });
}

#[test]
fn dropping_an_instance_releases_files_locks_and_mappings() {
    let files = files();
    // One slot: each instance gets the memory of the one before.
    let host = Host::builder().max_instances(1).build().unwrap();
    run(async {
        for round in 0..20_u32 {
            let mut instance = start(&host, &files).await;
            let db = instance
                .open("app.db", &OpenOptions::default())
                .await
                .unwrap();
            let dict = instance.dict(&db, "d").await.unwrap();
            let seen = dict.get(&mut instance, "n").await.unwrap();
            assert_eq!(seen, round.checked_sub(1).map(|n| n.to_string()));
            dict.set(&mut instance, "n", &round.to_string(), None)
                .await
                .unwrap();
            // In the middle of a transaction every other time.
            let transaction = instance.begin_transaction(&db).await.unwrap();
            dict.set(&mut instance, "n", "-1", None).await.unwrap();
            let (descriptors, mappings) = in_use(files.directory());
            assert!(
                descriptors >= 3 && mappings >= 1,
                "{descriptors}, {mappings}"
            );
            if round % 2 == 0 {
                transaction.rollback(&mut instance).await.unwrap();
            }
            drop(instance);
            assert_eq!(in_use(files.directory()), (0, 0));
        }
    });
}

#[test]
fn a_file_may_not_grow_beyond_its_limit() {
    let files = files();
    let host = Host::builder()
        .max_instances(2)
        .max_file_bytes(1 << 20)
        .build()
        .unwrap();
    run(async {
        let mut instance = start(&host, &files).await;
        let db = instance
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        let dict = instance.dict(&db, "d").await.unwrap();
        let value = format!("\"{}\"", "x".repeat(100_000));
        let mut stored = 0;
        let error = loop {
            match dict
                .set(&mut instance, &stored.to_string(), &value, None)
                .await
            {
                Ok(()) => stored += 1,
                Err(error) => break error,
            }
            assert!(stored < 100);
        };
        assert!(matches!(error, Error::Db(DbError::Full)), "{error:?}");
        assert_eq!(dict.len(&mut instance).await.unwrap(), stored);
        dict.get(&mut instance, "0").await.unwrap().unwrap();
    });
}

#[test]
fn open_files_are_limited() {
    let files = files();
    let host = Host::builder()
        .max_instances(2)
        .max_open_files(3)
        .build()
        .unwrap();
    run(async {
        let mut instance = start(&host, &files).await;
        let db = instance
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        let dict = instance.dict(&db, "d").await.unwrap();
        dict.set(&mut instance, "x", "1", None).await.unwrap();
        let error = instance
            .open("other.db", &OpenOptions::default())
            .await
            .map(drop);
        let error = match error {
            Err(error) => error,
            // The limit may bite at the log instead of the database.
            Ok(()) => panic!("a fourth and fifth file were opened"),
        };
        assert!(matches!(error, Error::Db(_)), "{error:?}");
        dict.set(&mut instance, "x", "2", None).await.unwrap();
    });
}

#[test]
fn a_hundred_waiters_park_without_a_thread_each() {
    let files = files();
    let host = Host::builder().max_instances(101).build().unwrap();
    run(async {
        let mut putter = start(&host, &files).await;
        let db = putter
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        let queue = putter.queue(&db, "q").await.unwrap();
        let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let before = threads();
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let mut waiters = Vec::new();
                for _ in 0..100 {
                    let mut instance = start(&host, &files).await;
                    waiters.push(tokio::task::spawn_local(async move {
                        let db = instance
                            .open("app.db", &OpenOptions::default())
                            .await
                            .unwrap();
                        let queue = instance.queue(&db, "q").await.unwrap();
                        queue.get(&mut instance, Some(s(60))).await.unwrap().data
                    }));
                }
                for n in 0..100 {
                    queue.put(&mut putter, &n.to_string(), 0.0).await.unwrap();
                    tokio::task::yield_now().await;
                }
                let mut taken = Vec::new();
                for waiter in waiters {
                    taken.push(waiter.await.unwrap().parse::<u32>().unwrap());
                }
                taken.sort_unstable();
                assert_eq!(taken, (0..100).collect::<Vec<_>>());
            })
            .await;
        // The timer thread may have been started; other tests have theirs.
        assert!(
            threads() < before + 50,
            "{before} threads became {}",
            threads()
        );
    });
}

/// Some run out of time and some are dropped on the way: they hold up nobody.
#[test]
fn two_hundred_waiters_get_a_lock_in_the_order_in_which_they_asked() {
    const WAITERS: u32 = 200;
    let files = files();
    let host = Host::builder().max_instances(WAITERS + 1).build().unwrap();
    run(async {
        let mut holder = start(&host, &files).await;
        let db = holder
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        let lock = holder.lock(&db, "l").await.unwrap();
        lock.acquire(&mut holder, LockOptions::default())
            .await
            .unwrap();
        let table = Table::of(env!("CARGO_BIN_EXE_beaver-test-process"), &files);
        let table = Arc::new(Mutex::new(table));
        // In another thread: it may have to wait for an instance that goes on in this one.
        let newest = || {
            // A holder stands before all time.
            let sql =
                "SELECT max(0, CAST(max(requested_at) * 1e6 AS INTEGER)) FROM beaver_lock_waiters";
            let table = Arc::clone(&table);
            let look = tokio::task::spawn_blocking(move || table.lock().unwrap().query(sql));
            async { look.await.unwrap() }
        };
        let granted = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let (mut waiters, mut impatient) = (Vec::new(), Vec::new());
                for number in 0..WAITERS {
                    let before = newest().await;
                    let mut instance = start(&host, &files).await;
                    let db = instance
                        .open("app.db", &OpenOptions::default())
                        .await
                        .unwrap();
                    let lock = instance.lock(&db, "l").await.unwrap();
                    let granted = std::rc::Rc::clone(&granted);
                    let options = LockOptions {
                        timeout: Some(if number % 10 == 3 { ms(1) } else { s(600) }),
                        ttl: Some(s(3600)),
                    };
                    let waiter = tokio::task::spawn_local(async move {
                        let waited = lock.acquire(&mut instance, options).await;
                        if waited.is_ok() {
                            granted.borrow_mut().push(number);
                            lock.release(&mut instance).await.unwrap();
                        }
                        waited
                    });
                    // It may be interrupted on its way into the line. Who soon leaves may have left.
                    while number % 10 != 3 && newest().await <= before {
                        assert!(!waiter.is_finished(), "{:?}", waiter.await);
                    }
                    match number % 10 {
                        3 => impatient.push(waiter),
                        7 => waiter.abort(),
                        _ => waiters.push(waiter),
                    }
                }
                for waiter in impatient {
                    let waited = waiter.await.unwrap();
                    assert!(matches!(waited, Err(Error::Db(DbError::Timeout))));
                }
                lock.release(&mut holder).await.unwrap();
                for waiter in waiters {
                    waiter.await.unwrap().unwrap();
                }
            })
            .await;
        let patient = (0..WAITERS).filter(|number| !matches!(number % 10, 3 | 7));
        assert_eq!(*granted.borrow(), patient.collect::<Vec<_>>());
    });
}

#[test]
fn dropping_an_instance_frees_the_locks_of_its_managers() {
    let files = files();
    let host = Host::builder().max_instances(2).build().unwrap();
    run(async {
        let mut other = start(&host, &files).await;
        let db = other.open("app.db", &OpenOptions::default()).await.unwrap();
        let next = other.dict(&db, "d").await.unwrap();
        for _ in 0..3 {
            let mut holder = start(&host, &files).await;
            let db = holder
                .open("app.db", &OpenOptions::default())
                .await
                .unwrap();
            let dict = holder.dict(&db, "d").await.unwrap();
            dict.acquire(&mut holder, LockOptions::default())
                .await
                .unwrap();
            assert!(!next.try_acquire(&mut other, None).await.unwrap());
            drop(holder);
            assert!(next.try_acquire(&mut other, None).await.unwrap());
            next.release(&mut other).await.unwrap();
        }
    });
}

/// Stores `count` values of 100 kB.
async fn fill(instance: &mut Instance, count: u32) {
    let db = instance
        .open("app.db", &OpenOptions::default())
        .await
        .unwrap();
    let dict = instance.dict(&db, "d").await.unwrap();
    let value = format!("\"{}\"", "x".repeat(100_000));
    for n in 0..count {
        dict.set(instance, &n.to_string(), &value, None)
            .await
            .unwrap();
    }
}

#[test]
fn a_backup_that_finds_no_room_is_no_database_and_replaces_nothing() {
    let files = files();
    let host = |limit| {
        Host::builder()
            .max_instances(2)
            .max_file_bytes(limit)
            .build()
            .unwrap()
    };
    let existing = OpenOptions {
        mode: Some(OpenMode::Existing),
        ..OpenOptions::default()
    };
    let roomy = host(64 << 20);
    run(async {
        let mut instance = start(&roomy, &files).await;
        let db = instance
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        db.backup(&mut instance, "old.db", IfExists::Fail)
            .await
            .unwrap();
        fill(&mut instance, 60).await;
        instance.close().await.unwrap();
        let old = std::fs::read(files.directory().join("old.db")).unwrap();

        let narrow = host(4 << 20);
        let mut instance = start(&narrow, &files).await;
        let db = instance.open("app.db", &existing).await.unwrap();
        for (name, if_exists) in [("old.db", IfExists::Replace), ("new.db", IfExists::Fail)] {
            let error = db.backup(&mut instance, name, if_exists).await.unwrap_err();
            assert!(matches!(error, Error::Db(DbError::Full)), "{error:?}");
        }
        let now = std::fs::read(files.directory().join("old.db")).unwrap();
        let differs = old.iter().zip(&now).position(|(old, now)| old != now);
        assert_eq!((now.len(), differs), (old.len(), None));
        let error = instance.open("new.db", &existing).await.map(drop);
        assert!(
            matches!(error, Err(Error::Db(DbError::UnsupportedFormat(_)))),
            "{error:?}"
        );
        // The database itself goes on, and a later try finds the place free.
        let dict = instance.dict(&db, "d").await.unwrap();
        assert_eq!(dict.len(&mut instance).await.unwrap(), 60);
        instance.close().await.unwrap();
        let mut instance = start(&roomy, &files).await;
        let db = instance.open("app.db", &existing).await.unwrap();
        db.backup(&mut instance, "new.db", IfExists::Fail)
            .await
            .unwrap();
        let copy = instance.open("new.db", &existing).await.unwrap();
        let dict = instance.dict(&copy, "d").await.unwrap();
        assert_eq!(dict.len(&mut instance).await.unwrap(), 60);
    });
}

#[test]
fn a_vacuum_that_finds_no_memory_leaves_everything_as_it_was() {
    let files = files();
    let host = Host::builder()
        .max_instances(2)
        .memory_limit_bytes(12 << 20)
        .build()
        .unwrap();
    run(async {
        let mut instance = start(&host, &files).await;
        fill(&mut instance, 200).await;
        let db = instance
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        let error = db.vacuum(&mut instance).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::MemoryLimit(_) | Error::Db(DbError::OutOfMemory)
            ),
            "{error:?}"
        );
        // A backup needs no memory for it.
        let mut other = start(&host, &files).await;
        let db = other.open("app.db", &OpenOptions::default()).await.unwrap();
        let dict = other.dict(&db, "d").await.unwrap();
        assert_eq!(dict.len(&mut other).await.unwrap(), 200);
        db.backup(&mut other, "copy.db", IfExists::Fail)
            .await
            .unwrap();
    });
}
