//! Models of what threads of one host process share, for the model checker
//! loom: it runs each model in every order of its threads' steps, with every
//! value that the memory model lets them read.
//!
//! What is checked is the real code. [`waiting`] and [`counting`] compile the
//! files of the parent folder as they are, with other modules in the place of
//! the four that loom can't follow: `sync` (loom's types), `timer` (a model
//! moves the time), `token` (an atomic) and, behind `ByteRange`, the kernel.
//! [`faults`] are the same trees, each with one error planted in a copy of one
//! file by `build.rs`; a model is worth something only if it finds its own.
//!
//! What must stay true: the real code has no part in this. No `cfg`, no hook.
//! This library is empty where it is itself compiled as a test (as lints do):
//! the parent folder's unit tests would come along with its files.
#![cfg(not(test))]
// Each tree has its own.
#![allow(clippy::duplicate_mod)]

pub mod check;
pub mod counting;
pub mod waiting;

#[allow(warnings, clippy::all)]
pub mod faults {
    //! The trees with a planted error each; see `build.rs`.
    include!(concat!(env!("OUT_DIR"), "/faults.rs"));
}
