//! Dictionaries that Python's `security` extra encrypts.

use beaver_tests::{Error, Process, both, ms};
use serde_json::{Value, json};
use std::path::Path;

/// Python with the extra; none where it isn't installed.
fn python(path: &Path) -> Option<Process> {
    let mut python = Process::python(path)?;
    let found = python.call(json!({"op": "has-security"})) == json!(true);
    assert!(
        found || std::env::var_os("BEAVER_REQUIRE_PYTHON").is_none(),
        "BEAVER_REQUIRE_PYTHON is set, but Python has no `cryptography`"
    );
    if !found {
        eprintln!("left out: Python has no `cryptography` (`cargo xtask test` sets it up)");
    }
    found.then_some(python)
}

fn call(method: &str, args: Value) -> Value {
    json!({"op": "call", "kind": "dict", "name": "d", "secret": "sésame", "method": method, "args": args})
}

fn refused(python: &mut Process, request: &Value, says: &str) {
    python.send(request);
    let answer = python.answer();
    let error = answer["error"].as_str().unwrap_or_default();
    assert!(error.contains(says), "{answer}");
}

both! {
    fn what_we_encrypt_python_reads(files: &Files) {
        let store = files.open();
        let dict = store.dict_encrypted("d", "sésame").unwrap();
        dict.set("k", "{\"é\": [1.5, null, \"\\ud83d\\ude00\"]}", None).unwrap();
        dict.set("empty", "\"\"", None).unwrap();
        dict.set("gone", "1", Some(ms(1))).unwrap();
        beaver_tests::eventually("expiry", || dict.get("gone").unwrap().is_none());
        let Some(mut python) = python(&files.database()) else { return };
        refused(&mut python, &json!({"op": "get", "name": "d", "key": "k"}), "is encrypted");
        let mut other = call("get", json!(["k"]));
        other["secret"] = json!("sesame");
        refused(&mut python, &other, "Invalid secret");
        assert_eq!(python.call(call("get", json!(["k"]))), json!({"é": [1.5, null, "\u{1F600}"]}));
        assert_eq!(python.call(call("get", json!(["empty"]))), json!(""));
        assert_eq!(python.call(call("get", json!(["gone"]))), json!(null));
        assert_eq!(python.call(call("pop", json!(["k"]))), json!({"é": [1.5, null, "\u{1F600}"]}));
        assert_eq!(dict.len().unwrap(), 1);
        // Once it is open there, each reads what the other writes.
        python.call(call("set", json!(["from-python", "é"])));
        assert_eq!(dict.get("from-python").unwrap().as_deref(), Some("\"\\u00e9\""));
        dict.set("from-here", "2", None).unwrap();
        assert_eq!(python.call(call("get", json!(["from-here"]))), json!(2));
    }

    fn what_python_encrypts_we_read(files: &Files) {
        let Some(mut python) = python(&files.database()) else { return };
        python.call(call("set", json!(["k", {"é": [1.5, "\u{1F600}"]}])));
        python.call(call("set", json!(["b", 2])));
        python.call(call("set", json!(["gone", 3, 0.001])));
        let store = files.open();
        assert!(matches!(store.dict("d"), Err(Error::UnsupportedFormat(_))));
        for secret in ["sesame", "sésame ", "SÉSAME"] {
            assert_eq!(store.dict_encrypted("d", secret).unwrap_err(), Error::WrongSecret("d".into()));
        }
        let dict = store.dict_encrypted("d", "sésame").unwrap();
        beaver_tests::eventually("expiry", || dict.get("gone").unwrap().is_none());
        let text = "{\"\\u00e9\": [1.5, \"\\ud83d\\ude00\"]}";
        assert_eq!(dict.get("k").unwrap().as_deref(), Some(text));
        assert_eq!(dict.value_pages(10).unwrap().concat(), ["2", text]);
        assert_eq!(dict.pop("b").unwrap().as_deref(), Some("2"));
        assert_eq!(python.call(call("get", json!(["b"]))), json!(null));
    }
}
