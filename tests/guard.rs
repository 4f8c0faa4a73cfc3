//! The proposal's `with`, for Rust embedders: a guard and a closure that give the
//! lock back on every path.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_core::{Database, Dict, Error, LockOptions, Options};
use beaver_tests::{Files, System, ms, s};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn open(files: &Files) -> Database {
    Database::open(files.database().to_str().unwrap(), &Options::default()).unwrap()
}

fn is_free(dict: &Dict) -> bool {
    let taken = dict.try_acquire(None).unwrap();
    if taken {
        dict.release().unwrap();
    }
    taken
}

fn five_seconds() -> LockOptions {
    LockOptions::timeout(s(5))
}

#[test]
fn with_returns_what_the_body_returns_and_holds_the_lock_meanwhile() {
    let files = Files::new(System::Native);
    let (one, two) = (open(&files), open(&files));
    let (config, other) = (one.dict("config").unwrap(), two.dict("config").unwrap());
    let n = config
        .with(&five_seconds(), |config| {
            assert!(!is_free(&other));
            assert!(config.fencing_token().is_some());
            config.set("n", "1", None)?;
            config.set("m", "2", None)?;
            config.len()
        })
        .unwrap();
    assert_eq!(n, 2);
    assert!(is_free(&other));
}

#[test]
fn an_error_of_the_body_gives_the_lock_back() {
    let files = Files::new(System::Native);
    let (one, two) = (open(&files), open(&files));
    let (config, other) = (one.dict("config").unwrap(), two.dict("config").unwrap());
    let result = config.with(&five_seconds(), |config| config.set("n", "not json", None));
    assert!(matches!(result, Err(Error::InvalidJson(_))));
    assert!(is_free(&other));
}

#[test]
fn a_panic_in_the_body_gives_the_lock_back() {
    let files = Files::new(System::Native);
    let (one, two) = (open(&files), open(&files));
    let (config, other) = (one.dict("config").unwrap(), two.dict("config").unwrap());
    let caught = catch_unwind(AssertUnwindSafe(|| {
        config.with(&five_seconds(), |_| -> beaver_core::Result<()> {
            panic!("in the body")
        })
    }));
    assert!(caught.is_err());
    assert!(is_free(&other));
    assert!(is_free(&config));
}

#[test]
fn a_guard_is_its_manager_and_ends_with_its_scope() {
    let files = Files::new(System::Native);
    let (one, two) = (open(&files), open(&files));
    let (queue, other) = (one.queue("jobs").unwrap(), two.queue("jobs").unwrap());
    {
        let jobs = queue.guard(&five_seconds()).unwrap();
        jobs.put("1", 0.0).unwrap();
        assert!(!other.try_acquire(None).unwrap());
        assert_eq!(
            queue.guard(&five_seconds()).unwrap_err(),
            Error::AlreadyHeld
        );
    }
    assert!(other.try_acquire(None).unwrap());
}

#[test]
fn with_reports_a_lock_that_was_lost_on_the_way() {
    let files = Files::new(System::Native);
    let (one, two) = (open(&files), open(&files));
    let (config, other) = (one.dict("config").unwrap(), two.dict("config").unwrap());
    let result = config.with(&five_seconds().ttl(ms(5)), |_| {
        other.acquire(&five_seconds())?;
        Ok(())
    });
    assert_eq!(result, Err(Error::LockLost("__lock__dict__config".into())));
    other.release().unwrap();
}

#[test]
fn a_transaction_closure_commits_or_undoes() {
    let files = Files::new(System::Native);
    let db = open(&files);
    let (dict, queue) = (db.dict("d").unwrap(), db.queue("q").unwrap());
    db.transaction(|_| {
        dict.set("x", "1", None)?;
        queue.put("1", 0.0)
    })
    .unwrap();
    let failed = db.transaction(|_| {
        dict.set("x", "2", None)?;
        queue.put("broken", 0.0)
    });
    assert!(matches!(failed, Err(Error::InvalidJson(_))));
    assert_eq!(dict.get("x").unwrap().as_deref(), Some("1"));
    assert_eq!(queue.len().unwrap(), 1);
}

#[test]
fn a_second_thread_has_a_lock_owner_of_its_own() {
    let files = Files::new(System::Native);
    let config = open(&files).dict("config").unwrap();
    config
        .with(&five_seconds(), |_| {
            std::thread::scope(|scope| {
                let second = scope.spawn(|| {
                    // `Database` and its handles can't be shared between threads at all.
                    let config = open(&files).dict("config").unwrap();
                    config.acquire(&LockOptions::timeout(ms(50)))
                });
                assert_eq!(second.join().unwrap(), Err(Error::Timeout));
            });
            Ok(())
        })
        .unwrap();
}
