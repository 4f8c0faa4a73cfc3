//! One write-ahead log for all: instances, host processes, native processes.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{Journal, LockOptions, Process, System, both, s};
use serde_json::json;
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_beaver-test-process");

/// `PRAGMA integrity_check` by SQLite in a process of its own.
fn integrity(path: &Path) -> String {
    let script = "import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchone()[0])";
    let output = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

both! {
    fn a_new_file_is_in_wal_mode(files: &Files) {
        let store = files.open();
        assert_eq!(store.journal().unwrap(), Journal::Wal);
        assert_eq!(store.format_version().unwrap().as_deref(), Some("1.3.0"));
        let header = std::fs::read(files.database()).unwrap();
        assert_eq!(&header[18..20], [2, 2], "the header says WAL");
    }

    fn two_stores_see_each_others_commits(files: &Files) {
        let (a, b) = (files.open(), files.open());
        let (a, b) = (a.dict("d").unwrap(), b.dict("d").unwrap());
        for n in 0..200 {
            let (writer, reader) = if n % 2 == 0 { (&a, &b) } else { (&b, &a) };
            writer.set("n", &n.to_string(), None).unwrap();
            assert_eq!(reader.get("n").unwrap(), Some(n.to_string()));
        }
    }

    fn the_wal_index_is_shared_with_other_processes(files: &Files) {
        let store = files.open();
        let dict = store.dict("d").unwrap();
        let mut native = Process::start(PROGRAM, System::Native, &files.database());
        let mut component = Process::start(PROGRAM, System::Component, &files.database());
        for n in 0..50 {
            for process in [&mut native, &mut component] {
                dict.set("n", &n.to_string(), None).unwrap();
                assert_eq!(process.call(json!({"op": "get", "name": "d", "key": "n"})), json!(n));
                process.call(json!({"op": "set", "name": "d", "key": "n", "value": -n}));
                assert_eq!(dict.get("n").unwrap(), Some((-n).to_string()));
            }
        }
    }

    fn a_checkpoint_by_one_is_understood_by_all(files: &Files) {
        let (a, b) = (files.open(), files.open());
        let (dict, reader) = (a.dict("d").unwrap(), b.dict("d").unwrap());
        let mut native = Process::start(PROGRAM, System::Native, &files.database());
        let wal = files.directory().join("app.db-wal");
        for round in 0..5 {
            // Enough for several regions of the wal-index.
            let transaction = a.begin().unwrap();
            for key in 0..60 {
                let value = format!("\"{}\"", "x".repeat(20_000 + round));
                dict.set(&key.to_string(), &value, None).unwrap();
            }
            transaction.commit().unwrap();
            assert!(std::fs::metadata(&wal).unwrap().len() > 1 << 20);
            assert_eq!(reader.len().unwrap(), 60);
            assert_eq!(b.checkpoint().unwrap(), 0);
            assert_eq!(std::fs::metadata(&wal).unwrap().len(), 0, "the log was emptied");
            assert_eq!(dict.get("59").unwrap().unwrap().len(), 20_002 + round);
            let seen = native.call(json!({"op": "get", "name": "d", "key": "59"}));
            assert_eq!(seen.as_str().unwrap().len(), 20_000 + round);
        }
        drop(native);
        assert_eq!(integrity(&files.database()), "ok");
    }

    // Found in review: what a reader kept in the log was not counted.
    fn a_checkpoint_counts_what_is_left_in_the_log(files: &Files) {
        let store = files.open();
        let dict = store.dict("d").unwrap();
        dict.set("x", "1", None).unwrap();
        let mut readers = Process::start(PROGRAM, System::Native, &files.database());
        readers.call(json!({"op": "read-on"}));
        dict.set("x", "2", None).unwrap();
        assert!(store.checkpoint().unwrap() > 0);
        drop(readers);
        assert_eq!(store.checkpoint().unwrap(), 0);
    }

    fn increments_of_many_processes_add_up(files: &Files) {
        let store = files.open();
        let dict = store.dict("d").unwrap();
        let mut processes = vec![
            Process::start(PROGRAM, System::Native, &files.database()),
            Process::start(PROGRAM, System::Component, &files.database()),
            Process::start(PROGRAM, System::Component, &files.database()),
        ];
        processes.extend(Process::python(&files.database()));
        for process in &mut processes {
            process.send(&json!({"op": "increment", "name": "d", "count": 60}));
        }
        for _ in 0..60 {
            dict.acquire(&LockOptions::timeout(s(60))).unwrap();
            let n: u64 = dict.get("n").unwrap().map_or(0, |text| text.parse().unwrap());
            dict.set("n", &(n + 1).to_string(), None).unwrap();
            dict.release().unwrap();
        }
        for process in &mut processes {
            assert_eq!(process.answer(), json!({"ok": null}));
        }
        let total = (60 * (processes.len() + 1)).to_string();
        assert_eq!(dict.get("n").unwrap(), Some(total));
        drop(processes);
        assert_eq!(integrity(&files.database()), "ok");
    }

    fn a_queue_is_drained_exactly_once_by_many_processes(files: &Files) {
        let store = files.open();
        let queue = store.queue("q").unwrap();
        let transaction = store.begin().unwrap();
        for n in 0..400 {
            queue.put(&n.to_string(), f64::from(n % 5)).unwrap();
        }
        transaction.commit().unwrap();
        let mut processes = vec![
            Process::start(PROGRAM, System::Native, &files.database()),
            Process::start(PROGRAM, System::Component, &files.database()),
        ];
        processes.extend(Process::python(&files.database()));
        for process in &mut processes {
            process.send(&json!({"op": "drain", "name": "q", "count": 1000}));
        }
        let mut taken = Vec::new();
        while let Some(item) = queue.try_get().unwrap() {
            taken.push(item.data.parse::<u64>().unwrap());
        }
        for process in &mut processes {
            let answer = process.answer();
            taken.extend(answer["ok"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()));
        }
        taken.sort_unstable();
        assert_eq!(taken, (0..400).collect::<Vec<_>>());
    }

    fn the_last_to_leave_cleans_up(files: &Files) {
        let store = files.open();
        store.dict("d").unwrap().set("x", "1", None).unwrap();
        assert!(files.directory().join("app.db-wal").exists());
        drop(store);
        assert!(!files.directory().join("app.db-wal").exists());
        assert!(!files.directory().join("app.db-shm").exists());
        assert_eq!(files.open().dict("d").unwrap().get("x").unwrap().as_deref(), Some("1"));
    }
}

both! {
    // With its first opener the wal-index begins, with its last it goes.
    fn many_come_and_go_at_the_same_time(files: &Files) {
        const COMERS: u64 = 4;
        const ROUNDS: u64 = 50;
        drop(files.open());
        std::thread::scope(|scope| {
            for comer in 0..COMERS {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let store = files.open();
                        let dict = store.dict("d").unwrap();
                        dict.set(&format!("{comer} {round}"), "1", None).unwrap();
                    }
                });
            }
        });
        assert_eq!(files.open().dict("d").unwrap().len().unwrap(), COMERS * ROUNDS);
        assert_eq!(integrity(&files.database()), "ok");
    }

    fn the_log_stays_short_though_somebody_always_reads(files: &Files) {
        let store = files.open();
        let dict = store.dict("d").unwrap();
        let mut readers = Process::start(PROGRAM, System::Native, &files.database());
        readers.call(json!({"op": "read-always"}));
        let wal = files.directory().join("app.db-wal");
        // https://sqlite.org/fileformat.html#walformat: "Checkpoint sequence
        // number" at offset 12, one more each time the log starts over.
        let sequence = || {
            let log = std::fs::read(&wal).unwrap();
            log.get(12..16).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()))
        };
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..4000_u32 {
            dict.set(&(n % 100).to_string(), &n.to_string(), None).unwrap();
            if n % 100 == 0 {
                seen.extend(sequence());
            }
        }
        // How long it gets in between depends on how soon the readers make room
        // (seen: 5 to 16 MiB); SQLite's automatic checkpoint alone never starts it
        // over here, and it grows beyond 30 MiB.
        assert!(seen.len() >= 2, "the log never started over: {seen:?}");
        let length = std::fs::metadata(&wal).unwrap().len();
        assert!(length < 30 << 20, "the log grew to {length} bytes");
    }
}
