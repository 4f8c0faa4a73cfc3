//! A collection of documents (`wit/collection.wit`).

use super::dump::{DumpCursor, Loader};
use super::handle::{call, handle};
use super::locking::lock_methods;
use super::{
    Database, Direction, Document, Edge, Fused, FusedHit, Hit, HybridOptions, IndexOptions,
    MatchOptions, Metric, Ranking, Step, WalkOptions,
};
use crate::{Error, Instance};

handle! {
    /// A collection. Two handles of one name are two lock owners; closing one
    /// releases the lock it holds.
    Collection
}

impl Instance {
    /// A handle for the collection `name`, which exists as long as it has documents.
    pub async fn collection(
        &mut self,
        database: &Database,
        name: &str,
    ) -> Result<Collection, Error> {
        let database = database.0.on(self)?;
        let opened = call!(self, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_open(store, database, name))?;
        let resource = opened.map_err(Error::Db)?;
        Ok(Collection(self.registry().adopt(resource)))
    }

    /// Fuses rankings: each id once with its score, the highest first.
    pub async fn rerank(&mut self, rankings: &[Ranking], k: u32) -> Result<Vec<Fused>, Error> {
        call!(self, |store, api| api
            .beaver_db_collection(&mut *store)?
            .call_rerank(store, rankings, k))?
        .map_err(Error::Db)
    }
}

lock_methods!(Collection, beaver_db_collection, collection);

impl Collection {
    /// Adds the document `id`, or replaces all of it, and returns the id:
    /// without one it is a random UUID. `body` is a JSON text.
    pub async fn index(
        &self,
        instance: &mut Instance,
        id: Option<&str>,
        body: Option<&str>,
        embedding: Option<&[f32]>,
        options: &IndexOptions,
    ) -> Result<String, Error> {
        let this = self.0.on(instance)?;
        let body = &body.map(str::to_owned); // the bindings want a `&String` here
        call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_index(
                store,
                this,
                id,
                body.as_ref(),
                embedding,
                options
            ))?
        .map_err(Error::Db)
    }

    /// The document; none when it isn't there.
    pub async fn get(&self, instance: &mut Instance, id: &str) -> Result<Option<Document>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_get(store, this, id))?
        .map_err(Error::Db)
    }

    /// Removes the document and every edge from and to it; false when it wasn't there.
    pub async fn drop(&self, instance: &mut Instance, id: &str) -> Result<bool, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_drop(store, this, id))?
        .map_err(Error::Db)
    }

    /// The number of documents.
    pub async fn len(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_len(store, this))?
        .map_err(Error::Db)
    }

    /// Removes every document and every edge; returns how many documents there were.
    pub async fn clear(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_clear(store, this))?
        .map_err(Error::Db)
    }

    /// The documents in order of their ids' bytes, page by page.
    pub async fn documents(&self, instance: &mut Instance) -> Result<DocumentCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_documents(store, this))?
        .map_err(Error::Db)?;
        Ok(DocumentCursor(instance.registry().adopt(cursor)))
    }

    /// The documents whose text fields match `query`, best first. (The
    /// interface's `match`, which is a word of Rust's own.)
    pub async fn match_text(
        &self,
        instance: &mut Instance,
        query: &str,
        options: &MatchOptions,
    ) -> Result<Vec<Hit>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_match(store, this, query, options))?
        .map_err(Error::Db)
    }

    /// The `top_k` documents whose embeddings are nearest to `vector`.
    pub async fn search(
        &self,
        instance: &mut Instance,
        vector: &[f32],
        top_k: u32,
        metric: Metric,
    ) -> Result<Vec<Hit>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_search(store, this, vector, top_k, metric))?
        .map_err(Error::Db)
    }

    /// Searches for a text and a vector at once and fuses the rankings.
    pub async fn hybrid_search(
        &self,
        instance: &mut Instance,
        query: &str,
        vector: &[f32],
        options: &HybridOptions,
    ) -> Result<Vec<FusedHit>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_hybrid_search(store, this, query, vector, options))?
        .map_err(Error::Db)
    }

    /// Connects two ids with a label; an edge that is there gets the new `metadata`.
    pub async fn connect(
        &self,
        instance: &mut Instance,
        source: &str,
        target: &str,
        label: &str,
        metadata: Option<&str>,
    ) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        let metadata = &metadata.map(str::to_owned); // the bindings want a `&String` here
        call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_connect(
                store,
                this,
                source,
                target,
                label,
                metadata.as_ref()
            ))?
        .map_err(Error::Db)
    }

    /// Removes an edge; false when it wasn't there.
    pub async fn disconnect(
        &self,
        instance: &mut Instance,
        source: &str,
        target: &str,
        label: &str,
    ) -> Result<bool, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_disconnect(store, this, source, target, label))?
        .map_err(Error::Db)
    }

    /// The edges of `id`, page by page.
    pub async fn edges(
        &self,
        instance: &mut Instance,
        id: &str,
        direction: Direction,
    ) -> Result<EdgeCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_edges(store, this, id, direction))?
        .map_err(Error::Db)?;
        Ok(EdgeCursor(instance.registry().adopt(cursor)))
    }

    /// The documents to which an edge of `id` leads, page by page.
    pub async fn neighbors(
        &self,
        instance: &mut Instance,
        id: &str,
        label: Option<&str>,
        direction: Direction,
    ) -> Result<DocumentCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_neighbors(store, this, id, label, direction))?
        .map_err(Error::Db)?;
        Ok(DocumentCursor(instance.registry().adopt(cursor)))
    }

    /// The documents that can be reached from `id`: breadth first, page by page.
    pub async fn walk(
        &self,
        instance: &mut Instance,
        id: &str,
        options: &WalkOptions,
    ) -> Result<WalkCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_walk(store, this, id, options))?
        .map_err(Error::Db)?;
        Ok(WalkCursor(instance.registry().adopt(cursor)))
    }

    /// Has Python processes read all vectors anew; false when no vector has
    /// changed since the last time.
    pub async fn compact(&self, instance: &mut Instance) -> Result<bool, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_compact(store, this))?
        .map_err(Error::Db)
    }

    /// The contents as JSON text, piece by piece.
    pub async fn dump(&self, instance: &mut Instance) -> Result<DumpCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_dump(store, this))?
        .map_err(Error::Db)?;
        Ok(DumpCursor(instance.registry().adopt(cursor)))
    }

    /// Loads a dump piece by piece, and indexes its documents as `options` say.
    pub async fn loader(
        &self,
        instance: &mut Instance,
        options: &IndexOptions,
    ) -> Result<Loader, Error> {
        let this = self.0.on(instance)?;
        let loader = call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .collection()
            .call_loader(store, this, options))?
        .map_err(Error::Db)?;
        Ok(Loader(instance.registry().adopt(loader)))
    }
}

handle! {
    /// Where an iteration over documents stands.
    DocumentCursor
}

impl DocumentCursor {
    /// The next page: at most `max` documents; empty at the end.
    pub async fn next(&self, instance: &mut Instance, max: u32) -> Result<Vec<Document>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .document_cursor()
            .call_next(store, this, max))?
        .map_err(Error::Db)
    }
}

handle! {
    /// Where an iteration over edges stands.
    EdgeCursor
}

impl EdgeCursor {
    /// The next page: at most `max` edges; empty at the end.
    pub async fn next(&self, instance: &mut Instance, max: u32) -> Result<Vec<Edge>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .edge_cursor()
            .call_next(store, this, max))?
        .map_err(Error::Db)
    }
}

handle! {
    /// How far a walk has come.
    WalkCursor
}

impl WalkCursor {
    /// The next page: at most `max` documents; empty at the end.
    pub async fn next(&self, instance: &mut Instance, max: u32) -> Result<Vec<Step>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_collection(&mut *store)?
            .walk_cursor()
            .call_next(store, this, max))?
        .map_err(Error::Db)
    }
}
