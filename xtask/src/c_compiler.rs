//! A C compiler for wasm and the C library's headers: SQLite is C.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::paths::{self, on_path};
use crate::process::{program, run_quiet};
use crate::{debian, toolchain::TARGET};

/// The variables by which the `cc` crate is told about the wasm target.
pub(crate) const CC: &str = "CC_wasm32_wasip2";
pub(crate) const AR: &str = "AR_wasm32_wasip2";
pub(crate) const CFLAGS: &str = "CFLAGS_wasm32_wasip2";

/// Version 19 first: the project is measured and tested with it.
const CLANGS: [&str; 8] = [
    "clang-19", "clang-20", "clang-21", "clang-22", "clang-18", "clang-17", "clang-16", "clang",
];

const CLANG_VERSION_MIN: u32 = 16;

/// Where distributions and wasi-sdk's own packages put the C library.
const SYSTEM_SYSROOTS: [&str; 4] = [
    "/usr",
    "/usr/share/wasi-sysroot",
    "/opt/wasi-sdk/share/wasi-sysroot",
    "/opt/homebrew/share/wasi-sysroot",
];

pub(crate) struct Compiler {
    pub(crate) cc: PathBuf,
    pub(crate) ar: PathBuf,
}

impl Compiler {
    pub(crate) fn ready() -> Result<Self> {
        if let Some(found) = Self::find() {
            return Ok(found);
        }
        eprintln!("installing a C compiler for wasm (clang-19) …");
        let installed = debian::install(&["clang-19", "llvm-19", "lld-19"]);
        match (Self::find(), installed) {
            (Some(found), _) => Ok(found),
            (None, installed) => Err(installed
                .err()
                .unwrap_or_else(|| anyhow::anyhow!("the installed clang does not know wasm32"))
                .context(format!(
                    "no C compiler for wasm: install clang {CLANG_VERSION_MIN} or newer with its \
                     llvm-ar (on Debian: `apt-get install clang-19 llvm-19 lld-19`), or set \
                     {CC}, or set WASI_SDK_PATH to a wasi-sdk; it could not be installed here"
                ))),
        }
    }

    fn find() -> Option<Self> {
        if let Some(cc) = non_empty(CC) {
            let cc = PathBuf::from(cc);
            let ar = archiver(&cc)?;
            return Some(Self { cc, ar });
        }
        let in_sdk = wasi_sdk().map(|sdk| sdk.join("bin").join("clang"));
        let on_path = CLANGS.iter().filter_map(|name| on_path(name));
        in_sdk
            .into_iter()
            .chain(on_path)
            .filter(|cc| makes_wasm(cc))
            .find_map(|cc| {
                let ar = archiver(&cc)?;
                Some(Self { cc, ar })
            })
    }
}

fn makes_wasm(cc: &Path) -> bool {
    let knows_wasm = run_quiet(program(cc).arg("--print-targets")).is_ok_and(|targets| {
        targets
            .lines()
            .any(|line| line.trim().starts_with("wasm32"))
    });
    // A name such as clang-19 states its version already.
    let is_numbered = cc
        .file_name()
        .is_some_and(|name| name.to_string_lossy().contains("clang-"));
    knows_wasm
        && (is_numbered
            || run_quiet(program(cc).arg("--version"))
                .ok()
                .and_then(|text| clang_version(&text))
                .is_some_and(|version| version >= CLANG_VERSION_MIN))
}

fn clang_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("clang version ")?;
    version.split('.').next()?.parse().ok()
}

/// The `llvm-ar` that belongs to this clang; GNU's `ar` writes no index for wasm objects.
fn archiver(cc: &Path) -> Option<PathBuf> {
    if let Some(ar) = non_empty(AR) {
        return Some(ar.into());
    }
    let name = cc
        .file_name()?
        .to_string_lossy()
        .replace("clang", "llvm-ar");
    let beside = cc.parent().map(|dir| dir.join(&name));
    beside
        .filter(|ar| ar.is_file())
        .or_else(|| on_path(&name))
        .or_else(|| on_path("llvm-ar"))
}

/// The C library for wasm: a sysroot with `include/wasm32-wasip2`.
pub(crate) struct CLibrary {
    pub(crate) sysroot: PathBuf,
}

impl CLibrary {
    /// What is on the machine, before the one that set-up downloaded.
    pub(crate) fn find() -> Option<Self> {
        let in_sdk = wasi_sdk().map(|sdk| sdk.join("share").join("wasi-sysroot"));
        let on_system = SYSTEM_SYSROOTS.iter().map(PathBuf::from);
        in_sdk
            .into_iter()
            .chain(on_system)
            .chain([Self::private().join("usr")])
            .map(|sysroot| Self { sysroot })
            .find(|library| library.headers().join("stdlib.h").is_file())
    }

    /// Where set-up unpacks the Debian package `wasi-libc`.
    pub(crate) fn private() -> PathBuf {
        paths::wasm_toolchain().join("wasi-libc")
    }

    pub(crate) fn headers(&self) -> PathBuf {
        self.sysroot.join("include").join(TARGET)
    }
}

fn wasi_sdk() -> Option<PathBuf> {
    non_empty("WASI_SDK_PATH").map(PathBuf::from)
}

fn non_empty(variable: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

/// Unpacks the C library into the private folder.
pub(crate) fn unpack_library(
    archive: &debian::Archive,
    staging: &crate::staging::Staging,
) -> Result<CLibrary> {
    let made = staging.path().join("wasi-libc");
    archive.unpack("wasi-libc", |_| true, "usr", &made)?;
    staging.publish(&made, &CLibrary::private())?;
    CLibrary::find().with_context(|| format!("Debian's wasi-libc holds no headers for {TARGET}"))
}

#[cfg(test)]
mod tests {
    use super::clang_version;

    #[test]
    fn clang_versions_of_several_vendors() {
        assert_eq!(
            clang_version("Debian clang version 19.1.7 (3)\nT"),
            Some(19)
        );
        assert_eq!(clang_version("clang version 20.0.0-git"), Some(20));
        assert_eq!(clang_version("gcc (GCC) 14"), None);
    }
}
