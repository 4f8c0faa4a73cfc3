//! Our own builds in processes of their own: this executable, told to `serve`.

use super::{Alternating, StdioDriver};
use crate::protocol::Capability;
use anyhow::Context as _;
use std::path::PathBuf;

/// The executable that `beaver-harness serve` is: `executable` if given, else what the
/// environment variable `BEAVER_HARNESS` names, else this process's own.
///
/// # Errors
/// The system can't tell the path of its own.
pub fn executable(executable: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    match executable.or_else(|| std::env::var_os("BEAVER_HARNESS").map(PathBuf::from)) {
        Some(path) => Ok(path),
        None => std::env::current_exe().context("the path of this executable"),
    }
}

/// The component, each process a wasmtime host of its own.
///
/// # Errors
/// See [`executable`].
pub fn processes(own: Option<PathBuf>, component: Option<PathBuf>) -> anyhow::Result<StdioDriver> {
    let driver = StdioDriver::new(executable(own)?)
        .named("processes")
        .args(["serve", "component"]);
    Ok(match component {
        Some(component) => driver.arg(component),
        None => driver,
    })
}

/// The native build.
///
/// # Errors
/// See [`executable`].
pub fn native(own: Option<PathBuf>) -> anyhow::Result<StdioDriver> {
    let driver = StdioDriver::new(executable(own)?).named("native");
    Ok(driver.args(["serve", "native"]))
}

/// Both on one file: every other process is of the native build.
///
/// # Errors
/// See [`executable`].
pub fn both(own: Option<PathBuf>, component: Option<PathBuf>) -> anyhow::Result<Alternating> {
    let component = processes(own.clone(), component)?;
    let native = native(own)?;
    Alternating::new(
        "both",
        vec![Box::new(component), Box::new(native)],
        // A native client is a thread, which nobody can end.
        &[Capability::Drop, Capability::Trap],
    )
}
