//! Instances on a machine of somebody else's making: files, locks, clocks, random numbers and
//! waits all come from a [`Machine`] in place of the operating system. The simulator is one.
//!
//! What must stay true:
//! - The component is the same, byte for byte, and so is the client: only the imports differ.
//! - Each call of `beaver:host/storage` comes to [`Machine::poll_call`] before it has any effect,
//!   and the guest goes on only when that is ready. So a machine decides who runs when.
//! - An instance reads no clock and no random number but the machine's ([`Clocks`]). It computes
//!   the same from the same answers, in the same number of steps.
//! - Guest memory is given back to the pool only after the mappings in it are undone.

mod linker;
mod memory;
mod seat;

pub use crate::storage::{
    Begin, Capabilities, Commits, ErrorCode, FileKind, Interest, LockLevel, OpenFlags, ShmLockKind,
    SyncKind, WatcherId, Watchers,
};
pub use memory::{REGION_BYTES, SharedMemory};

pub(crate) use linker::add_to_linker;
pub(crate) use seat::Seat;

use crate::builder::Shared;
use crate::interrupt::Interrupter;
use crate::limits::Limits;
use crate::state::State;
use crate::{Error, HostBuilder, Instance};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use wasmtime::Store;

/// What an instance asks of its machine: the calls of `beaver:host/storage`, whose documentation
/// says what each means. `file` is the number that the machine gave out for it.
#[derive(Debug)]
#[expect(
    missing_docs,
    reason = "wit/deps/beaver-host/storage.wit documents each"
)]
pub enum HostCall<'a> {
    GetCapabilities,
    OpenFile {
        name: &'a str,
        kind: FileKind,
        how: OpenFlags,
    },
    /// The handle was dropped by the guest.
    CloseFile {
        file: u32,
    },
    DeleteFile {
        name: &'a str,
        sync_directory: bool,
    },
    FileExists {
        name: &'a str,
    },
    IsReadOnly {
        file: u32,
    },
    ReadAt {
        file: u32,
        offset: u64,
        len: u32,
    },
    ReadInto {
        file: u32,
        offset: u64,
        buffer: &'a mut [u8],
    },
    WriteAt {
        file: u32,
        offset: u64,
        data: &'a [u8],
    },
    Size {
        file: u32,
    },
    Truncate {
        file: u32,
        size: u64,
    },
    Sync {
        file: u32,
        kind: SyncKind,
    },
    Lock {
        file: u32,
        level: LockLevel,
    },
    Unlock {
        file: u32,
        level: LockLevel,
    },
    CheckReserved {
        file: u32,
    },
    /// Regions come in order; one that is mapped already isn't asked for again.
    ShmMap {
        file: u32,
        region: u32,
        extend: bool,
    },
    ShmLock {
        file: u32,
        first: u32,
        count: u32,
        kind: ShmLockKind,
    },
    ShmLockWait {
        file: u32,
        first: u32,
        count: u32,
        kind: ShmLockKind,
        timeout: Duration,
    },
    ShmUnlock {
        file: u32,
        first: u32,
        count: u32,
        kind: ShmLockKind,
    },
    /// The guest has its memory back already.
    ShmUnmap {
        file: u32,
        delete: bool,
    },
    Claim {
        file: u32,
        first: u64,
        count: u64,
    },
    EndClaim {
        file: u32,
        token: u64,
    },
    IsClaimed {
        file: u32,
        token: u64,
    },
    ChangeToken {
        file: u32,
    },
    Watch {
        file: u32,
        interest: Option<Interest>,
    },
    Announce {
        file: u32,
        topics: &'a [u64],
    },
    WaitChange {
        file: u32,
        seen: u64,
        timeout: Duration,
    },
    Sleep {
        duration: Duration,
    },
}

/// What a machine answers. A call that is answered with what it can't mean makes the guest trap.
#[derive(Debug)]
pub enum Reply {
    /// It is done; nothing to say.
    Done,
    /// Yes or no.
    Bool(bool),
    /// A size, a token, the number of a file, how many bytes were read.
    Number(u64),
    /// To `ReadAt`.
    Bytes(Vec<u8>),
    /// To `ShmMap`: the memory whose region is to be mapped; none where there is no such region.
    Region(Option<Arc<SharedMemory>>),
    /// To `GetCapabilities`.
    Capabilities(Capabilities),
    /// It failed.
    Failed(ErrorCode),
}

/// The instance is to end here: its guest traps in the middle of the call, which had no effect
/// unless the machine gave it one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crashed;

/// What stands under one instance. Dropped with it, after the guest's memory is its own again:
/// then locks, claims and files of the instance are to be given up.
pub trait Machine: Send + 'static {
    /// Carries out a call, or has it wait. It is polled again, with the same call, whenever the
    /// future of the call into the instance is.
    fn poll_call(
        &mut self,
        call: &mut HostCall<'_>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Reply, Crashed>>;

    /// How many instructions, about, the guest may compute from here until the future of the call
    /// is pending once. Asked when a call into the instance begins, and after each host call.
    fn slice(&mut self) -> NonZeroU64;
}

/// The clocks and random numbers of one instance.
pub trait Clocks: Send + Sync + 'static {
    /// Time since 1970-01-01 UTC.
    fn wall(&self) -> Duration;
    /// Nanoseconds since some moment.
    fn monotonic_ns(&self) -> u64;
    /// A random number.
    fn random(&self) -> u64;
}

/// A compiled component whose instances run on machines.
#[derive(Clone)]
pub struct MachineHost {
    shared: Arc<Shared>,
}

impl HostBuilder {
    /// Loads the component for instances on machines. Limits of computing time and files, and
    /// the call timeout, are left to the machines.
    pub fn build_for_machines(self) -> Result<MachineHost, Error> {
        let shared = self.build_shared(true)?;
        Ok(MachineHost {
            shared: Arc::new(shared),
        })
    }
}

impl MachineHost {
    /// Starts an instance on `machine`. It computes already: its machine may be asked something.
    pub async fn boot(
        &self,
        machine: impl Machine,
        clocks: Arc<dyn Clocks>,
    ) -> Result<Instance, Error> {
        let shared = &self.shared;
        let limits = Limits::new(shared.memory_bytes_max, None, Interrupter::default());
        let seat = Seat::new(Box::new(machine));
        let mut store = Store::new(&shared.engine, State::on_machine(seat, limits, clocks));
        store.limiter(|state| &mut state.limits);
        store.set_fuel(u64::MAX).map_err(Error::component)?;
        let slice = store.data_mut().slice();
        store
            .fuel_async_yield_interval(slice)
            .map_err(Error::component)?;
        crate::instance_builder::instantiate(shared, store).await
    }
}

impl std::fmt::Debug for MachineHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MachineHost").finish_non_exhaustive()
    }
}
