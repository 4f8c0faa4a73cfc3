//! Access to a store's [`Ctx`].

#![allow(unsafe_code)] // declares an `unsafe` trait

use crate::Ctx;

/// Gives [`add_to_linker`](crate::add_to_linker)'s functions the [`Ctx`] in the
/// data of a `Store<T>`.
///
/// # Safety
///
/// The shared wal-index is mapped into the store's linear memory at fixed
/// addresses, and the `Ctx` undoes that when it is dropped. Who implements this
/// promises:
///
/// 1. The store's engine was made from a configuration that
///    [`configure`](crate::configure) has set and that nobody has set otherwise
///    since: memories don't move.
/// 2. `ctx` returns the same `Ctx` for the life of the store, and that `Ctx` is
///    dropped no later than the store: it isn't moved out (`Store::into_data`,
///    `mem::take`, `mem::swap`) and isn't forgotten. Otherwise memory that was
///    given back would be written later, or would go on showing the wal-index
///    to its next owner.
///
/// Keeping the `Ctx` as a plain field of `T` and dropping the store when done is
/// all it takes: `Store`'s destructor drops its data first (`impl Drop for
/// Store`, wasmtime 48.0.8, src/runtime/store.rs:2422: `data_no_provenance`
/// before `inner`) and gives memories back after (`impl Drop for StoreOpaque`,
/// same file:2434).
///
/// The component must import `beaver:host/storage` directly. Another component
/// between the two would be given a copy of each buffer, and the mapping would
/// go into the copy.
pub unsafe trait View: Send + 'static {
    /// The context of this store.
    fn ctx(&mut self) -> &mut Ctx;
}
