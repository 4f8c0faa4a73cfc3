//! What a list does.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{Error, Files, List, LockOptions, Options, Process, Store, System, both, ms, s};
use serde_json::json;

fn items(list: &List) -> Vec<String> {
    list.item_pages(1000).unwrap().concat()
}

fn numbers(count: u32) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

fn list_of(store: &Store, name: &str, count: u32) -> List {
    let list = store.list(name).unwrap();
    for value in numbers(count) {
        list.push(&value).unwrap();
    }
    list
}

/// Runs SQL in another process, as any program may.
fn sql(files: &Files, sql: &str) -> i64 {
    let program = env!("CARGO_BIN_EXE_beaver-test-process");
    let mut process = Process::start(program, System::Native, &files.database());
    process
        .call(json!({"op": "sql", "sql": sql}))
        .as_i64()
        .unwrap()
}

/// A page of one item at a time.
fn next(items: &mut beaver_tests::ListItems) -> Option<String> {
    items.next_page(1).unwrap().pop()
}

both! {
    fn items_are_where_they_were_put(files: &Files) {
        let store = files.open();
        let list = store.list("l").unwrap();
        assert_eq!(list.len().unwrap(), 0);
        list.push("\"b\"").unwrap();
        list.push("\"d\"").unwrap();
        list.prepend("\"a\"").unwrap();
        list.insert(2, "\"c\"").unwrap();
        assert_eq!(items(&list), ["\"a\"", "\"b\"", "\"c\"", "\"d\""]);
        // As Python's list.insert: before the item with that index, clamped.
        list.insert(-1, "-1").unwrap();
        list.insert(0, "0").unwrap();
        list.insert(7, "7").unwrap();
        for (index, value) in [(100, "100"), (i64::MAX, "8"), (-100, "-100"), (i64::MIN, "9"), (-10, "-10")] {
            list.insert(index, value).unwrap();
        }
        assert_eq!(
            items(&list),
            ["9", "-10", "-100", "0", "\"a\"", "\"b\"", "\"c\"", "-1", "\"d\"", "7", "100", "8"]
        );
        assert_eq!(list.len().unwrap(), 12);
        let other = store.list("other").unwrap();
        for index in [5, -5, 0] {
            other.insert(index, &index.to_string()).unwrap();
        }
        assert_eq!(items(&other), ["0", "-5", "5"]);
    }

    fn negative_indices_count_from_the_end(files: &Files) {
        let list = list_of(&files.open(), "l", 3);
        for (index, value) in [(0, "0"), (2, "2"), (-1, "2"), (-3, "0")] {
            assert_eq!(list.get(index).unwrap().as_deref(), Some(value));
        }
        list.set(-1, "\"last\"").unwrap();
        list.set(0, "\"first\"").unwrap();
        assert_eq!(items(&list), ["\"first\"", "1", "\"last\""]);
        list.delete(-2).unwrap();
        assert_eq!(items(&list), ["\"first\"", "\"last\""]);
        list.delete(1).unwrap();
        assert_eq!(items(&list), ["\"first\""]);
    }

    fn what_is_out_of_range_changes_nothing(files: &Files) {
        let list = list_of(&files.open(), "l", 3);
        for index in [3, -4, 1 << 40, i64::MAX, i64::MIN] {
            assert_eq!(list.get(index).unwrap(), None);
            assert_eq!(list.set(index, "9").unwrap_err(), Error::OutOfRange);
            assert_eq!(list.delete(index).unwrap_err(), Error::OutOfRange);
        }
        assert_eq!(items(&list), numbers(3));
    }

    fn both_ends_can_be_taken(files: &Files) {
        let list = list_of(&files.open(), "l", 3);
        assert_eq!(list.pop().unwrap().as_deref(), Some("2"));
        assert_eq!(list.pop_first().unwrap().as_deref(), Some("0"));
        assert_eq!(list.pop().unwrap().as_deref(), Some("1"));
        assert_eq!(list.pop().unwrap(), None);
        assert_eq!(list.pop_first().unwrap(), None);
        list.prepend("1").unwrap();
        list.push("2").unwrap();
        assert_eq!(items(&list), ["1", "2"]);
    }

    fn a_slice_is_pythons(files: &Files) {
        let store = files.open();
        for count in [0, 1, 5] {
            let list = list_of(&store, &format!("l{count}"), count);
            let len = i64::from(count);
            let place = |index: i64| if index < 0 { index.saturating_add(len).max(0) } else { index.min(len) };
            let mut ends: Vec<Option<i64>> = (-len - 2..=len + 2).map(Some).collect();
            ends.extend([None, Some(i64::MIN), Some(i64::MAX)]);
            for start in &ends {
                for stop in &ends {
                    let (from, to) = (place(start.unwrap_or(0)), place(stop.unwrap_or(len)));
                    let expected: Vec<_> = (from..to).map(|n| n.to_string()).collect();
                    let slice = list.slice_pages(*start, *stop, 2).unwrap();
                    assert_eq!(slice.concat(), expected, "[{start:?}:{stop:?}] of {count}");
                    assert!(slice.iter().all(|page| page.len() <= 2));
                }
            }
        }
    }

    fn a_slice_begins_where_it_was_asked_for(files: &Files) {
        let list = list_of(&files.open(), "l", 10);
        let mut slice = list.slice(Some(3), Some(6)).unwrap();
        list.prepend("\"new\"").unwrap();
        list.delete(-1).unwrap();
        assert_eq!(slice.next_page(100).unwrap(), ["3", "4", "5"]);
        assert_eq!(slice.next_page(100).unwrap(), Vec::<String>::new());
    }

    fn contains_compares_the_text(files: &Files) {
        let list = files.open().list("l").unwrap();
        list.push("{\"b\":[1.0,  true]}").unwrap();
        list.push("\"\\u00e9\"").unwrap();
        for (value, found) in [
            ("{ \"b\" : [ 1.0, true ] }", true),
            ("\"é\"", true),
            ("{\"b\": [1, true]}", false),
            ("1.0", false),
        ] {
            assert_eq!(list.contains(value).unwrap(), found, "{value}");
        }
    }

    fn clear_counts(files: &Files) {
        let store = files.open();
        let (list, other) = (list_of(&store, "l", 4), list_of(&store, "other", 2));
        assert_eq!(list.clear().unwrap(), 4);
        assert_eq!(list.clear().unwrap(), 0);
        assert_eq!(list.len().unwrap(), 0);
        assert_eq!(items(&other), numbers(2));
    }

    fn pages_are_bounded(files: &Files) {
        let list = list_of(&files.open(), "l", 10);
        let lengths: Vec<_> = list.item_pages(4).unwrap().iter().map(Vec::len).collect();
        assert_eq!(lengths, [4, 4, 2]);
        let large = format!("\"{}\"", "x".repeat(200 << 10));
        for index in 0..10 {
            list.set(index, &large).unwrap();
        }
        let pages = list.item_pages(1000).unwrap();
        assert_eq!(pages.concat().len(), 10);
        assert!(pages.len() >= 5, "pages of {} items", pages[0].len());
        assert!(matches!(list.items().unwrap().next_page(0), Err(Error::InvalidArgument(_))));
    }

    fn a_write_waits_for_the_lists_lock(files: &Files) {
        let hasty = files.open_with(&Options { lock_wait: ms(20), ..Options::default() }).unwrap();
        let (holder, other) = (files.open().list("l").unwrap(), hasty.list("l").unwrap());
        holder.acquire(&LockOptions::timeout(s(10))).unwrap();
        let first = holder.fencing_token().unwrap();
        assert!(!other.try_acquire(None).unwrap());
        holder.push("1").unwrap();
        assert!(matches!(other.push("2"), Err(Error::Locked(_))));
        assert!(matches!(other.pop(), Err(Error::Locked(_))));
        assert_eq!(items(&other), ["1"], "reading doesn't wait");
        holder.renew(None).unwrap();
        holder.release().unwrap();
        other.push("2").unwrap();
        assert!(other.try_acquire(None).unwrap());
        assert!(other.fencing_token().unwrap() > first);
    }

    fn a_transaction_undoes_a_spread_too(files: &Files) {
        let store = files.open();
        let list = list_of(&store, "l", 2);
        let transaction = store.begin().unwrap();
        let (one, other) = (store.list("l").unwrap(), store.list("l").unwrap());
        for n in 0..500 {
            // No handle's inserts are beside its last one: gaps are halved.
            let handle = if n % 2 == 0 { &one } else { &other };
            handle.insert(1, "9").unwrap();
        }
        assert_eq!(list.len().unwrap(), 502);
        transaction.rollback().unwrap();
        assert_eq!(items(&list), numbers(2));
        list.insert(1, "0.5").unwrap();
        assert_eq!(items(&list), ["0", "0.5", "1"]);
    }

    // The reference fails here after 53 inserts.
    fn there_is_always_room(files: &Files) {
        let store = files.open();
        let count: u32 = if files.system == System::Native { 100_000 } else { 5_000 };
        let expected = |before: &str, inserted: &mut dyn Iterator<Item = u32>, after: &str| -> Vec<String> {
            let inserted = inserted.map(|n| n.to_string());
            [before.to_owned()].into_iter().chain(inserted).chain([after.to_owned()]).collect()
        };
        for (name, index) in [("front", 1), ("back", -1)] {
            let list = store.list(name).unwrap();
            let handles = [store.list(name).unwrap(), store.list(name).unwrap()];
            list.push("\"a\"").unwrap();
            list.push("\"z\"").unwrap();
            let transaction = store.begin().unwrap();
            for n in 0..count {
                // First as one goes on inserting, then as two in turn.
                let handle = if n < count / 2 { &list } else { &handles[(n % 2) as usize] };
                handle.insert(index, &n.to_string()).unwrap();
            }
            transaction.commit().unwrap();
            let found = items(&list);
            let wanted = match index {
                1 => expected("\"a\"", &mut (0..count).rev(), "\"z\""),
                _ => expected("\"a\"", &mut (0..count), "\"z\""),
            };
            assert_eq!(found.len(), wanted.len());
            assert!(found == wanted, "{name}: out of order");
        }
        // What Python's next insert there needs: a number between any two.
        let collisions = sql(files, "SELECT count(*) FROM (
            SELECT item_order AS key, lag(item_order) OVER (PARTITION BY list_name ORDER BY item_order) AS before
            FROM beaver_lists) WHERE before + (key - before) / 2 NOT BETWEEN before AND key
              OR before + (key - before) / 2 IN (before, key)");
        assert_eq!(collisions, 0);
    }

    fn keys_that_others_left_are_healed(files: &Files) {
        drop(files.open().list("l").unwrap());
        let keys = ["-9e999", "-1e308", "-3.0", "-0.0", "5e-324", "1e-323", "1.0", "1.0000000000000002",
            "9007199254740992.0", "1.7e308", "9e999"];
        for cut in 0..keys.len() {
            let list = format!("l{cut}");
            let rows: Vec<_> = keys[cut..].iter().enumerate()
                .map(|(n, key)| format!("('{list}', {key}, '{n}')")).collect();
            sql(files, &format!("INSERT INTO beaver_lists VALUES {} RETURNING 1", rows.join(",")));
            let list = files.open().list(&list).unwrap();
            let mut model: Vec<_> = (0..rows.len()).map(|n| n.to_string()).collect();
            assert_eq!(items(&list), model);
            for n in 0..3 {
                for at in (1..model.len()).rev() {
                    let value = format!("\"{n} {at}\"");
                    list.insert(i64::try_from(at).unwrap(), &value).unwrap();
                    model.insert(at, value);
                }
                list.push("\"end\"").unwrap();
                model.push("\"end\"".into());
                list.prepend("\"front\"").unwrap();
                model.insert(0, "\"front\"".into());
                assert_eq!(items(&list), model);
            }
        }
    }

    fn pushing_and_prepending_beside_the_largest_keys(files: &Files) {
        drop(files.open().list("l").unwrap());
        for (n, key) in ["9007199254740992.0", "1.7e308", "9e999", "-9007199254740992.0", "-1.7e308", "-9e999"]
            .into_iter().enumerate()
        {
            let name = format!("l{n}");
            sql(files, &format!("INSERT INTO beaver_lists VALUES ('{name}', {key}, '\"x\"') RETURNING 1"));
            let list = files.open().list(&name).unwrap();
            for value in ["1", "2", "3"] {
                list.push(value).unwrap();
                list.prepend(value).unwrap();
            }
            assert_eq!(items(&list), ["3", "2", "1", "\"x\"", "1", "2", "3"]);
        }
    }

    fn what_isnt_a_number_is_reported(files: &Files) {
        drop(files.open().list("l").unwrap());
        sql(files, "INSERT INTO beaver_lists VALUES ('l', 1.0, '1'), ('l', 'x', '2'), ('l', x'00', '3') RETURNING 1");
        let list = files.open().list("l").unwrap();
        assert!(matches!(list.insert(1, "9"), Err(Error::Corrupt(_))));
        assert!(matches!(list.item_pages(9), Err(Error::Corrupt(_))));
        assert_eq!(list.get(-1).unwrap().as_deref(), Some("3"));
        assert_eq!(list.pop().unwrap().as_deref(), Some("3"));
    }

    fn a_cursor_keeps_its_place_when_keys_are_spread(files: &Files) {
        let store = files.open();
        for deleting in [false, true] {
            let name = format!("l{deleting}");
            let list = list_of(&store, &name, 40);
            let others = [store.list(&name).unwrap(), store.list(&name).unwrap()];
            let (mut cursor, mut seen) = (list.items().unwrap(), Vec::new());
            while let Some(value) = next(&mut cursor) {
                let Ok(n) = value.parse::<u32>() else { continue };
                seen.push(n);
                assert!(seen.len() <= 40, "again {n}");
                let mut at = items(&list).iter().position(|item| *item == value).unwrap();
                if deleting {
                    list.delete(i64::try_from(at).unwrap()).unwrap();
                } else {
                    at += 1;
                }
                if seen.len() % 4 == 0 {
                    // Just where the cursor stands, until the keys around it have moved.
                    let transaction = store.begin().unwrap();
                    for n in 0..120 {
                        others[n % 2].insert(i64::try_from(at).unwrap(), "\"new\"").unwrap();
                    }
                    transaction.commit().unwrap();
                }
            }
            assert_eq!(seen, (0..40).collect::<Vec<_>>(), "deleting: {deleting}");
            assert!(sql(files, &format!("SELECT version FROM beaver_manager_versions
                WHERE namespace = 'list-spreads:{name}'")) > 10);
        }
    }

    // Every key moves to below the one at which the cursor stood.
    fn a_cursor_keeps_its_place_when_its_last_item_is_deleted(files: &Files) {
        for delete in [false, true] {
            let name = format!("l{delete}");
            drop(files.open().list(&name).unwrap());
            sql(files, &format!("INSERT INTO beaver_lists (list_name, item_order, item_value)
                SELECT '{name}', 1.0 + value / 70368744177664.0, value
                FROM (SELECT 210 AS value UNION SELECT 211 UNION SELECT 212) RETURNING 1"));
            let list = files.open().list(&name).unwrap();
            let mut cursor = list.items().unwrap();
            assert_eq!(next(&mut cursor).as_deref(), Some("210"));
            if delete {
                list.delete(0).unwrap();
            }
            list.insert(-1, "\"new\"").unwrap();
            assert_eq!(sql(files, &format!("SELECT count(*) FROM beaver_lists
                WHERE list_name = '{name}' AND item_order > 1.0 + 210 / 70368744177664.0")), 0);
            assert_eq!(cursor.next_page(9).unwrap(), ["211", "\"new\"", "212"]);
            assert_eq!(cursor.next_page(9).unwrap(), Vec::<String>::new());
        }
    }

    fn a_slice_that_has_not_begun_keeps_its_place(files: &Files) {
        let store = files.open();
        let list = list_of(&store, "l", 10);
        let (mut five, mut last) = (list.slice(Some(5), Some(8)).unwrap(), list.slice(Some(-2), None).unwrap());
        let others = [store.list("l").unwrap(), store.list("l").unwrap()];
        for n in 0..200 {
            others[n % 2].insert(5, "\"before\"").unwrap();
        }
        assert_eq!(five.next_page(9).unwrap(), ["5", "6", "7"]);
        assert_eq!(last.next_page(9).unwrap(), ["8", "9"]);
    }

    fn nothing_is_lost_between_many_writers(files: &Files) {
        drop(files.open());
        let taken: Vec<String> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4_u32).map(|worker| scope.spawn(move || {
                let list = files.open().list("l").unwrap();
                let mut taken = Vec::new();
                for n in 0..30 {
                    let value = (worker * 100 + n).to_string();
                    match n % 3 {
                        0 => list.push(&value).unwrap(),
                        1 => list.prepend(&value).unwrap(),
                        _ => list.insert(1, &value).unwrap(),
                    }
                    if n % 5 == 0 {
                        taken.extend(if n % 2 == 0 { list.pop().unwrap() } else { list.pop_first().unwrap() });
                    }
                }
                taken
            })).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        let mut all = items(&files.open().list("l").unwrap());
        all.extend(taken);
        all.sort_by_key(|value| value.parse::<u32>().unwrap());
        let expected: Vec<_> = (0..4).flat_map(|w| (0..30).map(move |n| (w * 100 + n).to_string())).collect();
        assert_eq!(all, expected);
    }
}

/// By one handle, for which there is room for long; then by two in turn, so
/// that keys must be spread in a list of that size.
#[test]
fn a_million_inserts_at_one_place() {
    const COUNT: u32 = 1_000_000;
    let files = Files::new(System::Native);
    let store = files.open();
    let list = list_of(&store, "l", 2);
    let other = store.list("l").unwrap();
    let transaction = store.begin().unwrap();
    for n in 0..COUNT {
        let handle = if n > COUNT - 10_000 && n % 2 == 0 {
            &other
        } else {
            &list
        };
        handle.insert(1, &n.to_string()).unwrap();
    }
    transaction.commit().unwrap();
    assert_eq!(list.len().unwrap(), u64::from(COUNT) + 2);
    let found = items(&list);
    assert_eq!(
        (found[0].as_str(), found[COUNT as usize + 1].as_str()),
        ("0", "1")
    );
    assert!(
        found[1..=COUNT as usize]
            .iter()
            .eq(numbers(COUNT).iter().rev())
    );
    let spreads = "SELECT version FROM beaver_manager_versions WHERE namespace = 'list-spreads:l'";
    assert!(sql(&files, spreads) > 100);
}
