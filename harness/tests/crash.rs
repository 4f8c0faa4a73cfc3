//! Processes of our own builds are killed at random moments, one or all at once, and nothing that was
//! acknowledged is lost; and a loss that is planted is found.
//!
//! Short, because it is run each time: `beaver-harness crash` is the long form.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use std::process::{Command, Output};

fn crash(arguments: &[&str]) -> Output {
    let harness = env!("CARGO_BIN_EXE_beaver-harness");
    let seed = std::env::var("BEAVER_SEED").unwrap_or_else(|_| "1".to_owned());
    let output = Command::new(harness)
        .args(["crash", "--quiet", "--seed", &seed])
        .args(arguments)
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let output = crash(&[
        "--kills",
        "20",
        "--kills-per-run",
        "10",
        "--workers",
        "6",
        "--processes",
        "3",
    ]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stdout);
    for journal in ["wal", "rollback"] {
        let counts = said.lines().find(|line| line.starts_with(journal)).unwrap();
        assert!(counts.contains(": 10 kills ("), "{counts}");
        let (_, checks) = counts.split_once("integrity_check ok ").unwrap();
        let (whole, checked) = checks.split_once(" of ").unwrap();
        let checked = checked.split(';').next().unwrap();
        assert_eq!(whole, checked, "{counts}");
        // One is made at the end; the others while it went on.
        assert!(checked.parse::<u64>().unwrap() > 1, "{counts}");
    }
}

/// The commits that no longer are in the log when the file is opened again are more than there
/// are workers, so that some of them were acknowledged.
#[test]
fn a_loss_that_is_planted_is_found() {
    let output = crash(&[
        "--journal",
        "wal",
        "--kills",
        "10",
        "--workers",
        "6",
        "--processes",
        "3",
        "--cut-commits",
        "30",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("log-delivery: "), "{said}");
    assert!(said.contains("--cut-commits 30"), "{said}");
}

#[test]
fn what_cannot_be_killed_is_refused() {
    let output = crash(&["--driver", "reference"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("has no processes"), "{said}");
}
