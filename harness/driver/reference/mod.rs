//! A store in this process's memory, small and obviously right; and the same with a [`Defect`].
//!
//! It is the harness's own canary: the right one passes every workload, and each defect is
//! found by one. What a check can't see in it, it can't see anywhere.
//!
//! What must stay true: it offers every capability but SQLite's file, and without a defect does what
//! `PROTOCOL.md` says.

mod data;
mod defect;
mod lock;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub use defect::Defect;

use super::{Abandon, Answer, Client, Driver, Ending, Process, waits_for_ever};
use crate::protocol::{Capability, Description, ErrorCode, Failure, Init, Op, VERSION};
use defect::Sabotage;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use store::Store;

/// Drives reference stores. One lives as long as a process on its path does.
#[derive(Debug, Default)]
pub struct Reference {
    defect: Option<(Defect, u64)>,
    stores: Mutex<HashMap<PathBuf, Weak<Store>>>,
}

impl Reference {
    /// Nothing is wrong with it.
    pub fn new() -> Self {
        Self::default()
    }

    /// `defect` strikes at every `every`-th opportunity.
    pub fn broken(defect: Defect, every: u64) -> Self {
        Self {
            defect: Some((defect, every)),
            ..Self::default()
        }
    }
}

impl Driver for Reference {
    fn name(&self) -> String {
        match self.defect {
            None => "reference".into(),
            Some((defect, every)) => format!("reference:{}:{every}", defect.name()),
        }
    }

    fn start(&self, init: &Init) -> anyhow::Result<Arc<dyn Process>> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores.retain(|_, store| store.strong_count() > 0);
        let known = stores.get(&init.database).and_then(Weak::upgrade);
        let store = known.unwrap_or_else(|| {
            let sabotage = self
                .defect
                .map(|(defect, every)| Sabotage::new(defect, every));
            Arc::new(Store::new(sabotage.unwrap_or_default()))
        });
        stores.insert(init.database.clone(), Arc::downgrade(&store));
        let description = Description {
            protocol: VERSION,
            name: self.name(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: Capability::ALL
                .iter()
                .copied()
                .filter(|capability| *capability != Capability::Sqlite)
                .collect(),
        };
        Ok(Arc::new(Started { store, description }))
    }

    fn has_processes(&self) -> bool {
        false
    }
}

struct Started {
    store: Arc<Store>,
    description: Description,
}

impl Process for Started {
    fn description(&self) -> &Description {
        &self.description
    }

    fn open(&self, _client: u32) -> Result<Box<dyn Client>, Failure> {
        let life = Life {
            owner: self.store.open(),
            store: Arc::clone(&self.store),
        };
        Ok(Box::new(Open {
            life: Arc::new(life),
            given_up: false,
        }))
    }

    fn kill(&self) -> anyhow::Result<Ending> {
        anyhow::bail!("the reference store is no process")
    }

    fn stop(&self) -> anyhow::Result<()> {
        anyhow::bail!("the reference store is no process")
    }

    fn resume(&self) -> anyhow::Result<()> {
        anyhow::bail!("the reference store is no process")
    }

    fn notes(&self) -> String {
        String::new()
    }
}

/// One client, which its user and whoever may abandon it know.
struct Life {
    owner: u64,
    store: Arc<Store>,
}

struct Open {
    life: Arc<Life>,
    given_up: bool,
}

impl Client for Open {
    fn call(&mut self, op: &Op, certify: bool, patience: Duration) -> Answer {
        let began = Instant::now();
        let life = &self.life;
        let answer = life.store.call(life.owner, op, certify, patience);
        let is_gone = matches!(&answer, Err(failure) if failure.error == ErrorCode::Gone);
        self.given_up |= is_gone && waits_for_ever(op) && began.elapsed() >= patience;
        answer
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        self.life.store.end(self.life.owner);
        Ok(())
    }

    fn was_given_up(&self) -> bool {
        self.given_up
    }

    fn abandoner(&self) -> Arc<dyn Abandon> {
        Arc::clone(&self.life) as Arc<dyn Abandon>
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.life.store.end(self.life.owner);
    }
}

impl Abandon for Life {
    fn abandon(&self, _trap: bool) -> Result<(), Failure> {
        self.store.end(self.owner);
        Ok(())
    }
}
