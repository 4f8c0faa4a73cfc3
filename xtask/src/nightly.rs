//! What only a nightly toolchain can do: Miri and the address sanitizer.
//!
//! What must stay true: the toolchain is rustup's `nightly`, with its component `miri`, and target folders are
//! apart from the stable one's; a run in which no test ran has failed.
//!
//! Miri can't call into C, map files or lock them. What `unsafe` remains without that is `memcmp.rs`
//! of the component; of the core, which has no other `unsafe` than such calls, only what reads
//! foreign bytes is run, and no property tests, which take hours.

use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};

use crate::c_compiler;
use crate::counted::run_and_count;
use crate::paths;
use crate::process::program;

/// Packages, and which of their tests; none: all.
const MIRI: &[(&str, &[&str])] = &[
    ("beaver-component", &[]),
    (
        "beaver-core",
        &[
            "collection::rank::tests",
            "dump::date::tests",
            "dump::member::tests",
            "lease::terms::tests",
            "topic::tests",
            "watch::tests",
        ],
    ),
];

/// Packages whose tests run with the address sanitizer.
const SANITIZED: &[&str] = &["beaver-core"];

/// Runs what Miri can run.
pub(crate) fn miri() -> Result<ExitCode> {
    for (package, tests) in MIRI {
        let mut run = nightly();
        run.args(["miri", "test", "--package", package, "--lib", "--"])
            .args(*tests);
        if let Some(code) = counted(&mut run, package)? {
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the native build's tests, SQLite's C code included, with the address sanitizer.
pub(crate) fn sanitize() -> Result<ExitCode> {
    let compiler = c_compiler::Compiler::ready()?;
    for package in SANITIZED {
        let mut run = nightly();
        run.args(["test", "--package", package, "--lib"])
            // With a target of its own, build scripts and macros aren't sanitized.
            .args(["--target", HOST])
            // Models tell nothing new here, and take minutes.
            .args(["--", "--skip", "loom_models"])
            .env("CARGO_TARGET_DIR", paths::target().join("sanitized"))
            .env("RUSTFLAGS", "-Zsanitizer=address")
            .env(format!("CC_{}", HOST.replace('-', "_")), &compiler.cc)
            .env(
                format!("CFLAGS_{}", HOST.replace('-', "_")),
                "-fsanitize=address -fno-omit-frame-pointer -g1",
            );
        if let Some(code) = counted(&mut run, package)? {
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where sanitizers are known to work.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// Cargo of the nightly toolchain, in the workspace.
fn nightly() -> Command {
    let mut cargo = program("rustup");
    cargo
        .args(["run", "nightly", "cargo"])
        .current_dir(paths::root());
    // Those of the toolchain that runs this.
    for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        cargo.env_remove(variable);
    }
    cargo
}

fn counted(run: &mut Command, package: &str) -> Result<Option<ExitCode>> {
    let (ran, failed) = run_and_count(run)?;
    if failed.is_none() {
        ensure!(ran > 0, "no test of {package} ran");
    }
    Ok(failed)
}
