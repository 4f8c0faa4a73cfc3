//! A store in Rust, in this process: what a `cargo test` user writes.
//!
//! What must stay true: what can't be done to a client on a thread is not offered, whatever the
//! store says; a store whose operations don't come back, or panic, ends no run but its client.

use super::threaded::{self, Session};
use super::{Answer, Client, Driver, Ending, Process};
use crate::protocol::{Capability, Description, ErrorCode, Failure, Init, Op, VERSION};
use anyhow::bail;
use serde_json::Value;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One client of a store under test: a connection, a handle. Clients of the same database are
/// opened on threads of their own and stay there, so it need not be [`Send`].
///
/// A panic ends the client; its operation counts as one that may have happened.
///
/// ```
/// use beaver_harness::driver::{Embedded, Store};
/// use beaver_harness::protocol::{Capability, ErrorCode, Failure, Init, Op};
/// use serde_json::{Value, json};
/// # struct MyStore; impl MyStore {
/// # fn at(_: &std::path::Path) -> Result<Self, String> { Ok(Self) }
/// # fn get(&self, _: &str, _: &str) -> Result<Value, String> { Ok(Value::Null) }
/// # fn set(&mut self, _: &str, _: &str, _: &Value) -> Result<(), String> { Ok(()) }
/// # fn delete(&mut self, _: &str, _: &str) -> Result<bool, String> { Ok(false) } }
///
/// struct Client(MyStore);
///
/// impl Store for Client {
///     const NAME: &'static str = "my-store";
///     const CAPABILITIES: &'static [Capability] = &[Capability::Dict];
///
///     fn open(init: &Init) -> Result<Self, Failure> {
///         MyStore::at(&init.database).map(Self).map_err(failed)
///     }
///
///     fn call(&mut self, op: &Op) -> Result<Value, Failure> {
///         match op {
///             Op::DictGet { name, key } => self.0.get(name, key).map_err(failed),
///             Op::DictSet { name, key, value } => {
///                 self.0.set(name, key, value).map_err(failed)?;
///                 Ok(Value::Null)
///             }
///             Op::DictDelete { name, key } => {
///                 Ok(json!(self.0.delete(name, key).map_err(failed)?))
///             }
///             _ => Err(Failure::new(ErrorCode::Unsupported, op.name())),
///         }
///     }
/// }
///
/// // Nobody knows whether it happened: codes such as `Timeout` or `Conflict` say that it didn't.
/// fn failed(error: String) -> Failure {
///     Failure::new(ErrorCode::Failed, error)
/// }
///
/// let driver = Embedded::<Client>::new();
/// ```
pub trait Store: Sized + 'static {
    /// What it is called in reports.
    const NAME: &'static str;

    /// Its version, in reports.
    const VERSION: &'static str = "";

    /// What it offers; what isn't listed is never asked for. [`Capability::Clients`] goes without
    /// saying; [`Capability::Drop`] and [`Capability::Trap`] can't be offered in this way.
    const CAPABILITIES: &'static [Capability];

    /// A client of the database at `init.database`, which may not exist yet. Several may come at
    /// once.
    ///
    /// # Errors
    /// It can't be opened now; it is tried again for some seconds.
    fn open(init: &Init) -> Result<Self, Failure>;

    /// Does one operation as `PROTOCOL.md` says, and returns its result. Blocks for as long as the
    /// operation waits; other clients go on.
    ///
    /// # Errors
    /// It failed. If in doubt whether it happened, it is a [`Failure`] that is not definite:
    /// a wrong "definite" makes the harness report a fault that isn't there.
    fn call(&mut self, op: &Op) -> Result<Value, Failure>;

    /// Does one operation and returns its place in commit order too. Only asked for with
    /// [`Capability::Certificates`].
    ///
    /// # Errors
    /// As [`call`](Self::call).
    fn call_certified(&mut self, op: &Op) -> Result<(Value, u64), Failure> {
        let why = format!("{} has no certificates", Self::NAME);
        Err(Failure::new(
            ErrorCode::Unsupported,
            format!("{}: {why}", op.name()),
        ))
    }

    /// Ends the client in good order: locks are given back. By default it is dropped.
    ///
    /// # Errors
    /// It could not be; it is no more all the same.
    fn close(self) -> Result<(), Failure> {
        Ok(())
    }
}

/// A [`Store`] as a [`Driver`], in this process.
///
/// An operation that isn't done in time can't be ended from outside: its thread is left behind,
/// and the client is gone, as after a kill. A process in this process can't be killed or stopped
/// either; for that, [`serve`](super::serve::serve) it in a binary of its own:
///
/// ```no_run
/// # use beaver_harness::driver::{Embedded, Store};
/// # fn example<MyStore: Store>() -> anyhow::Result<()> {
/// // src/bin/serve.rs, all of `main`:
/// beaver_harness::driver::serve::serve(&Embedded::<MyStore>::new())
/// # }
/// ```
///
/// ```no_run
/// # use beaver_harness::run::{FaultKind, Settings};
/// use beaver_harness::driver::StdioDriver;
/// use beaver_harness::suite::{self, Options};
///
/// // In tests/: env!("CARGO_BIN_EXE_serve")
/// let driver = StdioDriver::new("target/debug/serve");
/// let mut options = Options::for_tests();
/// options.run.faults = vec![FaultKind::Kill, FaultKind::Stop];
/// suite::assert(&driver, "bank", &options);
/// ```
pub struct Embedded<S> {
    // A driver has no store; its clients have.
    store: PhantomData<fn() -> S>,
}

impl<S: Store> Embedded<S> {
    /// The driver.
    pub const fn new() -> Self {
        Self { store: PhantomData }
    }
}

impl<S: Store> Default for Embedded<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Store> std::fmt::Debug for Embedded<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Embedded").field(&S::NAME).finish()
    }
}

impl<S: Store> Driver for Embedded<S> {
    fn name(&self) -> String {
        S::NAME.to_owned()
    }

    fn start(&self, init: &Init) -> anyhow::Result<Arc<dyn Process>> {
        let possible = |capability: &Capability| {
            !matches!(
                capability,
                Capability::Drop | Capability::Trap | Capability::Clients
            )
        };
        let mut capabilities: Vec<_> = S::CAPABILITIES.iter().copied().filter(possible).collect();
        capabilities.push(Capability::Clients);
        Ok(Arc::new(Here::<S> {
            description: Description {
                protocol: VERSION,
                name: S::NAME.to_owned(),
                version: S::VERSION.to_owned(),
                capabilities,
            },
            init: init.clone(),
            stuck: AtomicBool::new(false),
            store: PhantomData,
        }))
    }

    fn has_processes(&self) -> bool {
        false
    }
}

/// What stands for a process.
struct Here<S> {
    description: Description,
    init: Init,
    /// Opening took for ever once: whoever tries again need not wait again.
    stuck: AtomicBool,
    store: PhantomData<fn() -> S>,
}

impl<S: Store> Process for Here<S> {
    fn description(&self) -> &Description {
        &self.description
    }

    fn open(&self, client: u32) -> Result<Box<dyn Client>, Failure> {
        if self.stuck.load(Ordering::Relaxed) {
            let why = format!(
                "opening once took more than {} s",
                threaded::LIMIT.as_secs()
            );
            return Err(Failure::new(ErrorCode::Failed, why));
        }
        let init = self.init.clone();
        let began = std::time::Instant::now();
        let opened = threaded::open(client, move || S::open(&init).map(Hosted));
        if opened.is_err() && began.elapsed() >= threaded::LIMIT {
            self.stuck.store(true, Ordering::Relaxed);
        }
        opened
    }

    fn kill(&self) -> anyhow::Result<Ending> {
        bail!("{} in this process is no process of its own", S::NAME)
    }

    fn stop(&self) -> anyhow::Result<()> {
        self.kill().map(drop)
    }

    fn resume(&self) -> anyhow::Result<()> {
        self.kill().map(drop)
    }

    fn notes(&self) -> String {
        String::new()
    }
}

/// A store on its thread.
struct Hosted<S>(S);

impl<S: Store> Session for Hosted<S> {
    fn call(&mut self, op: &Op, certify: bool) -> Answer {
        if certify {
            let (value, commit) = self.0.call_certified(op)?;
            Ok((value, Some(commit)))
        } else {
            self.0.call(op).map(|value| (value, None))
        }
    }

    fn close(self) -> Result<(), Failure> {
        self.0.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    /// Answers with what is asked of it: `wait` for ever, `panic`, anything else.
    struct Odd;

    impl Store for Odd {
        const NAME: &'static str = "odd";
        const CAPABILITIES: &'static [Capability] =
            &[Capability::Dict, Capability::Drop, Capability::Certificates];

        fn open(init: &Init) -> Result<Self, Failure> {
            if init.settings.contains_key("closed") {
                return Err(Failure::new(ErrorCode::Busy, "closed today"));
            }
            Ok(Self)
        }

        fn call(&mut self, op: &Op) -> Result<Value, Failure> {
            match op {
                Op::DictGet { key, .. } if key == "wait" => loop {
                    std::thread::park();
                },
                Op::DictGet { key, .. } if key == "panic" => panic!("as it was told"),
                Op::DictGet { key, .. } => Ok(json!(key)),
                _ => Err(Failure::new(ErrorCode::Unsupported, op.name())),
            }
        }
    }

    fn get(key: &str) -> Op {
        Op::DictGet {
            name: "d".into(),
            key: key.into(),
        }
    }

    fn start(settings: Value) -> Arc<dyn Process> {
        let init = Init {
            protocol: VERSION,
            database: "store.db".into(),
            clock_offset_ms: 0,
            clock_resolution_ms: 0,
            settings: settings.as_object().unwrap().clone(),
        };
        Embedded::<Odd>::new().start(&init).unwrap()
    }

    const PATIENT: Duration = Duration::from_secs(60);

    #[test]
    fn only_what_is_possible_on_a_thread_is_offered() {
        let process = start(json!({}));
        let offers = |capability| process.description().offers(capability);
        assert!(offers(Capability::Dict) && offers(Capability::Clients));
        assert!(!offers(Capability::Drop));
        assert!(process.kill().is_err() && process.stop().is_err());
        assert!(process.open(0).unwrap().abandoner().abandon(false).is_err());
    }

    #[test]
    fn a_client_that_does_not_come_back_or_panics_is_gone_and_the_others_go_on() {
        let process = start(json!({}));
        for (key, patience) in [("wait", Duration::ZERO), ("panic", PATIENT)] {
            let mut client = process.open(0).unwrap();
            let failure = client.call(&get(key), false, patience).unwrap_err();
            assert_eq!((failure.error, failure.definite), (ErrorCode::Gone, false));
            // What wasn't even begun has not happened.
            let failure = client.call(&get("a"), false, patience).unwrap_err();
            assert_eq!((failure.error, failure.definite), (ErrorCode::Gone, true));
            assert!(client.close().is_err());
        }
        let mut other = process.open(0).unwrap();
        let answer = other.call(&get("a"), false, PATIENT);
        assert_eq!(answer.unwrap(), (json!("a"), None));
        let uncertified = other.call(&get("a"), true, PATIENT).unwrap_err();
        assert_eq!(uncertified.error, ErrorCode::Unsupported);
        other.close().unwrap();
    }

    #[test]
    fn what_opening_says_is_passed_on() {
        let refused = start(json!({"closed": true})).open(0).map(drop);
        assert_eq!(refused.unwrap_err().error, ErrorCode::Busy);
    }
}
