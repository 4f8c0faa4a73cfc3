//! Words: the table `beaver_fts_index`, one row for each text field.
//!
//! What must stay true: the rows of a document are exactly its fields that were
//! to be found, with the same text; and their trigrams follow them.
//!
//! The table is shared by all collections, and FTS5 has no other index than
//! words. So a document's rows are found by the words of its id, in the column
//! `item_id`: the reference reads the whole table instead at each `index`.

use super::fuzzy;
use super::top::Top;
use super::{Collection, Hit, check_top_k, hits};
use crate::error::{Error, Result};
use rusqlite::{Connection, OptionalExtension as _, ffi, params};
use std::collections::BTreeMap;

/// The longest query.
pub const MAX_QUERY_BYTES: usize = 64 * 1024;

/// The longest id whose words are looked for; a longer one costs too many.
const MAX_PHRASE_BYTES: usize = 512;

/// Paths and their texts.
pub(super) type Fields = BTreeMap<String, String>;

/// What to look for in text fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchOptions {
    /// The fields to look in; empty: all.
    pub on: Vec<String>,
    /// The most documents to return.
    pub top_k: u32,
    /// 0: the query is an FTS5 query. More: a plain text that may differ by so
    /// many insertions, deletions and substitutions of a letter.
    pub fuzziness: u32,
}

impl Default for MatchOptions {
    fn default() -> Self {
        Self {
            on: Vec::new(),
            top_k: 10,
            fuzziness: 0,
        }
    }
}

impl Collection {
    /// The documents whose text fields match `query`, best first, each once.
    /// (`match` is a word of Rust's own.)
    ///
    /// Without fuzziness `query` is an FTS5 query over the texts of the fields,
    /// and the score is the BM25 rank of the best field, as SQLite gives it:
    /// the lower the better, below 0. With fuzziness it is the number of edits
    /// between `query` and the words of a field that are most like it; see
    /// [`MAX_FUZZINESS`](super::MAX_FUZZINESS) for which documents are looked at.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] with SQLite's message for a query that isn't
    /// FTS5's syntax (a fuzzy one needn't be), one that is too long or has a
    /// NUL; for `top_k` not 1 to [`MAX_TOP_K`](crate::MAX_TOP_K), for too much
    /// fuzziness; and what reading may report.
    pub fn match_text(&self, query: &str, options: &MatchOptions) -> Result<Vec<Hit>> {
        let limit = check_top_k(options.top_k)?;
        check_query(query, options.fuzziness)?;
        self.database.read_snapshot(|connection| {
            let ranking = ranking(connection, self.name(), query, options, limit)?;
            hits(connection, self.name(), ranking)
        })
    }
}

pub(super) fn check_query(query: &str, fuzziness: u32) -> Result<()> {
    if query.len() > MAX_QUERY_BYTES {
        return Err(Error::InvalidArgument(format!(
            "a query has at most {MAX_QUERY_BYTES} bytes; this one has {}",
            query.len()
        )));
    }
    // FTS5 would read no further.
    if query.contains('\0') {
        return Err(Error::InvalidArgument(
            "a query must not contain NUL".into(),
        ));
    }
    fuzzy::check_query(query, fuzziness)
}

/// The ids and scores of the `limit` best documents. The query is checked.
pub(super) fn ranking(
    connection: &Connection,
    name: &str,
    query: &str,
    options: &MatchOptions,
    limit: usize,
) -> Result<Vec<(String, f64)>> {
    if options.fuzziness == 0 {
        words(connection, name, query, &options.on, limit)
    } else {
        fuzzy::ranking(connection, name, query, options, limit)
    }
}

/// The documents with the best fields by BM25.
pub(super) fn words(
    connection: &Connection,
    name: &str,
    query: &str,
    on: &[String],
    limit: usize,
) -> Result<Vec<(String, f64)>> {
    let mut top = Top::new(limit);
    // A query of the column field_content is parsed by itself, so that it
    // can't reach the other columns, whatever brackets it has.
    let mut statement = connection.prepare_cached(
        "SELECT item_id, rank FROM beaver_fts_index
         WHERE field_content MATCH ?1 AND collection = ?2
           AND (?3 IS NULL OR field_path IN (SELECT value FROM json_each(?3)))",
    )?;
    let mut rows = statement.query(params![query, name, json_list(on)])?;
    while let Some(row) = rows.next().map_err(syntax_error)? {
        top.offer(row.get(1)?, row.get_ref(0)?.as_str().unwrap_or_default());
    }
    Ok(top.into_ranking())
}

/// The statement is right, so a plain error of SQLite is about the query.
fn syntax_error(error: rusqlite::Error) -> Error {
    match &error {
        rusqlite::Error::SqliteFailure(failure, Some(message))
            if failure.extended_code == ffi::SQLITE_ERROR =>
        {
            Error::InvalidArgument(format!("the full-text query: {message}"))
        }
        _ => error.into(),
    }
}

/// A JSON array for `json_each`; none for an empty list.
pub(super) fn json_list(texts: &[String]) -> Option<String> {
    let quoted: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
    (!texts.is_empty()).then(|| format!("[{}]", quoted.join(",")))
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A row of the full-text table.
pub(super) struct TextRow {
    rowid: i64,
    pub(super) path: String,
    pub(super) content: String,
}

/// The rows of a document.
pub(super) fn rows_of(connection: &Connection, name: &str, id: &str) -> Result<Vec<TextRow>> {
    let decode = |row: &rusqlite::Row<'_>| {
        Ok(TextRow {
            rowid: row.get(0)?,
            path: row.get(1)?,
            content: row.get(2)?,
        })
    };
    let rows = match phrase(id) {
        Some(phrase) => connection
            .prepare_cached(
                "SELECT rowid, field_path, field_content FROM beaver_fts_index
                 WHERE item_id MATCH ?3 AND collection = ?1 AND item_id = ?2",
            )?
            .query_map([name, id, &phrase], decode)?
            .collect::<rusqlite::Result<_>>(),
        None => connection
            .prepare_cached(
                "SELECT rowid, field_path, field_content FROM beaver_fts_index
                 WHERE collection = ?1 AND item_id = ?2",
            )?
            .query_map([name, id], decode)?
            .collect(),
    };
    Ok(rows?)
}

/// No more rows than this are in the table, of all collections.
pub(super) fn rows_at_most(connection: &Connection) -> Result<u64> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT rowid FROM beaver_fts_index ORDER BY rowid DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or(0).max(0).cast_unsigned())
}

/// Calls `each` with id, path and text of every row of the collection.
pub(super) fn for_each_row(
    connection: &Connection,
    name: &str,
    mut each: impl FnMut(&str, &str, &str),
) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT item_id, field_path, field_content FROM beaver_fts_index WHERE collection = ?1",
    )?;
    let mut rows = statement.query([name])?;
    while let Some(row) = rows.next()? {
        let text = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str().unwrap_or(""));
        each(text(0)?, text(1)?, text(2)?);
    }
    Ok(())
}

/// The FTS5 query for the words of `text` in order, which finds every row whose
/// column is that text; none where that isn't sure, because no word is, or dear.
fn phrase(text: &str) -> Option<String> {
    (text.len() <= MAX_PHRASE_BYTES && text.chars().any(is_in_word))
        .then(|| format!("\"{}\"", text.replace('"', "\"\"")))
}

/// Whether FTS5 counts `c` as part of a word. Its tables are those of Unicode
/// 6.1, Rust's are newer: so only of blocks that were complete by then.
fn is_in_word(c: char) -> bool {
    matches!(c,
        '0'..='9' | 'A'..='Z' | 'a'..='z'
        | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{24f}' // Latin
        | '\u{391}'..='\u{3a1}' | '\u{3a3}'..='\u{3f5}' // Greek
        | '\u{400}'..='\u{481}' | '\u{5d0}'..='\u{5ea}' // Cyrillic, Hebrew
        | '\u{621}'..='\u{64a}' | '\u{905}'..='\u{939}' // Arabic, Devanagari
        | '\u{e01}'..='\u{e30}' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' // Thai, Kana
        | '\u{4e00}'..='\u{9fcb}' | '\u{ac00}'..='\u{d7a3}') // Han, Hangul
}

/// Makes the document's rows those of `fields`. A document that isn't `known`
/// has none yet.
pub(super) fn replace(
    connection: &Connection,
    name: &str,
    id: &str,
    known: bool,
    fields: &Fields,
    fuzzy: bool,
) -> Result<()> {
    let mut left: BTreeMap<&str, &str> = fields
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let before = if known {
        rows_of(connection, name, id)?
    } else {
        Vec::new()
    };
    for row in before {
        let TextRow {
            rowid,
            path,
            content,
        } = row;
        let stays = left.get(path.as_str()) == Some(&content.as_str());
        let has_trigrams = fuzzy::exist(connection, name, id, &path, &content)?;
        if has_trigrams && !(stays && fuzzy) {
            fuzzy::remove(connection, name, id, &path, &content)?;
        }
        if stays {
            left.remove(path.as_str());
            if fuzzy && !has_trigrams {
                fuzzy::add(connection, name, id, &path, &content)?;
            }
        } else {
            connection
                .prepare_cached("DELETE FROM beaver_fts_index WHERE rowid = ?1")?
                .execute([rowid])?;
        }
    }
    for (path, content) in left {
        connection
            .prepare_cached(
                "INSERT INTO beaver_fts_index (collection, item_id, field_path, field_content)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute([name, id, path, content])?;
        if fuzzy {
            fuzzy::add(connection, name, id, path, content)?;
        }
    }
    Ok(())
}

/// Removes every row of the collection, trigrams included.
pub(super) fn clear(connection: &Connection, name: &str) -> Result<()> {
    match phrase(name) {
        Some(phrase) => connection
            .prepare_cached(
                "DELETE FROM beaver_fts_index WHERE collection MATCH ?2 AND collection = ?1",
            )?
            .execute([name, &phrase])?,
        None => connection
            .prepare_cached("DELETE FROM beaver_fts_index WHERE collection = ?1")?
            .execute([name])?,
    };
    fuzzy::clear(connection, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_json() {
        assert_eq!(json_list(&[]), None);
        let list = json_list(&["a".into(), "\"\\\n é".into()]);
        assert_eq!(list.as_deref(), Some("[\"a\",\"\\\"\\\\\\u000a é\"]"));
    }

    #[test]
    fn every_character_that_is_taken_for_one_of_a_word_is() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE VIRTUAL TABLE words USING fts5(id, tokenize = 'porter'); BEGIN")
            .unwrap();
        let letters = || ('\0'..=char::MAX).filter(|c| is_in_word(*c));
        assert!(letters().count() > 30_000);
        for c in letters() {
            connection
                .execute("INSERT INTO words VALUES (?1)", [format!("-{c}")])
                .unwrap();
        }
        let mut find = connection
            .prepare("SELECT 1 FROM words WHERE id MATCH ?1 AND id = ?2")
            .unwrap();
        // Every one would take seconds in a debug build.
        for c in letters().step_by(13).chain(letters().take(1500)) {
            let id = format!("-{c}");
            let phrase = phrase(&id).unwrap();
            assert!(
                find.exists([&phrase, &id]).unwrap(),
                "{c:?} {:x}",
                u32::from(c)
            );
        }
    }
}
