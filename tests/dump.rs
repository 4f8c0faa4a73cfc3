//! What a dump has, and what loading one does.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{
    Collection, Dump, Error, Files, FullText, IndexOptions, Loader, LockOptions, MatchOptions,
    Options, Store, System, both, ms, s,
};
use proptest::prelude::*;
use std::io::Read as _;

/// The text, without what differs between two dumps of the same contents.
fn contents(dump: &mut Dump, piece: u32) -> String {
    let text = dump.text(piece).unwrap();
    let line = |line: &&str| {
        !line.starts_with("    \"name\": ") && !line.starts_with("    \"dump_date\": ")
    };
    text.lines().filter(line).collect::<Vec<_>>().join("\n")
}

fn dump_of(kind: &str, items: &str) -> String {
    format!("{{\"metadata\": {{\"type\": \"{kind}\"}}, \"items\": {items}}}")
}

fn is_invalid<T: std::fmt::Debug>(result: Result<T, Error>, says: &str) {
    match result {
        Err(Error::InvalidArgument(reason)) => assert!(reason.contains(says), "{reason}"),
        other => panic!("{says}: {other:?}"),
    }
}

/// As many entries as take several pages and batches.
fn fill(store: &Store, name: &str) -> u64 {
    let dict = store.dict(name).unwrap();
    let transaction = store.begin().unwrap();
    for n in 0..700 {
        dict.set(
            &format!("{n:04}"),
            &format!("\"{}\"", "v".repeat(1000)),
            None,
        )
        .unwrap();
    }
    transaction.commit().unwrap();
    700
}

fn index_options() -> IndexOptions {
    IndexOptions {
        full_text: FullText::All,
        fuzzy: true,
    }
}

/// One of each, with the sizes of the pieces in which it goes through.
fn round_trip(mut from: Dump, mut into: Loader, copy: impl Fn() -> Dump, items: u64, piece: u32) {
    let text = from.text(piece).unwrap();
    assert_eq!(into.load(&text, piece as usize).unwrap(), items);
    let before: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("    \"name\"") && !line.starts_with("    \"dump_date\""))
        .collect();
    assert_eq!(contents(&mut copy(), 1 << 20), before.join("\n"));
}

const VALUES: [&str; 9] = [
    "null",
    "\"é€😀\\ud800\\u0000\\\"\"",
    "[]",
    "{}",
    "{\"a\": {\"b\": [1, [], {}, [[2]]], \"\": null}, \"c\": [\"]\", \"}\"]}",
    "123456789012345678901234567890",
    "-0.0",
    "1.5e+300",
    "true",
];

both! {
    fn the_text_is_pythons(files: &Files) {
        let store = files.open();
        let dict = store.dict("näme \"d\"").unwrap();
        let text = dict.dump().unwrap().text(1000).unwrap();
        let date = text.split("\"dump_date\": \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert!(date.ends_with("+00:00"), "{date}");
        assert_eq!(text, format!("{{
  \"metadata\": {{
    \"type\": \"Dict\",
    \"name\": \"n\\u00e4me \\\"d\\\"\",
    \"count\": 0,
    \"dump_date\": \"{date}\",
    \"encrypted\": false
  }},
  \"items\": []
}}"));
        dict.set("a", "[1, {\"b\": []}]", None).unwrap();
        dict.set("é\n", "null", None).unwrap();
        let text = dict.dump().unwrap().text(1000).unwrap();
        assert!(text.ends_with("\"encrypted\": false
  },
  \"items\": [
    {
      \"key\": \"a\",
      \"value\": [
        1,
        {
          \"b\": []
        }
      ]
    },
    {
      \"key\": \"\\u00e9\\n\",
      \"value\": null
    }
  ]
}"), "{text}");
        assert!(matches!(dict.dump().unwrap().next_chunk(0), Err(Error::InvalidArgument(_))));
    }

    fn what_a_dump_has_comes_back_in_pieces_of_any_size(files: &Files) {
        let store = files.open();
        let (dict, list) = (store.dict("d").unwrap(), store.list("l").unwrap());
        let (queue, log) = (store.queue("q").unwrap(), store.log("g").unwrap());
        let (blob, collection) = (store.blob("b").unwrap(), store.collection("c").unwrap());
        for (n, value) in VALUES.into_iter().enumerate() {
            let key = format!("{n} é😀\n");
            dict.set(&key, value, Some(s(3600)).filter(|_| n == 0)).unwrap();
            list.push(value).unwrap();
            queue.put(value, [0.5, -3.0, f64::INFINITY][n % 3]).unwrap();
            log.append(value, Some(n as f64 * 1e9 + 0.1)).unwrap();
            blob.put(&key, &vec![n as u8; n * 7], Some(value).filter(|_| n % 2 == 0)).unwrap();
            let embedding = [0.1, n as f32, f32::MIN_POSITIVE, 1e30];
            collection.index(Some(&key), Some(value), Some(&embedding[..]).filter(|_| n > 1), &index_options()).unwrap();
        }
        dict.set("", "1", None).unwrap();
        blob.put("", b"", None).unwrap();
        for piece in [1, 2, 7, 100, 1 << 20] {
            let (to, other) = (format!("to {piece}"), files.open());
            let (d, l) = (other.dict(&to).unwrap(), other.list(&to).unwrap());
            let (q, g) = (other.queue(&to).unwrap(), other.log(&to).unwrap());
            let (b, c) = (other.blob(&to).unwrap(), other.collection(&to).unwrap());
            round_trip(dict.dump().unwrap(), d.loader().unwrap(), || d.dump().unwrap(), 10, piece);
            round_trip(list.dump().unwrap(), l.loader().unwrap(), || l.dump().unwrap(), 9, piece);
            round_trip(queue.dump().unwrap(), q.loader().unwrap(), || q.dump().unwrap(), 9, piece);
            round_trip(log.dump().unwrap(), g.loader().unwrap(), || g.dump().unwrap(), 9, piece);
            round_trip(blob.dump().unwrap(), b.loader().unwrap(), || b.dump().unwrap(), 10, piece);
            round_trip(collection.dump().unwrap(), c.loader(&index_options()).unwrap(), || c.dump().unwrap(), 9, piece);
        }
    }

    fn expired_entries_are_not_in_it_and_none_expires_in_the_middle(files: &Files) {
        let store = files.open();
        let dict = store.dict("d").unwrap();
        dict.set("gone", "1", Some(ms(1))).unwrap();
        beaver_tests::eventually("expiry", || dict.get("gone").unwrap().is_none());
        let count = fill(&store, "d");
        dict.set("9999", "1", Some(ms(200))).unwrap();
        let mut dump = dict.dump().unwrap();
        let start = dump.next_chunk(1000).unwrap();
        let rest = if start.contains(&format!("\"count\": {},", count + 1)) {
            beaver_tests::eventually("expiry", || dict.get("9999").unwrap().is_none());
            let rest = dump.text(1 << 20).unwrap();
            assert!(rest.contains("\"9999\""));
            rest
        } else {
            // A slow machine: it had expired before.
            assert!(start.contains(&format!("\"count\": {count},")));
            dump.text(1 << 20).unwrap()
        };
        assert!(!rest.contains("\"gone\""));
        // What is loaded never expires.
        let copy = store.dict("copy").unwrap();
        copy.loader().unwrap().load(&(start + &rest), 1000).unwrap();
        assert!(copy.len().unwrap() >= count);
    }

    fn a_change_in_between_is_told_unless_it_is_one_view(files: &Files) {
        let (store, other) = (files.open(), files.open());
        let (dict, theirs) = (store.dict("d").unwrap(), other.dict("d").unwrap());
        let count = fill(&store, "d");
        let mut dump = dict.dump().unwrap();
        dump.next_chunk(1000).unwrap();
        theirs.set("zzz", "1", None).unwrap();
        assert_eq!(dump.text(1 << 20).unwrap_err(), Error::Changed);
        assert_eq!(dump.next_chunk(10).unwrap_err(), Error::Changed);
        // Under the lock nobody can.
        dict.acquire(&LockOptions::timeout(s(60))).unwrap();
        let mut dump = dict.dump().unwrap();
        dump.next_chunk(1000).unwrap();
        let impatient = Options { lock_wait: ms(0), ..Options::default() };
        let late = files.open_with(&impatient).unwrap();
        assert!(matches!(late.dict("d").unwrap().delete("zzz"), Err(Error::Locked(_))));
        assert!(dump.text(1 << 20).is_ok());
        dict.release().unwrap();
        // Nor in a transaction.
        let transaction = store.begin().unwrap();
        dict.delete("zzz").unwrap();
        let text = dict.dump().unwrap().text(1 << 20).unwrap();
        assert!(text.contains(&format!("\"count\": {count},")));
        transaction.rollback().unwrap();
        // What fits into a page is one view always.
        let (small, theirs) = (store.dict("small").unwrap(), other.dict("small").unwrap());
        let mut dump = small.dump().unwrap();
        theirs.set("a", "1", None).unwrap();
        assert!(dump.text(10).unwrap().ends_with("\"items\": []\n}"));
        let mut dump = small.dump().unwrap();
        theirs.set("b", "1", None).unwrap();
        let text = dump.text(10).unwrap();
        assert!(text.contains("\"a\"") && !text.contains("\"b\""), "{text}");
        let mut dump = small.dump().unwrap();
        theirs.clear().unwrap();
        assert!(dump.text(10).unwrap().contains("\"b\""));
    }

    fn a_blob_that_is_gone_is_told(files: &Files) {
        let blob = files.open().blob("b").unwrap();
        blob.put("a", b"1", None).unwrap();
        blob.put("b", b"2", None).unwrap();
        let mut dump = blob.dump().unwrap();
        blob.delete("b").unwrap();
        blob.put("c", b"3", None).unwrap();
        assert_eq!(dump.text(1).unwrap_err(), Error::Changed);
        assert_eq!(dump.next_chunk(1).unwrap_err(), Error::Changed);
        let mut dump = blob.dump().unwrap();
        blob.put("d", b"4", None).unwrap();
        assert!(dump.text(1).unwrap().contains("\"Mw==\""));
    }

    fn a_log_that_goes_on_does_not_disturb_its_dump(files: &Files) {
        let log = files.open().log("l").unwrap();
        for n in 0..600 {
            log.append(&n.to_string(), Some(f64::from(n))).unwrap();
        }
        let mut dump = log.dump().unwrap();
        let start = dump.next_chunk(100).unwrap();
        log.append("\"later\"", None).unwrap();
        let text = start + &dump.text(1 << 20).unwrap();
        assert!(text.contains("\"count\": 600,") && !text.contains("later"));
        // But one that comes into it does.
        let mut dump = log.dump().unwrap();
        dump.next_chunk(100).unwrap();
        log.append("\"early\"", Some(599.5)).unwrap();
        assert_eq!(dump.text(1 << 20).unwrap_err(), Error::Changed);
    }

    fn a_large_blob_goes_through_in_pieces(files: &Files) {
        let store = files.open();
        let blob = store.blob("b").unwrap();
        let data: Vec<u8> = (0..5_000_001_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        blob.put("large", &data, Some("{\"n\": 1}")).unwrap();
        blob.put("small", b"1", None).unwrap();
        let mut dump = blob.dump().unwrap();
        let copy = store.blob("copy").unwrap();
        let mut loader = copy.loader().unwrap();
        loop {
            let chunk = dump.next_chunk(300_000).unwrap();
            if chunk.is_empty() {
                break;
            }
            loader.write(&chunk).unwrap();
        }
        assert_eq!(copy.get("large").unwrap(), None, "not before it is whole");
        assert_eq!(loader.finish().unwrap(), 2);
        let loaded = copy.get("large").unwrap().unwrap();
        assert!(loaded.data == data && loaded.metadata.as_deref() == Some("{\"n\": 1}"));
        assert_eq!(copy.get("small").unwrap().unwrap().data, b"1");
        // Replaced in the middle: neither of the two.
        let mut dump = blob.dump().unwrap();
        dump.next_chunk(1000).unwrap();
        blob.put("large", &data[1..], None).unwrap();
        assert_eq!(dump.text(1 << 20).unwrap_err(), Error::Changed);
    }

    fn members_come_in_any_order_and_the_last_counts(files: &Files) {
        let store = files.open();
        let blob = store.blob("b").unwrap();
        let large = "QUJD".repeat(500_000);
        let text = dump_of("BlobStore", &format!(
            "[{{\"data_b64\": \"{large}\", \"x\": [{{}}], \"data_b64\": \"WQ\\u003d=\"}}]"
        ));
        is_invalid(blob.loader().unwrap().load(&text, 100_000), "base64");
        let text = format!(
            "{{\"items\": [{{\"data_b64\": \"{large}\", \"data_b64\": \"\\/w==\", \"key\": \"x\", \"key\": \"k\"}},
              {{\"data_b64\": \"{large}\", \"metadata\": [NaN], \"key\": \"large\"}}],
              \"metadata\": {{\"count\": 7, \"type\": \"List\", \"inner\": {{\"type\": \"x\"}}, \"type\": \"BlobStore\"}}}}",
        );
        assert_eq!(blob.loader().unwrap().load(&text, 100_000).unwrap(), 2);
        assert_eq!(blob.get("k").unwrap().unwrap().data, [0xff]);
        let loaded = blob.get("large").unwrap().unwrap();
        assert_eq!((loaded.data.len(), loaded.metadata.as_deref()), (1_500_000, Some("[NaN]")));
        assert_eq!(blob.len().unwrap(), 2);
    }

    fn constants_of_python_come_and_go(files: &Files) {
        let store = files.open();
        let dict = store.dict("d").unwrap();
        let text = dump_of("Dict", "[{\"key\": \"k\", \"value\": [NaN, Infinity, -Infinity, 1e999, 1.0, -0, \"é\"]}]");
        assert_eq!(dict.loader().unwrap().load(&text, 1).unwrap(), 1);
        assert_eq!(dict.get("k").unwrap().as_deref(), Some("[NaN, Infinity, -Infinity, Infinity, 1.0, 0, \"\\u00e9\"]"));
        assert!(dict.dump().unwrap().text(10).unwrap().contains("        -Infinity,\n"));
        let collection = store.collection("c").unwrap();
        let text = dump_of("Collection", "[{\"id\": \"a\", \"embedding\": null, \"body\": {\"x\": NaN, \"t\": \"beaver\"}}]");
        assert_eq!(collection.loader(&IndexOptions::default()).unwrap().load(&text, 5).unwrap(), 1);
        assert_eq!(collection.get("a").unwrap().unwrap().body, "{\"x\": NaN, \"t\": \"beaver\"}");
        assert_eq!(collection.match_text("beaver", &MatchOptions::default()).unwrap().len(), 1);
    }

    fn what_is_no_dump_of_it_is_refused_and_changes_nothing(files: &Files) {
        let store = files.open();
        let (dict, list) = (store.dict("d").unwrap(), store.list("l").unwrap());
        let (queue, log) = (store.queue("q").unwrap(), store.log("g").unwrap());
        let (blob, collection) = (store.blob("b").unwrap(), store.collection("c").unwrap());
        let good = dump_of("Dict", "[{\"key\": \"k\", \"value\": {\"a\": [1, \"é\"]}}]");
        for end in (0..good.len()).filter(|end| good.is_char_boundary(*end)) {
            let result = dict.loader().unwrap().load(&good[..end], 10);
            assert!(matches!(result, Err(Error::InvalidJson(_))), "{end}: {result:?}");
        }
        for bad in [&format!("{good} x"), &format!("{good}{{}}"), "not JSON", "\u{feff}{}"] {
            let result = dict.loader().unwrap().load(bad, 10);
            assert!(matches!(result, Err(Error::InvalidJson(_))), "{bad}: {result:?}");
        }
        let dict_load = |text: &str| dict.loader().unwrap().load(text, 10);
        is_invalid(dict_load(&dump_of("Queue", "[]")), "the dump of a Queue, not of a Dict");
        is_invalid(dict_load("{\"items\": []}"), "metadata");
        is_invalid(dict_load("{\"metadata\": {\"type\": \"Dict\"}}"), "items");
        is_invalid(dict_load("[]"), "object");
        for metadata in ["null", "{}", "[{\"type\": \"Dict\"}]", "{\"type\": 1}", "{\"a\": {\"type\": \"Dict\"}}"] {
            is_invalid(dict_load(&format!("{{\"metadata\": {metadata}, \"items\": []}}")), "type");
        }
        let item = |kind: &str, item: &str| dump_of(kind, &format!("[{item}]"));
        for (text, says) in [
            ("{\"value\": 1}", "no member \"key\""),
            ("{\"key\": \"k\"}", "no member \"value\""),
            ("{\"key\": 1, \"value\": 1}", "a string"),
            ("{\"key\": \"\\ud83d\", \"value\": 1}", "surrogate"),
            ("{\"key\": \"\\u0000\", \"value\": 1}", "NUL"),
            ("[]", "an object"),
        ] {
            is_invalid(dict_load(&item("Dict", text)), says);
        }
        let long_key = format!("{{\"key\": \"{}\", \"value\": 1}}", "k".repeat(65_537));
        is_invalid(dict_load(&item("Dict", &long_key)), "at most");
        let deep = |depth: usize| format!("{{\"key\": \"k\", \"value\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(matches!(dict_load(&item("Dict", &deep(901))), Err(Error::InvalidJson(_))));
        assert!(matches!(dict_load(&item("Dict", &deep(100_000))), Err(Error::InvalidJson(_))));
        is_invalid(dict.loader().unwrap().write(&" ".repeat((1 << 20) + 1)), "at most");
        for text in ["{\"priority\": \"1\", \"timestamp\": 1, \"data\": 1}", "{\"priority\": NaN, \"timestamp\": 1, \"data\": 1}", "{\"priority\": true, \"timestamp\": 1, \"data\": 1}"] {
            is_invalid(queue.loader().unwrap().load(&item("Queue", text), 9), "a priority must be");
        }
        is_invalid(queue.loader().unwrap().load(&item("Queue", "{\"priority\": 1, \"timestamp\": Infinity, \"data\": 1}"), 9), "finite");
        is_invalid(log.loader().unwrap().load(&item("Log", "{\"timestamp\": 1e300, \"data\": 1}"), 9), "years 1 to 9999");
        for text in ["{\"key\": \"k\", \"metadata\": null}", "{\"key\": \"k\", \"data_b64\": null}", "{\"key\": \"k\", \"data_b64\": \"A\"}"] {
            is_invalid(blob.loader().unwrap().load(&item("BlobStore", text), 9), "data_b64");
        }
        for embedding in ["1", "[\"1\"]", "[NaN]", "[]", "{}"] {
            let text = item("Collection", &format!("{{\"id\": \"a\", \"embedding\": {embedding}, \"body\": {{}}}}"));
            is_invalid(collection.loader(&IndexOptions::default()).unwrap().load(&text, 9), "");
        }
        is_invalid(list.loader().unwrap().load(&good, 9), "the dump of a Dict, not of a List");
        assert_eq!((dict.len().unwrap(), list.len().unwrap(), queue.len().unwrap()), (0, 0, 0));
        assert_eq!((log.len().unwrap(), blob.len().unwrap(), collection.len().unwrap()), (0, 0, 0));
        // A loader that failed says so again; one that is finished is.
        let mut loader = dict.loader().unwrap();
        let first = loader.write("]").unwrap_err();
        assert_eq!(loader.write(&good).unwrap_err(), first);
        assert_eq!(loader.finish().unwrap_err(), first);
        let mut loader = dict.loader().unwrap();
        loader.load(&good, 10).unwrap();
        is_invalid(loader.write(" "), "finished");
        is_invalid(loader.finish(), "finished");
        assert_eq!(dict.len().unwrap(), 1);
    }

    fn what_was_loaded_before_an_error_stays_unless_it_is_a_transaction(files: &Files) {
        let store = files.open();
        let count = fill(&store, "d");
        let text = store.dict("d").unwrap().dump().unwrap().text(1 << 20).unwrap();
        let cut = &text[..text.len() - 10];
        let copy = store.dict("copy").unwrap();
        let result = copy.loader().unwrap().load(cut, 10_000);
        assert!(matches!(result, Err(Error::InvalidJson(_))), "{result:?}");
        let loaded = copy.len().unwrap();
        assert!(loaded > 0 && loaded < count, "{loaded}");
        copy.clear().unwrap();
        let transaction = store.begin().unwrap();
        assert!(copy.loader().unwrap().load(cut, 10_000).is_err());
        assert!(copy.len().unwrap() > 0);
        transaction.rollback().unwrap();
        assert_eq!(copy.len().unwrap(), 0);
        let transaction = store.begin().unwrap();
        assert_eq!(copy.loader().unwrap().load(&text, 10_000).unwrap(), count);
        transaction.commit().unwrap();
        assert_eq!(files.open().dict("copy").unwrap().len().unwrap(), count);
    }

    fn it_is_a_write_of_its_handle(files: &Files) {
        let impatient = Options { lock_wait: ms(0), ..Options::default() };
        let (store, other) = (files.open_with(&impatient).unwrap(), files.open());
        let count = fill(&store, "d");
        let text = store.dict("d").unwrap().dump().unwrap().text(1 << 20).unwrap();
        let (copy, theirs) = (store.dict("copy").unwrap(), other.dict("copy").unwrap());
        theirs.acquire(&LockOptions::timeout(s(60))).unwrap();
        // Locked: the piece isn't taken, and nothing is lost.
        let mut loader = copy.loader().unwrap();
        let (start, rest) = text.split_at(400_000);
        loader.write(start).unwrap();
        assert!(matches!(loader.write(rest), Err(Error::Locked(_))));
        assert_eq!(copy.len().unwrap(), 0);
        theirs.release().unwrap();
        loader.write(rest).unwrap();
        theirs.acquire(&LockOptions::timeout(s(60))).unwrap();
        assert!(matches!(loader.finish(), Err(Error::Locked(_))));
        theirs.release().unwrap();
        // Under the handle's own lock, without waiting for itself.
        copy.acquire(&LockOptions::timeout(s(60))).unwrap();
        assert_eq!(loader.finish().unwrap(), count);
        assert_eq!(copy.len().unwrap(), count);
        // The lock ends with its handle, not with the loader.
        let mut loader = copy.loader().unwrap();
        loader.write(start).unwrap();
        drop(copy);
        assert_eq!(store.dict("d").unwrap().len().unwrap(), count);
        assert!(theirs.try_acquire(None).unwrap());
        assert!(matches!(loader.write(rest), Err(Error::Locked(_))));
        theirs.release().unwrap();
        loader.write(rest).unwrap();
        loader.finish().unwrap();
        // A holder whose lock was lost doesn't write.
        let copy = store.dict("copy").unwrap();
        copy.acquire(&LockOptions::timeout(s(60)).ttl(ms(1))).unwrap();
        let mut loader = copy.loader().unwrap();
        loader.write(start).unwrap();
        beaver_tests::eventually("the lock expires", || theirs.try_acquire(None).unwrap());
        assert!(matches!(loader.write(rest), Err(Error::LockLost(_))));
    }

    fn a_dump_and_a_loader_outlive_their_handle(files: &Files) {
        let store = files.open();
        store.list("l").unwrap().push("1").unwrap();
        let mut dump = { store.list("l").unwrap().dump().unwrap() };
        let mut loader = { store.list("l").unwrap().loader().unwrap() };
        let text = dump.text(10).unwrap();
        assert_eq!(loader.load(&text, 10).unwrap(), 1);
        assert_eq!(store.list("l").unwrap().len().unwrap(), 2);
    }

    fn each_item_has_its_event(files: &Files) {
        let store = files.open();
        let mut set = store.on("dict:d", "set").unwrap();
        let mut push = store.on("list:l", "push").unwrap();
        let mut put = store.on("queue:q", "put").unwrap();
        let mut index = store.on("collection:c", "index").unwrap();
        let items = "[{\"key\": \"a\", \"value\": 1}, {\"key\": \"b\", \"value\": 2}]";
        store.dict("d").unwrap().loader().unwrap().load(&dump_of("Dict", items), 9).unwrap();
        store.list("l").unwrap().loader().unwrap().load(&dump_of("List", "[1, 2]"), 9).unwrap();
        let items = "[{\"priority\": 1, \"timestamp\": 1, \"data\": 1}, {\"priority\": 1, \"timestamp\": 2, \"data\": 2}]";
        store.queue("q").unwrap().loader().unwrap().load(&dump_of("Queue", items), 9).unwrap();
        let items = "[{\"id\": \"a\", \"embedding\": null, \"body\": {}}, {\"id\": \"b\", \"embedding\": [1], \"body\": {}}]";
        store.collection("c").unwrap().loader(&IndexOptions::default()).unwrap().load(&dump_of("Collection", items), 9).unwrap();
        for (listener, payloads) in [
            (&mut set, [r#"{"key":"a"}"#, r#"{"key":"b"}"#]),
            (&mut push, ["{}"; 2]),
            (&mut put, ["{}"; 2]),
            (&mut index, [r#"{"id":"a"}"#, r#"{"id":"b"}"#]),
        ] {
            let heard = listener.next_page(10, Some(s(60))).unwrap();
            let heard: Vec<&str> = heard.iter().map(|message| message.payload.as_str()).collect();
            assert_eq!(heard, payloads);
        }
    }

    fn loading_keeps_a_queues_order_and_a_logs_entries(files: &Files) {
        let store = files.open();
        let (queue, log) = (store.queue("q").unwrap(), store.log("g").unwrap());
        queue.put("\"now\"", 1.0).unwrap();
        let items = "[{\"priority\": 1.0, \"timestamp\": 5.5, \"data\": \"old\"}, {\"priority\": 0, \"timestamp\": 7, \"data\": \"first\"}]";
        queue.loader().unwrap().load(&dump_of("Queue", items), 9).unwrap();
        let order: Vec<_> = (0..3).map(|_| queue.try_get().unwrap().unwrap()).collect();
        assert_eq!(order.iter().map(|item| item.data.as_str()).collect::<Vec<_>>(), ["\"first\"", "\"old\"", "\"now\""]);
        assert_eq!((order[1].priority, order[1].timestamp), (1.0, 5.5));
        let items = "[{\"timestamp\": 5, \"data\": 1}, {\"timestamp\": 5.0, \"data\": 2}]";
        for _ in 0..2 {
            log.loader().unwrap().load(&dump_of("Log", items), 9).unwrap();
        }
        let entries = log.entry_pages(10).unwrap().concat();
        assert_eq!(entries.len(), 4);
        assert!(entries.iter().all(|entry| entry.timestamp - 5.0 < 1e-6));
    }

    fn an_encrypted_dictionary_gives_and_takes_plain_text(files: &Files) {
        let store = files.open();
        let dict = store.dict_encrypted("secret", "sesame").unwrap();
        dict.set("k", "[1]", None).unwrap();
        let text = dict.dump().unwrap().text(100).unwrap();
        assert!(text.contains("\"encrypted\": true") && text.contains("        1\n"));
        let plain = store.dict("plain").unwrap();
        plain.loader().unwrap().load(&text, 100).unwrap();
        assert_eq!(plain.get("k").unwrap().as_deref(), Some("[1]"));
        let other = store.dict_encrypted("other", "barley").unwrap();
        other.loader().unwrap().load(&text, 100).unwrap();
        assert_eq!(other.get("k").unwrap().as_deref(), Some("[1]"));
        assert!(!std::fs::read(files.database()).unwrap().windows(5).any(|bytes| bytes == b"other[1]"));
    }

    fn a_document_may_be_without_embedding_and_body(files: &Files) {
        let collection = files.open().collection("c").unwrap();
        let text = dump_of("Collection", "[{\"id\": \"a\"}, {\"id\": \"b\", \"body\": null}]");
        collection.loader(&index_options()).unwrap().load(&text, 9).unwrap();
        let document = collection.get("a").unwrap().unwrap();
        assert_eq!((document.body.as_str(), document.embedding), ("{}", None));
        assert_eq!(collection.len().unwrap(), 2);
    }

    fn a_collection_is_found_by_what_the_options_say(files: &Files) {
        let store = files.open();
        let items = "[{\"id\": \"a\", \"embedding\": [1, 0], \"body\": {\"t\": \"beaver\", \"u\": \"otter\"}}]";
        let load = |name: &str, options: &IndexOptions| -> Collection {
            let collection = store.collection(name).unwrap();
            collection.loader(options).unwrap().load(&dump_of("Collection", items), 9).unwrap();
            collection
        };
        let found = |collection: &Collection, query: &str, fuzziness| {
            let options = MatchOptions { fuzziness, ..MatchOptions::default() };
            collection.match_text(query, &options).unwrap().len()
        };
        let all = load("all", &index_options());
        assert_eq!((found(&all, "otter", 0), found(&all, "beevers", 2)), (1, 1));
        let none = load("none", &IndexOptions { full_text: FullText::Nothing, fuzzy: false });
        assert_eq!(found(&none, "beaver", 0), 0);
        let some = load("some", &IndexOptions { full_text: FullText::Fields(vec!["t".into()]), fuzzy: false });
        assert_eq!((found(&some, "beaver", 0), found(&some, "otter", 0)), (1, 0));
    }
}

#[test]
fn natively_a_dump_is_read_and_a_reader_is_loaded() {
    let files = Files::new(System::Native);
    let db = beaver_core::Database::open(files.database().to_str().unwrap(), &Options::default())
        .unwrap();
    let dict = db.dict("d").unwrap();
    dict.set("é", "[1, \"é\"]", None).unwrap();
    let mut bytes = Vec::new();
    dict.dump().unwrap().read_to_end(&mut bytes).unwrap();
    let text: String = dict.dump().unwrap().collect::<Result<_, _>>().unwrap();
    let without_date = |text: &str| {
        text.lines()
            .filter(|line| !line.contains("dump_date"))
            .collect::<String>()
    };
    assert_eq!(
        without_date(std::str::from_utf8(&bytes).unwrap()),
        without_date(&text)
    );
    // A reader that cuts through characters.
    struct Bytewise<'a>(&'a [u8]);
    impl std::io::Read for Bytewise<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.len().min(buffer.len()).min(1);
            self.0.read(&mut buffer[..count])
        }
    }
    let raw = "{\"metadata\": {\"type\": \"Dict\"}, \"items\": [{\"key\": \"é€😀\", \"value\": \"é€😀\"}]}";
    assert_eq!(dict.load_from(Bytewise(raw.as_bytes())).unwrap(), 1);
    assert_eq!(
        dict.get("é€😀").unwrap().as_deref(),
        Some("\"\\u00e9\\u20ac\\ud83d\\ude00\"")
    );
    for bad in [&b"{\"\xff\": 1}"[..], b"{\"\xc3", b"\xe2\x82"] {
        assert!(matches!(
            dict.load_from(Bytewise(bad)),
            Err(Error::InvalidJson(_))
        ));
    }
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("broken"))
        }
    }
    assert!(matches!(dict.load_from(Broken), Err(Error::Failed { .. })));
}

/// The component holds neither a blob, nor its text, nor what was read ahead as a whole.
#[test]
fn a_blob_of_twice_the_memory_goes_through() {
    use beaver_host::client::OpenOptions;
    use beaver_host::{Grant, Host};

    const MIB: usize = 1 << 20;
    let files = Files::new(System::Component);
    let host = Host::builder()
        .max_instances(1)
        .memory_limit_bytes(32 << 20)
        .build()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let grant = Grant::directory(files.directory()).unwrap();
        let i = &mut host.instantiate(grant).await.unwrap();
        let db = i.open("app.db", &OpenOptions::default()).await.unwrap();
        let from = i.blob(&db, "from").await.unwrap();
        let writer = from.writer(i, "x").await.unwrap();
        for n in 0..64 {
            writer.write(i, &vec![n; MIB]).await.unwrap();
        }
        writer.finish(i, None).await.unwrap();
        let to = i.blob(&db, "to").await.unwrap();
        let (dump, loader) = (from.dump(i).await.unwrap(), to.loader(i).await.unwrap());
        loop {
            let chunk = dump.next(i, 1 << 20).await.unwrap();
            if chunk.is_empty() {
                break;
            }
            loader.write(i, &chunk).await.unwrap();
        }
        assert_eq!(loader.finish(i).await.unwrap(), 1);
        assert_eq!(to.size(i, "x").await.unwrap(), Some(64 * MIB as u64));
        for n in [0, 37, 63] {
            let bytes = to.read(i, "x", n * MIB as u64, MIB as u32).await.unwrap();
            assert!(bytes.unwrap().iter().all(|byte| u64::from(*byte) == n));
        }
    });
}

/// Any JSON, printed compactly.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::vec((any::<String>(), inner), 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn anything_comes_back(
        values in prop::collection::vec((any::<String>(), json(), any::<Vec<u8>>()), 0..12),
        piece in 1..300_u32,
    ) {
        let files = Files::new(System::Native);
        let store = files.open();
        let (dict, blob) = (store.dict("d").unwrap(), store.blob("b").unwrap());
        let list = store.list("l").unwrap();
        for (key, value, data) in &values {
            let (key, value) = (key.replace('\0', ""), value.to_string());
            dict.set(&key, &value, None).unwrap();
            list.push(&value).unwrap();
            blob.put(&key, data, Some(&value)).unwrap();
        }
        let (d, b, l) = (store.dict("to").unwrap(), store.blob("to").unwrap(), store.list("to").unwrap());
        round_trip(dict.dump().unwrap(), d.loader().unwrap(), || d.dump().unwrap(), dict.len().unwrap(), piece);
        round_trip(blob.dump().unwrap(), b.loader().unwrap(), || b.dump().unwrap(), blob.len().unwrap(), piece);
        round_trip(list.dump().unwrap(), l.loader().unwrap(), || l.dump().unwrap(), list.len().unwrap(), piece);
        prop_assert_eq!(list.item_pages(100).unwrap(), l.item_pages(100).unwrap());
        prop_assert_eq!(dict.item_pages(100).unwrap(), d.item_pages(100).unwrap());
    }
}
