//! What a process may meet with: no file handle left, a limit on what it may write, permissions that
//! change. Each gives a typed error that says whether the operation happened, leaves the file as it
//! was, and is over when it is over. (`files` has full disks and read-only file systems.)

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{Files, JournalChoice, Process, both};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_beaver-test-process");
const JOURNALS: [JournalChoice; 2] = [JournalChoice::Automatic, JournalChoice::Rollback];

fn is_sound(files: &Files) {
    let script = "import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchone()[0])";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(files.database())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "ok");
}

fn set(process: &mut Process, key: &str, value: &Value) -> Value {
    process.send(&json!({"op": "set", "name": "d", "key": key, "value": value}));
    process.answer()
}

fn get(process: &mut Process, key: &str) -> Value {
    process.call(json!({"op": "get", "name": "d", "key": key}))
}

fn worked(answer: &Value) -> bool {
    answer["ok"].is_null() && answer["error"].is_null()
}

/// It failed, with an error of ours by which nothing happened.
fn not_applied(answer: &Value) {
    assert_eq!(answer["outcome"], "not-applied", "{answer}");
}

/// What starts a process for which permissions bind, as they don't for root.
fn unprivileged() -> Option<&'static [&'static str]> {
    const AS_ROOT: &[&str] = &["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o444)).unwrap();
    let binds = |prefix: &[&str]| {
        let mut words =
            prefix
                .iter()
                .copied()
                .chain(["sh", "-c", "true < \"$0\" && ! true >> \"$0\""]);
        let status = Command::new(words.next().unwrap())
            .args(words)
            .arg(&file)
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    let found = [&[][..], AS_ROOT].into_iter().find(|prefix| binds(prefix));
    if found.is_none() {
        eprintln!("left out: permissions don't bind here, and nothing makes them");
    }
    found
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A database with one entry that nobody has open.
fn prepare(files: &Files, journal: JournalChoice) {
    let mut process = Process::start_with(PROGRAM, files.system, &files.database(), journal);
    assert!(worked(&set(&mut process, "k", &json!(0))));
    drop(process);
    // It was killed; the next one closes in good order.
    let options = beaver_tests::Options {
        journal,
        ..beaver_tests::Options::default()
    };
    drop(files.open_with(&options).unwrap());
}

both! {
    fn no_file_handle_is_left(files: &Files) {
        for journal in JOURNALS {
            let limited = ["sh", "-c", "ulimit -n 200 && exec \"$0\" \"$@\""];
            let mut process =
                Process::start_by(&limited, PROGRAM, files.system, &files.database(), journal).unwrap();
            assert!(worked(&set(&mut process, "k", &json!(1))));
            let hoarded = process.call(json!({"op": "hoard"}));
            assert!(hoarded.as_u64() > Some(50), "{hoarded}");
            // With a rollback journal each write opens one. Reading needs none.
            let answer = set(&mut process, "k", &json!(2));
            let found = get(&mut process, "k");
            if journal == JournalChoice::Rollback {
                not_applied(&answer);
            }
            assert_eq!(found, if worked(&answer) { json!(2) } else { json!(1) });
            let copy = files.directory().join("copy.db");
            process.send(&json!({"op": "backup", "path": copy}));
            not_applied(&process.answer());
            process.call(json!({"op": "unhoard"}));
            assert!(worked(&set(&mut process, "k", &json!(3))));
            process.call(json!({"op": "backup", "path": copy, "replace": true}));
            assert_eq!(get(&mut process, "k"), json!(3));
            drop(process);
            is_sound(files);
            for name in ["app.db", "app.db-wal", "app.db-shm", "app.db-journal", "copy.db"] {
                let _ = fs::remove_file(files.directory().join(name));
            }
        }
    }

    fn what_may_be_written_is_limited(files: &Files) {
        for journal in JOURNALS {
            // Ignored, the signal becomes the error EFBIG of the write.
            let patient = ["sh", "-c", "trap '' XFSZ && exec \"$0\" \"$@\""];
            let mut process =
                Process::start_by(&patient, PROGRAM, files.system, &files.database(), journal).unwrap();
            assert!(worked(&set(&mut process, "k", &json!(0))));
            let pid = process.id().to_string();
            let limit = |bytes: &str| {
                let status = Command::new("prlimit")
                    .args(["--pid", &pid, &format!("--fsize={bytes}:")])
                    .status();
                assert!(status.unwrap().success());
            };
            // Not at a page's end: the last write is done in part.
            limit("700001");
            let value = json!("x".repeat(20_000));
            let mut stored = 0;
            let answer = loop {
                let answer = set(&mut process, &stored.to_string(), &value);
                if !worked(&answer) {
                    break answer;
                }
                stored += 1;
                assert!(stored < 1000);
            };
            assert!(stored > 5, "{stored}");
            assert_ne!(answer["outcome"], "none", "{answer}");
            for n in 0..stored {
                assert_eq!(get(&mut process, &n.to_string()), value);
            }
            let last = get(&mut process, &stored.to_string());
            if answer["outcome"] == "not-applied" {
                assert_eq!(last, Value::Null);
            }
            limit("unlimited");
            assert!(worked(&set(&mut process, "after", &value)));
            drop(process);
            is_sound(files);
            for name in ["app.db", "app.db-wal", "app.db-shm", "app.db-journal"] {
                let _ = fs::remove_file(files.directory().join(name));
            }
        }
    }

    fn a_file_that_may_not_be_written(files: &Files) {
        let Some(prefix) = unprivileged() else { return };
        prepare(files, JournalChoice::Rollback);
        permit(&files.database(), 0o444);
        let bytes = fs::read(files.database()).unwrap();
        let start = || Process::start_by(prefix, PROGRAM, files.system, &files.database(), JournalChoice::Rollback);
        match start() {
            Ok(mut process) => {
                not_applied(&set(&mut process, "k", &json!(1)));
                assert_eq!(get(&mut process, "k"), json!(0));
            }
            Err(said) => assert!(said.contains("read-only"), "{said}"),
        }
        assert!(fs::read(files.database()).unwrap() == bytes);
        permit(&files.database(), 0o644);
        let mut process = start().unwrap();
        assert!(worked(&set(&mut process, "k", &json!(1))));
    }

    fn a_directory_that_may_not_be_written_for_a_while(files: &Files) {
        let Some(prefix) = unprivileged() else { return };
        prepare(files, JournalChoice::Rollback);
        let start = || Process::start_by(prefix, PROGRAM, files.system, &files.database(), JournalChoice::Rollback);
        let mut process = start().unwrap();
        assert!(worked(&set(&mut process, "k", &json!(1))));
        // Its journal can't be made.
        permit(files.directory(), 0o555);
        not_applied(&set(&mut process, "k", &json!(2)));
        assert_eq!(get(&mut process, "k"), json!(1));
        permit(files.directory(), 0o755);
        assert!(worked(&set(&mut process, "k", &json!(3))));
        drop(process);
        is_sound(files);
    }

    fn a_directory_where_no_log_can_be_made(files: &Files) {
        let Some(prefix) = unprivileged() else { return };
        prepare(files, JournalChoice::Wal);
        let bytes = fs::read(files.database()).unwrap();
        assert!(!files.directory().join("app.db-wal").exists());
        permit(files.directory(), 0o555);
        let start = || Process::start_by(prefix, PROGRAM, files.system, &files.database(), JournalChoice::Wal);
        let said = start().map(drop).unwrap_err();
        permit(files.directory(), 0o755);
        assert!(said.contains("Error"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        assert!(fs::read(files.database()).unwrap() == bytes);
        let mut process = start().unwrap();
        assert!(worked(&set(&mut process, "k", &json!(1))));
    }

    fn permissions_that_are_taken_away_bind_whoever_comes_later(files: &Files) {
        let Some(prefix) = unprivileged() else { return };
        prepare(files, JournalChoice::Wal);
        let start = || Process::start_by(prefix, PROGRAM, files.system, &files.database(), JournalChoice::Wal);
        let mut process = start().unwrap();
        permit(&files.database(), 0o000);
        assert!(worked(&set(&mut process, "k", &json!(1))), "it has the file open");
        let said = start().map(drop).unwrap_err();
        assert!(!said.contains("panicked"), "{said}");
        permit(&files.database(), 0o644);
        let mut other = start().unwrap();
        assert_eq!(get(&mut other, "k"), json!(1));
        assert!(worked(&set(&mut other, "k", &json!(2))));
        assert_eq!(get(&mut process, "k"), json!(2));
    }
}
