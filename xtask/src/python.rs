//! A Python environment with BeaverDB itself, for everything that compares with it or shares a
//! file with it.
//!
//! What must stay true: the environment is there completely or not at all, and a machine that
//! can't have it can still do everything else.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::paths::{self, on_path};
use crate::process::{program, run_quiet};
use crate::staging::Staging;

/// Names the interpreter that programs are to use; without it they look in the target folder.
pub(crate) const ENV: &str = "BEAVER_PYTHON";

const PYTHON_VERSION: &str = "3.13";
const BEAVER_VERSION: &str = "1.3.0";
/// Encrypted dictionaries are an extra, which brings `cryptography`.
const REQUIREMENT: &str = "beaver-db[security]==1.3.0";
/// Other versions, each in a folder of its own by the name of its first package, for whoever puts
/// that first in `PYTHONPATH`. What a version needs and `REQUIREMENT` doesn't bring lies with it.
const OTHERS: [&[&str]; 2] = [
    // The last before the managers of 1.x took internal locks; it shares their tables.
    &["beaver-db==0.20.2"],
    // Has tables of its own, and is built on asyncio.
    &["beaver-db==2.4.1", "aiosqlite==0.22.1"],
];
const STAMP: &str = "beaver-db.requirements";

/// As `make`; without Python the reason is told in one line, and work goes on.
pub(crate) fn make_or_explain() -> Option<PathBuf> {
    make()
        .inspect_err(|error| {
            eprintln!("no comparison with Python's beaver-db {BEAVER_VERSION}: {error:#}");
        })
        .ok()
}

/// The interpreter of an environment that holds BeaverDB.
pub(crate) fn make() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os(ENV).filter(|given| !given.is_empty()) {
        let python = std::path::absolute(given)?;
        ensure!(python.is_file(), "{ENV}={} is no file", python.display());
        return Ok(python);
    }
    if let Some(python) = find_made() {
        return Ok(python);
    }
    let base = find_base().with_context(|| {
        format!("no Python {PYTHON_VERSION} here (neither in pyenv nor on PATH)")
    })?;
    let staging = Staging::under(&paths::target(), "python")?;
    if let Some(python) = find_made() {
        return Ok(python);
    }
    eprintln!("installing beaver-db {BEAVER_VERSION} for Python …");
    let made = staging.path().join("env");
    run_quiet(program(base).args(["-m", "venv"]).arg(&made))?;
    let install = || {
        let mut install = program(interpreter(&made));
        install.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]);
        install
    };
    run_quiet(install().arg(REQUIREMENT))?;
    run_quiet(program(interpreter(&made)).args(["-c", "import beaver, cryptography"]))?;
    for packages in OTHERS {
        let folder = made.join(packages[0]);
        run_quiet(
            install()
                .args(["--no-deps", "--target"])
                .arg(&folder)
                .args(packages),
        )?;
        // Only this shows that `REQUIREMENT` brings the rest.
        let check =
            "import beaver, sys; sys.exit(f'beaver-db=={beaver.__version__}' != sys.argv[1])";
        run_quiet(
            program(interpreter(&made))
                .env("PYTHONPATH", &folder)
                .args(["-c", check, packages[0]]),
        )?;
    }
    std::fs::write(made.join(STAMP), stamp())?;
    // Only the scripts in an environment know its path, and nobody calls those.
    staging.publish(&made, &paths::python_env())?;
    find_made().context("the Python environment vanished during set-up")
}

/// What an environment that is complete says of itself.
fn stamp() -> String {
    format!("{REQUIREMENT} {}", OTHERS.concat().join(" "))
}

fn find_made() -> Option<PathBuf> {
    let dir = paths::python_env();
    let found = std::fs::read_to_string(dir.join(STAMP)).ok()?;
    let python = interpreter(&dir);
    // The interpreter is a link, which dangles once the Python it was made from is gone.
    (found == stamp() && python.is_file()).then_some(python)
}

fn interpreter(env: &std::path::Path) -> PathBuf {
    if cfg!(windows) {
        env.join("Scripts").join("python.exe")
    } else {
        env.join("bin").join("python")
    }
}

fn find_base() -> Option<PathBuf> {
    let on_path = [
        format!("python{PYTHON_VERSION}"),
        "python3".into(),
        "python".into(),
    ]
    .into_iter()
    .filter_map(|name| on_path(&name));
    // pyenv's shims are on the PATH but refuse a version that isn't selected: look behind them.
    pyenv_pythons().into_iter().chain(on_path).find(|python| {
        run_quiet(program(python).args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]))
            .is_ok_and(|version| version.trim() == PYTHON_VERSION)
    })
}

fn pyenv_pythons() -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".pyenv")));
    let Some(Ok(versions)) = root.map(|root| std::fs::read_dir(root.join("versions"))) else {
        return Vec::new();
    };
    let prefix = format!("{PYTHON_VERSION}.");
    let mut pythons: Vec<PathBuf> = versions
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| interpreter(&entry.path()))
        .filter(|python| python.is_file())
        .collect();
    pythons.sort();
    pythons
}
