//! A document, its form in `beaver_collections`, and iterating over documents.
//!
//! What must stay true: the column `metadata` holds an object, as Python's
//! `json.dumps` prints it; the text fields are those that the reference's
//! `Document.flattened_body` has. No recursion, and memory in proportion to the body.

use super::FullText;
use super::graph::{Neighborhood, neighbor_page};
use super::text::Fields;
use super::vector;
use crate::cursor::{Ahead, check_max, check_order, pages_iterator, read_page};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::manager::{MAX_VALUE_BYTES, Manager};
use crate::value;
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, OptionalExtension as _, Row};
use std::rc::Rc;

/// A document of a collection.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it is known by in its collection.
    pub id: String,
    /// The JSON text; an object, unless somebody else stored something else.
    pub body: String,
    /// Its vector.
    pub embedding: Option<Vec<f32>>,
}

impl Document {
    /// Reads the columns `item_id, item_vector, metadata`.
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let bytes = row.get_ref(1)?.as_blob_or_null()?.unwrap_or_default();
        value::check_row(bytes.len())?;
        let embedding = vector::loaded(bytes).ok_or_else(|| {
            rusqlite::Error::FromSqlConversionFailure(
                1,
                Type::Blob,
                Box::new(FromSqlError::Other("not a vector of f32".into())),
            )
        })?;
        let document = Self {
            id: value::text(row, 0)?,
            // Nothing that is known stores NULL; the column allows it.
            body: value::text_or_null(row, 2)?.unwrap_or_else(|| "{}".into()),
            embedding,
        };
        value::check_row(document.size())?;
        Ok(document)
    }

    pub(super) fn size(&self) -> usize {
        let vector = self.embedding.as_ref().map_or(0, Vec::len);
        self.id.len() + self.body.len() + vector * size_of::<f32>()
    }
}

/// The document `id`, if it is there.
pub(super) fn get(connection: &Connection, name: &str, id: &str) -> Result<Option<Document>> {
    Ok(connection
        .prepare_cached(
            "SELECT item_id, item_vector, metadata FROM beaver_collections
             WHERE collection = ?1 AND item_id = ?2",
        )?
        .query_row([name, id], Document::from_row)
        .optional()?)
}

/// A version 4 UUID, as the reference makes them.
pub(super) fn random_id(random: u128) -> String {
    let bits = random & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    let groups = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    groups.join("-")
}

/// What is stored for a body whose text is Python's.
pub(super) fn as_object(text: String) -> String {
    match text.as_bytes().first() {
        Some(b'{') => text,
        _ if text == "null" => "{}".into(),
        _ => format!("{{\"value\": {text}}}"),
    }
}

/// The text fields of a stored body that are wanted: each path with its text.
///
/// `body` must be what [`as_object`] returned.
pub(super) fn text_fields(body: &str, wanted: &FullText) -> Result<Fields> {
    let mut fields = Fields::new();
    if *wanted == FullText::Nothing {
        return Ok(fields);
    }
    let mut bytes = 0;
    let mut reader = Reader {
        text: body.as_bytes(),
        at: 1,
    };
    // The path of the member that is being read, and where it ended in each open object.
    let (mut path, mut open) = (String::new(), vec![0]);
    while let Some(&end) = open.last() {
        match reader.next() {
            b'"' => {
                path.truncate(end);
                if end > 0 {
                    path.push('.');
                }
                reader.string(&mut path);
                reader.at += 2;
                match reader.peek() {
                    b'{' => {
                        reader.at += 1;
                        open.push(path.len());
                    }
                    b'"' if is_wanted(&path, wanted) => {
                        reader.at += 1;
                        let mut text = String::new();
                        reader.string(&mut text);
                        bytes += path.len() + text.len();
                        if bytes > MAX_VALUE_BYTES {
                            return Err(Error::InvalidArgument(format!(
                                "the text fields with their paths have more than {MAX_VALUE_BYTES} bytes"
                            )));
                        }
                        // Of two members with one path the last counts, in Python's dict.
                        fields.insert(path.clone(), text);
                    }
                    _ => reader.skip_value(),
                }
            }
            b'}' => {
                open.pop();
            }
            // Between members; at an end that can't come, out.
            b',' | b' ' => {}
            _ => break,
        }
    }
    Ok(fields)
}

fn is_wanted(path: &str, wanted: &FullText) -> bool {
    match wanted {
        FullText::All => true,
        FullText::Nothing => false,
        FullText::Fields(names) => names.iter().any(|name| name == path),
    }
}

/// Reads JSON that is known to be as [`python_text`] prints it.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn next(&mut self) -> u8 {
        let byte = self.peek();
        self.at += 1;
        byte
    }

    /// Reads the rest of a string, after its opening quote, onto `out`.
    /// SQLite's texts can't hold a lone surrogate: it becomes U+FFFD.
    fn string(&mut self, out: &mut String) {
        loop {
            let run = self.at;
            while !matches!(self.peek(), b'"' | b'\\' | 0) {
                self.at += 1;
            }
            // The text is ASCII.
            out.push_str(std::str::from_utf8(&self.text[run..self.at]).unwrap_or_default());
            if self.next() != b'\\' {
                return;
            }
            match self.next() {
                b'b' => out.push('\u{8}'),
                b'f' => out.push('\u{c}'),
                b'n' => out.push('\n'),
                b'r' => out.push('\r'),
                b't' => out.push('\t'),
                b'u' => {
                    let mut units = vec![self.unit()];
                    if (0xd800..0xdc00).contains(&units[0])
                        && self.text[self.at..].starts_with(b"\\u")
                    {
                        let first = self.at;
                        self.at += 2;
                        let second = self.unit();
                        if (0xdc00..0xe000).contains(&second) {
                            units.push(second);
                        } else {
                            self.at = first;
                        }
                    }
                    out.extend(
                        char::decode_utf16(units)
                            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)),
                    );
                }
                other => out.push(char::from(other)),
            }
        }
    }

    fn unit(&mut self) -> u16 {
        let digits = self.text.get(self.at..self.at + 4).unwrap_or_default();
        self.at += 4;
        std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
            .unwrap_or(0)
    }

    /// Passes over a value; what follows it is `,` or a closing bracket.
    fn skip_value(&mut self) {
        let mut depth = 0_u32;
        loop {
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    while !matches!(self.peek(), b'"' | 0) {
                        self.at += if self.peek() == b'\\' { 2 } else { 1 };
                    }
                }
                b'[' | b'{' => depth += 1,
                b']' | b'}' if depth > 0 => depth -= 1,
                b',' | b'}' | b']' if depth == 0 => return,
                0 => return,
                _ => {}
            }
            self.at += 1;
        }
    }
}

/// What a [`Documents`] goes through.
#[derive(Debug)]
enum Source {
    All,
    Neighbors(Neighborhood),
}

/// Documents in order of their ids' bytes. Reads page by page, each as the
/// database is then.
#[derive(Debug)]
pub struct Documents {
    database: Database,
    manager: Rc<Manager>,
    source: Source,
    after: Option<String>,
    done: bool,
    ahead: Ahead<Document>,
}

impl Documents {
    pub(super) fn all(database: &Database, manager: &Rc<Manager>) -> Self {
        Self::new(database, manager, Source::All)
    }

    pub(super) fn neighbors(
        database: &Database,
        manager: &Rc<Manager>,
        around: Neighborhood,
    ) -> Self {
        Self::new(database, manager, Source::Neighbors(around))
    }

    fn new(database: &Database, manager: &Rc<Manager>, source: Source) -> Self {
        Self {
            database: database.clone(),
            manager: Rc::clone(manager),
            source,
            after: None,
            done: false,
            ahead: Ahead::default(),
        }
    }

    /// The next page: at most `max`, fewer when they are large, empty at the end.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for 0, and what reading may report.
    pub fn next_page(&mut self, max: u32) -> Result<Vec<Document>> {
        check_max(max)?;
        if self.done {
            return Ok(Vec::new());
        }
        let (name, after) = (&self.manager.name, self.after.as_deref());
        let (page, last) = match &self.source {
            Source::All => self
                .database
                .read(|connection| page(connection, name, after, max))?,
            Source::Neighbors(around) => self
                .database
                .read_snapshot(|connection| neighbor_page(connection, name, around, after, max))?,
        };
        self.after = last;
        self.done = page.is_empty();
        Ok(page)
    }
}

/// A page of all documents, after the id `after` (none: the first), and the last id.
fn page(
    connection: &Connection,
    name: &str,
    after: Option<&str>,
    max: u32,
) -> Result<(Vec<Document>, Option<String>)> {
    // No id sorts before the empty one, which is an id like any other.
    let sql = match after {
        None => {
            "SELECT item_id, item_vector, metadata FROM beaver_collections
             WHERE collection = ?1 AND item_id >= ?2 ORDER BY item_id"
        }
        Some(_) => {
            "SELECT item_id, item_vector, metadata FROM beaver_collections
             WHERE collection = ?1 AND item_id > ?2 ORDER BY item_id"
        }
    };
    let page = read_page(
        &mut *connection.prepare_cached(sql)?,
        [name, after.unwrap_or_default()],
        max,
        |row| {
            let document = Document::from_row(row)?;
            let size = document.size();
            Ok((document, size))
        },
    )?;
    check_order(after, page.iter().map(|document| document.id.as_str()))?;
    let last = page.last().map(|last| last.id.clone());
    Ok((page, last))
}

pages_iterator!(Documents, Document);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::python_text;
    use proptest::prelude::*;

    fn stored_body(body: Option<&str>) -> Result<String> {
        Ok(as_object(python_text(body.unwrap_or("null"))?))
    }

    fn fields(body: &str) -> Vec<(String, String)> {
        let stored = stored_body(Some(body)).unwrap();
        text_fields(&stored, &FullText::All)
            .unwrap()
            .into_iter()
            .collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn a_body_is_stored_as_an_object() {
        for (body, stored) in [
            (None, "{}"),
            (Some("null"), "{}"),
            (Some(" {\"a\":1} "), "{\"a\": 1}"),
            (Some("{}"), "{}"),
            (Some("\"text\""), "{\"value\": \"text\"}"),
            (Some("[1,null]"), "{\"value\": [1, null]}"),
            (Some("false"), "{\"value\": false}"),
        ] {
            assert_eq!(stored_body(body).unwrap(), stored);
        }
        assert!(matches!(stored_body(Some("")), Err(Error::InvalidJson(_))));
    }

    #[test]
    fn fields_are_those_of_the_reference() {
        // Right-hand sides printed by Document(body=…).flattened_body() of 1.3.0.
        for (body, expected) in [
            ("\"text\"", pairs(&[("value", "text")])),
            ("[\"text\"]", pairs(&[])),
            ("{}", pairs(&[])),
            (
                r#"{"a":"x","b":1,"c":null,"d":["y",{"e":"z"}]}"#,
                pairs(&[("a", "x")]),
            ),
            (
                r#"{"a":{"b":{"c":"x"},"d":"y"},"e":"z"}"#,
                pairs(&[("a.b.c", "x"), ("a.d", "y"), ("e", "z")]),
            ),
            (r#"{"a.b":"x","a":{"b":"y"}}"#, pairs(&[("a.b", "y")])),
            (r#"{"a":{"b":"y"},"a.b":"x"}"#, pairs(&[("a.b", "x")])),
            (
                r#"{"":{"b":"y","":{"":"z"}},"c":""}"#,
                pairs(&[("", "z"), ("b", "y"), ("c", "")]),
            ),
            (r#"{"x":{"":"z"}}"#, pairs(&[("x.", "z")])),
            (r#"{"a":{},"b":[],"c":"]}\"{["}"#, pairs(&[("c", "]}\"{[")])),
        ] {
            assert_eq!(fields(body), expected, "{body}");
        }
        let only = FullText::Fields(vec!["a.b".into(), "none".into()]);
        let stored = r#"{"a": {"b": "x", "c": "y"}, "b": "z"}"#;
        let chosen: Vec<_> = text_fields(stored, &only).unwrap().into_iter().collect();
        assert_eq!(chosen, pairs(&[("a.b", "x")]));
        assert!(text_fields(stored, &FullText::Nothing).unwrap().is_empty());
    }

    #[test]
    fn a_lone_surrogate_is_replaced_in_the_fields_alone() {
        let body = r#"{"a": "x\ud800", "b": "\ud83d\ude00\ud83d", "c": "\ud83dA"}"#;
        assert_eq!(stored_body(Some(body)).unwrap(), body);
        assert_eq!(
            fields(body),
            pairs(&[("a", "x\u{fffd}"), ("b", "😀\u{fffd}"), ("c", "\u{fffd}A")])
        );
    }

    #[test]
    fn paths_can_not_grow_without_bound() {
        let key = "k".repeat(1 << 20);
        let inner: Vec<_> = (0..70).map(|n| format!("\"{n}\":\"\"")).collect();
        let body = format!("{{\"{key}\":{{{}}}}}", inner.join(","));
        let stored = stored_body(Some(&body)).unwrap();
        assert!(matches!(
            text_fields(&stored, &FullText::All),
            Err(Error::InvalidArgument(_))
        ));
    }

    #[test]
    fn a_random_id_is_a_version_4_uuid() {
        assert_eq!(random_id(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(random_id(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    proptest! {
        #[test]
        fn any_string_is_read_back(text in any::<String>(), key in any::<String>()) {
            let quote = |text: &str| {
                let escaped: String = text
                    .chars()
                    .map(|c| match c {
                        '"' | '\\' => format!("\\{c}"),
                        c if c < ' ' => format!("\\u{:04x}", c as u32),
                        c => c.to_string(),
                    })
                    .collect();
                format!("\"{escaped}\"")
            };
            let body = format!("{{{}:[{{}}, {}],\"o\":{{{}:{}}}}}", quote(&key), quote(&text), quote(&key), quote(&text));
            let found = fields(&body);
            // The key may be "o", whose second value then is the object.
            prop_assert_eq!(found, vec![(format!("o.{key}"), text)]);
        }
    }
}
