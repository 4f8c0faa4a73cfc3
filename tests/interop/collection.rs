//! A collection that Python's beaver-db 1.3.0 uses at the same time.

use beaver_tests::{
    Collection, Direction, Files, FullText, IndexOptions, MatchOptions, Metric, Process, System,
    WalkOptions, both, python,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn call(python: &mut Process, method: &str, args: Value, kwargs: Value) -> Value {
    python.call(json!({
        "op": "call", "kind": "collection", "name": "notes",
        "method": method, "args": args, "kwargs": kwargs,
    }))
}

/// What Python makes of a document of ours, or we of one of its.
type Seen = (String, Value, Option<Vec<u32>>);

fn seen_by_python(document: &Value) -> Seen {
    let fields = &document["$document"];
    let vector = fields["embedding"].as_array().map(|vector| {
        let components = vector.iter().map(|x| x.as_f64().unwrap() as f32);
        components.map(f32::to_bits).collect()
    });
    let id = fields["id"].as_str().unwrap().to_owned();
    (id, fields["body"].clone(), vector)
}

fn seen_by_us(document: beaver_tests::Document) -> Seen {
    let vector = document.embedding;
    let vector = vector.map(|vector| vector.into_iter().map(f32::to_bits).collect());
    (
        document.id,
        serde_json::from_str(&document.body).unwrap(),
        vector,
    )
}

fn python_ids(documents: &Value) -> Vec<String> {
    let mut ids: Vec<_> = documents
        .as_array()
        .unwrap()
        .iter()
        .map(|document| seen_by_python(document).0)
        .collect();
    ids.sort_unstable();
    ids
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_unstable();
    ids
}

/// Pairs of a document and its score, by id.
fn python_hits(hits: &Value) -> BTreeMap<String, f64> {
    let hits = hits.as_array().unwrap().iter();
    hits.map(|hit| (seen_by_python(&hit[0]).0, hit[1].as_f64().unwrap()))
        .collect()
}

fn our_hits(hits: Vec<beaver_tests::Hit>) -> BTreeMap<String, f64> {
    let hits = hits.into_iter();
    hits.map(|hit| (hit.document.id, hit.score)).collect()
}

fn assert_near(ours: &BTreeMap<String, f64>, theirs: &BTreeMap<String, f64>) {
    assert!(
        ours.keys().eq(theirs.keys())
            && ours
                .values()
                .zip(theirs.values())
                .all(|(a, b)| (a - b).abs() <= 1e-5 * a.abs().max(1e-6)),
        "{ours:?} {theirs:?}"
    );
}

fn samples() -> Vec<(&'static str, Value, Option<Vec<f32>>)> {
    vec![
        (
            "a",
            json!({"title": "Beavers build dams", "n": {"é.x": "Ünïcode ß 😀", "l": ["no"]}}),
            Some(vec![0.1, -2.5e-20, 3e18]),
        ),
        (
            "é 😀",
            json!({"": "empty key", "f": 1.5, "x": null}),
            Some(vec![-0.0, 1.0, 1.0 / 3.0]),
        ),
        ("", json!({"value": "of the empty id"}), None),
        (
            "\"q' --",
            json!({"deep": {"er": {"est": "lodges\u{0}\n"}}}),
            Some(vec![1.0, 2.0, 3.0]),
        ),
    ]
}

/// Searches of both sides that must agree whoever wrote.
fn compare(notes: &Collection, python: &mut Process) {
    let ours: Vec<_> = notes
        .document_pages(2)
        .unwrap()
        .concat()
        .into_iter()
        .map(seen_by_us)
        .collect();
    let mut theirs: Vec<_> = call(python, "__iter__", json!([]), json!({}))
        .as_array()
        .unwrap()
        .iter()
        .map(seen_by_python)
        .collect();
    theirs.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(ours, theirs);
    for query in [
        "beaver",
        "dam*",
        "\"ünïcode ß\"",
        "empty",
        "lodges OR dams",
        "nothing",
    ] {
        let theirs = call(python, "match", json!([query]), json!({"top_k": 100}));
        let options = MatchOptions {
            top_k: 100,
            ..MatchOptions::default()
        };
        assert_near(
            &our_hits(notes.match_text(query, &options).unwrap()),
            &python_hits(&theirs),
        );
    }
    let theirs = call(
        python,
        "match",
        json!(["beavers"]),
        json!({"on": ["title"]}),
    );
    let options = MatchOptions {
        on: vec!["title".into()],
        ..MatchOptions::default()
    };
    assert_near(
        &our_hits(notes.match_text("beavers", &options).unwrap()),
        &python_hits(&theirs),
    );
    for query in [[0.0_f32, 0.0, 1.0], [1.0, 2.0, 2.5]] {
        let theirs = call(python, "search", json!([query]), json!({"top_k": 2}));
        assert_near(
            &our_hits(notes.search(&query, 2, Metric::L2).unwrap()),
            &python_hits(&theirs),
        );
    }
    for id in ["a", "é 😀", ""] {
        let start = json!({"$document": {"id": id}});
        for label in [None, Some("to")] {
            let theirs = call(python, "neighbors", json!([start]), json!({"label": label}));
            let ours = notes
                .neighbor_pages(id, label, Direction::Outgoing, 9)
                .unwrap()
                .concat();
            let ours = ours.into_iter().map(|document| document.id).collect();
            assert_eq!(sorted(ours), python_ids(&theirs));
        }
        for (way, direction) in [
            ("outgoing", Direction::Outgoing),
            ("incoming", Direction::Incoming),
        ] {
            let theirs = call(
                python,
                "walk",
                json!([start, ["to", "from"], 3]),
                json!({"direction": way}),
            );
            let options = WalkOptions {
                depth: 3,
                labels: vec!["to".into(), "from".into()],
                direction,
            };
            let ours = notes.walk_pages(id, &options, 9).unwrap().concat();
            let ours = ours.into_iter().map(|step| step.document.id).collect();
            assert_eq!(sorted(ours), python_ids(&theirs));
        }
    }
    assert_eq!(
        call(python, "__len__", json!([]), json!({})),
        json!(notes.len().unwrap())
    );
}

const EDGES: [(&str, &str, &str); 5] = [
    ("a", "é 😀", "to"),
    ("é 😀", "a", "to"),
    ("é 😀", "", "from"),
    ("a", "", "other"),
    ("", "nobody", "to"),
];

both! {
    fn what_we_index_python_finds(files: &Files) {
        let store = files.open();
        let notes = store.collection("notes").unwrap();
        let Some(mut python) = Process::python(&files.database()) else { return };
        for (n, (id, body, vector)) in samples().into_iter().enumerate() {
            let options = IndexOptions { fuzzy: n % 2 == 0, ..IndexOptions::default() };
            notes.index(Some(id), Some(&body.to_string()), vector.as_deref(), &options).unwrap();
            compare(&notes, &mut python);
        }
        for (source, target, label) in EDGES {
            notes.connect(source, target, label, Some(r#"{"n": 1}"#)).unwrap();
        }
        compare(&notes, &mut python);
        notes.drop("a").unwrap();
        compare(&notes, &mut python);
        // The stored texts are those that Python itself would store.
        python.call(json!({"op": "call", "kind": "collection", "name": "theirs", "method": "index",
            "args": [{"$document": {"id": "x", "body": {"é": [1.0, 1e-7, "\u{1F600}"]}}}]}));
        notes.index(Some("x"), Some(r#"{"é":[1.0,1e-7,"😀"]}"#), None, &IndexOptions::default()).unwrap();
        let theirs = store.collection("theirs").unwrap().get("x").unwrap().unwrap();
        assert_eq!(notes.get("x").unwrap().unwrap().body, theirs.body);
    }

    fn what_python_indexes_we_find(files: &Files) {
        let Some(mut python) = Process::python(&files.database()) else { return };
        let notes = files.open().collection("notes").unwrap();
        for (n, (id, body, vector)) in samples().into_iter().enumerate() {
            let document = json!({"$document": {"id": id, "body": body, "embedding": vector}});
            call(&mut python, "index", json!([document]), json!({"fuzzy": n % 2 == 0}));
            compare(&notes, &mut python);
        }
        for (source, target, label) in EDGES {
            let ends = json!([{"$document": {"id": source}}, {"$document": {"id": target}}, label]);
            call(&mut python, "connect", ends, json!({}));
        }
        compare(&notes, &mut python);
        // Replaced and dropped by us: Python's rows in every table follow.
        notes.index(Some("a"), Some("{\"title\": \"otters\"}"), Some(&[1.0, 1.0, 1.0]), &IndexOptions::default()).unwrap();
        compare(&notes, &mut python);
        notes.drop("").unwrap();
        compare(&notes, &mut python);
        assert_eq!(notes.clear().unwrap(), 3);
        compare(&notes, &mut python);
    }

    // The reference hides a document that was dropped and indexed again from
    // every process that starts before the next compaction, and keeps the old
    // vector beside the new one in those that run.
    fn a_running_python_process_sees_every_change_of_vectors(files: &Files) {
        let notes = files.open().collection("notes").unwrap();
        let Some(mut running) = Process::python(&files.database()) else { return };
        let put = |id: &str, x: f32| {
            notes.index(Some(id), None, Some(&[x, 0.0]), &IndexOptions::default()).unwrap();
        };
        let ours = || our_hits(notes.search(&[0.0, 0.0], 1000, Metric::L2).unwrap());
        let mut look = |fresh: bool| {
            let mut other = fresh.then(|| Process::python(&files.database()).unwrap());
            let processes = [Some(&mut running), other.as_mut()];
            for python in processes.into_iter().flatten() {
                let theirs = call(python, "search", json!([[0.0, 0.0]]), json!({"top_k": 1000}));
                assert_near(&ours(), &python_hits(&theirs));
            }
        };
        look(false);
        for id in ["a", "b", "c"] {
            put(id, 1.0);
            look(false);
        }
        put("a", 5.0);
        look(false);
        put("a", 5.0);
        look(false);
        notes.drop("b").unwrap();
        look(false);
        put("b", 2.0);
        look(true);
        notes.index(Some("c"), Some("1"), None, &IndexOptions::default()).unwrap();
        look(false);
        put("c", 3.0);
        look(true);
        assert!(notes.compact().unwrap());
        look(false);
        put("d", 4.0);
        look(false);
        for n in 0..205 {
            put(&format!("n{n}"), 10.0 + n as f32);
            if n % 3 == 0 {
                notes.drop(&format!("n{n}")).unwrap();
            }
            if n % 20 == 0 {
                look(false);
            }
        }
        look(true);
        assert_eq!(notes.clear().unwrap(), 4 + 205 - 69);
        look(false);
        put("a", 7.0);
        look(true);
        // Python's own clear takes the version that others remember.
        let Some(mut third) = Process::python(&files.database()) else { return };
        call(&mut third, "clear", json!([]), json!({}));
        put("a", 8.0);
        look(false);
        put("e", 1.0);
        look(true);
    }

    fn the_log_of_changes_stays_short(files: &Files) {
        let notes = files.open().collection("notes").unwrap();
        for n in 0..250 {
            let id = (n % 150).to_string();
            notes.index(Some(&id), None, Some(&[n as f32]), &IndexOptions::default()).unwrap();
            if n % 5 == 4 {
                notes.drop(&id).unwrap();
            }
        }
        let script = "import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM beaver_vector_change_log').fetchone()[0])";
        let output = std::process::Command::new("python3").args(["-c", script]).arg(files.database()).output().unwrap();
        let count: u32 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
        assert!(count <= 101, "{count}");
    }
}

#[derive(Clone, Debug)]
struct Fuzzy {
    texts: Vec<String>,
    queries: Vec<(String, u32)>,
}

fn fuzzy_case() -> impl Strategy<Value = Fuzzy> {
    let word = || prop_oneof![3 => "[abc]{1,6}", 1 => "[aßİΣé😀]{1,4}", 1 => Just("beaver".to_owned()), 1 => Just("Dams".to_owned())];
    let text = prop::collection::vec((word(), "[ \\t\\n]{1,2}"), 0..12).prop_map(|words| {
        words
            .into_iter()
            .map(|(word, space)| word + &space)
            .collect::<String>()
    });
    (
        prop::collection::vec(text, 3..12),
        any::<prop::sample::Index>(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u16>(), 1..6_u32), 6),
    )
        .prop_map(|(texts, _, picks)| {
            let queries = picks
                .into_iter()
                .map(|(index, noise, fuzziness)| {
                    // Some words of a text, with an edit or two.
                    let text = &texts[index.index(texts.len())];
                    let words: Vec<&str> = text.split_whitespace().collect();
                    let from = usize::from(noise) % words.len().max(1);
                    let mut query: Vec<char> = words[from.min(words.len())..]
                        .join(" ")
                        .chars()
                        .take(20)
                        .collect();
                    if !query.is_empty() && noise % 3 > 0 {
                        let at = usize::from(noise / 3) % query.len();
                        query[at] = 'b';
                    }
                    if !query.is_empty() && noise % 4 > 1 {
                        query.remove(usize::from(noise / 5) % query.len());
                    }
                    (query.into_iter().collect(), fuzziness)
                })
                .collect();
            Fuzzy { texts, queries }
        })
}

/// The answer of a call that Python may refuse.
fn try_call(python: &mut Process, method: &str, args: Value, kwargs: Value) -> Option<Value> {
    python.send(&json!({
        "op": "call", "kind": "collection", "name": "notes",
        "method": method, "args": args, "kwargs": kwargs,
    }));
    python.answer().get("ok").cloned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1, ..ProptestConfig::default() })]

    #[test]
    fn fuzzy_matches_are_pythons(cases in prop::collection::vec(fuzzy_case(), 12)) {
        let files = Files::new(System::Native);
        let notes = files.open().collection("notes").unwrap();
        let Some(mut python) = Process::python(&files.database()) else { return Ok(()) };
        let (mut compared, mut matched) = (0, 0);
        for case in cases {
            notes.clear().unwrap();
            for (n, text) in case.texts.iter().enumerate() {
                let body = json!({"xyz": text, "zyx": {"n": text.chars().rev().collect::<String>()}});
                let id = format!("{n}-00");
                if n % 2 == 0 {
                    let options = IndexOptions { fuzzy: n % 4 == 0, full_text: FullText::All };
                    notes.index(Some(&id), Some(&body.to_string()), None, &options).unwrap();
                } else {
                    let document = json!({"$document": {"id": id, "body": body}});
                    call(&mut python, "index", json!([document]), json!({"fuzzy": n % 4 == 1}));
                }
            }
            for (query, fuzziness) in case.queries {
                let kwargs = json!({"fuzziness": fuzziness, "top_k": 1000});
                // It fails on texts of few words, and on what isn't FTS5's syntax.
                let Some(theirs) = try_call(&mut python, "match", json!([query]), kwargs) else { continue };
                let options = MatchOptions { fuzziness, top_k: 1000, ..MatchOptions::default() };
                let ours = our_hits(notes.match_text(&query, &options).unwrap());
                compared += 1;
                matched += ours.len();
                prop_assert_eq!(ours, python_hits(&theirs), "{:?} {}", query, fuzziness);
            }
        }
        prop_assert!(compared > 20 && matched > 20, "{} {}", compared, matched);
    }

    #[test]
    fn reranked_lists_are_in_pythons_order(
        cases in prop::collection::vec(
            (prop::collection::vec((prop::collection::vec("[a-f]", 0..6), 0.0..2.0_f64), 0..4), 1..100_u32),
            200,
        ),
    ) {
        let Some(program) = python() else { return Ok(()) };
        let script = "import json, sys
from beaver import Document
from beaver.collections import rerank
for lists, k in json.loads(sys.argv[1]):
    documents = [[Document(id=id) for id in ids] for ids, _ in lists]
    print(json.dumps([d.id for d in rerank(*documents, weights=[w for _, w in lists], k=k)]))";
        let output = std::process::Command::new(program)
            .args(["-c", script])
            .arg(serde_json::to_string(&cases).unwrap())
            .output()
            .unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        prop_assert_eq!(lines.lines().count(), cases.len(), "{}", String::from_utf8_lossy(&output.stderr));
        for (line, (lists, k)) in lines.lines().zip(cases) {
            let rankings: Vec<_> = lists
                .into_iter()
                .map(|(ids, weight)| beaver_tests::Ranking { ids, weight })
                .collect();
            let fused = beaver_core::rerank(&rankings, k).unwrap();
            let ids: Vec<_> = fused.into_iter().map(|(id, _)| id).collect();
            prop_assert_eq!(serde_json::to_string(&ids).unwrap(), line.replace(", ", ","));
        }
    }
}
