//! What a collection does.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{
    Collection, Direction, Document, Error, Files, FullText, Hit, HybridOptions, IndexOptions,
    MatchOptions, Metric, Ranking, Step, WalkOptions, both,
};
use std::collections::BTreeSet;

fn put(collection: &Collection, id: &str, body: &str) {
    collection
        .index(Some(id), Some(body), None, &IndexOptions::default())
        .unwrap();
}

fn put_vector(collection: &Collection, id: &str, vector: &[f32]) {
    collection
        .index(Some(id), None, Some(vector), &IndexOptions::default())
        .unwrap();
}

fn fuzzy() -> IndexOptions {
    IndexOptions {
        fuzzy: true,
        ..IndexOptions::default()
    }
}

fn ids(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.document.id.as_str()).collect()
}

fn document_ids(documents: &[Document]) -> Vec<&str> {
    documents
        .iter()
        .map(|document| document.id.as_str())
        .collect()
}

fn found(collection: &Collection, query: &str) -> Vec<String> {
    let hits = collection
        .match_text(query, &MatchOptions::default())
        .unwrap();
    ids(&hits).into_iter().map(str::to_owned).collect()
}

fn on(fields: &[&str]) -> MatchOptions {
    MatchOptions {
        on: fields.iter().map(|field| (*field).to_owned()).collect(),
        ..MatchOptions::default()
    }
}

fn is_invalid<T: std::fmt::Debug>(result: Result<T, Error>, says: &str) {
    match result {
        Err(Error::InvalidArgument(reason)) => assert!(reason.contains(says), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// Changes the tables behind our back.
fn sql_write(files: &Files, statement: &str) {
    let script = "import sqlite3, sys
c = sqlite3.connect(sys.argv[1], timeout=60); c.execute(sys.argv[2]); c.commit()";
    let status = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(files.database())
        .arg(statement)
        .status()
        .unwrap();
    assert!(status.success());
}

/// What the tables say, read by SQLite in another process.
fn sql(files: &Files, query: &str) -> String {
    let script = "import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall())";
    let output = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(files.database())
        .arg(query)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Changes the tables in another process.
fn change(files: &Files, statements: &str) {
    let script = "import sqlite3, sys
c = sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2]); c.commit()";
    let status = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(files.database())
        .arg(statements)
        .status();
    assert!(status.unwrap().success());
}

both! {
    // Found in review: an edge whose end is no text made the pages begin anew, for ever.
    fn an_edge_to_something_that_is_no_text_is_passed_over(files: &Files) {
        let store = files.open();
        let collection = store.collection("c").unwrap();
        for id in ["a", "b"] {
            collection.index(Some(id), None, None, &IndexOptions::default()).unwrap();
        }
        collection.connect("a", "b", "to", None).unwrap();
        sql_write(files, "INSERT INTO beaver_edges VALUES ('c', 'a', X'ff', 'to', NULL)");
        // Both ends on one page: the odd one was where the next page began.
        let pages = collection.neighbor_pages("a", None, Direction::Outgoing, 10).unwrap();
        assert_eq!(pages.concat().len(), 1);
    }

    fn a_document_is_returned_as_it_was_given(files: &Files) {
        let store = files.open();
        let notes = store.collection("notes").unwrap();
        let vector = [0.1, -1.5, f32::MIN_POSITIVE, 3e38];
        let body = r#"{"b": {"é": [1, 2.50, null]}, "a": "x"}"#;
        let id = notes.index(Some("é 1"), Some(body), Some(&vector), &IndexOptions::default()).unwrap();
        assert_eq!(id, "é 1");
        let document = notes.get("é 1").unwrap().unwrap();
        assert_eq!(document.id, "é 1");
        assert_eq!(document.body, r#"{"b": {"\u00e9": [1, 2.5, null]}, "a": "x"}"#);
        assert_eq!(document.embedding.unwrap().map_bits(), vector.to_vec().map_bits());
        for (body, stored) in [(None, "{}"), (Some("null"), "{}"), (Some("[1]"), r#"{"value": [1]}"#)] {
            notes.index(Some("é 1"), body, None, &IndexOptions::default()).unwrap();
            let document = notes.get("é 1").unwrap().unwrap();
            assert_eq!((document.body.as_str(), document.embedding), (stored, None));
        }
        assert_eq!(notes.len().unwrap(), 1);
        assert_eq!(notes.get("other").unwrap(), None);
        assert_eq!(store.collection("others").unwrap().get("é 1").unwrap(), None);
        let (first, second) = (
            notes.index(None, None, None, &IndexOptions::default()).unwrap(),
            notes.index(None, None, None, &IndexOptions::default()).unwrap(),
        );
        assert_ne!(first, second);
        assert_eq!((first.len(), &first[14..15]), (36, "4"));
        assert_eq!(notes.len().unwrap(), 3);
    }

    fn documents_come_in_pages_in_order_of_their_ids(files: &Files) {
        let notes = files.open().collection("notes").unwrap();
        for n in [3, 1, 4, 0, 2] {
            put(&notes, &format!("d{n}"), "{}");
        }
        put(&notes, "", "{}");
        let pages = notes.document_pages(4).unwrap();
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2]);
        assert_eq!(document_ids(&pages.concat()), ["", "d0", "d1", "d2", "d3", "d4"]);
        is_invalid(notes.document_pages(0), "at least one");
        let large = format!("\"{}\"", "x".repeat(200_000));
        let nothing = IndexOptions { full_text: FullText::Nothing, fuzzy: false };
        for n in 0..5 {
            notes.index(Some(&format!("d{n}")), Some(&large), None, &nothing).unwrap();
        }
        assert!(notes.document_pages(100).unwrap().len() > 2, "a page has bounded bytes");
    }

    fn drop_and_clear_leave_nothing(files: &Files) {
        let store = files.open();
        let (notes, other) = (store.collection("notes").unwrap(), store.collection("other notes").unwrap());
        let body = r#"{"title": "Beavers build", "n": {"text": "dams and lodges"}}"#;
        for collection in [&notes, &other] {
            for id in ["a", "b", "--", "文档"] {
                collection.index(Some(id), Some(body), Some(&[1.0, 2.0]), &fuzzy()).unwrap();
            }
            collection.connect("a", "b", "to", None).unwrap();
            collection.connect("b", "a", "to", None).unwrap();
            collection.connect("b", "--", "to", None).unwrap();
            collection.connect("x", "x", "to", None).unwrap();
        }
        assert!(notes.drop("a").unwrap());
        assert!(!notes.drop("a").unwrap());
        assert!(notes.drop("--").unwrap());
        assert!(notes.drop("文档").unwrap());
        // Not a document, but it has an edge.
        assert!(!notes.drop("x").unwrap());
        let rows = |table: &str, id: &str| {
            sql(files, &format!("SELECT count(*) FROM {table} WHERE {id} IN ('a', '--', '文档', 'x') AND collection = 'notes'"))
        };
        assert_eq!(rows("beaver_fts_index", "item_id"), "[(0,)]");
        assert_eq!(rows("beaver_trigrams", "item_id"), "[(0,)]");
        assert_eq!(rows("beaver_edges", "source_item_id"), "[(0,)]");
        assert_eq!(rows("beaver_edges", "target_item_id"), "[(0,)]");
        assert_eq!(found(&notes, "dams"), ["b"]);
        assert_eq!(other.len().unwrap(), 4);
        notes.connect("b", "y", "to", None).unwrap();
        assert_eq!(notes.clear().unwrap(), 1);
        assert_eq!(notes.clear().unwrap(), 0);
        notes.connect("b", "y", "to", None).unwrap();
        assert_eq!(notes.clear().unwrap(), 0);
        for table in ["beaver_collections", "beaver_fts_index", "beaver_trigrams", "beaver_edges"] {
            let left = format!("SELECT DISTINCT collection FROM {table}");
            assert_eq!(sql(files, &left), "[('other notes',)]", "{table}");
        }
        assert_eq!(found(&other, "lodges").len(), 4);
        // The other collection is as it was, and one that was cleared starts anew.
        put_vector(&notes, "a", &[1.0]);
        assert_eq!(ids(&notes.search(&[0.0], 1, Metric::L2).unwrap()), ["a"]);
    }

    fn words_are_found_in_the_fields_that_were_to_be(files: &Files) {
        let notes = files.open().collection("notes").unwrap();
        let body = r#"{"title": "Running beavers", "n": {"text": "dams"}, "list": ["hidden"], "count": 5}"#;
        put(&notes, "all", body);
        let index = |id: &str, full_text| {
            let options = IndexOptions { full_text, fuzzy: false };
            notes.index(Some(id), Some(body), None, &options).unwrap();
        };
        index("none", FullText::Nothing);
        index("some", FullText::Fields(vec!["n.text".into(), "missing".into()]));
        // The stem of a word matches, as the reference's table is made to.
        assert_eq!(found(&notes, "run"), ["all"]);
        let both = found(&notes, "dam");
        assert_eq!(both.iter().collect::<BTreeSet<_>>(), BTreeSet::from([&"all".into(), &"some".into()]));
        for absent in ["hidden", "5", "notes", "title", "all", "n.text"] {
            let query = format!("\"{absent}\"");
            assert!(found(&notes, &query).is_empty(), "{absent}");
        }
        // Another set of fields replaces the first, and so does another text.
        index("all", FullText::Fields(vec!["title".into()]));
        assert_eq!(found(&notes, "dams"), ["some"]);
        assert_eq!(found(&notes, "beavers"), ["all"]);
        put(&notes, "all", r#"{"title": "otters"}"#);
        assert!(found(&notes, "beavers").is_empty());
        assert_eq!(found(&notes, "otters"), ["all"]);
        put(&notes, "text", "\"the text itself\"");
        assert_eq!(ids(&notes.match_text("itself", &on(&["value"])).unwrap()), ["text"]);
    }

    fn the_best_field_counts_and_each_document_once(files: &Files) {
        let notes = files.open().collection("notes").unwrap();
        put(&notes, "both", r#"{"a": "dam", "b": "dam and many other words that follow it here"}"#);
        put(&notes, "long", r#"{"b": "dam and many other words that follow it here"}"#);
        put(&notes, "not", r#"{"b": "nothing"}"#);
        let hits = notes.match_text("dam", &MatchOptions::default()).unwrap();
        assert_eq!(ids(&hits), ["both", "long"]);
        assert!(hits[0].score < hits[1].score && hits[1].score < 0.0);
        let hits = notes.match_text("dam", &on(&["b"])).unwrap();
        assert_eq!(ids(&hits), ["both", "long"]);
        assert_eq!(hits[0].score, hits[1].score);
        assert_eq!(ids(&notes.match_text("dam", &on(&["a", "x\"\\"])).unwrap()), ["both"]);
        assert!(notes.match_text("dam", &on(&["c"])).unwrap().is_empty());
        let one = MatchOptions { top_k: 1, ..MatchOptions::default() };
        assert_eq!(ids(&notes.match_text("dam", &one).unwrap()), ["both"]);
        for top_k in [0, 10_001, u32::MAX] {
            let options = MatchOptions { top_k, ..MatchOptions::default() };
            is_invalid(notes.match_text("dam", &options), "10000");
            is_invalid(notes.search(&[1.0], top_k, Metric::L2), "10000");
        }
    }

    fn other_collections_take_no_place(files: &Files) {
        let store = files.open();
        let notes = store.collection("notes").unwrap();
        let other = store.collection("other").unwrap();
        for n in 0..30 {
            put(&other, &format!("{n}"), "\"dam\"");
        }
        put(&notes, "1", "\"dam and many other words that rank it low\"");
        let one = MatchOptions { top_k: 1, ..MatchOptions::default() };
        assert_eq!(ids(&notes.match_text("dam", &one).unwrap()), ["1"]);
        // Nor can a query reach another column.
        assert!(found(&notes, "collection : other").is_empty());
        assert!(found(&notes, "\"notes\" OR \"value\"").is_empty());
        is_invalid(notes.match_text("dam) OR (collection : other", &one), "syntax error");
    }

    fn a_query_that_is_not_fts5_is_told_why(files: &Files) {
        let notes = files.open().collection("notes").unwrap();
        for empty in [true, false] {
            for (query, says) in [
                ("\"open", "unterminated string"),
                ("dam AND", "syntax error"),
                ("what's", "syntax error"),
                ("nowhere : dam", "no such column"),
                ("", "syntax error"),
                ("(dam", "syntax error"),
                ("NEAR(a", "syntax error"),
                ("a\0b", "NUL"),
                (&"a ".repeat(40_000), "65536"),
            ] {
                is_invalid(notes.match_text(query, &MatchOptions::default()), says);
            }
            if empty {
                put(&notes, "a", "\"dams and what not\"");
            }
        }
        for query in ["dam*", "dams AND what", "NEAR(dams not, 5)", "dams NOT lodges", "^dams", "\"and what\""] {
            assert_eq!(found(&notes, query), ["a"], "{query}");
        }
        // Hostile queries end, one way or another.
        for query in ["(".repeat(10_000), "a AND ".repeat(5_000) + "a", "\"a\" + ".repeat(5_000) + "a", "a OR ".repeat(10_000) + "a"] {
            let _ = notes.match_text(&query, &MatchOptions::default());
        }
        assert_eq!(found(&notes, "dams"), ["a"]);
    }

    fn texts_with_typing_errors_are_found(files: &Files) {
        let notes = files.open().collection("notes").unwrap();
        notes.index(Some("exact"), Some(r#"{"t": "beavers build dams"}"#), None, &fuzzy()).unwrap();
        notes.index(Some("typo"), Some(r#"{"t": "all Beevers Bulid dams"}"#), None, &fuzzy()).unwrap();
        notes.index(Some("short"), Some(r#"{"t": "beavers build", "u": ""}"#), None, &fuzzy()).unwrap();
        put(&notes, "words only", r#"{"t": "beavers build dams"}"#);
        let search = |query: &str, fuzziness, fields: &[&str]| {
            let options = MatchOptions { fuzziness, ..on(fields) };
            let hits = notes.match_text(query, &options).unwrap();
            hits.into_iter().map(|hit| (hit.document.id, hit.score)).collect::<Vec<_>>()
        };
        let expected = |pairs: &[(&str, f64)]| -> Vec<(String, f64)> {
            pairs.iter().map(|(id, distance)| ((*id).to_owned(), *distance)).collect()
        };
        assert_eq!(
            search("beavers build dams", 3, &[]),
            expected(&[("exact", 0.0), ("words only", 0.0), ("typo", 3.0)])
        );
        assert_eq!(search("beavers build dams", 2, &["t"]), expected(&[("exact", 0.0), ("words only", 0.0)]));
        assert!(search("beavers build dams", 3, &["u"]).is_empty());
        // The reference raises OverflowError for a text of too few words.
        assert!(search("beavers build dams and lodges", 1, &[]).is_empty());
        assert_eq!(search("bevers build damms", 2, &[]), expected(&[("exact", 2.0)]));
        // Not FTS5's syntax: a plain text all the same.
        assert_eq!(search("beaver's build dams", 1, &[]), expected(&[("exact", 1.0)]));
        assert!(search("\"beavers\" (build", 4, &["t"]).contains(&("exact".into(), 3.0)));
        assert!(search("", 1, &[]).is_empty());
        // Re-indexed without: only its words are left.
        put(&notes, "exact", r#"{"t": "beavers build dams"}"#);
        assert!(search("bevers build damms", 2, &[]).is_empty());
        notes.index(Some("exact"), Some(r#"{"t": "beavers build dams"}"#), None, &fuzzy()).unwrap();
        assert_eq!(search("bevers build damms", 2, &[]), expected(&[("exact", 2.0)]));
        is_invalid(notes.match_text("a", &MatchOptions { fuzziness: 65, ..on(&[]) }), "64");
        let long = "a".repeat(1025);
        is_invalid(notes.match_text(&long, &MatchOptions { fuzziness: 1, ..on(&[]) }), "1024");
    }

    // A document's rows are looked up or all read, its fields gone through or
    // not: by how many there are.
    fn typing_errors_are_found_among_many_documents_and_fields(files: &Files) {
        let store = files.open();
        let notes = store.collection("notes").unwrap();
        let transaction = store.begin().unwrap();
        for n in 0..100 {
            let body = format!("{{\"field {}\": \"number {n} of many\"}}", n % 50);
            notes.index(Some(&format!("d{n}")), Some(&body), None, &fuzzy()).unwrap();
        }
        transaction.commit().unwrap();
        put(&notes, "plain", "\"beavers build dams\"");
        notes.index(Some("rare"), Some(r#"{"a": "bevers build dams"}"#), None, &fuzzy()).unwrap();
        let options = MatchOptions { fuzziness: 1, top_k: 200, ..on(&[]) };
        let hits = notes.match_text("beavers build dams", &options).unwrap();
        assert_eq!(hits.iter().map(|hit| (hit.document.id.as_str(), hit.score)).collect::<Vec<_>>(), [("plain", 0.0), ("rare", 1.0)]);
        assert_eq!(ids(&notes.match_text("nunber 77 of many", &options).unwrap())[0], "d77");
        assert_eq!(notes.match_text("number 1 of many", &options).unwrap().len(), 10 + 9 + 9);
        let one = MatchOptions { on: vec!["field 7".into()], ..options };
        assert_eq!(ids(&notes.match_text("numbr 57 of many", &one).unwrap()), ["d57"]);
    }

    fn the_nearest_vectors_are_found(files: &Files) {
        let notes = files.open().collection("notes").unwrap();
        assert!(notes.search(&[1.0, 2.0], 5, Metric::L2).unwrap().is_empty());
        for (id, vector) in [("a", [1.0, 0.0]), ("b", [0.0, 2.0]), ("c", [-3.0, 0.0]), ("zero", [0.0, 0.0])] {
            put_vector(&notes, id, &vector);
        }
        put(&notes, "no vector", "\"text\"");
        let search = |vector: &[f32], top_k, metric| {
            let hits = notes.search(vector, top_k, metric).unwrap();
            hits.into_iter().map(|hit| (hit.document.id, hit.score)).collect::<Vec<_>>()
        };
        let expected = |pairs: &[(&str, f64)]| -> Vec<(String, f64)> {
            pairs.iter().map(|(id, distance)| ((*id).to_owned(), *distance)).collect()
        };
        assert_eq!(
            search(&[1.0, 0.0], 10, Metric::L2),
            expected(&[("a", 0.0), ("zero", 1.0), ("b", 5.0), ("c", 16.0)])
        );
        assert_eq!(
            search(&[9.0, 0.0], 10, Metric::Cosine),
            expected(&[("a", 0.0), ("b", 1.0), ("zero", 1.0), ("c", 2.0)])
        );
        assert_eq!(search(&[0.0, 1.0], 2, Metric::L2), expected(&[("b", 1.0), ("zero", 1.0)]));
        assert_eq!(notes.search(&[0.0, 2.0], 1, Metric::L2).unwrap()[0].document.embedding, Some(vec![0.0, 2.0]));
        // Replaced, taken away, dropped, and back again.
        put_vector(&notes, "c", &[1.0, 0.5]);
        put(&notes, "a", "{}");
        assert!(notes.drop("b").unwrap());
        assert_eq!(search(&[1.0, 0.0], 10, Metric::L2), expected(&[("c", 0.25), ("zero", 1.0)]));
        put_vector(&notes, "b", &[1.0, 0.0]);
        assert_eq!(search(&[1.0, 0.0], 1, Metric::L2), expected(&[("b", 0.0)]));
    }

    fn vectors_of_a_collection_have_one_number_of_dimensions(files: &Files) {
        let store = files.open();
        let notes = store.collection("notes").unwrap();
        let index = |id: &str, vector: &[f32]| notes.index(Some(id), None, Some(vector), &IndexOptions::default());
        index("a", &[1.0, 2.0]).unwrap();
        is_invalid(index("b", &[1.0]), "1 dimensions, those of the collection have 2");
        is_invalid(index("a", &[1.0, 2.0, 3.0]), "3 dimensions");
        is_invalid(index("b", &[]), "1 to 65536");
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            is_invalid(index("b", &[1.0, bad]), "component 1");
            is_invalid(notes.search(&[bad, 1.0], 1, Metric::L2), "component 0");
        }
        is_invalid(notes.search(&[1.0], 1, Metric::L2), "1 dimensions, those of the collection have 2");
        is_invalid(notes.search(&[], 1, Metric::L2), "1 to 65536");
        is_invalid(notes.search(&[0.0, -0.0], 1, Metric::Cosine), "no direction");
        assert_eq!(notes.len().unwrap(), 1, "what was refused left nothing");
        store.collection("other").unwrap().index(None, None, Some(&[1.0]), &IndexOptions::default()).unwrap();
        // What others wrote: passed over, and what can't be read says so.
        change(files, "INSERT INTO beaver_collections VALUES ('notes', 'three', x'000000000000000000000000', '{}');
            INSERT INTO beaver_collections VALUES ('notes', 'odd', x'00', '{}');
            INSERT INTO beaver_collections VALUES ('notes', 'empty', x'', NULL);
            INSERT INTO beaver_collections VALUES ('notes', 'nan', x'0000c07f0000c07f', 'NaN');");
        assert_eq!(ids(&notes.search(&[1.0, 1.0], 9, Metric::L2).unwrap()), ["a"]);
        assert_eq!(ids(&notes.search(&[1.0, 1.0, 1.0], 9, Metric::L2).unwrap()), ["three"]);
        is_invalid(notes.search(&[1.0], 1, Metric::L2), "1 dimensions");
        assert_eq!(notes.get("empty").unwrap().unwrap(), Document { id: "empty".into(), body: "{}".into(), embedding: None });
        assert_eq!(notes.get("nan").unwrap().unwrap().body, "NaN");
        assert!(matches!(notes.get("odd"), Err(Error::Corrupt(_))));
    }

    fn edges_are_found_from_both_ends(files: &Files) {
        let notes = files.open().collection("notes").unwrap();
        for id in ["a", "b", "c"] {
            put(&notes, id, "{}");
        }
        notes.connect("a", "b", "likes", Some(r#"{"since":2020}"#)).unwrap();
        notes.connect("a", "b", "knows", None).unwrap();
        notes.connect("a", "c", "knows", Some("null")).unwrap();
        notes.connect("c", "a", "likes", None).unwrap();
        notes.connect("a", "a", "knows", None).unwrap();
        notes.connect("a", "not a document", "knows", None).unwrap();
        let neighbors = |id: &str, label: Option<&str>, direction| {
            [1, 10].map(|max| {
                let documents = notes.neighbor_pages(id, label, direction, max).unwrap().concat();
                document_ids(&documents).join(" ")
            })
        };
        assert_eq!(neighbors("a", None, Direction::Outgoing), ["a b c", "a b c"]);
        assert_eq!(neighbors("a", Some("likes"), Direction::Outgoing), ["b", "b"]);
        assert_eq!(neighbors("a", None, Direction::Incoming), ["a c", "a c"]);
        assert_eq!(neighbors("b", None, Direction::Both), ["a", "a"]);
        assert_eq!(neighbors("a", Some("likes"), Direction::Both), ["b c", "b c"]);
        assert_eq!(neighbors("nobody", None, Direction::Both), ["", ""]);
        let edges = |direction| {
            [1, 10].map(|max| {
                let edges = notes.edge_pages("a", direction, max).unwrap().concat();
                let edges = edges.iter().map(|e| format!("{}-{}->{} {}", e.source, e.label, e.target, e.metadata.as_deref().unwrap_or("")));
                edges.collect::<Vec<_>>()
            })
        };
        let outgoing = ["a-knows->a ", "a-knows->b ", "a-likes->b {\"since\": 2020}", "a-knows->c ", "a-knows->not a document "];
        assert_eq!(edges(Direction::Outgoing), [outgoing, outgoing]);
        let incoming = ["a-knows->a ", "c-likes->a "];
        assert_eq!(edges(Direction::Incoming), [incoming, incoming]);
        let all = [outgoing.as_slice(), &["c-likes->a "]].concat();
        assert_eq!(edges(Direction::Both), [all.clone(), all]);
        // The same edge again: its metadata is replaced.
        notes.connect("a", "b", "likes", None).unwrap();
        assert_eq!(notes.edge_pages("b", Direction::Incoming, 9).unwrap().concat()[1].metadata, None);
        assert!(notes.disconnect("a", "b", "likes").unwrap());
        assert!(!notes.disconnect("a", "b", "likes").unwrap());
        assert_eq!(notes.edge_pages("b", Direction::Incoming, 9).unwrap().concat().len(), 1);
        assert!(matches!(notes.connect("a", "b", "x", Some("{")), Err(Error::InvalidJson(_))));
        is_invalid(notes.connect("a\0", "b", "x", None), "NUL");
        is_invalid(notes.connect("a", "b", "x\0", None), "NUL");
    }

    fn a_walk_visits_each_document_once_nearest_first(files: &Files) {
        let notes = files.open().collection("notes").unwrap();
        for id in ["a", "b", "c", "d", "e"] {
            put(&notes, id, "{}");
        }
        // a → b → c → a, b → d over "x", d → hole → e; a → d.
        for (source, target, label) in [
            ("a", "b", "to"), ("b", "c", "to"), ("c", "a", "to"), ("b", "d", "x"),
            ("d", "hole", "to"), ("hole", "e", "to"), ("a", "d", "far"),
        ] {
            notes.connect(source, target, label, None).unwrap();
        }
        let walk = |depth, labels: &[&str], direction| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            let options = WalkOptions { depth, labels, direction };
            [1, 100].map(|max| {
                let steps = notes.walk_pages("a", &options, max).unwrap().concat();
                let steps = steps.iter().map(|Step { document, depth }| format!("{}{depth}", document.id));
                steps.collect::<Vec<_>>().join(" ")
            })
        };
        let both = |text: &str| [text.to_owned(), text.to_owned()];
        assert_eq!(walk(0, &[], Direction::Outgoing), both(""));
        assert_eq!(walk(1, &[], Direction::Outgoing), both("b1 d1"));
        assert_eq!(walk(2, &[], Direction::Outgoing), both("b1 d1 c2"));
        assert_eq!(walk(9, &[], Direction::Outgoing), both("b1 d1 c2 a3 e3"));
        assert_eq!(walk(u32::MAX, &["to"], Direction::Outgoing), both("b1 c2 a3"));
        assert_eq!(walk(9, &["to", "x"], Direction::Outgoing), both("b1 c2 d2 a3 e4"));
        assert_eq!(walk(9, &["none"], Direction::Outgoing), both(""));
        assert_eq!(walk(9, &[], Direction::Incoming), both("c1 b2 a3"));
        assert_eq!(walk(1, &[], Direction::Both), both("b1 d1 c1"));
        assert_eq!(walk(9, &["to"], Direction::Both), both("b1 c1 a2"));
    }

    fn a_walk_that_meets_an_error_has_returned_what_came_before(files: &Files) {
        let notes = files.open().collection("notes").unwrap();
        for (source, target) in [("a", "b"), ("b", "broken"), ("b", "c")] {
            put(&notes, source, "{}");
            notes.connect(source, target, "to", None).unwrap();
        }
        change(files, "INSERT INTO beaver_collections VALUES ('notes', 'broken', x'00', '{}')");
        let first = notes.walk_first_pages("a", &WalkOptions::depth(5), 10, 3).unwrap();
        assert_eq!(first[0].as_ref().unwrap()[0].document.id, "b");
        for page in &first[1..] {
            assert!(matches!(page, Err(Error::Corrupt(_))), "{page:?}");
        }
    }

    fn a_dense_graph_is_walked_in_time(files: &Files) {
        let store = files.open();
        let notes = store.collection("notes").unwrap();
        let transaction = store.begin().unwrap();
        for n in 0..20 {
            put(&notes, &format!("{n:02}"), "{}");
            for m in 0..20 {
                notes.connect(&format!("{n:02}"), &format!("{m:02}"), "to", None).unwrap();
            }
        }
        transaction.commit().unwrap();
        // The reference counts paths, 20 to the 30th here.
        let options = WalkOptions { depth: 30, ..WalkOptions::default() };
        assert_eq!(notes.walk_pages("00", &options, 7).unwrap().concat().len(), 20);
    }

    fn text_and_vector_rankings_are_fused(files: &Files) {
        let store = files.open();
        let notes = store.collection("notes").unwrap();
        for (id, text, vector) in [
            ("both", "dams", Some([1.0, 0.1])),
            ("text", "dams dams", None),
            ("vector", "lodges", Some([1.0, 0.0])),
            ("far", "trees", Some([-9.0, 0.0])),
        ] {
            let body = format!("\"{text}\"");
            notes.index(Some(id), Some(&body), vector.as_ref().map(|v| &v[..]), &IndexOptions::default()).unwrap();
        }
        let options = HybridOptions::default();
        let hits = notes.hybrid_search("dams", &[1.0, 0.0], &options).unwrap();
        let seen: Vec<_> = hits.iter().map(|h| (h.document.id.as_str(), h.text_rank, h.vector_rank)).collect();
        assert_eq!(seen, [
            ("both", Some(1), Some(1)), ("text", Some(0), None), ("vector", None, Some(0)), ("far", None, Some(2)),
        ]);
        // The same as by hand.
        let rankings = [
            notes.match_text("dams", &MatchOptions::default()).unwrap(),
            notes.search(&[1.0, 0.0], 10, Metric::L2).unwrap(),
        ];
        let rankings = rankings.map(|hits| Ranking { ids: hits.into_iter().map(|hit| hit.document.id).collect(), weight: 1.0 });
        let fused = store.rerank(&rankings, 60).unwrap();
        assert_eq!(fused, hits.iter().map(|hit| (hit.document.id.clone(), hit.score)).collect::<Vec<_>>());
        let weighted = HybridOptions { text_weight: 0.0, top_k: 1, candidates: Some(5), metric: Metric::Cosine, ..options.clone() };
        assert_eq!(notes.hybrid_search("dams", &[1.0, 0.0], &weighted).unwrap()[0].document.id, "vector");
        let near = HybridOptions { candidates: Some(1), ..options.clone() };
        let hits = notes.hybrid_search("dams", &[1.0, 0.0], &near).unwrap();
        assert_eq!(hits.iter().map(|hit| hit.document.id.as_str()).collect::<Vec<_>>(), ["text", "vector"]);
        is_invalid(notes.hybrid_search("\"", &[1.0, 0.0], &options), "unterminated");
        is_invalid(notes.hybrid_search("dams", &[1.0], &options), "dimensions");
        is_invalid(notes.hybrid_search("dams", &[1.0, 0.0], &HybridOptions { k: 0, ..options.clone() }), "k must");
        is_invalid(notes.hybrid_search("dams", &[1.0, 0.0], &HybridOptions { text_weight: f64::NAN, ..options.clone() }), "finite");
        is_invalid(notes.hybrid_search("dams", &[1.0, 0.0], &HybridOptions { candidates: Some(0), ..options }), "10000");
        is_invalid(store.rerank(&rankings, 0), "k must");
    }

    fn a_transaction_rolls_everything_back(files: &Files) {
        let store = files.open();
        let notes = store.collection("notes").unwrap();
        notes.index(Some("a"), Some("\"dams\""), Some(&[1.0]), &fuzzy()).unwrap();
        let transaction = store.begin().unwrap();
        notes.index(Some("a"), Some("\"trees\""), Some(&[2.0]), &fuzzy()).unwrap();
        notes.index(Some("b"), Some("\"dams\""), Some(&[2.0]), &IndexOptions::default()).unwrap();
        notes.connect("a", "b", "to", None).unwrap();
        assert_eq!(found(&notes, "dams"), ["b"]);
        // One that fails takes nothing else with it.
        is_invalid(notes.index(Some("b"), None, Some(&[1.0, 2.0]), &IndexOptions::default()), "dimensions");
        assert_eq!(found(&notes, "dams"), ["b"]);
        transaction.rollback().unwrap();
        assert_eq!(found(&notes, "dams"), ["a"]);
        assert_eq!(notes.search(&[1.0], 9, Metric::L2).unwrap()[0].score, 0.0);
        assert_eq!(notes.len().unwrap(), 1);
        assert!(notes.edge_pages("a", Direction::Both, 9).unwrap().is_empty());
        // What the first write of a handle makes in a transaction that ends badly is made again.
        notes.connect("a", "a", "to", None).unwrap();
        assert_eq!(sql(files, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'beaver_%_with_vector' OR name = 'beaver_edges_by_target'"), "[(2,)]");
    }

    // An operation that changes nothing is rolled back, with what it made for itself.
    fn our_indexes_are_made_by_the_first_write_that_stays(files: &Files) {
        let notes = files.open().collection("notes").unwrap();
        let made = "SELECT name FROM sqlite_schema WHERE name IN ('beaver_collections_with_vector', 'beaver_edges_by_target')";
        assert!(!notes.drop("absent").unwrap());
        assert_eq!(sql(files, made), "[]");
        put(&notes, "a", "{}");
        assert!(sql(files, made).contains("with_vector") && sql(files, made).contains("by_target"));
    }

    fn vectors_of_an_older_file_are_refused_and_the_rest_is_used(files: &Files) {
        let store = files.open();
        let notes = store.collection("notes").unwrap();
        // As BeaverDB 0.20 made it.
        change(files, "DROP TABLE beaver_collection_versions;
            CREATE TABLE beaver_collection_versions (collection_name TEXT PRIMARY KEY, version INTEGER NOT NULL DEFAULT 0)");
        match notes.index(Some("a"), Some("\"dams\""), Some(&[1.0]), &IndexOptions::default()) {
            Err(Error::UnsupportedFormat(reason)) => assert!(reason.contains("0.20"), "{reason}"),
            other => panic!("{other:?}"),
        }
        put(&notes, "a", "\"dams\"");
        assert_eq!(found(&notes, "dams"), ["a"]);
        assert!(notes.drop("a").unwrap());
    }

    fn a_lock_keeps_others_from_writing(files: &Files) {
        let (store, other) = (files.open(), files.open_with(&beaver_tests::Options { lock_wait: beaver_tests::ms(20), ..Default::default() }).unwrap());
        let (notes, theirs) = (store.collection("notes").unwrap(), other.collection("notes").unwrap());
        notes.acquire(&beaver_tests::LockOptions::timeout(beaver_tests::s(5))).unwrap();
        assert!(!theirs.try_acquire(None).unwrap());
        for result in [
            theirs.index(None, None, None, &IndexOptions::default()).map(drop),
            theirs.drop("a").map(drop),
            theirs.connect("a", "b", "to", None),
            theirs.disconnect("a", "b", "to").map(drop),
            theirs.compact().map(drop),
            theirs.clear().map(drop),
        ] {
            assert!(matches!(result, Err(Error::Locked(_))), "{result:?}");
        }
        put(&notes, "a", "{}");
        assert_eq!(theirs.len().unwrap(), 1);
        notes.release().unwrap();
        put(&theirs, "b", "{}");
    }

    fn names_and_ids_that_can_not_be_used_are_told(files: &Files) {
        let store = files.open();
        for name in ["", "a\0b", &"n".repeat(1025)] {
            is_invalid(store.collection(name), "name");
        }
        let notes = store.collection("; DROP TABLE").unwrap();
        for id in ["a\0b", &"k".repeat(65_537)] {
            is_invalid(notes.index(Some(id), None, None, &IndexOptions::default()), "key");
            is_invalid(notes.get(id), "key");
            is_invalid(notes.drop(id), "key");
            is_invalid(notes.walk_pages(id, &WalkOptions::default(), 1), "key");
            is_invalid(notes.neighbor_pages(id, None, Direction::Both, 1), "key");
            is_invalid(notes.edge_pages(id, Direction::Both, 1), "key");
        }
        for id in ["", "\" OR", "*", "é\n\"\\", &"k".repeat(65_536), &"k ".repeat(32_768)] {
            for text in ["\"one\"", "\"two\""] {
                notes.index(Some(id), Some(text), None, &fuzzy()).unwrap();
            }
            assert_eq!(found(&notes, "two"), [id]);
            assert!(found(&notes, "one").is_empty());
            assert!(notes.drop(id).unwrap());
            assert!(found(&notes, "two").is_empty());
        }
        for body in ["", "{", "nope", "NaN"] {
            let result = notes.index(Some("a"), Some(body), None, &IndexOptions::default());
            assert!(matches!(result, Err(Error::InvalidJson(_))), "{body}");
        }
        assert_eq!(notes.len().unwrap(), 0);
    }
}

trait Bits {
    fn map_bits(self) -> Vec<u32>;
}

impl Bits for Vec<f32> {
    fn map_bits(self) -> Vec<u32> {
        self.into_iter().map(f32::to_bits).collect()
    }
}
