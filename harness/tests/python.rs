//! The harness finds what `beaver-db` 1.3.0 was seen to break, by the check that is there for it.
//!
//! Only what shows every time. The README has the whole table.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_harness::check::Verdict;
use beaver_harness::driver::PythonDriver;
use beaver_harness::report::Outcome;
use beaver_harness::run::Progress;
use beaver_harness::suite::{self, Options};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many run at once: they mostly wait, but some for a grant that lives two seconds, and several
/// interpreters that start take the processors for longer than that leaves.
const AT_ONCE: usize = 3;

/// A scenario and the check that fails.
const BROKEN: &[(&str, &str)] = &[
    ("same-instant", "errors"),
    ("ttl-from-request", "lock-ttl"),
    ("waiter-outlives-ttl", "lock-liveness"),
    ("stale-holder", "stale-holders"),
    ("threads-exclude", "mutual-exclusion"),
    ("exception-in-batch", "queue-batches"),
    ("thief-in-batches", "mandatory-locks"),
    ("clock-behind", "mutual-exclusion"),
    ("clock-ahead", "stale-holders"),
];

/// The interpreter that `cargo xtask` sets up; none if it could not.
fn python() -> Option<PathBuf> {
    let found = match std::env::var_os("BEAVER_PYTHON") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python"),
    };
    let found = found.is_file().then_some(found);
    let required = std::env::var_os("BEAVER_REQUIRE_PYTHON").is_some();
    assert!(
        found.is_some() || !required,
        "there is no Python with beaver-db"
    );
    found
}

#[test]
fn what_1_3_0_breaks_is_found() {
    let Some(python) = python() else {
        eprintln!("left out: no Python with beaver-db 1.3.0 (`cargo xtask test` sets it up)");
        return;
    };
    let driver = PythonDriver::new("1.3.0", Some(python)).unwrap();
    let next = AtomicUsize::new(0);
    let next = || BROKEN.get(next.fetch_add(1, Ordering::Relaxed));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((program, check)) = next() {
                    let report = suite::run_named(
                        &driver,
                        program,
                        &Options::default(),
                        &Progress::default(),
                    );
                    let Outcome::Judged(judged) = report.unwrap().outcome else {
                        panic!("{program} did not run");
                    };
                    let result = judged
                        .results
                        .iter()
                        .find(|result| result.spec.name() == *check);
                    let result = result.unwrap_or_else(|| panic!("{program} has no check {check}"));
                    assert_eq!(result.verdict, Verdict::Fail, "{program}: {check}");
                    assert!(
                        !result.violations[0].operations.is_empty(),
                        "{program}: {check}"
                    );
                }
            });
        }
    });
}

#[test]
fn a_killed_holder_of_1_3_0_keeps_the_lock_for_its_time_to_live_which_is_its_promise() {
    let Some(python) = python() else {
        eprintln!("left out: no Python with beaver-db 1.3.0 (`cargo xtask test` sets it up)");
        return;
    };
    let driver = PythonDriver::new("1.3.0", Some(python)).unwrap();
    suite::assert(&driver, "killed-holder", &Options::default());
}
