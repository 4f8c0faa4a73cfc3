//! Edges, walks and nearest vectors, against a second, naive implementation.
//!
//! The input is lines of text, each an operation, its parts separated by tabs. Numbers of vectors are
//! separated by spaces; `x7fc00000` is one by its bits.
//!
//! ```text
//! @NAME                            from now on in this collection
//! +ID  VECTOR                      index (no number: without a vector)
//! &ID  VECTOR                      somebody else's row with any vector
//! -ID                              drop
//! !                                clear
//! ~                                compact
//! >SOURCE  TARGET  LABEL  JSON     connect
//! <SOURCE  TARGET  LABEL           disconnect
//! =ID  WAY  MAX                    edges; way: i, b, else outgoing; so many on a page
//! .ID  WAY  MAX  LABEL             neighbours
//! /ID  WAY  MAX  DEPTH  LABELS     walk
//! ?METRIC  TOP_K  VECTOR           search; metric: c, else L2
//! ```
//!
//! What must stay true: edges, neighbours and steps are those of the model, in the order that is
//! documented, whatever the size of the pages; distances are those of the definition in `f64` to a
//! part in 10⁴, in order, equal ones by id, and nothing nearer is left out.

use crate::Target;
use crate::scratch::Scratch;
use beaver_core::rusqlite::{Connection, params};
use beaver_core::{
    Collection, Direction, Edge, Error, Hit, IndexOptions, MAX_DIMENSIONS, MAX_TOP_K, Metric,
    WalkOptions, python_text,
};
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
pub const TARGET: Target = Target {
    name: "graph",
    run,
    tries: 150,
    bytes_max: 4096,
};

const STEPS_MAX: usize = 64;

#[derive(Debug, Default)]
struct Model {
    documents: BTreeMap<String, Vec<f32>>,
    /// By source, target and label.
    edges: BTreeMap<(String, String, String), Option<String>>,
}

fn run(bytes: &[u8]) {
    let input = String::from_utf8_lossy(bytes);
    let scratch = Scratch::new();
    let database = scratch.open();
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    let mut collection = database.collection("c").unwrap();
    for line in input.split('\n').take(STEPS_MAX) {
        let mut characters = line.chars();
        let operation = characters.next();
        let mut parts = characters.as_str().split('\t');
        let mut part = || parts.next().unwrap_or_default();
        let model = models.entry(collection.name().to_owned()).or_default();
        match operation {
            Some('@') => match database.collection(part()) {
                Ok(other) => collection = other,
                Err(error) => assert!(matches!(error, Error::InvalidArgument(_)), "{error}"),
            },
            Some('+') => index(&collection, model, part(), &vector(part())),
            Some('&') => {
                let (id, vector) = (part(), vector(part()));
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                Connection::open(scratch.path())
                    .unwrap()
                    .execute(
                        "INSERT OR REPLACE INTO beaver_collections VALUES (?1, ?2, ?3, '{}')",
                        params![collection.name(), id, bytes],
                    )
                    .unwrap();
                model.documents.insert(id.to_owned(), vector);
            }
            Some('-') => drop_document(&collection, model, part()),
            Some('!') => {
                assert_eq!(collection.clear().unwrap(), model.documents.len() as u64);
                *model = Model::default();
            }
            Some('~') => drop(collection.compact().unwrap()),
            Some('>') => connect(&collection, model, [part(), part(), part()], part()),
            Some('<') => disconnect(&collection, model, [part(), part(), part()]),
            Some('=') => edges(&collection, model, part(), part(), part()),
            Some('.') => neighbors(&collection, model, part(), part(), part(), part()),
            Some('/') => {
                let (id, way, max) = (part(), part(), part());
                let options = WalkOptions {
                    direction: direction(way),
                    depth: part().parse().unwrap_or(3),
                    labels: parts.map(str::to_owned).collect(),
                };
                walk(&collection, model, id, max, &options);
            }
            Some('?') => search(&collection, model, part(), part(), &vector(part())),
            _ => {}
        }
    }
}

fn vector(text: &str) -> Vec<f32> {
    let number = |word: &str| match word.strip_prefix('x') {
        Some(bits) => u32::from_str_radix(bits, 16).ok().map(f32::from_bits),
        None => word.parse().ok(),
    };
    text.split(' ').filter_map(number).collect()
}

fn direction(way: &str) -> Direction {
    match way {
        "i" => Direction::Incoming,
        "b" => Direction::Both,
        _ => Direction::Outgoing,
    }
}

fn refused<T: std::fmt::Debug>(said: Result<T, Error>, why: &str) {
    assert!(
        matches!(said, Err(Error::InvalidArgument(_) | Error::InvalidJson(_))),
        "{why}: {said:?}"
    );
}

fn index(collection: &Collection, model: &mut Model, id: &str, vector: &[f32]) {
    let embedding = (!vector.is_empty()).then_some(vector);
    let said = collection.index(Some(id), None, embedding, &IndexOptions::default());
    let lengths: BTreeSet<usize> = model
        .documents
        .values()
        .map(Vec::len)
        .filter(|length| *length > 0)
        .collect();
    if id.contains('\0') || vector.iter().any(|x| !x.is_finite()) {
        return refused(said, "an id or a number");
    }
    let fits = lengths.is_empty() || lengths.contains(&vector.len());
    match said {
        Ok(_) => {
            // A row with the very bytes that somebody else wrote may be any.
            assert!(vector.is_empty() || fits, "dimensions");
            model.documents.insert(id.to_owned(), vector.to_vec());
        }
        // Which of several lengths counts isn't said.
        said if !vector.is_empty() && (!fits || lengths.len() > 1) => {
            refused(said, "dimensions");
        }
        Err(error) => panic!("{error}"),
    }
}

fn drop_document(collection: &Collection, model: &mut Model, id: &str) {
    let said = collection.drop(id);
    if id.contains('\0') {
        return refused(said, "an id");
    }
    assert_eq!(said, Ok(model.documents.remove(id).is_some()));
    let other = |(source, target, _): &(String, String, String)| source != id && target != id;
    model.edges.retain(|edge, _| other(edge));
}

fn connect(collection: &Collection, model: &mut Model, [a, b, label]: [&str; 3], json: &str) {
    let metadata = (!json.is_empty()).then_some(json);
    let said = collection.connect(a, b, label, metadata);
    let printed = metadata.map(python_text).transpose();
    match printed {
        Ok(printed) if ![a, b, label].iter().any(|text| text.contains('\0')) => {
            assert_eq!(said, Ok(()));
            let edge = (a.to_owned(), b.to_owned(), label.to_owned());
            let printed = printed.filter(|text| text != "null");
            model.edges.insert(edge, printed);
        }
        _ => refused(said, "an edge"),
    }
}

fn disconnect(collection: &Collection, model: &mut Model, [a, b, label]: [&str; 3]) {
    let said = collection.disconnect(a, b, label);
    if [a, b, label].iter().any(|text| text.contains('\0')) {
        return refused(said, "an edge");
    }
    let edge = (a.to_owned(), b.to_owned(), label.to_owned());
    assert_eq!(said, Ok(model.edges.remove(&edge).is_some()));
}

/// All pages of so many; none when that or the id isn't right, which both must say.
fn pages<C, T: std::fmt::Debug>(
    cursor: Result<C, Error>,
    (id, max): (&str, &str),
    mut next: impl FnMut(&mut C, u32) -> Result<Vec<T>, Error>,
) -> Option<Vec<T>> {
    let max = max.parse().unwrap_or(256);
    let mut cursor = match cursor {
        Ok(cursor) if !id.contains('\0') => cursor,
        other => {
            refused(other.map(|_| ()), "an id");
            return None;
        }
    };
    let mut all = Vec::new();
    loop {
        let page = match next(&mut cursor, max) {
            Ok(page) if max > 0 => page,
            other => {
                refused(other, "a page");
                return None;
            }
        };
        assert!(page.len() <= max as usize);
        if page.is_empty() {
            return Some(all);
        }
        all.extend(page);
    }
}

fn edges(collection: &Collection, model: &Model, id: &str, way: &str, max: &str) {
    let way = direction(way);
    let found = collection.edges(id, way);
    let Some(found) = pages(found, (id, max), |edges, max| edges.next_page(max)) else {
        return;
    };
    let all = model
        .edges
        .iter()
        .map(|((source, target, label), metadata)| Edge {
            source: source.clone(),
            target: target.clone(),
            label: label.clone(),
            metadata: metadata.clone(),
        });
    let (mut outgoing, mut incoming) = (Vec::new(), Vec::new());
    for edge in all {
        if edge.source == id && way != Direction::Incoming {
            outgoing.push(edge);
        } else if edge.target == id && way != Direction::Outgoing {
            incoming.push(edge);
        }
    }
    incoming.sort_by(|a, b| (&a.source, &a.label).cmp(&(&b.source, &b.label)));
    outgoing.append(&mut incoming);
    assert_eq!(found, outgoing);
}

impl Model {
    /// The ids at the other ends, each once: those to which edges lead, then those from which.
    fn around(&self, id: &str, way: Direction, labels: &[&str]) -> Vec<&str> {
        let (mut to, mut from) = (BTreeSet::new(), BTreeSet::new());
        for (source, target, label) in self.edges.keys() {
            if labels.is_empty() || labels.contains(&label.as_str()) {
                if source == id && way != Direction::Incoming {
                    to.insert(target.as_str());
                }
                if target == id && way != Direction::Outgoing {
                    from.insert(source.as_str());
                }
            }
        }
        let rest: Vec<_> = from.difference(&to).copied().collect();
        to.into_iter().chain(rest).collect()
    }
}

fn neighbors(collection: &Collection, model: &Model, id: &str, way: &str, max: &str, label: &str) {
    let way = direction(way);
    let label = (!label.is_empty()).then_some(label);
    let found = collection.neighbors(id, label, way);
    let Some(found) = pages(found, (id, max), |found, max| found.next_page(max)) else {
        return;
    };
    let mut expected = model.around(id, way, label.as_slice());
    expected.retain(|id| model.documents.contains_key(*id));
    expected.sort_unstable();
    let found: Vec<_> = found.into_iter().map(|document| document.id).collect();
    assert_eq!(found, expected);
}

fn walk(collection: &Collection, model: &Model, id: &str, max: &str, options: &WalkOptions) {
    let found = collection.walk(id, options);
    let Some(found) = pages(found, (id, max), |walk, max| walk.next_page(max)) else {
        return;
    };
    let labels: Vec<_> = options.labels.iter().map(String::as_str).collect();
    let (mut seen, mut expected) = (BTreeSet::new(), Vec::new());
    // All that is as far away, as the documents one nearer lead to it.
    let mut level = vec![id];
    for depth in 1..=options.depth {
        let mut next = Vec::new();
        for from in level {
            for other in model.around(from, options.direction, &labels) {
                if seen.insert(other) {
                    next.push(other);
                }
            }
        }
        for id in &next {
            if model.documents.contains_key(*id) {
                expected.push((*id, depth));
            }
        }
        level = next;
        if level.is_empty() {
            break;
        }
    }
    let found: Vec<_> = found
        .iter()
        .map(|step| (step.document.id.as_str(), step.depth))
        .collect();
    assert_eq!(found, expected);
}

fn search(collection: &Collection, model: &Model, metric: &str, top_k: &str, vector: &[f32]) {
    let metric = match metric {
        "c" => Metric::Cosine,
        _ => Metric::L2,
    };
    let top_k = top_k.parse().unwrap_or(10);
    let said = collection.search(vector, top_k, metric);
    if !(1..=MAX_TOP_K).contains(&top_k)
        || vector.is_empty()
        || vector.len() > MAX_DIMENSIONS
        || vector.iter().any(|x| !x.is_finite())
        || metric == Metric::Cosine && vector.iter().all(|x| *x == 0.0)
    {
        return refused(said, "a query");
    }
    let same = |(_, stored): &(&String, &Vec<f32>)| stored.len() == vector.len();
    let mut distances: BTreeMap<&str, f64> = BTreeMap::new();
    for (id, stored) in model.documents.iter().filter(same) {
        let distance = distance(vector, stored, metric);
        if !distance.is_nan() {
            distances.insert(id, distance);
        }
    }
    if !model.documents.iter().any(|document| same(&document))
        && model.documents.values().any(|stored| !stored.is_empty())
    {
        return refused(said, "dimensions");
    }
    let hits = said.unwrap();
    assert_eq!(hits.len(), distances.len().min(top_k as usize));
    let place = |hit: &Hit| (hit.score, hit.document.id.clone());
    assert!(hits.is_sorted_by(|a, b| place(a) < place(b)), "{hits:?}");
    for hit in &hits {
        let exact = distances.remove(hit.document.id.as_str()).unwrap();
        let score = hit.score;
        assert!(
            score == exact || (score - exact).abs() <= tolerance(metric, exact),
            "{score} for {exact}"
        );
    }
    if let Some(last) = hits.last() {
        for (id, left) in distances {
            assert!(
                left >= last.score - tolerance(metric, left) * 2.0,
                "{id} at {left} is nearer than {last:?}"
            );
        }
    }
}

fn tolerance(metric: Metric, exact: f64) -> f64 {
    match metric {
        Metric::L2 => exact * 1e-4,
        Metric::Cosine => 1e-4,
    }
}

fn distance(one: &[f32], other: &[f32], metric: Metric) -> f64 {
    let (mut square, mut dot, mut norms) = (0.0, 0.0, [0.0; 2]);
    for (a, b) in one.iter().zip(other) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        square += (a - b) * (a - b);
        dot += a * b;
        norms = [norms[0] + a * a, norms[1] + b * b];
    }
    match metric {
        Metric::L2 => square,
        Metric::Cosine if norms[1] == 0.0 => 1.0,
        Metric::Cosine => 1.0 - dot / (norms[0].sqrt() * norms[1].sqrt()),
    }
}
