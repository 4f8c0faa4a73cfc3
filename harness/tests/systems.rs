//! Our own builds keep what they promise: every workload and every scenario, with all the faults that
//! each can take.
//!
//! Short, because it is run each time: `beaver-harness run --faults all --for 600` is the long form.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_harness::catalog;
use beaver_harness::driver::{ComponentDriver, Driver, own};
use beaver_harness::run::{FaultKind, Settings};
use beaver_harness::suite::{self, Options};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const HARNESS: &str = env!("CARGO_BIN_EXE_beaver-harness");

/// How many programs run at once: many of them sleep most of the time.
const AT_ONCE: usize = 4;

fn all(driver: &(dyn Driver + Sync), faults: &[FaultKind]) {
    let options = Options {
        workers: 4,
        seed: 1,
        duration: Duration::from_millis(400),
        run: Settings {
            faults: faults.to_vec(),
            fault_interval: Duration::from_millis(150),
            helper: Some(HARNESS.into()),
            ..Settings::default()
        },
        ..Options::default()
    };
    let programs = catalog::all();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(program) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    suite::assert(driver, &program.name, &options);
                }
            });
        }
    });
}

#[test]
fn the_component_in_one_process() {
    let driver = ComponentDriver::new(None);
    all(
        &driver,
        &[FaultKind::Drop, FaultKind::Trap, FaultKind::BusyWriter],
    );
}

#[test]
fn the_component_in_processes() {
    let driver = own::processes(Some(PathBuf::from(HARNESS)), None).unwrap();
    all(&driver, &FaultKind::ALL);
}

#[test]
fn the_native_build() {
    let driver = own::native(Some(PathBuf::from(HARNESS))).unwrap();
    let faults = [
        FaultKind::Kill,
        FaultKind::Stop,
        FaultKind::Clock,
        FaultKind::BusyWriter,
    ];
    all(&driver, &faults);
}
