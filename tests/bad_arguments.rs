//! Bad input gets a typed error that says what is wrong, and changes nothing.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{Error, LockOptions, Options, Store, both, ms, s};
use std::time::Duration;

fn is_invalid<T: std::fmt::Debug>(result: Result<T, Error>) {
    match result {
        Err(Error::InvalidArgument(reason)) => assert!(reason.len() > 10, "{reason}"),
        other => panic!("{other:?}"),
    }
}

both! {
    fn names(files: &Files) {
        let store = files.open();
        for name in ["", "a\0b", "\0", &"n".repeat(1025), &"n".repeat(1 << 20)] {
            is_invalid(store.dict(name));
            is_invalid(store.queue(name));
            is_invalid(store.blob(name));
            is_invalid(store.list(name));
            is_invalid(store.lock(name));
        }
        for name in ["x", " ", "a/b\\c", "'; DROP TABLE beaver_dicts; --", "näme 😀", &"n".repeat(1024)] {
            let dict = store.dict(name).unwrap();
            dict.set("k", "1", None).unwrap();
            assert_eq!(dict.len().unwrap(), 1);
            store.queue(name).unwrap().put("1", 0.0).unwrap();
            store.blob(name).unwrap().put("k", b"1", None).unwrap();
            store.list(name).unwrap().push("1").unwrap();
            store.lock(name).unwrap().acquire(&LockOptions::timeout(s(1))).unwrap();
        }
    }

    fn keys(files: &Files) {
        let store = files.open();
        let (dict, blob) = (store.dict("d").unwrap(), store.blob("b").unwrap());
        for key in ["a\0b", &"k".repeat(65_537), &"k".repeat(1 << 20)] {
            is_invalid(dict.set(key, "1", None));
            is_invalid(dict.get(key));
            is_invalid(dict.contains(key));
            is_invalid(dict.delete(key));
            is_invalid(dict.pop(key));
            is_invalid(blob.put(key, b"1", None));
            is_invalid(blob.get(key));
            is_invalid(blob.read(key, 0, 1));
            is_invalid(blob.size(key));
            is_invalid(blob.metadata(key));
            is_invalid(blob.contains(key));
            is_invalid(blob.delete(key));
            is_invalid(blob.reader(key));
            is_invalid(blob.writer(key));
        }
        for key in ["", "é\n\"\\", &"k".repeat(65_536)] {
            dict.set(key, "1", None).unwrap();
            assert!(dict.contains(key).unwrap());
            blob.put(key, b"1", None).unwrap();
            assert!(blob.contains(key).unwrap());
        }
        assert_eq!(dict.len().unwrap(), 3);
        assert_eq!(blob.len().unwrap(), 3);
    }

    fn values(files: &Files) {
        let store = files.open();
        let (dict, queue) = (store.dict("d").unwrap(), store.queue("q").unwrap());
        let list = store.list("l").unwrap();
        list.push("1").unwrap();
        for value in ["", "{", "nope", "NaN", "Infinity", "[1,]", "\"\\ud8\"", "1 1", "\0"] {
            assert!(matches!(dict.set("k", value, None), Err(Error::InvalidJson(_))), "{value}");
            assert!(matches!(queue.put(value, 0.0), Err(Error::InvalidJson(_))), "{value}");
            for result in [list.push(value), list.prepend(value), list.insert(1, value), list.set(0, value)] {
                assert!(matches!(result, Err(Error::InvalidJson(_))), "{value}");
            }
            assert!(matches!(list.contains(value), Err(Error::InvalidJson(_))), "{value}");
        }
        let blob = store.blob("b").unwrap();
        let mut writer = blob.writer("k").unwrap();
        for value in ["", "{", "NaN", "\0"] {
            assert!(matches!(blob.put("k", b"1", Some(value)), Err(Error::InvalidJson(_))), "{value}");
            assert!(matches!(writer.finish(Some(value)), Err(Error::InvalidJson(_))), "{value}");
        }
        assert!(!blob.contains("k").unwrap());
        writer.finish(Some("1")).unwrap();
        let deep = "[".repeat(100_000);
        assert!(matches!(dict.set("k", &deep, None), Err(Error::InvalidJson(_))));
        let huge = format!("\"{}\"", "x".repeat(65 << 20));
        is_invalid(dict.set("k", &huge, None));
        is_invalid(list.push(&huge));
        assert_eq!(dict.len().unwrap(), 0);
        assert_eq!(queue.len().unwrap(), 0);
        assert_eq!(list.len().unwrap(), 1);
        dict.set("k", "1", None).unwrap();
    }

    fn numbers_and_durations(files: &Files) {
        let store = files.open();
        let (dict, queue, lock) =
            (store.dict("d").unwrap(), store.queue("q").unwrap(), store.lock("l").unwrap());
        is_invalid(queue.put("1", f64::NAN));
        is_invalid(queue.put("1", -f64::NAN));
        is_invalid(dict.set("k", "1", Some(Duration::ZERO)));
        is_invalid(lock.try_acquire(Some(Duration::ZERO)));
        is_invalid(lock.acquire(&LockOptions::timeout(s(1)).ttl(Duration::ZERO)));
        is_invalid(queue.get_batch(0, Some(ms(0))));
        // As long as it gets: for ever, not an overflow.
        dict.set("k", "1", Some(Duration::MAX)).unwrap();
        assert!(dict.contains("k").unwrap());
        lock.acquire(&LockOptions::timeout(Duration::MAX).ttl(Duration::MAX)).unwrap();
        lock.renew(Some(Duration::MAX)).unwrap();
        lock.release().unwrap();
        queue.put("1", f64::MIN_POSITIVE).unwrap();
        assert_eq!(queue.get(Some(Duration::MAX)).unwrap().data, "1");
    }

    fn sizes(files: &Files) {
        let blob = files.open().blob("b").unwrap();
        is_invalid(blob.put("k", &vec![0; (64 << 20) + 1], None));
        is_invalid(blob.read("k", 0, (64 << 20) + 1));
        let mut writer = blob.writer("k").unwrap();
        is_invalid(writer.write(&vec![0; (4 << 20) + 1]));
        writer.write(&vec![0; 4 << 20]).unwrap();
        writer.finish(None).unwrap();
        assert_eq!(blob.size("k").unwrap(), Some(4 << 20));
        let mut reader = blob.reader("k").unwrap().unwrap();
        is_invalid(reader.read_at(0, 0));
        assert!(!reader.read_at(0, u32::MAX).unwrap().is_empty());
        is_invalid(blob.key_pages(0));
    }

    fn database_names(files: &Files) {
        for name in ["file:app.db?mode=memory", ":memory:", "x?cache=shared"] {
            // A name is a name: whatever opens is a file of that very name.
            let path = files.directory().join(name);
            if let Ok(store) = Store::open(files.system, &path, &Options::default()) {
                store.dict("d").unwrap().set("k", "1", None).unwrap();
                assert!(path.exists(), "{name}");
            }
        }
    }
}
