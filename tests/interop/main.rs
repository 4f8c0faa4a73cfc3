//! The same file, both directions, with Python's beaver-db 1.3.0.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod blob;
mod channel;
mod collection;
mod database;
mod dump;
mod events;
mod list;
mod log;
mod secret;
mod values;
mod version_0_20;

use beaver_tests::{Error, Files, LockOptions, Options, Process, both, ms, s};
use proptest::prelude::*;
use serde_json::json;

/// Values whose text must be the same on both sides.
fn values() -> Vec<serde_json::Value> {
    vec![
        json!(null),
        json!([1, -2.5, 1e300, 1e-7, 0.1, 123_456_789_012_345_678_u64]),
        json!({"b": {"é": "\u{1F600}\u{0}\u{7f}\"\\/\n"}, "a": []}),
        json!("plain"),
        json!({"nested": {"list": [[], {}, [true, false, null]]}}),
    ]
}

both! {
    fn what_we_write_python_reads_as_its_own(files: &Files) {
        let store = files.open();
        let Some(mut python) = Process::python(&files.database()) else { return };
        assert_eq!(python.call(json!({"op": "version"})), json!("1.3.0"));
        let (dict, queue) = (store.dict("d").unwrap(), store.queue("q").unwrap());
        for (n, value) in values().into_iter().enumerate() {
            let key = format!("key {n} é");
            dict.set(&key, &value.to_string(), None).unwrap();
            assert_eq!(python.call(json!({"op": "get", "name": "d", "key": key})), value);
            // The stored text is the one Python would have stored.
            let text = python.call(json!({"op": "dumps", "text": value.to_string()}));
            assert_eq!(dict.get(&key).unwrap().as_deref(), text.as_str());
            queue.put(&value.to_string(), 1.5).unwrap();
            let taken = python.call(json!({"op": "take", "name": "q"}));
            assert_eq!((&taken[0], &taken[2]), (&json!(1.5), &value));
        }
        dict.set("gone", "1", Some(ms(1))).unwrap();
        beaver_tests::eventually("expiry", || dict.get("gone").unwrap().is_none());
        assert_eq!(python.call(json!({"op": "get", "name": "d", "key": "gone"})), json!(null));
    }

    fn what_python_writes_we_read_unaltered(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        let (dict, queue) = (store.dict("d").unwrap(), store.queue("q").unwrap());
        for (n, value) in values().into_iter().enumerate() {
            let key = format!("key {n} é");
            python.call(json!({"op": "set", "name": "d", "key": key, "value": value}));
            let text = python.call(json!({"op": "dumps", "text": value.to_string()}));
            assert_eq!(dict.get(&key).unwrap().as_deref(), text.as_str());
            python.call(json!({"op": "put", "name": "q", "value": value, "priority": 1}));
            assert_eq!(Some(queue.get(Some(ms(0))).unwrap().data.as_str()), text.as_str());
        }
        python.call(json!({"op": "set", "name": "d", "key": "short", "value": 1, "ttl": 0.001}));
        beaver_tests::eventually("expiry", || dict.get("short").unwrap().is_none());
    }

    fn an_infinity_that_python_wrote_is_neither_lost_nor_altered(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        // JSON can't carry it to the child, but Python's reader makes one of this.
        python.send(&serde_json::from_str(r#"{"op": "set", "name": "d", "key": "x", "value": "@"}"#).unwrap());
        python.answer();
        let script = "import sqlite3, sys
c = sqlite3.connect(sys.argv[1]); c.execute(\"UPDATE beaver_dicts SET value = '[NaN, -Infinity]' WHERE key = 'x'\"); c.commit()";
        assert!(std::process::Command::new("python3").args(["-c", script]).arg(files.database()).status().unwrap().success());
        let dict = files.open().dict("d").unwrap();
        assert_eq!(dict.get("x").unwrap().as_deref(), Some("[NaN, -Infinity]"));
        assert_eq!(dict.item_pages(10).unwrap().concat()[0].value, "[NaN, -Infinity]");
    }

    fn python_waits_for_our_lock_and_we_for_its(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        let dict = store.dict("d").unwrap();
        dict.acquire(&LockOptions::timeout(s(10))).unwrap();
        let no = json!({"op": "acquire", "kind": "dict", "name": "d", "timeout": 0.05});
        assert_eq!(python.call(no), json!(false));
        python.send(&json!({"op": "acquire", "kind": "dict", "name": "d", "timeout": 60}));
        dict.release().unwrap();
        assert_eq!(python.answer(), json!({"ok": true}));
        assert!(!dict.try_acquire(None).unwrap());
        assert_eq!(dict.acquire(&LockOptions::timeout(ms(30))).unwrap_err(), Error::Timeout);
        // Mandatory for us even though the holder is Python.
        let impatient = files.open_with(&Options { lock_wait: ms(30), ..Options::default() }).unwrap();
        assert!(matches!(impatient.dict("d").unwrap().set("x", "1", None), Err(Error::Locked(_))));
        python.call(json!({"op": "release", "kind": "dict", "name": "d"}));
        dict.acquire(&LockOptions::timeout(s(10))).unwrap();
    }

    fn a_python_method_under_way_is_not_cut_through(files: &Files) {
        let store = files.open();
        let (dict, queue) = (store.dict("d").unwrap(), store.queue("q").unwrap());
        // What methods of 1.3.0 leave in the table while they run, one for a second, one for two.
        let script = "import sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
for kind, name, seconds in (('queue', 'q', 1), ('dict', 'd', 2)):
    end = time.time() + seconds
    c.execute('INSERT INTO beaver_lock_waiters VALUES (?, ?, ?, ?)',
              (f'__internal_lock__{kind}__{name}', 'pid:1', time.time(), end))
    print(repr(end))";
        let output = std::process::Command::new("python3").args(["-c", script]).arg(files.database()).output().unwrap();
        assert!(output.status.success());
        let printed = String::from_utf8(output.stdout).unwrap();
        let ends: Vec<f64> = printed.lines().map(|line| line.parse().unwrap()).collect();
        let [queue_ends, dict_ends] = ends[..] else { panic!("{printed}") };
        let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        // An added row disturbs no method; taking one might.
        queue.put("1", 0.0).unwrap();
        assert_eq!(dict.get("x").unwrap(), None);
        queue.try_get().unwrap().unwrap();
        assert!(now() >= queue_ends, "the taking waited for the method's end");
        dict.set("x", "1", None).unwrap();
        assert!(now() >= dict_ends, "the write waited for the method's end");
    }

    fn python_caches_see_our_writes(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        store.dict("d").unwrap().set("x", "1", None).unwrap();
        store.queue("q").unwrap().put("1", 0.0).unwrap();
        python.call(json!({"op": "get", "name": "d", "key": "x"}));
        let script = "import sqlite3, sys
print(sorted(sqlite3.connect(sys.argv[1]).execute('SELECT * FROM beaver_manager_versions WHERE namespace IN (\"dict:d\", \"queue:q\")')))";
        let output = std::process::Command::new("python3").args(["-c", script]).arg(files.database()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "[('dict:d', 1), ('queue:q', 1)]");
    }

    // Found in review: a table of ours was missed, which reading doesn't need.
    fn a_file_that_only_python_has_used_opens_read_only(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        python.call(json!({"op": "set", "name": "d", "key": "x", "value": 1}));
        let options = Options { mode: beaver_tests::OpenMode::ReadOnly, ..Options::default() };
        let store = files.open_with(&options).unwrap();
        assert_eq!(store.dict("d").unwrap().get("x").unwrap().as_deref(), Some("1"));
        assert_eq!(store.dict("d").unwrap().set("x", "2", None).unwrap_err(), Error::ReadOnly);
    }

    fn files_of_others_are_refused_and_left_alone(files: &Files) {
        let path = files.database();
        let make = |sql: &str| {
            let _ = std::fs::remove_file(&path);
            let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2]); c.commit()";
            assert!(std::process::Command::new("python3").args(["-c", script]).arg(&path).arg(sql).status().unwrap().success());
            std::fs::read(&path).unwrap()
        };
        for (sql, says) in [
            ("CREATE TABLE __beaver_dicts__ (x)", "2.x"),
            ("CREATE TABLE customers (x)", "not BeaverDB"),
        ] {
            let before = make(sql);
            match files.open_with(&Options::default()) {
                Err(Error::UnsupportedFormat(reason)) => assert!(reason.contains(says), "{reason}"),
                other => panic!("{other:?}"),
            }
            assert_eq!(std::fs::read(&path).unwrap(), before, "the file is as it was");
        }
        std::fs::write(&path, [7; 5000]).unwrap();
        assert!(matches!(
            files.open_with(&Options::default()),
            Err(Error::UnsupportedFormat(_) | Error::Corrupt(_))
        ));
        assert_eq!(std::fs::read(&path).unwrap(), [7; 5000]);
    }
}

/// Runs a Python script on the file with `sqlite3` alone.
fn python_sqlite(files: &Files, script: &str) {
    let status = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(files.database())
        .status();
    assert!(status.unwrap().success());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1, ..ProptestConfig::default() })]

    #[test]
    fn json_text_is_identical_to_pythons(texts in prop::collection::vec(json_text(), 300)) {
        let files = Files::new(beaver_tests::System::Native);
        if let Some(mut python) = Process::python(&files.database()) {
            for text in texts {
                let printed = python.call(json!({"op": "dumps", "text": text}));
                let ours = beaver_core::python_text(&text).ok();
                prop_assert_eq!(ours.as_deref(), printed.as_str());
            }
        }
    }
}

/// Any JSON, with spaces, escapes, repeated keys and odd numbers.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        "-?[1-9][0-9]{0,40}",
        "-?(0|[1-9][0-9]{0,20})\\.[0-9]{1,25}",
        "-?[0-9]\\.[0-9]{1,5}[eE][+-]?[0-9]{1,2}",
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(|f| format!("{f:e}")),
        any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
        "\"(\\\\u[0-9a-fA-F]{4}){1,4}\"",
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5)
                .prop_map(|items| format!("[ {} ]", items.join(" ,\n"))),
            prop::collection::vec(("[ab]{1}", inner), 0..5).prop_map(|members| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(key, value)| format!("\"{key}\" :{value}"))
                    .collect();
                format!("{{{}}}", members.join(", "))
            }),
        ]
    })
}
