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
    }
    assert!(other.try_acquire(None).unwrap());
}

#[test]
fn the_body_may_use_its_argument_and_the_handle_alike() {
    let files = Files::new(System::Native);
    let db = open(&files);
    let config = db.dict("config").unwrap();
    config
        .with(&five_seconds(), |held| {
            held.set("a", "1", None)?;
            config.set("b", "2", None)?;
            db.transaction(|_| config.set("c", "3", None))
        })
        .unwrap();
    assert_eq!(config.len().unwrap(), 3);
}

#[test]
fn guards_of_one_handle_nest_and_the_last_gives_the_lock_back() {
    let files = Files::new(System::Native);
    let (one, two) = (open(&files), open(&files));
    let (config, other) = (one.dict("config").unwrap(), two.dict("config").unwrap());
    let long = LockOptions::default().ttl(s(120));
    config
        .with(&long, |config| {
            let token = config.fencing_token();
            config.with(&long, |config| config.set("a", "1", None))?;
            assert!(!is_free(&other), "it is the outer one's still");
            assert_eq!(config.fencing_token(), token, "one grant");
            assert_eq!(config.acquire(&long), Err(Error::AlreadyHeld));
            assert_eq!(config.try_acquire(None), Err(Error::AlreadyHeld));
            let failed = config.with(&long, |config| config.set("a", "not json", None));
            assert!(matches!(failed, Err(Error::InvalidJson(_))));
            config.set("b", "2", None)
        })
        .unwrap();
    assert!(is_free(&other));
    assert!(is_free(&config));
    // They may end in any order.
    let outer = config.guard(&long).unwrap();
    let inner = config.guard(&long).unwrap();
    drop(outer);
    inner.set("c", "3", None).unwrap();
    assert!(!is_free(&other));
    inner.release().unwrap();
    assert!(is_free(&other));
}

#[test]
fn a_guard_of_a_lock_that_was_acquired_leaves_it_to_release() {
    let files = Files::new(System::Native);
    let (one, two) = (open(&files), open(&files));
    let (config, other) = (one.dict("config").unwrap(), two.dict("config").unwrap());
    config.acquire(&five_seconds()).unwrap();
    config.with(&five_seconds(), |_| Ok(())).unwrap();
    drop(config.guard(&five_seconds()).unwrap());
    assert!(!is_free(&other));
    config.release().unwrap();
    assert!(is_free(&other));
}

#[test]
fn a_guard_does_nothing_to_a_later_grant() {
    let files = Files::new(System::Native);
    let (one, two) = (open(&files), open(&files));
    let (config, other) = (one.dict("config").unwrap(), two.dict("config").unwrap());
    let early = config.guard(&five_seconds()).unwrap();
    config.release().unwrap();
    let late = config.guard(&five_seconds()).unwrap();
    assert_eq!(early.release(), Err(Error::NotHeld));
    assert!(!is_free(&other));
    late.release().unwrap();
    assert!(is_free(&other));
}

#[test]
fn a_nested_guard_has_its_full_time_and_tells_of_a_loss() {
    let files = Files::new(System::Native);
    let (one, two) = (open(&files), open(&files));
    let (config, other) = (one.dict("config").unwrap(), two.dict("config").unwrap());
    let result = config.with(&five_seconds().ttl(ms(30)), |config| {
        config.with(&five_seconds().ttl(s(3600)), |_| {
            std::thread::sleep(ms(50));
            assert!(!is_free(&other));
            Ok(())
        })?;
        // A shorter one takes nothing from the longer.
        config.with(&five_seconds().ttl(ms(1)), |_| {
            std::thread::sleep(ms(20));
            assert!(!is_free(&other));
            Ok(())
        })?;
        one.lock("__lock__dict__config")?.clear()?;
        let lost = || Err(Error::LockLost("__lock__dict__config".into()));
        assert_eq!(config.guard(&five_seconds()).map(drop), lost());
        assert_eq!(config.set("a", "1", None), lost());
        Ok(())
    });
    assert_eq!(
        result,
        Err(Error::LockLost("__lock__dict__config".into())),
        "the outer one tells too"
    );
    let result = config.with(&five_seconds(), |config| {
        let inner = config.guard(&five_seconds())?;
        one.lock("__lock__dict__config")?.clear()?;
        assert!(matches!(inner.release(), Err(Error::LockLost(_))));
        Ok(())
    });
    assert!(matches!(result, Err(Error::LockLost(_))));
    assert!(is_free(&other));
}

#[test]
fn no_guard_is_opened_in_a_transaction() {
    let files = Files::new(System::Native);
    let db = open(&files);
    let config = db.dict("config").unwrap();
    config
        .with(&five_seconds(), |config| {
            db.transaction(|_| {
                let nested = config.with(&five_seconds(), |_| Ok(()));
                assert_eq!(nested, Err(Error::InTransaction));
                config.set("a", "1", None)
            })
        })
        .unwrap();
    assert_eq!(config.len().unwrap(), 1);
}

// What Python's users write: there both are one object.
#[test]
fn another_handle_inside_is_told_at_once() {
    let files = Files::new(System::Native);
    let db = open(&files);
    let config = db.dict("config").unwrap();
    let circle = || Error::Deadlock(vec!["__lock__dict__config".into()]);
    let long = LockOptions::default().ttl(s(120));
    let result = config.with(&long, |_| {
        let again = db.dict("config")?;
        assert_eq!(again.set("a", "1", None), Err(circle()));
        again.with(&long, |_| Ok(()))
    });
    assert_eq!(result, Err(circle()));
    assert!(
        circle().to_string().contains("another handle"),
        "{}",
        circle()
    );
    config.set("a", "1", None).unwrap();
}

#[test]
fn with_all_refuses_handles_of_another_database() {
    let files = Files::new(System::Native);
    let (one, two) = (open(&files), open(&files));
    let (stock, orders) = (one.dict("stock").unwrap(), two.queue("orders").unwrap());
    match one.with_all(&[&stock, &orders], &five_seconds(), || Ok(())) {
        Err(Error::InvalidArgument(reason)) => {
            assert!(reason.contains("__lock__queue__orders"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert!(is_free(&stock));
}

#[test]
fn with_all_holds_every_lock_and_gives_all_back_on_every_path() {
    let files = Files::new(System::Native);
    let (one, two) = (open(&files), open(&files));
    let (stock, orders) = (one.dict("stock").unwrap(), one.queue("orders").unwrap());
    let (stock2, orders2) = (two.dict("stock").unwrap(), two.queue("orders").unwrap());
    let are_free = || {
        let free = two.acquire_all(&[&stock2, &orders2], &LockOptions::timeout(ms(0)));
        if free.is_ok() {
            stock2.release().unwrap();
            orders2.release().unwrap();
        }
        free.is_ok()
    };
    let value = one
        .with_all(&[&stock, &orders], &five_seconds(), || {
            assert!(!stock2.try_acquire(None)?);
            assert!(!orders2.try_acquire(None)?);
            // Guards of one of them nest.
            stock.with(&five_seconds(), |stock| stock.set("apples", "1", None))?;
            assert!(!stock2.try_acquire(None)?);
            orders.put("1", 0.0)?;
            Ok(7)
        })
        .unwrap();
    assert_eq!(value, 7);
    assert!(are_free());
    let failed = one.with_all(&[&stock, &orders], &five_seconds(), || {
        stock.set("apples", "not json", None)
    });
    assert!(matches!(failed, Err(Error::InvalidJson(_))));
    assert!(are_free());
    let caught = catch_unwind(AssertUnwindSafe(|| {
        one.with_all(
            &[&stock, &orders],
            &five_seconds(),
            || -> beaver_core::Result<()> { panic!("in the body") },
        )
    }));
    assert!(caught.is_err());
    assert!(are_free());
    {
        let guard = one.guard_all(&[&stock, &orders], &five_seconds()).unwrap();
        assert!(format!("{guard:?}").contains("__lock__queue__orders"));
        assert_eq!(
            one.guard_all(&[&stock, &orders], &five_seconds()).map(drop),
            Err(Error::AlreadyHeld)
        );
        assert!(!are_free());
    }
    assert!(are_free());
    let lost = one.with_all(&[&stock, &orders], &five_seconds(), || {
        one.lock("__lock__queue__orders")?.clear().map(drop)
    });
    assert_eq!(lost, Err(Error::LockLost("__lock__queue__orders".into())));
    assert!(are_free());
    // A part given back earlier is said, and the rest is given back.
    let guard = one.guard_all(&[&stock, &orders], &five_seconds()).unwrap();
    orders.release().unwrap();
    assert_eq!(guard.release(), Err(Error::NotHeld));
    assert!(are_free());
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
