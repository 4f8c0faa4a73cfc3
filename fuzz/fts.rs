//! Full-text search with any query, exact and fuzzy.
//!
//! The input is lines of text, each an operation, its parts separated by tabs:
//!
//! ```text
//! @NAME                        from now on in this collection
//! +ID  OPTIONS  BODY           index; options: fuzzy, nothing, or fields to be found by
//! -ID                          drop
//! !                            clear
//! ?FIELDS  TOP_K,EDITS  QUERY  search
//! ```
//!
//! What must stay true: a search gives what a table of its own with the same texts gives, or both
//! refuse the query; a document that a word finds has a word that begins so; every word of ASCII
//! finds its document; a fuzzy score is the least number of edits; the file is whole.
//!
//! The texts are those of the body as serde_json reads it. Bodies that it can't read (half a
//! surrogate pair) or that have two fields of one path aren't compared.

use crate::Target;
use crate::scratch::Scratch;
use beaver_core::rusqlite::{Connection, params};
use beaver_core::{
    Collection, Error, FullText, HybridOptions, IndexOptions, MAX_FUZZINESS, MAX_TOP_K,
    MatchOptions,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
pub const TARGET: Target = Target {
    name: "fts",
    run,
    tries: 130,
    bytes_max: 4096,
};

const STEPS_MAX: usize = 40;

/// How many words of a field are looked for at the end.
const WORDS_MAX: usize = 3;

/// The texts by which a document can be found, by their paths; none where they aren't known.
type Fields = Option<BTreeMap<String, String>>;

/// The documents of a collection.
type Documents = BTreeMap<String, Fields>;

fn run(bytes: &[u8]) {
    let input = String::from_utf8_lossy(bytes);
    let scratch = Scratch::new();
    let database = scratch.open();
    let mut models: BTreeMap<String, Documents> = BTreeMap::new();
    let mut collection = database.collection("c").unwrap();
    for line in input.split('\n').take(STEPS_MAX) {
        let mut characters = line.chars();
        let operation = characters.next();
        let mut parts = characters.as_str().splitn(3, '\t');
        let mut part = || parts.next().unwrap_or_default();
        let model = models.entry(collection.name().to_owned()).or_default();
        match operation {
            Some('@') => match database.collection(part()) {
                Ok(other) => collection = other,
                Err(error) => assert!(matches!(error, Error::InvalidArgument(_)), "{error}"),
            },
            Some('+') => index(&collection, model, part(), part(), part()),
            Some('-') => {
                let id = part();
                match collection.drop(id) {
                    Ok(dropped) => assert_eq!(dropped, model.remove(id).is_some()),
                    Err(error) => assert!(matches!(error, Error::InvalidArgument(_)), "{error}"),
                }
            }
            Some('!') => {
                assert_eq!(collection.clear().unwrap(), model.len() as u64);
                model.clear();
            }
            Some('?') => search(&collection, model, part(), part(), part()),
            _ => {}
        }
    }
    for (name, model) in &models {
        every_word_finds_its_document(&database.collection(name).unwrap(), model);
    }
    drop((collection, database));
    let connection = Connection::open(scratch.path()).unwrap();
    let said: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(said, "ok");
}

fn index(collection: &Collection, model: &mut Documents, id: &str, options: &str, body: &str) {
    let mut names: Vec<_> = options
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let mut has = |option| {
        let before = names.len();
        names.retain(|name| name != option);
        names.len() < before
    };
    let (fuzzy, nothing) = (has("fuzzy"), has("nothing"));
    let full_text = match (nothing, names.is_empty()) {
        (true, _) => FullText::Nothing,
        (_, true) => FullText::All,
        _ => FullText::Fields(names),
    };
    let options = IndexOptions { full_text, fuzzy };
    match collection.index(Some(id), Some(body), None, &options) {
        Ok(_) => {
            let stored = collection.get(id).unwrap().unwrap();
            model.insert(id.to_owned(), fields(&stored.body, &options.full_text));
        }
        Err(Error::InvalidArgument(_) | Error::InvalidJson(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

fn fields(body: &str, wanted: &FullText) -> Fields {
    fn add(path: &str, value: Value, fields: &mut BTreeMap<String, String>) -> bool {
        match value {
            Value::String(text) => fields.insert(path.to_owned(), text).is_none(),
            Value::Object(members) => members.into_iter().all(|(key, value)| {
                let path = match path {
                    "" => key,
                    path => format!("{path}.{key}"),
                };
                add(&path, value, fields)
            }),
            _ => true,
        }
    }
    let mut fields = BTreeMap::new();
    if !add("", serde_json::from_str(body).ok()?, &mut fields) {
        return None;
    }
    fields.retain(|path, _| match wanted {
        FullText::All => true,
        FullText::Nothing => false,
        FullText::Fields(names) => names.contains(path),
    });
    Some(fields)
}

fn search(collection: &Collection, model: &Documents, on: &str, numbers: &str, query: &str) {
    let on: Vec<_> = on
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let (top_k, fuzziness) = numbers.split_once(',').unwrap_or((numbers, ""));
    let options = MatchOptions {
        top_k: top_k.parse().unwrap_or(MAX_TOP_K),
        fuzziness: fuzziness.parse().unwrap_or(0),
        on,
    };
    let hybrid = HybridOptions {
        on: options.on.clone(),
        top_k: options.top_k,
        fuzziness: options.fuzziness,
        ..HybridOptions::default()
    };
    let found = collection.match_text(query, &options);
    let fused = collection.hybrid_search(query, &[1.0], &hybrid);
    // There are no vectors, so the texts alone decide what is found, and whether.
    match (&found, &fused) {
        (Ok(found), Ok(fused)) => {
            let ids: Vec<_> = found.iter().map(|hit| &hit.document.id).collect();
            let fused: Vec<_> = fused.iter().map(|hit| &hit.document.id).collect();
            assert_eq!(ids, fused);
        }
        (Err(error), Err(same)) => assert_eq!(error, same),
        _ => panic!("{found:?} but {fused:?}"),
    }
    let valid = (1..=MAX_TOP_K).contains(&options.top_k)
        && options.fuzziness <= MAX_FUZZINESS
        && !query.contains('\0');
    let hits = match found {
        Ok(hits) => hits,
        Err(Error::InvalidArgument(_)) if !valid => return,
        Err(Error::InvalidArgument(problem)) if options.fuzziness == 0 => {
            assert_eq!(expected(model, &options.on, query), None, "{problem}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert!(valid && hits.len() <= options.top_k as usize);
    assert!(hits.is_sorted_by(|a, b| a.score <= b.score));
    let ids: BTreeSet<&str> = hits.iter().map(|hit| hit.document.id.as_str()).collect();
    assert_eq!(ids.len(), hits.len(), "one of them twice");
    let texts = |id: &str| {
        let fields = model[id].as_ref()?;
        let wanted = |path| options.on.is_empty() || options.on.contains(path);
        let texts = fields.iter().filter(|(path, _)| wanted(path));
        Some(texts.map(|(_, text)| text).collect::<Vec<_>>())
    };
    if options.fuzziness > 0 {
        for hit in &hits {
            if let Some(texts) = texts(&hit.document.id) {
                let least = texts.iter().map(|text| edits(query, text)).min();
                assert_eq!(least.map(f64::from), Some(hit.score), "{}", hit.document.id);
            }
        }
        return;
    }
    let wanted = expected(model, &options.on, query).expect("a query that FTS5 refuses");
    let known: BTreeSet<&str> = ids
        .iter()
        .copied()
        .filter(|id| model[*id].is_some())
        .collect();
    if hits.len() < options.top_k as usize {
        assert!(known.iter().copied().eq(wanted.iter().map(String::as_str)));
    } else {
        assert!(known.iter().all(|id| wanted.contains(*id)));
    }
    if is_word(query) {
        for texts in known.iter().filter_map(|id| texts(id)) {
            if texts.iter().all(|text| text.is_ascii()) {
                let mut words = texts.iter().flat_map(|text| words(text));
                assert!(words.any(|word| may_be_found(word, query)), "{texts:?}");
            }
        }
    }
}

/// The documents that match in a table of their own; none if it refuses the query. It has the same
/// columns, but nothing in those that a query must not reach.
fn expected(model: &Documents, on: &[String], query: &str) -> Option<BTreeSet<String>> {
    let connection = Connection::open_in_memory().unwrap();
    connection
        .execute_batch(
            "CREATE VIRTUAL TABLE t USING fts5(
                 collection, item_id, field_path, field_content, tokenize = 'porter')",
        )
        .unwrap();
    let mut ids = Vec::new();
    for (id, fields) in model {
        for (path, text) in fields.iter().flatten() {
            if on.is_empty() || on.contains(path) {
                connection
                    .execute(
                        "INSERT INTO t (rowid, field_content) VALUES (?1, ?2)",
                        params![ids.len() as i64, text],
                    )
                    .unwrap();
                ids.push(id);
            }
        }
    }
    let mut statement = connection
        .prepare("SELECT rowid FROM t WHERE field_content MATCH ?1")
        .unwrap();
    let found = statement.query_map([query], |row| row.get(0)).unwrap();
    found
        .map(|row: Result<i64, _>| row.map(|row| ids[row as usize].clone()))
        .collect::<Result<_, _>>()
        .ok()
}

fn every_word_finds_its_document(collection: &Collection, model: &Documents) {
    for (id, fields) in model {
        let texts = fields.iter().flatten().map(|(_, text)| text);
        for text in texts.filter(|text| text.is_ascii()) {
            for word in words(text).take(WORDS_MAX) {
                let options = MatchOptions {
                    top_k: MAX_TOP_K,
                    ..MatchOptions::default()
                };
                let hits = collection.match_text(&format!("\"{word}\""), &options);
                let mut ids = hits.unwrap().into_iter().map(|hit| hit.document.id);
                assert!(ids.any(|found| found == *id), "{word:?} of {id:?}");
            }
        }
    }
}

/// The words of a text of ASCII.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
}

/// Whether FTS5 reads the query as one word.
fn is_word(query: &str) -> bool {
    let all = query.bytes().all(|byte| byte.is_ascii_alphanumeric());
    all && !["", "AND", "OR", "NOT", "NEAR"].contains(&query)
}

/// Whether a search for one word may find the other: stemming changes ends, and not of numbers, nor
/// of what is as short as this.
fn may_be_found(word: &str, query: &str) -> bool {
    let stays = |word: &str| word.len() < 3 || word.bytes().all(|byte| byte.is_ascii_digit());
    word.eq_ignore_ascii_case(query)
        || !(stays(word) && stays(query)) && word[..1].eq_ignore_ascii_case(&query[..1])
}

/// The least number of edits between the query and some words of the text, one after another.
fn edits(query: &str, text: &str) -> u32 {
    let split = |text: &str| {
        let text = text.to_lowercase();
        let space = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
        let words = text.split(space).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let query: Vec<char> = split(query).join(" ").chars().collect();
    if query.is_empty() {
        return 0;
    }
    let words = split(text);
    let mut least = u32::MAX;
    for from in 0..words.len() {
        // The row of the table for each letter of the run, which grows word by word.
        let mut row: Vec<u32> = (0..).take(query.len() + 1).collect();
        for (number, word) in words[from..].iter().enumerate() {
            let space = (number > 0).then_some(' ');
            for letter in space.into_iter().chain(word.chars()) {
                let mut next = vec![row[0] + 1];
                for (i, wanted) in query.iter().enumerate() {
                    let substituted = row[i] + u32::from(*wanted != letter);
                    next.push(substituted.min(row[i + 1] + 1).min(next[i] + 1));
                }
                row = next;
            }
            least = least.min(row[query.len()]);
        }
    }
    least
}
