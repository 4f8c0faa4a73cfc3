//! Starting other programs: quietly (their output is only shown when they fail) or live (they
//! own the terminal, and their exit code is handed on).
//!
//! Programs that we start must not see that cargo started *us*: variables such as
//! `CARGO_PKG_NAME` would otherwise make build scripts run again that depend on them.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, IsTerminal};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::paths;

/// The cargo that runs us, in the workspace.
pub(crate) fn cargo() -> Command {
    let mut cargo = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(paths::root());
    // A relative folder would mean another one from there.
    if std::env::var_os(paths::TARGET_DIR_ENV).is_some() {
        cargo.env(paths::TARGET_DIR_ENV, paths::target());
    }
    cargo
}

/// A program without the variables by which cargo told us about ourselves.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    for (variable, _) in std::env::vars_os() {
        let is_about_us = variable.to_str().is_some_and(|variable| {
            variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
        });
        if is_about_us {
            command.env_remove(variable);
        }
    }
    command
}

/// Runs to the end and returns what it printed; on failure the error ends with its last words.
pub(crate) fn run_quiet(command: &mut Command) -> Result<String> {
    run_quiet_from(command, Stdio::null())
}

/// As `run_quiet`, for a program that reads its standard input.
pub(crate) fn run_quiet_from(command: &mut Command, input: Stdio) -> Result<String> {
    let name = shown(command);
    let output = command
        .stdin(input)
        .output()
        .with_context(|| format!("could not start `{name}`"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let words = if stderr.trim().is_empty() {
            stdout
        } else {
            stderr
        };
        bail!(
            "`{name}` failed ({}): {}",
            output.status,
            last_words(&words)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs with our standard streams.
pub(crate) fn run_live(command: &mut Command) -> Result<ExitStatus> {
    let name = shown(command);
    command
        .status()
        .with_context(|| format!("could not start `{name}`"))
}

/// Runs a cargo build that says nothing when there was nothing to build.
pub(crate) fn run_cargo_build(command: &mut Command) -> Result<ExitStatus> {
    let name = shown(command);
    if std::io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start `{name}`"))?;
    let mut built = false;
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n') {
            let line = line.context("reading cargo's output")?;
            let line = String::from_utf8_lossy(&line);
            if built || !line.contains("Finished") {
                eprintln!("{line}");
                built |= line.contains("Compiling");
            }
        }
    }
    child
        .wait()
        .with_context(|| format!("waiting for `{name}`"))
}

/// A child's exit status as ours; a signal becomes 128 + its number, as in a shell.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal: Option<i32> = None;
    let code = status.code().or(signal.map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut shown = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    // Enough to recognise the command; the private apt configuration alone fills three lines.
    for arg in command
        .get_args()
        .map(OsStr::to_string_lossy)
        .filter(|arg| !arg.starts_with("-o") && !arg.starts_with("Dir::"))
        .take(4)
    {
        shown.push(' ');
        shown.push_str(&arg);
    }
    shown
}

/// The lines that say what went wrong, in one line.
fn last_words(output: &str) -> String {
    let lines: Vec<&str> = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let is_error = |line: &&str| {
        let line = line.to_ascii_lowercase();
        line.starts_with("error") || line.starts_with("e: ")
    };
    // Causes follow their error.
    let from = lines
        .iter()
        .position(is_error)
        .unwrap_or(lines.len().saturating_sub(3));
    let to = lines.len().min(from + 4);
    lines[from..to].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::last_words;

    #[test]
    fn an_error_speaks_with_its_causes() {
        let output = "info: downloading\nerror: no file\n\nCaused by:\n  no such host\n";
        assert_eq!(
            last_words(output),
            "error: no file / Caused by: / no such host"
        );
    }

    #[test]
    fn without_an_error_the_last_lines_speak() {
        assert_eq!(last_words("a\n\nb\nc\nd\n"), "b / c / d");
        assert_eq!(last_words(""), "");
    }
}
