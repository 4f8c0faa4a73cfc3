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
fn histories_that_can_be_read_are_judged_whatever_the_others_are() {
    let folder = tempfile::tempdir().unwrap();
    let histories = path(folder.path(), "histories");
    let kept = ["--workload", "dict-increment", "--histories", &histories];
    assert_eq!(run(&kept).status.code(), Some(0));
    let good = path(Path::new(&histories), "dict-increment-3.jsonl");
    let bad = path(folder.path(), "bad.jsonl");
    std::fs::write(&bad, "nonsense\n").unwrap();
    let absent = path(folder.path(), "absent.jsonl");
    let checked = harness(&["check", &bad, &good, &absent]);
    assert_eq!(checked.status.code(), Some(2), "{}", said(&checked));
    let table = said(&checked);
    assert!(table.contains("1 passed"), "{table}");
    assert!(table.contains("bad.jsonl") && table.contains("absent.jsonl"));
    assert!(table.contains("seed 3"), "{table}");
    let broken = [&kept[..], &["--seed", "4", "--set", "defect=lost-update"]].concat();
    assert_eq!(run(&broken).status.code(), Some(1));
    let wrong = path(Path::new(&histories), "dict-increment-4.jsonl");
    let checked = harness(&["check", &absent, &wrong, &good]);
    assert_eq!(checked.status.code(), Some(1), "{}", said(&checked));
    // They have no seed in common.
    let table = said(&checked);
    assert!(!table.lines().last().unwrap().contains("seed"), "{table}");
}

/// As in `beaver-harness … | head -1`, when `head` has ended already.
#[test]
fn who_stops_reading_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let histories = path(folder.path(), "histories");
    let history = path(Path::new(&histories), "dict-increment-3.jsonl");
    let (_, shrink) = LOST_UPDATE;
    let broken = [
        "--workload",
        "dict-increment",
        "--set",
        "defect=lost-update",
    ];
    let broken = [RUN, &broken, &["--histories", &histories]].concat();
    for (args, code) in [
        (&["help"][..], 0),
        (&["list"], 0),
        (&["list", "--json", "bank"], 0),
        (&broken, 1),
        (&["check", &history], 1),
        (shrink, 1),
        (&["nonsense"], 2),
        (&["check-driver", "--", "/nonexistent/driver"], 1),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_beaver-harness"));
        command.args(args).stderr(writer.try_clone().unwrap());
        let ended = command.stdout(writer).status().unwrap();
        assert_eq!(ended.code(), Some(code), "{args:?}");
    }
}

#[test]
fn a_database_is_kept_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    std::fs::write(&file, "mine").unwrap();
    let kept = path(folder.path(), "");
    let refused = run(&["--workload", "dict-increment", "--keep", &kept]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    let words = said(&refused);
    assert!(words.contains("store.db is there already"), "{words}");
    // Nothing ran.
    assert!(!words.contains("dict-increment"), "{words}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "mine");
}

#[test]
fn seeds_go_on_after_the_last() {
    let last = u64::MAX.to_string();
    let rounds = ["--workload", "bank", "--steps", "1", "--for", "2"];
    let ended = run(&[&rounds[..], &["--seed", &last]].concat());
    assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
    assert!(said(&ended).contains("bank (seed 0)"), "{}", said(&ended));
}

/// A store that loses updates, and what shrinks such a run.
const LOST_UPDATE: (&[&str], &[&str]) = (
    &["--driver", "reference", "--set", "defect=lost-update"],
    &[
        "shrink",
        "--driver",
        "reference",
        "--set",
        "defect=lost-update",
        "--workload",
        "dict-increment",
        "--seed",
        "3",
        "--workers",
        "3",
        "--steps",
        "8",
        "--tries",
        "2",
        "--candidates",
        "20",
    ],
);

/// The command after these words, as a shell takes it apart.
fn command_after(words: &str, output: &Output) -> Vec<String> {
    let said = said(output);
    let line = said
        .lines()
        .find_map(|line| line.trim().strip_prefix(words));
    let line = line.unwrap_or_else(|| panic!("no {words:?} in {said}"));
    let line = line.trim().strip_prefix("beaver-harness ").unwrap();
    let printed = Command::new("sh")
        .args(["-c", &format!("printf '%s\\n' {line}")])
        .output()
        .unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    printed.lines().map(str::to_owned).collect()
}

fn once_more(command: &[String]) -> Output {
    harness(&command.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Clocks, processes, faults: all that the options of the run brought in comes along.
#[test]
fn what_was_shrunk_fails_when_it_is_run_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    for (name, defect, more) in [
        (
            "clocks",
            "defect=lost-update",
            &["--faults", "clock", "--processes", "2"][..],
        ),
        (
            "drops",
            "defect=stale-read",
            &[
                "--faults",
                "drop,trap",
                "--fault-interval-ms",
                "5",
                "--processes",
                "1",
            ],
        ),
        (
            "quoted",
            "defect=lost-update",
            &["--late-ms", "4000", "--set", "note=it's all right"],
        ),
    ] {
        let file = path(folder.path(), &format!("{name}.json"));
        let shrink = [
            "shrink",
            "--driver",
            "reference",
            "--workload",
            "dict-increment",
        ];
        let settings = [
            "--set",
            defect,
            "--set",
            "every=1",
            "--seed",
            "3",
            "--workers",
            "4",
        ];
        let most = [
            "--steps",
            "20",
            "--tries",
            "2",
            "--candidates",
            "12",
            "--quiet",
            "--every-try",
        ];
        let all = [&shrink[..], &settings, &most, more, &["--out", &file]].concat();
        let shrunk = harness(&all);
        assert_eq!(shrunk.status.code(), Some(1), "{}", said(&shrunk));
        let program: Value =
            serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        if name == "clocks" {
            let offsets = program["clock-offsets-ms"].as_array().unwrap();
            assert!(offsets.iter().any(|offset| *offset != 0), "{program}");
        }
        let command = command_after("run it again:", &shrunk);
        assert!(!command.contains(&"--quiet".to_owned()));
        let again = once_more(&command);
        assert_eq!(again.status.code(), Some(1), "{name}: {}", said(&again));
    }
}

#[test]
fn a_replay_runs_the_same_program_once_more() {
    let more = [
        "--workload",
        "queue-delivery,dict-increment",
        "--steps",
        "40",
    ];
    let (broken, _) = LOST_UPDATE;
    let first = run(&[broken, &more, &["--set", "note=a 'b' $c", "--quiet"]].concat());
    assert_eq!(first.status.code(), Some(1), "{}", said(&first));
    let again = once_more(&command_after("replay:", &first));
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));
    let words = said(&again);
    assert!(words.contains("1 program on reference"), "{words}");
    assert!(words.contains("dict-increment (seed 3)"), "{words}");
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
