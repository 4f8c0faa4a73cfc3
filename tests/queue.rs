//! What a queue does.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{Error, Item, LockOptions, both, ms, s};
use std::time::Instant;

fn data(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| item.data.as_str()).collect()
}

both! {
    fn lowest_priority_first_then_first_in_first_out(files: &Files) {
        let queue = files.open().queue("jobs").unwrap();
        for (value, priority) in
            [("1", 5.0), ("2", -1.5), ("3", 5.0), ("4", f64::INFINITY), ("5", f64::NEG_INFINITY), ("6", 5.0)]
        {
            queue.put(value, priority).unwrap();
        }
        assert_eq!(queue.len().unwrap(), 6);
        assert_eq!(queue.peek().unwrap().unwrap().data, "5");
        assert_eq!(data(&queue.item_pages(2).unwrap().concat()), ["5", "2", "1", "3", "6", "4"]);
        let mut taken = Vec::new();
        while let Some(item) = queue.try_get().unwrap() {
            taken.push(item.data);
        }
        assert_eq!(taken, ["5", "2", "1", "3", "6", "4"]);
        assert_eq!(queue.peek().unwrap(), None);
    }

    fn equal_priorities_have_ascending_times(files: &Files) {
        let queue = files.open().queue("jobs").unwrap();
        for n in 0..200 {
            queue.put(&n.to_string(), 1.0).unwrap();
        }
        let items = queue.item_pages(7).unwrap().concat();
        assert!(items.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp));
        assert_eq!(data(&items), (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
    }

    fn get_times_out_on_an_empty_queue_never_early(files: &Files) {
        let queue = files.open().queue("jobs").unwrap();
        for timeout in [ms(0), ms(1), ms(50)] {
            let start = Instant::now();
            assert_eq!(queue.get(Some(timeout)).unwrap_err(), Error::Timeout);
            assert!(start.elapsed() >= timeout);
        }
        assert_eq!(queue.try_get().unwrap(), None);
    }

    // Found in review: the wait for SQLite's own write lock counted as nothing.
    fn a_get_times_out_while_somebody_writes_for_long(files: &Files) {
        let (writer, store) = (files.open(), files.open());
        let queue = store.queue("jobs").unwrap();
        let transaction = writer.begin().unwrap();
        for timeout in [ms(0), ms(50)] {
            assert_eq!(queue.get(Some(timeout)).unwrap_err(), Error::Timeout);
            assert_eq!(queue.get_batch(2, Some(timeout)).unwrap_err(), Error::Timeout);
        }
        transaction.rollback().unwrap();
    }

    // Found by the harness: `timeout` said that there was nothing, and there was.
    fn a_get_that_others_keep_from_writing_does_not_say_that_there_is_nothing(files: &Files) {
        let (writer, store) = (files.open(), files.open());
        let queue = store.queue("jobs").unwrap();
        queue.put("1", 0.0).unwrap();
        let transaction = writer.begin().unwrap();
        for timeout in [ms(0), ms(50)] {
            assert_eq!(queue.get(Some(timeout)).unwrap_err(), Error::Busy);
            assert_eq!(queue.get_batch(1, Some(timeout)).unwrap_err(), Error::Busy);
            assert_eq!(queue.get_batch(2, Some(timeout)).unwrap_err(), Error::Timeout);
        }
        transaction.rollback().unwrap();
        assert_eq!(queue.get(Some(ms(0))).unwrap().data, "1");
    }

    // Found by the simulator: the same where others have the lock, or stand in its line.
    fn a_get_that_the_lock_keeps_from_taking_does_not_say_that_there_is_nothing(files: &Files) {
        let (holder, store) = (files.open(), files.open());
        let (held, queue) = (holder.queue("jobs").unwrap(), store.queue("jobs").unwrap());
        queue.put("1", 0.0).unwrap();
        held.acquire(&LockOptions::default()).unwrap();
        for timeout in [ms(0), ms(50)] {
            let is_locked = |error| matches!(error, Error::Locked(name) if name.ends_with("jobs"));
            assert!(is_locked(queue.get(Some(timeout)).unwrap_err()));
            assert!(is_locked(queue.get_batch(1, Some(timeout)).unwrap_err()));
            assert_eq!(queue.get_batch(2, Some(timeout)).unwrap_err(), Error::Timeout);
        }
        held.release().unwrap();
        assert_eq!(queue.get(Some(ms(0))).unwrap().data, "1");
    }

    fn a_waiting_get_receives_what_another_puts(files: &Files) {
        // The file exists before two threads open it, which is not what is tried here.
        drop(files.open());
        let item = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| files.open().queue("jobs").unwrap().get(Some(s(60))).unwrap());
            scope.spawn(|| files.open().queue("jobs").unwrap().put("\"it\"", 0.0).unwrap());
            waiter.join().unwrap()
        });
        assert_eq!(item.data, "\"it\"");
    }

    fn a_batch_is_all_or_none_and_contiguous(files: &Files) {
        let queue = files.open().queue("jobs").unwrap();
        for n in 0..7 {
            queue.put(&n.to_string(), 0.0).unwrap();
        }
        assert_eq!(data(&queue.get_batch(5, Some(ms(0))).unwrap()), ["0", "1", "2", "3", "4"]);
        assert_eq!(queue.get_batch(5, Some(ms(20))).unwrap_err(), Error::Timeout);
        assert_eq!(queue.len().unwrap(), 2, "a batch that timed out took nothing");
        assert_eq!(data(&queue.get_batch(2, None).unwrap()), ["5", "6"]);
        for count in [0, 65_537, u32::MAX] {
            assert!(matches!(queue.get_batch(count, None), Err(Error::InvalidArgument(_))));
        }
    }

    fn every_item_goes_to_exactly_one_of_many_consumers(files: &Files) {
        let queue = files.open().queue("jobs").unwrap();
        for n in 0..300 {
            queue.put(&n.to_string(), f64::from(n % 3)).unwrap();
        }
        let began = Instant::now();
        let mut taken: Vec<u32> = std::thread::scope(|scope| {
            let consumers: Vec<_> = (0..4)
                .map(|consumer| scope.spawn(move || {
                    let queue = files.open().queue("jobs").unwrap();
                    let mut taken = Vec::new();
                    loop {
                        if consumer % 2 == 0 {
                            match queue.try_get().unwrap() {
                                Some(item) => taken.push(item.data.parse().unwrap()),
                                None => return taken,
                            }
                        } else {
                            match queue.get_batch(3, Some(ms(0))) {
                                Ok(batch) => taken.extend(batch.iter().map(|item| item.data.parse::<u32>().unwrap())),
                                Err(Error::Timeout) => return taken,
                                // It doesn't wait long for a writer either: a checkpoint may be slow.
                                Err(Error::Busy) => assert!(began.elapsed() < s(60)),
                                Err(error) => panic!("{error}"),
                            }
                        }
                    }
                }))
                .collect();
            consumers.into_iter().flat_map(|consumer| consumer.join().unwrap()).collect()
        });
        taken.sort_unstable();
        assert_eq!(taken, (0..300).collect::<Vec<_>>());
    }

    fn clear_counts(files: &Files) {
        let store = files.open();
        let queue = store.queue("jobs").unwrap();
        assert_eq!(queue.clear().unwrap(), 0);
        queue.put("1", 0.0).unwrap();
        queue.put("2", 0.0).unwrap();
        store.queue("other").unwrap().put("3", 0.0).unwrap();
        assert_eq!(queue.clear().unwrap(), 2);
        assert_eq!(store.queue("other").unwrap().len().unwrap(), 1);
    }
}
