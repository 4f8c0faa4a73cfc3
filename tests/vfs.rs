//! What SQLite asks of a VFS, as far as it shows from outside: the component's
//! own VFS must behave as the operating system's does natively.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{Error, JournalChoice, Options, Process, System, both, ms};
use serde_json::json;
use std::time::Instant;

const PROGRAM: &str = env!("CARGO_BIN_EXE_beaver-test-process");

fn rollback() -> Options {
    Options {
        journal: JournalChoice::Rollback,
        ..Options::default()
    }
}

both! {
    // xRead: "If xRead() returns SQLITE_IOERR_SHORT_READ it must also fill in
    // the unread portions of the buffer with zeros."
    fn an_empty_file_reads_as_zeros_and_becomes_a_database(files: &Files) {
        std::fs::write(files.database(), b"").unwrap();
        files.open().dict("d").unwrap().set("x", "1", None).unwrap();
        assert_eq!(files.open().dict("d").unwrap().get("x").unwrap().as_deref(), Some("1"));
    }

    fn a_file_shorter_than_a_header_is_no_database(files: &Files) {
        // Not 1: os_unix.c reports that as empty.
        for length in [2, 15, 50, 99] {
            std::fs::write(files.database(), vec![1; length]).unwrap();
            let error = files.open_with(&Options::default()).unwrap_err();
            assert!(matches!(error, Error::UnsupportedFormat(_) | Error::Corrupt(_)), "{error:?}");
            assert_eq!(std::fs::read(files.database()).unwrap(), vec![1; length]);
        }
    }

    fn a_file_that_was_cut_is_an_error_and_no_crash(files: &Files) {
        {
            let dict = files.open_with(&rollback()).unwrap().dict("d").unwrap();
            for n in 0..200 {
                dict.set(&n.to_string(), &format!("\"{}\"", "x".repeat(500)), None).unwrap();
            }
        }
        let whole = std::fs::read(files.database()).unwrap();
        for cut in [4096 * 3, 4096 * 5 + 1000] {
            std::fs::write(files.database(), &whole[..cut]).unwrap();
            let read = files
                .open_with(&rollback())
                .and_then(|store| store.dict("d")?.item_pages(1000))
                .map(|pages| pages.concat().len());
            assert!(matches!(read, Err(Error::Corrupt(_))), "cut to {cut}: {read:?}");
        }
        std::fs::write(files.database(), &whole).unwrap();
        assert_eq!(files.open_with(&rollback()).unwrap().dict("d").unwrap().len().unwrap(), 200);
    }

    // xFileControl, SQLITE_FCNTL_LOCK_TIMEOUT, and SQLITE_BUSY_TIMEOUT.
    fn a_busy_write_lock_is_waited_for_just_as_long_as_asked(files: &Files) {
        drop(files.open());
        let mut other = Process::start(PROGRAM, System::Native, &files.database());
        other.call(json!({"op": "begin"}));
        other.call(json!({"op": "set", "name": "d", "key": "x", "value": 1}));
        for timeout in [ms(0), ms(150)] {
            let store = files.open_with(&Options { busy_timeout: timeout, ..Options::default() }).unwrap();
            let dict = store.dict("d").unwrap();
            let start = Instant::now();
            assert_eq!(dict.set("x", "2", None).unwrap_err(), Error::Busy);
            assert!(start.elapsed() >= timeout);
            assert_eq!(store.begin().map(drop).unwrap_err(), Error::Busy);
            assert_eq!(dict.get("x").unwrap(), None, "a reader isn't held up");
        }
        let dict = files.open().dict("d").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| other.call(json!({"op": "commit"})));
            dict.set("y", "3", None).unwrap();
        });
        assert_eq!(dict.get("x").unwrap().as_deref(), Some("1"));
    }

    // xLock: shared beside shared and reserved; exclusive beside nobody.
    fn readers_and_a_writer_in_rollback_mode_follow_sqlites_levels(files: &Files) {
        let patient = files.open_with(&rollback()).unwrap();
        patient.dict("d").unwrap().set("x", "1", None).unwrap();
        let mut other = Process::start_with(PROGRAM, System::Native, &files.database(), JournalChoice::Rollback);
        // RESERVED there: reading goes on here, writing doesn't.
        other.call(json!({"op": "begin"}));
        let hasty = files.open_with(&Options { busy_timeout: ms(50), ..rollback() }).unwrap();
        assert_eq!(hasty.dict("d").unwrap().get("x").unwrap().as_deref(), Some("1"));
        assert_eq!(hasty.begin().map(drop).unwrap_err(), Error::Busy);
        other.call(json!({"op": "set", "name": "d", "key": "x", "value": 2}));
        other.call(json!({"op": "commit"}));
        assert_eq!(hasty.dict("d").unwrap().get("x").unwrap().as_deref(), Some("2"));
        // RESERVED here.
        let transaction = patient.begin().unwrap();
        assert_eq!(other.call(json!({"op": "get", "name": "d", "key": "x"})), json!(2));
        transaction.rollback().unwrap();
    }

    // os_unix.c, unixAccess(): a zero-length journal counts as absent.
    fn an_empty_journal_is_no_journal(files: &Files) {
        files.open_with(&rollback()).unwrap().dict("d").unwrap().set("x", "1", None).unwrap();
        std::fs::write(files.directory().join("app.db-journal"), b"").unwrap();
        let dict = files.open_with(&rollback()).unwrap().dict("d").unwrap();
        assert_eq!(dict.get("x").unwrap().as_deref(), Some("1"));
        dict.set("x", "2", None).unwrap();
    }

    fn a_log_that_belongs_to_nobody_is_ignored(files: &Files) {
        files.open().dict("d").unwrap().set("x", "1", None).unwrap();
        std::fs::write(files.directory().join("app.db-wal"), vec![7; 50_000]).unwrap();
        std::fs::write(files.directory().join("app.db-shm"), vec![7; 32_768]).unwrap();
        let dict = files.open().dict("d").unwrap();
        assert_eq!(dict.get("x").unwrap().as_deref(), Some("1"));
        dict.set("x", "2", None).unwrap();
        assert_eq!(files.open().dict("d").unwrap().get("x").unwrap().as_deref(), Some("2"));
    }

    fn a_file_opened_read_only_is_never_written(files: &Files) {
        files.open_with(&rollback()).unwrap().dict("d").unwrap().set("x", "1", None).unwrap();
        let before = std::fs::read(files.database()).unwrap();
        let read_only = Options { mode: beaver_tests::OpenMode::ReadOnly, ..Options::default() };
        let store = files.open_with(&read_only).unwrap();
        let dict = store.dict("d").unwrap();
        assert_eq!(dict.get("x").unwrap().as_deref(), Some("1"));
        assert_eq!(dict.set("x", "2", None).unwrap_err(), Error::ReadOnly);
        assert_eq!(dict.try_acquire(None).unwrap_err(), Error::ReadOnly);
        drop((dict, store));
        assert_eq!(std::fs::read(files.database()).unwrap(), before);
    }

    fn a_missing_file_is_not_found_unless_it_is_to_be_made(files: &Files) {
        for mode in [beaver_tests::OpenMode::Existing, beaver_tests::OpenMode::ReadOnly] {
            let options = Options { mode, ..Options::default() };
            assert_eq!(files.open_with(&options).unwrap_err(), Error::NotFound);
            assert!(!files.database().exists());
        }
    }
}
