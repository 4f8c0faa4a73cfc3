//! What a [`Host`](crate::Host) keeps in each store.

#![allow(unsafe_code)] // `unsafe impl View`

use wasmtime::component::ResourceTable;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::instance_builder::WallClock;
use crate::limits::Limits;
use crate::{Ctx, View};

/// How much of what a guest says on its standard error is kept. It speaks only
/// to panic; beyond this its writes fail, which a panic survives.
const STDERR_BYTES_MAX: usize = 16 << 10;

/// The data of a host's stores.
pub(crate) struct State {
    ctx: Ctx,
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
            .wall_clock(clock)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self {
            ctx,
            wasi,
            table: ResourceTable::new(),
            limits,
            stderr,
        }
    }

    /// Closes all files: their locks are released, their mappings undone.
    pub(crate) fn release(&mut self) {
        self.ctx.release();
    }
}

// SAFETY: the two promises of `View`. The engine comes from `pooled_engine`,
// which calls `configure`. A `State` is made for one store and handed to it at
// once (builder.rs); nothing moves the `Ctx` out of it, calls `into_data` or
// forgets the store.
unsafe impl View for State {
    fn ctx(&mut self) -> &mut Ctx {
        &mut self.ctx
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
