//! A database in a folder of its own, and clients of a driver on it.

use beaver_harness::driver::{Answer, Client, ComponentDriver, Driver, Process, StdioDriver, own};
use beaver_harness::protocol::{Description, ErrorCode, Init, LockName, Op, VERSION};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than anything takes that isn't stuck.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The driver that serves the native build.
pub(crate) fn native() -> StdioDriver {
    own::native(Some(executable())).unwrap()
}

/// Does a test with each driver of ours.
pub(crate) fn each(test: impl Fn(&dyn Driver)) {
    let drivers: Vec<Box<dyn Driver>> = vec![
        Box::new(native()),
        Box::new(ComponentDriver::new(None)),
        Box::new(processes()),
    ];
    for driver in drivers {
        // Shown if the test fails.
        println!("with {}", driver.name());
        test(&*driver);
    }
}

/// The driver that serves the component.
pub(crate) fn processes() -> StdioDriver {
    own::processes(Some(executable()), None).unwrap()
}

pub(crate) fn executable() -> PathBuf {
    env!("CARGO_BIN_EXE_beaver-harness").into()
}

/// A folder for one database.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn init(&self) -> Init {
        Init {
            protocol: VERSION,
            database: self.0.path().join("store.db"),
            clock_offset_ms: 0,
            clock_resolution_ms: 0,
            settings: Map::new(),
        }
    }

    pub(crate) fn start(&self, driver: &dyn Driver) -> Arc<dyn Process> {
        driver.start(&self.init()).unwrap()
    }
}

/// A client for tests.
pub(crate) struct User(pub(crate) Box<dyn Client>);

impl User {
    pub(crate) fn of(process: &Arc<dyn Process>, number: u32) -> Self {
        Self(process.open(number).unwrap())
    }

    pub(crate) fn ask(&mut self, op: Op) -> Answer {
        self.0.call(&op, false, LONG)
    }

    pub(crate) fn ok(&mut self, op: Op) -> Value {
        let (value, commit) = self
            .ask(op.clone())
            .unwrap_or_else(|failure| panic!("{op:?}: {failure}"));
        assert_eq!(commit, None, "{op:?}");
        value
    }

    pub(crate) fn fails(&mut self, op: Op) -> ErrorCode {
        match self.ask(op.clone()) {
            Err(failure) => failure.error,
            Ok(answer) => panic!("{op:?}: {answer:?}"),
        }
    }

    /// The answer and its commit-order number.
    pub(crate) fn certified(&mut self, op: Op) -> (Value, u64) {
        match self.0.call(&op, true, LONG) {
            Ok((value, Some(commit))) => (value, commit),
            other => panic!("{op:?}: {other:?}"),
        }
    }
}

pub(crate) fn lock(name: &str) -> LockName {
    name.parse().unwrap()
}

pub(crate) fn acquire(name: &str, timeout_ms: Option<u64>) -> Op {
    Op::LockAcquire {
        lock: lock(name),
        timeout_ms,
        ttl_ms: None,
    }
}

pub(crate) fn release(name: &str) -> Op {
    Op::LockRelease { lock: lock(name) }
}

pub(crate) fn set(key: &str, value: impl Into<Value>) -> Op {
    Op::DictSet {
        name: "d".into(),
        key: key.into(),
        value: value.into(),
    }
}

pub(crate) fn get(key: &str) -> Op {
    Op::DictGet {
        name: "d".into(),
        key: key.into(),
    }
}

pub(crate) fn put(value: impl Into<Value>) -> Op {
    Op::QueuePut {
        name: "q".into(),
        value: value.into(),
        priority: 1.0,
    }
}

pub(crate) fn take(timeout_ms: Option<u64>) -> Op {
    Op::QueueGet {
        name: "q".into(),
        timeout_ms,
    }
}

/// Waits until so many hold or wait for a lock.
pub(crate) fn until_waiting(user: &mut User, name: &str, count: u64) {
    let start = Instant::now();
    loop {
        let waiting = user.ok(Op::LockWaiting { lock: lock(name) });
        if waiting.as_u64().unwrap() >= count {
            return;
        }
        assert!(start.elapsed() < LONG, "{name}: {waiting} wait");
    }
}

/// Everything but what `without` lists.
pub(crate) fn assert_offers_all_but(description: &Description, without: &[&str]) {
    use beaver_harness::protocol::Capability;
    let missing: Vec<_> = Capability::ALL
        .iter()
        .filter(|capability| !description.offers(**capability))
        .map(|capability| capability.name())
        .collect();
    assert_eq!(missing, without);
}
