//! Dictionaries whose values are encrypted with a secret.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{Dict, Error, Files, IfExists, OpenMode, Options, System, both, ms, s};
use std::path::Path;

/// Runs SQL by SQLite in a process of its own; all rows, as Python prints them.
fn sql(path: &Path, sql: &str) -> String {
    let script = "import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
print(c.execute(sys.argv[2]).fetchall())
c.commit()";
    let output = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(path)
        .arg(sql)
        .output()
        .unwrap();
    assert!(output.status.success(), "{sql}");
    String::from_utf8(output.stdout).unwrap()
}

fn wrong<T: std::fmt::Debug>(result: beaver_tests::Result<T>) {
    assert!(
        matches!(&result, Err(Error::WrongSecret(name)) if name == "d"),
        "{result:?}"
    );
}

fn invalid<T: std::fmt::Debug>(result: beaver_tests::Result<T>) {
    assert!(
        matches!(result, Err(Error::InvalidArgument(_))),
        "{result:?}"
    );
}

fn corrupt<T: std::fmt::Debug>(result: beaver_tests::Result<T>) {
    assert!(
        matches!(&result, Err(Error::Corrupt(text)) if text.contains("\"k\"")),
        "{result:?}"
    );
}

fn values(dict: &Dict) -> Vec<String> {
    dict.value_pages(2).unwrap().concat()
}

both! {
    // Found in review: what became encrypted meanwhile was given out and lost.
    fn an_older_plain_handle_pops_and_clears_nothing(files: &Files) {
        let store = files.open();
        let plain = store.dict("d").unwrap();
        let secret = store.dict_encrypted("d", "s3cret").unwrap();
        secret.set("k", "1", None).unwrap();
        assert!(matches!(plain.pop("k"), Err(Error::UnsupportedFormat(_))));
        assert!(matches!(plain.clear(), Err(Error::UnsupportedFormat(_))));
        assert_eq!(secret.pop("k").unwrap().as_deref(), Some("1"));
    }

    // Found in review: its holder was about to write plain values.
    fn a_locked_dictionary_does_not_become_encrypted(files: &Files) {
        let store = files.open();
        let plain = store.dict("d").unwrap();
        plain.acquire(&beaver_tests::LockOptions::timeout(s(10))).unwrap();
        assert!(matches!(store.dict_encrypted("d", "s3cret"), Err(Error::Locked(_))));
        plain.set("k", "1", None).unwrap();
        plain.delete("k").unwrap();
        plain.release().unwrap();
        store.dict_encrypted("d", "s3cret").unwrap().set("k", "1", None).unwrap();
    }

    fn every_method_works_as_on_a_plain_dictionary(files: &Files) {
        let store = files.open();
        let dict = store.dict_encrypted("d", "sésame").unwrap();
        assert_eq!(dict.get("k").unwrap(), None);
        dict.set("k", "{\"é\":1.50}", None).unwrap();
        assert_eq!(dict.get("k").unwrap().as_deref(), Some("{\"\\u00e9\": 1.5}"));
        assert!(dict.contains("k").unwrap());
        dict.set("k", "2", None).unwrap();
        dict.set("short", "3", Some(ms(1))).unwrap();
        beaver_tests::eventually("expiry", || dict.get("short").unwrap().is_none());
        assert_eq!(dict.len().unwrap(), 1);
        for n in 0..5 {
            dict.set(&n.to_string(), &n.to_string(), Some(s(3600))).unwrap();
        }
        assert_eq!(dict.key_pages(2).unwrap().concat(), ["0", "1", "2", "3", "4", "k"]);
        assert_eq!(values(&dict), ["0", "1", "2", "3", "4", "2"]);
        let items = dict.item_pages(4).unwrap().concat();
        assert_eq!((items[5].key.as_str(), items[5].value.as_str()), ("k", "2"));
        assert_eq!(dict.pop("k").unwrap().as_deref(), Some("2"));
        assert!(dict.delete("0").unwrap());
        assert!(!dict.delete("0").unwrap());
        assert_eq!(dict.clear().unwrap(), 4);
        let large = format!("\"{}\"", "x".repeat(1 << 20));
        dict.set("large", &large, None).unwrap();
        assert!(dict.get("large").unwrap() == Some(large));
        // Another handle, in a transaction too.
        let transaction = store.begin().unwrap();
        let again = store.dict_encrypted("d", "sésame").unwrap();
        again.set("k", "3", None).unwrap();
        transaction.commit().unwrap();
        assert_eq!(dict.get("k").unwrap().as_deref(), Some("3"));
    }

    fn nothing_of_a_value_or_the_secret_is_in_the_file(files: &Files) {
        let store = files.open();
        let dict = store.dict_encrypted("d", "open-sesame-7341").unwrap();
        for key in ["a", "b"] {
            dict.set(key, "\"needle-in-the-haystack\"", None).unwrap();
        }
        // Equal values don't look equal.
        assert!(sql(&files.database(), "SELECT count(DISTINCT value) FROM beaver_dicts WHERE dict_name = 'd'").contains("(2,)"));
        store.backup(&files.directory().join("copy.db"), IfExists::Fail).unwrap();
        drop((dict, store));
        for name in ["app.db", "copy.db"] {
            let bytes = std::fs::read(files.directory().join(name)).unwrap();
            for needle in ["needle-in", "open-sesame"] {
                assert!(!bytes.windows(needle.len()).any(|at| at == needle.as_bytes()), "{name}: {needle}");
            }
        }
    }

    fn only_the_right_secret_opens(files: &Files) {
        let store = files.open();
        store.dict_encrypted("d", "right").unwrap();
        // Already before it holds anything.
        wrong(store.dict_encrypted("d", "wrong"));
        wrong(store.dict_encrypted("d", "right "));
        assert!(matches!(store.dict("d"), Err(Error::UnsupportedFormat(_))));
        store.dict_encrypted("d", "right").unwrap();
        invalid(store.dict_encrypted("d", ""));
        invalid(store.dict_encrypted("", "x"));
        for name in ["__security__", "__metadata__", "__events__"] {
            invalid(store.dict_encrypted(name, "x"));
        }
        // Dictionaries of one secret have keys of their own.
        store.dict_encrypted("e", "right").unwrap();
        let salts = "SELECT count(DISTINCT json_extract(value, '$.salt')) FROM beaver_dicts WHERE dict_name = '__security__'";
        assert!(sql(&files.database(), salts).contains("(2,)"));
        assert_eq!(store.dict("__security__").unwrap().len().unwrap(), 2);
    }

    fn plain_and_encrypted_values_never_mix(files: &Files) {
        let store = files.open();
        let plain = store.dict("d").unwrap();
        plain.set("k", "1", None).unwrap();
        invalid(store.dict_encrypted("d", "secret"));
        assert_eq!(plain.get("k").unwrap().as_deref(), Some("1"));
        plain.delete("k").unwrap();
        // What has expired is no value.
        plain.set("k", "1", Some(ms(1))).unwrap();
        beaver_tests::eventually("expiry", || plain.get("k").unwrap().is_none());
        let dict = store.dict_encrypted("d", "secret").unwrap();
        // A handle from before would write where nobody can read it.
        assert!(matches!(plain.set("k", "1", None), Err(Error::UnsupportedFormat(_))));
        assert_eq!(dict.len().unwrap(), 0);
        dict.set("k", "2", None).unwrap();
        assert!(plain.delete("k").unwrap());
    }

    fn a_dictionary_does_not_become_encrypted_by_a_transaction(files: &Files) {
        let store = files.open();
        let transaction = store.begin().unwrap();
        assert!(matches!(store.dict_encrypted("d", "secret"), Err(Error::InTransaction)));
        transaction.commit().unwrap();
        store.dict("d").unwrap().set("k", "1", None).unwrap();
        let options = Options { mode: OpenMode::ReadOnly, ..Options::default() };
        let reader = files.open_with(&options).unwrap();
        for name in ["d", "new"] {
            assert!(matches!(reader.dict_encrypted(name, "secret"), Err(Error::ReadOnly)));
        }
        store.dict_encrypted("new", "secret").unwrap().set("k", "1", None).unwrap();
        let read = reader.dict_encrypted("new", "secret").unwrap();
        assert_eq!(read.get("k").unwrap().as_deref(), Some("1"));
    }

    fn a_handle_of_an_old_key_writes_nothing(files: &Files) {
        let store = files.open();
        let old = store.dict_encrypted("d", "secret").unwrap();
        old.set("k", "1", None).unwrap();
        sql(&files.database(), "DELETE FROM beaver_dicts WHERE dict_name = '__security__'");
        wrong(old.set("k", "2", None));
        sql(&files.database(), "DELETE FROM beaver_dicts WHERE dict_name = 'd'");
        // The same secret, but another salt.
        let new = store.dict_encrypted("d", "secret").unwrap();
        wrong(old.set("k", "2", None));
        new.set("k", "3", None).unwrap();
        corrupt(old.get("k"));
        assert_eq!(new.get("k").unwrap().as_deref(), Some("3"));
    }

    fn a_value_that_was_changed_is_an_error_and_can_be_removed(files: &Files) {
        let store = files.open();
        let dict = store.dict_encrypted("d", "secret").unwrap();
        dict.set("a", "1", None).unwrap();
        for change in [
            // One character of the signature, the tail cut off, another key's value, plain text.
            "substr(value, 1, length(value) - 9) || CASE substr(value, -9, 1) WHEN 'x' THEN 'y' ELSE 'x' END || substr(value, -8)",
            "substr(value, 1, 64)",
            "'1'",
            "''",
            "'\u{e9}'",
        ] {
            dict.set("k", "2", None).unwrap();
            sql(&files.database(), &format!("UPDATE beaver_dicts SET value = {change} WHERE dict_name = 'd' AND key = 'k'"));
            corrupt(dict.get("k"));
            corrupt(dict.pop("k"));
            corrupt(dict.value_pages(10));
            corrupt(dict.item_pages(1));
            assert!(dict.contains("k").unwrap());
            assert_eq!(dict.key_pages(10).unwrap().concat(), ["a", "k"]);
            assert_eq!(dict.get("a").unwrap().as_deref(), Some("1"));
            assert!(dict.delete("k").unwrap());
        }
        for registration in ["{}", "[", "{\"salt\": 1, \"verifier\": 2}", "{\"salt\": \"*\", \"verifier\": \"AAAA\"}"] {
            sql(&files.database(), &format!("UPDATE beaver_dicts SET value = '{registration}' WHERE dict_name = '__security__'"));
            assert!(matches!(store.dict_encrypted("d", "secret"), Err(Error::Corrupt(_))), "{registration}");
        }
    }

    // Both find nothing and make a key; one of them must take the other's.
    fn of_many_that_open_first_all_get_one_key(files: &Files) {
        drop(files.open());
        let barrier = std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            for n in 0..3 {
                let barrier = &barrier;
                scope.spawn(move || {
                    let store = files.open();
                    barrier.wait();
                    let dict = store.dict_encrypted("d", "secret").unwrap();
                    dict.set(&n.to_string(), &n.to_string(), None).unwrap();
                });
            }
        });
        let dict = files.open().dict_encrypted("d", "secret").unwrap();
        assert_eq!(values(&dict), ["0", "1", "2"]);
    }
}

#[test]
fn both_systems_read_each_other() {
    let files = Files::new(System::Native);
    let component = Files::new(System::Component);
    {
        let dict = files.open().dict_encrypted("d", "secret").unwrap();
        dict.set("k", "\"native\"", None).unwrap();
    }
    std::fs::copy(files.database(), component.database()).unwrap();
    {
        let dict = component.open().dict_encrypted("d", "secret").unwrap();
        assert_eq!(dict.get("k").unwrap().as_deref(), Some("\"native\""));
        dict.set("k", "\"component\"", None).unwrap();
    }
    std::fs::copy(component.database(), files.database()).unwrap();
    let dict = files.open().dict_encrypted("d", "secret").unwrap();
    assert_eq!(dict.get("k").unwrap().as_deref(), Some("\"component\""));
}
