//! A collection of documents with full-text, fuzzy, vector and graph search.
//!
//! ```text
//! document.rs  what a document is, its stored form, iterating
//! text.rs      words: the FTS5 table           fuzzy.rs  typing errors: trigrams, edit distance
//! vector.rs    nearest neighbours              changes.rs  what Python's vector index watches
//! graph.rs     edges, neighbours               walk.rs   breadth first along edges
//! rank.rs      fusing rankings                 top.rs    the best of many in bounded memory
//! ```
//!
//! What must stay true:
//! - The tables of one document change in one transaction: a row in
//!   `beaver_fts_index` or `beaver_trigrams` has its document in `beaver_collections`.
//! - A document's trigrams are those of its rows in the full-text table.
//! - A search reads the tables, never a copy of them, in one read transaction.
//! - Python processes keep a copy of the vectors; `changes.rs` keeps it right.

mod changes;
mod document;
mod fuzzy;
mod graph;
mod rank;
mod text;
mod top;
mod vector;
mod walk;

pub use document::{Document, Documents};
pub use fuzzy::{MAX_FUZZINESS, MAX_FUZZY_QUERY_CHARS};
pub use graph::{Direction, Edge, Edges};
pub use rank::{FusedHit, HybridOptions, Ranking, rerank};
pub use text::{MAX_QUERY_BYTES, MatchOptions};
pub use vector::{MAX_DIMENSIONS, Metric};
pub use walk::{MAX_WALK_BYTES, Step, Walk, WalkOptions};

use crate::database::Database;
use crate::error::{Error, Result};
use crate::events::{self, Event, Payload};
use crate::json::python_text;
use crate::manager::{Kind, Manager, check_key};
use crate::owner::{Owner, lock_methods};
use crate::schema;
use crate::write::{Effect, Interference, Request};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::cell::Cell;
use std::rc::Rc;

/// The most documents that one search returns.
pub const MAX_TOP_K: u32 = 10_000;

/// The most bytes of documents that one search returns, but for a single one. The component's callers
/// (Wasmtime) take 128 MiB from one call, and what holds the documents counts too: beyond that they end
/// its instance.
const MAX_RESULT_BYTES: usize = 64 * 1024 * 1024;

/// A handle for a collection: one lock owner. Dropping it gives its lock back.
///
/// Every method is one transaction of its own, or part of the open
/// [`Transaction`](crate::Transaction). Bodies are JSON texts.
///
/// ```
/// # fn main() -> beaver_core::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("app.db");
/// # let path = path.to_str().unwrap();
/// use beaver_core::{Database, HybridOptions, IndexOptions, MatchOptions, Metric, Options, WalkOptions};
///
/// let db = Database::open(path, &Options::default())?;
/// let notes = db.collection("notes")?;
/// let options = IndexOptions { fuzzy: true, ..IndexOptions::default() };
/// notes.index(Some("a"), Some(r#"{"title": "Beavers build dams"}"#), Some(&[1.0, 0.0]), &options)?;
/// notes.index(Some("b"), Some(r#"{"title": "Otters swim"}"#), Some(&[0.0, 1.0]), &options)?;
/// notes.connect("a", "b", "related", None)?;
///
/// let words = notes.match_text("build dam", &MatchOptions::default())?;
/// assert_eq!(words[0].document.id, "a");
/// let typo = MatchOptions { fuzziness: 2, ..MatchOptions::default() };
/// assert_eq!(notes.match_text("beevers build", &typo)?[0].document.id, "a");
/// let near = notes.search(&[0.1, 0.9], 1, Metric::L2)?;
/// assert_eq!(near[0].document.id, "b");
/// let both = notes.hybrid_search("dams", &[1.0, 0.1], &HybridOptions::default())?;
/// assert_eq!(both[0].document.id, "a");
/// let reached: Vec<_> = notes.walk("a", &WalkOptions::depth(2))?.collect::<Result<_, _>>()?;
/// assert_eq!(reached[0].document.id, "b");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Collection {
    pub(crate) database: Database,
    manager: Rc<Manager>,
    owner: Owner,
    /// Whether our own indexes are known to be there.
    indexed: Cell<bool>,
}

lock_methods!(Collection);

/// Which text fields of a document full-text search finds it by. A field is a
/// member of the body, or of an object in it, that is a string; its name is the
/// path of keys joined by `.`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FullText {
    /// Every one.
    #[default]
    All,
    /// None.
    Nothing,
    /// Those with these names.
    Fields(Vec<String>),
}

/// By what a document can be found besides its id, its vector and its edges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexOptions {
    /// By its words.
    pub full_text: FullText,
    /// Also by texts that differ a little from those fields. Costs a row for
    /// each three letters.
    pub fuzzy: bool,
}

/// A document that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The document.
    pub document: Document,
    /// Lower is better, as the method that found it says.
    pub score: f64,
}

/// A document as it is stored and indexed.
#[derive(Debug)]
pub(crate) struct Prepared {
    id: String,
    body: String,
    vector: Option<Vec<u8>>,
    fields: text::Fields,
    fuzzy: bool,
}

impl Prepared {
    /// `body` is Python's JSON text.
    pub(crate) fn new(
        id: String,
        body: String,
        embedding: Option<&[f32]>,
        options: &IndexOptions,
    ) -> Result<Self> {
        check_key(&id)?;
        let body = document::as_object(body);
        Ok(Self {
            fields: document::text_fields(&body, &options.full_text)?,
            vector: embedding.map(vector::stored).transpose()?,
            fuzzy: options.fuzzy,
            id,
            body,
        })
    }
}

impl Database {
    /// A handle for the collection `name`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bad name, [`Error::UnsupportedFormat`]
    /// in a file opened read-only that has no collections, and what writing may
    /// report the first time.
    pub fn collection(&self, name: &str) -> Result<Collection> {
        Collection::open(self, name)
    }
}

impl Collection {
    fn open(database: &Database, name: &str) -> Result<Self> {
        let manager = Rc::new(Manager::new(Kind::Collection, name)?);
        database.require(Kind::Collection)?;
        Ok(Self {
            owner: Owner::new(database, &manager.lock_name),
            database: database.clone(),
            manager,
            indexed: Cell::new(false),
        })
    }

    /// The collection's name.
    pub fn name(&self) -> &str {
        &self.manager.name
    }

    /// Adds the document `id`, or replaces all of it, and returns the id:
    /// without one it is a random UUID.
    ///
    /// `body` is a JSON text; what isn't an object is kept as the member
    /// `value` of one, and nothing (or `null`) as an empty object. The
    /// collection's first `embedding` decides how many dimensions the others have.
    ///
    /// # Errors
    /// [`Error::InvalidJson`]; [`Error::InvalidArgument`] for an id that isn't
    /// usable, an embedding that is empty, has another number of dimensions
    /// than those in the collection or a component that isn't finite;
    /// [`Error::Locked`], [`Error::LockLost`], and what writing may report.
    pub fn index(
        &self,
        id: Option<&str>,
        body: Option<&str>,
        embedding: Option<&[f32]>,
        options: &IndexOptions,
    ) -> Result<String> {
        let id = match id {
            Some(id) => id.to_owned(),
            None => document::random_id(self.database.inner.runtime.random()),
        };
        let body = python_text(body.unwrap_or("null"))?;
        let prepared = Prepared::new(id, body, embedding, options)?;
        let event = Event::new("index", Payload::Id(&prepared.id));
        self.write(Some(event), |connection| {
            self.store(connection, &prepared)?;
            Ok(Effect::Changed(()))
        })?;
        Ok(prepared.id)
    }

    /// Adds or replaces all of `documents`, in one transaction.
    pub(crate) fn index_all(&self, documents: &[Prepared]) -> Result<()> {
        self.write(None, |connection| {
            for document in documents {
                self.store(connection, document)?;
            }
            let payloads = documents.iter().map(|document| Payload::Id(&document.id));
            events::publish_if_heard(&self.database, &self.manager, "index", payloads)?;
            Ok(Effect::Changed(()))
        })
    }

    fn store(&self, connection: &Connection, document: &Prepared) -> Result<()> {
        let name = self.name();
        let Prepared { id, vector, .. } = document;
        // What is there, and whether its vector is another than the new one.
        let before: Option<(bool, bool)> = connection
            .prepare_cached(
                "SELECT item_vector IS NOT NULL, item_vector IS NOT ?3
                 FROM beaver_collections WHERE collection = ?1 AND item_id = ?2",
            )?
            .query_row(params![name, id, vector], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let (had_vector, moved) = before.unwrap_or((false, vector.is_some()));
        if let Some(vector) = vector
            && moved
        {
            vector::check_dimensions(connection, name, vector)?;
        }
        connection
            .prepare_cached(
                "INSERT INTO beaver_collections (collection, item_id, item_vector, metadata)
                 VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (collection, item_id)
                 DO UPDATE SET item_vector = excluded.item_vector, metadata = excluded.metadata",
            )?
            .execute(params![name, id, vector, document.body])?;
        if moved {
            match vector {
                Some(_) => changes::vector_set(connection, name, id, had_vector)?,
                None => changes::vector_removed(connection, name, id)?,
            }
        }
        let known = before.is_some();
        text::replace(
            connection,
            name,
            id,
            known,
            &document.fields,
            document.fuzzy,
        )
    }

    /// Another such handle, of the same lock owner: the lock doesn't end with it.
    pub(crate) fn share(&self) -> Self {
        Self {
            database: self.database.clone(),
            manager: Rc::clone(&self.manager),
            owner: self.owner.share(),
            indexed: self.indexed.clone(),
        }
    }

    /// The document `id`; none when it isn't there.
    ///
    /// # Errors
    /// What reading may report.
    pub fn get(&self, id: &str) -> Result<Option<Document>> {
        check_key(id)?;
        self.database
            .read(|connection| document::get(connection, self.name(), id))
    }

    /// Removes the document `id` and every edge from and to it. False when it
    /// wasn't there (its edges are removed all the same).
    ///
    /// # Errors
    /// As [`Collection::index`].
    pub fn drop(&self, id: &str) -> Result<bool> {
        check_key(id)?;
        self.write(Some(Event::new("drop", Payload::Id(id))), |connection| {
            let name = self.name();
            let had_vector: Option<bool> = connection
                .prepare_cached(
                    "DELETE FROM beaver_collections WHERE collection = ?1 AND item_id = ?2
                     RETURNING item_vector IS NOT NULL",
                )?
                .query_row([name, id], |row| row.get(0))
                .optional()?;
            let edges = graph::drop_edges(connection, name, id)?;
            let Some(had_vector) = had_vector else {
                return Ok(match edges {
                    0 => Effect::Unchanged(false),
                    _ => Effect::Changed(false),
                });
            };
            text::replace(connection, name, id, true, &text::Fields::new(), false)?;
            if had_vector {
                changes::vector_removed(connection, name, id)?;
            }
            Ok(Effect::Changed(true))
        })
    }

    /// The number of documents.
    ///
    /// # Errors
    /// What reading may report.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a count is a query; is_empty would hide that"
    )]
    pub fn len(&self) -> Result<u64> {
        self.database.read(|connection| {
            let count: i64 = connection
                .prepare_cached("SELECT count(*) FROM beaver_collections WHERE collection = ?1")?
                .query_row([self.name()], |row| row.get(0))?;
            Ok(count.cast_unsigned())
        })
    }

    /// The documents in order of their ids' bytes.
    ///
    /// # Errors
    /// None now; each page may fail.
    pub fn documents(&self) -> Result<Documents> {
        Ok(Documents::all(&self.database, &self.manager))
    }

    /// Removes every document and every edge; returns how many documents there were.
    ///
    /// # Errors
    /// As [`Collection::index`].
    pub fn clear(&self) -> Result<u64> {
        self.write(None, |connection| {
            let name = self.name();
            let documents = connection
                .prepare_cached("DELETE FROM beaver_collections WHERE collection = ?1")?
                .execute([name])?;
            let edges = connection
                .prepare_cached("DELETE FROM beaver_edges WHERE collection = ?1")?
                .execute([name])?;
            if documents > 0 {
                changes::all_removed(connection, name)?;
                text::clear(connection, name)?;
            }
            Ok(if documents > 0 || edges > 0 {
                Effect::Changed(documents as u64)
            } else {
                Effect::Unchanged(0)
            })
        })
    }

    /// Has Python processes read all vectors anew at their next search,
    /// instead of keeping up change by change. Nothing else depends on it, and
    /// writes do it every 100 changes of vectors. False when there was no change since.
    ///
    /// # Errors
    /// As [`Collection::index`].
    pub fn compact(&self) -> Result<bool> {
        self.write(None, |connection| {
            Ok(if changes::compact(connection, self.name())? {
                Effect::Changed(true)
            } else {
                Effect::Unchanged(false)
            })
        })
    }

    fn write<T>(
        &self,
        event: Option<Event<'_>>,
        mut write: impl FnMut(&Connection) -> Result<Effect<T>>,
    ) -> Result<T> {
        let lease = self.owner.lease();
        let request = Request {
            manager: &self.manager,
            lease: lease.as_ref(),
            interference: Interference::Possible,
            event,
            wait: self.database.inner.options.lock_wait,
            write_limit: None,
        };
        let mut changed = false;
        let value = self.database.write(&request, |connection| {
            if !self.indexed.get() {
                schema::create_collection_indexes(connection)?;
            }
            let effect = write(connection)?;
            changed = matches!(effect, Effect::Changed(_));
            Ok(effect)
        })?;
        // What was made is there for good only once it is committed.
        if changed && !self.database.inner.in_transaction.get() {
            self.indexed.set(true);
        }
        Ok(value)
    }
}

fn check_top_k(top_k: u32) -> Result<usize> {
    if top_k == 0 || top_k > MAX_TOP_K {
        return Err(Error::InvalidArgument(format!(
            "a search returns 1 to {MAX_TOP_K} documents"
        )));
    }
    Ok(top_k as usize)
}

/// The documents of a ranking, in its order, each with its score.
fn hits(connection: &Connection, name: &str, ranking: Vec<(String, f64)>) -> Result<Vec<Hit>> {
    let mut hits = Vec::with_capacity(ranking.len());
    let mut bytes = 0;
    for (id, score) in ranking {
        if let Some(document) = document::get(connection, name, &id)? {
            bytes += document.size();
            check_result_size(bytes, hits.len())?;
            hits.push(Hit { document, score });
        }
    }
    Ok(hits)
}

/// Refuses a document with which those found have too many `bytes`, if there are `others` before it.
fn check_result_size(bytes: usize, others: usize) -> Result<()> {
    if bytes > MAX_RESULT_BYTES && others > 0 {
        return Err(Error::InvalidArgument(format!(
            "the documents found are larger than {MAX_RESULT_BYTES} bytes together: ask for fewer"
        )));
    }
    Ok(())
}
