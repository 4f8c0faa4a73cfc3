//! Instances of the real component: limits, poisoning, handles, many at once.
//!
//! Bugs these guard against: an instance that is entered again after a trap, a
//! lock or a slot that outlives its instance, a limit that counts waiting, a
//! handle that reaches another instance's store.

#![allow(clippy::unwrap_used)] // helpers of tests are tests to a reader, not to clippy

use std::time::{Duration, Instant};

use beaver_host::client::{DbError, LockOptions, OpenOptions, Outcome};
use beaver_host::{Error, Grant, Host, Instance};

struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn grant(&self) -> Grant {
        Grant::directory(self.directory.path()).unwrap()
    }

    async fn instance(&self, host: &Host) -> Instance {
        host.instantiate(self.grant()).await.unwrap()
    }
}

fn host() -> Host {
    Host::builder().max_instances(8).build().unwrap()
}

#[tokio::test]
async fn every_manager_answers() {
    let (files, host) = (Fixture::new(), host());
    let mut instance = files.instance(&host).await;
    let i = &mut instance;
    let database = i.open("a.db", &OpenOptions::default()).await.unwrap();
    database.format_version(i).await.unwrap();
    database.journal(i).await.unwrap();

    let dict = i.dict(&database, "d").await.unwrap();
    for key in ["a", "b", "c"] {
        dict.set(i, key, "[1]", None).await.unwrap();
    }
    let keys = dict.keys(i).await.unwrap();
    assert_eq!(keys.next(i, 2).await.unwrap(), ["a", "b"]);
    assert_eq!(keys.next(i, 2).await.unwrap(), ["c"]);
    assert!(keys.next(i, 2).await.unwrap().is_empty());
    keys.close(i).await.unwrap();
    let items = dict.items(i).await.unwrap();
    assert_eq!(items.next(i, 9).await.unwrap().len(), 3);
    assert_eq!(dict.pop(i, "a").await.unwrap().as_deref(), Some("[1]"));
    assert_eq!(dict.len(i).await.unwrap(), 2);

    let queue = i.queue(&database, "q").await.unwrap();
    queue.put(i, "2", 2.0).await.unwrap();
    queue.put(i, "1", 1.0).await.unwrap();
    let batch = queue.get_batch(i, 2, None).await.unwrap();
    assert_eq!(
        batch.iter().map(|item| &*item.data).collect::<Vec<_>>(),
        ["1", "2"]
    );
    let error = queue.get(i, Some(Duration::ZERO)).await.unwrap_err();
    assert!(matches!(error, Error::Db(DbError::Timeout)), "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied);

    let transaction = i.begin_transaction(&database).await.unwrap();
    dict.set(i, "x", "1", None).await.unwrap();
    transaction.rollback(i).await.unwrap();
    assert!(!dict.contains(i, "x").await.unwrap());
    let transaction = i.begin_transaction(&database).await.unwrap();
    dict.set(i, "x", "1", None).await.unwrap();
    transaction.commit(i).await.unwrap();
    assert!(dict.contains(i, "x").await.unwrap());

    let lock = i.lock(&database, "l").await.unwrap();
    assert!(lock.try_acquire(i, None).await.unwrap());
    assert!(lock.fencing_token(i).await.unwrap().is_some());
    lock.release(i).await.unwrap();
    instance.close().await.unwrap();
}

#[tokio::test]
async fn a_call_timeout_stops_the_instance_and_frees_what_it_held() {
    let files = Fixture::new();
    let host = Host::builder()
        .max_instances(2)
        .call_timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    let mut stuck = files.instance(&host).await;
    let database = stuck.open("a.db", &OpenOptions::default()).await.unwrap();
    let queue = stuck.queue(&database, "q").await.unwrap();

    let begun = Instant::now();
    let error = queue.get(&mut stuck, None).await.unwrap_err();
    assert!(matches!(error, Error::CallTimeout(_)), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(error.is_fatal());
    assert!(begun.elapsed() < Duration::from_secs(10));

    assert!(stuck.is_poisoned());
    let error = queue.len(&mut stuck).await.unwrap_err();
    assert!(matches!(error, Error::Poisoned), "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    // The slot is free although `stuck` is still in scope.
    let _first = files.instance(&host).await;
    let _second = files.instance(&host).await;
    drop(stuck);
}

#[tokio::test]
async fn a_dropped_call_stops_the_instance_and_rolls_back() {
    let (files, host) = (Fixture::new(), host());
    let mut first = files.instance(&host).await;
    let database = first.open("a.db", &OpenOptions::default()).await.unwrap();
    let dict = first.dict(&database, "d").await.unwrap();
    let _transaction = first.begin_transaction(&database).await.unwrap();
    dict.set(&mut first, "x", "1", None).await.unwrap();

    // `second` waits for SQLite's write lock, which `first` holds.
    let mut second = files.instance(&host).await;
    let other = second.open("a.db", &OpenOptions::default()).await.unwrap();
    let other = second.dict(&other, "d").await.unwrap();
    let wait = tokio::time::timeout(
        Duration::from_millis(100),
        other.set(&mut second, "y", "1", None),
    );
    assert!(wait.await.is_err());
    assert!(second.is_poisoned());

    // And the end of `first` rolls its transaction back.
    drop(first);
    let mut third = files.instance(&host).await;
    let database = third.open("a.db", &OpenOptions::default()).await.unwrap();
    let dict = third.dict(&database, "d").await.unwrap();
    assert_eq!(dict.len(&mut third).await.unwrap(), 0);
    dict.set(&mut third, "z", "1", None).await.unwrap();
}

#[tokio::test]
async fn computing_too_long_is_a_cpu_limit_and_waiting_is_not() {
    let files = Fixture::new();
    let host = Host::builder()
        .max_instances(2)
        .cpu_limit(Duration::from_millis(40))
        .build()
        .unwrap();
    let mut instance = files.instance(&host).await;
    let database = instance
        .open("a.db", &OpenOptions::default())
        .await
        .unwrap();
    let queue = instance.queue(&database, "q").await.unwrap();
    let wait = queue.get(&mut instance, Some(Duration::from_millis(500)));
    let error = wait.await.unwrap_err();
    assert!(matches!(error, Error::Db(DbError::Timeout)), "{error}");

    let dict = instance.dict(&database, "d").await.unwrap();
    let long = format!("[{}1]", "[1.5e3,\"\\u00e9\"],".repeat(1_500_000));
    let error = dict.set(&mut instance, "k", &long, None).await.unwrap_err();
    assert!(matches!(error, Error::CpuLimit(_)), "{error}");
    assert!(instance.is_poisoned());
}

#[tokio::test]
async fn a_full_memory_is_an_error_of_the_component_or_of_the_host() {
    let files = Fixture::new();
    let host = Host::builder()
        .max_instances(2)
        .memory_limit_bytes(8 << 20)
        .build()
        .unwrap();
    let mut instance = files.instance(&host).await;
    let database = instance
        .open("a.db", &OpenOptions::default())
        .await
        .unwrap();
    let dict = instance.dict(&database, "d").await.unwrap();
    let large = format!("\"{}\"", "x".repeat(16 << 20));
    let error = dict
        .set(&mut instance, "k", &large, None)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::MemoryLimit(_) | Error::Db(DbError::OutOfMemory)
        ),
        "{error}"
    );
}

#[test]
fn a_component_larger_than_the_memory_limit_is_refused() {
    let host = Host::builder()
        .max_instances(1)
        .memory_limit_bytes(64 << 10);
    let error = host.build().unwrap_err();
    assert!(matches!(error, Error::Component(_)), "{error}");
}

#[tokio::test]
async fn there_are_as_many_instances_as_allowed() {
    let files = Fixture::new();
    let host = Host::builder().max_instances(2).build().unwrap();
    let first = files.instance(&host).await;
    let _second = files.instance(&host).await;
    let error = host.instantiate(files.grant()).await.unwrap_err();
    assert!(matches!(error, Error::TooManyInstances(2)), "{error}");
    drop(first);
    files.instance(&host).await;
}

#[tokio::test]
async fn a_handle_works_only_on_its_own_instance() {
    let (files, host) = (Fixture::new(), host());
    let mut first = files.instance(&host).await;
    let mut second = files.instance(&host).await;
    let database = first.open("a.db", &OpenOptions::default()).await.unwrap();
    let error = second.dict(&database, "d").await.unwrap_err();
    assert!(matches!(error, Error::ForeignHandle), "{error}");
    // Neither instance is harmed.
    second.open("a.db", &OpenOptions::default()).await.unwrap();
    first.dict(&database, "d").await.unwrap();
}

#[tokio::test]
async fn locks_are_taken_together_only_by_handles_of_one_database_handle() {
    let (files, host) = (Fixture::new(), host());
    let (mut first, mut second) = (files.instance(&host).await, files.instance(&host).await);
    let one = first.open("a.db", &OpenOptions::default()).await.unwrap();
    let two = first.open("a.db", &OpenOptions::default()).await.unwrap();
    let stock = first.dict(&one, "stock").await.unwrap();
    let orders = first.queue(&two, "orders").await.unwrap();
    let both = [(&stock).into(), (&orders).into()];
    let at_once = LockOptions {
        timeout: Some(Duration::ZERO),
        ttl: None,
    };
    match one.acquire_all(&mut first, &both, at_once).await {
        Err(Error::Db(DbError::InvalidArgument(reason))) => {
            assert!(reason.contains("__lock__queue__orders"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let db = second.open("a.db", &OpenOptions::default()).await.unwrap();
    let error = db.acquire_all(&mut second, &both, at_once).await;
    assert!(matches!(error, Err(Error::ForeignHandle)), "{error:?}");
    // Nothing was taken.
    let stock = second.dict(&db, "stock").await.unwrap();
    let orders = second.queue(&db, "orders").await.unwrap();
    let both = [(&stock).into(), (&orders).into()];
    db.acquire_all(&mut second, &both, at_once).await.unwrap();
}

#[tokio::test]
async fn a_handle_out_of_scope_gives_its_lock_back_before_the_next_call() {
    let (files, host) = (Fixture::new(), host());
    let mut first = files.instance(&host).await;
    let mut second = files.instance(&host).await;
    let database = first.open("a.db", &OpenOptions::default()).await.unwrap();
    let other = second.open("a.db", &OpenOptions::default()).await.unwrap();

    let held = first.lock(&database, "l").await.unwrap();
    held.acquire(&mut first, LockOptions::default())
        .await
        .unwrap();
    let wanted = second.lock(&other, "l").await.unwrap();
    assert!(!wanted.try_acquire(&mut second, None).await.unwrap());
    drop(held);
    database.format_version(&mut first).await.unwrap();
    assert!(wanted.try_acquire(&mut second, None).await.unwrap());

    // Closing an instance gives back what is left.
    second.close().await.unwrap();
    drop(wanted);
    let again = first.lock(&database, "l").await.unwrap();
    assert!(again.try_acquire(&mut first, None).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_of_many_instances_are_all_there() {
    const INSTANCES: u64 = 8;
    const ROUNDS: u64 = 40;
    let (files, host) = (Fixture::new(), host());
    let tasks: Vec<_> = (0..INSTANCES)
        .map(|_| {
            let (host, grant) = (host.clone(), files.grant());
            tokio::spawn(async move {
                let mut instance = host.instantiate(grant).await?;
                let database = instance.open("a.db", &OpenOptions::default()).await?;
                let dict = instance.dict(&database, "d").await?;
                for _ in 0..ROUNDS {
                    let transaction = instance.begin_transaction(&database).await?;
                    let count = dict.get(&mut instance, "n").await?;
                    let count: u64 = count.map_or(0, |text| text.parse().unwrap());
                    let count = (count + 1).to_string();
                    dict.set(&mut instance, "n", &count, None).await?;
                    transaction.commit(&mut instance).await?;
                }
                instance.close().await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let mut instance = files.instance(&host).await;
    let database = instance
        .open("a.db", &OpenOptions::default())
        .await
        .unwrap();
    let dict = instance.dict(&database, "d").await.unwrap();
    let count = dict.get(&mut instance, "n").await.unwrap();
    assert_eq!(count, Some((INSTANCES * ROUNDS).to_string()));
}

#[test]
fn what_is_no_component_of_ours_is_refused() {
    let build = |bytes: &[u8]| {
        Host::builder()
            .without_cache()
            .component_bytes(bytes)
            .build()
    };
    let error = build(b"nonsense").unwrap_err();
    assert!(matches!(error, Error::Component(_)), "{error}");
    let error = build(b"(component)").unwrap_err();
    assert!(matches!(error, Error::Component(_)), "{error}");
    let error = build(&wat::parse_str("(component)").unwrap()).unwrap_err();
    assert!(matches!(error, Error::Component(_)), "{error}");
    let error = Host::builder()
        .component_file("/nonexistent")
        .build()
        .unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}
