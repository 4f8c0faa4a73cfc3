//! The component, in this process: each client is an instance of one host.
//!
//! Any component that exports `beaver:db` will do. What must stay true: a client's instance is
//! driven by whoever calls; somebody else ends it only by what the host offers for that
//! (dropping the call's future, making the guest trap), and never while it is being driven.

use super::beaver::{
    self, LOOK_EVERY, PAGE, Settings, Waiting, count_text, json, optional, session, text,
};
use super::{Abandon, Answer, Client, Driver, Ending, Process, ended, gone, waits_for_ever};
use crate::protocol::{Description, ErrorCode, Failure, Init, LockKind, LockName, Op, VERSION};
use anyhow::{Context as _, bail};
use beaver_host::client as db;
use beaver_host::client::DbError as EngineError;
use beaver_host::{Grant, Host, Interrupter};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// The component in this process. Compiled when it is first started.
pub struct ComponentDriver {
    component: PathBuf,
    host: Mutex<Option<Host>>,
}

impl ComponentDriver {
    /// The component in a file; by default [`beaver_host::default_component_path`].
    pub fn new(component: Option<PathBuf>) -> Self {
        Self {
            component: component.unwrap_or_else(beaver_host::default_component_path),
            host: Mutex::new(None),
        }
    }

    fn host(&self) -> anyhow::Result<Host> {
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = &*host {
            return Ok(host.clone());
        }
        let built = Host::builder().component_file(&self.component).build()?;
        Ok(host.insert(built).clone())
    }
}

impl Driver for ComponentDriver {
    fn name(&self) -> String {
        "component".into()
    }

    fn start(&self, init: &Init) -> anyhow::Result<Arc<dyn Process>> {
        let settings = Settings::read(&init.settings)?;
        let path = &init.database;
        let folder = path.parent().context("the database needs a folder")?;
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            bail!("{} is no file name in UTF-8", path.display());
        };
        // A relative name alone has an empty folder.
        let folder = if folder.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            folder.to_owned()
        };
        Grant::directory(&folder)?;
        Ok(Arc::new(ComponentProcess {
            description: Description {
                protocol: VERSION,
                name: "beaver-wasm".into(),
                version: env!("CARGO_PKG_VERSION").into(),
                capabilities: beaver::capabilities(&settings, true),
            },
            host: self.host()?,
            folder,
            name: name.to_owned(),
            clock_offset_ms: init.clock_offset_ms,
            clock_resolution_ms: init.clock_resolution_ms,
            settings,
        }))
    }

    fn has_processes(&self) -> bool {
        false
    }
}

struct ComponentProcess {
    description: Description,
    host: Host,
    folder: PathBuf,
    name: String,
    clock_offset_ms: i64,
    clock_resolution_ms: u64,
    settings: Settings,
}

impl Process for ComponentProcess {
    fn description(&self) -> &Description {
        &self.description
    }

    fn open(&self, _client: u32) -> Result<Box<dyn Client>, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| Failure::new(ErrorCode::Failed, format!("a runtime: {error}")))?;
        let session = runtime.block_on(Session::open(self))?;
        Ok(Box::new(ComponentClient {
            given_up: false,
            seat: Arc::new(Seat {
                interrupter: session.engine.instance.interrupter(),
                cancelled: Notify::new(),
                live: Mutex::new(Some(Live { session, runtime })),
            }),
        }))
    }

    fn kill(&self) -> anyhow::Result<Ending> {
        bail!("the component in this process is no process of its own")
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

/// An instance and what drives it.
struct Live {
    session: Session,
    runtime: Runtime,
}

/// What a client and those who may abandon it share.
struct Seat {
    /// None once the client has ended. Locked while a call is under way.
    live: Mutex<Option<Live>>,
    cancelled: Notify,
    interrupter: Interrupter,
}

impl Seat {
    fn live(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ComponentClient {
    given_up: bool,
    seat: Arc<Seat>,
}

impl Client for ComponentClient {
    fn call(&mut self, op: &Op, certify: bool, patience: Duration) -> Answer {
        let mut guard = self.seat.live();
        let Some(Live { session, runtime }) = &mut *guard else {
            return Err(ended("the client has ended"));
        };
        let limit = super::limit(op, patience);
        let mut late = false;
        let answer = runtime.block_on(async {
            let too_long = async {
                match limit {
                    Some(limit) => tokio::time::sleep(limit).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // A permit is kept, so it is no matter who comes first.
                () = self.seat.cancelled.notified() => Err(gone("the client was dropped")),
                answer = session.call(op, certify) => answer,
                () = too_long => {
                    late = true;
                    Err(gone("no answer in time"))
                }
            }
        });
        self.given_up = late && waits_for_ever(op);
        if matches!(&answer, Err(failure) if failure.error == ErrorCode::Gone) {
            *guard = None;
        }
        answer
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        let Some(Live { session, runtime }) = self.seat.live().take() else {
            return Err(ended("the client has ended"));
        };
        let Session {
            handles, engine, ..
        } = session;
        drop(handles);
        let Engine { instance, database } = engine;
        drop(database);
        runtime.block_on(instance.close()).map_err(failure)
    }

    fn was_given_up(&self) -> bool {
        self.given_up
    }

    fn abandoner(&self) -> Arc<dyn Abandon> {
        Arc::<Seat>::clone(&self.seat)
    }
}

impl Abandon for Seat {
    fn abandon(&self, trap: bool) -> Result<(), Failure> {
        if trap {
            self.interrupter.interrupt();
        } else {
            self.cancelled.notify_one();
        }
        // A call under way ends now, and lets go of this.
        let live = self.live().take();
        if let Some(Live {
            mut session,
            runtime,
        }) = live
            && trap
        {
            // It was idle: its guest traps in this call.
            let Engine { instance, database } = &mut session.engine;
            let _ = runtime.block_on(database.journal(instance));
        }
        Ok(())
    }
}

fn failure(error: beaver_host::Error) -> Failure {
    let definite = error.outcome() == db::Outcome::NotApplied;
    Failure {
        error: match &error {
            beaver_host::Error::Db(error) => code(error),
            error if error.is_fatal() => ErrorCode::Gone,
            _ => ErrorCode::Failed,
        },
        definite,
        message: error.to_string(),
    }
}

struct Engine {
    database: db::Database,
    instance: beaver_host::Instance,
}

macro_rules! call {
    ($e:ident, $handle:ident.next_page($($argument:expr),*)) => {
        $handle.next(&mut $e.instance, $($argument),*).await.map_err(failure)?
    };
    ($e:ident, $handle:ident.$method:ident($($argument:expr),*)) => {
        $handle.$method(&mut $e.instance, $($argument),*).await.map_err(failure)?
    };
}

macro_rules! open {
    ($e:ident, begin) => {
        $e.instance
            .begin_transaction(&$e.database)
            .await
            .map_err(failure)?
    };
    ($e:ident, $kind:ident($name:expr)) => {
        $e.instance
            .$kind(&$e.database, $name)
            .await
            .map_err(failure)?
    };
}

macro_rules! nap {
    ($duration:expr) => {
        tokio::time::sleep($duration).await
    };
}

session!(db, Engine, call, open, nap);

impl Session {
    async fn open(process: &ComponentProcess) -> Result<Self, Failure> {
        let grant = Grant::directory(&process.folder)
            .map_err(|error| Failure::new(ErrorCode::Failed, format!("the folder: {error}")))?;
        let mut instance = process
            .host
            .instance(grant)
            .wall_clock_offset_ms(process.clock_offset_ms)
            .wall_clock_resolution_ms(process.clock_resolution_ms)
            .start()
            .await
            .map_err(failure)?;
        let settings = &process.settings;
        let options = db::OpenOptions {
            guard_mode: settings.advisory.then_some(db::GuardMode::Advisory),
            durability: settings.full_durability.then_some(db::Durability::Full),
            journal: settings.rollback_journal.then_some(db::Journal::Rollback),
            busy_timeout: Some(settings.busy_timeout),
            lock_wait: Some(settings.lock_wait),
            mode: None,
        };
        let database = instance
            .open(&process.name, &options)
            .await
            .map_err(failure)?;
        Ok(Self {
            handles: Handles::default(),
            engine: Engine { database, instance },
            lock_wait: settings.lock_wait,
        })
    }
}
