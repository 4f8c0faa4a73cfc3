//! Blobs, both directions with Python.

use beaver_tests::{BlobContent, Error, Files, OpenMode, Options, Process, System, both, python};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

const MIB: usize = 1 << 20;

/// Base64, as Python reads and prints it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes(word);
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize % 64];
            text.push(if place <= group.len() {
                digit as char
            } else {
                '='
            });
        }
    }
    text
}

fn put(key: &str, data: &[u8], metadata: &Value) -> Value {
    json!({"op": "call", "kind": "blob", "name": "files", "method": "put",
           "args": [key, {"$bytes": base64(data)}, metadata]})
}

fn get(key: &str) -> Value {
    json!({"op": "call", "kind": "blob", "name": "files", "method": "get", "args": [key]})
}

fn samples() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        vec![0],
        (0..=255).collect(),
        (0..5 * MIB).map(|n| (n * n / 7) as u8).collect(),
    ]
}

/// Values and whether Python keeps them: it stores nothing for what is false to it.
fn metadata() -> Vec<Value> {
    vec![
        Value::Null,
        json!({"type": "text/plain", "size": 3, "é": [1.5, null, "\u{1F600}"]}),
        json!("text"),
        json!([1e300, -0.5, 123_456_789_012_345_678_u64]),
    ]
}

both! {
    fn what_we_put_python_gets(files: &Files) {
        let store = files.open();
        let blob = store.blob("files").unwrap();
        let Some(mut python) = Process::python(&files.database()) else { return };
        for (n, data) in samples().into_iter().enumerate() {
            for metadata in metadata() {
                let text = (!metadata.is_null()).then(|| metadata.to_string());
                // Whole and in pieces, new and over an old one.
                for in_pieces in [false, true] {
                    let key = format!("key {n} é");
                    if in_pieces {
                        let mut writer = blob.writer(&key).unwrap();
                        for chunk in data.chunks(MIB) {
                            writer.write(chunk).unwrap();
                        }
                        writer.finish(text.as_deref()).unwrap();
                    } else {
                        blob.put(&key, &data, text.as_deref()).unwrap();
                    }
                    let got = python.call(get(&key));
                    let expected = json!([key, {"$bytes": base64(&data)}, metadata]);
                    assert!(got == expected, "{n}, {metadata}, in pieces: {in_pieces}");
                }
            }
        }
        let keys = json!({"op": "call", "kind": "blob", "name": "files", "method": "__iter__"});
        assert_eq!(python.call(keys), json!(blob.key_pages(100).unwrap().concat()));
        let len = json!({"op": "call", "kind": "blob", "name": "files", "method": "__len__"});
        assert_eq!(python.call(len.clone()), json!(4));
        assert!(blob.delete("key 0 é").unwrap());
        assert_eq!(python.call(len.clone()), json!(3));
        assert_eq!(blob.clear().unwrap(), 3);
        assert_eq!(python.call(len), json!(0));
    }

    fn what_python_puts_we_get(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        // Some of it before our tables and triggers are there.
        python.call(put("before", b"1", &json!({"n": 1})));
        let store = files.open();
        let blob = store.blob("files").unwrap();
        assert_eq!(
            blob.get("before").unwrap(),
            Some(BlobContent { data: b"1".to_vec(), metadata: Some(r#"{"n": 1}"#.into()) })
        );
        for data in samples() {
            for metadata in metadata() {
                python.call(put("x", &data, &metadata));
                let dumped = python.call(json!({"op": "dumps", "text": metadata.to_string()}));
                let text = dumped.as_str().filter(|_| !metadata.is_null());
                let got = blob.get("x").unwrap().unwrap();
                assert!(got.data == data && got.metadata.as_deref() == text);
                assert_eq!(blob.metadata("x").unwrap().as_deref(), text);
                let mut reader = blob.reader("x").unwrap().unwrap();
                assert!(reader.read_all(1_000_000).unwrap() == data);
            }
        }
        python.call(json!({"op": "call", "kind": "blob", "name": "files", "method": "delete", "args": ["x"]}));
        assert!(!blob.contains("x").unwrap());
        python.call(json!({"op": "call", "kind": "blob", "name": "files", "method": "clear"}));
        assert_eq!(blob.len().unwrap(), 0);
    }

    fn a_reader_notices_what_python_does(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let old = vec![1; MIB];
        python.call(put("x", &old, &Value::Null));
        let store = files.open();
        let delete =
            json!({"op": "call", "kind": "blob", "name": "files", "method": "delete", "args": ["x"]});
        // The first time it is a blob from before our triggers.
        for round in 0..4 {
            let blob = store.blob("files").unwrap();
            let mut reader = blob.reader("x").unwrap().unwrap();
            let first = reader.read_at(0, 1000).unwrap();
            assert!(first == old[..1000]);
            if round % 2 == 0 {
                // The row's id is the same again after this.
                python.call(delete.clone());
            }
            python.call(put("x", &vec![2 + round; MIB], &Value::Null));
            let error = reader.read_at(MIB as u64 - 1, 1).unwrap_err();
            assert_eq!(error, Error::Changed, "round {round}");
            python.call(put("x", &old, &Value::Null));
            python.call(put("y", &old, &Value::Null));
            python.call(json!({"op": "call", "kind": "blob", "name": "files", "method": "delete", "args": ["y"]}));
        }
    }

    fn every_read_is_one_whole_version_while_python_replaces_it(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        let blob = store.blob("files").unwrap();
        let size = 3 * MIB / 2;
        let request = json!({"op": "replace-blob", "name": "files", "key": "x", "size": size, "count": 60});
        let is_whole = |data: &[u8]| {
            let n = usize::from(data[0]);
            // Fewer than 251 versions: the byte tells which one it is.
            data.len() == size + n % 2 && data.iter().all(|byte| usize::from(*byte) == n)
        };
        std::thread::scope(|scope| {
            let replacing = scope.spawn(|| python.call(request));
            let (mut whole, mut changed) = (0, 0);
            while !replacing.is_finished() {
                if let Some(mut reader) = blob.reader("x").unwrap() {
                    match reader.read_all(100_000) {
                        Ok(data) => {
                            assert!(is_whole(&data));
                            whole += 1;
                        }
                        Err(Error::Changed) => changed += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                if let Some(content) = blob.get("x").unwrap() {
                    assert!(is_whole(&content.data));
                    assert_eq!(content.metadata, Some(format!("{{\"n\": {}}}", content.data[0])));
                }
            }
            replacing.join().unwrap();
            println!("{whole} read whole, {changed} changed meanwhile");
        });
        assert_eq!(blob.get("x").unwrap().unwrap().data[0], 59);
    }

    fn pythons_caches_see_our_writes(files: &Files) {
        let Some(python) = python() else { return };
        let blob = files.open().blob("files").unwrap();
        blob.put("x", b"old", None).unwrap();
        let script = "import sys, time, beaver
db = beaver.BeaverDB(sys.argv[1], cache_timeout=0.01)
files = db.blob('files')
files.get('x')  # The next one comes from the cache.
print(files.get('x').data.decode(), flush=True)
for expected in (b'new', b'in pieces', None):
    sys.stdin.readline()
    deadline = time.monotonic() + 60
    while True:
        found = files.get('x')
        if (found and found.data) == expected: break
        assert time.monotonic() < deadline, found
    print(expected, files.cache.stats().hits > 0, flush=True)";
        let mut child = Command::new(python)
            .args(["-c", script])
            .arg(files.database())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut go = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "old");
        blob.put("x", b"new", None).unwrap();
        writeln!(go).unwrap();
        assert!(lines.next().unwrap().unwrap().starts_with("b'new'"));
        let mut writer = blob.writer("x").unwrap();
        writer.write(b"in pieces").unwrap();
        writer.finish(None).unwrap();
        writeln!(go).unwrap();
        // It had read from its cache.
        assert_eq!(lines.next().unwrap().unwrap(), "b'in pieces' True");
        blob.delete("x").unwrap();
        writeln!(go).unwrap();
        assert!(lines.next().unwrap().unwrap().starts_with("None"));
        assert!(child.wait().unwrap().success());
    }

    // Found while writing this: the tables of ours were missed, which reading doesn't need.
    fn a_file_that_only_python_has_used_is_read(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let large = vec![1; 2 * MIB];
        python.call(put("x", &large, &json!([1])));
        let options = Options { mode: OpenMode::ReadOnly, ..Options::default() };
        let blob = files.open_with(&options).unwrap().blob("files").unwrap();
        let got = blob.get("x").unwrap().unwrap();
        assert!(got.data == large && got.metadata.as_deref() == Some("[1]"));
        let mut reader = blob.reader("x").unwrap().unwrap();
        assert!(reader.read_all(100_000).unwrap() == large);
        // Nothing there tells versions apart, so any commit counts as a change.
        let mut reader = blob.reader("x").unwrap().unwrap();
        reader.read_at(0, 1).unwrap();
        python.call(json!({"op": "call", "kind": "blob", "name": "files", "method": "delete", "args": ["x"]}));
        python.call(put("x", &large, &Value::Null));
        assert_eq!(reader.read_at(MIB as u64, 1).unwrap_err(), Error::Changed);
        assert_eq!(blob.put("x", b"", None).unwrap_err(), Error::ReadOnly);
    }
}

#[test]
fn base64_is_pythons() {
    let files = Files::new(System::Native);
    let Some(mut python) = Process::python(&files.database()) else {
        return;
    };
    for length in 0..10 {
        let data: Vec<u8> = (0..length).map(|n: u8| n.wrapping_mul(201) ^ 250).collect();
        python.call(put("x", &data, &Value::Null));
        let store = files.open();
        assert_eq!(
            store.blob("files").unwrap().get("x").unwrap().unwrap().data,
            data
        );
    }
}
