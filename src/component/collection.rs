//! `beaver:db/collection`.

use crate::Component;
use crate::bindings::exports::beaver::db::collection as wit;
use crate::bindings::exports::beaver::db::database::DatabaseBorrow;
use crate::bindings::exports::beaver::db::dump::{DumpCursor, Loader};
use crate::bindings::exports::beaver::db::types::Error;
use crate::dump;
use crate::lock::lock_methods;
use beaver_core::{
    Collection, Database, Direction, Document, Documents, Edge, Edges, FullText, FusedHit, Hit,
    HybridOptions, IndexOptions, MatchOptions, Metric, Ranking, Step, Walk, WalkOptions, rerank,
};
use std::cell::RefCell;

impl wit::Guest for Component {
    type Collection = Collection;
    type DocumentCursor = RefCell<Documents>;
    type EdgeCursor = RefCell<Edges>;
    type WalkCursor = RefCell<Walk>;

    fn rerank(rankings: Vec<wit::Ranking>, k: u32) -> Result<Vec<wit::Fused>, Error> {
        let rankings: Vec<_> = rankings
            .into_iter()
            .map(|ranking| Ranking {
                ids: ranking.ids,
                weight: ranking.weight,
            })
            .collect();
        let fused = rerank(&rankings, k)?.into_iter();
        Ok(fused.map(|(id, score)| wit::Fused { id, score }).collect())
    }
}

impl wit::GuestCollection for Collection {
    fn open(db: DatabaseBorrow<'_>, name: String) -> Result<wit::Collection, Error> {
        Ok(wit::Collection::new(
            db.get::<Database>().collection(&name)?,
        ))
    }

    fn index(
        &self,
        id: Option<String>,
        body: Option<String>,
        embedding: Option<Vec<f32>>,
        options: wit::IndexOptions,
    ) -> Result<String, Error> {
        Ok(self.index(
            id.as_deref(),
            body.as_deref(),
            embedding.as_deref(),
            &index_options(options),
        )?)
    }

    fn get(&self, id: String) -> Result<Option<wit::Document>, Error> {
        Ok(self.get(&id)?.map(document))
    }

    fn drop(&self, id: String) -> Result<bool, Error> {
        Ok(self.drop(&id)?)
    }

    fn len(&self) -> Result<u64, Error> {
        Ok(self.len()?)
    }

    fn clear(&self) -> Result<u64, Error> {
        Ok(self.clear()?)
    }

    fn documents(&self) -> Result<wit::DocumentCursor, Error> {
        Ok(wit::DocumentCursor::new(RefCell::new(self.documents()?)))
    }

    fn match_(&self, query: String, options: wit::MatchOptions) -> Result<Vec<wit::Hit>, Error> {
        let options = MatchOptions {
            on: options.on,
            top_k: options.top_k,
            fuzziness: options.fuzziness,
        };
        Ok(hits(self.match_text(&query, &options)?))
    }

    fn search(
        &self,
        vector: Vec<f32>,
        top_k: u32,
        metric_: wit::Metric,
    ) -> Result<Vec<wit::Hit>, Error> {
        Ok(hits(self.search(&vector, top_k, metric(metric_))?))
    }

    fn hybrid_search(
        &self,
        query: String,
        vector: Vec<f32>,
        options: wit::HybridOptions,
    ) -> Result<Vec<wit::FusedHit>, Error> {
        let options = HybridOptions {
            top_k: options.top_k,
            candidates: options.candidates,
            on: options.on,
            fuzziness: options.fuzziness,
            metric: metric(options.metric),
            text_weight: options.text_weight,
            vector_weight: options.vector_weight,
            k: options.k,
        };
        let found = self.hybrid_search(&query, &vector, &options)?;
        Ok(found.into_iter().map(fused_hit).collect())
    }

    fn connect(
        &self,
        source: String,
        target: String,
        label: String,
        metadata: Option<String>,
    ) -> Result<(), Error> {
        Ok(self.connect(&source, &target, &label, metadata.as_deref())?)
    }

    fn disconnect(&self, source: String, target: String, label: String) -> Result<bool, Error> {
        Ok(self.disconnect(&source, &target, &label)?)
    }

    fn edges(&self, id: String, way: wit::Direction) -> Result<wit::EdgeCursor, Error> {
        let edges = self.edges(&id, direction(way))?;
        Ok(wit::EdgeCursor::new(RefCell::new(edges)))
    }

    fn neighbors(
        &self,
        id: String,
        label: Option<String>,
        way: wit::Direction,
    ) -> Result<wit::DocumentCursor, Error> {
        let neighbors = self.neighbors(&id, label.as_deref(), direction(way))?;
        Ok(wit::DocumentCursor::new(RefCell::new(neighbors)))
    }

    fn walk(&self, id: String, options: wit::WalkOptions) -> Result<wit::WalkCursor, Error> {
        let options = WalkOptions {
            depth: options.depth,
            labels: options.labels,
            direction: direction(options.direction),
        };
        let walk = self.walk(&id, &options)?;
        Ok(wit::WalkCursor::new(RefCell::new(walk)))
    }

    fn compact(&self) -> Result<bool, Error> {
        Ok(self.compact()?)
    }

    fn dump(&self) -> Result<DumpCursor, Error> {
        Ok(dump::cursor(self.dump()?))
    }

    fn loader(&self, options: wit::IndexOptions) -> Result<Loader, Error> {
        Ok(dump::loader(self.loader(&index_options(options))?))
    }

    lock_methods!();
}

// The cursors' cells are never borrowed twice: a component isn't entered again
// while a call runs.

impl wit::GuestDocumentCursor for RefCell<Documents> {
    fn next(&self, max: u32) -> Result<Vec<wit::Document>, Error> {
        let page = self.borrow_mut().next_page(max)?;
        Ok(page.into_iter().map(document).collect())
    }
}

impl wit::GuestEdgeCursor for RefCell<Edges> {
    fn next(&self, max: u32) -> Result<Vec<wit::Edge>, Error> {
        let page = self.borrow_mut().next_page(max)?;
        Ok(page.into_iter().map(edge).collect())
    }
}

impl wit::GuestWalkCursor for RefCell<Walk> {
    fn next(&self, max: u32) -> Result<Vec<wit::Step>, Error> {
        let page = self.borrow_mut().next_page(max)?;
        Ok(page.into_iter().map(step).collect())
    }
}

fn metric(metric: wit::Metric) -> Metric {
    match metric {
        wit::Metric::L2 => Metric::L2,
        wit::Metric::Cosine => Metric::Cosine,
    }
}

fn direction(direction: wit::Direction) -> Direction {
    match direction {
        wit::Direction::Outgoing => Direction::Outgoing,
        wit::Direction::Incoming => Direction::Incoming,
        wit::Direction::Both => Direction::Both,
    }
}

fn document(document: Document) -> wit::Document {
    wit::Document {
        id: document.id,
        body: document.body,
        embedding: document.embedding,
    }
}

fn hits(hits: Vec<Hit>) -> Vec<wit::Hit> {
    hits.into_iter()
        .map(|hit| wit::Hit {
            document: document(hit.document),
            score: hit.score,
        })
        .collect()
}

fn fused_hit(hit: FusedHit) -> wit::FusedHit {
    wit::FusedHit {
        document: document(hit.document),
        score: hit.score,
        text_rank: hit.text_rank,
        vector_rank: hit.vector_rank,
    }
}

fn edge(edge: Edge) -> wit::Edge {
    wit::Edge {
        source: edge.source,
        target: edge.target,
        label: edge.label,
        metadata: edge.metadata,
    }
}

fn step(step: Step) -> wit::Step {
    wit::Step {
        document: document(step.document),
        depth: step.depth,
    }
}

fn index_options(options: wit::IndexOptions) -> IndexOptions {
    IndexOptions {
        full_text: match options.full_text {
            wit::FullText::All => FullText::All,
            wit::FullText::Nothing => FullText::Nothing,
            wit::FullText::Fields(names) => FullText::Fields(names),
        },
        fuzzy: options.fuzzy,
    }
}
