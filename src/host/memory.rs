//! Buffers of a guest, by address: the one place that looks into linear memory
//! behind wasmtime's back.
//!
//! A `list<u8>` parameter normally arrives as a copy. Reading a file into the
//! guest, writing from it without a copy, and mapping the wal-index all need
//! the place itself.

#![allow(unsafe_code)]

use std::ops::Range;

use wasmtime::StoreContextMut;
use wasmtime::component::WasmList;

/// Where a `list<u8>` of a guest lies in this process.
#[derive(Clone, Copy)]
pub(crate) struct GuestBuffer {
    at: usize,
    len: usize,
}

impl GuestBuffer {
    /// The place of `list`, which the guest just passed to a host function.
    ///
    /// wasmtime has checked that it lies within the guest's memory, and a
    /// memory never shrinks. It stays at this address for the life of the store
    /// because the engine is one of [`configure`](crate::configure)'s.
    pub(crate) fn of<T: 'static>(list: &WasmList<u8>, store: &StoreContextMut<'_, T>) -> Self {
        // The reference exists only to take the address. No byte is read
        // through it: part of it may be a wal-index that others write.
        let bytes = list.as_le_slice(store);
        Self {
            at: bytes.as_ptr().expose_provenance(),
            len: bytes.len(),
        }
    }

    pub(crate) fn len(self) -> usize {
        self.len
    }

    pub(crate) fn addresses(self) -> Range<usize> {
        self.at..self.at + self.len
    }

    pub(crate) fn as_mut_ptr(self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.at)
    }

    /// The bytes, to read.
    ///
    /// # Safety
    ///
    /// For as long as `'a`: the store is alive, its guest doesn't run and
    /// nobody else is given this memory (a host function that hasn't returned
    /// and holds its `StoreContextMut` sees to all three), and no wal-index is
    /// mapped into it, which others would write meanwhile.
    pub(crate) unsafe fn as_slice<'a>(self) -> &'a [u8] {
        // SAFETY: in bounds and readable (see `of`), initialized as all of a
        // linear memory is, unchanged meanwhile by the caller's promise.
        unsafe { std::slice::from_raw_parts(self.as_mut_ptr(), self.len) }
    }

    /// The bytes, to write.
    ///
    /// # Safety
    ///
    /// As for [`as_slice`](Self::as_slice), and there is no other slice of them.
    pub(crate) unsafe fn as_mut_slice<'a>(self) -> &'a mut [u8] {
        // SAFETY: as above; a linear memory is writable up to its size, and
        // the pages under a `list` are below it.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.len) }
    }
}
