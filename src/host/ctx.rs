//! What one guest holds: its grant, its open files, and where the wal-index is
//! mapped into its memory.
//!
//! Invariants:
//! - A mapping lies in the linear memory of the store that owns this `Ctx` and
//!   is undone before that memory is given back. Otherwise the next instance in
//!   the pool's slot would write into somebody's wal-index. Hence `View` is
//!   `unsafe`, and files are closed here before wasmtime frees memories.
//! - No two mappings overlap, and no buffer that the host reads or writes
//!   through a slice overlaps a mapping.

use std::ops::Range;

use crate::Grant;
use crate::limits::Stopped;
use crate::memory::GuestBuffer;
use crate::storage;
use crate::storage::{ErrorCode, OpenFile, Storage, StorageLimits};

/// A mapped region splits the process's memory map in up to three, and Linux
/// allows 65,530 parts for all instances together. This many regions serve a
/// write-ahead log of 4 GiB.
const REGIONS_MAX: usize = 256;

/// What [`add_to_linker`](crate::add_to_linker) needs of a store's data: the
/// files that the guest may open, and those it has open.
pub struct Ctx {
    pub(crate) storage: Storage,
    files: Vec<Option<OpenFile>>,
    mapped: Vec<Mapped>,
    /// How many losses of wal-indexes have been looked at; see [`check`](Ctx::check).
    losses_seen: u64,
    /// Set by [`Host`](crate::Host), whose epochs interrupt a guest that computes.
    pub(crate) restart_tick_after_wait: bool,
}

/// A region of a file's wal-index in the guest's memory.
struct Mapped {
    file: u32,
    addresses: Range<usize>,
}

impl Ctx {
    /// A context that grants the files of `grant`.
    pub fn builder(grant: Grant) -> CtxBuilder {
        CtxBuilder {
            grant,
            limits: StorageLimits::default(),
            restart_tick_after_wait: false,
        }
    }

    /// Closes all files: releases their locks, undoes their mappings.
    pub(crate) fn release(&mut self) {
        self.files.clear();
        self.mapped.clear();
    }

    /// An error when somebody cut a wal-index under the guest, which may have read zeros in its
    /// place. Ask it after each call of the guest, before what it computed is given to
    /// anybody; [`Host`](crate::Host) and [`Instance`](crate::Instance) do. The guest's own calls
    /// of the storage interface ask it by themselves. The instance is to be dropped then.
    ///
    /// # Errors
    /// The loss, as what the guest's call would have ended with.
    pub fn check_wal_index(&mut self) -> wasmtime::Result<()> {
        self.check().map_err(wasmtime::Error::new)
    }

    /// The same, with the reason as it is found again by downcast.
    pub(crate) fn check(&mut self) -> Result<(), Stopped> {
        let losses = storage::losses();
        if losses != self.losses_seen {
            if (self.files.iter().flatten()).any(OpenFile::has_lost_wal_index) {
                return Err(Stopped::WalIndexCut);
            }
            self.losses_seen = losses;
        }
        Ok(())
    }

    /// Keeps an open file; its number is what the guest's handle stands for.
    /// Numbers stay small: their count is bounded by `StorageLimits`.
    pub(crate) fn insert(&mut self, file: OpenFile) -> Result<u32, ErrorCode> {
        let free = self.files.iter().position(Option::is_none);
        let index = free.unwrap_or(self.files.len());
        let number = u32::try_from(index).map_err(|_| ErrorCode::TooManyFiles)?;
        match self.files.get_mut(index) {
            Some(slot) => *slot = Some(file),
            None => self.files.push(Some(file)),
        }
        Ok(number)
    }

    /// The file of a handle. wasmtime passes only numbers that `insert` gave
    /// out and `remove` has not taken back, so an error is a bug in this crate;
    /// it traps the guest rather than the process.
    pub(crate) fn file(&mut self, number: u32) -> wasmtime::Result<&mut OpenFile> {
        self.numbered(number)
            .map_err(|_| wasmtime::Error::msg("a file handle without a file"))
    }

    /// The file that a guest calls by its number, which it may have made up.
    pub(crate) fn numbered(&mut self, number: u32) -> Result<&mut OpenFile, ErrorCode> {
        self.files
            .get_mut(number as usize)
            .and_then(Option::as_mut)
            .ok_or(ErrorCode::InvalidArgument)
    }

    /// Closes a file.
    pub(crate) fn remove(&mut self, number: u32) {
        if let Some(slot) = self.files.get_mut(number as usize) {
            *slot = None;
        }
        self.forget_mappings(number);
    }

    /// Whether `buffer` may take a region of `file`.
    pub(crate) fn check_mappable(&self, file: u32, buffer: GuestBuffer) -> Result<(), ErrorCode> {
        let addresses = buffer.addresses();
        if self
            .mapped
            .iter()
            .any(|m| m.file == file && m.addresses == addresses)
        {
            return Ok(()); // asked for again: the file compares region numbers
        }
        if self.overlaps_mapping(buffer) {
            // Undoing one of the two mappings would cut a hole into the other.
            return Err(ErrorCode::InvalidArgument);
        }
        if self.mapped.len() >= REGIONS_MAX {
            return Err(ErrorCode::Full);
        }
        Ok(())
    }

    /// Notes that `buffer` now shows a region of a file's wal-index.
    pub(crate) fn remember_mapping(&mut self, file: u32, buffer: GuestBuffer) {
        let addresses = buffer.addresses();
        if !self.mapped.iter().any(|m| m.addresses == addresses) {
            self.mapped.push(Mapped { file, addresses });
        }
    }

    /// Notes that a file's regions are private memory again.
    pub(crate) fn forget_mappings(&mut self, file: u32) {
        self.mapped.retain(|mapped| mapped.file != file);
    }

    /// Whether others may write the memory of `buffer` meanwhile.
    pub(crate) fn overlaps_mapping(&self, buffer: GuestBuffer) -> bool {
        let buffer = buffer.addresses();
        self.mapped.iter().any(|mapped| {
            mapped.addresses.start < buffer.end && buffer.start < mapped.addresses.end
        })
    }
}

impl std::fmt::Debug for Ctx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ctx")
            .field("open_files", &self.files.iter().flatten().count())
            .finish_non_exhaustive()
    }
}

/// Settings of a [`Ctx`].
#[derive(Debug)]
pub struct CtxBuilder {
    grant: Grant,
    limits: StorageLimits,
    restart_tick_after_wait: bool,
}

impl CtxBuilder {
    /// How many files may be open at a time; beyond, opening answers
    /// `too-many-files`. Default: 64.
    pub fn max_open_files(mut self, count: usize) -> Self {
        self.limits.max_open_files = count;
        self
    }

    /// How large a file may become; beyond, writing answers `full`. Default:
    /// no limit but the disk's.
    pub fn max_file_bytes(mut self, bytes: u64) -> Self {
        self.limits.max_file_bytes = bytes;
        self
    }

    /// After a wait, give the guest a whole tick before its next epoch
    /// callback: there is nothing to interrupt yet.
    pub(crate) fn restart_tick_after_wait(mut self) -> Self {
        self.restart_tick_after_wait = true;
        self
    }

    /// The context.
    pub fn build(self) -> Ctx {
        Ctx {
            storage: Storage::new(self.grant, self.limits),
            files: Vec::new(),
            mapped: Vec::new(),
            losses_seen: 0,
            restart_tick_after_wait: self.restart_tick_after_wait,
        }
    }
}
