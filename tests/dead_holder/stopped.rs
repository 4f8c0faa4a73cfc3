//! A holder that is stopped (SIGSTOP) lives. It keeps its lock until its time to live
//! is over; what it writes after that changes nothing.

use super::{PROGRAM, let_time_pass};
use beaver_tests::{Error, Files, LockOptions, Process, System, both, ms, s};
use serde_json::json;

/// A holder of another process is stopped, followed, and goes on. `pass` brings the
/// end of its time to live about.
fn late(files: &Files, holder: System, ttl_ms: u64, pass: impl FnOnce(&Files)) {
    let store = files.open();
    let dict = store.dict("d").unwrap();
    let mut process = Process::start(PROGRAM, holder, &files.database());
    process.call(json!({"op": "acquire-dict", "name": "d", "ttl-ms": ttl_ms}));
    process.call(json!({"op": "set-held", "name": "d", "key": "x", "value": 1}));
    process.signal("STOP");
    pass(files);
    dict.acquire(&LockOptions::timeout(s(60))).unwrap();
    let token = dict.fencing_token().unwrap();
    assert_eq!(dict.get("x").unwrap().as_deref(), Some("1"));
    dict.set("x", "2", None).unwrap();
    let before = store.dict("d").unwrap().item_pages(10).unwrap();

    process.send(&json!({"op": "set-held", "name": "d", "key": "x", "value": 3}));
    process.signal("CONT");
    let lost = |answer: serde_json::Value| {
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains("lost"), "{answer}");
    };
    lost(process.answer());
    process.send(&json!({"op": "set-held", "name": "d", "key": "y", "value": 3}));
    lost(process.answer());
    process.send(&json!({"op": "release-dict", "name": "d"}));
    lost(process.answer());
    let after = store.dict("d").unwrap().item_pages(10).unwrap();
    assert_eq!(before, after);
    // Nor did it take the lock from its holder.
    assert_eq!(dict.fencing_token(), Some(token));
    dict.set("x", "4", None).unwrap();
    dict.release().unwrap();
    process.call(json!({"op": "acquire-dict", "name": "d"}));
    process.call(json!({"op": "set-held", "name": "d", "key": "x", "value": 5}));
    assert_eq!(dict.get("x").unwrap().as_deref(), Some("5"));
}

/// A holder that is stopped keeps a lock of an hour, whoever asks.
fn kept(files: &Files, holder: System) {
    let dict = files.open().dict("d").unwrap();
    let mut process = Process::start(PROGRAM, holder, &files.database());
    process.call(json!({"op": "acquire-dict", "name": "d", "ttl-ms": 3_600_000}));
    process.signal("STOP");
    assert!(!dict.try_acquire(None).unwrap());
    assert!(matches!(
        dict.acquire(&LockOptions::timeout(ms(100))),
        Err(Error::Timeout)
    ));
    process.signal("CONT");
    process.call(json!({"op": "set-held", "name": "d", "key": "x", "value": 1}));
    process.call(json!({"op": "release-dict", "name": "d"}));
    assert!(dict.try_acquire(None).unwrap());
}

fn an_hour_later(files: &Files) {
    let mut table = Process::start(PROGRAM, System::Native, &files.database());
    let_time_pass(&mut table, "%");
}

both! {
    fn a_host_process_keeps_its_lock(files: &Files) {
        kept(files, System::Component);
    }

    fn a_native_process_keeps_its_lock(files: &Files) {
        kept(files, System::Native);
    }

    fn a_host_process_is_late(files: &Files) {
        late(files, System::Component, 3_600_000, an_hour_later);
    }

    fn a_native_process_is_late(files: &Files) {
        late(files, System::Native, 3_600_000, an_hour_later);
    }

    fn the_time_to_live_ends_by_itself(files: &Files) {
        late(files, System::Component, 1000, |_| {});
    }
}
