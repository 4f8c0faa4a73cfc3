//! The WebAssembly component: the managers of `beaver-core` as WIT resources,
//! and below them SQLite over the host's `storage` import.
//!
//! ```text
//! database.rs dict.rs list.rs queue.rs lock.rs …   one adapter per WIT interface
//!        │ core handles                runtime.rs        clocks, randomness, waiting for core
//!        ▼                                │
//!   beaver-core → SQLite → vfs/ ──────────┴──► beaver:host/storage
//! ```
//!
//! What must stay true:
//! - Nothing here decides: an adapter converts arguments and results, the VFS
//!   converts calls and codes. Semantics live in `beaver-core` and the host.
//! - No argument makes the component panic: a panic is a trap, which takes the
//!   whole instance with it.
//! - Only `vfs/`, `memcmp.rs` and the generated bindings contain `unsafe`.
//!
//! Everything but [`memcmp`] exists only for `wasm32`; natively the crate is
//! empty, so that the whole workspace can be checked at once.

#[cfg(target_arch = "wasm32")]
#[allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all
)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "component",
        generate_all,
    });

    use crate::Component;
    export!(Component);
}

#[cfg(target_arch = "wasm32")]
mod blob;
#[cfg(target_arch = "wasm32")]
mod channel;
#[cfg(target_arch = "wasm32")]
mod collection;
#[cfg(target_arch = "wasm32")]
mod convert;
#[cfg(target_arch = "wasm32")]
mod database;
#[cfg(target_arch = "wasm32")]
mod dict;
#[cfg(target_arch = "wasm32")]
mod dump;
#[cfg(target_arch = "wasm32")]
mod error;
#[cfg(target_arch = "wasm32")]
mod events;
#[cfg(target_arch = "wasm32")]
mod list;
#[cfg(target_arch = "wasm32")]
mod lock;
#[cfg(target_arch = "wasm32")]
mod log;
#[cfg(any(target_arch = "wasm32", test))]
mod memcmp;
#[cfg(target_arch = "wasm32")]
mod queue;
#[cfg(target_arch = "wasm32")]
mod runtime;
#[cfg(target_arch = "wasm32")]
mod transaction;
#[cfg(target_arch = "wasm32")]
mod vfs;

/// What exports the world's interfaces; has no state of its own.
#[cfg(target_arch = "wasm32")]
struct Component;
