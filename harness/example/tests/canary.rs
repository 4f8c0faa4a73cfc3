//! Would the suite notice? A store with a mistake that is often made: its lock looks whether it is
//! free, and then takes it.

use beaver_harness::check::{CheckResult, Verdict};
use beaver_harness::driver::{Embedded, Store};
use beaver_harness::protocol::{Capability, ErrorCode, Failure, Init, Op};
use beaver_harness::run::Progress;
use beaver_harness::suite::{Options, run_named};
use beaver_harness_example::Notes;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Locks are entries of a dictionary: absent if free.
struct LooksThenTakes(Notes);

impl LooksThenTakes {
    fn acquire(&mut self, key: String, timeout_ms: Option<u64>) -> Result<Value, Failure> {
        let began = Instant::now();
        let name = "locks".to_owned();
        let look = Op::DictGet {
            name: name.clone(),
            key: key.clone(),
        };
        while !self.0.call(&look)?.is_null() {
            if timeout_ms.is_some_and(|limit| began.elapsed() >= Duration::from_millis(limit)) {
                return Err(Failure::new(ErrorCode::Timeout, key));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // As far away as a server is.
        std::thread::sleep(Duration::from_millis(1));
        let value = json!(true);
        self.0.call(&Op::DictSet { name, key, value })
    }
}

impl Store for LooksThenTakes {
    const NAME: &'static str = "looks-then-takes";
    const CAPABILITIES: &'static [Capability] = &[Capability::Dict, Capability::Locks];

    fn open(init: &Init) -> Result<Self, Failure> {
        Notes::open(init).map(Self)
    }

    fn call(&mut self, op: &Op) -> Result<Value, Failure> {
        match op {
            Op::LockAcquire {
                lock, timeout_ms, ..
            } => self.acquire(lock.to_string(), *timeout_ms),
            Op::LockRelease { lock } => self.0.call(&Op::DictDelete {
                name: "locks".to_owned(),
                key: lock.to_string(),
            }),
            op => self.0.call(op),
        }
    }
}

fn found_by(program: &str) -> Vec<&'static str> {
    let driver = Embedded::<LooksThenTakes>::new();
    let options = Options::for_tests();
    let report = match run_named(&driver, program, &options, &Progress::default()) {
        Ok(report) => report,
        Err(message) => panic!("{message}"),
    };
    let Some(judged) = report.judged() else {
        panic!("{program}: {}", report.word());
    };
    assert_eq!(judged.verdict(), Verdict::Fail, "seed {}", options.seed);
    let violated = |result: &&CheckResult| result.verdict == Verdict::Fail;
    let failed = judged.results.iter().filter(violated);
    failed.map(|result| result.spec.name()).collect()
}

#[test]
fn a_lock_that_two_can_hold_is_found() {
    let found = found_by("lock-exclusion");
    assert!(found.contains(&"mutual-exclusion"), "{found:?}");
}

#[test]
fn increments_that_it_loses_are_found() {
    let found = found_by("dict-increment");
    assert!(found.contains(&"counter"), "{found:?}");
}
