//! The same file with `beaver-db` 0.20.2, in both directions, for the tables that
//! it shares with 1.3.0. (Its `db.log` fails with a `TypeError` whatever one
//! does, so logs are shared by nobody there; its collections keep other versions
//! of their vectors, which `tests/interop/collection.rs` is about.)

use super::{LockOptions, Process, both, json, ms, s};
use beaver_tests::Error;
use serde_json::Value;

fn call(python: &mut Process, kind: &str, method: &str, args: Value) -> Value {
    python
        .call(json!({"op": "call", "kind": kind, "name": "shared", "method": method, "args": args}))
}

both! {
    fn reads_what_we_write(files: &Files) {
        let store = files.open();
        let Some(mut python) = Process::python_0_20(&files.database()) else { return };
        let value = json!({"é": [1, 2.5, null, "\u{1F600}"]});
        store.dict("shared").unwrap().set("key", &value.to_string(), None).unwrap();
        assert_eq!(call(&mut python, "dict", "get", json!(["key"])), value);
        let list = store.list("shared").unwrap();
        for (index, text) in ["1", "3", "2"].into_iter().enumerate() {
            list.insert(if index == 2 { 1 } else { index as i64 }, text).unwrap();
        }
        assert_eq!(call(&mut python, "list", "__getitem__", json!([{"$slice": [0, 9]}])), json!([1, 2, 3]));
        assert_eq!(call(&mut python, "list", "deque", json!([])), json!(1));
        store.queue("shared").unwrap().put(&value.to_string(), 2.5).unwrap();
        let item = call(&mut python, "queue", "get", json!([false]));
        assert_eq!((&item[0], &item[2]), (&json!(2.5), &value));
        store.blob("shared").unwrap().put("key", b"abc", Some("{\"m\": 1}")).unwrap();
        assert_eq!(
            call(&mut python, "blobs", "get", json!(["key"])),
            json!(["key", {"$bytes": "YWJj"}, {"m": 1}])
        );
        python.call(json!({"op": "subscribe", "name": "shared"}));
        store.channel("shared").unwrap().publish(&value.to_string()).unwrap();
        assert_eq!(python.call(json!({"op": "heard", "name": "shared", "count": 1})), json!([value]));
    }

    fn writes_what_we_read(files: &Files) {
        let Some(mut python) = Process::python_0_20(&files.database()) else { return };
        // It made the file, without the tables that came with 1.x.
        let store = files.open();
        let value = json!({"é": [1, 2.5, null, "\u{1F600}"]});
        let text = python.call(json!({"op": "dumps", "text": value.to_string()}));
        call(&mut python, "dict", "__setitem__", json!(["key", value]));
        assert_eq!(store.dict("shared").unwrap().get("key").unwrap().as_deref(), text.as_str());
        for method in ["push", "prepend"] {
            call(&mut python, "list", method, json!([method]));
        }
        call(&mut python, "list", "insert", json!([1, value]));
        let list = store.list("shared").unwrap();
        assert_eq!(list.get(1).unwrap().as_deref(), text.as_str());
        assert_eq!((list.get(0).unwrap(), list.get(-1).unwrap()), (Some("\"prepend\"".into()), Some("\"push\"".into())));
        assert!(list.contains(&value.to_string()).unwrap());
        call(&mut python, "queue", "put", json!([value, 2.5]));
        let item = store.queue("shared").unwrap().try_get().unwrap().unwrap();
        assert_eq!((item.priority, Some(item.data.as_str())), (2.5, text.as_str()));
        call(&mut python, "blobs", "put", json!(["key", {"$bytes": "YWJj"}, {"m": 1}]));
        let content = store.blob("shared").unwrap().get("key").unwrap().unwrap();
        assert_eq!((content.data.as_slice(), content.metadata.as_deref()), (&b"abc"[..], Some("{\"m\": 1}")));
        let mut subscription = store.channel("shared").unwrap().subscribe(None).unwrap();
        call(&mut python, "channel", "publish", json!([value]));
        let heard = subscription.next_page(10, Some(s(60))).unwrap();
        assert_eq!(Some(heard[0].payload.as_str()), text.as_str());
    }

    fn shares_locks(files: &Files) {
        let Some(mut python) = Process::python_0_20(&files.database()) else { return };
        let store = files.open();
        let lock = store.lock("shared").unwrap();
        lock.acquire(&LockOptions::timeout(s(10))).unwrap();
        python.send(&json!({"op": "call", "kind": "lock", "name": "shared", "method": "acquire", "kwargs": {"timeout": 60, "poll_interval": 0.002}}));
        lock.release().unwrap();
        python.answer();
        assert!(!lock.try_acquire(None).unwrap());
        assert_eq!(lock.acquire(&LockOptions::timeout(ms(30))).unwrap_err(), Error::Timeout);
        call(&mut python, "lock", "release", json!([]));
        lock.acquire(&LockOptions::timeout(s(10))).unwrap();
    }
}
