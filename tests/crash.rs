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
}

/// A killed process, or a dropped instance, is known to be gone: its locks
/// are free although their time to live is a minute.
mod a_holder_that_is_gone {
    use super::*;

    fn files() -> Files {
        Files::new(System::Component)
    }

    #[test]
    fn by_sigkill_is_followed_at_once() {
        for system in [System::Component, System::Native] {
            followed_at_once(&Files::new(system), System::Component);
            followed_at_once(&Files::new(system), System::Native);
        }
    }

    fn followed_at_once(files: &Files, victim: System) {
        let store = files.open();
        let dict = store.dict("d").unwrap();
        for _ in 0..3 {
            let mut process = Process::start(PROGRAM, victim, &files.database());
            process.call(json!({"op": "acquire-dict", "name": "d"}));
            assert!(
                !dict.try_acquire(None).unwrap(),
                "a holder that lives keeps it"
            );
            process.kill();
            match files.system {
                System::Component => assert!(dict.try_acquire(None).unwrap()),
                // It has just been told that the holder lives, and believes it for
                // some milliseconds. The time to live is a minute.
                System::Native => dict.acquire(&LockOptions::timeout(s(30))).unwrap(),
            }
            dict.release().unwrap();
        }
    }

    #[test]
    fn frees_those_who_wait_already() {
        let files = files();
        let mut process = Process::start(PROGRAM, System::Component, &files.database());
        process.call(json!({"op": "acquire-dict", "name": "d"}));
        let mut table = Process::start(PROGRAM, System::Native, &files.database());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                // Less than the time to live, so that only the death can explain it.
                files
                    .open()
                    .dict("d")
                    .unwrap()
                    .acquire(&LockOptions::timeout(s(40)))
            });
            let rows =
                "SELECT count(*) FROM beaver_lock_waiters WHERE lock_name = '__lock__dict__d'";
            beaver_tests::eventually("the waiter is in line", || {
                table.call(json!({"op": "sql", "sql": rows})) == json!(2)
            });
            process.kill();
            waiter.join().unwrap().unwrap();
        });
    }

    #[test]
    fn and_the_waiters_of_it_too() {
        let files = files();
        let holder = files.open().dict("d").unwrap();
        holder.acquire(&LockOptions::timeout(s(1))).unwrap();
        let mut table = Process::start(PROGRAM, System::Native, &files.database());
        let mut waiting = Process::start(PROGRAM, System::Component, &files.database());
        waiting.send(&json!({"op": "acquire-dict", "name": "d"}));
        let rows = "SELECT count(*) FROM beaver_lock_waiters WHERE lock_name = '__lock__dict__d'";
        beaver_tests::eventually("the waiter is in line", || {
            table.call(json!({"op": "sql", "sql": rows})) == json!(2)
        });
        waiting.kill();
        holder.release().unwrap();
        // Its place would have lived for 30 s.
        holder.acquire(&LockOptions::timeout(s(20))).unwrap();
    }

    #[test]
    fn but_not_one_that_is_only_stopped() {
        let files = files();
        let store = files.open();
        let dict = store.dict("d").unwrap();
        let mut process = Process::start(PROGRAM, System::Component, &files.database());
        process.call(json!({"op": "acquire-dict", "name": "d"}));
        process.signal("STOP");
        assert!(!dict.try_acquire(None).unwrap());
        assert_eq!(
            dict.acquire(&LockOptions::timeout(ms(100))).unwrap_err(),
            Error::Timeout
        );
        process.signal("CONT");
        process.call(json!({"op": "set", "name": "other", "key": "x", "value": 1}));
        process.kill();
        assert!(dict.try_acquire(None).unwrap());
    }
}
