//! Channels shared with Python.

use beaver_tests::{Error, Message, Process, Subscription, both, ms, s};
use serde_json::{Value, json};

use super::{python_sqlite, values};

fn call(python: &mut Process, method: &str, args: &Value) -> Value {
    python
        .call(json!({"op": "call", "kind": "channel", "name": "c", "method": method, "args": args}))
}

fn payloads(messages: &[Message]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.payload.as_str())
        .collect()
}

/// The next `count` messages but for Python's own probes.
fn receive(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut received = Vec::new();
    while received.len() < count {
        let page = subscription.next_page(1000, Some(s(60))).unwrap();
        received.extend(
            page.into_iter()
                .map(|message| message.payload)
                .filter(|text| text != "\"probe\""),
        );
    }
    assert_eq!(received.len(), count);
    received
}

both! {
    fn python_hears_what_we_publish(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        let channel = store.channel("c").unwrap();
        python.call(json!({"op": "subscribe", "name": "c"}));
        for value in values() {
            channel.publish(&value.to_string()).unwrap();
        }
        let transaction = store.begin().unwrap();
        for n in 0..50 {
            channel.publish(&n.to_string()).unwrap();
        }
        transaction.commit().unwrap();
        channel.publish("\"end\"").unwrap();
        let mut expected = values();
        expected.extend((0..50).map(|n| json!(n)));
        expected.push(json!("end"));
        assert_eq!(python.call(json!({"op": "heard", "name": "c", "count": expected.len()})), json!(expected));
    }

    fn we_hear_what_python_publishes(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        let channel = store.channel("c").unwrap();
        call(&mut python, "publish", &json!(["before"]));
        let mut subscription = channel.subscribe(None).unwrap();
        for value in values() {
            call(&mut python, "publish", &json!([value]));
            let text = python.call(json!({"op": "dumps", "text": value.to_string()}));
            assert_eq!(payloads(&subscription.next_page(10, Some(s(60))).unwrap()), [text.as_str().unwrap()]);
        }
        call(&mut python, "clear", &json!([]));
        assert_eq!(channel.len().unwrap(), 0);
        call(&mut python, "publish", &json!(["after"]));
        assert_eq!(payloads(&subscription.next_page(10, Some(s(60))).unwrap()), ["\"after\""]);
        assert_eq!(channel.prune(f64::INFINITY).unwrap(), 1);
        assert_eq!(python.call(json!({"op": "names", "property": "channels"})), json!([]));
    }

    // Python takes its time before it inserts: another's later message can be
    // committed before. Python's own subscribers miss the first one then.
    fn a_message_that_comes_late_is_not_missed(files: &Files) {
        let store = files.open();
        let channel = store.channel("c").unwrap();
        let mut subscription = channel.subscribe(None).unwrap();
        channel.publish("1").unwrap();
        assert_eq!(payloads(&subscription.next_page(10, Some(s(60))).unwrap()), ["1"]);
        python_sqlite(files, "import sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
c.execute('INSERT INTO beaver_pubsub_log VALUES (?, ?, ?)', (time.time() - 5, 'c', '2'))");
        channel.publish("3").unwrap();
        assert_eq!(payloads(&subscription.next_page(10, Some(s(60))).unwrap()), ["2", "3"]);
        assert_eq!(subscription.next_page(10, Some(ms(0))).unwrap_err(), Error::Timeout);
        assert_eq!(payloads(&channel.history_pages(None, None, 10).unwrap().concat()), ["2", "1", "3"], "by their stamps");
    }

    fn all_publish_at_once_and_nothing_is_lost(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let store = files.open();
        let (channel, dict) = (store.channel("c").unwrap(), store.dict("d").unwrap());
        let mut subscription = channel.subscribe(None).unwrap();
        // Python publishes an event with each of these, on another channel.
        let _listener = store.on("dict:d", "set").unwrap();
        for n in 0..40 {
            python.send(&json!({"op": "call", "kind": "channel", "name": "c", "method": "publish", "args": [n]}));
            channel.publish(&format!("\"{n}\"")).unwrap();
            dict.set("n", &n.to_string(), None).unwrap();
        }
        for _ in 0..40 {
            assert_eq!(python.answer(), json!({"ok": null}));
        }
        let received = receive(&mut subscription, 80);
        let ours: Vec<String> = (0..40).map(|n| format!("\"{n}\"")).collect();
        let theirs: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let of = |sender: &[String]| received.iter().filter(|text| sender.contains(text)).cloned().collect::<Vec<_>>();
        assert_eq!((of(&ours), of(&theirs)), (ours, theirs));
    }
}
