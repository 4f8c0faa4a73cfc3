//! A run that is interrupted or killed, while one of its processes is stopped or hangs.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper,
    waitpid,
};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything takes that isn't stuck.
const LONG: Duration = Duration::from_secs(60);

const HARNESS: &str = env!("CARGO_BIN_EXE_beaver-harness");

/// Two workers, each in a process; the second one's is stopped for an hour.
fn scenario(folder: &Path) -> String {
    let program = json!({
        "program": 1, "name": "paused", "promise": "", "layout": "apart",
        "workers": [
            [{"fault": {"stop": {"worker": 1, "for-ms": 3_600_000}}}],
            [{"sleep": {"ms": 3_600_000}}],
        ],
        "checks": [{"check": "completion"}],
    });
    let file = folder.join("paused.json");
    std::fs::write(&file, program.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A process, and whether each of its threads is stopped. The system counts it as stopped only
/// then: before, nobody wakes it when its parent dies.
#[derive(Debug)]
struct Process {
    number: i32,
    stopped: bool,
}

/// The processes whose parent is `parent`.
fn children(parent: u32) -> Vec<Process> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(number) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        if stat(&entry.path()).is_some_and(|(_, its)| its == parent) {
            let threads = std::fs::read_dir(entry.path().join("task"));
            let threads = threads.into_iter().flatten().flatten();
            let states: Vec<_> = threads.map(|thread| stat(&thread.path())).collect();
            let stopped =
                |state: &Option<(String, u32)>| matches!(state, Some((it, _)) if it == "T");
            let stopped = !states.is_empty() && states.iter().all(stopped);
            children.push(Process { number, stopped });
        }
    }
    children
}

/// The state of a process or a thread, and its parent. It may have ended meanwhile.
fn stat(folder: &Path) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.to_owned();
    Some((state, fields.next()?.parse().ok()?))
}

/// The children once they are as `wanted` says.
fn children_when(harness: &mut Child, wanted: impl Fn(&[Process]) -> bool) -> Vec<i32> {
    let began = Instant::now();
    loop {
        assert!(harness.try_wait().unwrap().is_none(), "{}", rest(harness));
        let children = children(harness.id());
        if wanted(&children) {
            return children.into_iter().map(|child| child.number).collect();
        }
        assert!(began.elapsed() < LONG, "{children:?}");
        std::thread::yield_now();
    }
}

fn one_is_stopped(children: &[Process]) -> bool {
    children.len() == 2 && children.iter().any(|child| child.stopped)
}

fn spawn(command: &mut Command) -> Child {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

/// What it has said and not been asked for.
fn rest(harness: &mut Child) -> String {
    let mut said = String::new();
    if let Some(mut out) = harness.stdout.take() {
        out.read_to_string(&mut said).unwrap();
    }
    if let Some(mut err) = harness.stderr.take() {
        err.read_to_string(&mut said).unwrap();
    }
    said
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.try_into().unwrap()).unwrap()
}

#[test]
fn an_interrupted_run_reports_what_there_is_and_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let scenario = scenario(folder.path());
    let mut harness = harness(folder.path());
    harness.args(["run", "--driver", "native", "--scenario", &scenario]);
    harness.args(["--json", &path("r.json"), "--html", &path("r.html")]);
    harness.args(["--junit", &path("r.xml"), "--histories", &path("h")]);
    let mut harness = spawn(harness.process_group(0));
    let children = children_when(&mut harness, one_is_stopped);
    // As a terminal does it: whoever is in its group hears of it.
    kill_process_group(pid(harness.id()), Signal::INT).unwrap();
    let said = rest(&mut harness);
    assert_eq!(harness.wait().unwrap().code(), Some(2), "{said}");
    assert!(
        said.contains("interrupted by SIGINT, after 1 program of 1"),
        "{said}"
    );
    assert!(said.contains("paused"), "the table: {said}");
    for child in children {
        assert!(!Path::new("/proc").join(child.to_string()).exists());
    }
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(path("r.json")).unwrap()).unwrap();
    let check = &report["programs"][0]["run"]["checks"][0];
    assert_eq!(check["verdict"], "unknown", "{report}");
    assert!(check["unknown"].as_str().unwrap().contains("interrupted"));
    for file in ["r.html", "r.xml"] {
        assert!(
            std::fs::read_to_string(path(file))
                .unwrap()
                .contains("paused")
        );
    }
    let history = std::fs::read_dir(path("h"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let history = std::fs::read_to_string(history.path()).unwrap();
    assert!(history.contains("resumed"), "{history}");
}

#[test]
fn what_has_failed_already_counts_in_an_interrupted_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = harness(folder.path());
    harness.args([
        "run",
        "--driver",
        "reference",
        "--set",
        "defect=lost-update",
    ]);
    harness.args(["--set", "every=1", "--workload", "dict-increment,bank"]);
    harness.args(["--seconds", "0.2", "--for", "3600", "--seed", "3"]);
    let mut harness = spawn(&mut harness);
    let mut lines = BufReader::new(harness.stderr.take().unwrap()).lines();
    // The second one runs: the first has failed.
    assert!(lines.any(|line| line.unwrap().starts_with("bank")));
    kill_process(pid(harness.id()), Signal::TERM).unwrap();
    let said = rest(&mut harness);
    assert_eq!(harness.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("dict-increment"), "the table: {said}");
}

/// What a driver of dictionaries and locks answers to `init`.
const INIT_ANSWER: &str =
    r#"{"id":1,"ok":{"protocol":1,"name":"sh","version":"","capabilities":["dict","locks"]}}"#;

/// The harness with the signals as a terminal gives them. Whoever runs the tests in the background may
/// have them ignored, and what is ignored stays ignored. What it leaves when it is killed stays in
/// `folder`.
fn harness(folder: &Path) -> Command {
    let mut harness = Command::new("env");
    harness.args(["--default-signal=HUP,INT,TERM", HARNESS]);
    harness.env("TMPDIR", folder);
    harness
}

/// A run of one worker on this shell script.
fn run_of(folder: &Path, script: &str) -> Command {
    let mut harness = harness(folder);
    harness.args(["run", "--workload", "dict-registers", "--workers", "1"]);
    harness.args(["--", "sh", "-c", script]);
    harness
}

/// A process of the run once nothing but SIGKILL ends it: it neither answers nor looks at its
/// input.
fn one_that_hangs(harness: &mut Child) -> Vec<i32> {
    let name = |child: i32| std::fs::read_to_string(format!("/proc/{child}/comm"));
    children_when(
        harness,
        |children| matches!(children, [it] if name(it.number).is_ok_and(|name| name == "sleep\n")),
    )
}

#[test]
fn an_interrupted_run_does_not_wait_for_a_process_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let started = folder.path().join("started");
    let started = started.display();
    for (at, script) in [
        // It is asked what it is.
        ("the first init", "exec sleep 3600".to_owned()),
        (
            "a later init",
            format!(
                "read init; mkdir '{started}' || exec sleep 3600; echo '{INIT_ANSWER}'; read open"
            ),
        ),
        (
            "open",
            format!("read init; echo '{INIT_ANSWER}'; read open && exec sleep 3600"),
        ),
    ] {
        let mut harness = spawn(&mut run_of(folder.path(), &script));
        let children = one_that_hangs(&mut harness);
        kill_process(pid(harness.id()), Signal::INT).unwrap();
        let said = rest(&mut harness);
        assert_eq!(harness.wait().unwrap().code(), Some(2), "{at}: {said}");
        assert!(said.contains("interrupted by SIGINT"), "{at}: {said}");
        // After a minute it would be given up anyway.
        assert!(!said.contains("no answer to"), "{at}: {said}");
        for child in children {
            assert!(!Path::new("/proc").join(child.to_string()).exists());
        }
    }
}

#[test]
fn a_signal_ends_a_run_whose_words_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = scenario(folder.path());
    let mut harness = harness(folder.path());
    harness.args([
        "run",
        "--driver",
        "native",
        "--quiet",
        "--scenario",
        &scenario,
    ]);
    let mut harness = spawn(&mut harness);
    children_when(&mut harness, one_is_stopped);
    drop(harness.stderr.take());
    kill_process(pid(harness.id()), Signal::INT).unwrap();
    assert_eq!(harness.wait().unwrap().code(), Some(2));
}

#[test]
fn the_second_signal_ends_at_once_and_takes_the_children_along() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("read init; echo '{INIT_ANSWER}'; read open && exec sleep 3600");
    let mut harness = spawn(&mut run_of(folder.path(), &script));
    let children = one_that_hangs(&mut harness);
    adopt();
    // It finds both when it is resumed.
    for signal in [Signal::STOP, Signal::HUP, Signal::INT, Signal::CONT] {
        kill_process(pid(harness.id()), signal).unwrap();
    }
    let said = rest(&mut harness);
    assert!(said.contains(": ending early"), "{said}");
    assert!(!said.contains("interrupted by"), "{said}");
    assert_eq!(harness.wait().unwrap().code(), Some(2));
    await_end(&children);
}

/// From now on orphans among our descendants become ours, and can be waited for.
fn adopt() {
    set_child_subreaper(Some(getpid())).unwrap();
}

fn await_end(children: &[i32]) {
    let began = Instant::now();
    for child in children {
        let child = Pid::from_raw(*child).unwrap();
        let mut ended = Ok(None);
        while matches!(ended, Ok(None)) {
            if began.elapsed() > LONG {
                for child in children.iter().copied().filter_map(Pid::from_raw) {
                    let _ = kill_process(child, Signal::KILL);
                }
                panic!("{child:?} still lives");
            }
            std::thread::sleep(Duration::from_millis(1));
            ended = waitpid(Some(child), WaitOptions::NOHANG);
        }
        match ended {
            Ok(ended) => {
                let (_, status) = ended.unwrap();
                assert!(status.signaled() || status.exited(), "{status:?}");
            }
            // The harness saw to it before it ended itself.
            Err(Errno::CHILD) => {
                let number = child.as_raw_nonzero().to_string();
                assert!(!Path::new("/proc").join(number).exists());
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn our_own_drivers_die_with_a_killed_harness_even_when_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = scenario(folder.path());
    let mut harness = harness(folder.path());
    harness.args(["run", "--driver", "native", "--scenario", &scenario]);
    let mut harness = spawn(&mut harness);
    let children = children_when(&mut harness, one_is_stopped);
    // In the session of the harness, so that the kernel wakes nobody.
    adopt();
    harness.kill().unwrap();
    harness.wait().unwrap();
    await_end(&children);
}

#[test]
fn a_stopped_driver_of_anybody_s_is_woken_when_the_harness_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = scenario(folder.path());
    // Adopted from another session, as on most systems.
    let mut harness = Command::new("setsid");
    harness.env("TMPDIR", folder.path());
    harness.args([HARNESS, "run", "--scenario", &scenario, "--"]);
    harness.args([
        "env",
        "-u",
        "BEAVER_HARNESS_PARENT",
        HARNESS,
        "serve",
        "native",
    ]);
    let mut harness = spawn(&mut harness);
    let children = children_when(&mut harness, one_is_stopped);
    adopt();
    harness.kill().unwrap();
    harness.wait().unwrap();
    await_end(&children);
}
