//! Dumps of Python's, and ours for Python.

use beaver_tests::{Dump, Error, Files, IndexOptions, Loader, Process, Store, both};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{json_text, python_sqlite, values};

const KINDS: [&str; 6] = ["dict", "list", "queue", "collection", "blob", "log"];

fn dump(store: &Store, kind: &str, name: &str) -> Dump {
    match kind {
        "dict" => store.dict(name).unwrap().dump(),
        "list" => store.list(name).unwrap().dump(),
        "queue" => store.queue(name).unwrap().dump(),
        "collection" => store.collection(name).unwrap().dump(),
        "blob" => store.blob(name).unwrap().dump(),
        _ => store.log(name).unwrap().dump(),
    }
    .unwrap()
}

fn loader(store: &Store, kind: &str, name: &str) -> Loader {
    match kind {
        "dict" => store.dict(name).unwrap().loader(),
        "list" => store.list(name).unwrap().loader(),
        "queue" => store.queue(name).unwrap().loader(),
        "collection" => store
            .collection(name)
            .unwrap()
            .loader(&IndexOptions::default()),
        "blob" => store.blob(name).unwrap().loader(),
        _ => store.log(name).unwrap().loader(),
    }
    .unwrap()
}

fn pythons(python: &mut Process, kind: &str, name: &str) -> String {
    let text = python.call(json!({"op": "dump", "kind": kind, "name": name}));
    text.as_str().unwrap().to_owned()
}

/// Everything but the date and, where `name` isn't wanted, the name.
fn same(text: &str, with_name: bool) -> Vec<&str> {
    let wanted = |line: &&str| {
        !line.starts_with("    \"dump_date\": ")
            && (with_name || !line.starts_with("    \"name\": "))
    };
    text.lines().filter(wanted).collect()
}

fn call(python: &mut Process, kind: &str, method: &str, args: Value) {
    python.call(json!({"op": "call", "kind": kind, "name": "x é", "method": method, "args": args}));
}

/// Contents that Python wrote.
fn fill(python: &mut Process) {
    for (n, value) in values().into_iter().enumerate() {
        let key = format!("{n} é\"");
        call(python, "dict", "__setitem__", json!([key, value]));
        call(python, "list", "push", json!([value]));
        call(
            python,
            "queue",
            "put",
            json!([value, ([0.5, -2.0, 1e300][n % 3])]),
        );
        let embedding = if n == 0 {
            Value::Null
        } else {
            json!([0.1, n, -1e-30, 3.4e38])
        };
        let body = if value.is_object() {
            value.clone()
        } else {
            json!({"v": value})
        };
        call(
            python,
            "collection",
            "index",
            json!([{"$document": {"id": key, "embedding": embedding, "body": body}}]),
        );
        let metadata = if n == 1 { Value::Null } else { value.clone() };
        let data = ["", "AA==", "AAE=", "/+8B", "AAECAwQ="][n % 5];
        call(
            python,
            "blob",
            "put",
            json!([key, {"$bytes": data}, metadata]),
        );
        call(
            python,
            "log",
            "log",
            json!([value, {"$time": n as f64 * 1e8 + 0.25}]),
        );
    }
    // Key order is that of the bytes, on both sides.
    for key in ["b", "B", "é", "", "a\u{1F600}"] {
        call(python, "dict", "__setitem__", json!([key, 1]));
        call(python, "blob", "put", json!([key, {"$bytes": "AA=="}]));
    }
}

both! {
    fn byte_for_byte_what_python_writes(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        for kind in KINDS {
            let (ours, theirs) = (dump(&store, kind, "empty").text(7).unwrap(), pythons(&mut python, kind, "empty"));
            assert_eq!(same(&ours, true), same(&theirs, true));
        }
        fill(&mut python);
        for kind in KINDS {
            let (ours, theirs) = (dump(&store, kind, "x é").text(100).unwrap(), pythons(&mut python, kind, "x é"));
            assert_eq!(same(&ours, true), same(&theirs, true));
            assert_eq!(ours.len(), theirs.len());
        }
    }

    fn what_json_has_no_word_for_is_python_s_too(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        // A process of its own: JSON can't carry these to the other.
        python_sqlite(files, "import sqlite3, sys, json
c = sqlite3.connect(sys.argv[1], timeout=60)
value = json.dumps([float('nan'), float('inf'), -float('inf'), '\\ud800', 10**100, 1e16, 1e-5])
c.execute('INSERT INTO beaver_dicts VALUES (?, ?, ?, NULL)', ('n', 'k', value))
c.execute('INSERT INTO beaver_priority_queues VALUES (?, ?, ?, ?)', ('n', float('inf'), 1.5, value))
c.commit()");
        for kind in ["dict", "queue"] {
            let (ours, theirs) = (dump(&store, kind, "n").text(9).unwrap(), pythons(&mut python, kind, "n"));
            assert_eq!(same(&ours, true), same(&theirs, true));
            let count = loader(&store, kind, "copy").load(&theirs, 5).unwrap();
            assert_eq!((count, same(&dump(&store, kind, "copy").text(9).unwrap(), false)), (1, same(&theirs, false)));
        }
    }

    fn a_dump_of_pythons_loads_here(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        fill(&mut python);
        let store = files.open();
        for kind in KINDS {
            let text = pythons(&mut python, kind, "x é");
            loader(&store, kind, "copy").load(&text, 100).unwrap();
            assert_eq!(same(&dump(&store, kind, "copy").text(100).unwrap(), false), same(&text, false));
            assert_eq!(same(&pythons(&mut python, kind, "copy"), false), same(&text, false));
        }
    }

    fn a_dump_of_ours_loads_in_python(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        fill(&mut python);
        let store = files.open();
        for kind in KINDS {
            let text = dump(&store, kind, "x é").text(100).unwrap();
            python.call(json!({"op": "load", "kind": kind, "name": "copy", "text": text}));
            let copy = dump(&store, kind, "copy").text(100).unwrap();
            // Python's put gives a time of its own.
            let plain = |text: &str| -> Vec<String> {
                same(text, false).into_iter().filter(|line| kind != "queue" || !line.contains("timestamp")).map(str::to_owned).collect()
            };
            assert_eq!(plain(&copy), plain(&text), "{kind}");
        }
    }

    fn keys_that_we_refuse_are_in_a_dump_all_the_same(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        call(&mut python, "dict", "__setitem__", json!(["a\u{0}b", 1]));
        call(&mut python, "blob", "put", json!(["a\u{0}b", {"$bytes": "AA=="}, {"k": 1}]));
        for kind in ["dict", "blob"] {
            let (ours, theirs) = (dump(&store, kind, "x é").text(9).unwrap(), pythons(&mut python, kind, "x é"));
            assert_eq!(same(&ours, true), same(&theirs, true));
            let result = loader(&store, kind, "copy").load(&ours, 9);
            assert!(matches!(result, Err(Error::InvalidArgument(_))), "{result:?}");
        }
    }

    fn what_somebody_stored_by_hand_is_not_altered_or_is_named(files: &Files) {
        let store = files.open();
        let dict = store.dict("d").unwrap();
        dict.set("a", "1", None).unwrap();
        python_sqlite(files, "import sqlite3, sys
c = sqlite3.connect(sys.argv[1], timeout=60)
c.execute('INSERT INTO beaver_dicts VALUES (?, ?, ?, NULL)', ('d', 'b', '[1e3,\"\\u00e9\" ,1e999]'))
c.execute('INSERT INTO beaver_dicts VALUES (?, ?, ?, NULL)', ('bad', 'the key', 'hello'))
c.commit()");
        let text = dict.dump().unwrap().text(1).unwrap();
        assert!(text.contains("\"value\": [\n        1e3,\n        \"é\",\n        1e999\n      ]"), "{text}");
        let copy = store.dict("copy").unwrap();
        assert_eq!(copy.loader().unwrap().load(&text, 1).unwrap(), 2);
        assert_eq!(copy.get("b").unwrap().as_deref(), Some("[1000.0, \"\\u00e9\", Infinity]"));
        let mut dump = store.dict("bad").unwrap().dump().unwrap();
        for _ in 0..2 {
            match dump.text(1000) {
                Err(Error::Corrupt(problem)) => assert!(problem.contains("\"the key\""), "{problem}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_dump_of_many_pages_is_pythons() {
    let files = Files::new(beaver_tests::System::Native);
    let Some(mut python) = Process::python(&files.database()) else {
        return;
    };
    let store = files.open();
    let transaction = store.begin().unwrap();
    let (dict, queue) = (store.dict("x").unwrap(), store.queue("x").unwrap());
    for n in 0..1500 {
        let value = format!("{{\"n\": {n}, \"text\": \"{}\"}}", "x".repeat(n));
        dict.set(&format!("{}", n * 7919 % 1500), &value, None)
            .unwrap();
        queue.put(&value, f64::from(n as u32 % 7)).unwrap();
    }
    transaction.commit().unwrap();
    for kind in ["dict", "queue"] {
        let theirs = pythons(&mut python, kind, "x");
        assert_eq!(
            same(&dump(&store, kind, "x").text(1 << 20).unwrap(), true),
            same(&theirs, true)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1, ..ProptestConfig::default() })]

    #[test]
    fn any_values_are_dumped_as_python_does(texts in prop::collection::vec(json_text(), 300)) {
        let files = Files::new(beaver_tests::System::Native);
        let Some(mut python) = Process::python(&files.database()) else { return Ok(()) };
        let store = files.open();
        let (dict, list) = (store.dict("x").unwrap(), store.list("x").unwrap());
        // Some are refused: Python prints Infinity for them.
        for (n, text) in texts.iter().filter(|text| list.push(text).is_ok()).enumerate() {
            dict.set(&n.to_string(), text, None).unwrap();
        }
        for kind in ["dict", "list"] {
            let (ours, theirs) = (dump(&store, kind, "x").text(1000).unwrap(), pythons(&mut python, kind, "x"));
            prop_assert_eq!(same(&ours, true), same(&theirs, true));
            loader(&store, kind, "copy").load(&theirs, 1000).unwrap();
            let copy = dump(&store, kind, "copy").text(1000).unwrap();
            prop_assert_eq!(same(&copy, false), same(&theirs, false));
        }
    }
}
