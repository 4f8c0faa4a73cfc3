//! A process that dies in the middle of its writes: nothing acknowledged is
//! lost, nothing is seen by half, and the others go on.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{Dict, Error, Files, LockOptions, Process, System, both, ms, s};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_beaver-test-process");

fn number(dict: &Dict) -> u64 {
    dict.get("n")
        .unwrap()
        .map_or(0, |text| text.parse().unwrap())
}

fn last(answers: &[Value]) -> Option<u64> {
    answers
        .iter()
        .rev()
        .find_map(|answer| answer["ok"].as_u64())
}

/// Kills a flooding process again and again while this one reads.
fn kill_in_mid_write(files: &Files, victim: System) {
    let store = files.open();
    let (a, b) = (
        store.dict("flood-a").unwrap(),
        store.dict("flood-b").unwrap(),
    );
    let mut acknowledged = 0;
    for round in 0..6 {
        let mut process = Process::start(PROGRAM, victim, &files.database());
        process.send(&json!({"op": "flood", "from": acknowledged + 1}));
        // Varying moments, and sure that it is under way.
        for _ in 0..=round * 7 {
            acknowledged = process.answer()["ok"].as_u64().unwrap();
            let view = store.begin().unwrap();
            assert_eq!(number(&a), number(&b), "both or none");
            drop(view);
        }
        let answers = process.kill_and_drain();
        acknowledged = last(&answers).unwrap_or(acknowledged);
        let found = number(&a);
        assert_eq!(found, number(&b), "both or none, after the kill");
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "acknowledged {acknowledged}, found {found}"
        );
        acknowledged = found;
        // The survivor writes on.
        store
            .dict("survivor")
            .unwrap()
            .set("round", &round.to_string(), None)
            .unwrap();
    }
}

/// The same with nobody left: the next one recovers from the log alone.
fn recovery_from_the_log(files: &Files, victim: System) {
    let mut process = Process::start(PROGRAM, victim, &files.database());
    process.send(&json!({"op": "flood", "from": 1}));
    for _ in 0..20 {
        process.answer();
    }
    let acknowledged = last(&process.kill_and_drain()).unwrap_or(20).max(20);
    let store = files.open();
    let found = number(&store.dict("flood-a").unwrap());
    assert!(
        found == acknowledged || found == acknowledged + 1,
        "{acknowledged}, {found}"
    );
    assert_eq!(found, number(&store.dict("flood-b").unwrap()));
    store.dict("d").unwrap().set("x", "1", None).unwrap();
}

both! {
    fn a_killed_native_process_loses_nothing(files: &Files) {
        kill_in_mid_write(files, System::Native);
    }

    fn a_killed_host_process_loses_nothing(files: &Files) {
        kill_in_mid_write(files, System::Component);
    }

    fn recovery_after_a_native_process(files: &Files) {
        recovery_from_the_log(files, System::Native);
    }

    fn recovery_after_a_host_process(files: &Files) {
        recovery_from_the_log(files, System::Component);
    }

    fn a_killed_transaction_rolls_back_and_frees_the_write_lock(files: &Files) {
        let store = files.open();
        let dict = store.dict("d").unwrap();
        for victim in [System::Native, System::Component] {
            let mut process = Process::start(PROGRAM, victim, &files.database());
            process.call(json!({"op": "begin"}));
            process.call(json!({"op": "set", "name": "d", "key": "x", "value": 1}));
            process.kill();
            assert_eq!(dict.get("x").unwrap(), None);
            dict.set("y", "2", None).unwrap();
        }
    }

    fn a_killed_holder_is_followed_after_its_time_to_live(files: &Files) {
        let store = files.open();
        let dict = store.dict("d").unwrap();
        let mut process = Process::start(PROGRAM, System::Component, &files.database());
        process.call(json!({"op": "acquire-dict", "name": "d"}));
        process.kill();
        // Default time to live of 60 s: the row is still there.
        assert!(!dict.try_acquire(None).unwrap());
        assert_eq!(dict.acquire(&LockOptions::timeout(ms(50))).unwrap_err(), Error::Timeout);
        store.lock("__lock__dict__d").unwrap().clear().unwrap();
        dict.acquire(&LockOptions::timeout(s(1))).unwrap();
    }
}
