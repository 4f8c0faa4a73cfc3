//! Values at the edges, in dictionaries and queues, both directions: nothing is
//! lost or altered.

use beaver_tests::{Error, Files, Process, System, both, ms};
use serde_json::{Value, json};

/// JSON texts as `json.dumps` prints them, of values at some edge.
fn edges() -> Vec<String> {
    let digits = |count: usize| "1234567890".repeat(count / 10);
    let mut texts: Vec<String> = [
        // Unicode: NUL and other controls, 4 bytes, lone and swapped
        // surrogates (which no UTF-8 can carry), noncharacters.
        r#""\u0000""#,
        r#""a\u0000b\u0001\u001f\u007f""#,
        r#""\ud83d\ude00\udbff\udfff""#,
        r#""\ud800""#,
        r#""\udfff \ud83d""#,
        r#""\ude00\ud83d""#,
        r#""\uffff\ufffe\ufeff\u2028\u2029""#,
        r#""\"\\/\b\f\n\r\t""#,
        r#"{"": {"\u0000": 1, "\ud800": 2, "\ud83d\ude00": 3}}"#,
        // Floats: the smallest and largest, zeros, where the notation changes.
        "5e-324",
        "2.2250738585072014e-308",
        "1.7976931348623157e+308",
        "-1.7976931348623157e+308",
        "-0.0",
        "0.1",
        "0.30000000000000004",
        "1e-05",
        "0.0001",
        "1e+16",
        "9999999999999998.0",
        "9007199254740992.0",
        "1e+22",
        // Integers around what other readers make of them.
        "-0",
        "9007199254740993",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551616",
        "[]",
        "{}",
        "null",
        r#"[[], {}, [null, true, false, ""]]"#,
    ]
    .map(String::from)
    .to_vec();
    // What Python's reader still takes.
    texts.push(digits(4300));
    texts.push(format!("-{}", digits(4300)));
    texts.push(format!("{}{}", "[".repeat(900), "]".repeat(900)));
    texts.push(format!("{}1{}", r#"{"a": "#.repeat(450), "}".repeat(450)));
    texts.push(format!("\"{}\"", "x".repeat(1 << 20)));
    texts
}

/// What JSON doesn't have and Python writes nevertheless.
const BEYOND_JSON: [&str; 5] = [
    "NaN",
    "Infinity",
    "-Infinity",
    "[NaN, 1, Infinity]",
    r#"{"a": -Infinity}"#,
];

fn call(kind: &str, method: &str, args: Value) -> Value {
    json!({"op": "call", "kind": kind, "name": "n", "method": method, "args": args, "as": "json"})
}

/// The third of `[priority, timestamp, data]`, as text: no parser of ours in between.
fn data_of(item: &str) -> &str {
    let rest = item.split_once(", ").unwrap().1;
    rest.split_once(", ").unwrap().1.strip_suffix(']').unwrap()
}

fn short(text: &str) -> &str {
    text.get(..80).unwrap_or(text)
}

both! {
    fn what_we_write_at_the_edges_python_reads(files: &Files) {
        let store = files.open();
        let (dict, queue) = (store.dict("n").unwrap(), store.queue("n").unwrap());
        let Some(mut python) = Process::python(&files.database()) else { return };
        for text in edges() {
            // `-0` is an integer to Python, which has one zero.
            let expected = if text == "-0" { "0" } else { &text };
            dict.set("k", &text, None).unwrap();
            queue.put(&text, 1.0).unwrap();
            assert!(dict.get("k").unwrap().as_deref() == Some(expected), "{}", short(&text));
            let read = python.call(call("dict", "get", json!(["k"])));
            assert!(read == json!(expected), "{}", short(&text));
            let read = python.call(call("queue", "get", json!([false])));
            assert!(data_of(read.as_str().unwrap()) == expected, "{}", short(&text));
        }
    }

    fn what_python_writes_at_the_edges_we_return_unaltered(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        let (dict, queue) = (store.dict("n").unwrap(), store.queue("n").unwrap());
        let texts = edges().into_iter().filter(|text| text != "-0");
        for text in texts.chain(BEYOND_JSON.map(String::from)) {
            python.call(call("dict", "set", json!(["k", {"$json": text}])));
            python.call(call("queue", "put", json!([{"$json": text}, 1.0])));
            let same = |found: &str| assert!(found == text, "{}: {}", short(&text), short(found));
            same(&dict.get("k").unwrap().unwrap());
            same(&dict.value_pages(1).unwrap().concat()[0]);
            same(&dict.item_pages(1).unwrap().concat()[0].value);
            same(&dict.pop("k").unwrap().unwrap());
            same(&queue.peek().unwrap().unwrap().data);
            same(&queue.item_pages(1).unwrap().concat()[0].data);
            same(&queue.get(Some(ms(0))).unwrap().data);
        }
        for text in BEYOND_JSON {
            assert!(matches!(dict.set("k", text, None), Err(Error::InvalidJson(_))), "{text}");
            assert!(matches!(queue.put(text, 0.0), Err(Error::InvalidJson(_))), "{text}");
        }
    }

    // Python can print deeper than its own reader reads.
    fn nesting_beyond_what_python_reads_is_returned_unaltered(files: &Files) {
        let store = files.open();
        let (dict, queue) = (store.dict("n").unwrap(), store.queue("n").unwrap());
        let script = "import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
text = '[' * 100000 + ']' * 100000
c.execute('INSERT INTO beaver_dicts VALUES (?, ?, ?, NULL)', ('n', 'k', text))
c.execute('INSERT INTO beaver_priority_queues VALUES (?, 1.0, 1.0, ?)', ('n', text))
c.commit()";
        assert!(std::process::Command::new("python3").args(["-c", script]).arg(files.database()).status().unwrap().success());
        let text = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(dict.get("k").unwrap() == Some(text.clone()));
        assert!(queue.get(Some(ms(0))).unwrap().data == text);
        assert!(matches!(dict.set("k", &text, None), Err(Error::InvalidJson(_))));
    }

    fn keys_at_the_edges(files: &Files) {
        let store = files.open();
        let dict = store.dict("n").unwrap();
        let Some(mut python) = Process::python(&files.database()) else { return };
        let keys = ["", " ", "\u{1}\u{7f}", "\u{1F600}", "\u{ffff}", "\u{10ffff}", "a'b\"c", "%_", "e\u{301}", "\u{e9}"];
        for (n, key) in keys.iter().enumerate() {
            dict.set(key, &n.to_string(), None).unwrap();
            assert_eq!(python.call(call("dict", "get", json!([key]))), json!(n.to_string()));
            python.call(call("dict", "set", json!([key, n + 100])));
            assert_eq!(dict.get(key).unwrap(), Some((n + 100).to_string()));
        }
        // We take no NUL in a key, but lose none that Python wrote.
        python.call(call("dict", "set", json!(["a\0b", 1])));
        let mut all: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        all.push("a\0b".into());
        all.sort();
        assert_eq!(dict.key_pages(3).unwrap().concat(), all);
        assert_eq!(dict.len().unwrap(), all.len() as u64);
    }

    fn priorities_at_the_edges(files: &Files) {
        let store = files.open();
        let queue = store.queue("n").unwrap();
        let Some(mut python) = Process::python(&files.database()) else { return };
        let ascending = [f64::NEG_INFINITY, f64::MIN, -1.0, -5e-324, 0.0, 5e-324, 0.1, 1.0, 1e15, f64::MAX, f64::INFINITY];
        for (n, priority) in ascending.iter().enumerate().rev() {
            queue.put(&n.to_string(), *priority).unwrap();
        }
        for (n, priority) in ascending.into_iter().enumerate() {
            if n % 2 == 0 {
                let item = queue.get(Some(ms(0))).unwrap();
                assert_eq!((item.priority, item.data), (priority, n.to_string()));
            } else {
                let item = python.call(call("queue", "get", json!([false])));
                assert_eq!(data_of(item.as_str().unwrap()), n.to_string());
            }
        }
        python.call(call("queue", "put", json!([1, {"$json": "Infinity"}])));
        python.call(call("queue", "put", json!([2, {"$json": "123456789012345678901234567890.0"}])));
        assert_eq!(queue.get(Some(ms(0))).unwrap().data, "2");
        assert_eq!(queue.get(Some(ms(0))).unwrap().priority, f64::INFINITY);
    }
}

// Found by chance: where two shortest texts are equally near a float, Python
// prints the even one. Such floats have few bits behind the point.
#[test]
fn floats_half_way_between_two_texts_are_printed_as_python_does() {
    let files = Files::new(System::Native);
    let Some(mut python) = Process::python(&files.database()) else {
        return;
    };
    let mut random = 1_u64;
    let mut next = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        random >> 11
    };
    for _ in 0..5 {
        let floats: Vec<String> = (0..2000)
            .map(|n| {
                let exponent = n % 70 - 10;
                format!("{:e}", next() as f64 * 2_f64.powi(exponent))
            })
            .collect();
        let text = format!("[{}]", floats.join(", "));
        let printed = python.call(json!({"op": "dumps", "text": text}));
        let ours = beaver_core::python_text(&text).unwrap();
        let differs = ours
            .split(", ")
            .zip(printed.as_str().unwrap().split(", "))
            .find(|(ours, pythons)| ours != pythons);
        assert_eq!(differs, None);
    }
}
