//! wasmtime's engine: what the shared wal-index needs of it, the pool that the
//! instances of a [`Host`](crate::Host) live in, and the clock that interrupts
//! guests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::Error;

/// How long a guest computes between two looks at its limits.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The address space of one instance's memory. With all that 32 bits can
/// address reserved, compiled code needs no bounds checks, and the memory never
/// has to move.
const RESERVED_BYTES: u64 = 4 << 30;

/// Sets what [`add_to_linker`](crate::add_to_linker) relies on, and nothing
/// else, so that an embedder can use an engine of its own.
///
/// - Memories never move: the wal-index is mapped at fixed addresses in them.
/// - Memories may be initialized copy-on-write (wasmtime's default): a region
///   is only ever mapped over anonymous memory, so that a pool can still bring
///   back a component's static data (`storage/mapping.rs`).
/// - The threads proposal, for its fence: two of them for each read of the
///   wal-index. Leave `shared_memory` off (wasmtime's default): a guest with
///   such a memory could block the host's thread.
pub fn configure(config: &mut Config) {
    config
        .memory_may_move(false)
        .memory_reservation(RESERVED_BYTES)
        .wasm_component_model(true)
        .wasm_simd(true)
        .wasm_threads(true)
        .wasm_bulk_memory(true);
}

/// How a guest that computes is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// After some time.
    Epochs,
    /// After so many instructions: always at the same place.
    Fuel,
}

/// The engine of a host with at most `instances_max` live instances of at most
/// `memory_bytes_max` each.
pub(crate) fn pooled_engine(
    instances_max: u32,
    memory_bytes_max: u64,
    interruption: Interruption,
) -> Result<Engine, Error> {
    // A component of ours has one memory and, with the shims that `wit-component`
    // adds, about four core instances and two tables. The totals are counters
    // or address space, not memory: room to spare costs nothing.
    let core_instances_each = 16;
    let tables_each = 4;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances_max)
        .total_core_instances(instances_max.saturating_mul(core_instances_each))
        .total_memories(instances_max)
        .total_tables(instances_max.saturating_mul(tables_each))
        .total_stacks(instances_max)
        .max_core_instances_per_component(core_instances_each)
        .max_memories_per_component(1)
        .max_tables_per_component(tables_each)
        .max_memory_size(memory_bytes_max.min(RESERVED_BYTES) as usize)
        // A slot gives all its memory back. Zeroing the start of it by hand
        // would be slower here (that is the guest's stack, mostly untouched),
        // and finding what was touched with `PAGEMAP_SCAN` takes pages that
        // were swapped out for clean: the next instance would find them.
        .linear_memory_keep_resident(0)
        .pagemap_scan(Enabled::No);

    let mut config = Config::new();
    configure(&mut config);
    config
        .epoch_interruption(interruption == Interruption::Epochs)
        .consume_fuel(interruption == Interruption::Fuel)
        // Ours are synchronous components. Said here because another crate of
        // the same build may switch wasmtime's feature on.
        .concurrency_support(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).map_err(Error::component)
}

/// Ticks an engine's epoch until it is dropped.
pub(crate) struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> Result<Self, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("beaver-ticker".into())
            .spawn({
                let (engine, stop) = (engine.clone(), stop.clone());
                move || {
                    while !stop.load(Ordering::Acquire) {
                        std::thread::park_timeout(TICK);
                        engine.increment_epoch();
                    }
                }
            })
            .map_err(|error| Error::io("starting the ticker thread", error))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It can't panic; and if it did, there is nothing left to tick.
            let _ = thread.join();
        }
    }
}
