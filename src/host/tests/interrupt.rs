//! Making an instance trap from outside, and an instance whose wall clock is off.
//!
//! Bugs these guard against: a waiting guest that can't be made to trap, a request that comes
//! between two calls and is forgotten, locks that outlive the instance, a clock that isn't off
//! or that waiting goes by.

#![allow(clippy::unwrap_used)] // helpers of tests are tests to a reader, not to clippy

use std::time::{Duration, SystemTime};

use beaver_host::client::{LockOptions, OpenOptions, Outcome};
use beaver_host::{Error, Grant, Host};

fn host() -> Host {
    Host::builder().max_instances(4).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_waits_traps_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let grant = || Grant::directory(directory.path()).unwrap();
    let host = host();
    let mut holder = host.instantiate(grant()).await.unwrap();
    let database = holder.open("a.db", &OpenOptions::default()).await.unwrap();
    let held = holder.lock(&database, "l").await.unwrap();
    held.acquire(&mut holder, LockOptions::default())
        .await
        .unwrap();

    let mut waiter = host.instantiate(grant()).await.unwrap();
    let interrupter = waiter.interrupter();
    let (started, start) = tokio::sync::oneshot::channel();
    let call = tokio::spawn(async move {
        let database = waiter.open("a.db", &OpenOptions::default()).await?;
        let wanted = waiter.lock(&database, "l").await?;
        started.send(()).unwrap();
        let result = wanted.acquire(&mut waiter, LockOptions::default()).await;
        assert!(waiter.is_poisoned());
        result
    });
    start.await.unwrap();
    while holders_and_waiters(&mut holder, &database).await < 2 {}
    interrupter.interrupt();
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert!(error.is_fatal());
    assert_eq!(error.outcome(), Outcome::Unknown);
    // The holder is none the worse, and nobody has to wait for the dead one's place.
    held.release(&mut holder).await.unwrap();
    held.acquire(&mut holder, LockOptions::default())
        .await
        .unwrap();
}

async fn holders_and_waiters(
    instance: &mut beaver_host::Instance,
    database: &beaver_host::client::Database,
) -> u64 {
    let managers = database.managers(instance, true).await.unwrap();
    let page = managers.next(instance, 100).await.unwrap();
    let lock = page.iter().find(|entry| entry.name == "l").unwrap();
    lock.count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_computes_traps_soon() {
    let directory = tempfile::tempdir().unwrap();
    let grant = Grant::directory(directory.path()).unwrap();
    let mut instance = host().instantiate(grant).await.unwrap();
    let interrupter = instance.interrupter();
    let call = tokio::spawn(async move {
        let database = instance.open("a.db", &OpenOptions::default()).await?;
        // Deriving keys takes some 100 ms each.
        loop {
            instance.dict_encrypted(&database, "d", "secret").await?;
        }
        #[allow(unreachable_code, reason = "names the type")]
        Ok::<(), Error>(())
    });
    tokio::time::sleep(Duration::from_millis(30)).await;
    interrupter.interrupt();
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
}

#[tokio::test]
async fn an_idle_guest_traps_in_its_next_call() {
    let directory = tempfile::tempdir().unwrap();
    let grant = || Grant::directory(directory.path()).unwrap();
    let host = host();
    let mut instance = host.instantiate(grant()).await.unwrap();
    let database = instance
        .open("a.db", &OpenOptions::default())
        .await
        .unwrap();
    let transaction = instance.begin_transaction(&database).await.unwrap();
    let dict = instance.dict(&database, "d").await.unwrap();
    dict.set(&mut instance, "k", "1", None).await.unwrap();
    instance.interrupter().interrupt();
    assert!(!instance.is_poisoned());
    let error = transaction.commit(&mut instance).await.unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    let error = dict.get(&mut instance, "k").await.unwrap_err();
    assert!(
        matches!(error, Error::Poisoned | Error::ForeignHandle),
        "{error}"
    );
    // What wasn't committed is rolled back, and the write lock is free.
    let mut other = host.instantiate(grant()).await.unwrap();
    let database = other.open("a.db", &OpenOptions::default()).await.unwrap();
    let dict = other.dict(&database, "d").await.unwrap();
    assert_eq!(dict.get(&mut other, "k").await.unwrap(), None);
    dict.set(&mut other, "k", "2", None).await.unwrap();
}

#[tokio::test]
async fn an_instance_may_have_a_wall_clock_that_is_off() {
    let directory = tempfile::tempdir().unwrap();
    let host = host();
    for offset_ms in [-86_400_000, 0, 3_600_000, i64::MIN] {
        let grant = Grant::directory(directory.path()).unwrap();
        let start = host.instance(grant).wall_clock_offset_ms(offset_ms).start();
        let mut instance = start.await.unwrap();
        let name = format!("{offset_ms}.db");
        let database = instance.open(&name, &OpenOptions::default()).await.unwrap();
        let log = instance.log(&database, "l").await.unwrap();
        let before = unix_seconds();
        let stamp = log.append(&mut instance, "1", None).await.unwrap();
        let after = unix_seconds();
        #[allow(clippy::cast_precision_loss, reason = "far from 2^53")]
        let offset = offset_ms as f64 / 1000.0;
        // There are no times before 1970.
        let (first, last) = ((before + offset).max(0.0), (after + offset).max(0.0));
        // A float of seconds is exact to less than a microsecond.
        assert!(
            (first - 1e-6..=last + 1e-6).contains(&stamp),
            "{offset_ms}: {stamp} isn't from {first} to {last}"
        );
        // Waiting goes by another clock.
        let queue = instance.queue(&database, "q").await.unwrap();
        let timeout = Some(Duration::from_millis(5));
        queue.get(&mut instance, timeout).await.unwrap_err();
    }
}

#[tokio::test]
async fn an_instance_may_have_a_wall_clock_that_goes_in_steps() {
    let directory = tempfile::tempdir().unwrap();
    let grant = Grant::directory(directory.path()).unwrap();
    let start = host()
        .instance(grant)
        .wall_clock_offset_ms(123)
        .wall_clock_resolution_ms(3_600_000)
        .start();
    let mut instance = start.await.unwrap();
    let database = instance
        .open("a.db", &OpenOptions::default())
        .await
        .unwrap();
    let log = instance.log(&database, "l").await.unwrap();
    let before = unix_seconds();
    let stamp = log.append(&mut instance, "1", None).await.unwrap();
    let after = unix_seconds();
    let hour = |time: f64| ((time + 0.123) / 3600.0).floor() * 3600.0;
    assert!(
        stamp == hour(before) || stamp == hour(after),
        "{stamp} isn't the last whole hour before {before}"
    );
}

/// What one instance has stamped, the next one finds an hour in the future.
#[tokio::test]
async fn a_clock_that_is_set_back_an_hour_moves_no_lock_and_no_order() {
    let directory = tempfile::tempdir().unwrap();
    let host = host();
    let start = async |offset_ms| {
        let grant = Grant::directory(directory.path()).unwrap();
        let instance = host.instance(grant).wall_clock_offset_ms(offset_ms);
        let mut instance = instance.start().await.unwrap();
        let options = OpenOptions::default();
        let database = instance.open("a.db", &options).await.unwrap();
        (instance, database)
    };
    let (mut before, database) = start(0).await;
    let lock = before.lock(&database, "l").await.unwrap();
    lock.acquire(&mut before, LockOptions::default())
        .await
        .unwrap();
    let first = lock.fencing_token(&mut before).await.unwrap();
    let queue = before.queue(&database, "q").await.unwrap();
    queue.put(&mut before, "1", 1.0).await.unwrap();
    let dict = before.dict(&database, "d").await.unwrap();
    let ttl = Some(Duration::from_secs(60));
    dict.set(&mut before, "k", "1", ttl).await.unwrap();

    let (mut after, database) = start(-3_600_000).await;
    let wanted = after.lock(&database, "l").await.unwrap();
    assert!(!wanted.try_acquire(&mut after, None).await.unwrap());
    let taken = after.queue(&database, "q").await.unwrap();
    taken.put(&mut after, "2", 1.0).await.unwrap();
    for expected in ["1", "2"] {
        let item = taken.get(&mut after, None).await.unwrap();
        assert_eq!(item.data, expected);
    }
    let dict = after.dict(&database, "d").await.unwrap();
    assert_eq!(
        dict.get(&mut after, "k").await.unwrap().as_deref(),
        Some("1")
    );
    // The holder is known to be gone, whatever the clocks say of its time to live.
    drop(before);
    let options = LockOptions {
        timeout: Some(Duration::from_secs(20)),
        ttl: None,
    };
    wanted.acquire(&mut after, options).await.unwrap();
    let second = wanted.fencing_token(&mut after).await.unwrap();
    assert!(second > first, "{second:?} after {first:?}");
}

fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}
