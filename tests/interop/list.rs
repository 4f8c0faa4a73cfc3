//! Lists shared with Python.

use crate::values;
use beaver_tests::{Error, Files, List, Options, Process, System, both, ms};
use serde_json::{Value, json};

/// Calls a method of Python's list `l`.
fn python_list(python: &mut Process, method: &str, args: &Value) -> Value {
    python.call(json!({"op": "call", "kind": "list", "name": "l", "method": method, "args": args}))
}

fn items(list: &List) -> Vec<String> {
    list.item_pages(100).unwrap().concat()
}

/// The value that a JSON text is, as Python's answers carry it.
fn parsed(texts: &[String]) -> Value {
    texts
        .iter()
        .map(|text| serde_json::from_str::<Value>(text).unwrap())
        .collect()
}

both! {
    fn what_we_put_python_reads_as_its_own(files: &Files) {
        let store = files.open();
        let Some(mut python) = Process::python(&files.database()) else { return };
        let list = store.list("l").unwrap();
        for (n, value) in values().into_iter().enumerate() {
            match n % 3 {
                0 => list.push(&value.to_string()).unwrap(),
                1 => list.prepend(&value.to_string()).unwrap(),
                _ => list.insert(1, &value.to_string()).unwrap(),
            }
            assert_eq!(python_list(&mut python, "__contains__", &json!([value])), json!(true));
            // The stored text is the one Python would have stored.
            let text = python.call(json!({"op": "dumps", "text": value.to_string()}));
            assert!(items(&list).contains(&text.as_str().unwrap().to_owned()));
        }
        let all = items(&list);
        assert_eq!(python_list(&mut python, "__iter__", &json!([])), parsed(&all));
        assert_eq!(python_list(&mut python, "__len__", &json!([])), json!(all.len()));
        let first: Value = serde_json::from_str(&all[0]).unwrap();
        assert_eq!(python_list(&mut python, "deque", &json!([])), first);
        let last: Value = serde_json::from_str(&all[all.len() - 1]).unwrap();
        assert_eq!(python_list(&mut python, "pop", &json!([])), last);
        assert_eq!(items(&list), all[1..all.len() - 1]);
        assert_eq!(list.clear().unwrap(), all.len() as u64 - 2);
        assert_eq!(python_list(&mut python, "__iter__", &json!([])), json!([]));
    }

    fn what_python_puts_we_read_unaltered(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let list = files.open().list("l").unwrap();
        for (n, value) in values().into_iter().enumerate() {
            match n % 3 {
                0 => python_list(&mut python, "push", &json!([value])),
                1 => python_list(&mut python, "prepend", &json!([value])),
                _ => python_list(&mut python, "insert", &json!([1, value])),
            };
            let text = python.call(json!({"op": "dumps", "text": value.to_string()}));
            assert!(items(&list).contains(&text.as_str().unwrap().to_owned()));
            assert!(list.contains(&value.to_string()).unwrap());
        }
        let all = items(&list);
        assert_eq!(python_list(&mut python, "__iter__", &json!([])), parsed(&all));
        assert_eq!(list.pop_first().unwrap().as_ref(), all.first());
        assert_eq!(list.pop().unwrap().as_ref(), all.last());
        python_list(&mut python, "clear", &json!([]));
        assert_eq!(list.len().unwrap(), 0);
    }

    // Every step by one of the two, the result seen by both.
    fn each_goes_on_where_the_other_stopped(files: &Files) {
        let store = files.open();
        let Some(mut python) = Process::python(&files.database()) else { return };
        let list = store.list("l").unwrap();
        let mut model: Vec<Value> = Vec::new();
        for n in 0..60_usize {
            let (value, python_acts) = (json!({"n": n}), n / 7 % 2 == 0);
            let at = if model.is_empty() { 0 } else { n * 7 % model.len() };
            let index = json!(at);
            let place = i64::try_from(at).unwrap();
            // The same item, counted from the end.
            let negative = place - i64::try_from(model.len()).unwrap();
            match n % 10 {
                0 | 5 => {
                    if python_acts { python_list(&mut python, "push", &json!([value])); }
                    else { list.push(&value.to_string()).unwrap(); }
                    model.push(value);
                }
                1 => {
                    if python_acts { python_list(&mut python, "prepend", &json!([value])); }
                    else { list.prepend(&value.to_string()).unwrap(); }
                    model.insert(0, value);
                }
                2 | 6 | 7 | 8 => {
                    if python_acts { python_list(&mut python, "insert", &json!([index, value])); }
                    else { list.insert(place, &value.to_string()).unwrap(); }
                    model.insert(at, value);
                }
                3 => {
                    if python_acts { python_list(&mut python, "__setitem__", &json!([negative, value])); }
                    else { list.set(negative, &value.to_string()).unwrap(); }
                    model[at] = value;
                }
                4 => {
                    if python_acts { python_list(&mut python, "__delitem__", &json!([index])); }
                    else { list.delete(place).unwrap(); }
                    model.remove(at);
                }
                _ => {
                    let (taken, expected) = if python_acts {
                        (python_list(&mut python, "pop", &json!([])), model.pop())
                    } else {
                        let text = list.pop_first().unwrap().unwrap();
                        (serde_json::from_str(&text).unwrap(), Some(model.remove(0)))
                    };
                    assert_eq!(Some(taken), expected);
                }
            }
            assert_eq!(parsed(&items(&list)), json!(model));
            assert_eq!(python_list(&mut python, "__iter__", &json!([])), json!(model));
            for (start, stop) in [(json!(null), json!(null)), (json!(-3), json!(null)), (json!(1), json!(-2)), (json!(-100), json!(2))] {
                let theirs = python_list(&mut python, "__getitem__", &json!([{"$slice": [start, stop]}]));
                let ours = list.slice_pages(start.as_i64(), stop.as_i64(), 3).unwrap().concat();
                assert_eq!(parsed(&ours), theirs, "[{start}:{stop}]");
            }
            for index in [0, -1] {
                if !model.is_empty() {
                    let theirs = python_list(&mut python, "__getitem__", &json!([index]));
                    assert_eq!(parsed(&[list.get(index).unwrap().unwrap()])[0], theirs);
                }
            }
        }
    }

    // Python halves the gap until two keys collide; after one insert of ours
    // there it can go on.
    fn python_goes_on_where_its_own_keys_had_run_out(files: &Files) {
        let store = files.open();
        let Some(mut python) = Process::python(&files.database()) else { return };
        let list = store.list("l").unwrap();
        let mut model = vec![json!("a"), json!("z")];
        python_list(&mut python, "push", &json!(["a"]));
        python_list(&mut python, "push", &json!(["z"]));
        for round in 0..2 {
            let mut inserted = 0;
            loop {
                let value = json!([round, inserted]);
                python.send(&json!({"op": "call", "kind": "list", "name": "l", "method": "insert", "args": [1, value]}));
                let answer = python.answer();
                if let Some(error) = answer["error"].as_str() {
                    assert!(error.starts_with("IntegrityError"), "{error}");
                    break;
                }
                model.insert(1, value);
                inserted += 1;
                assert!(inserted < 100, "the reference has changed");
            }
            assert!(inserted >= 6, "room for {inserted}");
            list.insert(1, &format!("\"ours {round}\"")).unwrap();
            model.insert(1, json!(format!("ours {round}")));
            assert_eq!(parsed(&items(&list)), json!(model));
            assert_eq!(python_list(&mut python, "__iter__", &json!([])), json!(model));
            for index in [1, 2, -2] {
                let value = json!(format!("{round} {index}"));
                python_list(&mut python, "__setitem__", &json!([index, value]));
                let at = if index < 0 { model.len() - 2 } else { usize::try_from(index).unwrap() };
                model[at] = value;
            }
            assert_eq!(python_list(&mut python, "__getitem__", &json!([{"$slice": [0, 9]}])), json!(model[..9]));
        }
    }

    fn python_caches_see_every_write_to_a_list(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let list = files.open().list("l").unwrap();
        python.call(json!({"op": "cache", "seconds": 1e-9}));
        let mut seen = |expected: Value| {
            let first = python_list(&mut python, "__getitem__", &json!([0]));
            // Behind the cache's back: it answers from memory.
            sql(files, "UPDATE beaver_lists SET item_value = '-1' || item_value RETURNING 1");
            assert_eq!(python_list(&mut python, "__getitem__", &json!([0])), first);
            sql(files, "UPDATE beaver_lists SET item_value = substr(item_value, 3) RETURNING 1");
            assert_eq!(first, expected);
        };
        list.push("11").unwrap();
        seen(json!(11));
        list.prepend("12").unwrap();
        seen(json!(12));
        list.set(0, "13").unwrap();
        seen(json!(13));
        list.delete(0).unwrap();
        seen(json!(11));
        list.insert(0, "14").unwrap();
        seen(json!(14));
        list.pop_first().unwrap();
        seen(json!(11));
        let mut len = || python_list(&mut python, "__len__", &json!([]));
        assert_eq!(len(), json!(1));
        list.push("15").unwrap();
        assert_eq!(len(), json!(2));
        list.insert(1, "16").unwrap();
        assert_eq!(len(), json!(3));
        list.pop().unwrap();
        assert_eq!(len(), json!(2));
        list.clear().unwrap();
        assert_eq!(len(), json!(0));
    }

    // The same operations by either of the two: the same events.
    fn python_hears_of_our_writes_what_it_hears_of_its_own(files: &Files) {
        let store = files.open();
        let Some(mut python) = Process::python(&files.database()) else { return };
        let events = ["push", "prepend", "insert", "set", "del", "pop", "deque", "clear"];
        for event in events {
            python.call(json!({"op": "on", "topic": "list:l", "event": event}));
        }
        let list = store.list("l").unwrap();
        list.push("1").unwrap();
        list.prepend("2").unwrap();
        for index in [0, 1, 99, -99] {
            list.insert(index, "3").unwrap();
        }
        list.set(-1, "4").unwrap();
        list.delete(0).unwrap();
        list.pop().unwrap();
        list.pop_first().unwrap();
        list.clear().unwrap();
        // The reference tells of these although nothing changed; here nothing is told.
        list.pop().unwrap();
        list.clear().unwrap();
        list.delete(5).unwrap_err();
        let expected = |event: &str| match event {
            "push" => vec![json!({}); 2],
            "prepend" => vec![json!({}); 3],
            "insert" => [0, 1, 99, -99].map(|index| json!({"index": index})).to_vec(),
            "set" => vec![json!({"index": -1})],
            "del" => vec![json!({"index": 0})],
            _ => vec![json!({})],
        };
        for event in events {
            let expected = expected(event);
            let heard = json!({"op": "heard", "name": format!("list:l:{event}"), "count": expected.len()});
            assert_eq!(python.call(heard), json!(expected), "{event}");
        }
        let mut call = |method: &str, args: Value| python_list(&mut python, method, &args);
        call("push", json!([1]));
        call("prepend", json!([2]));
        for index in [0, 1, 99, -99] {
            call("insert", json!([index, 3]));
        }
        call("__setitem__", json!([-1, 4]));
        call("__delitem__", json!([0]));
        call("pop", json!([]));
        call("deque", json!([]));
        call("clear", json!([]));
        for event in events {
            let twice = [expected(event), expected(event)].concat();
            let heard = json!({"op": "heard", "name": format!("list:l:{event}"), "count": twice.len()});
            assert_eq!(python.call(heard), json!(twice), "{event}");
        }
    }

    fn a_python_method_on_a_list_is_not_cut_through(files: &Files) {
        drop(files.open().list("l").unwrap());
        // A holder of the internal lock whose method ends only when this test lets it.
        let set = |ends: &str| sql(files, &format!("INSERT OR REPLACE INTO beaver_lock_waiters
            VALUES ('__internal_lock__list__l', 'pid:1', 1.0, {ends}) RETURNING 1"));
        set("9e9");
        let options = Options { lock_wait: ms(20), ..Options::default() };
        let list = files.open_with(&options).unwrap().list("l").unwrap();
        for result in [list.push("1"), list.prepend("1"), list.insert(1, "1"), list.pop().map(drop), list.clear().map(drop)] {
            assert!(matches!(result, Err(Error::Locked(_))), "{result:?}");
        }
        assert_eq!(list.len().unwrap(), 0, "reading goes on");
        set("1.0");
        list.push("1").unwrap();
    }

    fn pushes_of_python_and_two_instances_are_all_there_once(files: &Files) {
        drop(files.open());
        let Some(mut python) = Process::python(&files.database()) else { return };
        std::thread::scope(|scope| {
            for worker in 0..2 {
                scope.spawn(move || {
                    let list = files.open().list("l").unwrap();
                    for n in 0..60 {
                        list.push(&format!("[{worker}, {n}]")).unwrap();
                    }
                });
            }
            for n in 0..20 {
                // The reference gives up after a second in line.
                loop {
                    python.send(&json!({"op": "call", "kind": "list", "name": "l", "method": "push", "args": [[2, n]]}));
                    let answer = python.answer();
                    match answer["error"].as_str() {
                        None => break,
                        Some(error) => assert!(error.starts_with("TimeoutError"), "{error}"),
                    }
                }
            }
        });
        let all = parsed(&items(&files.open().list("l").unwrap()));
        assert_eq!(python_list(&mut python, "__iter__", &json!([])), all);
        for (worker, count) in [(0, 60), (1, 60), (2, 20)] {
            let its: Vec<_> = all.as_array().unwrap().iter().filter(|item| item[0] == worker).cloned().collect();
            let expected: Vec<_> = (0..count).map(|n| json!([worker, n])).collect();
            assert_eq!(its, expected, "in the order of its pushes");
        }
        assert_eq!(all.as_array().unwrap().len(), 140);
    }
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
