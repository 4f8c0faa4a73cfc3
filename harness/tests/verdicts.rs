//! What a run comes to on drivers that can do less than the reference store, or answer otherwise.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_harness::catalog;
use beaver_harness::check::Verdict;
use beaver_harness::driver::reference::Reference;
use beaver_harness::driver::{Abandon, Answer, Client, Driver, Ending, Process};
use beaver_harness::protocol::{Capability, Description, ErrorCode, Failure, Init, Op};
use beaver_harness::report::{Judged, RunReport};
use beaver_harness::run::Progress;
use beaver_harness::suite::{Options, run_named};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What is said instead of the reference store's answer.
type Instead = fn(&Op, Answer) -> Answer;

/// The reference store, altered.
struct Altered {
    store: Reference,
    instead: Instead,
    /// What is left of its capabilities; none: all.
    only: Option<&'static [Capability]>,
}

impl Altered {
    fn new(instead: Instead) -> Self {
        Self {
            store: Reference::new(),
            instead,
            only: None,
        }
    }

    fn only(capabilities: &'static [Capability]) -> Self {
        Self {
            only: Some(capabilities),
            ..Self::new(|_, answer| answer)
        }
    }
}

impl Driver for Altered {
    fn name(&self) -> String {
        "altered".into()
    }

    fn start(&self, init: &Init) -> anyhow::Result<Arc<dyn Process>> {
        let inner = self.store.start(init)?;
        let mut description = inner.description().clone();
        if let Some(only) = self.only {
            description.capabilities = only.to_vec();
        }
        Ok(Arc::new(Started {
            inner,
            description,
            instead: self.instead,
        }))
    }

    fn has_processes(&self) -> bool {
        false
    }
}

struct Started {
    inner: Arc<dyn Process>,
    description: Description,
    instead: Instead,
}

impl Process for Started {
    fn description(&self) -> &Description {
        &self.description
    }

    fn open(&self, client: u32) -> Result<Box<dyn Client>, Failure> {
        Ok(Box::new(Open {
            inner: self.inner.open(client)?,
            description: self.description.clone(),
            instead: self.instead,
        }))
    }

    fn kill(&self) -> anyhow::Result<Ending> {
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
    description: Description,
    instead: Instead,
}

impl Client for Open {
    fn call(&mut self, op: &Op, certify: bool, patience: Duration) -> Answer {
        if !self.description.offers(op.capability()) {
            return Err(Failure::new(ErrorCode::Unsupported, op.name()));
        }
        (self.instead)(op, self.inner.call(op, certify, patience))
    }

    fn was_given_up(&self) -> bool {
        self.inner.was_given_up()
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        self.inner.close()
    }

    fn abandoner(&self) -> Arc<dyn Abandon> {
        self.inner.abandoner()
    }
}

fn run(driver: &dyn Driver, name: &str) -> RunReport {
    run_within(Options::default().run.patience, driver, name)
}

/// Where somebody waits for what doesn't come, and comes no sooner by waiting longer.
fn run_in_vain(driver: &dyn Driver, name: &str) -> RunReport {
    run_within(Duration::from_millis(300), driver, name)
}

fn run_within(patience: Duration, driver: &dyn Driver, name: &str) -> RunReport {
    let mut options = Options {
        workers: 3,
        ..Options::default()
    };
    options.run.steps_max = Some(6);
    options.run.patience = patience;
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
        // Somebody holds it at the time, so this can't be right.
        let wrong = run_in_vain(&Altered::new(nobody), name);
        let why = wrong.judged().and_then(Judged::first_violation);
        assert_eq!(wrong.verdict(), Some(Verdict::Fail), "{name}");
        assert!(
            why.is_some_and(|why| why.contains("though it was held")),
            "{name}: {why:?}"
        );
        let why = why_unknown(&run_in_vain(&Altered::new(silent), name));
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

#[test]
fn a_driver_that_offers_little_is_tried_with_what_it_offers() {
    use Capability::{Dict, Queue, Transactions};
    let registers = ["dict-operations"];
    let units = ["dict-transactions", "bank", "write-skew"];
    let items = ["queue-delivery", "queue-timeouts", "plain-gets"];
    let batches = ["exception-in-batch"];
    for (capabilities, expected) in [
        (&[Dict][..], [&registers[..], &[]]),
        (&[Dict, Transactions], [&registers, &units]),
        (&[Queue], [&items, &[]]),
        (&[Queue, Transactions], [&items, &batches]),
    ] {
        let driver = Altered::only(capabilities);
        let mut ran = BTreeSet::new();
        for entry in catalog::all() {
            let report = run(&driver, &entry.name);
            match report.verdict() {
                None => {}
                Some(verdict) => {
                    let why = report.judged().and_then(Judged::first_violation);
                    assert_eq!(verdict, Verdict::Pass, "{}: {why:?}", entry.name);
                    ran.insert(entry.name);
                }
            }
        }
        let expected: BTreeSet<String> = expected.concat().into_iter().map(Into::into).collect();
        assert_eq!(ran, expected, "{capabilities:?}");
    }
}
