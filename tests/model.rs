//! Random operations against plain Rust models, natively and in the component.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{Error, Files, System, ms};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum DictOp {
    Set(String, i64),
    Get(String),
    Contains(String),
    Delete(String),
    Pop(String),
    Len,
    Items(u32),
    Clear,
    /// Runs the operations in a transaction; commits if true.
    Transaction(Vec<DictOp>, bool),
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-e]", 1 => "[aé😀 ]{0,3}"]
}

fn dict_op() -> impl Strategy<Value = DictOp> {
    let single = prop_oneof![
        6 => (key(), any::<i64>()).prop_map(|(k, v)| DictOp::Set(k, v)),
        3 => key().prop_map(DictOp::Get),
        1 => key().prop_map(DictOp::Contains),
        2 => key().prop_map(DictOp::Delete),
        2 => key().prop_map(DictOp::Pop),
        1 => Just(DictOp::Len),
        1 => (1..5_u32).prop_map(DictOp::Items),
        1 => Just(DictOp::Clear),
    ];
    prop_oneof![
        8 => single.clone(),
        1 => (prop::collection::vec(single, 0..6), any::<bool>())
            .prop_map(|(ops, commit)| DictOp::Transaction(ops, commit)),
    ]
}

fn apply_dict(
    store: &beaver_tests::Store,
    dict: &beaver_tests::Dict,
    model: &mut BTreeMap<String, String>,
    op: &DictOp,
) -> Result<(), TestCaseError> {
    match op {
        DictOp::Set(key, value) => {
            dict.set(key, &value.to_string(), None).unwrap();
            model.insert(key.clone(), value.to_string());
        }
        DictOp::Get(key) => prop_assert_eq!(dict.get(key).unwrap(), model.get(key).cloned()),
        DictOp::Contains(key) => {
            prop_assert_eq!(dict.contains(key).unwrap(), model.contains_key(key));
        }
        DictOp::Delete(key) => {
            prop_assert_eq!(dict.delete(key).unwrap(), model.remove(key).is_some());
        }
        DictOp::Pop(key) => prop_assert_eq!(dict.pop(key).unwrap(), model.remove(key)),
        DictOp::Len => prop_assert_eq!(dict.len().unwrap(), model.len() as u64),
        DictOp::Items(max) => {
            let items: Vec<_> = dict
                .item_pages(*max)
                .unwrap()
                .concat()
                .into_iter()
                .map(|entry| (entry.key, entry.value))
                .collect();
            let expected: Vec<_> = model.clone().into_iter().collect();
            prop_assert_eq!(items, expected);
        }
        DictOp::Clear => {
            prop_assert_eq!(dict.clear().unwrap(), model.len() as u64);
            model.clear();
        }
        DictOp::Transaction(ops, commit) => {
            let mut inside = model.clone();
            let transaction = store.begin().unwrap();
            for op in ops {
                apply_dict(store, dict, &mut inside, op)?;
            }
            if *commit {
                transaction.commit().unwrap();
                *model = inside;
            } else {
                transaction.rollback().unwrap();
            }
        }
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum QueueOp {
    Put(u32, f64),
    TryGet,
    GetBatch(u32),
    Peek,
    Len,
    Items(u32),
    Clear,
}

fn queue_op() -> impl Strategy<Value = QueueOp> {
    let priority = prop_oneof![
        Just(0.0),
        Just(-0.0),
        Just(1.0),
        Just(-1.5),
        Just(f64::INFINITY),
        any::<f64>().prop_filter("not NaN", |p| !p.is_nan()),
    ];
    prop_oneof![
        6 => (any::<u32>(), priority).prop_map(|(v, p)| QueueOp::Put(v, p)),
        3 => Just(QueueOp::TryGet),
        2 => (1..4_u32).prop_map(QueueOp::GetBatch),
        1 => Just(QueueOp::Peek),
        1 => Just(QueueOp::Len),
        1 => (1..4_u32).prop_map(QueueOp::Items),
        1 => Just(QueueOp::Clear),
    ]
}

fn apply_queue(
    queue: &beaver_tests::Queue,
    model: &mut Vec<(f64, String)>,
    op: &QueueOp,
) -> Result<(), TestCaseError> {
    match op {
        QueueOp::Put(value, priority) => {
            queue.put(&value.to_string(), *priority).unwrap();
            let at = model.partition_point(|(p, _)| p <= priority);
            model.insert(at, (*priority, value.to_string()));
        }
        QueueOp::TryGet => {
            let expected = (!model.is_empty()).then(|| model.remove(0));
            let taken = queue
                .try_get()
                .unwrap()
                .map(|item| (item.priority, item.data));
            prop_assert_eq!(taken, expected);
        }
        QueueOp::GetBatch(count) => {
            let taken = queue.get_batch(*count, Some(ms(0)));
            if model.len() < *count as usize {
                prop_assert_eq!(taken.unwrap_err(), Error::Timeout);
            } else {
                let expected: Vec<_> = model.drain(..*count as usize).map(|(_, v)| v).collect();
                let taken: Vec<_> = taken.unwrap().into_iter().map(|item| item.data).collect();
                prop_assert_eq!(taken, expected);
            }
        }
        QueueOp::Peek => {
            let seen = queue.peek().unwrap().map(|item| (item.priority, item.data));
            prop_assert_eq!(seen, model.first().cloned());
        }
        QueueOp::Len => prop_assert_eq!(queue.len().unwrap(), model.len() as u64),
        QueueOp::Items(max) => {
            let items: Vec<_> = queue
                .item_pages(*max)
                .unwrap()
                .concat()
                .into_iter()
                .map(|item| (item.priority, item.data))
                .collect();
            prop_assert_eq!(&items, model);
        }
        QueueOp::Clear => {
            prop_assert_eq!(queue.clear().unwrap(), model.len() as u64);
            model.clear();
        }
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum ListOp {
    Push(u32),
    Prepend(u32),
    Insert(i64, u32),
    /// The same place again and again, by two handles in turn.
    Crowd(i64, u32),
    Get(i64),
    Set(i64, u32),
    Delete(i64),
    Pop,
    PopFirst,
    Contains(u32),
    Len,
    Slice(Option<i64>, Option<i64>, u32),
    Clear,
    /// Runs the operations in a transaction; commits if true.
    Transaction(Vec<ListOp>, bool),
}

fn index() -> impl Strategy<Value = i64> {
    prop_oneof![8 => -12..12_i64, 2 => -200..200_i64, 1 => any::<i64>()]
}

fn list_op() -> impl Strategy<Value = ListOp> {
    let value = 0..20_u32;
    let single = prop_oneof![
        4 => value.clone().prop_map(ListOp::Push),
        3 => value.clone().prop_map(ListOp::Prepend),
        5 => (index(), value.clone()).prop_map(|(i, v)| ListOp::Insert(i, v)),
        2 => (index(), 1..90_u32).prop_map(|(i, n)| ListOp::Crowd(i, n)),
        3 => index().prop_map(ListOp::Get),
        2 => (index(), value.clone()).prop_map(|(i, v)| ListOp::Set(i, v)),
        2 => index().prop_map(ListOp::Delete),
        2 => Just(ListOp::Pop),
        2 => Just(ListOp::PopFirst),
        1 => value.prop_map(ListOp::Contains),
        1 => Just(ListOp::Len),
        3 => (prop::option::of(index()), prop::option::of(index()), 1..50_u32)
            .prop_map(|(start, stop, max)| ListOp::Slice(start, stop, max)),
        1 => Just(ListOp::Clear),
    ];
    prop_oneof![
        10 => single.clone(),
        1 => (prop::collection::vec(single, 0..6), any::<bool>())
            .prop_map(|(ops, commit)| ListOp::Transaction(ops, commit)),
    ]
}

/// The place of an index, clamped as Python clamps it.
fn place(model: &[String], index: i64) -> usize {
    let len = i64::try_from(model.len()).unwrap();
    let place = if index < 0 {
        index.saturating_add(len)
    } else {
        index
    };
    usize::try_from(place.clamp(0, len)).unwrap()
}

/// The place of an item that is there.
fn existing(model: &[String], index: i64) -> Option<usize> {
    let len = i64::try_from(model.len()).unwrap();
    (-len..len).contains(&index).then(|| place(model, index))
}

fn apply_list(
    store: &beaver_tests::Store,
    lists: &[beaver_tests::List; 2],
    model: &mut Vec<String>,
    op: &ListOp,
) -> Result<(), TestCaseError> {
    let list = &lists[0];
    match op {
        ListOp::Push(value) => {
            list.push(&value.to_string()).unwrap();
            model.push(value.to_string());
        }
        ListOp::Prepend(value) => {
            list.prepend(&value.to_string()).unwrap();
            model.insert(0, value.to_string());
        }
        ListOp::Insert(index, value) => {
            list.insert(*index, &value.to_string()).unwrap();
            model.insert(place(model, *index), value.to_string());
        }
        ListOp::Crowd(index, count) => {
            for n in 0..*count {
                lists[(n % 2) as usize]
                    .insert(*index, &n.to_string())
                    .unwrap();
                model.insert(place(model, *index), n.to_string());
            }
        }
        ListOp::Get(index) => {
            let expected = existing(model, *index).map(|at| model[at].clone());
            prop_assert_eq!(list.get(*index).unwrap(), expected);
        }
        ListOp::Set(index, value) => {
            let result = list.set(*index, &value.to_string());
            match existing(model, *index) {
                Some(at) => model[at] = value.to_string(),
                None => prop_assert_eq!(result.unwrap_err(), Error::OutOfRange),
            }
        }
        ListOp::Delete(index) => {
            let result = list.delete(*index);
            match existing(model, *index) {
                Some(at) => drop(model.remove(at)),
                None => prop_assert_eq!(result.unwrap_err(), Error::OutOfRange),
            }
        }
        ListOp::Pop => prop_assert_eq!(list.pop().unwrap(), model.pop()),
        ListOp::PopFirst => {
            let expected = (!model.is_empty()).then(|| model.remove(0));
            prop_assert_eq!(list.pop_first().unwrap(), expected);
        }
        ListOp::Contains(value) => {
            let value = value.to_string();
            prop_assert_eq!(list.contains(&value).unwrap(), model.contains(&value));
        }
        ListOp::Len => prop_assert_eq!(list.len().unwrap(), model.len() as u64),
        ListOp::Slice(start, stop, max) => {
            let from = place(model, start.unwrap_or(0));
            let to = stop
                .map_or(model.len(), |stop| place(model, stop))
                .max(from);
            let found = list.slice_pages(*start, *stop, *max).unwrap().concat();
            prop_assert_eq!(&found[..], &model[from..to]);
        }
        ListOp::Clear => {
            prop_assert_eq!(list.clear().unwrap(), model.len() as u64);
            model.clear();
        }
        ListOp::Transaction(ops, commit) => {
            let mut inside = model.clone();
            let transaction = store.begin().unwrap();
            for op in ops {
                apply_list(store, lists, &mut inside, op)?;
            }
            if *commit {
                transaction.commit().unwrap();
                *model = inside;
            } else {
                transaction.rollback().unwrap();
            }
        }
    }
    Ok(())
}

fn check_list(system: System, ops: &[ListOp]) -> Result<(), TestCaseError> {
    let files = Files::new(system);
    let store = files.open();
    let lists = [store.list("l").unwrap(), store.list("l").unwrap()];
    let mut model = Vec::new();
    for op in ops {
        apply_list(&store, &lists, &mut model, op)?;
    }
    apply_list(&store, &lists, &mut model, &ListOp::Slice(None, None, 7))
}

fn check_dict(system: System, ops: &[DictOp]) -> Result<(), TestCaseError> {
    let files = Files::new(system);
    let store = files.open();
    let dict = store.dict("d").unwrap();
    let mut model = BTreeMap::new();
    for op in ops {
        apply_dict(&store, &dict, &mut model, op)?;
    }
    apply_dict(&store, &dict, &mut model, &DictOp::Items(2))
}

fn check_queue(system: System, ops: &[QueueOp]) -> Result<(), TestCaseError> {
    let files = Files::new(system);
    let queue = files.open().queue("q").unwrap();
    let mut model = Vec::new();
    for op in ops {
        apply_queue(&queue, &mut model, op)?;
    }
    apply_queue(&queue, &mut model, &QueueOp::Items(2))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn dict_native(ops in prop::collection::vec(dict_op(), 1..40)) {
        check_dict(System::Native, &ops)?;
    }

    #[test]
    fn dict_component(ops in prop::collection::vec(dict_op(), 1..40)) {
        check_dict(System::Component, &ops)?;
    }

    #[test]
    fn queue_native(ops in prop::collection::vec(queue_op(), 1..40)) {
        check_queue(System::Native, &ops)?;
    }

    #[test]
    fn queue_component(ops in prop::collection::vec(queue_op(), 1..40)) {
        check_queue(System::Component, &ops)?;
    }

    #[test]
    fn list_native(ops in prop::collection::vec(list_op(), 1..40)) {
        check_list(System::Native, &ops)?;
    }

    #[test]
    fn list_component(ops in prop::collection::vec(list_op(), 1..40)) {
        check_list(System::Component, &ops)?;
    }
}
