//! Several systems on one file: the first process is one of the first, the next one of the
//! second, and so on, and again.

use super::{Client, Driver, Ending, Process};
use crate::protocol::{Capability, Description, Failure, Init};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// See the module.
pub struct Alternating {
    name: String,
    drivers: Vec<Box<dyn Driver>>,
    /// What not all of them offer.
    without: Vec<Capability>,
    next: AtomicUsize,
}

impl Alternating {
    /// `drivers`, one or more, that all understand the same file and the same settings, and offer
    /// the same but for `without`.
    ///
    /// # Errors
    /// There is none.
    pub fn new(
        name: impl Into<String>,
        drivers: Vec<Box<dyn Driver>>,
        without: &[Capability],
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(!drivers.is_empty(), "there is no driver to alternate");
        Ok(Self {
            name: name.into(),
            drivers,
            without: without.to_vec(),
            next: AtomicUsize::new(0),
        })
    }
}

impl Driver for Alternating {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn start(&self, init: &Init) -> anyhow::Result<Arc<dyn Process>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.drivers.len();
        let process = self.drivers[turn].start(init)?;
        let mut description = process.description().clone();
        description.name.clone_from(&self.name);
        let offered = |capability: &Capability| !self.without.contains(capability);
        description.capabilities.retain(offered);
        Ok(Arc::new(Member {
            description,
            process,
        }))
    }

    fn give_up_starts(&self) {
        for driver in &self.drivers {
            driver.give_up_starts();
        }
    }

    fn has_processes(&self) -> bool {
        self.drivers.iter().all(|driver| driver.has_processes())
    }
}

/// A process of one of them, which says of itself what is true of all.
struct Member {
    description: Description,
    process: Arc<dyn Process>,
}

impl Process for Member {
    fn description(&self) -> &Description {
        &self.description
    }

    fn open(&self, client: u32) -> Result<Box<dyn Client>, Failure> {
        self.process.open(client)
    }

    fn kill(&self) -> anyhow::Result<Ending> {
        self.process.kill()
    }

    fn stop(&self) -> anyhow::Result<()> {
        self.process.stop()
    }

    fn resume(&self) -> anyhow::Result<()> {
        self.process.resume()
    }

    fn notes(&self) -> String {
        self.process.notes()
    }
}
