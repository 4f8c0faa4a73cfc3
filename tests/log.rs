//! What a log does.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{Error, Live, LogEntry, both, ms, s};
use std::time::{Duration, Instant, SystemTime};

fn data(entries: &[LogEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.data.as_str()).collect()
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

/// Everything that came into the window.
fn entered(live: &mut Live) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let page = live.entered(2).unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page.into_iter().map(|entry| entry.data));
    }
}

both! {
    fn entries_have_ascending_stamps_and_come_in_their_order(files: &Files) {
        let store = files.open();
        let log = store.log("l").unwrap();
        let before = now();
        let stamps: Vec<f64> = (0..100).map(|n| log.append(&n.to_string(), None).unwrap()).collect();
        assert!(stamps[0] >= before && stamps[99] <= now() + 1.0, "seconds since 1970");
        assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]));
        store.log("other").unwrap().append("7", None).unwrap();
        let pages = log.entry_pages(40).unwrap();
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [40, 40, 20]);
        let entries = pages.concat();
        assert_eq!(entries.iter().map(|entry| entry.timestamp).collect::<Vec<_>>(), stamps);
        assert_eq!(entries[99].data, "99");
        assert_eq!(log.len().unwrap(), 100);
    }

    // The reference loses the second one to its primary key.
    fn entries_of_one_moment_all_survive_in_order(files: &Files) {
        let store = files.open();
        let log = store.log("l").unwrap();
        // In the way, a few steps on.
        let step = |n: usize| (0..n).fold(1000.0_f64, |stamp, _| stamp.next_up());
        log.append("\"there\"", Some(step(5))).unwrap();
        let stamps: Vec<f64> = (0..200).map(|n| log.append(&n.to_string(), Some(1000.0)).unwrap()).collect();
        assert_eq!(stamps[0], 1000.0);
        assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(stamps[199] - 1000.0 < 1e-6);
        assert_eq!(log.len().unwrap(), 201);
        // Zero and its negative are one number, and below it floats go on.
        for _ in 0..3 {
            for stamp in [0.0, -0.0, -5.0] {
                log.append("0", Some(stamp)).unwrap();
            }
        }
        assert_eq!(log.len().unwrap(), 210);
        // Another log has moments of its own.
        assert_eq!(store.log("other").unwrap().append("1", Some(1000.0)).unwrap(), 1000.0);
    }

    fn a_time_that_is_none_is_refused(files: &Files) {
        let log = files.open().log("l").unwrap();
        // Milliseconds where seconds are meant, for one.
        for timestamp in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, now() * 1000.0, 1e300, -1e12] {
            assert!(matches!(log.append("1", Some(timestamp)), Err(Error::InvalidArgument(_))));
        }
        assert!(matches!(log.append("NaN", None), Err(Error::InvalidJson(_))));
        assert!(matches!(log.range_pages(f64::NAN, 1.0, 1), Err(Error::InvalidArgument(_))));
        assert!(matches!(log.range_pages(1.0, f64::NAN, 1), Err(Error::InvalidArgument(_))));
        assert!(matches!(log.tail(Some(f64::NAN)), Err(Error::InvalidArgument(_))));
        assert_eq!(log.len().unwrap(), 0);
    }

    // An entry with a time far ahead is no reason to give every later one that time.
    fn a_time_to_come_does_not_pull_the_others_there(files: &Files) {
        let log = files.open().log("l").unwrap();
        let later = log.append("1", Some(now() + 10.0 * 86_400.0)).unwrap();
        let stamp = log.append("2", None).unwrap();
        assert!(stamp < later - 86_400.0 && stamp > now() - 60.0);
    }

    fn a_range_includes_both_ends(files: &Files) {
        let log = files.open().log("l").unwrap();
        for n in 0..10 {
            log.append(&n.to_string(), Some(f64::from(n))).unwrap();
        }
        let range = |start, end| log.range_pages(start, end, 3).unwrap().concat();
        assert_eq!(data(&range(2.0, 5.0)), ["2", "3", "4", "5"]);
        assert_eq!(data(&range(4.5, 4.5_f64)), Vec::<&str>::new());
        assert_eq!(data(&range(4.0, 4.0)), ["4"]);
        assert!(range(5.0, 2.0).is_empty());
        assert_eq!(range(f64::NEG_INFINITY, f64::INFINITY).len(), 10);
        assert_eq!(data(&range(8.5, f64::INFINITY)), ["9"]);
        assert!(matches!(log.entry_pages(0), Err(Error::InvalidArgument(_))));
    }

    fn a_tail_gives_what_comes_in_the_order_of_the_commits(files: &Files) {
        let (store, other) = (files.open(), files.open());
        let log = store.log("l").unwrap();
        log.append("\"before\"", None).unwrap();
        let mut tail = log.tail(None).unwrap();
        assert_eq!(tail.next_page(10, Some(ms(0))).unwrap_err(), Error::Timeout);
        let theirs = other.log("l").unwrap();
        theirs.append("1", None).unwrap();
        // Late: its time is long past.
        theirs.append("2", Some(5.0)).unwrap();
        other.log("elsewhere").unwrap().append("0", None).unwrap();
        log.append("3", None).unwrap();
        assert_eq!(data(&tail.next_page(2, Some(ms(0))).unwrap()), ["1", "2"]);
        assert_eq!(data(&tail.next_page(2, Some(ms(0))).unwrap()), ["3"]);
        assert_eq!(tail.next_page(2, Some(ms(0))).unwrap_err(), Error::Timeout);
        assert!(matches!(tail.next_page(0, Some(s(60))), Err(Error::InvalidArgument(_))));
        // From a stamp: what is later first, then what comes.
        let mut tail = log.tail(Some(4.0)).unwrap();
        log.append("4", Some(1.0)).unwrap();
        assert_eq!(data(&tail.next_page(10, Some(s(60))).unwrap()), ["\"before\"", "1", "2", "3", "4"]);
        let mut tail = log.tail(Some(5.0)).unwrap();
        assert_eq!(data(&tail.next_page(10, Some(s(60))).unwrap()), ["\"before\"", "1", "3"]);
    }

    fn a_tail_times_out_never_early_and_is_woken(files: &Files) {
        let store = files.open();
        let log = store.log("l").unwrap();
        let mut tail = log.tail(None).unwrap();
        for timeout in [ms(1), ms(50)] {
            let start = Instant::now();
            assert_eq!(tail.next_page(1, Some(timeout)).unwrap_err(), Error::Timeout);
            assert!(start.elapsed() >= timeout);
        }
        std::thread::scope(|scope| {
            scope.spawn(|| files.open().log("l").unwrap().append("1", None).unwrap());
            assert_eq!(data(&tail.next_page(1, Some(s(60))).unwrap()), ["1"]);
        });
    }

    fn a_tail_goes_on_after_a_clear(files: &Files) {
        let store = files.open();
        let (log, other) = (store.log("l").unwrap(), store.log("other").unwrap());
        log.append("1", None).unwrap();
        let (mut tail, mut others) = (log.tail(None).unwrap(), other.tail(None).unwrap());
        log.append("2", None).unwrap();
        log.append("3", None).unwrap();
        assert_eq!(data(&tail.next_page(1, Some(s(60))).unwrap()), ["2"]);
        assert_eq!(log.clear().unwrap(), 3);
        assert_eq!(log.clear().unwrap(), 0);
        other.append("7", None).unwrap();
        for n in 4..8 {
            log.append(&n.to_string(), None).unwrap();
        }
        assert_eq!(data(&tail.next_page(10, Some(s(60))).unwrap()), ["4", "5", "6", "7"]);
        assert_eq!(data(&others.next_page(10, Some(s(60))).unwrap()), ["7"]);
        assert_eq!(log.len().unwrap(), 4);
    }

    fn nothing_that_is_rolled_back_is_tailed(files: &Files) {
        let (store, other) = (files.open(), files.open());
        let (log, theirs) = (store.log("l").unwrap(), other.log("l").unwrap());
        let (mut tail, mut own) = (theirs.tail(None).unwrap(), log.tail(None).unwrap());
        let transaction = store.begin().unwrap();
        log.append("1", None).unwrap();
        assert_eq!(log.len().unwrap(), 1);
        assert_eq!(tail.next_page(1, Some(ms(0))).unwrap_err(), Error::Timeout);
        assert_eq!(own.next_page(1, Some(ms(0))).unwrap_err(), Error::InTransaction);
        assert!(matches!(log.tail(None), Err(Error::InTransaction)));
        transaction.rollback().unwrap();
        let transaction = store.begin().unwrap();
        log.append("2", None).unwrap();
        log.append("3", None).unwrap();
        transaction.commit().unwrap();
        for tail in [&mut tail, &mut own] {
            assert_eq!(data(&tail.next_page(10, Some(s(60))).unwrap()), ["2", "3"]);
        }
    }

    fn everybody_tails_the_same_however_many_append(files: &Files) {
        drop(files.open().log("l").unwrap());
        let ready = std::sync::Barrier::new(5);
        let heard: Vec<Vec<String>> = std::thread::scope(|scope| {
            for writer in 0..3 {
                let ready = &ready;
                scope.spawn(move || {
                    let store = files.open();
                    let (log, noise) = (store.log("l").unwrap(), store.log("noise").unwrap());
                    ready.wait();
                    for n in 0..40 {
                        noise.append("0", None).unwrap();
                        // Some with a time of their own, the same for all.
                        let timestamp = (n % 4 == 0).then_some(f64::from(n));
                        log.append(&format!("[{writer}, {n}]"), timestamp).unwrap();
                    }
                });
            }
            let tails: Vec<_> = (0..2)
                .map(|_| scope.spawn(|| {
                    let mut tail = files.open().log("l").unwrap().tail(None).unwrap();
                    ready.wait();
                    let mut heard = Vec::new();
                    while heard.len() < 120 {
                        heard.extend(tail.next_page(7, Some(s(60))).unwrap().into_iter().map(|entry| entry.data));
                    }
                    assert_eq!(tail.next_page(7, Some(ms(0))).unwrap_err(), Error::Timeout);
                    heard
                }))
                .collect();
            tails.into_iter().map(|tail| tail.join().unwrap()).collect()
        });
        assert_eq!(heard[0], heard[1], "one order");
        for writer in 0..3 {
            let mine: Vec<&String> = heard[0].iter().filter(|data| data.starts_with(&format!("[{writer}"))).collect();
            let sent: Vec<String> = (0..40).map(|n| format!("[{writer}, {n}]")).collect();
            assert_eq!(mine, sent.iter().collect::<Vec<_>>(), "each writer's in its order");
        }
        assert_eq!(files.open().log("l").unwrap().len().unwrap(), 120, "none lost to another's time");
    }

    fn a_live_window_tells_what_came_in(files: &Files) {
        let (store, other) = (files.open(), files.open());
        let (log, theirs) = (store.log("l").unwrap(), other.log("l").unwrap());
        log.append("\"old\"", Some(now() - 1000.0)).unwrap();
        for n in 0..3 {
            log.append(&n.to_string(), None).unwrap();
        }
        let mut live = log.live(s(500), Duration::ZERO).unwrap();
        assert_eq!(live.entered(10).unwrap(), [], "before the first window");
        let window = live.next_window(None).unwrap();
        assert!((window.end - window.start - 500.0).abs() < 1e-3 && !window.cleared);
        assert_eq!(entered(&mut live), ["0", "1", "2"]);
        // Late but in the window; late and out of it; another's.
        theirs.append("3", Some(now() - 100.0)).unwrap();
        theirs.append("\"old\"", Some(now() - 600.0)).unwrap();
        other.log("elsewhere").unwrap().append("0", None).unwrap();
        log.append("4", None).unwrap();
        assert_eq!(entered(&mut live), Vec::<String>::new(), "that is for the next window");
        let next = live.next_window(None).unwrap();
        assert!(next.start > window.start && !next.cleared);
        assert_eq!(live.entered(1).unwrap()[0].data, "3");
        // What was left comes with the next one.
        log.append("5", None).unwrap();
        live.next_window(None).unwrap();
        assert_eq!(entered(&mut live), ["4", "5"]);
        let whole = log.range_pages(next.start, f64::INFINITY, 10).unwrap().concat();
        assert_eq!(data(&whole), ["3", "0", "1", "2", "4", "5"]);
        theirs.clear().unwrap();
        theirs.append("6", None).unwrap();
        assert!(live.next_window(None).unwrap().cleared);
        assert_eq!(entered(&mut live), ["6"]);
        assert!(!live.next_window(None).unwrap().cleared);
        assert_eq!(entered(&mut live), Vec::<String>::new());
    }

    fn a_live_window_comes_once_a_period(files: &Files) {
        let store = files.open();
        let mut live = store.log("l").unwrap().live(s(60), ms(60)).unwrap();
        let start = Instant::now();
        live.next_window(Some(ms(0))).unwrap();
        match live.next_window(Some(ms(1))) {
            Err(Error::Timeout) => {
                live.next_window(None).unwrap();
            }
            // On a slow machine the period may be over.
            late => drop(late.unwrap()),
        }
        assert!(start.elapsed() >= ms(60));
        let mut live = store.log("l").unwrap().live(s(60), s(10)).unwrap();
        live.next_window(None).unwrap();
        assert_eq!(live.next_window(Some(ms(1))).unwrap_err(), Error::Timeout);
        let transaction = store.begin().unwrap();
        assert_eq!(live.next_window(None).unwrap_err(), Error::InTransaction);
        transaction.rollback().unwrap();
        // As long as it gets: everything, never due again.
        let mut live = store.log("l").unwrap().live(Duration::MAX, Duration::MAX).unwrap();
        store.log("l").unwrap().append("1", Some(-5.0)).unwrap();
        live.next_window(None).unwrap();
        assert_eq!(entered(&mut live), ["1"]);
    }
}
