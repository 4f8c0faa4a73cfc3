//! What each operation must answer on a new database, one client, nothing in the way.

use super::Fault;
use super::talk::{Expected, NOTHING, Talk, judge};
use crate::protocol::{Capability, ErrorCode};
use serde_json::{Value, json};

/// What is done, in words; the request; what must come.
type Row = (&'static str, Value, Expected);

fn is(value: Value) -> Expected {
    Expected::Is(value)
}

const OUT_OF_RANGE: Expected = Expected::Error(&[ErrorCode::OutOfRange]);

/// A value of every kind that JSON has.
fn rich() -> Value {
    json!({"a": [1, 2.5, -7, true, "ü \"quoted\"\n\u{1f9ab}"], "b": {"c": []}, "n": 9_007_199_254_740_991_i64})
}

/// Some operation that changes nothing, and its answer.
pub(super) fn harmless(talk: &Talk) -> Option<(Value, Expected)> {
    let all = [
        (
            Capability::Dict,
            json!({"op": "dict-get", "name": "no-such-dict", "key": "k"}),
            NOTHING,
        ),
        (
            Capability::List,
            json!({"op": "list-items", "name": "no-such-list"}),
            is(json!([])),
        ),
        (
            Capability::Collection,
            json!({"op": "collection-get", "name": "no-such-collection", "key": "x"}),
            NOTHING,
        ),
        (
            Capability::Blob,
            json!({"op": "blob-get", "name": "no-such-store", "key": "k"}),
            NOTHING,
        ),
        (
            Capability::Log,
            json!({"op": "log-read", "name": "no-such-log"}),
            is(json!([])),
        ),
    ];
    let offered = |(capability, ..): &(Capability, Value, Expected)| talk.offers(*capability);
    let (_, request, answer) = all.into_iter().find(offered)?;
    Some((request, answer))
}

/// Tries a capability that one client can show; false if it is not of that kind.
pub(super) fn try_one(talk: &Talk, capability: Capability) -> Result<bool, Fault> {
    let rows = match capability {
        Capability::Dict => dict(),
        Capability::List => list(),
        Capability::Queue => queue(),
        Capability::QueueBatch => queue_batch(),
        Capability::Collection => collection(),
        Capability::Blob => blob(),
        Capability::Log => log(),
        Capability::LogFollow => log_follow(),
        Capability::Channel => {
            channel(talk)?;
            return Ok(true);
        }
        Capability::Transactions => transactions(talk),
        Capability::Certificates => {
            certificates(talk)?;
            return Ok(true);
        }
        _ => return Ok(false),
    };
    for (what, request, expected) in rows {
        talk.expect(0, what, request, &expected)?;
    }
    Ok(true)
}

fn dict() -> Vec<Row> {
    let get = |key: &str| json!({"op": "dict-get", "name": "check", "key": key});
    let set = |value: Value| json!({"op": "dict-set", "name": "check", "key": "k", "value": value});
    let delete = json!({"op": "dict-delete", "name": "check", "key": "k"});
    vec![
        (
            "`dict-get` of a key that was never set",
            get("never"),
            NOTHING,
        ),
        ("`dict-set`", set(rich()), NOTHING),
        ("`dict-get` of a key that was set", get("k"), is(rich())),
        ("`dict-set` of a key that was set", set(json!(2)), NOTHING),
        (
            "`dict-get` of a key that was set again",
            get("k"),
            is(json!(2)),
        ),
        (
            "`dict-get` of the same key in another dictionary",
            json!({"op": "dict-get", "name": "check-2", "key": "k"}),
            NOTHING,
        ),
        (
            "`dict-delete` of a key that is there",
            delete.clone(),
            is(json!(true)),
        ),
        ("`dict-get` of a key that was deleted", get("k"), NOTHING),
        (
            "`dict-delete` of a key that isn't there",
            delete,
            is(json!(false)),
        ),
    ]
}

fn list() -> Vec<Row> {
    let items = || json!({"op": "list-items", "name": "check"});
    let at = |op: &str, index: i64, value: &str| json!({"op": op, "name": "check", "index": index, "value": value});
    let delete = |index: i64| json!({"op": "list-delete", "name": "check", "index": index});
    let push = |value: &str| json!({"op": "list-push", "name": "check", "value": value});
    vec![
        (
            "`list-items` of a list that was never used",
            items(),
            is(json!([])),
        ),
        ("`list-push`", push("b"), NOTHING),
        ("`list-push`", push("d"), NOTHING),
        (
            "`list-insert` at index 0",
            at("list-insert", 0, "a"),
            NOTHING,
        ),
        (
            "`list-insert` before the item at index 2",
            at("list-insert", 2, "c"),
            NOTHING,
        ),
        (
            "`list-items` after pushing \"b\", \"d\" and inserting \"a\" at 0, \"c\" at 2",
            items(),
            is(json!(["a", "b", "c", "d"])),
        ),
        (
            "`list-set` of an item that is there",
            at("list-set", 1, "B"),
            NOTHING,
        ),
        ("`list-delete` of an item that is there", delete(0), NOTHING),
        (
            "`list-items` after setting index 1 to \"B\" and deleting index 0",
            items(),
            is(json!(["B", "c", "d"])),
        ),
        (
            "`list-set` at an index that isn't there",
            at("list-set", 99, "x"),
            OUT_OF_RANGE,
        ),
        (
            "`list-delete` at an index that isn't there",
            delete(99),
            OUT_OF_RANGE,
        ),
        (
            "`list-items` after errors",
            items(),
            is(json!(["B", "c", "d"])),
        ),
    ]
}

fn queue() -> Vec<Row> {
    let put = |value: Value, priority: f64| json!({"op": "queue-put", "name": "check", "value": value, "priority": priority});
    let get = || json!({"op": "queue-get", "name": "check", "timeout_ms": 0});
    vec![
        ("`queue-put`", put(json!("late"), 2.5), NOTHING),
        ("`queue-put`", put(json!("first"), 1.0), NOTHING),
        ("`queue-put`", put(json!("second"), 1.0), NOTHING),
        ("`queue-put`", put(rich(), -1.0), NOTHING),
        (
            "`queue-get` of the item with the least priority",
            get(),
            is(json!({"value": rich(), "priority": -1})),
        ),
        (
            "`queue-get` of the first of two with equal priority",
            get(),
            is(json!({"value": "first", "priority": 1})),
        ),
        (
            "`queue-get` of the second of two with equal priority",
            get(),
            is(json!({"value": "second", "priority": 1})),
        ),
        (
            "`queue-get` of the last item",
            get(),
            is(json!({"value": "late", "priority": 2.5})),
        ),
    ]
}

fn queue_batch() -> Vec<Row> {
    let put =
        |value: u32| json!({"op": "queue-put", "name": "batch", "value": value, "priority": 1});
    let get = |count: u32| json!({"op": "queue-get-batch", "name": "batch", "count": count, "timeout_ms": 0});
    vec![
        ("`queue-put`", put(1), NOTHING),
        ("`queue-put`", put(2), NOTHING),
        ("`queue-put`", put(3), NOTHING),
        (
            "`queue-get-batch` of 4 items where there are 3",
            get(4),
            Expected::Error(&[ErrorCode::Timeout]),
        ),
        (
            "`queue-get-batch` of 2 items, after one that took nothing",
            get(2),
            is(json!([{"value": 1, "priority": 1}, {"value": 2, "priority": 1}])),
        ),
        (
            "`queue-get` after a batch",
            json!({"op": "queue-get", "name": "batch", "timeout_ms": 0}),
            is(json!({"value": 3, "priority": 1})),
        ),
    ]
}

fn collection() -> Vec<Row> {
    let index = |id: &str, text: &str| json!({"op": "collection-index", "name": "check", "key": id, "body": {"text": text, "n": 1}});
    let get = |id: &str| json!({"op": "collection-get", "name": "check", "key": id});
    let connect = |target: &str, label: &str| json!({"op": "collection-connect", "name": "check", "source": "a", "target": target, "label": label});
    let neighbors = |id: &str| json!({"op": "collection-neighbors", "name": "check", "key": id, "label": "likes"});
    let find = |text: &str| json!({"op": "collection-match", "name": "check", "text": text});
    let drop = |id: &str| json!({"op": "collection-drop", "name": "check", "key": id});
    vec![
        (
            "`collection-get` of a document that isn't there",
            get("a"),
            NOTHING,
        ),
        ("`collection-index`", index("a", "beaver dam"), NOTHING),
        ("`collection-index`", index("b", "otter den"), NOTHING),
        ("`collection-index`", index("c", "beaver lodge"), NOTHING),
        (
            "`collection-get` of a document that is there",
            get("a"),
            is(json!({"text": "beaver dam", "n": 1})),
        ),
        (
            "`collection-match` of a word of two documents",
            find("beaver"),
            Expected::Set(&["a", "c"]),
        ),
        ("`collection-connect`", connect("b", "likes"), NOTHING),
        ("`collection-connect`", connect("c", "likes"), NOTHING),
        ("`collection-connect`", connect("c", "fears"), NOTHING),
        (
            "`collection-neighbors`",
            neighbors("a"),
            Expected::Set(&["b", "c"]),
        ),
        (
            "`collection-neighbors` of the end of an edge",
            neighbors("b"),
            is(json!([])),
        ),
        (
            "`collection-index` of a document that is there",
            index("a", "muskrat"),
            NOTHING,
        ),
        (
            "`collection-match` of a word of a document that was replaced",
            find("dam"),
            is(json!([])),
        ),
        (
            "`collection-match` after a replacement",
            find("muskrat"),
            Expected::Set(&["a"]),
        ),
        (
            "`collection-drop` of a document that is there",
            drop("c"),
            Expected::Like(
                "{\"ok\":true}, or null where the system doesn't say",
                |value| value.is_null() || *value == true,
            ),
        ),
        (
            "`collection-drop` of a document that isn't there",
            drop("c"),
            Expected::Like(
                "{\"ok\":false}, or null where the system doesn't say",
                |value| value.is_null() || *value == false,
            ),
        ),
        (
            "`collection-get` of a document that was dropped",
            get("c"),
            NOTHING,
        ),
        (
            "`collection-match` of a document that was dropped",
            find("beaver"),
            is(json!([])),
        ),
        (
            "`collection-neighbors` after one of two was dropped",
            neighbors("a"),
            Expected::Set(&["b"]),
        ),
    ]
}

fn blob() -> Vec<Row> {
    let large = "0123456789".repeat(10_000);
    let get = || json!({"op": "blob-get", "name": "check", "key": "k"});
    let put = |data: &str| json!({"op": "blob-put", "name": "check", "key": "k", "data": data});
    let delete = json!({"op": "blob-delete", "name": "check", "key": "k"});
    vec![
        ("`blob-get` of a key that was never put", get(), NOTHING),
        ("`blob-put` of 100,000 bytes", put(&large), NOTHING),
        ("`blob-get` of 100,000 bytes", get(), is(large.into())),
        ("`blob-put` of a key that is there", put("small"), NOTHING),
        (
            "`blob-get` of a blob that was replaced",
            get(),
            is(json!("small")),
        ),
        (
            "`blob-delete` of a key that is there",
            delete.clone(),
            is(json!(true)),
        ),
        ("`blob-get` of a key that was deleted", get(), NOTHING),
        (
            "`blob-delete` of a key that isn't there",
            delete,
            is(json!(false)),
        ),
    ]
}

fn log() -> Vec<Row> {
    let append = |value: Value| json!({"op": "log-append", "name": "check", "value": value});
    let read = || json!({"op": "log-read", "name": "check"});
    vec![
        (
            "`log-read` of a log that was never used",
            read(),
            is(json!([])),
        ),
        ("`log-append`", append(json!(1)), NOTHING),
        ("`log-append`", append(rich()), NOTHING),
        ("`log-append`", append(json!(1)), NOTHING),
        (
            "`log-read` after three appends",
            read(),
            is(json!([1, rich(), 1])),
        ),
    ]
}

fn log_follow() -> Vec<Row> {
    let append = |value: u32| json!({"op": "log-append", "name": "followed", "value": value});
    vec![
        ("`log-append`", append(1), NOTHING),
        (
            "`log-follow`",
            json!({"op": "log-follow", "name": "followed"}),
            NOTHING,
        ),
        ("`log-append`", append(2), NOTHING),
        (
            "`log-next` after 1 was appended, `log-follow`, and 2 appended",
            json!({"op": "log-next", "name": "followed", "timeout_ms": 5000}),
            is(json!([2])),
        ),
    ]
}

/// Whether a message may be lost just after `channel-subscribe` is for the workloads to show: here
/// it is published again.
fn channel(talk: &Talk) -> Result<(), Fault> {
    let publish = |value: u32| json!({"op": "channel-publish", "name": "check", "value": value});
    let subscribe = json!({"op": "channel-subscribe", "name": "check"});
    let next = json!({"op": "channel-next", "name": "check", "timeout_ms": 1000});
    talk.expect(0, "`channel-publish`", publish(1), &NOTHING)?;
    talk.expect(0, "`channel-subscribe`", subscribe, &NOTHING)?;
    let what = "`channel-next` after 1 was published, `channel-subscribe`, and 2 published";
    let mut answer = Ok(Value::Null);
    for _ in 0..3 {
        talk.expect(0, "`channel-publish`", publish(2), &NOTHING)?;
        let asked = talk.send(Some(0), what, next.clone())?;
        (answer, _) = talk.receive(asked)?;
        if !matches!(&answer, Err(failure) if failure.error == ErrorCode::Timeout) {
            break;
        }
    }
    judge(what, &answer, &is(json!([2])))?;
    Ok(())
}

fn transactions(talk: &Talk) -> Vec<Row> {
    let (begin, commit, rollback) = (
        || json!({"op": "begin"}),
        || json!({"op": "commit"}),
        || json!({"op": "rollback"}),
    );
    let mut rows = vec![
        (
            "`commit` without a transaction",
            commit(),
            Expected::Error(&[ErrorCode::NoTransaction]),
        ),
        (
            "`rollback` without a transaction",
            rollback(),
            Expected::Error(&[ErrorCode::NoTransaction]),
        ),
        ("`begin`", begin(), NOTHING),
        (
            "`begin` in a transaction",
            begin(),
            Expected::Error(&[ErrorCode::InTransaction]),
        ),
        (
            "`commit` of a transaction that did nothing",
            commit(),
            NOTHING,
        ),
    ];
    if talk.offers(Capability::Dict) {
        let set = || json!({"op": "dict-set", "name": "transaction", "key": "k", "value": 1});
        let get = || json!({"op": "dict-get", "name": "transaction", "key": "k"});
        rows.extend([
            ("`begin`", begin(), NOTHING),
            ("`dict-set` in a transaction", set(), NOTHING),
            (
                "`dict-get` in the transaction that set the key",
                get(),
                is(json!(1)),
            ),
            ("`rollback`", rollback(), NOTHING),
            (
                "`dict-get` after the transaction that set the key was rolled back",
                get(),
                NOTHING,
            ),
            ("`begin`", begin(), NOTHING),
            ("`dict-set` in a transaction", set(), NOTHING),
            ("`commit`", commit(), NOTHING),
            (
                "`dict-get` after the transaction that set the key was committed",
                get(),
                is(json!(1)),
            ),
        ]);
    }
    rows
}

fn certificates(talk: &Talk) -> Result<(), Fault> {
    let requests = [
        (
            Capability::Dict,
            json!({"op": "dict-set", "name": "certified", "key": "k", "value": 1}),
        ),
        (
            Capability::Dict,
            json!({"op": "dict-get", "name": "certified", "key": "k"}),
        ),
        (
            Capability::Queue,
            json!({"op": "queue-put", "name": "certified", "value": 1, "priority": 1}),
        ),
        (
            Capability::Queue,
            json!({"op": "queue-get", "name": "certified", "timeout_ms": 1000}),
        ),
    ];
    let mut last = None;
    for (capability, mut request) in requests {
        if !talk.offers(capability) {
            continue;
        }
        let what = format!(
            "`{}` with \"certify\":true",
            request["op"].as_str().unwrap_or_default()
        );
        if let Value::Object(fields) = &mut request {
            fields.insert("certify".into(), true.into());
        }
        let asked = talk.send(Some(0), &what, request)?;
        let (answer, commit) = talk.receive(asked)?;
        if let Err(failure) = answer {
            return Err(format!(
                "{what} must be answered as without, but this driver answered {failure}"
            ));
        }
        let Some(commit) = commit else {
            return Err(format!(
                "{what} must be answered with a `commit`, but this driver's answer has none"
            ));
        };
        if let Some(last) = last.filter(|last| *last >= commit) {
            return Err(format!(
                "{what} was done after the operation with \"commit\":{last}, so its number must \
                 be larger, but this driver answered \"commit\":{commit}"
            ));
        }
        last = Some(commit);
    }
    Ok(())
}
