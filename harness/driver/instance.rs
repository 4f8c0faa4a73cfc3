//! One client of the component: an open database with its handles in an instance, whoever drives
//! that.
//!
//! What must stay true: it reads no clock and waits for nothing but by its [`Pace`].

use super::Answer;
use super::beaver::{
    self, LOOK_EVERY, PAGE, Settings, Waiting, count_text, json, optional, session, text,
};
use crate::protocol::{ErrorCode, Failure, LockKind, LockName, Op};
use beaver_host::client as db;
use beaver_host::client::DbError as EngineError;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How time goes by for a client.
pub(crate) trait Pace: Send + Sync {
    /// Monotonic, from any fixed moment.
    fn now(&self) -> Duration;

    /// Waits.
    fn nap(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

pub(super) fn failure(error: beaver_host::Error) -> Failure {
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
    pace: Arc<dyn Pace>,
}

impl Engine {
    fn now(&self) -> Duration {
        self.pace.now()
    }

    async fn nap(&self, duration: Duration) {
        self.pace.nap(duration).await;
    }
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

session!(db, Engine, call, open);

/// See the module.
pub(crate) struct InstanceSession(Session);

impl InstanceSession {
    /// Opens the database `name` in an instance that was just started.
    ///
    /// # Errors
    /// The component's, or its instance is gone.
    pub(crate) async fn open(
        mut instance: beaver_host::Instance,
        name: &str,
        settings: &Settings,
        pace: Arc<dyn Pace>,
    ) -> Result<Self, Failure> {
        let options = db::OpenOptions {
            guard_mode: settings.advisory.then_some(db::GuardMode::Advisory),
            durability: settings.full_durability.then_some(db::Durability::Full),
            journal: settings.rollback_journal.then_some(db::Journal::Rollback),
            busy_timeout: Some(settings.busy_timeout),
            lock_wait: Some(settings.lock_wait),
            mode: None,
        };
        let database = instance.open(name, &options).await.map_err(failure)?;
        Ok(Self(Session {
            handles: Handles::default(),
            engine: Engine {
                database,
                instance,
                pace,
            },
            lock_wait: settings.lock_wait,
        }))
    }

    /// Does an operation.
    ///
    /// # Errors
    /// As the protocol says.
    pub(crate) async fn call(&mut self, op: &Op, certify: bool) -> Answer {
        self.0.call(op, certify).await
    }

    /// Copies what can be copied from the log into the database; what is left, in frames.
    ///
    /// # Errors
    /// The component's, or its instance is gone.
    pub(crate) async fn checkpoint(&mut self) -> Result<u64, Failure> {
        let Engine {
            instance, database, ..
        } = &mut self.0.engine;
        database.checkpoint(instance).await.map_err(failure)
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// The component's, or its instance is gone.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        let Session {
            handles, engine, ..
        } = self.0;
        drop(handles);
        let Engine {
            instance, database, ..
        } = engine;
        drop(database);
        instance.close().await.map_err(failure)
    }

    /// What makes its guest trap.
    pub(super) fn interrupter(&self) -> beaver_host::Interrupter {
        self.0.engine.instance.interrupter()
    }

    /// Calls the component for nothing, so that a guest that is to trap does.
    pub(super) async fn enter(&mut self) {
        let Engine {
            instance, database, ..
        } = &mut self.0.engine;
        let _ = database.journal(instance).await;
    }
}
