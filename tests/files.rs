//! Files that can't be used, or not for writing: a typed error, and the file
//! is as it was. (`interop` has those of others: BeaverDB 2.x, other programs'.)

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_host::client::{DbError, OpenOptions};
use beaver_host::{Error as HostError, Grant};
use beaver_tests::{
    Error, Files, JournalChoice, OpenMode, Options, Process, Store, System, both, component_host,
};
use serde_json::json;
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_beaver-test-process");
const PAGE: usize = 4096;

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

fn value(n: usize) -> String {
    format!("\"{n:0500}\"")
}

const VALUES: usize = 60;

/// A file of some 15 pages in WAL mode, all in the main file; its bytes.
fn good(files: &Files) -> Vec<u8> {
    let store = files.open();
    let dict = store.dict("d").unwrap();
    for n in 0..VALUES {
        dict.set(&n.to_string(), &value(n), None).unwrap();
    }
    store.queue("q").unwrap().put("1", 0.5).unwrap();
    drop((dict, store));
    let bytes = std::fs::read(files.database()).unwrap();
    assert!(bytes.len() > 10 * PAGE);
    bytes
}

/// Reads everything that [`good`] has written.
fn read_all(store: &Store) -> beaver_tests::Result<()> {
    let dict = store.dict("d")?;
    for n in 0..VALUES {
        assert_eq!(dict.get(&n.to_string())?, Some(value(n)));
    }
    assert_eq!(dict.len()?, VALUES as u64);
    let item = store.queue("q")?.peek()?;
    assert_eq!(item.map(|item| item.data), Some("1".into()));
    Ok(())
}

/// Writes `bytes` as the database and tries to use it in each mode. Fails
/// unless it either works or gives an error that says what is wrong with the
/// file, which then is as it was. Returns whether it worked.
fn try_file(files: &Files, bytes: &[u8], what: &str) -> bool {
    let mut worked = true;
    for mode in [OpenMode::ReadOnly, OpenMode::Existing, OpenMode::Create] {
        for name in ["app.db-wal", "app.db-shm", "app.db-journal"] {
            let _ = std::fs::remove_file(files.directory().join(name));
        }
        std::fs::write(files.database(), bytes).unwrap();
        let options = Options {
            mode,
            ..Options::default()
        };
        let result = files.open_with(&options).and_then(|store| read_all(&store));
        match result {
            Ok(()) => continue,
            Err(Error::UnsupportedFormat(_) | Error::Corrupt(_)) => worked = false,
            Err(other) => panic!("{what}, {mode:?}: {other:?}"),
        }
        assert!(
            std::fs::read(files.database()).unwrap() == bytes,
            "{what}, {mode:?}: the file was changed"
        );
    }
    worked
}

both! {
    fn truncated_files(files: &Files) {
        let bytes = good(files);
        // In the magic, the header, the schema's page, at and in later pages.
        // (A cut within the last page can't be told, SQLite has no checksums;
        // and to native SQLite a file of one byte is an empty one.)
        let lengths = [2, 15, 16, 50, 99, 100, 101, 512, 1000, 2048, PAGE - 1, PAGE, PAGE + 1,
            2 * PAGE, 5 * PAGE + 100, bytes.len() - PAGE];
        for length in lengths {
            assert!(!try_file(files, &bytes[..length], &format!("{length} bytes")));
        }
        assert!(try_file(files, &bytes, "whole"));
    }

    fn files_that_are_no_database(files: &Files) {
        let text = b"a diary, not a database\n".repeat(400);
        let contents: [&[u8]; 5] = [&[0; 5000], &[0xff; 8192], &text, b"SQLite format 3", b"\0\0"];
        for (n, bytes) in contents.into_iter().enumerate() {
            assert!(!try_file(files, bytes, &format!("contents {n}")));
        }
        std::fs::remove_file(files.database()).unwrap();
        std::fs::create_dir(files.database()).unwrap();
        // (Reading only, native SQLite learns it from a failing read.)
        for mode in [OpenMode::Existing, OpenMode::Create] {
            let options = Options { mode, ..Options::default() };
            assert_eq!(files.open_with(&options).map(drop).unwrap_err(), Error::AccessDenied);
        }
    }

    // Each bit of the header natively; in the component, where a file costs
    // more, one of each byte.
    fn bit_flips_in_the_header(files: &Files) {
        let bytes = good(files);
        let mut refused = 0;
        for at in 0..100 {
            let bits = if files.system == System::Native { 0..8 } else { at % 8..at % 8 + 1 };
            for bit in bits {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                refused += usize::from(!try_file(files, &flipped, &format!("byte {at}, bit {bit}")));
            }
        }
        assert!(refused > 20, "{refused}");
    }

    fn damaged_pages(files: &Files) {
        let bytes = good(files);
        let mut refused = 0;
        for page in 0..bytes.len() / PAGE {
            let mut damaged = bytes.clone();
            let start = if page == 0 { 100 } else { page * PAGE };
            damaged[start..start + 8].fill(0xff);
            refused += usize::from(!try_file(files, &damaged, &format!("page {page}")));
        }
        // Pages that nothing here reads (locks, versions) are nobody's damage.
        assert!(refused > 5, "{refused}");
    }

    fn a_log_that_is_not_this_databases(files: &Files) {
        let bytes = good(files);
        let wal = files.directory().join("app.db-wal");
        let magic = [0x37, 0x7f, 0x06, 0x82, 0, 0x2d, 0xe2, 0x18, 0, 0, 0x10, 0];
        let mut plausible = vec![0; 32 + 24 + PAGE];
        plausible[..magic.len()].copy_from_slice(&magic);
        for garbage in [&[0x5a; 100_000][..], &[0; 40_000], b"x", &plausible] {
            std::fs::write(files.database(), &bytes).unwrap();
            std::fs::write(&wal, garbage).unwrap();
            let store = files.open();
            read_all(&store).unwrap();
            store.dict("d").unwrap().set("0", &value(0), None).unwrap();
            drop(store);
            assert!(!wal.exists());
            assert_eq!(integrity(&files.database()), "ok");
        }
    }

    fn a_log_that_was_cut_or_damaged_loses_whole_commits_at_most(files: &Files) {
        let bytes = good(files);
        // A process is killed with commits in its log.
        let mut process = Process::start(PROGRAM, files.system, &files.database());
        for n in 0..20 {
            process.call(json!({"op": "set", "name": "e", "key": "n", "value": n}));
        }
        process.kill();
        let wal = files.directory().join("app.db-wal");
        let log = std::fs::read(&wal).unwrap();
        assert!(std::fs::read(files.database()).unwrap() == bytes);
        let mut last = None;
        for at in (0..log.len()).step_by(log.len() / 25).chain([log.len()]) {
            let mut damaged = log.clone();
            if let Some(byte) = damaged.get_mut(at) {
                *byte ^= 0x10;
            }
            for log in [&log[..at], &damaged] {
                std::fs::write(files.database(), &bytes).unwrap();
                std::fs::write(&wal, log).unwrap();
                let _ = std::fs::remove_file(files.directory().join("app.db-shm"));
                let store = files.open();
                read_all(&store).unwrap();
                let found = store.dict("e").unwrap().get("n").unwrap();
                let found = found.map(|n| n.parse::<u32>().unwrap());
                assert!(found <= Some(19) && (log.len() < damaged.len() || found >= last), "{at}: {found:?}");
                if log.len() == at {
                    last = found;
                }
            }
        }
        assert_eq!(last, Some(19));
        assert_eq!(integrity(&files.database()), "ok");
    }

    fn a_file_opened_read_only_is_never_written(files: &Files) {
        let bytes = good(files);
        let options = Options { mode: OpenMode::ReadOnly, ..Options::default() };
        let store = files.open_with(&options).unwrap();
        read_all(&store).unwrap();
        let (dict, queue) = (store.dict("d").unwrap(), store.queue("q").unwrap());
        assert_eq!(dict.set("0", "1", None).unwrap_err(), Error::ReadOnly);
        assert_eq!(dict.delete("0").unwrap_err(), Error::ReadOnly);
        assert_eq!(dict.clear().unwrap_err(), Error::ReadOnly);
        assert_eq!(dict.try_acquire(None).unwrap_err(), Error::ReadOnly);
        assert_eq!(queue.put("1", 0.0).unwrap_err(), Error::ReadOnly);
        assert_eq!(queue.try_get().unwrap_err(), Error::ReadOnly);
        assert_eq!(store.lock("l").unwrap().clear().unwrap_err(), Error::ReadOnly);
        // A transaction there is a view of one moment.
        let transaction = store.begin().unwrap();
        assert_eq!(dict.set("0", "1", None).unwrap_err(), Error::ReadOnly);
        read_all(&store).unwrap();
        transaction.commit().unwrap();
        assert_eq!(store.vacuum().unwrap_err(), Error::ReadOnly);
        read_all(&store).unwrap();
        drop((dict, queue, store));
        assert!(std::fs::read(files.database()).unwrap() == bytes);
    }

    fn a_read_only_file_system(files: &Files) {
        let options = Options { journal: JournalChoice::Rollback, ..Options::default() };
        files.open_with(&options).unwrap().dict("d").unwrap().set("k", "1", None).unwrap();
        let bytes = std::fs::read(files.database()).unwrap();
        let mount = "mount --bind \"$dir\" \"$dir\" && mount -o remount,ro,bind \"$dir\"";
        let Some(mut process) =
            Process::start_mounted(PROGRAM, files.system, &files.database(), JournalChoice::Rollback, mount)
        else {
            return;
        };
        assert_eq!(process.call(json!({"op": "get", "name": "d", "key": "k"})), json!(1));
        process.send(&json!({"op": "set", "name": "d", "key": "k", "value": 2}));
        let error = process.answer()["error"].as_str().unwrap().to_owned();
        assert!(error.contains("read-only"), "{error}");
        assert_eq!(process.call(json!({"op": "get", "name": "d", "key": "k"})), json!(1));
        assert!(std::fs::read(files.database()).unwrap() == bytes);
    }

    fn a_full_disk(files: &Files) {
        for journal in [JournalChoice::Automatic, JournalChoice::Rollback] {
            let mount = "mount -t tmpfs -o size=1m none \"$dir\"";
            let Some(mut process) =
                Process::start_mounted(PROGRAM, files.system, &files.database(), journal, mount)
            else {
                return;
            };
            let value = "x".repeat(20_000);
            let set = |n: usize| json!({"op": "set", "name": "d", "key": n.to_string(), "value": value});
            let mut stored = 0;
            let error = loop {
                process.send(&set(stored));
                let answer = process.answer();
                match answer["error"].as_str() {
                    None => stored += 1,
                    Some(error) => break error.to_owned(),
                }
                assert!(stored < 1000);
            };
            assert!(error.contains("full"), "{error}");
            assert!(stored > 5, "{stored}");
            // What was stored is there, and nothing of the last one.
            for n in 0..=stored {
                let found = process.call(json!({"op": "get", "name": "d", "key": n.to_string()}));
                assert_eq!(found, if n < stored { json!(value) } else { json!(null) });
            }
            for name in ["app.db", "app.db-wal"] {
                let path = process.path_of(&files.directory().join(name));
                if path.exists() {
                    std::fs::copy(path, files.directory().join(name)).unwrap();
                }
            }
            assert_eq!(integrity(&files.database()), "ok");
            for name in ["app.db", "app.db-wal", "app.db-shm"] {
                let _ = std::fs::remove_file(files.directory().join(name));
            }
        }
    }
}

#[test]
fn a_read_only_grant_says_so_of_each_journal() {
    let files = Files::new(System::Component);
    let bytes = good(&files);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let grant = Grant::directory(files.directory()).unwrap().read_only();
        let mut instance = component_host().instantiate(grant).await.unwrap();
        let opened = instance.open("app.db", &OpenOptions::default()).await;
        assert!(
            matches!(opened, Err(HostError::Db(DbError::WalUnsupported))),
            "{opened:?}"
        );
    });
    assert!(std::fs::read(files.database()).unwrap() == bytes);
}
