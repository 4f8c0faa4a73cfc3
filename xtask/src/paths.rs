//! Where things lie. The component and the Python environment are found by tests, examples and
//! the demo at these very places, without any variable set: a change here is a change there.

use std::path::{Path, PathBuf};

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where the user wants cargo's target folder.
pub(crate) const TARGET_DIR_ENV: &str = "CARGO_TARGET_DIR";

/// Cargo's target folder, absolute: commands that we start run in other folders.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os(TARGET_DIR_ENV) {
        Some(dir) if !dir.is_empty() => {
            std::path::absolute(&dir).unwrap_or_else(|_| PathBuf::from(dir))
        }
        _ => root().join("target"),
    }
}

/// The component that everything loads.
pub(crate) fn component() -> PathBuf {
    target().join("component").join("beaver.wasm")
}

/// The fuzzing targets and their corpora.
pub(crate) fn fuzz() -> PathBuf {
    root().join("fuzz")
}

/// The patches that plant faults into the component.
pub(crate) fn planted_patches() -> PathBuf {
    root().join("harness").join("sim").join("planted")
}

/// The components with planted faults, `NAME.wasm`, and what they are made in.
pub(crate) fn planted() -> PathBuf {
    target().join("planted")
}

/// The Python environment that holds BeaverDB.
pub(crate) fn python_env() -> PathBuf {
    target().join("python")
}

/// What set-up downloads or builds to compile for wasm.
pub(crate) fn wasm_toolchain() -> PathBuf {
    target().join("wasm-toolchain")
}

/// The program `name` in the folders of `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
        .find(|file| file.is_file())
}
