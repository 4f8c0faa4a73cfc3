//! What the store of an instance on a machine keeps.
//!
//! What must stay true: mappings go before the machine does, and both before the guest's memory
//! (wasmtime drops a store's data before its memories; see `View`).

use super::{HostCall, Machine, SharedMemory};
use crate::memory::GuestBuffer;
use crate::storage::{ErrorCode, Mappings};
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

/// A machine and where its shared memory is mapped.
pub(crate) struct Seat {
    /// By file.
    mapped: BTreeMap<u32, Mapped>,
    machine: Option<Box<dyn Machine>>,
}

/// The regions of one file in the guest's memory.
#[derive(Default)]
struct Mapped {
    mappings: Mappings,
    buffers: Vec<GuestBuffer>,
    memory: Option<Arc<SharedMemory>>,
}

impl Seat {
    pub(crate) fn new(machine: Box<dyn Machine>) -> Self {
        Self {
            mapped: BTreeMap::new(),
            machine: Some(machine),
        }
    }

    /// None once the instance has ended.
    pub(crate) fn machine(&mut self) -> Option<&mut dyn Machine> {
        Some(self.machine.as_mut()?.as_mut())
    }

    /// How long the guest may compute; none if there is nobody to say so.
    pub(crate) fn slice(&mut self) -> Option<u64> {
        self.machine()
            .map(|machine| NonZeroU64::get(machine.slice()))
    }

    /// Whether `buffer` can take the region; true: it has it already.
    pub(crate) fn check(
        &mut self,
        file: u32,
        region: u32,
        buffer: GuestBuffer,
    ) -> Result<bool, ErrorCode> {
        let known = self.mapped.entry(file).or_default();
        let there = known
            .mappings
            .check(region, buffer.as_mut_ptr(), buffer.len())?;
        if !there && self.overlaps(buffer) {
            return Err(ErrorCode::InvalidArgument);
        }
        Ok(there)
    }

    /// Maps the next region of a file.
    ///
    /// # Safety
    /// `buffer` passed [`check`](Self::check) for this file and its next region, and lies in the
    /// guest's memory, which stays at its place until this seat is dropped; nobody holds a
    /// reference into it.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn map(
        &mut self,
        file: u32,
        buffer: GuestBuffer,
        memory: Arc<SharedMemory>,
    ) -> Result<(), ErrorCode> {
        let known = self.mapped.entry(file).or_default();
        if known.mappings.len() >= memory.regions() {
            return Err(ErrorCode::Full);
        }
        // SAFETY: the caller's promise; and the memory has the region, as was just checked.
        unsafe { known.mappings.map_next(memory.fd(), buffer.as_mut_ptr()) }?;
        known.buffers.push(buffer);
        known.memory = Some(memory);
        Ok(())
    }

    /// Gives the guest its memory back.
    pub(crate) fn unmap(&mut self, file: u32) -> Result<(), ErrorCode> {
        if let Some(known) = self.mapped.get_mut(&file) {
            known.mappings.restore()?;
            self.mapped.remove(&file);
        }
        Ok(())
    }

    /// Whether others may write the memory of `buffer` meanwhile.
    pub(crate) fn overlaps(&self, buffer: GuestBuffer) -> bool {
        let wanted = buffer.addresses();
        let mut mapped = self.mapped.values().flat_map(|known| &known.buffers);
        mapped.any(|mapped| {
            let mapped = mapped.addresses();
            mapped.start < wanted.end && wanted.start < mapped.end
        })
    }

    /// Ends the instance on its machine.
    pub(crate) fn release(&mut self) {
        self.mapped.clear();
        self.machine = None;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.release();
    }
}

/// What is left to do for a call before the machine sees it.
pub(crate) fn closes(call: &HostCall<'_>) -> Option<u32> {
    match call {
        HostCall::CloseFile { file } | HostCall::ShmUnmap { file, .. } => Some(*file),
        _ => None,
    }
}
