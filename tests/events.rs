//! What listeners hear of the writes.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{
    Error, GuardMode, Listener, Options, Process, Store, System, both, eventually, ms, s,
};
use serde_json::json;

/// All that there is to hear.
fn heard(listener: &mut Listener) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        match listener.next_page(3, Some(ms(0))) {
            Ok(page) => all.extend(page.into_iter().map(|message| message.payload)),
            Err(Error::Timeout) => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

fn count(store: &Store, key: &str) -> Option<String> {
    store.dict("__events__").unwrap().get(key).unwrap()
}

both! {
    fn each_write_is_heard_with_what_it_wrote(files: &Files) {
        let (store, writer) = (files.open(), files.open());
        let mut set = store.on("dict:config", "set").unwrap();
        let mut del = store.on("dict:config", "del").unwrap();
        let mut clear = store.on("dict:config", "clear").unwrap();
        let mut put = store.on("queue:jobs", "put").unwrap();
        let mut get = store.on("queue:jobs", "get").unwrap();
        let (config, jobs) = (writer.dict("config").unwrap(), writer.queue("jobs").unwrap());
        config.set("a", "1", None).unwrap();
        config.set("é \"\\\n\u{1}", "2", None).unwrap();
        writer.dict("other").unwrap().set("a", "1", None).unwrap();
        config.delete("a").unwrap();
        config.delete("never there").unwrap();
        config.clear().unwrap();
        config.clear().unwrap();
        jobs.put("1", 0.0).unwrap();
        jobs.try_get().unwrap();
        jobs.try_get().unwrap();
        assert_eq!(heard(&mut set), [r#"{"key":"a"}"#, r#"{"key":"é \"\\\n\u0001"}"#]);
        assert_eq!(heard(&mut del), [r#"{"key":"a"}"#]);
        assert_eq!(heard(&mut clear), ["{}"]);
        assert_eq!(heard(&mut put), ["{}"]);
        assert_eq!(heard(&mut get), ["{}"]);
        assert_eq!(heard(&mut set), Vec::<String>::new());
    }

    fn where_nobody_listens_nothing_is_published(files: &Files) {
        let store = files.open();
        let dict = store.dict("config").unwrap();
        let events = store.channel("__beaver_events__").unwrap();
        dict.set("a", "1", None).unwrap();
        let first = store.on("dict:config", "set").unwrap();
        let second = store.on("dict:config", "set").unwrap();
        assert_eq!(count(&store, "dict:config:set").as_deref(), Some("2"));
        dict.delete("a").unwrap();
        store.dict("other").unwrap().set("a", "1", None).unwrap();
        assert_eq!(events.len().unwrap(), 0);
        first.close().unwrap();
        assert_eq!(count(&store, "dict:config:set").as_deref(), Some("1"));
        dict.set("b", "1", None).unwrap();
        assert_eq!(events.len().unwrap(), 1);
        drop(second);
        assert_eq!(count(&store, "dict:config:set"), None);
        dict.set("c", "1", None).unwrap();
        assert_eq!(events.len().unwrap(), 1);
        // Somebody counted to 0, or wrote nonsense.
        for value in ["0", "-1", "\"x\"", "null"] {
            store.dict("__events__").unwrap().set("dict:config:set", value, None).unwrap();
            dict.set("d", "1", None).unwrap();
            assert_eq!(events.len().unwrap(), 1, "{value}");
        }
        let mut third = store.on("dict:config", "set").unwrap();
        assert_eq!(count(&store, "dict:config:set").as_deref(), Some("1"));
        dict.set("e", "1", None).unwrap();
        assert_eq!(heard(&mut third), [r#"{"key":"e"}"#]);
    }

    fn an_event_is_part_of_its_write(files: &Files) {
        let (store, writer) = (files.open(), files.open());
        let mut listener = store.on("dict:d", "set").unwrap();
        let dict = writer.dict("d").unwrap();
        let transaction = writer.begin().unwrap();
        dict.set("a", "1", None).unwrap();
        transaction.rollback().unwrap();
        assert_eq!(heard(&mut listener), Vec::<String>::new());
        let transaction = writer.begin().unwrap();
        dict.set("b", "1", None).unwrap();
        assert_eq!(heard(&mut listener), Vec::<String>::new());
        dict.set("c", "1", None).unwrap();
        transaction.commit().unwrap();
        assert_eq!(heard(&mut listener), [r#"{"key":"b"}"#, r#"{"key":"c"}"#]);
    }

    fn a_listener_is_woken_and_times_out(files: &Files) {
        let store = files.open();
        let mut listener = store.on("dict:d", "set").unwrap();
        let start = std::time::Instant::now();
        assert_eq!(listener.next_page(1, Some(ms(30))).unwrap_err(), Error::Timeout);
        assert!(start.elapsed() >= ms(30));
        let mut noise = store.on("dict:noise", "set").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let store = files.open();
                store.dict("noise").unwrap().set("x", "1", None).unwrap();
                store.dict("d").unwrap().set("y", "1", None).unwrap();
            });
            assert_eq!(listener.next_page(1, Some(s(60))).unwrap()[0].payload, r#"{"key":"y"}"#);
        });
        assert_eq!(heard(&mut noise), [r#"{"key":"x"}"#]);
        assert!(matches!(listener.next_page(0, None), Err(Error::InvalidArgument(_))));
    }

    fn one_may_emit_events_of_ones_own(files: &Files) {
        let (store, other) = (files.open(), files.open());
        assert!(!store.emit("app", "ready", "{}").unwrap());
        let mut listener = other.on("app", "ready").unwrap();
        assert!(store.emit("app", "ready", r#"{ "at" : [1, 2.5, "é", null] }"#).unwrap());
        assert!(!store.emit("app", "gone", "{}").unwrap());
        assert_eq!(heard(&mut listener), [r#"{"at":[1,2.5,"é",null]}"#]);
        for payload in ["1", "[]", "null", "{", "", r#"{"k": "\ud83d"}"#, r#"{"k": NaN}"#] {
            assert!(matches!(store.emit("app", "ready", payload), Err(Error::InvalidJson(_))), "{payload}");
        }
        let long = "x".repeat(65_536);
        for (topic, event) in [("", "e"), ("t", ""), ("a\0b", "e"), ("t", "a\0b"), (long.as_str(), "e")] {
            assert!(matches!(store.emit(topic, event, "{}"), Err(Error::InvalidArgument(_))));
            assert!(matches!(store.on(topic, event), Err(Error::InvalidArgument(_))));
        }
        assert_eq!(heard(&mut listener), Vec::<String>::new());
        let transaction = store.begin().unwrap();
        assert!(store.emit("app", "ready", "{}").unwrap());
        assert!(matches!(store.on("app", "ready"), Err(Error::InTransaction)));
        transaction.rollback().unwrap();
        assert_eq!(heard(&mut listener), Vec::<String>::new());
    }

    // A count without the channel's table: whoever made it had no need of that.
    fn a_write_finds_the_channel_or_makes_it(files: &Files) {
        let store = files.open();
        store.dict("__events__").unwrap().set("dict:d:set", "1", None).unwrap();
        let dict = store.dict("d").unwrap();
        let transaction = store.begin().unwrap();
        dict.set("a", "1", None).unwrap();
        transaction.rollback().unwrap();
        dict.set("b", "1", None).unwrap();
        dict.set("c", "1", None).unwrap();
        assert_eq!(store.channel("__beaver_events__").unwrap().len().unwrap(), 2);
    }

    fn a_listener_that_ends_in_a_transaction_is_uncounted_after_it(files: &Files) {
        let store = files.open();
        let (first, second) = (store.on("dict:d", "set").unwrap(), store.on("dict:d", "set").unwrap());
        let transaction = store.begin().unwrap();
        assert_eq!(first.close().unwrap_err(), Error::InTransaction);
        drop(second);
        transaction.rollback().unwrap();
        assert_eq!(count(&store, "dict:d:set"), None);
    }

    fn counting_waits_for_whoever_has_the_registry_locked(files: &Files) {
        let store = files.open();
        let options = Options { guard_mode: GuardMode::Advisory, lock_wait: ms(30), ..Options::default() };
        let other = files.open_with(&options).unwrap();
        let registry = store.dict("__events__").unwrap();
        registry.acquire(&beaver_tests::LockOptions::timeout(s(10))).unwrap();
        assert!(matches!(other.on("dict:d", "set"), Err(Error::Locked(_))));
        registry.release().unwrap();
        let _listener = other.on("dict:d", "set").unwrap();
        assert_eq!(count(&store, "dict:d:set").as_deref(), Some("1"));
    }
}

const PROCESS: &str = env!("CARGO_BIN_EXE_beaver-test-process");

// The reference's count stays for ever.
#[test]
fn the_listeners_of_killed_instances_are_uncounted_by_the_next() {
    let files = beaver_tests::Files::new(System::Component);
    let store = files.open();
    let _alive = store.on("dict:d", "set").unwrap();
    let mut process = Process::start(PROCESS, System::Component, &files.database());
    for _ in 0..3 {
        process.call(json!({"op": "on", "topic": "dict:d", "event": "set"}));
    }
    process.call(json!({"op": "on", "topic": "dict:other", "event": "set"}));
    assert_eq!(count(&store, "dict:d:set").as_deref(), Some("4"));
    process.kill();
    let mut listener = None;
    eventually("its claim is gone", || {
        listener = Some(store.on("app", "ready").unwrap());
        count(&store, "dict:d:set").as_deref() == Some("1")
    });
    assert_eq!(count(&store, "dict:other:set"), None);
    assert!(listener.is_some());
}
