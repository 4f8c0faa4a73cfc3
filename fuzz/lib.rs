//! What fuzzing tries on beaver-wasm, and what has to hold for it.
//!
//! Each module is a *target*: it makes something out of any bytes (a text, a sequence of
//! operations, a damaged file), does it, and panics if what has to hold doesn't. The programs
//! that libFuzzer drives (`targets/`, one line each) and the test that tries the corpus
//! (`corpus.rs`) call the same function.
//!
//! What must stay true: a target decides from the bytes alone, so that what was found is found
//! again; and a panic is always a finding, never a bad input.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a panic is a finding"
)]

mod clock;
mod component;
pub mod component_arguments;
pub mod component_files;
pub mod dump;
mod failed;
pub mod files;
pub mod fts;
pub mod graph;
mod hex;
pub mod history;
pub mod json;
pub mod list;
pub mod lock_rows;
pub mod operations;
mod ops;
pub mod protocol;
mod scratch;
pub mod secret;
pub mod storage;
mod sweep;

/// Something to be fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called, here, in `targets/` and in `corpus/`.
    pub name: &'static str,
    /// Tries one input.
    pub run: fn(&[u8]),
    /// How many inputs of chance the test command tries besides the corpus: as many as take a
    /// second or two.
    pub tries: u32,
    /// The longest input that makes sense, in bytes.
    pub bytes_max: usize,
}

/// All there are.
pub const TARGETS: &[Target] = &[
    list::TARGET,
    json::TARGET,
    fts::TARGET,
    graph::TARGET,
    lock_rows::TARGET,
    files::TARGET,
    dump::TARGET,
    secret::TARGET,
    protocol::TARGET,
    history::TARGET,
    operations::TARGET,
    storage::TARGET,
    component_files::TARGET,
    component_arguments::TARGET,
];

/// The target of this name.
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
