//! What the reference store keeps, and what each operation does to it.
//!
//! What must stay true: an operation that gives an error or finds nothing has changed nothing.

use super::defect::{Defect, Sabotage};
use crate::protocol::{ErrorCode, Failure, Op};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Managers of one kind by name. Shared until written to, so that a copy of all is cheap.
type Managers<T> = BTreeMap<String, Arc<T>>;

/// All managers.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    dicts: Managers<BTreeMap<String, Value>>,
    lists: Managers<Vec<Value>>,
    queues: Managers<VecDeque<Item>>,
    collections: Managers<Collection>,
    blobs: Managers<BTreeMap<String, Arc<str>>>,
    logs: Managers<Vec<Value>>,
    channels: Managers<Vec<Value>>,
    /// How many certified operations there were.
    pub(super) commits: u64,
}

#[derive(Clone, Debug)]
struct Item {
    priority: f64,
    value: Value,
}

#[derive(Clone, Debug, Default)]
struct Collection {
    documents: BTreeMap<String, Value>,
    /// Source, label, target.
    edges: BTreeSet<(String, String, String)>,
    /// Which documents have a word.
    words: BTreeMap<String, BTreeSet<String>>,
}

/// What is delivered to those who follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stream {
    Log,
    Channel,
}

/// For writing: copied if somebody else has it too.
fn own<'a, T: Clone + Default>(managers: &'a mut Managers<T>, name: &str) -> &'a mut T {
    Arc::make_mut(managers.entry(name.to_owned()).or_default())
}

fn or_null(value: Option<&Value>) -> Value {
    value.cloned().unwrap_or(Value::Null)
}

fn out_of_range(index: i64) -> Failure {
    Failure::new(ErrorCode::OutOfRange, format!("no item {index}"))
}

fn words(body: &Value) -> BTreeSet<String> {
    let text = body.get("text").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().map(str::to_lowercase).collect()
}

/// Where `index` stands in a list of `length`; a negative one counts from the end.
fn place(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let index = if index < 0 { index + length } else { index };
    usize::try_from(index).ok().filter(|_| index < length)
}

impl Data {
    /// All values of a stream so far.
    pub(super) fn stream(&self, stream: Stream, name: &str) -> &[Value] {
        let streams = match stream {
            Stream::Log => &self.logs,
            Stream::Channel => &self.channels,
        };
        streams.get(name).map_or(&[], |values| values.as_slice())
    }

    /// Does it; none if it would have to wait for items that aren't there.
    pub(super) fn apply(
        &mut self,
        op: &Op,
        sabotage: &mut Sabotage,
    ) -> Option<Result<Value, Failure>> {
        let done = match op {
            Op::DictGet { .. } | Op::DictSet { .. } | Op::DictDelete { .. } => {
                self.dict(op, sabotage)
            }
            Op::ListPush { .. }
            | Op::ListInsert { .. }
            | Op::ListSet { .. }
            | Op::ListDelete { .. }
            | Op::ListItems { .. } => self.list(op, sabotage),
            Op::QueuePut { .. } | Op::QueueGet { .. } | Op::QueueGetBatch { .. } => {
                return self.queue(op, sabotage);
            }
            Op::CollectionIndex { .. }
            | Op::CollectionGet { .. }
            | Op::CollectionDrop { .. }
            | Op::CollectionConnect { .. }
            | Op::CollectionNeighbors { .. }
            | Op::CollectionMatch { .. } => self.collection(op, sabotage),
            Op::BlobPut { .. } | Op::BlobGet { .. } | Op::BlobDelete { .. } => {
                self.blob(op, sabotage)
            }
            Op::LogAppend { name, value } => {
                append(own(&mut self.logs, name), value, sabotage);
                Ok(Value::Null)
            }
            Op::LogRead { name } => Ok(json!(self.stream(Stream::Log, name))),
            Op::ChannelPublish { name, value } => {
                own(&mut self.channels, name).push(value.clone());
                Ok(Value::Null)
            }
            _ => Err(Failure::new(ErrorCode::Unsupported, op.name())),
        };
        Some(done)
    }

    fn dict(&mut self, op: &Op, sabotage: &mut Sabotage) -> Result<Value, Failure> {
        match op {
            Op::DictGet { name, key } => {
                let right = or_null(self.dicts.get(name).and_then(|dict| dict.get(key)));
                Ok(sabotage.stale(name, key).unwrap_or(right))
            }
            Op::DictSet { name, key, value } => {
                let dict = own(&mut self.dicts, name);
                sabotage.note_before(name, key, dict.get(key));
                if !sabotage.strikes(Defect::LostUpdate) {
                    dict.insert(key.clone(), value.clone());
                }
                Ok(Value::Null)
            }
            Op::DictDelete { name, key } => {
                let dict = own(&mut self.dicts, name);
                sabotage.note_before(name, key, dict.get(key));
                Ok(json!(dict.remove(key).is_some()))
            }
            _ => Err(Failure::new(ErrorCode::Unsupported, op.name())),
        }
    }

    fn list(&mut self, op: &Op, sabotage: &mut Sabotage) -> Result<Value, Failure> {
        match op {
            Op::ListItems { name } => {
                return Ok(self.lists.get(name).map_or(json!([]), |list| json!(**list)));
            }
            Op::ListPush { name, value } => own(&mut self.lists, name).push(value.clone()),
            Op::ListInsert { name, index, value } => {
                let list = own(&mut self.lists, name);
                let beyond = if *index < 0 { 0 } else { list.len() };
                let at = place(*index, list.len()).unwrap_or(beyond);
                let off = usize::from(sabotage.strikes(Defect::ListMisplaces));
                list.insert((at + off).min(list.len()), value.clone());
            }
            Op::ListSet { name, index, value } => {
                let list = own(&mut self.lists, name);
                let at = place(*index, list.len()).ok_or_else(|| out_of_range(*index))?;
                if let Some(item) = list.get_mut(at) {
                    *item = value.clone();
                }
            }
            Op::ListDelete { name, index } => {
                let list = own(&mut self.lists, name);
                let at = place(*index, list.len()).ok_or_else(|| out_of_range(*index))?;
                list.remove(at);
            }
            _ => return Err(Failure::new(ErrorCode::Unsupported, op.name())),
        }
        Ok(Value::Null)
    }

    fn queue(&mut self, op: &Op, sabotage: &mut Sabotage) -> Option<Result<Value, Failure>> {
        let shown = |item: Item| json!({"value": item.value, "priority": item.priority});
        match op {
            Op::QueuePut {
                name,
                value,
                priority,
            } => {
                if !priority.is_finite() {
                    return Some(Err(Failure::new(ErrorCode::Invalid, "priority")));
                }
                let queue = own(&mut self.queues, name);
                let at = queue.partition_point(|item| item.priority <= *priority);
                if !sabotage.strikes(Defect::QueueLoses) {
                    queue.insert(
                        at,
                        Item {
                            priority: *priority,
                            value: value.clone(),
                        },
                    );
                }
                Some(Ok(Value::Null))
            }
            Op::QueueGet { name, .. } => {
                let queue = own(&mut self.queues, name);
                let first = queue.front()?.clone();
                if sabotage.strikes(Defect::QueueDuplicates) {
                    return Some(Ok(shown(first)));
                }
                let taken = if sabotage.strikes(Defect::QueueUnordered) {
                    queue.pop_back()
                } else {
                    queue.pop_front()
                };
                taken.map(|item| Ok(shown(item)))
            }
            Op::QueueGetBatch { name, count, .. } => {
                let queue = own(&mut self.queues, name);
                let count = usize::try_from(*count).ok()?;
                if queue.len() < count {
                    if !queue.is_empty() && sabotage.strikes(Defect::PartialBatch) {
                        queue.pop_front();
                    }
                    return None;
                }
                let left =
                    (queue.len() > count && count > 1 && sabotage.strikes(Defect::TornBatch))
                        .then(|| queue.remove(1))
                        .flatten();
                let count = count - usize::from(count > 1 && sabotage.strikes(Defect::ShortBatch));
                let batch: Vec<Value> = queue.drain(..count).map(shown).collect();
                if let Some(left) = left {
                    queue.push_front(left);
                }
                Some(Ok(json!(batch)))
            }
            _ => Some(Err(Failure::new(ErrorCode::Unsupported, op.name()))),
        }
    }

    fn collection(&mut self, op: &Op, sabotage: &mut Sabotage) -> Result<Value, Failure> {
        match op {
            Op::CollectionIndex { name, key, body } => {
                if !body.is_object() {
                    return Err(Failure::new(ErrorCode::Invalid, "body"));
                }
                let collection = own(&mut self.collections, name);
                collection.forget_words(key);
                if !sabotage.strikes(Defect::HalfIndexed) {
                    for word in words(body) {
                        collection
                            .words
                            .entry(word)
                            .or_default()
                            .insert(key.clone());
                    }
                }
                collection.documents.insert(key.clone(), body.clone());
                Ok(Value::Null)
            }
            Op::CollectionDrop { name, key } => {
                let collection = own(&mut self.collections, name);
                if !sabotage.strikes(Defect::HalfDropped) {
                    collection.forget_words(key);
                }
                collection
                    .edges
                    .retain(|(source, _, target)| source != key && target != key);
                Ok(json!(collection.documents.remove(key).is_some()))
            }
            Op::CollectionConnect {
                name,
                source,
                target,
                label,
            } => {
                let edge = (source.clone(), label.clone(), target.clone());
                own(&mut self.collections, name).edges.insert(edge);
                Ok(Value::Null)
            }
            Op::CollectionGet { name, key } => Ok(or_null(
                self.collections
                    .get(name)
                    .and_then(|it| it.documents.get(key)),
            )),
            Op::CollectionNeighbors { name, key, label } => {
                let Some(collection) = self.collections.get(name) else {
                    return Ok(json!([]));
                };
                let leads = collection.edges.iter().filter(|(source, of, target)| {
                    source == key && of == label && collection.documents.contains_key(target)
                });
                Ok(json!(
                    leads.map(|(_, _, target)| target).collect::<Vec<_>>()
                ))
            }
            Op::CollectionMatch { name, text } => {
                let collection = self.collections.get(name);
                let found = collection.and_then(|it| it.words.get(&text.to_lowercase()));
                Ok(found.map_or(json!([]), |ids| json!(ids)))
            }
            _ => Err(Failure::new(ErrorCode::Unsupported, op.name())),
        }
    }

    fn blob(&mut self, op: &Op, sabotage: &mut Sabotage) -> Result<Value, Failure> {
        match op {
            Op::BlobPut { name, key, data } => {
                let blobs = own(&mut self.blobs, name);
                let torn = blobs.get(key).and_then(|old| {
                    let half = data.len() / 2;
                    let (head, tail) = (data.get(..half)?, old.get(half..)?);
                    sabotage
                        .strikes(Defect::TornBlob)
                        .then(|| format!("{head}{tail}"))
                });
                blobs.insert(key.clone(), torn.as_deref().unwrap_or(data).into());
                Ok(Value::Null)
            }
            Op::BlobGet { name, key } => {
                let data = self.blobs.get(name).and_then(|blobs| blobs.get(key));
                Ok(data.map_or(Value::Null, |data| json!(**data)))
            }
            Op::BlobDelete { name, key } => {
                Ok(json!(own(&mut self.blobs, name).remove(key).is_some()))
            }
            _ => Err(Failure::new(ErrorCode::Unsupported, op.name())),
        }
    }
}

fn append(log: &mut Vec<Value>, value: &Value, sabotage: &mut Sabotage) {
    if sabotage.strikes(Defect::LogLoses) {
        return;
    }
    let at = log.len();
    let early = at > 0 && sabotage.strikes(Defect::LogOutOfOrder);
    log.insert(at - usize::from(early), value.clone());
}

impl Collection {
    fn forget_words(&mut self, id: &str) {
        for ids in self.words.values_mut() {
            ids.remove(id);
        }
        self.words.retain(|_, ids| !ids.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(data: &mut Data, ops: Value) -> Vec<Value> {
        let mut sabotage = Sabotage::default();
        let each = ops.as_array().unwrap().iter().map(|op| {
            let op: Op = serde_json::from_value(op.clone()).unwrap();
            match data.apply(&op, &mut sabotage) {
                Some(Ok(value)) => value,
                Some(Err(failure)) => json!(failure.error.name()),
                None => json!("nothing"),
            }
        });
        each.collect()
    }

    #[test]
    fn a_list_is_edited_by_index() {
        let mut data = Data::default();
        let said = run(
            &mut data,
            json!([
                {"op": "list-push", "name": "l", "value": "a"},
                {"op": "list-insert", "name": "l", "index": 0, "value": "b"},
                {"op": "list-insert", "name": "l", "index": 9, "value": "c"},
                {"op": "list-set", "name": "l", "index": 1, "value": "A"},
                {"op": "list-items", "name": "l"},
                {"op": "list-delete", "name": "l", "index": 0},
                {"op": "list-delete", "name": "l", "index": 2},
                {"op": "list-set", "name": "l", "index": 7, "value": 0},
                {"op": "list-items", "name": "l"},
            ]),
        );
        assert_eq!(said[4], json!(["b", "A", "c"]));
        assert_eq!(
            said[6..],
            [
                json!("out-of-range"),
                json!("out-of-range"),
                json!(["A", "c"])
            ]
        );
    }

    #[test]
    fn a_queue_gives_the_least_first_and_equals_as_they_came() {
        let mut data = Data::default();
        let put = |value: &str, priority: i32| json!({"op": "queue-put", "name": "q", "value": value, "priority": priority});
        run(
            &mut data,
            json!([put("c", 2), put("a", 1), put("b", 1), put("d", 2)]),
        );
        let get = json!({"op": "queue-get", "name": "q", "timeout_ms": 0});
        let batch = |count: u32| json!({"op": "queue-get-batch", "name": "q", "count": count});
        let said = run(&mut data, json!([get, batch(4), batch(2), get, get]));
        assert_eq!(said[0], json!({"value": "a", "priority": 1.0}));
        assert_eq!(said[1], json!("nothing"));
        assert_eq!(said[2][0]["value"], "b");
        assert_eq!(said[2][1]["value"], "c");
        assert_eq!(said[3]["value"], "d");
        assert_eq!(said[4], "nothing");
    }

    #[test]
    fn a_document_goes_with_its_edges_and_words() {
        let mut data = Data::default();
        let index = |key: &str, text: &str| {
            serde_json::to_value(Op::CollectionIndex {
                name: "c".into(),
                key: key.into(),
                body: json!({"text": text}),
            })
            .unwrap()
        };
        let find = |text: &str| json!({"op": "collection-match", "name": "c", "text": text});
        let leads = serde_json::to_value(Op::CollectionNeighbors {
            name: "c".into(),
            key: "a".into(),
            label: "to".into(),
        })
        .unwrap();
        let drop = serde_json::to_value(Op::CollectionDrop {
            name: "c".into(),
            key: "b".into(),
        })
        .unwrap();
        let said = run(
            &mut data,
            json!([
                index("a", "one common"), index("b", "two common"),
                {"op": "collection-connect", "name": "c", "source": "a", "target": "b", "label": "to"},
                find("common"), leads, index("a", "three common"), find("one"), leads,
                drop, find("common"), leads, drop, index("b", "back"), leads,
            ]),
        );
        assert_eq!(said[3..5], [json!(["a", "b"]), json!(["b"])]);
        assert_eq!(said[6..8], [json!([]), json!(["b"])]);
        assert_eq!(
            said[8..12],
            [json!(true), json!(["a"]), json!([]), json!(false)]
        );
        assert_eq!(said[13], json!([]));
    }

    #[test]
    fn a_copy_keeps_what_was() {
        let mut data = Data::default();
        let set = |value: u32| json!([{"op": "dict-set", "name": "d", "key": "k", "value": value}]);
        run(&mut data, set(1));
        let before = data.clone();
        run(&mut data, set(2));
        let get = json!([{"op": "dict-get", "name": "d", "key": "k"}]);
        assert_eq!(run(&mut before.clone(), get.clone()), [json!(1)]);
        assert_eq!(run(&mut data, get), [json!(2)]);
    }
}
