//! Runs models, and planted faults, under loom.
//!
//! What must stay true: a model is a plain function that does the same in each
//! run but for the order of its threads' steps.

use std::cell::Cell;
use std::panic::{PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Instant;

/// How often threads are interrupted where they could have gone on, unless
/// `LOOM_MAX_PREEMPTIONS` says otherwise. Most faults need two at most.
const PREEMPTIONS: usize = 2;
/// When this variable is set, there is no such bound.
const EXHAUSTIVE_ENV: &str = "BEAVER_LOOM_EXHAUSTIVE";

/// Runs all interleavings of `model`; panics as it does.
pub fn passes(name: &str, model: fn()) {
    let start = Instant::now();
    let runs = run(model);
    report(name, &format!("{runs} interleavings"), start);
}

/// Runs `model`, which has a fault planted, and demands that it panics with a
/// message that has `says` in it.
pub fn catches(name: &str, model: fn(), says: &str) {
    quiet_when_expected();
    let start = Instant::now();
    let outcome = EXPECTED.with(|expected| {
        expected.set(true);
        let outcome = catch_unwind(|| run(model));
        expected.set(false);
        outcome
    });
    let panic = match outcome {
        Ok(runs) => panic!("the fault {name} got through {runs} interleavings"),
        Err(panic) => panic,
    };
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    assert!(
        message.contains(says),
        "the fault {name} was to be caught by {says:?}, not by {message:?}"
    );
    report(name, &format!("caught: {says}"), start);
}

fn run(model: fn()) -> usize {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let mut builder = loom::model::Builder::new();
    let exhaustive = std::env::var_os(EXHAUSTIVE_ENV).is_some();
    if builder.preemption_bound.is_none() && !exhaustive {
        builder.preemption_bound = Some(PREEMPTIONS);
    }
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    runs.load(Ordering::Relaxed)
}

fn report(name: &str, what: &str, start: Instant) {
    println!(
        "loom  {name:<60} {what} in {:.2} s",
        start.elapsed().as_secs_f64()
    );
}

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// A planted fault's panic is the result that was asked for: nobody wants to
/// read it among the test's output.
fn quiet_when_expected() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = take_hook();
        set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if !EXPECTED.with(Cell::get) {
                loud(info);
            }
        }));
    });
}
