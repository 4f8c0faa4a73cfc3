//! The simulated host.

pub mod disk;
pub mod locks;
