//! Events between us and Python's `on` and `emit`.

use beaver_tests::{Error, Listener, Process, both, ms, s};
use serde_json::{Value, json};

/// The next `count` events.
fn hear(listener: &mut Listener, count: usize) -> Vec<Value> {
    let mut heard = Vec::new();
    while heard.len() < count {
        for message in listener.next_page(100, Some(s(60))).unwrap() {
            heard.push(serde_json::from_str(&message.payload).unwrap());
        }
    }
    assert_eq!(
        listener.next_page(1, Some(ms(0))).unwrap_err(),
        Error::Timeout
    );
    heard
}

both! {
    fn python_hears_our_writes(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        let (dict, queue) = (store.dict("config").unwrap(), store.queue("jobs").unwrap());
        dict.set("before", "1", None).unwrap();
        for (topic, event) in [("dict:config", "set"), ("dict:config", "del"), ("dict:config", "clear"), ("queue:jobs", "put"), ("queue:jobs", "get"), ("app", "ready")] {
            python.call(json!({"op": "on", "topic": topic, "event": event}));
        }
        for key in ["a", "é \"\\/\n\u{1}\u{7f} 😀", ""] {
            dict.set(key, "1", None).unwrap();
        }
        dict.pop("a").unwrap();
        dict.clear().unwrap();
        queue.put("1", 0.0).unwrap();
        queue.get(Some(ms(0))).unwrap();
        let payload = json!({"deep": [1, {"é": [2.5, 1e300, -1e-7, null, true]}], "n": 123_456_789_012_345_678_u64});
        assert!(store.emit("app", "ready", &payload.to_string()).unwrap());
        // As deep as it may be: Python reads it whoever listens for it, and what
        // it can't read ends its listeners.
        let _deep = store.on("app", "deep").unwrap();
        let deepest = format!("{{\"k\": {}{}}}", "[".repeat(198), "]".repeat(198));
        assert!(store.emit("app", "deep", &deepest).unwrap());
        assert!(store.emit("app", "ready", "{}").unwrap());
        let mut heard = |name: &str, count: usize| python.call(json!({"op": "heard", "name": name, "count": count}));
        assert_eq!(heard("dict:config:set", 3), json!([{"key": "a"}, {"key": "é \"\\/\n\u{1}\u{7f} 😀"}, {"key": ""}]));
        assert_eq!(heard("dict:config:del", 1), json!([{"key": "a"}]));
        assert_eq!(heard("dict:config:clear", 1), json!([{}]));
        assert_eq!(heard("queue:jobs:put", 1), json!([{}]));
        assert_eq!(heard("queue:jobs:get", 1), json!([{}]));
        assert_eq!(heard("app:ready", 2), json!([payload, {}]));
    }

    fn we_hear_pythons_writes(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        let mut set = store.on("dict:config", "set").unwrap();
        let mut del = store.on("dict:config", "del").unwrap();
        let mut push = store.on("list:tasks", "push").unwrap();
        let mut insert = store.on("list:tasks", "insert").unwrap();
        let mut ready = store.on("app", "ready").unwrap();
        let mut call = |kind: &str, name: &str, method: &str, args: Value| {
            python.call(json!({"op": "call", "kind": kind, "name": name, "method": method, "args": args}))
        };
        call("dict", "config", "set", json!(["é \"\\\n\u{1}", 1]));
        call("dict", "other", "set", json!(["a", 1]));
        call("dict", "config", "set", json!(["b", 1]));
        call("dict", "config", "pop", json!(["b"]));
        call("list", "tasks", "push", json!([1]));
        call("list", "tasks", "insert", json!([0, 2]));
        let payload = json!({"deep": [1, {"é": [2.5, 1e300, null]}]});
        assert_eq!(python.call(json!({"op": "emit", "topic": "app", "event": "ready", "payload": payload})), json!(true));
        assert_eq!(python.call(json!({"op": "emit", "topic": "app", "event": "gone", "payload": {}})), json!(false));
        assert_eq!(hear(&mut set, 2), [json!({"key": "é \"\\\n\u{1}"}), json!({"key": "b"})]);
        assert_eq!(hear(&mut del, 1), [json!({"key": "b"})]);
        assert_eq!(hear(&mut push, 1), [json!({})]);
        assert_eq!(hear(&mut insert, 1), [json!({"index": 0})]);
        assert_eq!(hear(&mut ready, 1), [payload]);
    }

    fn an_events_text_is_pythons(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        let _listeners = [store.on("dict:d é\u{1}", "set").unwrap(), store.on("app", "ready").unwrap()];
        let key = (1..=0xff).filter_map(char::from_u32).chain(['\u{2028}', '😀']).collect::<String>();
        let payload = json!({
            "texts": key,
            "numbers": [0, -1, 1.0, -0.0, 1e16, 1e300, 1e-7, 0.1, 5e-324, 123_456_789_012_345_680_000.0],
            "nested": [[], {}, {"a": [true, false, null]}],
        });
        store.dict("d é\u{1}").unwrap().set(&key, "1", None).unwrap();
        store.emit("app", "ready", &payload.to_string()).unwrap();
        python.call(json!({"op": "set", "name": "d é\u{1}", "key": key, "value": 1}));
        python.call(json!({"op": "emit", "topic": "app", "event": "ready", "payload": payload}));
        let events = store.channel("__beaver_events__").unwrap().history_pages(None, None, 10).unwrap().concat();
        assert_eq!(events.len(), 4);
        assert_eq!(events[0].payload, events[2].payload);
        assert_eq!(events[1].payload, events[3].payload);
    }

    fn we_count_together(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        let count = |store: &beaver_tests::Store| store.dict("__events__").unwrap().get("dict:d:set").unwrap();
        let first = store.on("dict:d", "set").unwrap();
        python.call(json!({"op": "on", "topic": "dict:d", "event": "set"}));
        let second = store.on("dict:d", "set").unwrap();
        assert_eq!(count(&store).as_deref(), Some("3"));
        first.close().unwrap();
        python.call(json!({"op": "off", "topic": "dict:d", "event": "set"}));
        assert_eq!(count(&store).as_deref(), Some("1"));
        drop(second);
        assert_eq!(count(&store), None);
        // Nobody listens any more, to either.
        let events = store.channel("__beaver_events__").unwrap();
        let before = events.len().unwrap();
        store.dict("d").unwrap().set("x", "1", None).unwrap();
        python.call(json!({"op": "set", "name": "d", "key": "x", "value": 1}));
        assert_eq!(events.len().unwrap(), before);
    }

    // Python reads the count, then writes it, under its dictionary's lock.
    fn counting_at_the_same_time_loses_no_listener(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        python.send(&json!({"op": "on", "topic": "dict:d", "event": "set"}));
        let mut ours = Vec::new();
        for _ in 0..10 {
            ours.push(store.on("dict:d", "set").unwrap());
        }
        assert_eq!(python.answer(), json!({"ok": null}));
        assert_eq!(store.dict("__events__").unwrap().get("dict:d:set").unwrap().as_deref(), Some("11"));
        store.dict("d").unwrap().set("x", "1", None).unwrap();
        for listener in &mut ours {
            assert_eq!(hear(listener, 1), [json!({"key": "x"})]);
        }
        assert_eq!(python.call(json!({"op": "heard", "name": "dict:d:set", "count": 1})), json!([{"key": "x"}]));
    }
}
