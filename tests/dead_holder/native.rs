//! A native process that is killed, and native waiters: they know of deaths as the
//! component does, of either kind.

use super::{PROGRAM, in_line, until_in_line};
use beaver_tests::{Files, JournalChoice, LockOptions, Process, System, ms};
use serde_json::{Value, json};

const KINDS: [(System, System); 3] = [
    (System::Native, System::Native),
    (System::Native, System::Component),
    (System::Component, System::Native),
];

fn acquire() -> Value {
    json!({"op": "acquire-dict", "name": "d", "ttl-ms": 3_600_000})
}

fn release() -> Value {
    json!({"op": "release-dict", "name": "d"})
}

#[test]
fn whoever_waits_gets_the_lock_of_a_killed_holder() {
    for (dead, waits) in KINDS {
        let files = Files::new(System::Component);
        let mut table = Process::start(PROGRAM, System::Native, &files.database());
        let mut holder = Process::start(PROGRAM, dead, &files.database());
        let mut waiter = Process::start(PROGRAM, waits, &files.database());
        holder.call(acquire());
        waiter.send(&acquire());
        until_in_line(&mut table, 2);
        holder.kill();
        assert_eq!(waiter.answer(), json!({"ok": null}), "{dead:?}, {waits:?}");
        assert_eq!(in_line(&mut table), 1, "the dead one's row is gone");
        waiter.call(release());
        assert_eq!(in_line(&mut table), 0);
    }
}

#[test]
fn a_killed_waiter_holds_up_nobody() {
    for (dead, waits) in KINDS {
        let files = Files::new(System::Component);
        let mut table = Process::start(PROGRAM, System::Native, &files.database());
        let mut holder = Process::start(PROGRAM, System::Native, &files.database());
        let mut first = Process::start(PROGRAM, dead, &files.database());
        let mut second = Process::start(PROGRAM, waits, &files.database());
        holder.call(acquire());
        first.send(&acquire());
        until_in_line(&mut table, 2);
        second.send(&acquire());
        until_in_line(&mut table, 3);
        first.kill();
        holder.call(release());
        assert_eq!(second.answer(), json!({"ok": null}), "{dead:?}, {waits:?}");
    }
}

/// With a rollback journal SQLite's write lock is on the database file itself.
#[test]
fn the_end_of_a_connection_leaves_the_write_lock_of_another_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.db");
    let options = beaver_core::Options {
        journal: JournalChoice::Rollback,
        busy_timeout: ms(10),
        ..beaver_core::Options::default()
    };
    let open = || beaver_core::Database::open(path.to_str().unwrap(), &options).unwrap();
    let store = open();
    // So that it has a claim.
    store
        .lock("l")
        .unwrap()
        .acquire(&LockOptions::default())
        .unwrap();
    let mut other = Process::start_with(PROGRAM, System::Native, &path, JournalChoice::Rollback);
    let reserve = json!({"op": "sql-at-once", "sql": "BEGIN IMMEDIATE"});
    other.call(reserve.clone());
    let transaction = store.begin().unwrap();
    store.dict("d").unwrap().set("x", "1", None).unwrap();
    for _ in 0..3 {
        let short = open();
        // It claims before it finds that it can't write.
        let taken = short
            .lock("l")
            .unwrap()
            .acquire(&LockOptions::timeout(ms(1)));
        assert!(taken.is_err(), "{taken:?}");
        drop(short);
        other.send(&reserve);
        let answer = other.answer();
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains("locked"), "{answer}");
    }
    transaction.commit().unwrap();
    other.call(reserve);
}
