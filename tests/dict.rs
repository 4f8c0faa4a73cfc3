//! What a dictionary does.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{Error, both, ms, s};

both! {
    fn set_get_and_replace(files: &Files) {
        let dict = files.open().dict("config").unwrap();
        assert_eq!(dict.get("a").unwrap(), None);
        assert!(!dict.contains("a").unwrap());
        dict.set("a", "{\"x\":1,\"é\":[1.0,2e20]}", None).unwrap();
        assert_eq!(dict.get("a").unwrap().as_deref(), Some("{\"x\": 1, \"\\u00e9\": [1.0, 2e+20]}"));
        dict.set("a", "2", None).unwrap();
        assert_eq!(dict.get("a").unwrap().as_deref(), Some("2"));
        assert!(dict.contains("a").unwrap());
        assert_eq!(dict.len().unwrap(), 1);
    }

    fn delete_and_pop_say_what_was_there(files: &Files) {
        let dict = files.open().dict("config").unwrap();
        assert!(!dict.delete("a").unwrap());
        assert_eq!(dict.pop("a").unwrap(), None);
        dict.set("a", "1", None).unwrap();
        dict.set("b", "2", None).unwrap();
        assert!(dict.delete("a").unwrap());
        assert_eq!(dict.pop("b").unwrap().as_deref(), Some("2"));
        assert_eq!(dict.len().unwrap(), 0);
    }

    fn dictionaries_are_apart(files: &Files) {
        let store = files.open();
        let (a, b) = (store.dict("a").unwrap(), store.dict("b").unwrap());
        a.set("k", "1", None).unwrap();
        b.set("k", "2", None).unwrap();
        assert_eq!(a.clear().unwrap(), 1);
        assert_eq!(a.clear().unwrap(), 0);
        assert_eq!(b.get("k").unwrap().as_deref(), Some("2"));
    }

    fn what_has_expired_is_absent_for_every_method(files: &Files) {
        let dict = files.open().dict("cache").unwrap();
        dict.set("short", "1", Some(ms(1))).unwrap();
        dict.set("long", "2", Some(s(3600))).unwrap();
        beaver_tests::eventually("expiry", || dict.get("short").unwrap().is_none());
        assert!(!dict.contains("short").unwrap());
        assert_eq!(dict.len().unwrap(), 1);
        assert_eq!(dict.key_pages(10).unwrap(), [["long"]]);
        assert_eq!(dict.pop("short").unwrap(), None);
        dict.set("short", "3", Some(ms(1))).unwrap();
        // Without a time to live a new value stays, whatever the old one had.
        dict.set("short", "4", None).unwrap();
        assert_eq!(dict.get("short").unwrap().as_deref(), Some("4"));
        assert_eq!(dict.clear().unwrap(), 2);
    }

    fn iteration_comes_in_key_order_and_bounded_pages(files: &Files) {
        let store = files.open();
        let dict = store.dict("many").unwrap();
        let transaction = store.begin().unwrap();
        let mut keys: Vec<String> = (0..1000).map(|n| format!("key {}", n * 7919 % 1000)).collect();
        keys.extend(["", "é", "\u{1F600}"].map(String::from));
        for key in &keys {
            dict.set(key, &format!("\"{key}\""), None).unwrap();
        }
        transaction.commit().unwrap();
        keys.sort();
        let pages = dict.key_pages(64).unwrap();
        assert!(pages.iter().all(|page| page.len() <= 64));
        assert_eq!(pages.concat(), keys);
        assert_eq!(dict.value_pages(500).unwrap().concat().len(), keys.len());
        let items = dict.item_pages(u32::MAX).unwrap().concat();
        assert_eq!(items.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), keys);
        assert!(matches!(dict.key_pages(0), Err(Error::InvalidArgument(_))));
    }

    fn large_values_come_in_small_pages(files: &Files) {
        let dict = files.open().dict("large").unwrap();
        let value = format!("\"{}\"", "v".repeat(200_000));
        for key in 0..6 {
            dict.set(&key.to_string(), &value, None).unwrap();
        }
        let pages = dict.value_pages(1000).unwrap();
        assert_eq!(pages.concat().len(), 6);
        assert!(pages.iter().all(|page| page.len() <= 2), "a page is at most 256 KiB and a row");
    }

    fn a_page_shows_the_database_as_it_is_then(files: &Files) {
        let (one, two) = (files.open(), files.open());
        let (dict, other) = (one.dict("d").unwrap(), two.dict("d").unwrap());
        for key in ["a", "b", "c"] {
            dict.set(key, "1", None).unwrap();
        }
        assert_eq!(other.key_pages(2).unwrap().concat(), ["a", "b", "c"]);
        other.delete("b").unwrap();
        assert_eq!(dict.key_pages(2).unwrap().concat(), ["a", "c"]);
    }
}
