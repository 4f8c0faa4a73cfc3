//! A lock by name (`wit/lock.wit`).

use super::Database;
use super::handle::{call, handle};
use super::locking::lock_methods;
use crate::{Error, Instance};

handle! {
    /// A lock: one owner, fair among all instances, processes and languages.
    /// Closing it releases it.
    Lock
}

impl Instance {
    /// A handle for the lock `name`, not held.
    pub async fn lock(&mut self, database: &Database, name: &str) -> Result<Lock, Error> {
        let database = database.0.on(self)?;
        let opened = call!(self, |store, api| api
            .beaver_db_lock(&mut *store)?
            .lock()
            .call_open(store, database, name))?;
        let resource = opened.map_err(Error::Db)?;
        Ok(Lock(self.registry().adopt(resource)))
    }
}

lock_methods!(Lock, beaver_db_lock, lock);

impl Lock {
    /// Removes the holder and all waiters, whoever they are; returns how many.
    pub async fn clear(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_lock(&mut *store)?
            .lock()
            .call_clear(store, this))?
        .map_err(Error::Db)
    }
}
