//! Collections: `{"id", "embedding", "body"}`.

use super::load::{Target, required};
use super::split::{Members, Shape};
use super::{Dump, Extent, Loader, Part, Source, member, object};
use crate::collection::{Collection, Document, Documents, IndexOptions, Prepared};
use crate::error::Result;
use crate::json::{python_float_text, python_text_with_constants};
use std::io;

impl Collection {
    /// The documents in order of their ids, as the JSON text that Python's
    /// `json.dump(collection.dump(), file, indent=2)` writes. Edges, and by
    /// which texts a document is found, aren't in it.
    ///
    /// # Errors
    /// What reading may report; each piece may fail.
    pub fn dump(&self) -> Result<Dump> {
        let (extent, documents) = self.database.read_snapshot(|_| {
            let (count, mut documents) = (self.len()?, self.documents()?);
            let extent = Extent::new(count, documents.read_ahead()?);
            Ok((extent, documents))
        })?;
        let source = Stored(documents);
        Ok(Dump::new(
            &self.database,
            "Collection",
            self.name(),
            extent,
            "",
            source,
        ))
    }

    /// Loads a dump: adds its documents, or replaces those with their ids, and
    /// indexes them as `options` say. Edges stay as they are.
    ///
    /// # Errors
    /// None now; see [`Loader`].
    pub fn loader(&self, options: &IndexOptions) -> Result<Loader> {
        Ok(Loader::of(Indexing {
            collection: self.share(),
            options: options.clone(),
        }))
    }

    /// Loads the dump that `reader` gives; returns how many documents it had.
    ///
    /// # Errors
    /// As [`Loader::write`]; [`Error::Failed`](crate::Error::Failed) when
    /// `reader` fails. What was loaded before stays, except inside a transaction
    /// that is then rolled back.
    pub fn load_from(&self, reader: impl io::Read, options: &IndexOptions) -> Result<u64> {
        self.loader(options)?.load(reader)
    }
}

#[derive(Debug)]
struct Stored(Documents);

impl Source for Stored {
    fn next(&mut self) -> Result<Option<Vec<Part>>> {
        let Some(Document {
            id,
            body,
            embedding,
        }) = self.0.next().transpose()?
        else {
            return Ok(None);
        };
        let embedding = match embedding {
            None => Part::Text("null".into()),
            Some(vector) => {
                let components: Vec<_> = vector
                    .into_iter()
                    .map(|component| python_float_text(component.into()))
                    .collect();
                let text = format!("[{}]", components.join(","));
                Part::stored(text, "an embedding".into())
            }
        };
        let body = Part::stored(body, format!("the body of {id:?}"));
        Ok(Some(object([
            ("id", Part::string(&id)),
            ("embedding", embedding),
            ("body", body),
        ])))
    }
}

#[derive(Debug)]
struct Indexing {
    collection: Collection,
    options: IndexOptions,
}

impl Target for Indexing {
    type Item = Prepared;

    const KIND: &'static str = "Collection";
    const SHAPE: Shape = Shape::Object(&["id", "embedding", "body"]);

    fn item(&self, mut members: Members) -> Result<(Prepared, usize)> {
        let id = member::string(&required(&mut members, 0, "id")?, "an id")?;
        // A document of the reference may be without these, too.
        let embedding = members[1].take().map(|text| member::embedding(&text));
        let embedding = embedding.transpose()?.flatten();
        let body = python_text_with_constants(members[2].as_deref().unwrap_or("null"))?;
        let components = embedding.as_ref().map_or(0, Vec::len);
        let size = id.len() + 2 * body.len() + components * size_of::<f32>();
        let document = Prepared::new(id, body, embedding.as_deref(), &self.options)?;
        Ok((document, size))
    }

    fn add(&self, documents: &[Prepared]) -> Result<()> {
        self.collection.index_all(documents)
    }
}
