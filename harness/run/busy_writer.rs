//! A process that has nothing to do with the system under test and writes to its file.
//!
//! What must stay true: it is a process of its own. SQLite's POSIX locks are this process's, and
//! a driver in this process may close the file at any time.

use anyhow::{Context as _, Result, ensure};
use rusqlite::Connection;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long to wait for the write lock itself.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// One that writes now.
pub(super) struct BusyWriter {
    child: Child,
}

impl BusyWriter {
    /// Returns once it has the write lock.
    pub(super) fn start(helper: &Path, database: &Path, duration: Duration) -> Result<Self> {
        let mut child = Command::new(helper)
            .arg("keep-write-lock")
            .arg(database)
            .arg(duration.as_millis().to_string())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}", helper.display()))?;
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        let writer = Self { child };
        ensure!(
            said.trim() == "kept",
            "the busy writer did not get the write lock"
        );
        Ok(writer)
    }

    /// Whether it has; with `wait`, in the end it has.
    pub(super) fn has_ended(&mut self, wait: bool) -> bool {
        if wait {
            self.child.wait().is_ok()
        } else {
            matches!(self.child.try_wait(), Ok(Some(_)))
        }
    }
}

impl BusyWriter {
    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
    }
}

impl Drop for BusyWriter {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// What the process does: takes SQLite's write lock, says so in a line, and keeps it for
/// `duration`, or until standard input ends: the harness is no more. Nothing is changed.
///
/// # Errors
/// The lock can't be had within 20 seconds, or the file not be opened.
pub fn keep_write_lock(database: &Path, duration: Duration) -> Result<()> {
    let connection = Connection::open(database)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "kept")?;
    out.flush()?;
    let stdin = std::io::stdin();
    let mut input = [PollFd::new(&stdin, PollFlags::IN)];
    match poll(&mut input, Timespec::try_from(duration).ok().as_ref()) {
        // Nobody is told of its signals.
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    connection.execute_batch("ROLLBACK")?;
    Ok(())
}
