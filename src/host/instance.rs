//! A running component and the calls into it.
//!
//! Invariants:
//! - A call that doesn't end normally (trap, limit, or its future dropped
//!   half-way) leaves a guest that nobody can vouch for. It is never entered
//!   again, and everything it held is released at that moment: the store is
//!   dropped, and with it locks, mappings, files, memory and the pool's slot.
//! - Within the store, files go before memory (see ctx.rs).

use std::pin::{Pin, pin};
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use crate::Error;
use crate::builder::Shared;
use crate::client::handle::Registry;
use crate::client::lifted::Lifted;
use crate::interfaces::{Api, Interfaces};
use crate::interrupt::Interrupter;
use crate::limits::{Limits, Stopped};
use crate::meter::Meter;
use crate::state::State;

use std::sync::Arc;

/// A component of a [`Host`](crate::Host), with its own memory and its own grant.
///
/// One call at a time, hence `&mut self` everywhere; use several instances for
/// several workers. Calls run on the task that awaits them, disk I/O included
/// (as SQLite does it), and yield every 10 ms of computing and whenever they
/// wait for a lock.
///
/// Dropping a call's future half-way stops the instance: see
/// [`Error::Poisoned`].
pub struct Instance {
    /// None once the instance was stopped.
    store: Option<Store<State>>,
    interfaces: Interfaces,
    registry: Registry,
    host: Arc<Shared>,
    interrupter: Interrupter,
}

impl Instance {
    pub(crate) fn new(
        store: Store<State>,
        instance: wasmtime::component::Instance,
        host: Arc<Shared>,
    ) -> Self {
        Self {
            interrupter: store.data().limits.interrupter().clone(),
            store: Some(store),
            interfaces: Interfaces::new(instance),
            registry: Registry::default(),
            host,
        }
    }

    /// Drops every handle that is left, the youngest first, so that manager
    /// locks are given back and databases closed in order. Merely dropping the
    /// instance releases files and their locks too, but leaves rows of manager
    /// locks to their time to live.
    pub async fn close(mut self) -> Result<(), Error> {
        for resource in self.registry.take_all() {
            self.drop_resource(resource).await?;
        }
        Ok(())
    }

    /// Drops in the component what went out of scope here. The next call does
    /// so anyway; call this when there may be none for a while, because a lock
    /// held by such a handle is given back only then.
    pub async fn drop_closed_handles(&mut self) -> Result<(), Error> {
        for resource in self.registry.take_let_go() {
            self.drop_resource(resource).await?;
        }
        Ok(())
    }

    /// Whether an earlier failure has stopped this instance.
    pub fn is_poisoned(&self) -> bool {
        self.store.is_none()
    }

    /// What makes this instance trap, from any thread, whatever it is doing.
    pub fn interrupter(&self) -> Interrupter {
        self.interrupter.clone()
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Starts a call: first gives the component the handles that went out of
    /// scope since the last one.
    pub(crate) async fn begin(&mut self) -> Result<Call<'_>, Error> {
        self.drop_closed_handles().await?;
        self.enter()
    }

    /// Runs the destructor of `resource`.
    pub(crate) async fn drop_resource(&mut self, resource: ResourceAny) -> Result<(), Error> {
        let mut call = self.enter()?;
        let bounds = call.bounds();
        let (store, _) = call.parts();
        let result = bounds
            .await_call(pin!(resource.resource_drop_async(store)))
            .await;
        call.finish(result)
    }

    fn enter(&mut self) -> Result<Call<'_>, Error> {
        let store = self.store.as_mut().ok_or(Error::Poisoned)?;
        store.data_mut().limits.restart();
        // The epoch went on while nobody called.
        // One that is to trap does so at its first look.
        let is_interrupted = store.data().limits.interrupter().is_requested();
        store.set_epoch_deadline(u64::from(!is_interrupted));
        Ok(Call {
            instance: self,
            finished: false,
        })
    }

    /// Releases everything, now.
    fn stop(&mut self) {
        if let Some(mut store) = self.store.take() {
            store.data_mut().release();
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // `Store` drops its data before its memories anyway; this says so.
        self.stop();
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

/// A call under way. Dropped without [`finish`](Call::finish), it stops the
/// instance: the caller has lost interest while the guest was in the middle of
/// something.
pub(crate) struct Call<'a> {
    instance: &'a mut Instance,
    finished: bool,
}

impl Call<'_> {
    pub(crate) fn bounds(&mut self) -> Bounds {
        let timeout = self.instance.host.call_timeout;
        Bounds::new(timeout, &self.parts().0.data().limits)
    }

    pub(crate) fn parts(&mut self) -> (&mut Store<State>, Api<'_>) {
        let store = self.instance.store.as_mut();
        // `enter` made sure of it, and only `stop` takes it away, at the end.
        let store = store.expect("a call under way has a store");
        let api = Api {
            indices: &self.instance.host.indices,
            interfaces: &self.instance.interfaces,
        };
        (store, api)
    }

    /// Ends the call: a result for the caller, or an error that stops the
    /// instance.
    pub(crate) fn finish<R: Lifted>(mut self, result: CallResult<R>) -> Result<R, Error> {
        let error = match result {
            CallResult::Done(Ok(value)) if !value.is_utf8() => {
                wasmtime::Error::msg("a text was changed while it was returned")
            }
            CallResult::Done(Ok(value)) => match self.parts().0.data_mut().check() {
                Ok(()) => {
                    self.finished = true;
                    return Ok(value);
                }
                Err(stopped) => wasmtime::Error::new(stopped),
            },
            CallResult::Done(Err(error)) => error,
            CallResult::TimedOut(limit) => return Err(Error::CallTimeout(limit)),
        };
        let (store, _) = self.parts();
        Err(explain(error, store.data()))
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.instance.stop();
        }
    }
}

/// How a call into a guest ended.
pub(crate) enum CallResult<R> {
    Done(wasmtime::Result<R>),
    TimedOut(Duration),
}

/// What bounds a call.
pub(crate) struct Bounds {
    timeout: Option<Duration>,
    meter: Meter,
    interrupter: Interrupter,
}

impl Bounds {
    pub(crate) fn new(timeout: Option<Duration>, limits: &Limits) -> Self {
        Self {
            timeout,
            meter: limits.meter().clone(),
            interrupter: limits.interrupter().clone(),
        }
    }

    /// Awaits `call`, for as long as it may take.
    pub(crate) async fn await_call<R>(
        &self,
        call: Pin<&mut impl Future<Output = wasmtime::Result<R>>>,
    ) -> CallResult<R> {
        let call = self.meter.watch(&self.interrupter, call);
        match self.timeout {
            None => CallResult::Done(call.await),
            Some(timeout) => match tokio::time::timeout(timeout, call).await {
                Ok(result) => CallResult::Done(result),
                Err(_) => CallResult::TimedOut(timeout),
            },
        }
    }
}

/// What wasmtime's error means, given the meters of the instance.
pub(crate) fn explain(error: wasmtime::Error, state: &State) -> Error {
    match error.downcast_ref::<Stopped>() {
        Some(Stopped::CpuLimit) => return Error::CpuLimit(state.limits.cpu_limit()),
        Some(Stopped::Interrupted) => return Error::Interrupted,
        Some(Stopped::WalIndexCut) => return Error::WalIndexCut,
        None => {}
    }
    if state.limits.memory_refused() {
        return Error::MemoryLimit(state.limits.memory_bytes_max());
    }
    let mut message = format!("{error:#}");
    let said = state.stderr.contents();
    if !said.is_empty() {
        message.push_str("; it said: ");
        message.push_str(String::from_utf8_lossy(&said).trim_end());
    }
    Error::Trap {
        message,
        source: error.into_boxed_dyn_error(),
    }
}
