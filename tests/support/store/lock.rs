//! See `beaver_core::Lock`.

use super::{Blob, Collection, Dict, List, Queue, Store};
use crate::component::Remote;
use crate::{Error, LockOptions, Result};
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

/// A handle that can hold a lock.
#[derive(Clone, Copy, Debug)]
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

        impl<'a> Lockable<'a> {
            fn native(self) -> Result<&'a dyn native::Lockable> {
                match self {
                    $(Self::$type($type::Native(handle)) => Ok(handle),)*
                    _ => Err(mixed()),
                }
            }

            fn remote(self) -> Result<client::Lockable<'a>> {
                match self {
                    $(Self::$type($type::Component(handle)) => handle.handle().map(Into::into),)*
                    _ => Err(mixed()),
                }
            }
        }
    };
}
lockable!(Dict, List, Queue, Collection, Blob, Lock);

fn mixed() -> Error {
    Error::InvalidArgument("handles of two systems in one call".into())
}

impl Store {
    /// As the core's `acquire_all`.
    ///
    /// # Errors
    /// As the core's.
    pub fn acquire_all(&self, handles: &[Lockable<'_>], options: &LockOptions) -> Result<()> {
        match self {
            Self::Native(db) => {
                let handles = handles.iter().map(|handle| handle.native());
                db.acquire_all(&handles.collect::<Result<Vec<_>>>()?, options)
            }
            Self::Component(db) => {
                let handles = handles.iter().map(|handle| handle.remote());
                let handles = handles.collect::<Result<Vec<_>>>()?;
                let options = client::LockOptions {
                    timeout: options.timeout,
                    ttl: options.ttl,
                };
                db.run(async |db, instance| db.acquire_all(instance, &handles, options).await)
            }
        }
    }
}

impl Lock {
    forward! {
        clear() -> u64;
    }
}
