//! The registry, with reference counts that loom sees.
//!
//! What must stay true: as in `waiting.rs`.
#![allow(dead_code, unreachable_pub, unused_imports)]

#[path = "../registry.rs"]
mod registry;

#[path = "counted.rs"]
mod counted;
#[path = "sync.rs"]
mod loom_sync;

#[path = "models/registry.rs"]
pub mod registry_models;

mod sync {
    pub(crate) use super::counted::{Arc, Weak};
    pub(crate) use super::loom_sync::Mutex;
}
