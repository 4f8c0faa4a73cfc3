//! Logs shared with Python.

use beaver_tests::{Error, LogEntry, Process, both, ms, s};
use serde_json::{Value, json};
use std::time::Instant;

use super::{python_sqlite, values};

fn call(python: &mut Process, method: &str, args: &Value) -> Value {
    python.call(json!({"op": "call", "kind": "log", "name": "l", "method": method, "args": args}))
}

fn data(entries: &[LogEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.data.as_str()).collect()
}

both! {
    fn each_reads_what_the_other_logs(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let log = files.open().log("l").unwrap();
        for value in values() {
            log.append(&value.to_string(), None).unwrap();
            call(&mut python, "log", &json!([value]));
        }
        let expected: Vec<Value> = values().into_iter().flat_map(|value| [value.clone(), value]).collect();
        let read: Vec<Value> = call(&mut python, "__iter__", &json!([])).as_array().unwrap().iter().map(|pair| pair[1].clone()).collect();
        assert_eq!(read, expected);
        // The stored texts are those that Python stores.
        let entries = log.entry_pages(100).unwrap().concat();
        assert!(entries.chunks(2).all(|pair| pair[0].data == pair[1].data));
    }

    fn one_moment_is_one_range_to_both(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let log = files.open().log("l").unwrap();
        call(&mut python, "log", &json!([0, {"$time": 1000.5}]));
        // Python's second one would be lost, ours isn't.
        assert!(log.append("1", Some(1000.5)).unwrap() > 1000.5);
        log.append("2", Some(1001.0)).unwrap();
        log.append("3", Some(999.0)).unwrap();
        let range = |python: &mut Process, start: f64, end: f64| call(python, "range", &json!([{"$time": start}, {"$time": end}]));
        assert_eq!(range(&mut python, 1000.5, 1001.0), json!([0, 1, 2]));
        assert_eq!(range(&mut python, 0.0, 1000.5), json!([3, 0]));
        assert_eq!(data(&log.range_pages(1000.5, 1001.0, 10).unwrap().concat()), ["0", "1", "2"]);
    }

    fn a_tail_hears_python_and_outlives_its_clear(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let log = files.open().log("l").unwrap();
        log.append("0", Some(1000.0)).unwrap();
        let mut tail = log.tail(None).unwrap();
        call(&mut python, "log", &json!([1]));
        call(&mut python, "log", &json!([2, {"$time": 5.0}]));
        assert_eq!(data(&tail.next_page(10, Some(s(60))).unwrap()), ["1", "2"]);
        // Cleared and written again with the same times: new entries all the same.
        call(&mut python, "clear", &json!([]));
        for (n, stamp) in [(3, 1000.0), (4, 1001.0), (5, 5.0)] {
            call(&mut python, "log", &json!([n, {"$time": stamp}]));
        }
        assert_eq!(data(&tail.next_page(10, Some(s(60))).unwrap()), ["3", "4", "5"]);
        assert_eq!(tail.next_page(10, Some(ms(0))).unwrap_err(), Error::Timeout);
        assert_eq!(log.clear().unwrap(), 3);
        assert_eq!(call(&mut python, "__iter__", &json!([])), json!([]));
        // The row that keeps the numbers is none of a log that anybody sees.
        assert_eq!(python.call(json!({"op": "names", "property": "logs"})), json!([]));
        assert_eq!(log.len().unwrap(), 0);
    }

    fn no_lock_of_pythons_holds_an_append_up(files: &Files) {
        let store = files.open();
        let log = store.log("l").unwrap();
        python_sqlite(files, "import sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
for kind in ('__lock__', '__internal_lock__'):
    c.execute('INSERT INTO beaver_lock_waiters VALUES (?, ?, ?, ?)',
              (f'{kind}log__l', 'pid:1', time.time(), time.time() + 3600))");
        let start = Instant::now();
        log.append("1", None).unwrap();
        log.clear().unwrap();
        assert!(start.elapsed() < s(60), "it would wait for an hour, or fail after 5 s");
    }
}
