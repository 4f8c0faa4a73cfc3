//! What the workspace may depend on, looked at by cargo-deny as `deny.toml` says.
//!
//! What must stay true: a machine without cargo-deny can run all tests; what was left out is said.

use std::process::Command;

use crate::paths::on_path;
use crate::process::cargo;

/// The checks that need nothing but the crates themselves. Advisories need a database that
/// changes every day: whether a commit passes must not depend on the day.
const CHECKS: [&str; 3] = ["licenses", "bans", "sources"];

/// The command, if cargo-deny is installed.
pub(crate) fn command() -> Option<Command> {
    if on_path("cargo-deny").is_none() {
        eprintln!(
            "\n==== dependencies: not checked, as there is no cargo-deny \
             (`cargo install cargo-deny --locked`)"
        );
        return None;
    }
    let mut deny = cargo();
    deny.args(["deny", "check"]).args(CHECKS);
    Some(deny)
}
