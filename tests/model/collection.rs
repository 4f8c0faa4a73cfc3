//! Collections: documents, their words, their vectors, and the graph between them.

use super::{Checked, Machine, Moment, Said, invalid};
use beaver_tests::{
    Collection, Cursor, Direction, Document, Edge, FullText, Hit, IndexOptions, MatchOptions,
    Metric, Result, Store, WalkOptions,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

pub(crate) struct Collections;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Index {
        id: String,
        /// Of its two fields.
        words: [Vec<&'static str>; 2],
        /// Of so many dimensions, of which a collection takes one number.
        vector: Option<Vec<i8>>,
        /// Which field is to be found.
        on: [bool; 2],
        fuzzy: bool,
    },
    Get(String),
    Drop(String),
    Len,
    Clear,
    Compact,
    Connect(String, String, bool),
    Disconnect(String, String, bool),
    Edges(String, Way, u32),
    Neighbors(String, Option<bool>, Way, u32),
    Walk {
        start: String,
        depth: u32,
        only: Option<bool>,
        way: Way,
        max: u32,
    },
    Match(Words, Vec<usize>),
    Search([i8; 2], u32, bool),
    Documents(u32),
    /// Starts an iteration over all, or goes on with it.
    Open,
    Next(u32),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Outgoing,
    Incoming,
    Both,
}

impl Way {
    fn direction(self) -> Direction {
        match self {
            Self::Outgoing => Direction::Outgoing,
            Self::Incoming => Direction::Incoming,
            Self::Both => Direction::Both,
        }
    }
}

/// A query.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Words {
    One(&'static str),
    Both(&'static str, &'static str),
    Either(&'static str, &'static str),
}

impl Words {
    fn query(self) -> String {
        match self {
            Self::One(word) => word.into(),
            Self::Both(a, b) => format!("{a} AND {b}"),
            Self::Either(a, b) => format!("{a} OR {b}"),
        }
    }

    /// Whether it matches a field's text.
    fn are_in(self, text: &str) -> bool {
        let has = |word| text.split(' ').any(|other| other == word);
        match self {
            Self::One(word) => has(word),
            Self::Both(a, b) => has(a) && has(b),
            Self::Either(a, b) => has(a) || has(b),
        }
    }
}

#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Done,
    Is(bool),
    Count(u64),
    Text(String),
    Document(Option<Document>),
    Documents(Vec<Document>),
    Ids(BTreeSet<String>),
    Nearest(Vec<(String, f64)>),
    Edges(Vec<Edge>),
    /// Each with how far it is; the order of those at one depth is free.
    Steps(BTreeSet<(u32, String)>),
}

#[derive(Clone, Debug)]
pub(crate) struct Held {
    texts: [String; 2],
    vector: Option<Vec<f32>>,
    on: [bool; 2],
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Contents {
    documents: BTreeMap<String, Held>,
    /// Source, target, label; the step that last connected them is the metadata.
    edges: BTreeMap<(String, String, &'static str), u64>,
}

#[derive(Debug, Default)]
pub(crate) enum Iteration {
    #[default]
    Closed,
    Begun,
    After(String),
    Ended,
}

pub(crate) struct Handle {
    collection: Collection,
    documents: Option<Cursor<Document>>,
}

const FIELDS: [&str; 2] = ["one", "two.in"];
const WORDS: [&str; 5] = ["beaver", "river", "tree", "dam", "otter"];

fn label(first: bool) -> &'static str {
    if first { "x" } else { "y" }
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-c]",
        1 => prop::sample::select(vec!["-".to_owned(), String::new(), "é \"x".to_owned()]),
    ]
}

fn way() -> impl Strategy<Value = Way> {
    prop::sample::select(vec![Way::Outgoing, Way::Incoming, Way::Both])
}

fn words() -> impl Strategy<Value = Words> {
    let word = || prop::sample::select(&WORDS[..]);
    prop_oneof![
        2 => word().prop_map(Words::One),
        1 => (word(), word()).prop_map(|(a, b)| Words::Both(a, b)),
        1 => (word(), word()).prop_map(|(a, b)| Words::Either(a, b)),
    ]
}

fn body(texts: &[String; 2]) -> String {
    let [one, two] = texts;
    format!("{{\"one\": \"{one}\", \"two\": {{\"in\": \"{two}\"}}}}")
}

fn floats(vector: &[i8]) -> Vec<f32> {
    vector.iter().copied().map(f32::from).collect()
}

impl Contents {
    fn document(&self, id: &str) -> Option<Document> {
        let held = self.documents.get(id)?;
        Some(Document {
            id: id.to_owned(),
            body: body(&held.texts),
            embedding: held.vector.clone(),
        })
    }

    /// The edges of `id` in one direction, each with the id at its other end, in
    /// order of those.
    fn from(&self, id: &str, way: Way) -> Vec<(String, Edge)> {
        let mut edges: Vec<_> = self
            .edges
            .iter()
            .filter_map(|((source, target, label), step)| {
                let other = match way {
                    Way::Incoming if target == id => source,
                    Way::Outgoing if source == id => target,
                    _ => return None,
                };
                let edge = Edge {
                    source: source.clone(),
                    target: target.clone(),
                    label: (*label).to_owned(),
                    metadata: Some(step.to_string()),
                };
                Some((other.clone(), edge))
            })
            .collect();
        edges.sort_by(|(a, x), (b, y)| (a, &x.label).cmp(&(b, &y.label)));
        edges
    }

    /// The same in both, the outgoing ones first.
    fn around(&self, id: &str, way: Way) -> Vec<(String, Edge)> {
        match way {
            Way::Both => {
                let mut all = self.from(id, Way::Outgoing);
                all.extend(self.from(id, Way::Incoming));
                all
            }
            way => self.from(id, way),
        }
    }

    fn has(&self, id: &String) -> bool {
        self.documents.contains_key(id)
    }

    fn neighbors(&self, id: &str, only: Option<bool>, way: Way) -> BTreeSet<String> {
        self.around(id, way)
            .into_iter()
            .filter(|(_, edge)| only.is_none_or(|first| edge.label == label(first)))
            .map(|(other, _)| other)
            .collect()
    }

    fn walk(&self, start: &str, depth: u32, only: Option<bool>, way: Way) -> Answer {
        let mut reached: BTreeMap<String, u32> = BTreeMap::new();
        let mut front = BTreeSet::from([start.to_owned()]);
        for depth in 1..=depth {
            let next = front
                .iter()
                .flat_map(|id| self.neighbors(id, only, way))
                .filter(|id| !reached.contains_key(id))
                .collect::<BTreeSet<_>>();
            reached.extend(next.iter().map(|id| (id.clone(), depth)));
            front = next;
        }
        let there = reached.into_iter().filter(|(id, _)| self.has(id));
        Answer::Steps(there.map(|(id, depth)| (depth, id)).collect())
    }

    fn dimensions(&self) -> Option<usize> {
        self.documents
            .values()
            .find_map(|held| held.vector.as_ref().map(Vec::len))
    }

    /// Every vector compared. Whole numbers this small make exact sums.
    fn nearest(&self, query: [i8; 2], top_k: u32, cosine: bool) -> Result<Answer> {
        let [x, y] = query.map(f64::from);
        if top_k == 0 || cosine && x == 0.0 && y == 0.0 || self.dimensions().is_some_and(|d| d != 2)
        {
            return Err(invalid());
        }
        let mut all: Vec<_> = self
            .documents
            .iter()
            .filter_map(|(id, held)| {
                let [a, b] = held.vector.as_deref()? else {
                    return None;
                };
                let (a, b) = (f64::from(*a), f64::from(*b));
                let distance = if !cosine {
                    (a - x).powi(2) + (b - y).powi(2)
                } else if a == 0.0 && b == 0.0 {
                    1.0
                } else {
                    1.0 - (a * x + b * y) / ((a * a + b * b) * (x * x + y * y)).sqrt()
                };
                Some((id.clone(), distance))
            })
            .collect();
        all.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(top_k as usize);
        Ok(Answer::Nearest(all))
    }
}

/// A cosine in a model and in a sum of floats differ in the last digits.
fn is_near(found: &[(String, f64)], expected: &[(String, f64)]) -> bool {
    let mut distances = found.iter().zip(expected);
    found.len() == expected.len() && distances.all(|(a, b)| (a.1 - b.1).abs() < 1e-6)
}

fn ids(hits: &[Hit]) -> BTreeSet<String> {
    // Best first, each once.
    assert!(hits.windows(2).all(|pair| pair[0].score <= pair[1].score));
    let ids: BTreeSet<_> = hits.iter().map(|hit| hit.document.id.clone()).collect();
    assert_eq!(ids.len(), hits.len());
    ids
}

impl Machine for Collections {
    type Op = Op;
    type Answer = Answer;
    type Contents = Contents;
    type Handle = Handle;
    type Place = Iteration;

    fn op() -> BoxedStrategy<Op> {
        let texts = || prop::collection::vec(prop::sample::select(&WORDS[..]), 0..4);
        let vector = prop_oneof![
            2 => Just(None),
            6 => prop::collection::vec(any::<i8>(), 2).prop_map(Some),
            1 => prop::collection::vec(-1..2_i8, 2).prop_map(Some),
            1 => prop::collection::vec(any::<i8>(), 0..4).prop_map(Some),
        ];
        let only = || prop::option::of(any::<bool>());
        let max = || 0..4_u32;
        prop_oneof![
            10 => (id(), [texts(), texts()], vector, any::<[bool; 2]>(), any::<bool>()).prop_map(
                |(id, words, vector, on, fuzzy)| Op::Index { id, words, vector, on, fuzzy }
            ),
            2 => id().prop_map(Op::Get),
            3 => id().prop_map(Op::Drop),
            1 => Just(Op::Len),
            1 => Just(Op::Clear),
            1 => Just(Op::Compact),
            7 => (id(), id(), any::<bool>()).prop_map(|(a, b, first)| Op::Connect(a, b, first)),
            2 => (id(), id(), any::<bool>()).prop_map(|(a, b, first)| Op::Disconnect(a, b, first)),
            2 => (id(), way(), max()).prop_map(|(id, way, max)| Op::Edges(id, way, max)),
            2 => (id(), only(), way(), max())
                .prop_map(|(id, only, way, max)| Op::Neighbors(id, only, way, max)),
            3 => (id(), 0..4_u32, only(), way(), max()).prop_map(
                |(start, depth, only, way, max)| Op::Walk { start, depth, only, way, max }
            ),
            4 => (words(), prop::sample::subsequence(vec![0, 1], 0..3))
                .prop_map(|(words, on)| Op::Match(words, on)),
            4 => (any::<[i8; 2]>(), 0..4_u32, any::<bool>())
                .prop_map(|(vector, top_k, cosine)| Op::Search(vector, top_k, cosine)),
            1 => max().prop_map(Op::Documents),
            1 => Just(Op::Open),
            3 => max().prop_map(Op::Next),
        ]
        .boxed()
    }

    fn open(store: &Store, name: &str) -> Result<Handle> {
        Ok(Handle {
            collection: store.collection(name)?,
            documents: None,
        })
    }

    fn run(handle: &mut Handle, _: &Contents, op: &Op, now: Moment) -> Result<Answer> {
        let collection = &handle.collection;
        Ok(match op {
            Op::Index {
                id,
                words,
                vector,
                on,
                fuzzy,
            } => {
                let wanted = FIELDS.iter().zip(on).filter(|(_, on)| **on);
                let options = IndexOptions {
                    full_text: FullText::Fields(
                        wanted.map(|(field, _)| (*field).to_owned()).collect(),
                    ),
                    fuzzy: *fuzzy,
                };
                let body = body(&words.each_ref().map(|words| words.join(" ")));
                let vector = vector.as_deref().map(floats);
                Answer::Text(collection.index(
                    Some(id),
                    Some(&body),
                    vector.as_deref(),
                    &options,
                )?)
            }
            Op::Get(id) => Answer::Document(collection.get(id)?),
            Op::Drop(id) => Answer::Is(collection.drop(id)?),
            Op::Len => Answer::Count(collection.len()?),
            Op::Clear => Answer::Count(collection.clear()?),
            Op::Compact => {
                collection.compact()?;
                Answer::Done
            }
            Op::Connect(source, target, first) => {
                let metadata = now.step.to_string();
                collection.connect(source, target, label(*first), Some(&metadata))?;
                Answer::Done
            }
            Op::Disconnect(source, target, first) => {
                Answer::Is(collection.disconnect(source, target, label(*first))?)
            }
            Op::Edges(id, way, max) => {
                Answer::Edges(collection.edge_pages(id, way.direction(), *max)?.concat())
            }
            Op::Neighbors(id, only, way, max) => {
                let pages =
                    collection.neighbor_pages(id, only.map(label), way.direction(), *max)?;
                Answer::Documents(pages.concat())
            }
            Op::Walk {
                start,
                depth,
                only,
                way,
                max,
            } => {
                let options = WalkOptions {
                    depth: *depth,
                    labels: only
                        .map(|first| label(first).to_owned())
                        .into_iter()
                        .collect(),
                    direction: way.direction(),
                };
                let steps = collection.walk_pages(start, &options, *max)?.concat();
                assert!(steps.windows(2).all(|pair| pair[0].depth <= pair[1].depth));
                let count = steps.len();
                let steps: BTreeSet<_> = steps
                    .into_iter()
                    .map(|step| (step.depth, step.document.id))
                    .collect();
                assert_eq!(steps.len(), count, "each once");
                Answer::Steps(steps)
            }
            Op::Match(words, on) => {
                let options = MatchOptions {
                    on: on.iter().map(|field| FIELDS[*field].to_owned()).collect(),
                    ..MatchOptions::default()
                };
                Answer::Ids(ids(&collection.match_text(&words.query(), &options)?))
            }
            Op::Search(vector, top_k, cosine) => {
                let metric = if *cosine { Metric::Cosine } else { Metric::L2 };
                let hits = collection.search(&floats(vector), *top_k, metric)?;
                Answer::Nearest(
                    hits.into_iter()
                        .map(|hit| (hit.document.id, hit.score))
                        .collect(),
                )
            }
            Op::Documents(max) => Answer::Documents(collection.document_pages(*max)?.concat()),
            Op::Open => {
                handle.documents = Some(collection.documents()?);
                Answer::Done
            }
            Op::Next(max) => match &mut handle.documents {
                Some(documents) => Answer::Documents(documents.next_page(*max)?),
                None => Answer::Done,
            },
        })
    }

    fn expect(
        contents: &mut Contents,
        place: &mut Iteration,
        op: &Op,
        now: Moment,
        said: Said<'_, Answer>,
    ) -> Result<Answer> {
        Ok(match op {
            Op::Index {
                id,
                words,
                vector,
                on,
                ..
            } => {
                // No numbers at all are refused before the others are counted.
                if vector.as_ref().is_some_and(Vec::is_empty) {
                    return Err(invalid());
                }
                now.needs_write_lock()?;
                if let (Some(vector), Some(dimensions)) = (vector, contents.dimensions())
                    && vector.len() != dimensions
                {
                    return Err(invalid());
                }
                let held = Held {
                    texts: words.each_ref().map(|words| words.join(" ")),
                    vector: vector.as_deref().map(floats),
                    on: *on,
                };
                contents.documents.insert(id.clone(), held);
                Answer::Text(id.clone())
            }
            Op::Get(id) => Answer::Document(contents.document(id)),
            Op::Drop(id) => {
                now.needs_write_lock()?;
                contents
                    .edges
                    .retain(|(source, target, _), _| source != id && target != id);
                Answer::Is(contents.documents.remove(id).is_some())
            }
            Op::Len => Answer::Count(contents.documents.len() as u64),
            Op::Clear => {
                now.needs_write_lock()?;
                Answer::Count(std::mem::take(contents).documents.len() as u64)
            }
            Op::Compact => {
                now.needs_write_lock()?;
                Answer::Done
            }
            Op::Connect(source, target, first) => {
                now.needs_write_lock()?;
                let edge = (source.clone(), target.clone(), label(*first));
                contents.edges.insert(edge, now.step);
                Answer::Done
            }
            Op::Disconnect(source, target, first) => {
                now.needs_write_lock()?;
                let edge = (source.clone(), target.clone(), label(*first));
                Answer::Is(contents.edges.remove(&edge).is_some())
            }
            Op::Edges(_, _, 0) | Op::Neighbors(_, _, _, 0) | Op::Walk { max: 0, .. } => {
                return Err(invalid());
            }
            Op::Documents(0) => return Err(invalid()),
            Op::Edges(id, way, _) => {
                let mut edges = contents.from(id, Way::Outgoing);
                match way {
                    Way::Outgoing => {}
                    Way::Incoming => edges = contents.from(id, Way::Incoming),
                    Way::Both => edges.extend(
                        contents
                            .from(id, Way::Incoming)
                            .into_iter()
                            .filter(|(other, _)| other != id),
                    ),
                }
                Answer::Edges(edges.into_iter().map(|(_, edge)| edge).collect())
            }
            Op::Neighbors(id, only, way, _) => Answer::Documents(
                contents
                    .neighbors(id, *only, *way)
                    .iter()
                    .filter_map(|id| contents.document(id))
                    .collect(),
            ),
            Op::Walk {
                start,
                depth,
                only,
                way,
                ..
            } => contents.walk(start, *depth, *only, *way),
            Op::Match(words, on) => {
                let is_found = |held: &Held| {
                    (0..2).any(|field| {
                        (on.is_empty() || on.contains(&field))
                            && held.on[field]
                            && words.are_in(&held.texts[field])
                    })
                };
                let found = contents.documents.iter().filter(|(_, held)| is_found(held));
                Answer::Ids(found.map(|(id, _)| id.clone()).collect())
            }
            Op::Search(query, top_k, cosine) => {
                let expected = contents.nearest(*query, *top_k, *cosine)?;
                match (said, &expected) {
                    (Ok(Answer::Nearest(found)), Answer::Nearest(nearest))
                        if *cosine && is_near(found, nearest) =>
                    {
                        Answer::Nearest(found.clone())
                    }
                    _ => expected,
                }
            }
            Op::Documents(_) => Answer::Documents(
                contents
                    .documents
                    .keys()
                    .filter_map(|id| contents.document(id))
                    .collect(),
            ),
            Op::Open => {
                *place = Iteration::Begun;
                Answer::Done
            }
            Op::Next(max) => {
                let after = match &*place {
                    Iteration::Closed => return Ok(Answer::Done),
                    _ if *max == 0 => return Err(invalid()),
                    Iteration::Ended => return Ok(Answer::Documents(Vec::new())),
                    Iteration::Begun => Bound::Unbounded,
                    Iteration::After(id) => Bound::Excluded(id.clone()),
                };
                let page: Vec<_> = contents
                    .documents
                    .range((after, Bound::Unbounded))
                    .take(*max as usize)
                    .filter_map(|(id, _)| contents.document(id))
                    .collect();
                *place = match page.last() {
                    Some(last) => Iteration::After(last.id.clone()),
                    None => Iteration::Ended,
                };
                Answer::Documents(page)
            }
        })
    }

    fn check(handle: &mut Handle, contents: &Contents) -> Checked {
        let found = handle.collection.document_pages(2).unwrap().concat();
        let held: Vec<_> = contents
            .documents
            .keys()
            .filter_map(|id| contents.document(id))
            .collect();
        prop_assert_eq!(found, held);
        for word in WORDS {
            let hits = handle
                .collection
                .match_text(word, &MatchOptions::default())
                .unwrap();
            let words = Words::One(word);
            let is_found = |held: &Held| (0..2).any(|f| held.on[f] && words.are_in(&held.texts[f]));
            let found = contents.documents.iter().filter(|(_, held)| is_found(held));
            let found: BTreeSet<_> = found.map(|(id, _)| id.clone()).collect();
            prop_assert_eq!(ids(&hits), found);
        }
        Ok(())
    }
}
