//! What a [`Host`](crate::Host) keeps in each store.

#![allow(unsafe_code)] // `unsafe impl View`

use wasmtime::component::ResourceTable;
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::instance_builder::WallClock;
use crate::limits::{Limits, Stopped};
use crate::machine::{Clocks, Seat};
use crate::{Ctx, View};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// How much of what a guest says on its standard error is kept. It speaks only
/// to panic; beyond this its writes fail, which a panic survives.
const STDERR_BYTES_MAX: usize = 16 << 10;

/// How many of WASI's resources (streams, things to poll) a guest may hold: a component of ours needs
/// a handful, and each is memory of the host's.
const WASI_RESOURCES_MAX: usize = 1000;
/// How many random bytes one call may ask of the host.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// What an instance stands on.
enum Under {
    System(Ctx),
    Machine(Seat),
}

/// The data of a host's stores.
pub(crate) struct State {
    under: Under,
    wasi: WasiCtx,
    table: ResourceTable,
    pub(crate) limits: Limits,
    pub(crate) stderr: MemoryOutputPipe,
}

impl State {
    pub(crate) fn new(ctx: Ctx, limits: Limits, clock: WallClock) -> Self {
        let stderr = MemoryOutputPipe::new(STDERR_BYTES_MAX);
        // Nothing is granted: no directories, arguments, variables, standard
        // input or output, no network. The monotonic clock and the random source are real.
        let wasi = WasiCtx::builder()
            .stderr(stderr.clone())
            .max_random_size(RANDOM_BYTES_MAX)
            .wall_clock(clock)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self {
            under: Under::System(ctx),
            wasi,
            table: wasi_table(),
            limits,
            stderr,
        }
    }

    /// The data of an instance on a machine, whose clocks and random numbers are `clocks`.
    pub(crate) fn on_machine(seat: Seat, limits: Limits, clocks: Arc<dyn Clocks>) -> Self {
        let stderr = MemoryOutputPipe::new(STDERR_BYTES_MAX);
        let seed = u128::from(clocks.random()) << 64 | u128::from(clocks.random());
        let wasi = WasiCtx::builder()
            .stderr(stderr.clone())
            .max_random_size(RANDOM_BYTES_MAX)
            .wall_clock(MachineClocks(Arc::clone(&clocks)))
            .monotonic_clock(MachineClocks(Arc::clone(&clocks)))
            .secure_random(MachineClocks(Arc::clone(&clocks)))
            .insecure_random(MachineClocks(clocks))
            .insecure_random_seed(seed)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self {
            under: Under::Machine(seat),
            wasi,
            table: wasi_table(),
            limits,
            stderr,
        }
    }

    /// The machine's half; an error (a trap) where there is none.
    pub(crate) fn seat(&mut self) -> wasmtime::Result<&mut Seat> {
        match &mut self.under {
            Under::Machine(seat) => Ok(seat),
            Under::System(_) => Err(wasmtime::Error::msg("an instance without a machine")),
        }
    }

    /// How long a guest on a machine may compute; none elsewhere.
    pub(crate) fn slice(&mut self) -> Option<u64> {
        self.seat().ok().and_then(Seat::slice)
    }

    /// See [`Ctx::check`]. A machine's files are cut by nobody.
    pub(crate) fn check(&mut self) -> Result<(), Stopped> {
        match &mut self.under {
            Under::System(ctx) => ctx.check(),
            Under::Machine(_) => Ok(()),
        }
    }

    /// Closes all files: their locks are released, their mappings undone.
    pub(crate) fn release(&mut self) {
        match &mut self.under {
            Under::System(ctx) => ctx.release(),
            Under::Machine(seat) => seat.release(),
        }
    }
}

fn wasi_table() -> ResourceTable {
    let mut table = ResourceTable::new();
    table.set_max_capacity(WASI_RESOURCES_MAX);
    table
}

// SAFETY: the two promises of `View`. The engine comes from `pooled_engine`,
// which calls `configure`. A `State` is made for one store and handed to it at
// once (builder.rs); nothing moves the `Ctx` out of it, calls `into_data` or
// forgets the store.
unsafe impl View for State {
    fn ctx(&mut self) -> &mut Ctx {
        match &mut self.under {
            Under::System(ctx) => ctx,
            // The functions that ask for it are linked for instances on the system alone
            // (`HostBuilder::build_shared`).
            Under::Machine(_) => {
                unreachable!("an instance on a machine has no files of the system")
            }
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// A machine's clocks and random numbers as WASI's.
struct MachineClocks(Arc<dyn Clocks>);

impl HostWallClock for MachineClocks {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.0.wall()
    }
}

impl HostMonotonicClock for MachineClocks {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.0.monotonic_ns()
    }
}

impl rand_core::TryRng for MachineClocks {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.0.random() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.random())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(size_of::<u64>()) {
            let random = self.0.random().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_may_hold_so_many_resources_of_wasi_and_no_more() {
        let mut table = wasi_table();
        for _ in 0..WASI_RESOURCES_MAX {
            table.push(()).unwrap();
        }
        table.push(()).unwrap_err();
    }
}
