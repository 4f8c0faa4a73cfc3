//! A lock by name (`wit/lock.wit`).

use super::handle::{Handle, call, handle};
use super::locking::lock_methods;
use super::{Blob, Collection, Database, Dict, List, LockOptions, Queue};
use crate::bindings::exports::beaver::db::lock as wit;
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

/// A handle that can hold a lock, for [`Database::acquire_all`].
#[derive(Debug, Clone, Copy)]
pub enum Lockable<'a> {
    /// A dictionary.
    Dict(&'a Dict),
    /// A list.
    List(&'a List),
    /// A queue.
    Queue(&'a Queue),
    /// A collection.
    Collection(&'a Collection),
    /// A blob store.
    Blob(&'a Blob),
    /// A lock by name.
    Lock(&'a Lock),
}

macro_rules! lockable {
    ($($type:ident),*) => {
        $(
            impl<'a> From<&'a $type> for Lockable<'a> {
                fn from(handle: &'a $type) -> Self {
                    Self::$type(handle)
                }
            }
        )*

        impl Lockable<'_> {
            fn to_wit(self, instance: &Instance) -> Result<wit::Lockable, Error> {
                let on = |handle: &Handle| handle.on(instance);
                match self {
                    $(Self::$type(handle) => on(&handle.0).map(wit::Lockable::$type),)*
                }
            }
        }
    };
}
lockable!(Dict, List, Queue, Collection, Blob, Lock);

impl Database {
    /// Takes the locks of all `handles`, or none, which is how to hold several
    /// without a deadlock. Each is released by its own `release`.
    ///
    /// `db.acquire_all(&mut instance, &[(&stock).into(), (&orders).into()], options)`
    pub async fn acquire_all(
        &self,
        instance: &mut Instance,
        handles: &[Lockable<'_>],
        options: LockOptions,
    ) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        let handles = handles
            .iter()
            .map(|handle| handle.to_wit(instance))
            .collect::<Result<Vec<_>, _>>()?;
        call!(instance, |store, api| api
            .beaver_db_lock(&mut *store)?
            .call_acquire_all(store, this, &handles, options.to_wit()))?
        .map_err(Error::Db)
    }
}

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
