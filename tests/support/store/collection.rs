//! See `beaver_core::Collection`.

use super::{Cursor, Loader, Store, pages};
use crate::component::Remote;
use crate::{
    Direction, Document, Edge, FullText, FusedHit, Hit, HybridOptions, IndexOptions, MatchOptions,
    Metric, Ranking, Result, Step, WalkOptions,
};
use beaver_core as native;
use beaver_host::client;

/// A collection of either system.
#[derive(Debug)]
pub enum Collection {
    /// The core in this process.
    Native(native::Collection),
    /// The component.
    Component(Remote<client::Collection>),
}

impl Store {
    /// A handle for a collection.
    ///
    /// # Errors
    /// What opening the handle reports.
    pub fn collection(&self, name: &str) -> Result<Collection> {
        match self {
            Self::Native(db) => db.collection(name).map(Collection::Native),
            Self::Component(db) => db
                .open(async |db, instance| instance.collection(db, name).await)
                .map(Collection::Component),
        }
    }

    /// As the core's `rerank`.
    ///
    /// # Errors
    /// As the core's.
    pub fn rerank(&self, rankings: &[Ranking], k: u32) -> Result<Vec<(String, f64)>> {
        match self {
            Self::Native(_) => native::rerank(rankings, k),
            Self::Component(db) => {
                let rankings: Vec<_> = rankings
                    .iter()
                    .map(|ranking| client::Ranking {
                        ids: ranking.ids.clone(),
                        weight: ranking.weight,
                    })
                    .collect();
                let fused = db.run(async |_, instance| instance.rerank(&rankings, k).await)?;
                Ok(fused.into_iter().map(|f| (f.id, f.score)).collect())
            }
        }
    }
}

locking!(Collection);
dumping!(Collection);

impl Collection {
    forward! {
        drop(id: &str) -> bool;
        #[expect(clippy::len_without_is_empty, reason = "as in core")]
        len() -> u64;
        clear() -> u64;
        connect(source: &str, target: &str, label: &str, metadata: Option<&str>) -> ();
        disconnect(source: &str, target: &str, label: &str) -> bool;
        compact() -> bool;
    }

    /// As the core's `index`.
    ///
    /// # Errors
    /// As the core's.
    pub fn index(
        &self,
        id: Option<&str>,
        body: Option<&str>,
        embedding: Option<&[f32]>,
        options: &IndexOptions,
    ) -> Result<String> {
        match self {
            Self::Native(collection) => collection.index(id, body, embedding, options),
            Self::Component(collection) => {
                let options = index_options(options);
                collection.run(async |collection, instance| {
                    collection
                        .index(instance, id, body, embedding, &options)
                        .await
                })
            }
        }
    }

    /// As the core's `loader`.
    ///
    /// # Errors
    /// As the core's.
    pub fn loader(&self, options: &IndexOptions) -> Result<Loader> {
        match self {
            Self::Native(collection) => {
                let loader = collection.loader(options)?;
                Ok(Loader::Native(Box::new(loader)))
            }
            Self::Component(collection) => {
                let options = index_options(options);
                collection
                    .open(async |collection, instance| collection.loader(instance, &options).await)
                    .map(Loader::Component)
            }
        }
    }

    /// As the core's `get`.
    ///
    /// # Errors
    /// As the core's.
    pub fn get(&self, id: &str) -> Result<Option<Document>> {
        match self {
            Self::Native(collection) => collection.get(id),
            Self::Component(collection) => Ok(collection
                .run(async |collection, instance| collection.get(instance, id).await)?
                .map(document)),
        }
    }

    /// As the core's `match_text`.
    ///
    /// # Errors
    /// As the core's.
    pub fn match_text(&self, query: &str, options: &MatchOptions) -> Result<Vec<Hit>> {
        match self {
            Self::Native(collection) => collection.match_text(query, options),
            Self::Component(collection) => {
                let options = client::MatchOptions {
                    on: options.on.clone(),
                    top_k: options.top_k,
                    fuzziness: options.fuzziness,
                };
                collection
                    .run(async |collection, instance| {
                        collection.match_text(instance, query, &options).await
                    })
                    .map(hits)
            }
        }
    }

    /// As the core's `search`.
    ///
    /// # Errors
    /// As the core's.
    pub fn search(&self, vector: &[f32], top_k: u32, by: Metric) -> Result<Vec<Hit>> {
        match self {
            Self::Native(collection) => collection.search(vector, top_k, by),
            Self::Component(collection) => collection
                .run(async |collection, instance| {
                    collection.search(instance, vector, top_k, metric(by)).await
                })
                .map(hits),
        }
    }

    /// As the core's `hybrid_search`.
    ///
    /// # Errors
    /// As the core's.
    pub fn hybrid_search(
        &self,
        query: &str,
        vector: &[f32],
        options: &HybridOptions,
    ) -> Result<Vec<FusedHit>> {
        match self {
            Self::Native(collection) => collection.hybrid_search(query, vector, options),
            Self::Component(collection) => {
                let options = client::HybridOptions {
                    top_k: options.top_k,
                    candidates: options.candidates,
                    on: options.on.clone(),
                    fuzziness: options.fuzziness,
                    metric: metric(options.metric),
                    text_weight: options.text_weight,
                    vector_weight: options.vector_weight,
                    k: options.k,
                };
                let found = collection.run(async |collection, instance| {
                    collection
                        .hybrid_search(instance, query, vector, &options)
                        .await
                })?;
                Ok(found
                    .into_iter()
                    .map(|hit| FusedHit {
                        document: document(hit.document),
                        score: hit.score,
                        text_rank: hit.text_rank,
                        vector_rank: hit.vector_rank,
                    })
                    .collect())
            }
        }
    }

    /// All documents, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn document_pages(&self, max: u32) -> Result<Vec<Vec<Document>>> {
        self.documents()?.pages(max)
    }

    /// As the core's `documents`.
    ///
    /// # Errors
    /// As the core's.
    pub fn documents(&self) -> Result<Cursor<Document>> {
        match self {
            Self::Native(collection) => {
                let mut cursor = collection.documents()?;
                Ok(Cursor::new(move |max| cursor.next_page(max)))
            }
            Self::Component(collection) => {
                let cursor = collection
                    .open(async |collection, instance| collection.documents(instance).await)?;
                Ok(documents(cursor))
            }
        }
    }

    /// All neighbors, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn neighbor_pages(
        &self,
        id: &str,
        label: Option<&str>,
        way: Direction,
        max: u32,
    ) -> Result<Vec<Vec<Document>>> {
        match self {
            Self::Native(collection) => {
                let mut cursor = collection.neighbors(id, label, way)?;
                pages(|| cursor.next_page(max))
            }
            Self::Component(collection) => {
                let cursor = collection.open(async |collection, instance| {
                    collection
                        .neighbors(instance, id, label, direction(way))
                        .await
                })?;
                documents(cursor).pages(max)
            }
        }
    }

    /// All edges of a document, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn edge_pages(&self, id: &str, way: Direction, max: u32) -> Result<Vec<Vec<Edge>>> {
        match self {
            Self::Native(collection) => {
                let mut cursor = collection.edges(id, way)?;
                pages(|| cursor.next_page(max))
            }
            Self::Component(collection) => {
                let cursor = collection.open(async |collection, instance| {
                    collection.edges(instance, id, direction(way)).await
                })?;
                pages(|| {
                    let page = cursor.run(async |cursor, i| cursor.next(i, max).await)?;
                    Ok(page
                        .into_iter()
                        .map(|edge| Edge {
                            source: edge.source,
                            target: edge.target,
                            label: edge.label,
                            metadata: edge.metadata,
                        })
                        .collect())
                })
            }
        }
    }

    /// A whole walk, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn walk_pages(&self, id: &str, options: &WalkOptions, max: u32) -> Result<Vec<Vec<Step>>> {
        pages(self.walk(id, options, max)?)
    }

    /// What the first `count` calls for a page of a walk return.
    ///
    /// # Errors
    /// What starting it reports.
    pub fn walk_first_pages(
        &self,
        id: &str,
        options: &WalkOptions,
        max: u32,
        count: usize,
    ) -> Result<Vec<Result<Vec<Step>>>> {
        let mut next = self.walk(id, options, max)?;
        Ok((0..count).map(|_| next()).collect())
    }

    fn walk(
        &self,
        id: &str,
        options: &WalkOptions,
        max: u32,
    ) -> Result<Box<dyn FnMut() -> Result<Vec<Step>>>> {
        match self {
            Self::Native(collection) => {
                let mut cursor = collection.walk(id, options)?;
                Ok(Box::new(move || cursor.next_page(max)))
            }
            Self::Component(collection) => {
                let options = client::WalkOptions {
                    depth: options.depth,
                    labels: options.labels.clone(),
                    direction: direction(options.direction),
                };
                let cursor = collection.open(async |collection, instance| {
                    collection.walk(instance, id, &options).await
                })?;
                Ok(Box::new(move || {
                    let page = cursor.run(async |cursor, i| cursor.next(i, max).await)?;
                    Ok(page
                        .into_iter()
                        .map(|step| Step {
                            document: document(step.document),
                            depth: step.depth,
                        })
                        .collect())
                }))
            }
        }
    }
}

fn documents(cursor: Remote<client::DocumentCursor>) -> Cursor<Document> {
    Cursor::new(move |max| {
        let page = cursor.run(async |cursor, i| cursor.next(i, max).await)?;
        Ok(page.into_iter().map(document).collect())
    })
}

fn document(document: client::Document) -> Document {
    Document {
        id: document.id,
        body: document.body,
        embedding: document.embedding,
    }
}

fn hits(hits: Vec<client::Hit>) -> Vec<Hit> {
    hits.into_iter()
        .map(|hit| Hit {
            document: document(hit.document),
            score: hit.score,
        })
        .collect()
}

fn metric(metric: Metric) -> client::Metric {
    match metric {
        Metric::L2 => client::Metric::L2,
        Metric::Cosine => client::Metric::Cosine,
    }
}

fn direction(direction: Direction) -> client::Direction {
    match direction {
        Direction::Outgoing => client::Direction::Outgoing,
        Direction::Incoming => client::Direction::Incoming,
        Direction::Both => client::Direction::Both,
    }
}

fn index_options(options: &IndexOptions) -> client::IndexOptions {
    client::IndexOptions {
        full_text: match &options.full_text {
            FullText::All => client::FullText::All,
            FullText::Nothing => client::FullText::Nothing,
            FullText::Fields(names) => client::FullText::Fields(names.clone()),
        },
        fuzzy: options.fuzzy,
    }
}
