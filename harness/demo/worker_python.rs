//! The Python process: BeaverDB 1.3.0 itself, where it is at hand.
//!
//! What must stay true: only version 1.3.0 takes part. Others use other tables
//! or other locks, and their flaws would be counted as ours.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

const SCRIPT: &str = include_str!("python_worker.py");
const VERSION: &str = "1.3.0";

/// A Python interpreter with BeaverDB, and our script.
pub(crate) struct Python {
    interpreter: PathBuf,
    script: PathBuf,
}

/// What Python's own BeaverDB reads from the file when all is over.
#[derive(Debug, Deserialize)]
pub(crate) struct ForeignReading {
    pub(crate) counter: Option<u64>,
    pub(crate) queue_lengths: Vec<u64>,
    pub(crate) log_length: u64,
}

impl Python {
    /// Finds the interpreter and puts the script into `directory`; the error
    /// says in one line why there is none.
    pub(crate) fn find(directory: &Path) -> Result<Self> {
        let interpreter = match std::env::var_os("BEAVER_PYTHON") {
            Some(path) if !path.is_empty() => PathBuf::from(path),
            _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python"),
        };
        if !interpreter.exists() {
            bail!(
                "there is no {} (`cargo xtask python` makes it)",
                interpreter.display()
            );
        }
        let output = Command::new(&interpreter)
            .args([
                "-c",
                "import importlib.metadata as m; print(m.version('beaver-db'))",
            ])
            .output()
            .with_context(|| format!("running {}", interpreter.display()))?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match version.as_str() {
            VERSION => {}
            "" => bail!("{} has no beaver-db", interpreter.display()),
            other => bail!(
                "{} has beaver-db {other}, not {VERSION}",
                interpreter.display()
            ),
        }
        let script = directory.join("python_worker.py");
        std::fs::write(&script, SCRIPT).with_context(|| format!("writing {}", script.display()))?;
        Ok(Self {
            interpreter,
            script,
        })
    }

    /// The command that starts the worker.
    pub(crate) fn worker(&self, database: &Path) -> Command {
        let mut command = Command::new(&self.interpreter);
        command
            .arg("-u")
            .arg(&self.script)
            .arg("work")
            .arg(database);
        command
    }

    /// Reads the final state through BeaverDB.
    pub(crate) fn read(
        &self,
        database: &Path,
        counter: (&str, &str),
        queues: &[&str],
        log: &str,
    ) -> Result<ForeignReading> {
        let output = Command::new(&self.interpreter)
            .arg(&self.script)
            .arg("read")
            .arg(database)
            .args([counter.0, counter.1, log])
            .args(queues)
            .output()
            .context("starting Python")?;
        if !output.status.success() {
            bail!(
                "Python could not read the file ({}): {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(text.trim()).with_context(|| format!("Python said: {text}"))
    }
}
