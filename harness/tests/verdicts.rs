//! What a run comes to on drivers that can do less than the reference store, or answer otherwise.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_harness::check::Verdict;
use beaver_harness::driver::reference::Reference;
use beaver_harness::driver::{Abandon, Answer, Client, Driver, Process};
use beaver_harness::protocol::{Description, ErrorCode, Failure, Init, Op};
use beaver_harness::report::{Judged, RunReport};
use beaver_harness::run::Progress;
use beaver_harness::suite::{Options, run_named};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// What is said instead of the reference store's answer.
type Instead = fn(&Op, Answer) -> Answer;

/// The reference store, altered.
struct Altered {
    store: Reference,
    instead: Instead,
}

impl Altered {
    fn new(instead: Instead) -> Self {
        Self {
            store: Reference::new(),
            instead,
        }
    }
}

impl Driver for Altered {
    fn name(&self) -> String {
        "altered".into()
    }

    fn start(&self, init: &Init) -> anyhow::Result<Arc<dyn Process>> {
        let inner = self.store.start(init)?;
        Ok(Arc::new(Started {
            inner,
            instead: self.instead,
        }))
    }

    fn has_processes(&self) -> bool {
        false
    }
}

struct Started {
    inner: Arc<dyn Process>,
    instead: Instead,
}

impl Process for Started {
    fn description(&self) -> &Description {
        self.inner.description()
    }

    fn open(&self, client: u32) -> Result<Box<dyn Client>, Failure> {
        Ok(Box::new(Open {
            inner: self.inner.open(client)?,
            instead: self.instead,
        }))
    }

    fn kill(&self) -> anyhow::Result<()> {
        self.inner.kill()
    }

    fn stop(&self) -> anyhow::Result<()> {
        self.inner.stop()
    }

    fn resume(&self) -> anyhow::Result<()> {
        self.inner.resume()
    }

    fn notes(&self) -> String {
        self.inner.notes()
    }
}

struct Open {
    inner: Box<dyn Client>,
    instead: Instead,
}

impl Client for Open {
    fn call(&mut self, op: &Op, certify: bool, patience: Duration) -> Answer {
        (self.instead)(op, self.inner.call(op, certify, patience))
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        self.inner.close()
    }

    fn abandoner(&self) -> Arc<dyn Abandon> {
        self.inner.abandoner()
    }
}

fn run(driver: &dyn Driver, name: &str) -> RunReport {
    let mut options = Options {
        workers: 3,
        ..Options::default()
    };
    options.run.steps_max = Some(6);
    // What doesn't come doesn't come sooner by waiting longer.
    options.run.patience = Duration::from_millis(300);
    run_named(driver, name, &options, &Progress::default()).unwrap()
}

fn why_unknown(report: &RunReport) -> String {
    let why = report.judged().and_then(Judged::why_unknown);
    why.unwrap_or_else(|| panic!("{}: {}", report.program, report.word()))
}

#[test]
fn a_line_that_was_never_seen_leaves_no_pass() {
    let nobody: Instead = |op, answer| match op {
        Op::LockWaiting { .. } => Ok((json!(0), None)),
        _ => answer,
    };
    let silent: Instead = |op, answer| match op {
        Op::LockWaiting { .. } => Err(Failure::new(ErrorCode::Failed, "no such table")),
        _ => answer,
    };
    for name in ["ttl-from-request", "lock-fifo"] {
        let why = why_unknown(&run(&Altered::new(nobody), name));
        assert!(why.contains("in the line of lock:"), "{name}: {why}");
        let why = why_unknown(&run(&Altered::new(silent), name));
        assert!(why.contains("no such table"), "{name}: {why}");
        let right = run(&Reference::new(), name);
        assert_eq!(right.verdict(), Some(Verdict::Pass), "{name}");
    }
}

#[test]
fn a_line_that_the_end_of_the_run_broke_up_is_nobodys_fault() {
    let options = Options {
        duration: Duration::from_millis(100),
        ..Options::default()
    };
    let report = run_named(
        &Reference::new(),
        "lock-fifo",
        &options,
        &Progress::default(),
    );
    assert_eq!(report.unwrap().verdict(), Some(Verdict::Pass));
}
