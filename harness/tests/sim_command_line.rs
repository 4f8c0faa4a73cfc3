//! `beaver-harness sim`, and what it finds shrunk: exit codes, replays, shards, threads.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_harness::program::Plan;
use beaver_harness::sim::shrink::{self, Case, Limits, Subject};
use beaver_harness::sim::{Defects, Kind, Policy, Settings, Simulator};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn harness(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_beaver-harness"))
        .args(args)
        .output()
        .unwrap()
}

fn sim(line: &str) -> Output {
    let words: Vec<_> = line.split_whitespace().collect();
    harness(&[&["sim", "--quiet"], &words[..]].concat())
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The words of a command, as a shell takes them that quotes with `'`, and `\` before one.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut is_quoted) = (vec![String::new()], false);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            '\\' if !is_quoted => words.last_mut().unwrap().extend(letters.next()),
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words
}

/// The runs that a text tells of: the hash of each trace, and the command that replays it.
fn told(text: &str) -> Vec<(String, Vec<String>)> {
    let after = |mark: &'static str| {
        let lines = text.lines();
        lines.filter_map(move |line| line.split_once(mark).map(|(_, rest)| rest.to_owned()))
    };
    let replays = after("replay: beaver-harness ").map(|line| words(&line));
    after("virtual time, trace ").zip(replays).collect()
}

fn number(text: &str, after: &str) -> u64 {
    let (_, rest) = text.split_once(after).unwrap();
    let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    u64::from_str_radix(&digits, 16).unwrap()
}

const BROKEN: &str = "--defect shm-lock-ignored --seeds 6 --failures 2";

#[test]
fn each_command_that_is_printed_replays_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let histories = folder.path().join("it's here");
    let line = format!("{BROKEN} --histories");
    let mut args = vec!["sim", "--quiet"];
    args.extend(line.split_whitespace());
    args.push(histories.to_str().unwrap());
    let found = harness(&args);
    assert_eq!(found.status.code(), Some(1), "{}", out(&found));
    let shrunk_too = told(&out(&found));
    let by_name = told(&out(&sim(BROKEN)));
    // Two that failed, and the first of them shrunk: as a scenario, or by its name.
    assert_eq!((shrunk_too.len(), by_name.len()), (3, 3));
    let scenario = shrunk_too[1].1.iter().find(|it| it.ends_with(".json"));
    assert!(Path::new(scenario.unwrap()).is_file());
    assert!(!by_name[1].1.contains(&"--scenario".to_owned()));
    for (hash, replay) in shrunk_too.iter().chain(&by_name) {
        let replay: Vec<&str> = replay.iter().map(String::as_str).collect();
        let again = harness(&[&replay[..], &["--quiet", "--no-shrink"]].concat());
        assert_eq!(again.status.code(), Some(1), "{replay:?}");
        assert_eq!(&told(&out(&again))[0].0, hash, "{replay:?}");
    }
    // The histories alone show what is wrong.
    for entry in std::fs::read_dir(&histories).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|it| it == "jsonl") {
            let judged = harness(&["check", file.to_str().unwrap()]);
            assert_eq!(judged.status.code(), Some(1), "{}", out(&judged));
        }
    }
}

#[test]
fn what_comes_out_does_not_depend_on_threads_or_on_the_process() {
    for line in ["--seeds 24", BROKEN] {
        let one = sim(&format!("{line} --jobs 1"));
        let two = sim(&format!("{line} --jobs 2"));
        assert_eq!(out(&one), out(&two), "{line}");
        assert_eq!(one.status.code(), two.status.code());
    }
}

#[test]
fn shards_add_up_to_the_whole() {
    let line = "--seed 40 --seeds 21 --workers 2 --steps 4";
    let whole = sim(line);
    assert_eq!(whole.status.code(), Some(0), "{}", out(&whole));
    let parts = [1, 2, 3].map(|part| sim(&format!("{line} --shard {part}/3")));
    let parts = parts.map(|part| out(&part));
    let whole = out(&whole);
    let fingerprint = |text: &str| number(text, "fingerprint ");
    let sum = parts.iter().map(|part| fingerprint(part));
    assert_eq!(sum.fold(0, u64::wrapping_add), fingerprint(&whole));
    let seven = |part: &String| part.contains("7 runs: ");
    assert!(parts.iter().all(seven), "{parts:?}");
}

#[test]
fn the_exit_code_is_the_verdict() {
    for (line, code) in [
        ("--workload dict-registers --seeds 2", 0),
        ("--workload killed-holder", 0),
        (BROKEN, 1),
        ("--workload nonsense", 2),
        ("--component /nonexistent.wasm", 2),
        ("--seeds 0", 2),
        ("--fault 1:2:rain", 2),
    ] {
        let ended = sim(line);
        assert_eq!(ended.status.code(), Some(code), "{line}: {}", out(&ended));
    }
}

#[test]
fn reports_have_what_did_not_pass_in_virtual_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (html, json, junit) = (file("a.html"), file("a.json"), file("a.xml"));
    let ended = sim(&format!(
        "--defect sync-does-nothing --workload queue-delivery --seed 1 --durability full --journal wal \
         --fault 1:60:power-loss=0,0:3:jump=500,0:2:slow=7 --html {html} --json {json} --junit {junit}"
    ));
    assert_eq!(ended.status.code(), Some(1), "{}", out(&ended));
    let json: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let programs = json["programs"].as_array().unwrap();
    let names: Vec<_> = programs.iter().map(|it| it["program"].as_str()).collect();
    let name = "queue-delivery (seed 1)";
    let shrunk = "queue-delivery (seed 1, shrunk)";
    assert_eq!(names, [Some(name), Some(shrunk)]);
    let html = std::fs::read_to_string(html).unwrap();
    for words in [
        "Virtual time",
        "1 clock-jump, 1 power-loss",
        "had to survive",
        "worker 0, host call 2: it takes 7 ms longer",
        "power loss (chance 0)",
    ] {
        assert!(html.contains(words), "{words}");
    }
    let junit = std::fs::read_to_string(junit).unwrap();
    assert!(junit.contains("had to survive"), "{junit}");
}

fn failing(simulator: &Simulator) -> (Case, beaver_harness::sim::Simulated) {
    let defects = Defects {
        shm_lock_ignored: true,
        ..Defects::default()
    };
    let case = |seed| Case {
        subject: Subject::Named {
            name: "dict-increment".into(),
            workers: 3,
        },
        settings: Settings {
            seed,
            steps_max: 6,
            policy: Policy::Random,
            kinds: vec![Kind::Slow, Kind::Clock],
            defects,
            ..Settings::default()
        },
    };
    let runs = (1..50).map(|seed| {
        let case = case(seed);
        let ran = simulator.run(&case.plan().unwrap(), &case.settings);
        (case, ran.unwrap())
    });
    let mut failed = runs.filter(|(_, ran)| ran.failed());
    failed.next().unwrap()
}

#[test]
fn what_is_shrunk_is_smaller_and_fails_in_the_same_way() {
    let simulator = Simulator::new(&beaver_host::default_component_path()).unwrap();
    let (case, failed) = failing(&simulator);
    let kind = shrink::kind(&failed).unwrap();
    let mut last = None;
    let mut watch = |size| {
        last = Some(size);
        true
    };
    let limits = Limits {
        runs_max: 400,
        ..Limits::default()
    };
    let reduced = shrink::shrink(&simulator, &case, &failed, limits, &mut watch);
    let reduced = reduced.unwrap().unwrap();
    assert!(shrink::kinds(&reduced.ran).contains(&kind));
    assert_eq!(last.map(|size| size.runs), Some(reduced.size.runs));
    let size = reduced.size;
    // Three workers with six steps each there were.
    assert!(size.runs <= 400 && size.steps <= 6, "{size:?}");
    assert_eq!(reduced.story.len(), size.faults + size.switches + size.cuts);
    assert!(size.switches + size.cuts < failed.script.switches.len());
    // It needs nothing but what it says.
    let Subject::Written(program) = &reduced.case.subject else {
        panic!("{:?}", reduced.case.subject)
    };
    let plan = Plan::from((**program).clone());
    let again = simulator.run(&plan, &reduced.case.settings).unwrap();
    assert_eq!(again.trace_hash, reduced.ran.trace_hash);
    assert!(shrink::kinds(&again).contains(&kind));
}

#[test]
fn nothing_is_run_beyond_the_limit_or_once_somebody_says_so() {
    let simulator = Simulator::new(&beaver_host::default_component_path()).unwrap();
    let (case, failed) = failing(&simulator);
    let limits = |runs_max| Limits {
        runs_max,
        writes_down: false,
    };
    let none = shrink::shrink(&simulator, &case, &failed, limits(0), &mut |_| true);
    assert!(none.unwrap().is_none());
    let few = shrink::shrink(&simulator, &case, &failed, limits(5), &mut |_| true);
    assert_eq!(few.unwrap().unwrap().size.runs, 5);
    let mut told = 0;
    let mut stop = |_| {
        told += 1;
        told < 3
    };
    let stopped = shrink::shrink(&simulator, &case, &failed, limits(99), &mut stop);
    assert!(stopped.unwrap().unwrap().size.runs <= 4);
    assert_eq!(told, 3);
}
