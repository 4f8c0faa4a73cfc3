//! Rollback-journal mode: for hosts that can't share the wal-index, or by choice.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{Error, Journal, JournalChoice, Options, Process, System, both, s};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_beaver-test-process");

fn rollback() -> Options {
    Options {
        journal: JournalChoice::Rollback,
        ..Options::default()
    }
}

both! {
    fn works_with_file_locks_alone(files: &Files) {
        let store = files.open_with(&rollback()).unwrap();
        assert_eq!(store.journal().unwrap(), Journal::Rollback);
        let dict = store.dict("d").unwrap();
        dict.set("x", "1", None).unwrap();
        assert!(!files.directory().join("app.db-wal").exists());
        let transaction = store.begin().unwrap();
        dict.set("x", "2", None).unwrap();
        transaction.rollback().unwrap();
        assert_eq!(dict.get("x").unwrap().as_deref(), Some("1"));
    }

    fn contended_increments_lose_nothing(files: &Files) {
        drop(files.open_with(&rollback()).unwrap());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let store = files.open_with(&rollback()).unwrap();
                    let dict = store.dict("d").unwrap();
                    for _ in 0..20 {
                        let transaction = store.begin().unwrap();
                        let n: u32 = dict.get("n").unwrap().map_or(0, |text| text.parse().unwrap());
                        dict.set("n", &(n + 1).to_string(), None).unwrap();
                        transaction.commit().unwrap();
                    }
                });
            }
        });
        let store = files.open_with(&rollback()).unwrap();
        assert_eq!(store.dict("d").unwrap().get("n").unwrap().as_deref(), Some("60"));
    }

    fn a_wal_file_goes_back_when_nobody_else_has_it(files: &Files) {
        files.open().dict("d").unwrap().set("x", "1", None).unwrap();
        let store = files.open_with(&rollback()).unwrap();
        assert_eq!(store.journal().unwrap(), Journal::Rollback);
        assert_eq!(store.dict("d").unwrap().get("x").unwrap().as_deref(), Some("1"));
    }

    fn a_wal_file_in_use_does_not_go_back(files: &Files) {
        let user = files.open();
        user.dict("d").unwrap().set("x", "1", None).unwrap();
        let options = Options { busy_timeout: beaver_tests::ms(100), ..rollback() };
        assert_eq!(files.open_with(&options).map(drop).unwrap_err(), Error::Busy);
        user.dict("d").unwrap().set("x", "2", None).unwrap();
    }

    fn a_hot_journal_is_rolled_back_by_the_next(files: &Files) {
        let keep = files.open_with(&rollback()).unwrap();
        keep.dict("d").unwrap().set("x", "1", None).unwrap();
        for victim in [System::Native, System::Component] {
            let mut process = Process::start_with(PROGRAM, victim, &files.database(), JournalChoice::Rollback);
            process.call(json!({"op": "begin"}));
            process.call(json!({"op": "set", "name": "d", "key": "x", "value": 2}));
            // More than the cache holds, so that pages reach the file before the commit.
            let size = std::fs::metadata(files.database()).unwrap().len();
            for n in 0..60 {
                let value = "x".repeat(100_000);
                process.call(json!({"op": "set", "name": "d", "key": format!("{n}"), "value": value}));
            }
            process.kill();
            assert!(std::fs::metadata(files.database()).unwrap().len() > size + 1_000_000);
            assert!(files.directory().join("app.db-journal").exists());
            let store = files.open_with(&Options { busy_timeout: s(60), ..rollback() }).unwrap();
            assert_eq!(store.dict("d").unwrap().get("x").unwrap().as_deref(), Some("1"));
            assert_eq!(store.dict("d").unwrap().len().unwrap(), 1);
            assert_eq!(std::fs::metadata(files.database()).unwrap().len(), size);
            assert!(!files.directory().join("app.db-journal").exists());
        }
    }
}
