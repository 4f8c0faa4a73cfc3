//! The command line: exit codes, files, replay.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn harness(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_beaver-harness"))
        .args(args)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

const RUN: &[&str] = &[
    "run",
    "--driver",
    "reference",
    "--seconds",
    "0.2",
    "--seed",
    "3",
    "--workers",
    "3",
];

fn run(more: &[&str]) -> Output {
    harness(&[RUN, more].concat())
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn the_exit_code_is_the_verdict() {
    let passed = run(&["--workload", "dict-increment"]);
    assert_eq!(passed.status.code(), Some(0), "{}", said(&passed));
    let broken = run(&[
        "--workload",
        "dict-increment",
        "--set",
        "defect=lost-update",
    ]);
    assert_eq!(broken.status.code(), Some(1), "{}", said(&broken));
    assert!(
        said(&broken).contains("two increments wrote"),
        "{}",
        said(&broken)
    );
    for wrong in [
        &["--workload", "nonsense"][..],
        &["--set", "defect=nonsense"],
        &["--faults", "kill"],
        &["--workload", "dict-increment", "--", "/nonexistent/driver"],
    ] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    // Nothing that it needs is offered, so nothing was shown.
    let nothing = run(&["--workload", "killed-holder"]);
    assert_eq!(nothing.status.code(), Some(2), "{}", said(&nothing));
}

#[test]
fn a_history_is_judged_again_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let (json, again) = (path(folder.path(), "a.json"), path(folder.path(), "b.json"));
    let (html, junit) = (path(folder.path(), "a.html"), path(folder.path(), "a.xml"));
    let histories = path(folder.path(), "histories");
    let defect = [
        "--workload",
        "queue-delivery",
        "--set",
        "defect=queue-duplicates",
    ];
    let files = [
        "--json",
        &json,
        "--html",
        &html,
        "--junit",
        &junit,
        "--histories",
        &histories,
    ];
    assert_eq!(run(&[&defect[..], &files].concat()).status.code(), Some(1));
    let history = path(Path::new(&histories), "queue-delivery-3.jsonl");
    let checked = harness(&["check", &history, "--json", &again]);
    assert_eq!(checked.status.code(), Some(1), "{}", said(&checked));
    let verdicts = |file: &str| -> Vec<(Value, Value)> {
        let report: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let checks = report["programs"][0]["run"]["checks"]
            .as_array()
            .unwrap()
            .clone();
        checks
            .iter()
            .map(|check| (check["check"].clone(), check["violation_count"].clone()))
            .collect()
    };
    assert!(!verdicts(&json).is_empty());
    assert_eq!(verdicts(&json), verdicts(&again));
    assert!(
        std::fs::read_to_string(html)
            .unwrap()
            .contains("queue-delivery")
    );
    assert!(std::fs::read_to_string(junit).unwrap().contains("<failure"));
    // Cut off in the middle: still a history.
    let text = std::fs::read(&history).unwrap();
    std::fs::write(&history, &text[..text.len() / 2]).unwrap();
    assert_ne!(harness(&["check", &history]).status.code(), None);
    // Twice the same answer.
    let text = String::from_utf8(text).unwrap();
    let (at, answer) = (2..)
        .zip(text.lines().skip(1))
        .find(|(_, line)| line.starts_with("{\"ok\""))
        .unwrap();
    let twice = text.replacen(answer, &format!("{answer}\n{answer}"), 1);
    std::fs::write(&history, twice).unwrap();
    let refused = harness(&["check", &history]);
    assert_eq!(refused.status.code(), Some(2));
    let wrong = format!("line {}: operation", at + 1);
    assert!(said(&refused).contains(&wrong), "{}", said(&refused));
    std::fs::write(&history, "nonsense\n").unwrap();
    let refused = harness(&["check", &history]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("line 1"), "{}", said(&refused));
}

#[test]
fn a_failure_is_shrunk_to_a_scenario_that_still_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "least.json");
    let defect = [
        "--driver",
        "reference",
        "--set",
        "defect=lost-update",
        "--set",
        "every=1",
    ];
    let shrink = [
        "shrink",
        "--workload",
        "dict-increment",
        "--seed",
        "3",
        "--workers",
        "4",
    ];
    let most = [
        "--seconds",
        "5",
        "--steps",
        "10",
        "--tries",
        "2",
        "--out",
        &file,
    ];
    let shrunk = harness(&[&shrink[..], &defect, &most].concat());
    assert_eq!(shrunk.status.code(), Some(1), "{}", said(&shrunk));
    let program: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let workers = program["workers"].as_array().unwrap();
    let steps: usize = workers
        .iter()
        .map(|steps| steps.as_array().unwrap().len())
        .sum();
    assert!(steps <= 5, "{program}");
    let again = harness(&[&["run", "--scenario", &file][..], &defect].concat());
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));
    let right = harness(&["run", "--scenario", &file, "--driver", "reference"]);
    assert_eq!(right.status.code(), Some(0), "{}", said(&right));
}

#[test]
fn what_there_is_can_be_listed_and_written_down() {
    let list = said(&harness(&["list"]));
    assert!(list.contains("dict-increment") && list.contains("killed-holder"));
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "bank.json");
    let written = harness(&[
        "list",
        "--json",
        "bank",
        "--workers",
        "2",
        "--steps",
        "5",
        "--seed",
        "9",
    ]);
    std::fs::write(&file, &written.stdout).unwrap();
    let run = harness(&["run", "--driver", "reference", "--scenario", &file]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
}
