//! See `beaver_core::Lock`.

use super::Store;
use crate::Result;
use crate::component::Remote;
use beaver_core as native;
use beaver_host::client;

/// A lock of either system.
#[derive(Debug)]
pub enum Lock {
    /// The core in this process.
    Native(native::Lock),
    /// The component.
    Component(Remote<client::Lock>),
}

impl Store {
    /// A handle for a lock.
    ///
    /// # Errors
    /// What opening the handle reports.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        match self {
            Self::Native(db) => db.lock(name).map(Lock::Native),
            Self::Component(db) => db
                .open(async |db, instance| instance.lock(db, name).await)
                .map(Lock::Component),
        }
    }
}

locking!(Lock);

impl Lock {
    forward! {
        clear() -> u64;
    }
}
