//! A lock by name (`wit/lock.wit`).

use std::time::Duration;

use super::handle::{call, handle};
use super::options::nanoseconds;
use super::{Database, LockOptions};
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
            .beaver_db_lock()
            .lock()
            .call_open(store, database, name))?;
        let resource = opened.map_err(Error::Db)?;
        Ok(Lock(self.registry().adopt(resource)))
    }
}

impl Lock {
    /// Waits for the lock in FIFO order and takes it.
    pub async fn acquire(
        &self,
        instance: &mut Instance,
        options: LockOptions,
    ) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_lock()
            .lock()
            .call_acquire(store, this, options.to_wit()))?
        .map_err(Error::Db)
    }

    /// Takes the lock if nobody holds it or waits for it; false otherwise.
    pub async fn try_acquire(
        &self,
        instance: &mut Instance,
        ttl: Option<Duration>,
    ) -> Result<bool, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_lock()
            .lock()
            .call_try_acquire(store, this, ttl.map(nanoseconds)))?
        .map_err(Error::Db)
    }

    /// Gives the lock back. [`DbError::LockLost`](super::DbError::LockLost) when it was
    /// lost before; the handle is free again either way.
    pub async fn release(&self, instance: &mut Instance) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_lock()
            .lock()
            .call_release(store, this))?
        .map_err(Error::Db)
    }

    /// Lets the lock live `ttl` from now (`None`: the one it was taken with).
    pub async fn renew(&self, instance: &mut Instance, ttl: Option<Duration>) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_lock()
            .lock()
            .call_renew(store, this, ttl.map(nanoseconds)))?
        .map_err(Error::Db)
    }

    /// The fencing token of the lock held: larger for every later grant.
    pub async fn fencing_token(&self, instance: &mut Instance) -> Result<Option<u64>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_lock()
            .lock()
            .call_fencing_token(store, this))
    }

    /// Removes the holder and all waiters, whoever they are; returns how many.
    pub async fn clear(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_lock()
            .lock()
            .call_clear(store, this))?
        .map_err(Error::Db)
    }
}
