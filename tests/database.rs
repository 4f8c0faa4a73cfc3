//! Looking after a file: what is in it, its figures, vacuum, backup.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{
    Error, Files, IfExists, Journal, JournalChoice, LockOptions, ManagerEntry, ManagerKind,
    OpenMode, Options, Process, Store, System, both, ms,
};
use serde_json::json;
use std::path::{Path, PathBuf};

const PROGRAM: &str = env!("CARGO_BIN_EXE_beaver-test-process");

/// Runs SQL by SQLite in a process of its own; the first value, as text.
fn sql(path: &Path, sql: &str) -> String {
    let script = "import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
for statement in sys.argv[2].split(';'):
    row = c.execute(statement).fetchone()
c.commit()
print(row[0] if row else '')";
    let output = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(path)
        .arg(sql)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{sql}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn integrity(path: &Path) -> String {
    sql(path, "PRAGMA integrity_check")
}

fn copy(files: &Files) -> PathBuf {
    files.directory().join("copy.db")
}

fn open_copy(files: &Files) -> beaver_tests::Result<Store> {
    let options = Options {
        mode: OpenMode::Existing,
        ..Options::default()
    };
    Store::open(files.system, &copy(files), &options)
}

fn listed(store: &Store, include_internal: bool) -> Vec<ManagerEntry> {
    store.manager_pages(include_internal, 100).unwrap().concat()
}

fn entry(kind: ManagerKind, name: &str, count: u64, size_bytes: u64) -> ManagerEntry {
    ManagerEntry {
        kind,
        name: name.into(),
        count,
        size_bytes,
    }
}

/// Puts `count` values of 1000 bytes.
fn fill(store: &Store, count: usize) {
    let dict = store.dict("d").unwrap();
    let transaction = store.begin().unwrap();
    for n in 0..count {
        let value = format!("\"{}\"", "x".repeat(998));
        dict.set(&n.to_string(), &value, None).unwrap();
    }
    transaction.commit().unwrap();
}

both! {
    // Found in review: it was taken for a backup that was not finished.
    fn a_backup_does_not_replace_a_foreign_database_with_such_a_view(files: &Files) {
        let target = copy(files);
        sql(&target, "CREATE TABLE customers (x); INSERT INTO customers VALUES (7);
             CREATE VIEW beaver_dicts AS SELECT 1 AS unfinished_backup");
        let before = std::fs::read(&target).unwrap();
        let store = files.open();
        for if_exists in [IfExists::Fail, IfExists::Replace] {
            store.backup(&target, if_exists).unwrap_err();
        }
        assert_eq!(std::fs::read(&target).unwrap(), before);
    }

    fn a_new_file_holds_nothing_but_its_version(files: &Files) {
        let store = files.open();
        assert_eq!(listed(&store, false), []);
        assert_eq!(
            listed(&store, true),
            [entry(ManagerKind::Dict, "__metadata__", 1, "version\"1.3.0\"".len() as u64)]
        );
    }

    fn managers_are_listed_by_kind_and_name_with_counts_and_sizes(files: &Files) {
        let store = files.open();
        let dict = store.dict("é").unwrap();
        dict.set("k", "\"é\"", None).unwrap();
        dict.set("kk", "1", None).unwrap();
        store.dict("b").unwrap().set("k", "1", None).unwrap();
        // One underscore or a short name is nothing special.
        store.dict("_").unwrap().set("k", "1", None).unwrap();
        store.dict("_ x").unwrap().set("k", "1", None).unwrap();
        store.dict("__x").unwrap().set("k", "1", None).unwrap();
        let queue = store.queue("b").unwrap();
        for n in 10..15 {
            queue.put(&n.to_string(), 0.0).unwrap();
        }
        // What other kinds hold, as the reference stores it.
        sql(&files.database(), "CREATE TABLE beaver_blobs (store_name TEXT NOT NULL, key TEXT NOT NULL, data BLOB NOT NULL, metadata TEXT, PRIMARY KEY (store_name, key));
            INSERT INTO beaver_blobs VALUES ('files', 'a', x'010203', NULL), ('files', 'b', x'', '{}');
            CREATE TABLE beaver_sketches (name TEXT PRIMARY KEY, type TEXT NOT NULL, capacity INTEGER NOT NULL, error_rate REAL NOT NULL, data BLOB NOT NULL);
            INSERT INTO beaver_sketches VALUES ('seen', 'ApproximateSet', 1, 0.1, x'00')");
        let expected = [
            entry(ManagerKind::Dict, "_", 1, 2),
            entry(ManagerKind::Dict, "_ x", 1, 2),
            entry(ManagerKind::Dict, "b", 1, 2),
            entry(ManagerKind::Dict, "é", 2, 1 + 8 + 2 + 1),
            entry(ManagerKind::Queue, "b", 5, 10),
            entry(ManagerKind::Blob, "files", 2, 1 + 3 + 1 + 2),
            entry(ManagerKind::Sketch, "seen", 1, 1),
        ];
        assert_eq!(listed(&store, false), expected);
        let all = listed(&store, true);
        assert_eq!(all.len(), expected.len() + 2);
        for max in 1..=all.len() {
            let pages = store.manager_pages(true, u32::try_from(max).unwrap()).unwrap();
            assert!(pages.iter().all(|page| page.len() <= max));
            assert_eq!(pages.concat(), all);
        }
        assert!(matches!(store.manager_pages(true, 0), Err(Error::InvalidArgument(_))));
        // Listing makes no tables.
        assert_eq!(sql(&files.database(), "SELECT count(*) FROM sqlite_schema WHERE name = 'beaver_lists'"), "0");
    }

    fn a_manager_is_listed_as_long_as_it_holds_something(files: &Files) {
        let store = files.open();
        let dict = store.dict("cache").unwrap();
        dict.set("a", "1", Some(ms(1))).unwrap();
        beaver_tests::eventually("expiry", || dict.get("a").unwrap().is_none());
        assert_eq!(listed(&store, false), []);
        dict.set("b", "1", None).unwrap();
        assert_eq!(listed(&store, false), [entry(ManagerKind::Dict, "cache", 1, 2)]);
        dict.delete("b").unwrap();
        assert_eq!(listed(&store, false), []);
    }

    fn locks_are_listed_while_they_are_held(files: &Files) {
        let store = files.open();
        let (lock, dict) = (store.lock("job").unwrap(), store.dict("d").unwrap());
        lock.acquire(&LockOptions::default()).unwrap();
        dict.acquire(&LockOptions::default()).unwrap();
        let found = listed(&store, false);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].kind, found[0].name.as_str(), found[0].count), (ManagerKind::Lock, "job", 1));
        let internal: Vec<_> = listed(&store, true).into_iter().filter(|e| e.kind == ManagerKind::Lock).collect();
        assert_eq!(internal[0].name, "__lock__dict__d");
        lock.release().unwrap();
        assert_eq!(listed(&store, false), []);
    }

    fn the_data_version_grows_with_every_commit(files: &Files) {
        let (one, two) = (files.open(), files.open());
        let (dict, other) = (one.dict("d").unwrap(), two.dict("d").unwrap());
        let mut last = one.data_version().unwrap();
        assert_eq!(one.data_version().unwrap(), last);
        for round in 0..20 {
            let writer = if round % 3 == 0 { &dict } else { &other };
            writer.set("n", &round.to_string(), None).unwrap();
            let now = one.data_version().unwrap();
            assert!(now > last, "round {round}: {last} then {now}");
            assert_eq!(one.data_version().unwrap(), now);
            last = now;
            // Neither reading nor a write that changes nothing counts.
            dict.get("n").unwrap();
            assert!(!dict.delete("absent").unwrap());
            let transaction = one.begin().unwrap();
            dict.set("n", "-1", None).unwrap();
            transaction.rollback().unwrap();
            assert_eq!(one.data_version().unwrap(), last);
        }
        let transaction = one.begin().unwrap();
        dict.set("n", "1", None).unwrap();
        assert_eq!(one.data_version().unwrap(), last, "not committed yet");
        transaction.commit().unwrap();
        assert!(one.data_version().unwrap() > last);
        assert!(sql(&files.database(), "INSERT INTO beaver_dicts VALUES ('d', 'm', '1', NULL)").is_empty());
        assert!(one.data_version().unwrap() > last + 1);
    }

    fn stats_tell_what_the_file_holds(files: &Files) {
        let store = files.open();
        let before = store.stats().unwrap();
        assert_eq!(before.journal, Journal::Wal);
        assert_eq!(before.format_version.as_deref(), Some("1.3.0"));
        assert_eq!(before.page_size_bytes, 4096);
        assert!(before.sqlite_version.starts_with("3."), "{}", before.sqlite_version);
        fill(&store, 100);
        let full = store.stats().unwrap();
        assert!(full.pages >= before.pages + 25);
        assert!(full.log_frames > before.log_frames, "{full:?}");
        assert_eq!(full.log_frames_copied, Some(0));
        assert!(full.data_version > before.data_version);
        store.dict("d").unwrap().clear().unwrap();
        let cleared = store.stats().unwrap();
        assert_eq!(cleared.pages, full.pages);
        assert!(cleared.free_pages > 20, "{cleared:?}");
        store.checkpoint().unwrap();
        assert_eq!(store.stats().unwrap().log_frames, Some(0));
        assert_eq!(sql(&files.database(), "PRAGMA page_count"), cleared.pages.to_string());
        assert_eq!(sql(&files.database(), "PRAGMA freelist_count"), cleared.free_pages.to_string());
        let transaction = store.begin().unwrap();
        fill_some(&store);
        let inside = store.stats().unwrap();
        assert_eq!((inside.log_frames, inside.log_frames_copied), (None, None));
        assert!(inside.free_pages < cleared.free_pages);
        drop(transaction);
    }

    fn stats_without_a_log(files: &Files) {
        let options = Options { journal: JournalChoice::Rollback, ..Options::default() };
        let stats = files.open_with(&options).unwrap().stats().unwrap();
        assert_eq!((stats.journal, stats.log_frames), (Journal::Rollback, None));
        assert!(stats.pages > 5);
    }

    fn vacuum_gives_unused_pages_back(files: &Files) {
        let (store, other) = (files.open(), files.open());
        let (dict, seen) = (store.dict("d").unwrap(), other.dict("d").unwrap());
        fill(&store, 500);
        for n in 1..500 {
            dict.delete(&n.to_string()).unwrap();
        }
        // Equal priorities keep their order, which is that of their rows.
        let queue = store.queue("q").unwrap();
        for n in 0..10 {
            queue.put(&n.to_string(), 0.0).unwrap();
        }
        store.checkpoint().unwrap();
        let before = std::fs::metadata(files.database()).unwrap().len();
        let stats = store.stats().unwrap();
        let freed = store.vacuum().unwrap();
        assert!(freed >= stats.free_pages * 4096 && freed < before, "{freed} of {before}");
        let after = std::fs::metadata(files.database()).unwrap().len();
        assert!(after <= before - freed, "{before} became {after}, without {freed}");
        assert_eq!(store.stats().unwrap().free_pages, 0);
        assert_eq!(seen.len().unwrap(), 1);
        assert_eq!(seen.get("0").unwrap(), dict.get("0").unwrap());
        seen.set("1", "1", None).unwrap();
        assert_eq!(dict.len().unwrap(), 2);
        for n in 0..10 {
            assert_eq!(queue.try_get().unwrap().unwrap().data, n.to_string());
        }
        assert_eq!(store.vacuum().unwrap(), 0);
        drop((store, dict, queue, other, seen));
        assert_eq!(integrity(&files.database()), "ok");
    }

    fn vacuum_is_refused_where_it_cannot_work(files: &Files) {
        let options = Options { busy_timeout: ms(20), ..Options::default() };
        let (store, writer) = (files.open_with(&options).unwrap(), files.open());
        fill(&store, 1);
        let transaction = store.begin().unwrap();
        assert_eq!(store.vacuum().unwrap_err(), Error::InTransaction);
        drop(transaction);
        let transaction = writer.begin().unwrap();
        assert_eq!(store.vacuum().unwrap_err(), Error::Busy);
        drop(transaction);
        store.vacuum().unwrap();
        let options = Options { mode: OpenMode::ReadOnly, ..Options::default() };
        assert_eq!(files.open_with(&options).unwrap().vacuum().unwrap_err(), Error::ReadOnly);
    }

    fn a_backup_is_the_whole_database_in_one_file(files: &Files) {
        let store = files.open();
        fill(&store, 300);
        store.queue("q").unwrap().put("{\"é\": 1}", 1.5).unwrap();
        let held = store.dict("d").unwrap();
        held.acquire(&LockOptions::default()).unwrap();
        let size = store.backup(&copy(files), IfExists::Fail).unwrap();
        assert_eq!(std::fs::metadata(copy(files)).unwrap().len(), size);
        let mut names: Vec<_> = std::fs::read_dir(files.directory()).unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("copy"))
            .collect();
        names.sort();
        assert_eq!(names, ["copy.db"]);
        // No log to bring along: it opens where nothing can be written.
        let header = std::fs::read(copy(files)).unwrap();
        assert_eq!(header[18..20], [1, 1]);
        assert_eq!(integrity(&copy(files)), "ok");
        // It is a moment's image: later writes are not in it, and it goes its own way.
        store.queue("q").unwrap().clear().unwrap();
        {
            let restored = open_copy(files).unwrap();
            let found = listed(&restored, true);
            assert!(found.iter().all(|entry| entry.kind != ManagerKind::Lock), "{found:?}");
            let dict = restored.dict("d").unwrap();
            assert_eq!(dict.len().unwrap(), 300);
            dict.set("0", "1", None).unwrap();
            let item = restored.queue("q").unwrap().try_get().unwrap().unwrap();
            assert_eq!((item.data.as_str(), item.priority), ("{\"\\u00e9\": 1}", 1.5));
        }
        held.set("x", "1", None).unwrap();
        if let Some(mut python) = Process::python(&copy(files)) {
            assert_eq!(python.call(json!({"op": "version"})), json!("1.3.0"));
            assert_eq!(python.call(json!({"op": "get", "name": "d", "key": "0"})), json!(1));
        }
    }

    fn a_backup_leaves_alone_what_it_was_not_to_replace(files: &Files) {
        let store = files.open();
        fill(&store, 10);
        let target = copy(files);
        // Nobody's business what it is.
        for contents in [&b"some text"[..], &[0; 5000]] {
            std::fs::write(&target, contents).unwrap();
            assert_eq!(store.backup(&target, IfExists::Fail).unwrap_err(), Error::Exists);
            assert!(matches!(store.backup(&target, IfExists::Replace), Err(Error::UnsupportedFormat(_))));
            assert_eq!(std::fs::read(&target).unwrap(), contents);
        }
        std::fs::remove_file(&target).unwrap();
        sql(&target, "CREATE TABLE customers (x)");
        let before = std::fs::read(&target).unwrap();
        assert_eq!(store.backup(&target, IfExists::Fail).unwrap_err(), Error::Exists);
        assert!(matches!(store.backup(&target, IfExists::Replace), Err(Error::UnsupportedFormat(_))));
        assert_eq!(std::fs::read(&target).unwrap(), before);
        // An empty file is as good as none.
        std::fs::write(&target, b"").unwrap();
        store.backup(&target, IfExists::Fail).unwrap();
        assert_eq!(store.backup(&target, IfExists::Fail).unwrap_err(), Error::Exists);
        let larger = std::fs::metadata(&target).unwrap().len();
        store.dict("d").unwrap().clear().unwrap();
        store.vacuum().unwrap();
        store.backup(&target, IfExists::Replace).unwrap();
        assert!(std::fs::metadata(&target).unwrap().len() < larger);
        assert_eq!(listed(&open_copy(files).unwrap(), false), []);
        // It has become a file in WAL mode, with other pages, which nobody uses.
        sql(&target, "PRAGMA journal_mode=DELETE; PRAGMA page_size=1024; VACUUM; PRAGMA journal_mode=WAL");
        store.backup(&target, IfExists::Replace).unwrap();
        assert_eq!(integrity(&target), "ok");
        assert_eq!(listed(&open_copy(files).unwrap(), false), []);
    }

    fn a_backup_is_refused_where_it_cannot_work(files: &Files) {
        let options = Options { busy_timeout: ms(20), ..Options::default() };
        let store = files.open_with(&options).unwrap();
        fill(&store, 10);
        let invalid = |name: &str, if_exists| {
            let refused = store.backup(&files.directory().join(name), if_exists);
            assert!(matches!(refused, Err(Error::InvalidArgument(_) | Error::AccessDenied)), "{name}: {refused:?}");
        };
        for if_exists in [IfExists::Fail, IfExists::Replace] {
            invalid("app.db", if_exists);
            invalid("app.db-wal", if_exists);
            invalid("other.db-journal", if_exists);
            invalid("a\0b", if_exists);
        }
        let transaction = store.begin().unwrap();
        assert_eq!(store.backup(&copy(files), IfExists::Fail).unwrap_err(), Error::InTransaction);
        drop(transaction);
        assert!(!copy(files).exists());
        // Somebody has the destination open.
        store.backup(&copy(files), IfExists::Fail).unwrap();
        let user = open_copy(files).unwrap();
        user.dict("d").unwrap().set("x", "1", None).unwrap();
        assert_eq!(store.backup(&copy(files), IfExists::Replace).unwrap_err(), Error::Busy);
        assert_eq!(user.dict("d").unwrap().get("x").unwrap().as_deref(), Some("1"));
        drop(user);
        store.backup(&copy(files), IfExists::Replace).unwrap();
        // A writer of the database itself is no obstacle.
        let writer = files.open();
        let transaction = writer.begin().unwrap();
        writer.dict("d").unwrap().set("y", "1", None).unwrap();
        store.backup(&copy(files), IfExists::Replace).unwrap();
        drop(transaction);
        assert_eq!(open_copy(files).unwrap().dict("d").unwrap().get("y").unwrap(), None);
    }

    fn a_read_only_database_can_be_backed_up(files: &Files) {
        fill(&files.open(), 10);
        let options = Options { mode: OpenMode::ReadOnly, ..Options::default() };
        let store = files.open_with(&options).unwrap();
        store.backup(&copy(files), IfExists::Fail).unwrap();
        assert_eq!(open_copy(files).unwrap().dict("d").unwrap().len().unwrap(), 10);
    }

    fn backups_under_load_are_of_one_moment(files: &Files) {
        let store = files.open();
        fill(&store, 2000);
        under_load(files, &store, JournalChoice::Wal, &[System::Native, System::Component], 2000);
    }

    fn backups_under_load_with_a_rollback_journal(files: &Files) {
        let options = Options { journal: JournalChoice::Rollback, ..Options::default() };
        let store = files.open_with(&options).unwrap();
        // More than is copied at a time: it starts over.
        fill(&store, 5000);
        under_load(files, &store, JournalChoice::Rollback, &[System::Native], 5000);
    }

    // Whoever is killed in the middle leaves no file that passes for a backup.
    fn an_interrupted_backup_is_no_database(files: &Files) {
        fill(&files.open(), 10_000);
        let whole = std::fs::metadata(files.database()).unwrap().len();
        for round in 0..4_u64 {
            let mut process = Process::start(PROGRAM, files.system, &files.database());
            process.send(&json!({"op": "backup", "path": copy(files)}));
            let size = || std::fs::metadata(copy(files)).map_or(0, |found| found.len());
            beaver_tests::eventually("the backup's begin", || size() >= whole * round / 5);
            process.kill();
            let killed_at = size();
            let first = open_copy(files).map(|store| store.dict("d").unwrap().len().unwrap());
            match first {
                // Killed between the file's making and the first write: to SQLite an empty database.
                Ok(0) => assert_eq!(killed_at, 0),
                Ok(count) => assert_eq!(count, 10_000, "whole"),
                Err(Error::UnsupportedFormat(reason)) => {
                    assert!(reason.contains("not finished"), "{reason}");
                    let refused = Store::open(files.system, &copy(files), &Options::default());
                    assert!(matches!(refused, Err(Error::UnsupportedFormat(_))), "{refused:?}");
                }
                // Killed before it had anything of its own there.
                Err(other) => assert!(size() == 0, "{other:?}"),
            }
            // Nothing is in the way of the next one, unless it was finished.
            let next = files.open().backup(&copy(files), IfExists::Fail);
            assert!(matches!(next, Ok(_) | Err(Error::Exists)), "{next:?}");
            assert_eq!(integrity(&copy(files)), "ok");
            std::fs::remove_file(copy(files)).unwrap();
        }
    }

    fn a_replacement_that_is_interrupted_changes_nothing(files: &Files) {
        let store = files.open();
        fill(&store, 20);
        store.backup(&copy(files), IfExists::Fail).unwrap();
        fill(&store, 10_000);
        drop(store);
        let old = std::fs::metadata(copy(files)).unwrap().len();
        let mut process = Process::start(PROGRAM, files.system, &files.database());
        process.send(&json!({"op": "backup", "path": copy(files), "replace": true}));
        let size = || std::fs::metadata(copy(files)).unwrap().len();
        beaver_tests::eventually("the backup's begin", || size() > old);
        process.kill();
        let count = open_copy(files).unwrap().dict("d").unwrap().len().unwrap();
        assert!(count == 20 || count == 10_000, "{count}");
        assert_eq!(integrity(&copy(files)), "ok");
    }
}

/// Writes a little in the open transaction.
fn fill_some(store: &Store) {
    let dict = store.dict("d").unwrap();
    for n in 0..20 {
        let value = format!("\"{}\"", "x".repeat(998));
        dict.set(&n.to_string(), &value, None).unwrap();
    }
}

/// Backs up while processes commit the same number in two dictionaries, again and again.
fn under_load(
    files: &Files,
    store: &Store,
    journal: JournalChoice,
    systems: &[System],
    count: u64,
) {
    let mut writers: Vec<_> = systems
        .iter()
        .map(|system| Process::start_with(PROGRAM, *system, &files.database(), journal))
        .collect();
    for writer in &mut writers {
        writer.send(&json!({"op": "flood", "from": 1}));
        assert_eq!(writer.answer(), json!({"ok": 1}));
    }
    let mut last = 0;
    for _ in 0..2 {
        store.backup(&copy(files), IfExists::Replace).unwrap();
        assert_eq!(integrity(&copy(files)), "ok");
        let restored = open_copy(files).unwrap();
        let read = |name: &str| restored.dict(name).unwrap().get("n").unwrap();
        assert_eq!(read("flood-a"), read("flood-b"));
        assert_eq!(restored.dict("d").unwrap().len().unwrap(), count);
        drop(restored);
        // They went on, all of them.
        for writer in &mut writers {
            let answer = writer.answer();
            last = last.max(answer["ok"].as_u64().unwrap());
        }
    }
    assert!(last > 1);
}

// An unfinished backup must not become an empty database in Python's hands.
#[test]
fn python_refuses_an_unfinished_backup() {
    let files = Files::new(System::Native);
    let Some(python) = beaver_tests::python() else {
        return;
    };
    sql(
        &copy(&files),
        "CREATE VIEW beaver_dicts AS SELECT 'x' AS unfinished_backup",
    );
    let script = "import beaver, sys
beaver.BeaverDB(sys.argv[1])";
    let output = std::process::Command::new(python)
        .args(["-c", script])
        .arg(copy(&files))
        .output()
        .unwrap();
    assert!(!output.status.success());
    let refused = open_copy(&files);
    assert!(
        matches!(&refused, Err(Error::UnsupportedFormat(reason)) if reason.contains("not finished")),
        "{refused:?}"
    );
}
