//! The component, in this process: each client is an instance of one host.
//!
//! Any component that exports `beaver:db` will do. What must stay true: a client's instance is
//! driven by whoever calls; somebody else ends it only by what the host offers for that
//! (dropping the call's future, making the guest trap), and never while it is being driven.

use super::beaver::{self, Settings};
use super::instance::{InstanceSession, Pace, failure};
use super::{Abandon, Answer, Client, Driver, Ending, Process, ended, gone, waits_for_ever};
use crate::protocol::{Description, ErrorCode, Failure, Init, Op, VERSION};
use anyhow::{Context as _, bail};
use beaver_host::{Grant, Host, Interrupter};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
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

impl ComponentProcess {
    async fn session(&self) -> Result<InstanceSession, Failure> {
        let grant = Grant::directory(&self.folder)
            .map_err(|error| Failure::new(ErrorCode::Failed, format!("the folder: {error}")))?;
        let started = self.host.instance(grant);
        let instance = started
            .wall_clock_offset_ms(self.clock_offset_ms)
            .wall_clock_resolution_ms(self.clock_resolution_ms)
            .start()
            .await
            .map_err(failure)?;
        let pace = Arc::new(RealPace(Instant::now()));
        InstanceSession::open(instance, &self.name, &self.settings, pace).await
    }
}

/// Real time, on Tokio's timer.
struct RealPace(Instant);

impl Pace for RealPace {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn nap(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }
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
        let session = runtime.block_on(self.session())?;
        Ok(Box::new(ComponentClient {
            given_up: false,
            seat: Arc::new(Seat {
                interrupter: session.interrupter(),
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
    session: InstanceSession,
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
        runtime.block_on(session.close())
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
            runtime.block_on(session.enter());
        }
        Ok(())
    }
}
