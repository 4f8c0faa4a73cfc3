//! The component: built for wasm with flags of its own, and laid where everybody looks for it.
//!
//! What must stay true: the wasm build shares cargo's target folder with native builds and never
//! invalidates them (all flags travel in variables that only the wasm target reads), and the
//! published file changes only when its contents do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::paths;
use crate::process::{cargo, run_cargo_build};
use crate::toolchain::{self, TARGET, Toolchain};

pub(crate) const PACKAGE: &str = "beaver-component";
const PROFILE: &str = "component";

/// Names a component that is used instead of building one.
const ENV: &str = "BEAVER_COMPONENT";

/// A component that is ready to be loaded.
pub(crate) enum Component {
    /// Given by the user in `BEAVER_COMPONENT`.
    Given(PathBuf),
    /// Built here.
    Built { path: PathBuf, toolchain: Toolchain },
}

impl Component {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Given(path) | Self::Built { path, .. } => path,
        }
    }

    /// A given component is named again by its absolute path: tests run in other folders.
    pub(crate) fn pass_to(&self, command: &mut Command) {
        if let Self::Given(path) = self {
            command.env(ENV, path);
        }
    }

    /// The command that lints the component's code for wasm.
    pub(crate) fn clippy(&self) -> Option<Command> {
        match self {
            Self::Given(_) => None,
            Self::Built { toolchain, .. } => {
                let mut clippy = wasm_cargo("clippy", toolchain);
                clippy.args(["--", "-D", "warnings"]);
                Some(clippy)
            }
        }
    }
}

/// Checks the given component, or builds ours.
pub(crate) fn ready() -> Result<Component> {
    if let Some(given) = std::env::var_os(ENV).filter(|given| !given.is_empty()) {
        let path = std::path::absolute(&given)?;
        check(&path).with_context(|| format!("{ENV}={}", path.display()))?;
        return Ok(Component::Given(path));
    }
    let toolchain = toolchain::ready()?;
    let built = build(&paths::root(), &paths::target(), &toolchain)
        .context("`cargo xtask setup` repeats just this")?;
    let path = paths::component();
    publish(&built, &path)?;
    Ok(Component::Built { path, toolchain })
}

/// Builds the component of the workspace in `root`; returns the file that cargo made.
pub(crate) fn build(root: &Path, target: &Path, toolchain: &Toolchain) -> Result<PathBuf> {
    let mut build = wasm_cargo("build", toolchain);
    build.current_dir(root).env(paths::TARGET_DIR_ENV, target);
    ensure!(
        run_cargo_build(&mut build)?.success(),
        "building the component failed"
    );
    let built = target
        .join(TARGET)
        .join(PROFILE)
        .join(PACKAGE.replace('-', "_"))
        .with_extension("wasm");
    check(&built).with_context(|| format!("cargo built {}", built.display()))?;
    Ok(built)
}

fn wasm_cargo(command: &str, toolchain: &Toolchain) -> Command {
    let mut cargo = cargo();
    cargo
        .args([command, "--package", PACKAGE, "--target", TARGET])
        .args(["--profile", PROFILE])
        .env(paths::TARGET_DIR_ENV, paths::target())
        // These would silently replace the flags below, and are meant for native code.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .envs(toolchain.env());
    cargo
}

/// Puts a copy of `built` where everybody looks for it.
pub(crate) fn publish(built: &Path, place: &Path) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("reading {}", built.display()))?;
    if fs::read(place).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let dir = place.parent().context("the component has no folder")?;
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    // Renamed into place: a test that starts meanwhile must not load half of it.
    let fresh = place.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&fresh, &bytes).with_context(|| format!("writing {}", fresh.display()))?;
    fs::rename(&fresh, place).with_context(|| format!("writing {}", place.display()))?;
    eprintln!(
        "new component: {} ({} KiB)",
        place.display(),
        bytes.len() / 1024
    );
    Ok(())
}

fn check(file: &Path) -> Result<()> {
    let bytes = fs::read(file).context("the file can't be read")?;
    check_magic(&bytes)
}

/// The binary format's first eight bytes: magic, version, and layer (module 0, component 1).
/// <https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md>
fn check_magic(bytes: &[u8]) -> Result<()> {
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', _, _, 0, 0]) => {
            bail!("this is a core WebAssembly module, not a component")
        }
        _ => bail!("this is not a WebAssembly component"),
    }
}

#[cfg(test)]
mod tests {
    use super::check_magic;

    #[test]
    fn only_components_pass() {
        assert!(check_magic(b"\0asm\x0d\0\x01\0rest").is_ok());
        let module = check_magic(b"\0asm\x01\0\0\0rest").expect_err("a module");
        assert!(module.to_string().contains("core WebAssembly module"));
        assert!(check_magic(b"\0asm").is_err());
        assert!(check_magic(b"#!/bin/sh").is_err());
    }
}
