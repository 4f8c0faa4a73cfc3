//! SQLite's operating system: a VFS named `beaver` over `beaver:host/storage`.
//!
//! | file | holds |
//! | --- | --- |
//! | `register.rs` | `sqlite3_os_init`, the VFS object |
//! | `names.rs` | methods on names: open, delete, access, full path |
//! | `environment.rs` | clock, sleep, randomness, last error |
//! | `file.rs` | an open file and its methods |
//! | `control.rs` | `xFileControl`, and how `runtime.rs` reaches the database file |
//! | `shm.rs` | the wal-index: map, lock, barrier, unmap |
//! | `raw.rs` | the two host calls that write into guest memory |
//! | `call.rs` | what every callback does around its body |
//! | `codes.rs` | host errors as SQLite result codes |
//!
//! What must stay true:
//! - The guest remembers nothing that the host or SQLite knows: no cached
//!   sizes, no cached locks. What another instance did is seen at the next call.
//! - A callback never calls back into SQLite (but for its allocator), so an
//!   exclusive reference to an open file lives as long as the callback.
//! - Nothing panics: a panic is a trap.

#![allow(unsafe_code)]

mod call;
mod codes;
mod control;
mod environment;
mod file;
mod names;
mod raw;
mod register;
mod shm;

pub(crate) use control::{
    announce, change_token, claim, end_claim, is_claimed, wait_change, watch,
};
