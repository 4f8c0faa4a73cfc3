//! An instance that ends, in whatever way, with a waiter in its own process and one in
//! another, of which either is the first in line.

use super::{PROGRAM, in_line, until_in_line};
use beaver_host::client::{Database, Dict, LockOptions, OpenOptions};
use beaver_host::{Error, Grant, Host, Instance};
use beaver_tests::{Files, Process, System, ms, s};
use serde_json::json;

struct Opened {
    instance: Instance,
    database: Database,
    dict: Dict,
}

async fn open(host: &Host, files: &Files) -> Opened {
    let grant = Grant::directory(files.directory()).unwrap();
    let mut instance = host.instantiate(grant).await.unwrap();
    let options = OpenOptions::default();
    let database = instance.open("app.db", &options).await.unwrap();
    let dict = instance.dict(&database, "d").await.unwrap();
    Opened {
        instance,
        database,
        dict,
    }
}

fn hour() -> LockOptions {
    LockOptions {
        timeout: Some(s(60)),
        ttl: Some(s(3600)),
    }
}

/// A holder of `host` ends as `end` has it end; then those who wait get the lock,
/// each in its turn.
fn check(host: &Host, end: impl AsyncFn(Opened) -> Option<Instance>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    for near_is_first in [true, false] {
        runtime.block_on(check_order(host, &end, near_is_first));
    }
}

async fn check_order(
    host: &Host,
    end: impl AsyncFn(Opened) -> Option<Instance>,
    near_is_first: bool,
) {
    let files = Files::new(System::Component);
    let others = Host::builder().max_instances(1).build().unwrap();
    let mut holder = open(host, &files).await;
    let (dict, instance) = (&holder.dict, &mut holder.instance);
    dict.acquire(instance, hour()).await.unwrap();
    let mut near = open(&others, &files).await;
    let mut table = Process::start(PROGRAM, System::Native, &files.database());
    let mut far = Process::start(PROGRAM, System::Component, &files.database());
    let acquire = json!({"op": "acquire-dict", "name": "d", "ttl-ms": 3_600_000});
    let release = json!({"op": "release-dict", "name": "d"});
    if !near_is_first {
        far.send(&acquire);
        until_in_line(&mut table, 2);
    }
    let ended = {
        let waits = near.dict.acquire(&mut near.instance, hour());
        let mut waits = std::pin::pin!(waits);
        // It comes in line while it is driven.
        let place = if near_is_first { 2 } else { 3 };
        while in_line(&mut table) != place {
            tokio::select! {
                biased;
                result = &mut waits => panic!("before the end: {result:?}"),
                () = tokio::time::sleep(ms(1)) => {}
            }
        }
        if near_is_first {
            far.send(&acquire);
            until_in_line(&mut table, 3);
        }
        let ended = end(holder).await;
        if !near_is_first {
            assert_eq!(far.answer(), json!({"ok": null}));
            assert_eq!(in_line(&mut table), 2, "the dead one's row is gone");
            far.call(release);
        }
        waits.await.unwrap();
        ended
    };
    if near_is_first {
        assert_eq!(in_line(&mut table), 2, "the dead one's row is gone");
        near.dict.release(&mut near.instance).await.unwrap();
        assert_eq!(far.answer(), json!({"ok": null}));
    }
    // It was the end of its call that counted, not that it was put away.
    assert!(ended.is_none_or(|instance| instance.is_poisoned()));
}

#[test]
fn it_is_dropped() {
    let host = Host::builder().max_instances(1).build().unwrap();
    check(&host, async |holder| {
        drop(holder);
        None
    });
}

#[test]
fn it_is_dropped_in_a_transaction() {
    let host = Host::builder().max_instances(1).build().unwrap();
    check(&host, async |mut holder| {
        let transaction = holder
            .instance
            .begin_transaction(&holder.database)
            .await
            .unwrap();
        let (dict, instance) = (&holder.dict, &mut holder.instance);
        dict.set(instance, "x", "1", None).await.unwrap();
        drop(holder);
        drop(transaction);
        None
    });
}

#[test]
fn it_computes_for_too_long() {
    let host = Host::builder()
        .max_instances(1)
        .cpu_limit(ms(200))
        .build()
        .unwrap();
    check(&host, async |mut holder| {
        // JSON that takes long to read, and nothing to write.
        let work = format!("[{}1", "1,".repeat(20 << 20));
        let (dict, instance) = (&holder.dict, &mut holder.instance);
        let error = dict.set(instance, "x", &work, None).await.unwrap_err();
        assert!(matches!(error, Error::CpuLimit(_)), "{error:?}");
        Some(holder.instance)
    });
}

#[test]
fn it_wants_too_much_memory() {
    let host = Host::builder()
        .max_instances(1)
        .memory_limit_bytes(8 << 20)
        .build()
        .unwrap();
    check(&host, async |mut holder| {
        // More than its memory holds: it can't even be handed over.
        let large = format!("\"{}\"", "x".repeat(16 << 20));
        let (dict, instance) = (&holder.dict, &mut holder.instance);
        let error = dict.set(instance, "x", &large, None).await.unwrap_err();
        assert!(error.is_fatal(), "{error:?}");
        Some(holder.instance)
    });
}

#[test]
fn its_call_takes_too_long() {
    let host = Host::builder()
        .max_instances(1)
        .call_timeout(s(2))
        .build()
        .unwrap();
    check(&host, async |mut holder| {
        let (database, instance) = (&holder.database, &mut holder.instance);
        let queue = instance.queue(database, "q").await.unwrap();
        let error = queue.get(instance, None).await.unwrap_err();
        assert!(matches!(error, Error::CallTimeout(_)), "{error:?}");
        Some(holder.instance)
    });
}

#[test]
fn nobody_wants_its_answer_any_more() {
    let host = Host::builder().max_instances(1).build().unwrap();
    check(&host, async |mut holder| {
        let (database, instance) = (&holder.database, &mut holder.instance);
        let queue = instance.queue(database, "q").await.unwrap();
        let call = queue.get(instance, None);
        assert!(tokio::time::timeout(ms(30), call).await.is_err());
        Some(holder.instance)
    });
}
