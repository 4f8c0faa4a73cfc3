//! Starting an instance.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{PoolConcurrencyLimitError, Store};
use wasmtime_wasi::clocks::HostWallClock;

use crate::builder::Shared;
use crate::instance::{Bounds, CallResult, explain};
use crate::interrupt::Interrupter;
use crate::limits::{Limits, Stopped, on_tick};
use crate::state::State;
use crate::{Ctx, Error, Grant, Host, Instance};

/// Settings of one instance; see [`Host::instance`].
pub struct InstanceBuilder {
    host: Arc<Shared>,
    grant: Grant,
    wall_clock_offset_ms: i64,
    wall_clock_resolution_ms: u64,
}

impl Host {
    /// Starts an instance that may use the files of `grant` and nothing else.
    ///
    /// [`Error::TooManyInstances`] when as many are alive as the host may have.
    pub async fn instantiate(&self, grant: Grant) -> Result<Instance, Error> {
        self.instance(grant).start().await
    }

    /// The same with settings of its own.
    pub fn instance(&self, grant: Grant) -> InstanceBuilder {
        InstanceBuilder {
            host: Arc::clone(self.shared()),
            grant,
            wall_clock_offset_ms: 0,
            wall_clock_resolution_ms: 0,
        }
    }
}

impl InstanceBuilder {
    /// What is added to every reading of the wall clock by this instance, in milliseconds: to
    /// try what clocks that disagree do. Waiting is by the monotonic clock, which stays right.
    /// Default: 0.
    pub fn wall_clock_offset_ms(mut self, offset_ms: i64) -> Self {
        self.wall_clock_offset_ms = offset_ms;
        self
    }

    /// In which steps this instance's wall clock goes, in milliseconds: every reading is
    /// rounded down to a multiple, so that different moments look the same. Default: 0, the
    /// system's own.
    pub fn wall_clock_resolution_ms(mut self, resolution_ms: u64) -> Self {
        self.wall_clock_resolution_ms = resolution_ms;
        self
    }

    /// Starts the instance.
    ///
    /// [`Error::TooManyInstances`] when as many are alive as the host may have.
    pub async fn start(self) -> Result<Instance, Error> {
        let shared = self.host;
        let interrupter = Interrupter::default();
        let ctx = Ctx::builder(self.grant)
            .max_open_files(shared.files_max)
            .max_file_bytes(shared.file_bytes_max)
            .restart_tick_after_wait()
            .build();
        let limits = Limits::new(shared.memory_bytes_max, shared.cpu_limit, interrupter);
        let clock = WallClock {
            system: wasmtime_wasi::clocks::wall_clock(),
            offset_ms: self.wall_clock_offset_ms,
            step: Duration::from_millis(self.wall_clock_resolution_ms),
        };
        let mut store = Store::new(&shared.engine, State::new(ctx, limits, clock));
        store.limiter(|state| &mut state.limits);
        store
            .epoch_deadline_callback(|store| on_tick(store, |state: &mut State| &mut state.limits));
        store.set_epoch_deadline(1);

        instantiate(&shared, store).await
    }
}

/// Starts the component in a store that has all that it needs.
pub(crate) async fn instantiate(
    shared: &Arc<Shared>,
    mut store: Store<State>,
) -> Result<Instance, Error> {
    let bounds = Bounds::new(shared.call_timeout, &store.data().limits);
    let started = bounds
        .await_call(pin!(shared.pre.instantiate_async(&mut store)))
        .await;
    match started {
        CallResult::Done(Ok(instance)) => Ok(Instance::new(store, instance, shared.clone())),
        CallResult::TimedOut(limit) => Err(Error::CallTimeout(limit)),
        CallResult::Done(Err(error)) if error.is::<PoolConcurrencyLimitError>() => {
            Err(Error::TooManyInstances(shared.instances_max))
        }
        // A trap in the component's own start, or a limit that it hit there.
        CallResult::Done(Err(error))
            if error.is::<wasmtime::Trap>()
                || error.is::<Stopped>()
                || store.data().limits.exceeded() =>
        {
            Err(explain(error, store.data()))
        }
        CallResult::Done(Err(error)) => Err(Error::component(error)),
    }
}

impl std::fmt::Debug for InstanceBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstanceBuilder")
            .field("wall_clock_offset_ms", &self.wall_clock_offset_ms)
            .field("wall_clock_resolution_ms", &self.wall_clock_resolution_ms)
            .finish_non_exhaustive()
    }
}

/// The system's wall clock, off by some time and in steps.
pub(crate) struct WallClock {
    system: Box<dyn HostWallClock + Send>,
    offset_ms: i64,
    /// Zero: the system's own.
    step: Duration,
}

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        self.system.resolution().max(self.step)
    }

    fn now(&self) -> Duration {
        let offset = Duration::from_millis(self.offset_ms.unsigned_abs());
        let now = if self.offset_ms < 0 {
            self.system.now().saturating_sub(offset)
        } else {
            self.system.now().saturating_add(offset)
        };
        match now.as_nanos().checked_rem(self.step.as_nanos()) {
            None => now,
            Some(past) => now.saturating_sub(Duration::from_nanos_u128(past)),
        }
    }
}
