//! What one instance may use: memory, and computing time per call.
//!
//! Invariants: computing is counted as `meter` says, so a lock that takes an hour
//! to come costs nothing; and a refused growth is only *recorded* here,
//! because the guest normally turns it into a typed `out-of-memory`.

use std::time::Duration;

use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};

use crate::interrupt::Interrupter;
use crate::meter::Meter;

/// Far above what a component's function tables need; only there so that a
/// hostile `table.grow` can't take the host's memory.
const TABLE_ELEMENTS_MAX: usize = 20_000;

/// The meters of one instance.
pub(crate) struct Limits {
    memory_bytes_max: usize,
    memory_refused: bool,
    meter: Meter,
    interrupter: Interrupter,
}

/// The error with which the host makes a guest trap; found again by downcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stopped {
    /// It has computed for too long.
    #[error("the call used up its computing time")]
    CpuLimit,
    /// Somebody wants it to.
    #[error("the instance was interrupted")]
    Interrupted,
    /// What it has read of a wal-index isn't what is there.
    #[error("somebody cut the database's wal-index while it was in use")]
    WalIndexCut,
}

impl Limits {
    pub(crate) fn new(
        memory_bytes_max: u64,
        cpu_limit: Option<Duration>,
        interrupter: Interrupter,
    ) -> Self {
        Self {
            memory_bytes_max: usize::try_from(memory_bytes_max).unwrap_or(usize::MAX),
            memory_refused: false,
            meter: Meter::new(cpu_limit),
            interrupter,
        }
    }

    /// What counts its computing.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// What makes the guest trap.
    pub(crate) fn interrupter(&self) -> &Interrupter {
        &self.interrupter
    }

    /// Before each call: the meters are per call.
    pub(crate) fn restart(&mut self) {
        self.memory_refused = false;
        self.meter.restart();
    }

    /// Whether the guest was refused memory during this call.
    pub(crate) fn memory_refused(&self) -> bool {
        self.memory_refused
    }

    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max as u64
    }

    /// Whether a limit was hit during this call.
    pub(crate) fn exceeded(&self) -> bool {
        self.memory_refused || self.meter.is_exceeded()
    }

    /// The limit on computing, for the error message.
    pub(crate) fn cpu_limit(&self) -> Duration {
        self.meter.limit().unwrap_or(Duration::MAX)
    }

    /// An error when the guest is to stop.
    fn tick(&self) -> Result<(), Stopped> {
        if self.interrupter.is_requested() {
            Err(Stopped::Interrupted)
        } else if self.meter.is_exceeded() {
            Err(Stopped::CpuLimit)
        } else {
            Ok(())
        }
    }
}

/// The store's epoch callback: runs when the guest has computed for a tick.
pub(crate) fn on_tick<T>(
    mut store: StoreContextMut<'_, T>,
    limits: impl Fn(&mut T) -> &mut Limits,
) -> wasmtime::Result<UpdateDeadline> {
    limits(store.data_mut())
        .tick()
        .map_err(wasmtime::Error::new)?;
    // Yield, so that a busy guest starves neither the other tasks of this
    // thread nor the timer that enforces `call_timeout`. Tokio's own yield lets
    // its I/O and timers run; wasmtime's plain one would not.
    Ok(UpdateDeadline::YieldCustom(
        1,
        Box::pin(tokio::task::yield_now()),
    ))
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= self.memory_bytes_max;
        self.memory_refused |= !granted;
        Ok(granted)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // The operating system had no memory, or the pool's slot is full.
        self.memory_refused = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_growth_is_recorded_until_the_next_call() {
        let mut limits = Limits::new(1 << 20, None, Interrupter::default());
        assert!(limits.memory_growing(0, 1 << 20, None).unwrap());
        assert!(!limits.memory_refused());
        assert!(!limits.memory_growing(1 << 20, (1 << 20) + 1, None).unwrap());
        assert!(limits.memory_refused());
        limits.restart();
        assert!(!limits.memory_refused());
    }

    #[test]
    fn no_limit_is_no_limit_and_an_interruption_is_one() {
        let limits = Limits::new(0, None, Interrupter::default());
        assert_eq!(limits.tick(), Ok(()));
        limits.interrupter().interrupt();
        assert_eq!(limits.tick(), Err(Stopped::Interrupted));
    }
}
