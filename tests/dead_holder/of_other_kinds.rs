//! A process that is killed, and Python, which can't claim: what it can't know, what
//! isn't known of it, and what needn't be.

use super::{PROGRAM, in_line, let_time_pass, until_in_line};
use beaver_tests::{Error, Files, LockOptions, Process, System, ms, s};
use serde_json::{Value, json};

fn acquire() -> Value {
    json!({"op": "acquire-dict", "name": "d", "ttl-ms": 3_600_000})
}

/// Nobody gets the lock of one that can't claim until its time to live is over.
fn keeps_to_the_time_to_live(files: &Files, owners: &str) {
    let mut table = Process::start(PROGRAM, System::Native, &files.database());
    let mut native = Process::start(PROGRAM, System::Native, &files.database());
    let store = files.open();
    let dict = store.dict("d").unwrap();
    assert!(!dict.try_acquire(None).unwrap());
    assert!(matches!(
        dict.acquire(&LockOptions::timeout(ms(50))),
        Err(Error::Timeout)
    ));
    native.send(&acquire());
    until_in_line(&mut table, 2);
    let_time_pass(&mut table, owners);
    assert_eq!(native.answer(), json!({"ok": null}));
    assert_eq!(in_line(&mut table), 1);
    native.call(json!({"op": "release-dict", "name": "d"}));
    dict.acquire(&LockOptions::timeout(s(60))).unwrap();
}

#[test]
fn a_killed_python_process_keeps_its_lock_for_its_time_to_live() {
    let files = Files::new(System::Component);
    drop(files.open());
    let Some(mut python) = Process::python(&files.database()) else {
        return;
    };
    let request = json!({"op": "acquire", "kind": "dict", "name": "d", "timeout": 60, "ttl": 3600});
    assert_eq!(python.call(request), json!(true));
    let owner = format!("pid:{}:%", python.id());
    python.kill();
    keeps_to_the_time_to_live(&files, &owner);
}

// With a time to live that ends by itself.
#[test]
fn a_killed_python_process_is_followed_in_the_end() {
    let files = Files::new(System::Component);
    let store = files.open();
    let Some(mut python) = Process::python(&files.database()) else {
        return;
    };
    let request = json!({"op": "acquire", "kind": "dict", "name": "d", "timeout": 60, "ttl": 1});
    assert_eq!(python.call(request), json!(true));
    python.kill();
    let dict = store.dict("d").unwrap();
    dict.acquire(&LockOptions::timeout(s(60))).unwrap();
    dict.set("x", "1", None).unwrap();
    dict.release().unwrap();
}

#[test]
fn python_waits_behind_a_killed_instance_until_somebody_knows() {
    let files = Files::new(System::Component);
    let mut table = Process::start(PROGRAM, System::Native, &files.database());
    let mut holder = Process::start(PROGRAM, System::Component, &files.database());
    holder.call(acquire());
    let Some(mut python) = Process::python(&files.database()) else {
        return;
    };
    python
        .send(&json!({"op": "acquire", "kind": "dict", "name": "d", "timeout": 600, "ttl": 3600}));
    until_in_line(&mut table, 2);
    holder.kill();
    let mut next = Process::start(PROGRAM, System::Component, &files.database());
    next.send(&acquire());
    assert_eq!(python.answer(), json!({"ok": true}));
    python.call(json!({"op": "release", "kind": "dict", "name": "d"}));
    assert_eq!(next.answer(), json!({"ok": null}));
}
