//! A process that the bench started, and talking to it.

use crate::args::{self, Place, SideName};
use crate::measurement::Measurement;
use crate::protocol::{Order, Reply};
use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A running side. Dropping it ends the process.
pub(crate) struct Child {
    name: &'static str,
    process: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts one of the Rust sides, which has `place` to itself.
    pub(crate) fn rust(side: SideName, place: &Place) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args([args::SIDE, side.as_str()])
            .args([&place.directory, &place.cache]);
        Self::side(side.as_str(), command)
    }

    /// Starts the Python package on `database`.
    pub(crate) fn python(interpreter: &Path, database: &Path) -> Result<Self> {
        let mut command = python(interpreter, include_str!("python_side.py"));
        command.arg(database);
        Self::side("Python", command)
    }

    fn side(name: &'static str, command: Command) -> Result<Self> {
        let mut child = Self::start(name, command)?;
        match child.hear()? {
            Reply::Ready => Ok(child),
            other => bail!("the {name} side began with {other:?}"),
        }
    }

    /// Starts a process that speaks JSON, a line each way.
    pub(crate) fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting the {name} side"))?;
        let input = process.stdin.take().context("the side has no input")?;
        let output = process.stdout.take().context("the side has no output")?;
        Ok(Self {
            name,
            process,
            input,
            output: BufReader::new(output),
        })
    }

    /// Has something measured.
    pub(crate) fn ask(&mut self, measure: Measurement, time: Duration) -> Result<Reply> {
        self.send(&Order {
            measure,
            seconds: time.as_secs_f64(),
        })?;
        self.hear()
    }

    fn hear(&mut self) -> Result<Reply> {
        match self.receive()? {
            Reply::Failed(message) => bail!("the {} side: {message}", self.name),
            reply => Ok(reply),
        }
    }

    pub(crate) fn send(&mut self, message: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.input
            .write_all(&line)
            .and_then(|()| self.input.flush())
            .with_context(|| format!("the {} side is gone", self.name))
    }

    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.is_empty() {
            bail!("the {} side ended", self.name);
        }
        Ok(serde_json::from_str(&line)?)
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

/// `interpreter` with a script that the bench contains.
pub(crate) fn python(interpreter: &Path, script: &str) -> Command {
    let mut command = Command::new(interpreter);
    command
        .args(["-c", script])
        // What it says there (warnings, mostly) is no part of the table.
        .stderr(Stdio::null());
    command
}

impl Drop for Child {
    fn drop(&mut self) {
        // It is between two orders, or something failed; its files go with the run.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The interpreter that has beaver-db: as `cargo xtask` says, or where it puts one.
pub(crate) fn python_interpreter() -> Option<PathBuf> {
    let given = std::env::var_os("BEAVER_PYTHON").filter(|given| !given.is_empty());
    let interpreter = match given {
        Some(given) => given.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python"),
    };
    interpreter.is_file().then_some(interpreter)
}
