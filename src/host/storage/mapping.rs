//! Maps regions of the wal-index over guest memory, and gives the guest plain
//! memory back.
//!
//! What must stay true:
//! - A region that was mapped becomes private zeroed memory before anything
//!   else happens to the handle: before its locks go (somebody might truncate
//!   the file, and a guest access would be a SIGBUS) and before the guest's
//!   memory is reused.
//! - Nothing is ever mapped past the file's end. Should somebody cut the file later,
//!   `sigbus` puts zeros in the regions' places; they are restored as ever.
//! - Nothing is ever mapped over what isn't private anonymous memory: not over
//!   a component's static data, not over another mapping.
#![allow(unsafe_code)]

use super::error::ErrorCode;
use super::sigbus::{Entry, Owner};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

/// The size of a wal-index region, SQLite's `WALINDEX_PGSZ`.
pub const REGION_BYTES: usize = 32 * 1024;

/// Whether this machine can map single regions: where pages are larger than a
/// region (64 KiB on some ARM systems), a region's offset in the file isn't
/// the start of a page.
pub(crate) fn can_map() -> bool {
    page_bytes().is_some_and(|page| REGION_BYTES.is_multiple_of(page))
}

fn page_bytes() -> Option<usize> {
    static PAGE: OnceLock<Option<usize>> = OnceLock::new();
    *PAGE.get_or_init(|| {
        // SAFETY: sysconf has no preconditions.
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(bytes).ok().filter(|bytes| *bytes > 0)
    })
}

/// The regions one handle has mapped, in order from region 0.
#[derive(Debug, Default)]
pub(crate) struct Mappings {
    /// Addresses, not pointers: they are never dereferenced here, only handed
    /// to `mmap`.
    regions: Vec<Entry>,
    /// Whose they are to the handler of `SIGBUS`; since the first.
    owner: Option<Owner>,
}

impl Mappings {
    pub(crate) fn len(&self) -> usize {
        self.regions.len()
    }

    /// Whether somebody cut the file under the guest, which has found zeros since.
    pub(crate) fn are_lost(&self) -> bool {
        // All regions are lost at once.
        self.regions.first().is_some_and(Entry::is_lost)
    }

    /// Whether `[at, at + len)` can take region `region`: the right size and
    /// alignment, the next region in order, over no other region's buffer.
    /// `Ok(true)`: that very mapping exists already.
    pub(crate) fn check(&self, region: u32, at: *mut u8, len: usize) -> Result<bool, ErrorCode> {
        let (at, region) = (at.addr(), region as usize);
        let page = page_bytes().ok_or(ErrorCode::Unsupported)?;
        if len != REGION_BYTES || at == 0 || !at.is_multiple_of(page) || region > self.regions.len()
        {
            return Err(ErrorCode::InvalidArgument);
        }
        if let Some(mapped) = self.regions.get(region) {
            return if mapped.at() == at {
                Ok(true)
            } else {
                Err(ErrorCode::InvalidArgument)
            };
        }
        if self
            .regions
            .iter()
            .any(|other| other.at().abs_diff(at) < REGION_BYTES)
        {
            return Err(ErrorCode::InvalidArgument);
        }
        Ok(false)
    }

    /// Maps the next region of `shm` over `[at, at + REGION_BYTES)`.
    ///
    /// # Safety
    /// `[at, at + REGION_BYTES)` passed [`Self::check`], is mapped readable and
    /// writable memory that the caller may replace, and stays so until
    /// [`Self::restore`] or the drop of `self`. The file has the region.
    pub(crate) unsafe fn map_next(&mut self, shm: &OwnedFd, at: *mut u8) -> Result<(), ErrorCode> {
        let offset = (self.regions.len() * REGION_BYTES) as u64;
        // Before the mapping exists, so that no failure comes after it.
        self.regions.try_reserve(1).map_err(|_| ErrorCode::Io)?;
        let owner = match &self.owner {
            Some(owner) => owner,
            None => self.owner.insert(Owner::new()?),
        };
        // Only over plain anonymous memory. A pool of instances maps a
        // component's static data from a file, and counts on that mapping to
        // bring the data back for the next instance: replaced by zeros, the
        // next one would find its data blank. The kernel knows which is which:
        // madvise(2), MADV_FREE: "can be applied only to private anonymous
        // pages", else EINVAL. What it may drop is about to be replaced.
        //
        // SAFETY: the caller lets us replace this very range.
        unsafe { rustix::mm::madvise(at.cast(), REGION_BYTES, Advice::LinuxFree) }
            .map_err(|_| ErrorCode::InvalidArgument)?;
        let entry = owner.enter(at.expose_provenance())?;
        // SAFETY: the caller gives us exactly this range to replace
        // (MAP_FIXED touches nothing outside it), and no Rust reference into
        // it outlives the guest's call.
        unsafe {
            rustix::mm::mmap(
                at.cast(),
                REGION_BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::FIXED,
                shm,
                offset,
            )
        }
        .map_err(map_error)?;
        self.regions.push(entry);
        Ok(())
    }

    /// Puts private zeroed memory where regions were. On an error the rest
    /// stays mapped and recorded.
    pub(crate) fn restore(&mut self) -> Result<(), ErrorCode> {
        while let Some(last) = self.regions.last() {
            if last.is_lost() {
                // Plain memory already, which the kernel may have merged with the guest's own. Replacing
                // a part of that would need a new mapping, and emptying it doesn't.
                //
                // SAFETY: `map_next`'s contract: the range still is the caller's guest memory, and
                // the handler has made it private and anonymous.
                unsafe {
                    rustix::mm::madvise(
                        std::ptr::with_exposed_provenance_mut(last.at()),
                        REGION_BYTES,
                        Advice::LinuxDontNeed,
                    )
                }
                .map_err(map_error)?;
                self.regions.pop();
                continue;
            }
            let last = last.at();
            // Neighbours in one call: the kernel may have merged them into one
            // mapping, and splitting it would need a new one, which fails when
            // the process has as many as it may.
            let mut start = last;
            let mut count = 1;
            for at in self.regions.iter().rev().skip(1) {
                if at.is_lost() || at.at().checked_add(REGION_BYTES) != Some(start) {
                    break;
                }
                start = at.at();
                count += 1;
            }
            // SAFETY: `map_next`'s contract: these ranges are still the
            // caller's guest memory, and ours to replace.
            unsafe {
                rustix::mm::mmap_anonymous(
                    std::ptr::with_exposed_provenance_mut(start),
                    count * REGION_BYTES,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
                )
            }
            .map_err(map_error)?;
            self.regions.truncate(self.regions.len() - count);
        }
        Ok(())
    }
}

impl Drop for Mappings {
    fn drop(&mut self) {
        if self.restore().is_err() {
            // The guest's memory would go back to the pool with the wal-index
            // of somebody's database in it: the next instance's ordinary
            // writes would corrupt that database. There is no safe way on.
            // (Neither replacing whole mappings nor emptying one needs a new
            // one, so the kernel has no reason to refuse.)
            std::process::abort();
        }
    }
}

/// `ENOMEM` is `vm.max_map_count`: each instance takes a few mappings.
fn map_error(errno: rustix::io::Errno) -> ErrorCode {
    match errno {
        rustix::io::Errno::NODEV => ErrorCode::Unsupported,
        rustix::io::Errno::AGAIN => ErrorCode::Io,
        other => ErrorCode::from(other),
    }
}
