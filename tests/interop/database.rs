//! What is in a file, compared with what Python says.

use beaver_tests::{ManagerKind, Process, both};
use serde_json::json;

both! {
    fn what_python_wrote_is_listed(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let mut call = |kind: &str, name: &str, method: &str, args: serde_json::Value| {
            python.call(json!({"op": "call", "kind": kind, "name": name, "method": method, "args": args}))
        };
        call("dict", "dict", "set", json!(["k", 1]));
        call("dict", "d", "set", json!(["k", 1]));
        call("list", "list", "push", json!([1]));
        call("list", "list", "push", json!([22]));
        call("queue", "queue", "put", json!([1, 0.5]));
        call("blob", "blob", "put", json!(["key", {"$bytes": "AAEC"}, {"type": "x"}]));
        call("log", "log", "log", json!([{"a": 1}]));
        call("channel", "channel", "publish", json!([{"a": 1}]));
        call("collection", "collection", "index", json!([{"$document": {"id": "1", "body": "text"}}]));
        let store = files.open();
        let found = store.manager_pages(false, 3).unwrap().concat();
        let found: Vec<_> = found.iter().map(|entry| (entry.kind, entry.name.as_str(), entry.count)).collect();
        assert_eq!(found, [
            (ManagerKind::Dict, "d", 1),
            (ManagerKind::Dict, "dict", 1),
            (ManagerKind::List, "list", 2),
            (ManagerKind::Queue, "queue", 1),
            (ManagerKind::Collection, "collection", 1),
            (ManagerKind::Blob, "blob", 1),
            (ManagerKind::Log, "log", 1),
            (ManagerKind::Channel, "channel", 1),
        ]);
        // Python means to leave out names that begin with two underscores, but
        // `LIKE '__%'` is any name of two characters or more.
        assert_eq!(python.call(json!({"op": "names", "property": "dicts"})), json!(["d"]));
        assert_eq!(python.call(json!({"op": "names", "property": "lists"})), json!([]));
    }
}
