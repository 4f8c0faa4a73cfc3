//! Other processes on the same file: this crate's own program (native or with
//! a component instance) and Python with the real `beaver-db`.
//!
//! Both speak JSON lines: a request `{"op": …}` is answered by one line
//! `{"ok": …}` or `{"error": …}`; `flood` answers once for each commit.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::{JournalChoice, System};

/// A child process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts `program` (`CARGO_BIN_EXE_beaver-test-process`) on the file at `path`.
    ///
    /// # Panics
    /// When it can't be started or can't open the file.
    pub fn start(program: &str, system: System, path: &Path) -> Self {
        Self::start_with(program, system, path, JournalChoice::Automatic)
    }

    /// The same with a choice of journal.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_with(program: &str, system: System, path: &Path, journal: JournalChoice) -> Self {
        let mut command = Command::new(program);
        command.arg(system_name(system)).arg(path);
        Self::spawn(command.arg(journal_name(journal)))
    }

    /// The same, started by `prefix`, a command that goes on with what follows it.
    ///
    /// # Errors
    /// What the process says that can't open the file.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn start_by(
        prefix: &[&str],
        program: &str,
        system: System,
        path: &Path,
        journal: JournalChoice,
    ) -> Result<Self, String> {
        let mut words = prefix.iter().copied().chain([program]);
        let mut command = Command::new(words.next().unwrap_or(program));
        command.args(words).arg(system_name(system)).arg(path);
        let mut process =
            Self::spawn_unheard(command.arg(journal_name(journal)).stderr(Stdio::piped()));
        match process.try_answer() {
            Some(_) => Ok(process),
            None => {
                let mut said = String::new();
                if let Some(mut stderr) = process.child.stderr.take() {
                    let _ = stderr.read_to_string(&mut said);
                }
                let status = process.child.wait();
                Err(format!("{status:?}: {said}"))
            }
        }
    }

    /// The same with something mounted over the file's directory, which only
    /// this process sees. `mount` is a shell command that gets the directory
    /// as `$dir`. None where mounting isn't allowed.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_mounted(
        program: &str,
        system: System,
        path: &Path,
        journal: JournalChoice,
        mount: &str,
    ) -> Option<Self> {
        let directory = path.parent()?;
        let unshared = |script: &str| {
            let mut command = Command::new("unshare");
            command.args(["--map-root-user", "--mount", "sh", "-c", script]);
            command.env("dir", directory);
            command
        };
        if !unshared(mount)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
        {
            eprintln!("left out: no mounting here");
            return None;
        }
        let mut command = unshared(&format!("{mount} && exec \"$0\" \"$@\""));
        command.arg(program).arg(system_name(system)).arg(path);
        Some(Self::spawn(command.arg(journal_name(journal))))
    }

    /// A path by which this process sees `path` as the child does.
    pub fn path_of(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Starts Python with `beaver-db` on the file at `path`; none where it
    /// isn't installed. With `BEAVER_REQUIRE_PYTHON` set that is a failure.
    ///
    /// # Panics
    /// When it can't be started or can't open the file.
    pub fn python(path: &Path) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("support/python_process.py");
        Some(Self::spawn(Command::new(python()?).arg(script).arg(path)))
    }

    /// The same with `beaver-db` 0.20.2, which has the tables of 1.x and other manners.
    ///
    /// # Panics
    /// As [`Self::python`].
    pub fn python_0_20(path: &Path) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("support/python_process.py");
        let python = python()?;
        let package = python.parent()?.parent()?.join("beaver-db==0.20.2");
        if !package.exists() {
            assert!(
                std::env::var_os("BEAVER_REQUIRE_PYTHON").is_none(),
                "BEAVER_REQUIRE_PYTHON is set, but there is no beaver-db 0.20.2"
            );
            eprintln!("left out: no beaver-db 0.20.2 (`cargo xtask test` sets it up)");
            return None;
        }
        Some(Self::spawn(
            Command::new(python)
                .env("PYTHONPATH", package)
                // It warns of every file that another version made.
                .env("PYTHONWARNINGS", "ignore")
                .arg(script)
                .arg(path),
        ))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut process = Self::spawn_unheard(command);
        assert_eq!(process.answer(), json!({"ok": "open"}));
        process
    }

    fn spawn_unheard(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (Some(requests), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            panic!("the child has no pipes");
        };
        Self {
            child,
            requests,
            answers: BufReader::new(stdout).lines(),
        }
    }

    /// Sends a request without waiting.
    ///
    /// # Panics
    /// When the child is gone.
    pub fn send(&mut self, request: &Value) {
        writeln!(self.requests, "{request}").unwrap_or_else(|error| panic!("{request}: {error}"));
    }

    /// The next answer.
    ///
    /// # Panics
    /// When the child is gone.
    pub fn answer(&mut self) -> Value {
        self.try_answer()
            .unwrap_or_else(|| panic!("the child ended without an answer"))
    }

    /// The next answer; none when the child is gone.
    ///
    /// # Panics
    /// When the answer isn't JSON.
    pub fn try_answer(&mut self) -> Option<Value> {
        let line = self.answers.next()?.ok()?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}")))
    }

    /// Sends a request and returns the answer; none when the child is gone.
    ///
    /// # Panics
    /// When the answer isn't JSON.
    pub fn ask(&mut self, request: &Value) -> Option<Value> {
        writeln!(self.requests, "{request}").ok()?;
        let line = self.answers.next()?.ok()?;
        // The last line may have been cut off by a kill.
        serde_json::from_str(&line).ok()
    }

    /// Sends a request and returns what it answered with.
    ///
    /// # Panics
    /// When it answers with an error.
    pub fn call(&mut self, request: Value) -> Value {
        self.send(&request);
        let mut answer = self.answer();
        match answer.get_mut("ok") {
            Some(ok) => ok.take(),
            None => panic!("{request}: {answer}"),
        }
    }

    /// Sends a signal by name.
    ///
    /// # Panics
    /// When there is no `kill`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "kill -s {name}"
        );
    }

    /// Its id, which is its own as long as this lives.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGKILL; then every answer that had been given.
    pub fn kill_and_drain(mut self) -> Vec<Value> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        std::iter::from_fn(|| {
            let line = self.answers.next()?.ok()?;
            // The last line may have been cut off by the kill.
            serde_json::from_str(&line).ok()
        })
        .collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn system_name(system: System) -> &'static str {
    match system {
        System::Native => "native",
        System::Component => "component",
    }
}

fn journal_name(journal: JournalChoice) -> &'static str {
    match journal {
        JournalChoice::Automatic => "automatic",
        JournalChoice::Wal => "wal",
        JournalChoice::Rollback => "rollback",
    }
}

/// A Python interpreter with `beaver-db` 1.3.0, which `cargo xtask` sets up.
///
/// # Panics
/// When there is none and `BEAVER_REQUIRE_PYTHON` is set.
pub fn python() -> Option<PathBuf> {
    let found = match std::env::var_os("BEAVER_PYTHON") {
        Some(path) => Some(PathBuf::from(path)),
        None => Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python")),
    }
    .filter(|path| path.exists());
    assert!(
        found.is_some() || std::env::var_os("BEAVER_REQUIRE_PYTHON").is_none(),
        "BEAVER_REQUIRE_PYTHON is set, but there is no Python with beaver-db"
    );
    if found.is_none() {
        eprintln!("left out: no Python with beaver-db 1.3.0 (`cargo xtask test` sets it up)");
    }
    found
}
