//! A process that has nothing to do with the system under test and writes to its file.
//!
//! What must stay true: it is a process of its own. SQLite's POSIX locks are this process's, and
//! a driver in this process may close the file at any time. It ends with its value here, at the
//! latest.

use anyhow::{Context as _, Result, bail, ensure};
use rusqlite::Connection;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long to wait for the write lock itself.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// How long it may take to say that it has it.
const START_LIMIT: Duration = Duration::from_secs(30);

/// What it says fits.
const LINE_BYTES_MAX: usize = 64;

/// One that writes now.
pub(super) struct BusyWriter {
    child: Child,
}

impl BusyWriter {
    /// Returns once it has the write lock.
    pub(super) fn start(helper: &Path, database: &Path, duration: Duration) -> Result<Self> {
        let child = Command::new(helper)
            .arg("keep-write-lock")
            .arg(database)
            .arg(duration.as_millis().to_string())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}", helper.display()))?;
        // Whatever comes now, it ends with this.
        let mut writer = Self { child };
        ensure!(
            writer.first_line()? == b"kept\n",
            "the busy writer did not get the write lock"
        );
        Ok(writer)
    }

    /// What it says first, as far as that matters.
    fn first_line(&mut self) -> Result<Vec<u8>> {
        let stdout = self.child.stdout.as_mut().context("it has no output")?;
        let until = Instant::now() + START_LIMIT;
        let mut said = Vec::new();
        while said.len() < LINE_BYTES_MAX && !said.ends_with(b"\n") {
            let left = until.saturating_duration_since(Instant::now());
            let mut ready = [PollFd::new(&*stdout, PollFlags::IN)];
            match poll(&mut ready, Timespec::try_from(left).ok().as_ref()) {
                Ok(0) => bail!("the busy writer says nothing"),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let mut bytes = [0; LINE_BYTES_MAX];
            match stdout.read(&mut bytes)? {
                0 => break,
                read => said.extend_from_slice(bytes.get(..read).unwrap_or_default()),
            }
        }
        Ok(said)
    }

    /// Whether it has.
    pub(super) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Ends it at once.
    pub(super) fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for BusyWriter {
    fn drop(&mut self) {
        self.end();
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    /// Whether a child of this process was started with this argument.
    fn is_there(argument: &[u8]) -> bool {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes
            .map(|process| std::fs::read(process.path().join("cmdline")).unwrap_or_default())
            .any(|line| line.split(|byte| *byte == 0).any(|given| given == argument))
    }

    #[test]
    fn one_that_says_nonsense_is_ended() {
        // It says its arguments again and again.
        let helper = Path::new("yes");
        let database = format!("{}-busy-writer-\u{fc}", std::process::id());
        let mut database = database.into_bytes();
        // Not UTF-8.
        database.pop();
        let started = BusyWriter::start(
            helper,
            Path::new(OsStr::from_bytes(&database)),
            Duration::ZERO,
        );
        let said = started.err().unwrap().to_string();
        assert!(said.contains("did not get the write lock"), "{said}");
        assert!(!is_there(&database));
    }
}
