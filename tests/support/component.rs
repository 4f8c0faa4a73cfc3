//! The component, called from plain synchronous tests.
//!
//! One host per test process compiles the component once; each store has an
//! instance of its own and a current-thread runtime to drive it.

use crate::{Error, JournalChoice, OpenMode, Options, Outcome, Result};
use beaver_host::Grant;
use beaver_host::client::{self, DbError};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::OnceLock;

pub use beaver_host::Host;

/// The host that this process's tests share.
///
/// # Panics
/// When the component isn't built: `cargo xtask test` builds it.
pub fn component_host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        Host::builder()
            .max_instances(200)
            .build()
            .unwrap_or_else(|error| panic!("the component's host: {error}"))
    })
}

/// A running instance and what drives it.
pub(crate) struct Instance {
    runtime: tokio::runtime::Runtime,
    instance: beaver_host::Instance,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").finish_non_exhaustive()
    }
}

impl Instance {
    /// Starts an instance that may use `path`'s directory.
    pub(crate) fn start(path: &Path) -> Result<Self> {
        let directory = path.parent().ok_or(Error::NotFound)?;
        let grant = Grant::directory(directory).map_err(|error| fatal(&error))?;
        Self::start_in(component_host(), grant)
    }

    fn start_in(host: &Host, grant: Grant) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| fatal(&error))?;
        let instance = runtime.block_on(host.instantiate(grant)).map_err(to_core)?;
        Ok(Self { runtime, instance })
    }

    pub(crate) fn open(self, path: &Path, options: &Options) -> Result<Remote<client::Database>> {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or(Error::NotFound)?;
        let options = open_options(options);
        let Self {
            runtime,
            mut instance,
        } = self;
        let handle = runtime
            .block_on(instance.open(name, &options))
            .map_err(to_core)?;
        Ok(Remote {
            handle: Some(handle),
            instance: Rc::new(RefCell::new(Self { runtime, instance })),
        })
    }
}

/// A resource in an instance.
#[derive(Debug)]
pub struct Remote<H> {
    /// None only while it is being consumed or dropped.
    handle: Option<H>,
    instance: Rc<RefCell<Instance>>,
}

impl<H> Remote<H> {
    /// Calls into the component.
    pub(crate) fn run<T>(
        &self,
        call: impl AsyncFnOnce(
            &H,
            &mut beaver_host::Instance,
        ) -> std::result::Result<T, beaver_host::Error>,
    ) -> Result<T> {
        let Some(handle) = &self.handle else {
            return Err(fatal(&"the handle is gone"));
        };
        let instance = &mut *self.instance.borrow_mut();
        instance
            .runtime
            .block_on(call(handle, &mut instance.instance))
            .map_err(to_core)
    }

    /// What the host's client takes for it.
    pub(crate) fn handle(&self) -> Result<&H> {
        self.handle
            .as_ref()
            .ok_or_else(|| fatal(&"the handle is gone"))
    }

    /// Calls into the component for another resource of the same instance.
    pub(crate) fn open<T>(
        &self,
        call: impl AsyncFnOnce(
            &H,
            &mut beaver_host::Instance,
        ) -> std::result::Result<T, beaver_host::Error>,
    ) -> Result<Remote<T>> {
        let handle = self.run(call)?;
        Ok(Remote {
            handle: Some(handle),
            instance: Rc::clone(&self.instance),
        })
    }

    /// The same where there may be none.
    pub(crate) fn open_some<T>(
        &self,
        call: impl AsyncFnOnce(
            &H,
            &mut beaver_host::Instance,
        ) -> std::result::Result<Option<T>, beaver_host::Error>,
    ) -> Result<Option<Remote<T>>> {
        Ok(self.run(call)?.map(|handle| Remote {
            handle: Some(handle),
            instance: Rc::clone(&self.instance),
        }))
    }

    /// Calls into the component with a resource that ends there.
    pub(crate) fn consume<T>(
        mut self,
        call: impl AsyncFnOnce(
            H,
            &mut beaver_host::Instance,
        ) -> std::result::Result<T, beaver_host::Error>,
    ) -> Result<T> {
        let Some(handle) = self.handle.take() else {
            return Err(fatal(&"the handle is gone"));
        };
        let instance = &mut *self.instance.borrow_mut();
        instance
            .runtime
            .block_on(call(handle, &mut instance.instance))
            .map_err(to_core)
    }
}

impl<H> Drop for Remote<H> {
    /// Natively a handle ends where it goes out of scope: the same here, at
    /// once, not with the instance's next call.
    fn drop(&mut self) {
        drop(self.handle.take());
        if let Ok(mut instance) = self.instance.try_borrow_mut() {
            let instance = &mut *instance;
            let _ = instance
                .runtime
                .block_on(instance.instance.drop_closed_handles());
        }
    }
}

fn open_options(options: &Options) -> client::OpenOptions {
    client::OpenOptions {
        mode: Some(match options.mode {
            OpenMode::Create => client::OpenMode::Create,
            OpenMode::Existing => client::OpenMode::Existing,
            OpenMode::ReadOnly => client::OpenMode::ReadOnly,
        }),
        guard_mode: Some(match options.guard_mode {
            crate::GuardMode::Mandatory => client::GuardMode::Mandatory,
            crate::GuardMode::Advisory => client::GuardMode::Advisory,
        }),
        durability: Some(match options.durability {
            crate::Durability::Normal => client::Durability::Normal,
            crate::Durability::Full => client::Durability::Full,
        }),
        journal: Some(match options.journal {
            JournalChoice::Automatic => client::Journal::Automatic,
            JournalChoice::Wal => client::Journal::Wal,
            JournalChoice::Rollback => client::Journal::Rollback,
        }),
        busy_timeout: Some(options.busy_timeout),
        lock_wait: Some(options.lock_wait),
    }
}

fn fatal(error: &dyn std::fmt::Display) -> Error {
    Error::Failed {
        message: error.to_string(),
        outcome: Outcome::Unknown,
    }
}

/// The component's typed error as the core's; everything else is fatal.
fn to_core(error: beaver_host::Error) -> Error {
    let beaver_host::Error::Db(error) = error else {
        return fatal(&error);
    };
    match error {
        DbError::InvalidArgument(text) => Error::InvalidArgument(text),
        DbError::InvalidJson(text) => Error::InvalidJson(text),
        DbError::OutOfRange => Error::OutOfRange,
        DbError::Timeout => Error::Timeout,
        DbError::Locked(name) => Error::Locked(name),
        DbError::Deadlock(locks) => Error::Deadlock(locks),
        DbError::LockLost(name) => Error::LockLost(name),
        DbError::NotHeld => Error::NotHeld,
        DbError::AlreadyHeld => Error::AlreadyHeld,
        DbError::WaitCleared => Error::WaitCleared,
        DbError::Busy => Error::Busy,
        DbError::InTransaction => Error::InTransaction,
        DbError::NoTransaction => Error::NoTransaction,
        DbError::Changed => Error::Changed,
        DbError::TooLarge(bytes) => Error::TooLarge(bytes),
        DbError::ReadOnly => Error::ReadOnly,
        DbError::Full => Error::Full,
        DbError::UnsupportedFormat(text) => Error::UnsupportedFormat(text),
        DbError::WalUnsupported => Error::WalUnsupported,
        DbError::NotFound => Error::NotFound,
        DbError::Exists => Error::Exists,
        DbError::WrongSecret(name) => Error::WrongSecret(name),
        DbError::AccessDenied => Error::AccessDenied,
        DbError::Corrupt(text) => Error::Corrupt(text),
        DbError::OutOfMemory => Error::OutOfMemory,
        DbError::Failed(failure) => Error::Failed {
            message: failure.message,
            outcome: match failure.outcome {
                client::Outcome::NotApplied => Outcome::NotApplied,
                client::Outcome::Unknown => Outcome::Unknown,
            },
        },
    }
}
