//! Python's `beaver-db`, in the versions that the harness has drivers for.
//!
//! What must stay true: what is driven is the version that was asked for, or there is an error.

use super::{Driver, Process, StdioDriver};
use crate::protocol::Init;
use anyhow::{Context as _, bail, ensure};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// The drivers, which the executable carries with it.
const FILES: &[(&str, &str)] = &[
    ("driver.py", include_str!("../drivers/driver.py")),
    (
        "driver_async.py",
        include_str!("../drivers/driver_async.py"),
    ),
    (
        "beaver_shared.py",
        include_str!("../drivers/beaver_shared.py"),
    ),
    (
        "beaver_0_20_2.py",
        include_str!("../drivers/beaver_0_20_2.py"),
    ),
    (
        "beaver_1_3_0.py",
        include_str!("../drivers/beaver_1_3_0.py"),
    ),
    (
        "beaver_2_managers.py",
        include_str!("../drivers/beaver_2_managers.py"),
    ),
    (
        "beaver_2_4_1.py",
        include_str!("../drivers/beaver_2_4_1.py"),
    ),
];

/// The versions that there are drivers for.
pub const VERSIONS: &[&str] = &["0.20.2", "1.3.0", "2.4.1"];

/// Drives one version of `beaver-db`.
#[derive(Debug)]
pub struct PythonDriver {
    version: String,
    child: StdioDriver,
    /// Where the drivers lie while this lives.
    _files: TempDir,
}

impl PythonDriver {
    /// `beaver-db` of this version, in `interpreter`'s environment: installed there, or in a folder
    /// `beaver-db==VERSION` beside it, as `cargo xtask python` makes them. Without `interpreter`
    /// the environment variable `BEAVER_PYTHON` names one.
    ///
    /// # Errors
    /// There is no driver for the version, or no interpreter.
    pub fn new(version: &str, interpreter: Option<PathBuf>) -> anyhow::Result<Self> {
        if !VERSIONS.contains(&version) {
            bail!(
                "there is no driver for beaver-db {version}, only for {}",
                VERSIONS.join(", ")
            );
        }
        let interpreter = interpreter
            .or_else(|| std::env::var_os("BEAVER_PYTHON").map(PathBuf::from))
            .context("no Python is known: set BEAVER_PYTHON to one that has beaver-db")?;
        ensure!(
            interpreter.is_file(),
            "{} is no file",
            interpreter.display()
        );
        let files = tempfile::tempdir()?;
        for (name, text) in FILES {
            std::fs::write(files.path().join(name), text)?;
        }
        let script = files
            .path()
            .join(format!("beaver_{}.py", version.replace('.', "_")));
        let mut child = StdioDriver::new(&interpreter)
            .named(format!("python:{version}"))
            // A warning about files that another version made, for one.
            .env("PYTHONWARNINGS", "ignore")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(script);
        if let Some(folder) = aside(&interpreter, version) {
            child = child.env("PYTHONPATH", folder);
        }
        Ok(Self {
            version: version.to_owned(),
            child,
            _files: files,
        })
    }
}

impl PythonDriver {
    /// The command; what it names is there as long as this driver.
    pub fn command(&self) -> &StdioDriver {
        &self.child
    }
}

/// The folder of this version beside those that are installed.
fn aside(interpreter: &Path, version: &str) -> Option<PathBuf> {
    let environment = interpreter.parent()?.parent()?;
    let folder = environment.join(format!("beaver-db=={version}"));
    folder.is_dir().then_some(folder)
}

impl Driver for PythonDriver {
    fn name(&self) -> String {
        self.child.name()
    }

    fn start(&self, init: &Init) -> anyhow::Result<Arc<dyn Process>> {
        let process = self.child.start(init)?;
        let found = &process.description().version;
        ensure!(
            *found == self.version,
            "this Python has beaver-db {found}, not {}",
            self.version
        );
        Ok(process)
    }

    fn give_up_starts(&self) {
        self.child.give_up_starts();
    }

    fn has_processes(&self) -> bool {
        true
    }
}
