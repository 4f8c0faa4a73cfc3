//! The store in processes of its own, which are killed and stopped meanwhile: what was committed
//! stays, and what wasn't is not there.

use beaver_harness::driver::StdioDriver;
use beaver_harness::run::FaultKind;
use beaver_harness::suite::{self, Options};
use std::time::Duration;

fn assert_survives(workload: &str) {
    let driver = StdioDriver::new(env!("CARGO_BIN_EXE_serve-example")).named("notes");
    let mut options = Options::for_tests();
    options.run.faults = vec![FaultKind::Kill, FaultKind::Stop];
    options.run.fault_interval = Duration::from_millis(100);
    suite::assert(&driver, workload, &options);
}

#[test]
fn transfers_survive() {
    assert_survives("bank");
}

#[test]
fn transactions_survive() {
    assert_survives("dict-transactions");
}

#[test]
fn increments_survive() {
    assert_survives("dict-increment");
}
