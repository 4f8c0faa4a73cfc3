//! What is written for whoever started the command.
//!
//! What must stay true: a reader that goes away, as `| head -1` does, ends nothing and changes no
//! exit code. There is no `println!` and no `eprintln!` beside this: they panic then.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

/// Writes a line to standard output.
pub(crate) fn say(line: impl Display) -> io::Result<()> {
    say_all(format_args!("{line}\n"))
}

/// Writes a text to standard output.
pub(crate) fn say_all(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    read_or_not(write!(out, "{text}").and_then(|()| out.flush()))
}

/// Writes a line to standard error, for people. Nothing depends on it.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// It doesn't matter whether anybody reads what was written.
pub(crate) fn read_or_not(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
