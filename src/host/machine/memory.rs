//! Memory that the instances of a simulated machine share: their wal-index.
//!
//! What must stay true: nobody here keeps a reference into it. A guest may write it whenever it
//! runs, so it is read and written by volatile copies.
#![allow(unsafe_code)]

use crate::Error;
use rustix::fs::MemfdFlags;
use rustix::mm::{MapFlags, ProtFlags};
use std::os::fd::OwnedFd;

pub use crate::storage::REGION_BYTES;

/// Some regions of 32 KiB, in a file without a name.
#[derive(Debug)]
pub struct SharedMemory {
    fd: OwnedFd,
    /// An address, to be used as a pointer only within `bytes`.
    at: usize,
    bytes: usize,
}

impl SharedMemory {
    /// Zeroed memory of `regions` regions.
    ///
    /// # Errors
    /// The system has no memory or no descriptor left.
    pub fn new(regions: usize) -> Result<Self, Error> {
        let bytes = regions.max(1).saturating_mul(REGION_BYTES);
        let made = || -> rustix::io::Result<Self> {
            let fd = rustix::fs::memfd_create(c"beaver-wal-index", MemfdFlags::CLOEXEC)?;
            rustix::fs::ftruncate(&fd, bytes as u64)?;
            // SAFETY: a new mapping at a place of the kernel's choice replaces nothing.
            let at = unsafe {
                rustix::mm::mmap(
                    std::ptr::null_mut(),
                    bytes,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::SHARED,
                    &fd,
                    0,
                )
            }?;
            let at = at.expose_provenance();
            Ok(Self { fd, at, bytes })
        };
        made().map_err(|errno| Error::io("shared memory", errno.into()))
    }

    /// How many regions it has room for.
    pub fn regions(&self) -> usize {
        self.bytes / REGION_BYTES
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    fn byte(&self, offset: usize) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut::<u8>(self.at).wrapping_add(offset)
    }

    /// Copies what stands at `offset`; what lies beyond the end is zero.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) {
        let there = self.bytes.saturating_sub(offset).min(buffer.len());
        let (known, beyond) = buffer.split_at_mut(there);
        for (index, byte) in known.iter_mut().enumerate() {
            // SAFETY: below `bytes`, so within the mapping, which lives as long as `self`, and is
            // never cut (the file is nobody else's). Volatile, as guests write it too.
            *byte = unsafe { self.byte(offset + index).read_volatile() };
        }
        beyond.fill(0);
    }

    /// Makes all of it zero.
    pub fn clear(&self) {
        for word in 0..self.bytes / size_of::<u64>() {
            let at = self.byte(word * size_of::<u64>()).cast::<u64>();
            // SAFETY: as in `read`; `at` is aligned, as the mapping begins at a page.
            unsafe { at.write_volatile(0) };
        }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this size, and nothing refers to it.
        let unmapped = unsafe { rustix::mm::munmap(self.byte(0).cast(), self.bytes) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_through_the_file_is_read_and_cleared() {
        let memory = SharedMemory::new(2).unwrap();
        assert_eq!(memory.regions(), 2);
        rustix::io::pwrite(memory.fd(), b"index", REGION_BYTES as u64).unwrap();
        let mut read = [7; 6];
        memory.read(REGION_BYTES, &mut read);
        assert_eq!(&read, b"index\0");
        memory.read(2 * REGION_BYTES - 3, &mut read);
        assert_eq!(read, [0; 6]);
        memory.clear();
        memory.read(REGION_BYTES, &mut read);
        assert_eq!(read, [0; 6]);
    }
}
