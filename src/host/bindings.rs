//! The typed interface of `beaver:db` (wit/world.wit, world `client`), generated.
//!
//! Only the exports: the import `beaver:host/storage` is linked by hand in
//! linker.rs, because generated bindings copy lists and the shared wal-index
//! needs their addresses.

// Generated code: documented by the WIT texts, and `unsafe` in wasmtime's way.
#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::undocumented_unsafe_blocks
)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "beaver:db/client",
    exports: { default: async },
    additional_derives: [PartialEq],
});
