//! The core, compiled natively, over SQLite's own operating-system layer.
//!
//! What must stay true: a connection belongs to one thread, so each client is a thread. Don't
//! use it in a process that opens the same file in another way: SQLite's POSIX locks vanish
//! whenever anybody in the process closes the file. `beaver-harness serve native` has
//! processes of its own for it (see [`super::own`]).

use super::beaver::{
    self, LOOK_EVERY, PAGE, Settings, Waiting, count_text, json, optional, session, text,
};
use super::{Answer, Client, Driver, Ending, Process, threaded};
use crate::protocol::{Description, ErrorCode, Failure, Init, LockKind, LockName, Op, VERSION};
use anyhow::bail;
use beaver_core as db;
use beaver_core::Error as EngineError;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The native build, in this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct NativeDriver;

impl Driver for NativeDriver {
    fn name(&self) -> String {
        "native".into()
    }

    fn start(&self, init: &Init) -> anyhow::Result<Arc<dyn Process>> {
        let settings = Settings::read(&init.settings)?;
        if init.database.to_str().is_none() {
            bail!("{} is not UTF-8", init.database.display());
        }
        Ok(Arc::new(NativeProcess {
            description: Description {
                protocol: VERSION,
                name: "beaver-core".into(),
                version: env!("CARGO_PKG_VERSION").into(),
                capabilities: beaver::capabilities(&settings, false),
            },
            database: init.database.clone(),
            clock: Clock {
                offset_s: millis_to_seconds(init.clock_offset_ms),
                step_s: millis_to_seconds(
                    i64::try_from(init.clock_resolution_ms).unwrap_or(i64::MAX),
                ),
            },
            settings,
        }))
    }

    fn has_processes(&self) -> bool {
        false
    }
}

struct NativeProcess {
    description: Description,
    database: PathBuf,
    clock: Clock,
    settings: Settings,
}

impl Process for NativeProcess {
    fn description(&self) -> &Description {
        &self.description
    }

    fn open(&self, client: u32) -> Result<Box<dyn Client>, Failure> {
        let (path, settings) = (self.database.clone(), self.settings.clone());
        let clock = self.clock;
        threaded::open(client, move || Session::open(&path, &settings, clock))
    }

    fn kill(&self) -> anyhow::Result<Ending> {
        bail!("the native build in this process is no process of its own")
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

fn failure(error: EngineError) -> Failure {
    Failure {
        error: code(&error),
        definite: error.outcome() == db::Outcome::NotApplied,
        message: error.to_string(),
    }
}

/// How a wall clock is wrong.
#[derive(Clone, Copy, Debug)]
struct Clock {
    offset_s: f64,
    /// Readings are rounded down to a multiple; 0: they aren't.
    step_s: f64,
}

/// The system's clocks with a wall clock that is wrong.
struct Skewed {
    system: db::SystemRuntime,
    clock: Clock,
}

impl db::Runtime for Skewed {
    fn unix_seconds(&self) -> f64 {
        let now = self.system.unix_seconds() + self.clock.offset_s;
        if self.clock.step_s > 0.0 {
            (now / self.clock.step_s).floor() * self.clock.step_s
        } else {
            now
        }
    }
    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }
    fn random(&self) -> u128 {
        self.system.random()
    }
    fn secure_random(&self) -> db::Result<u128> {
        self.system.secure_random()
    }
    fn sleep(&self, duration: Duration) {
        self.system.sleep(duration);
    }
    fn claim(&self, connection: &rusqlite::Connection, tokens: Range<u64>) -> bool {
        self.system.claim(connection, tokens)
    }
    fn end_claim(&self, connection: &rusqlite::Connection, token: u64) -> bool {
        self.system.end_claim(connection, token)
    }
    fn end_claims(&self, connection: &rusqlite::Connection) {
        self.system.end_claims(connection);
    }
    fn is_claimed(&self, connection: &rusqlite::Connection, token: u64) -> Option<bool> {
        self.system.is_claimed(connection, token)
    }
    fn is_same_file(&self, one: &str, other: &str) -> bool {
        self.system.is_same_file(one, other)
    }
    fn explain_cannot_open(&self, path: &str) -> EngineError {
        self.system.explain_cannot_open(path)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a clock that is off by 2^53 ms may be off by one more"
)]
fn millis_to_seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

struct Engine {
    database: db::Database,
    began: Instant,
}

impl Engine {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    async fn nap(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

macro_rules! call {
    ($e:ident, $handle:ident.acquire($options:expr)) => {
        $handle.acquire(&$options).map_err(failure)?
    };
    ($e:ident, $handle:ident.fencing_token()) => {
        $handle.fencing_token()
    };
    ($e:ident, $handle:ident.$method:ident($($argument:expr),*)) => {
        $handle.$method($($argument),*).map_err(failure)?
    };
}

macro_rules! open {
    ($e:ident, begin) => {
        $e.database.begin().map_err(failure)?
    };
    ($e:ident, $kind:ident($name:expr)) => {
        $e.database.$kind($name).map_err(failure)?
    };
}

session!(db, Engine, call, open);

impl Session {
    fn open(path: &Path, settings: &Settings, clock: Clock) -> Result<Self, Failure> {
        let options = db::Options {
            guard_mode: if settings.advisory {
                db::GuardMode::Advisory
            } else {
                db::GuardMode::Mandatory
            },
            durability: if settings.full_durability {
                db::Durability::Full
            } else {
                db::Durability::Normal
            },
            journal: if settings.rollback_journal {
                db::JournalChoice::Rollback
            } else {
                db::JournalChoice::Automatic
            },
            busy_timeout: settings.busy_timeout,
            lock_wait: settings.lock_wait,
            ..db::Options::default()
        };
        let runtime = Rc::new(Skewed {
            system: db::SystemRuntime::new(),
            clock,
        });
        let path = path.to_str().unwrap_or_default();
        let database = db::Database::open_with(path, &options, runtime).map_err(failure)?;
        Ok(Self {
            handles: Handles::default(),
            engine: Engine {
                database,
                began: Instant::now(),
            },
            lock_wait: settings.lock_wait,
        })
    }
}

impl threaded::Session for Session {
    fn call(&mut self, op: &Op, certify: bool) -> Answer {
        finish(Session::call(self, op, certify))
    }

    fn close(self) -> Result<(), Failure> {
        drop(self);
        Ok(())
    }
}

/// The result of a future that never waits for another: here waiting blocks.
fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
    }
}
