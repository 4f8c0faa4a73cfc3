//! The component's resources as Rust values.
//!
//! A resource can be dropped only by a call into the component, which `Drop`
//! can't make (it isn't async). So a handle that goes out of scope is put on
//! its instance's list, and the instance drops it before its next call or when
//! it is closed. Each handle type also has an explicit `close`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::component::ResourceAny;

use crate::{Error, Instance};

/// The resources of one instance that the embedder holds or has let go.
#[derive(Clone, Default)]
pub(crate) struct Registry(Arc<Mutex<Resources>>);

#[derive(Default)]
struct Resources {
    next: u64,
    /// By age: managers come after the database they were opened from.
    held: BTreeMap<u64, ResourceAny>,
    let_go: Vec<ResourceAny>,
}

impl Registry {
    /// A handle that owns `resource`.
    pub(crate) fn adopt(&self, resource: ResourceAny) -> Handle {
        let mut resources = self.lock();
        let number = resources.next;
        resources.next += 1;
        resources.held.insert(number, resource);
        drop(resources);
        Handle {
            number,
            resource,
            registry: self.clone(),
        }
    }

    /// What went out of scope since the last time.
    pub(crate) fn take_let_go(&self) -> Vec<ResourceAny> {
        std::mem::take(&mut self.lock().let_go)
    }

    /// Everything that is left, the youngest first.
    pub(crate) fn take_all(&self) -> Vec<ResourceAny> {
        let mut resources = self.lock();
        let mut all = std::mem::take(&mut resources.let_go);
        all.extend(std::mem::take(&mut resources.held).into_values().rev());
        all
    }

    fn lock(&self) -> MutexGuard<'_, Resources> {
        // Nothing that runs under the lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One resource, owned.
pub(crate) struct Handle {
    number: u64,
    resource: ResourceAny,
    registry: Registry,
}

impl Handle {
    /// The resource, for a call on `instance`. wasmtime panics when it is given
    /// a resource of another store, hence the check.
    pub(crate) fn on(&self, instance: &Instance) -> Result<ResourceAny, Error> {
        let resources = self.registry.lock();
        let ours = Arc::ptr_eq(&self.registry.0, &instance.registry().0);
        if ours && resources.held.contains_key(&self.number) {
            Ok(self.resource)
        } else {
            Err(Error::ForeignHandle)
        }
    }

    /// Gives the resource up, for a call that consumes it.
    pub(crate) fn take(self, instance: &Instance) -> Result<ResourceAny, Error> {
        let resource = self.on(instance)?;
        self.registry.lock().held.remove(&self.number);
        Ok(resource)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut resources = self.registry.lock();
        if let Some(resource) = resources.held.remove(&self.number) {
            resources.let_go.push(resource);
        }
    }
}

/// Defines a handle type: the struct, `close`, `Debug`.
macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name(pub(super) $crate::client::handle::Handle);

        impl $name {
            /// Drops the resource in the component now. A handle that just
            /// goes out of scope is dropped there before the instance's next
            /// call, or with the instance.
            pub async fn close(self, instance: &mut $crate::Instance) -> Result<(), $crate::Error> {
                let resource = self.0.take(instance)?;
                instance.drop_resource(resource).await
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}
pub(super) use handle;

/// Calls into the component:
/// `call!(instance, |store, api| api.….beaver_db_…(&mut *store)?.….call_…(store, …))`.
/// The result is what the component returned, or a fatal [`Error`].
macro_rules! call {
    ($instance:expr, |$store:ident, $api:ident| $future:expr) => {{
        let mut call = $instance.begin().await?;
        let bounds = call.bounds();
        let result = {
            let ($store, $api) = call.parts();
            bounds
                .await_call(std::pin::pin!(async { $future.await }))
                .await
        };
        call.finish(result)
    }};
}
pub(super) use call;
