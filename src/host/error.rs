//! What can go wrong when a component is loaded or called.
//!
//! Two families, kept apart: [`Error::Db`] is the component's own typed answer
//! and leaves the instance usable; every other failure of a call comes from the
//! host or from a trap and leaves it poisoned (see [`Error::is_fatal`]).

use std::time::Duration;

use crate::client::{DbError, Outcome};

/// A failure of the host, of a component, or of a call into it.
///
/// [`outcome`](Error::outcome) says whether the operation definitely did not
/// happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The component answered with an error. Unless it carries an outcome, the
    /// operation definitely did not happen. The instance stays usable.
    #[error("{}", crate::client::describe(.0))]
    Db(DbError),

    /// The component trapped: a bug in it, or a damaged instance. Whether the
    /// operation happened is unknown: look before you try again. What was
    /// not committed is rolled back.
    #[error("the component trapped: {message}")]
    Trap {
        /// The trap, and what the component said on its standard error (a
        /// panic's message), for a person.
        message: String,
        /// wasmtime's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The call computed for longer than `cpu_limit`. Whether the operation
    /// happened is unknown.
    #[error("the call computed for more than {} ms", .0.as_millis())]
    CpuLimit(Duration),

    /// The call took longer than `call_timeout` in all. Whether the operation
    /// happened is unknown.
    #[error("the call took more than {} ms", .0.as_millis())]
    CallTimeout(Duration),

    /// The instance was made to trap
    /// ([`Interrupter::interrupt`](crate::Interrupter::interrupt)). Whether the operation
    /// happened is unknown.
    #[error("the instance was interrupted")]
    Interrupted,

    /// Somebody made the database's wal-index (the `-shm` file) shorter while it was in use,
    /// which only a process that knows nothing of SQLite does. Whether the operation happened
    /// is unknown. A new instance makes a new index from the log.
    #[error("somebody cut the database's wal-index while it was in use")]
    WalIndexCut,

    /// The component needed more than `memory_limit_bytes` and gave up with a
    /// trap (it normally answers `out-of-memory` instead, which is
    /// [`Error::Db`]). Whether the operation happened is unknown.
    #[error("the component needs more than its {0} bytes of memory")]
    MemoryLimit(u64),

    /// An earlier call on this instance ended in a trap or a limit, or its
    /// future was dropped before it was done. The instance is gone; this
    /// operation definitely did not happen.
    #[error("the instance has been stopped by an earlier failure")]
    Poisoned,

    /// The handle belongs to another instance, or its resource was given up
    /// (a database handle that the component closed). This operation
    /// definitely did not happen.
    #[error("the handle does not belong to this instance")]
    ForeignHandle,

    /// `max_instances` instances are alive. Nothing happened.
    #[error("all {0} instances of this host are in use")]
    TooManyInstances(u32),

    /// The bytes are no component that this host can run: not a component,
    /// an unknown import, another interface. Nothing happened.
    #[error("the component can't be used: {0}")]
    Component(#[source] Box<dyn std::error::Error + Send + Sync>),

    /// The operating system refused something outside of a call: reading the
    /// component, the cache directory, the granted directory. Nothing happened.
    #[error("{context}: {source}")]
    Io {
        /// What was being done.
        context: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the operation that failed definitely did not happen.
    pub fn outcome(&self) -> Outcome {
        match self {
            Error::Db(DbError::Failed(failure)) => failure.outcome,
            Error::Db(_)
            | Error::Poisoned
            | Error::ForeignHandle
            | Error::TooManyInstances(_)
            | Error::Component(_)
            | Error::Io { .. } => Outcome::NotApplied,
            Error::Trap { .. }
            | Error::CpuLimit(_)
            | Error::CallTimeout(_)
            | Error::Interrupted
            | Error::WalIndexCut
            | Error::MemoryLimit(_) => Outcome::Unknown,
        }
    }

    /// Whether the instance is unusable after this error: everything it held
    /// (locks, mappings, files, memory) has been released already.
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            Error::Trap { .. }
                | Error::CpuLimit(_)
                | Error::CallTimeout(_)
                | Error::Interrupted
                | Error::WalIndexCut
                | Error::MemoryLimit(_)
                | Error::Poisoned
        )
    }

    pub(crate) fn component(error: wasmtime::Error) -> Self {
        Error::Component(error.into_boxed_dyn_error())
    }

    pub(crate) fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        Error::Io {
            context: context.into(),
            source,
        }
    }
}
