//! What a channel does.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{Error, Message, OpenMode, Options, both, ms, s};
use std::time::Instant;

fn payloads(messages: &[Message]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.payload.as_str())
        .collect()
}

both! {
    // Found in review: the message behind an endless stamp could not be cleared.
    fn clearing_cures_stamps_of_another_time(files: &Files) {
        let store = files.open();
        let channel = store.channel("c").unwrap();
        let stamp = channel.publish("1").unwrap();
        drop(channel.subscribe(None).unwrap());
        for odd in [f64::INFINITY, stamp + 1e8] {
            assert!(insert(files, odd));
            channel.clear().unwrap();
            let stamp_after = channel.publish("2").unwrap();
            assert!(stamp_after < stamp + 1e7, "{stamp_after} after {odd}");
        }
    }

    fn a_message_reaches_every_subscription_once(files: &Files) {
        let (store, other) = (files.open(), files.open());
        let channel = store.channel("c").unwrap();
        channel.publish("\"before\"").unwrap();
        let mut first = channel.subscribe(None).unwrap();
        let mut second = other.channel("c").unwrap().subscribe(None).unwrap();
        let mut elsewhere = other.channel("d").unwrap().subscribe(None).unwrap();
        assert_eq!(first.next_page(10, Some(ms(0))).unwrap_err(), Error::Timeout);
        let stamp = channel.publish(r#"{"n":1}"#).unwrap();
        other.channel("c").unwrap().publish("2").unwrap();
        channel.publish("3").unwrap();
        let page = first.next_page(2, Some(ms(0))).unwrap();
        assert_eq!(payloads(&page), [r#"{"n": 1}"#, "2"]);
        assert_eq!(page[0].timestamp, stamp);
        assert_eq!(payloads(&first.next_page(2, Some(s(60))).unwrap()), ["3"]);
        assert_eq!(payloads(&second.next_page(10, Some(s(60))).unwrap()), [r#"{"n": 1}"#, "2", "3"]);
        for subscription in [&mut first, &mut second, &mut elsewhere] {
            assert_eq!(subscription.next_page(10, Some(ms(0))).unwrap_err(), Error::Timeout);
        }
        assert!(matches!(first.next_page(0, Some(s(60))), Err(Error::InvalidArgument(_))));
        assert!(matches!(channel.publish("{"), Err(Error::InvalidJson(_))));
        assert_eq!(channel.len().unwrap(), 4);
    }

    fn a_subscription_times_out_never_early_and_is_woken(files: &Files) {
        let store = files.open();
        let mut subscription = store.channel("c").unwrap().subscribe(None).unwrap();
        for timeout in [ms(1), ms(50)] {
            let start = Instant::now();
            assert_eq!(subscription.next_page(1, Some(timeout)).unwrap_err(), Error::Timeout);
            assert!(start.elapsed() >= timeout);
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let store = files.open();
                // A commit that isn't for it wakes it too, and is not taken for one.
                store.channel("other").unwrap().publish("0").unwrap();
                store.channel("c").unwrap().publish("1").unwrap();
            });
            assert_eq!(payloads(&subscription.next_page(1, Some(s(60))).unwrap()), ["1"]);
        });
    }

    fn stamps_ascend_over_all_channels(files: &Files) {
        let store = files.open();
        let (a, b) = (store.channel("a").unwrap(), store.channel("b").unwrap());
        let mut last = 0.0;
        for n in 0..50 {
            let stamp = if n % 2 == 0 { a.publish("0") } else { b.publish("0") }.unwrap();
            assert!(stamp > last);
            last = stamp;
            if n % 10 == 9 {
                // Not even when the last ones are gone.
                a.clear().unwrap();
                b.clear().unwrap();
            }
        }
    }

    fn history_is_what_is_there(files: &Files) {
        let store = files.open();
        let channel = store.channel("c").unwrap();
        let stamps: Vec<f64> = (0..7).map(|n| channel.publish(&n.to_string()).unwrap()).collect();
        store.channel("other").unwrap().publish("9").unwrap();
        let history = |after, last| {
            let pages = channel.history_pages(after, last, 2).unwrap().concat();
            pages.into_iter().map(|message| message.payload).collect::<String>()
        };
        assert_eq!(history(None, None), "0123456");
        assert_eq!(history(Some(stamps[2]), None), "3456");
        assert_eq!(history(None, Some(3)), "456");
        assert_eq!(history(Some(stamps[2]), Some(2)), "56");
        assert_eq!(history(Some(stamps[4]), Some(100)), "56");
        assert_eq!(history(None, Some(u64::MAX)), "0123456");
        assert_eq!(history(None, Some(0)), "");
        assert_eq!(history(Some(stamps[6]), None), "");
        assert_eq!(history(Some(f64::INFINITY), None), "");
        assert!(matches!(channel.history_pages(Some(f64::NAN), None, 1), Err(Error::InvalidArgument(_))));
        assert!(matches!(channel.history_pages(None, None, 0), Err(Error::InvalidArgument(_))));
        // Joined to what comes, without a gap and without an overlap.
        let mut subscription = channel.subscribe(Some(stamps[4])).unwrap();
        channel.publish("7").unwrap();
        assert_eq!(payloads(&subscription.next_page(1, Some(s(60))).unwrap()), ["5"]);
        channel.publish("8").unwrap();
        assert_eq!(payloads(&subscription.next_page(10, Some(s(60))).unwrap()), ["6", "7", "8"]);
        let mut all = channel.subscribe(Some(f64::NEG_INFINITY)).unwrap();
        assert_eq!(all.next_page(100, Some(s(60))).unwrap().len(), 9);
        assert!(matches!(channel.subscribe(Some(f64::NAN)), Err(Error::InvalidArgument(_))));
    }

    fn pruning_takes_the_old_and_disturbs_no_subscription(files: &Files) {
        let store = files.open();
        let channel = store.channel("c").unwrap();
        let stamps: Vec<f64> = (0..5).map(|n| channel.publish(&n.to_string()).unwrap()).collect();
        let mut subscription = channel.subscribe(Some(stamps[0])).unwrap();
        assert_eq!(payloads(&subscription.next_page(1, Some(s(60))).unwrap()), ["1"]);
        assert_eq!(channel.prune(stamps[3]).unwrap(), 3);
        assert_eq!(channel.prune(stamps[3]).unwrap(), 0);
        assert_eq!(channel.len().unwrap(), 2);
        assert_eq!(payloads(&subscription.next_page(1, Some(s(60))).unwrap()), ["3"], "2 is gone");
        assert_eq!(channel.prune(f64::INFINITY).unwrap(), 2);
        channel.publish("5").unwrap();
        assert_eq!(payloads(&subscription.next_page(10, Some(s(60))).unwrap()), ["5"], "4 is gone");
        channel.publish("6").unwrap();
        assert_eq!(channel.clear().unwrap(), 2);
        assert_eq!(channel.clear().unwrap(), 0);
        for n in 7..12 {
            channel.publish(&n.to_string()).unwrap();
        }
        assert_eq!(payloads(&subscription.next_page(10, Some(s(60))).unwrap()), ["7", "8", "9", "10", "11"]);
        assert!(matches!(channel.prune(f64::NAN), Err(Error::InvalidArgument(_))));
        assert_eq!(store.channel("none").unwrap().prune(f64::INFINITY).unwrap(), 0);
    }

    fn a_transaction_publishes_all_or_nothing(files: &Files) {
        let (store, other) = (files.open(), files.open());
        let (channel, dict) = (store.channel("c").unwrap(), store.dict("d").unwrap());
        let mut own = channel.subscribe(None).unwrap();
        let mut subscription = other.channel("c").unwrap().subscribe(None).unwrap();
        let transaction = store.begin().unwrap();
        dict.set("k", "1", None).unwrap();
        channel.publish("1").unwrap();
        assert_eq!(subscription.next_page(1, Some(ms(0))).unwrap_err(), Error::Timeout);
        assert_eq!(own.next_page(1, Some(ms(0))).unwrap_err(), Error::InTransaction);
        assert!(matches!(channel.subscribe(None), Err(Error::InTransaction)));
        transaction.rollback().unwrap();
        let transaction = store.begin().unwrap();
        channel.publish("2").unwrap();
        channel.publish("3").unwrap();
        transaction.commit().unwrap();
        for subscription in [&mut subscription, &mut own] {
            assert_eq!(payloads(&subscription.next_page(10, Some(s(60))).unwrap()), ["2", "3"]);
        }
    }

    fn everybody_receives_the_same_however_many_publish(files: &Files) {
        drop(files.open().channel("c").unwrap());
        let ready = std::sync::Barrier::new(6);
        let received: Vec<Vec<Message>> = std::thread::scope(|scope| {
            for publisher in 0..3 {
                let ready = &ready;
                scope.spawn(move || {
                    let store = files.open();
                    let (channel, noise) = (store.channel("c").unwrap(), store.channel("noise").unwrap());
                    ready.wait();
                    for n in 0..40 {
                        channel.publish(&format!("[{publisher}, {n}]")).unwrap();
                        noise.publish("0").unwrap();
                        if n % 10 == 0 {
                            noise.clear().unwrap();
                        }
                    }
                });
            }
            let subscriptions: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| {
                    let mut subscription = files.open().channel("c").unwrap().subscribe(None).unwrap();
                    ready.wait();
                    let mut received = Vec::new();
                    while received.len() < 120 {
                        received.extend(subscription.next_page(7, Some(s(60))).unwrap());
                    }
                    assert_eq!(subscription.next_page(7, Some(ms(0))).unwrap_err(), Error::Timeout);
                    received
                }))
                .collect();
            subscriptions.into_iter().map(|subscription| subscription.join().unwrap()).collect()
        });
        let history = files.open().channel("c").unwrap().history_pages(None, None, 50).unwrap().concat();
        for received in &received {
            assert_eq!(received, &history, "every message once, in the order of the stamps");
        }
        for publisher in 0..3 {
            let mine: Vec<&str> = payloads(&history).into_iter().filter(|data| data.starts_with(&format!("[{publisher}"))).collect();
            let sent: Vec<String> = (0..40).map(|n| format!("[{publisher}, {n}]")).collect();
            assert_eq!(mine, sent);
        }
    }

    // Python's listeners end for good with the first message that isn't an event.
    fn the_channel_of_the_events_is_for_events(files: &Files) {
        let channel = files.open().channel("__beaver_events__").unwrap();
        assert!(matches!(channel.publish("{}"), Err(Error::InvalidArgument(_))));
        assert_eq!(channel.len().unwrap(), 0);
        assert_eq!(channel.prune(f64::INFINITY).unwrap(), 0);
    }

    fn a_file_opened_read_only_can_be_listened_to(files: &Files) {
        let (channel, log) = {
            let store = files.open();
            (store.channel("c").unwrap(), store.log("l").unwrap())
        };
        let options = Options { mode: OpenMode::ReadOnly, ..Options::default() };
        let reader = files.open_with(&options).unwrap();
        let mut subscription = reader.channel("c").unwrap().subscribe(None).unwrap();
        let mut tail = reader.log("l").unwrap().tail(None).unwrap();
        channel.publish("1").unwrap();
        log.append("2", None).unwrap();
        assert_eq!(payloads(&subscription.next_page(1, Some(s(60))).unwrap()), ["1"]);
        assert_eq!(tail.next_page(1, Some(s(60))).unwrap()[0].data, "2");
        assert_eq!(reader.channel("c").unwrap().publish("3").unwrap_err(), Error::ReadOnly);
        assert_eq!(reader.log("l").unwrap().append("3", None).unwrap_err(), Error::ReadOnly);
        assert_eq!(reader.on("dict:d", "set").unwrap_err(), Error::ReadOnly);
    }

    fn bad_names_are_refused(files: &Files) {
        let store = files.open();
        for name in ["", "a\0b", &"n".repeat(1025)] {
            assert!(matches!(store.channel(name), Err(Error::InvalidArgument(_))));
            assert!(matches!(store.log(name), Err(Error::InvalidArgument(_))));
        }
        let name = "näme / '; --".repeat(20);
        store.channel(&name).unwrap().publish("1").unwrap();
        assert_eq!(store.channel(&name).unwrap().len().unwrap(), 1);
    }
}

/// A message with this stamp, which no publisher of ours would give it.
fn insert(files: &beaver_tests::Files, stamp: f64) -> bool {
    let script = "import sqlite3, sys
c = sqlite3.connect(sys.argv[1], timeout=60)
c.execute(\"INSERT INTO beaver_pubsub_log VALUES (?, 'c', '0')\", (float(sys.argv[2]),)); c.commit()";
    std::process::Command::new("python3")
        .args(["-c", script])
        .arg(files.database())
        .arg(stamp.to_string())
        .status()
        .unwrap()
        .success()
}
