//! Edges between documents: the table `beaver_edges`.
//!
//! What must stay true: an edge is known by its two ends and its label; its ends
//! needn't be documents (yet), but only documents are found. A walk visits each
//! id once, whatever cycles there are, nearest first, and holds no more of the
//! graph than the ids it has seen.

use super::Collection;
use super::document::{self, Document, Documents};
use crate::cursor::{Ahead, PAGE_BYTES, check_max, check_order, pages_iterator, read_page};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::events::{Event, Payload};
use crate::json::python_text;
use crate::manager::{Manager, check_key};
use crate::value;
use crate::write::Effect;
use rusqlite::{Connection, params};
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

/// How much the ids that one walk has seen may take: about a million of them.
pub const MAX_WALK_BYTES: usize = 64 * 1024 * 1024;

/// What an id takes besides its text, in a walk's set and queue.
const SEEN_BYTES: usize = 48;

/// Which way edges are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From source to target.
    #[default]
    Outgoing,
    /// From target to source.
    Incoming,
    /// Both ways.
    Both,
}

/// An edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The id where it begins.
    pub source: String,
    /// The id where it ends.
    pub target: String,
    /// What it says.
    pub label: String,
    /// The JSON text that goes with it.
    pub metadata: Option<String>,
}

/// How far to walk and along which edges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalkOptions {
    /// The most edges between the start and a document; 0 finds nothing.
    pub depth: u32,
    /// The labels to follow; empty: all.
    pub labels: Vec<String>,
    /// Which way.
    pub direction: Direction,
}

impl WalkOptions {
    /// Follows every outgoing edge, `depth` of them.
    pub fn depth(depth: u32) -> Self {
        Self {
            depth,
            ..Self::default()
        }
    }
}

impl Collection {
    /// Connects two ids with a label, in this direction. An edge that is there
    /// gets the new `metadata`, a JSON text (`null` is none).
    ///
    /// # Errors
    /// [`Error::InvalidJson`]; [`Error::InvalidArgument`] for an id or a label
    /// that is too long or has a NUL; otherwise as [`Collection::index`].
    pub fn connect(
        &self,
        source: &str,
        target: &str,
        label: &str,
        metadata: Option<&str>,
    ) -> Result<()> {
        check_edge(source, target, label)?;
        let metadata = metadata
            .map(python_text)
            .transpose()?
            .filter(|text| text != "null");
        let event = Event::new("connect", Payload::Edge { source, target });
        self.write(Some(event), |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO beaver_edges
                       (collection, source_item_id, target_item_id, label, metadata)
                     VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (collection, source_item_id, target_item_id, label)
                     DO UPDATE SET metadata = excluded.metadata",
                )?
                .execute(params![self.name(), source, target, label, metadata])?;
            Ok(Effect::Changed(()))
        })
    }

    /// Removes an edge. False when it wasn't there.
    ///
    /// # Errors
    /// As [`Collection::connect`].
    pub fn disconnect(&self, source: &str, target: &str, label: &str) -> Result<bool> {
        check_edge(source, target, label)?;
        self.write(None, |connection| {
            let deleted = connection
                .prepare_cached(
                    "DELETE FROM beaver_edges WHERE collection = ?1
                     AND source_item_id = ?2 AND target_item_id = ?3 AND label = ?4",
                )?
                .execute([self.name(), source, target, label])?;
            Ok(match deleted {
                0 => Effect::Unchanged(false),
                _ => Effect::Changed(true),
            })
        })
    }

    /// The edges of `id`, by the ids at their other ends and their labels. Of
    /// both directions the outgoing ones come first.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bad id; each page may fail.
    pub fn edges(&self, id: &str, direction: Direction) -> Result<Edges> {
        check_key(id)?;
        Ok(Edges {
            database: self.database.clone(),
            manager: Rc::clone(&self.manager),
            id: id.to_owned(),
            direction,
            incoming: direction == Direction::Incoming,
            after: None,
            done: false,
            ahead: Ahead::default(),
        })
    }

    /// The documents to which an edge of `id` leads, each once, in order of
    /// their ids' bytes; with a label only those that such an edge leads to.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bad id; each page may fail.
    pub fn neighbors(
        &self,
        id: &str,
        label: Option<&str>,
        direction: Direction,
    ) -> Result<Documents> {
        check_key(id)?;
        Ok(Documents::neighbors(
            &self.database,
            &self.manager,
            Neighborhood {
                id: id.to_owned(),
                label: label.map(str::to_owned),
                direction,
            },
        ))
    }

    /// The documents that can be reached from `id`, each once, with the least
    /// number of edges to it: breadth first, among equals as they are found. The
    /// start is found only if a cycle leads back to it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bad id; each page may fail.
    pub fn walk(&self, id: &str, options: &WalkOptions) -> Result<Walk> {
        check_key(id)?;
        let start: Rc<str> = id.into();
        let mut queue = VecDeque::new();
        if options.depth > 0 {
            queue.push_back((Rc::clone(&start), 0));
        }
        Ok(Walk {
            database: self.database.clone(),
            manager: Rc::clone(&self.manager),
            options: options.clone(),
            start,
            queue,
            seen: HashSet::new(),
            seen_bytes: 0,
            seen_bytes_max: MAX_WALK_BYTES,
            full: false,
            ahead: Ahead::default(),
        })
    }
}

fn check_edge(source: &str, target: &str, label: &str) -> Result<()> {
    check_key(source)?;
    check_key(target)?;
    check_key(label)
}

/// Removes every edge from and to `id`; returns how many there were.
pub(super) fn drop_edges(connection: &Connection, name: &str, id: &str) -> Result<usize> {
    let outgoing = connection
        .prepare_cached("DELETE FROM beaver_edges WHERE collection = ?1 AND source_item_id = ?2")?
        .execute([name, id])?;
    let incoming = connection
        .prepare_cached("DELETE FROM beaver_edges WHERE collection = ?1 AND target_item_id = ?2")?
        .execute([name, id])?;
    Ok(outgoing + incoming)
}

/// The ids around one.
#[derive(Debug)]
pub(super) struct Neighborhood {
    id: String,
    label: Option<String>,
    direction: Direction,
}

/// A page of neighbours in order of their ids, from `after` on (none: the
/// first), and the last id that was looked at.
pub(super) fn neighbor_page(
    connection: &Connection,
    name: &str,
    around: &Neighborhood,
    after: Option<&str>,
    max: u32,
) -> Result<(Vec<Document>, Option<String>)> {
    let sql = match around.direction {
        Direction::Outgoing => {
            "SELECT target_item_id FROM beaver_edges WHERE collection = ?1
             AND source_item_id = ?2 AND target_item_id >= ?3 AND (?4 IS NULL OR label = ?4)
             ORDER BY target_item_id"
        }
        Direction::Incoming => {
            "SELECT source_item_id FROM beaver_edges WHERE collection = ?1
             AND target_item_id = ?2 AND source_item_id >= ?3 AND (?4 IS NULL OR label = ?4)
             ORDER BY source_item_id"
        }
        Direction::Both => {
            "SELECT target_item_id FROM beaver_edges WHERE collection = ?1
             AND source_item_id = ?2 AND target_item_id >= ?3 AND (?4 IS NULL OR label = ?4)
             UNION
             SELECT source_item_id FROM beaver_edges WHERE collection = ?1
             AND target_item_id = ?2 AND source_item_id >= ?3 AND (?4 IS NULL OR label = ?4)
             ORDER BY 1"
        }
    };
    let mut statement = connection.prepare_cached(sql)?;
    let from = after.unwrap_or_default();
    let mut rows = statement.query(params![name, around.id, from, around.label])?;
    let (mut page, mut bytes, mut last) = (Vec::new(), 0, after.map(str::to_owned));
    while bytes < PAGE_BYTES
        && page.len() < max as usize
        && let Some(row) = rows.next()?
    {
        // What isn't text names no document, and sorts behind all that do.
        let Ok(id) = row.get_ref(0)?.as_str() else {
            continue;
        };
        if last.as_deref() == Some(id) {
            continue;
        }
        check_order(last.as_deref(), [id])?;
        if let Some(document) = document::get(connection, name, id)? {
            bytes += document.size();
            page.push(document);
        }
        last = Some(id.to_owned());
    }
    Ok((page, last))
}

/// The edges of one id. Reads page by page, each as the database is then.
#[derive(Debug)]
pub struct Edges {
    database: Database,
    manager: Rc<Manager>,
    id: String,
    direction: Direction,
    /// Whether it is at the incoming edges.
    incoming: bool,
    /// The other end and the label of the last edge read.
    after: Option<(String, String)>,
    done: bool,
    ahead: Ahead<Edge>,
}

impl Edges {
    /// The next page: at most `max`, fewer when they are large, empty at the end.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for 0, and what reading may report.
    pub fn next_page(&mut self, max: u32) -> Result<Vec<Edge>> {
        check_max(max)?;
        while !self.done {
            let page = self
                .database
                .read(|connection| self.read(connection, max))?;
            let incoming = self.incoming;
            let place = |edge: &Edge| {
                let other = if incoming { &edge.source } else { &edge.target };
                (other.clone(), edge.label.clone())
            };
            check_order(self.after.clone(), page.iter().map(place))?;
            if let Some(last) = page.last() {
                self.after = Some(place(last));
                return Ok(page);
            }
            if self.direction == Direction::Both && !self.incoming {
                self.incoming = true;
                self.after = None;
            } else {
                self.done = true;
            }
        }
        Ok(Vec::new())
    }

    fn read(&self, connection: &Connection, max: u32) -> Result<Vec<Edge>> {
        let sql = if self.incoming {
            "SELECT source_item_id, target_item_id, label, metadata FROM beaver_edges
             WHERE collection = ?1 AND target_item_id = ?2
               AND (source_item_id, label) >= (?3, ?4)
               AND (?5 OR (source_item_id, label) > (?3, ?4))
               AND (?6 OR source_item_id <> ?2)
             ORDER BY source_item_id, label"
        } else {
            "SELECT source_item_id, target_item_id, label, metadata FROM beaver_edges
             WHERE collection = ?1 AND source_item_id = ?2
               AND (target_item_id, label) >= (?3, ?4)
               AND (?5 OR (target_item_id, label) > (?3, ?4))
               AND ?6
             ORDER BY target_item_id, label"
        };
        let (other, label) = match &self.after {
            Some((other, label)) => (other.as_str(), label.as_str()),
            None => ("", ""),
        };
        // An edge from the document to itself came with the outgoing ones.
        let loops = !self.incoming || self.direction == Direction::Incoming;
        let first = self.after.is_none();
        read_page(
            &mut *connection.prepare_cached(sql)?,
            params![self.manager.name, self.id, other, label, first, loops],
            max,
            |row| {
                let edge = Edge {
                    source: value::text(row, 0)?,
                    target: value::text(row, 1)?,
                    label: value::text(row, 2)?,
                    metadata: value::text_or_null(row, 3)?,
                };
                let metadata = edge.metadata.as_ref().map_or(0, String::len);
                let size = edge.source.len() + edge.target.len() + edge.label.len() + metadata;
                Ok((edge, size))
            },
        )
    }
}

pages_iterator!(Edges, Edge);

/// A document that a walk has reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The document.
    pub document: Document,
    /// How many edges lead to it, at the least.
    pub depth: u32,
}

/// A walk through the graph. Goes on page by page, each with the edges and
/// documents as they are then.
#[derive(Debug)]
pub struct Walk {
    database: Database,
    manager: Rc<Manager>,
    options: WalkOptions,
    start: Rc<str>,
    /// Ids that were reached and not yet returned, nearest first.
    queue: VecDeque<(Rc<str>, u32)>,
    seen: HashSet<Rc<str>>,
    seen_bytes: usize,
    seen_bytes_max: usize,
    /// Whether something was left out because of that limit.
    full: bool,
    ahead: Ahead<Step>,
}

impl Walk {
    /// The next page: at most `max`, fewer when they are large, empty at the end.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for 0; [`Error::Full`] when there is more than
    /// can be kept in mind ([`MAX_WALK_BYTES`]), after everything before that
    /// was returned; and what reading may report.
    pub fn next_page(&mut self, max: u32) -> Result<Vec<Step>> {
        check_max(max)?;
        let database = self.database.clone();
        let page = database.read_snapshot(|connection| {
            let (mut page, mut bytes) = (Vec::new(), 0);
            while bytes < PAGE_BYTES && page.len() < max as usize && !self.queue.is_empty() {
                match self.advance(connection) {
                    Ok(Some(step)) => {
                        bytes += step.document.size();
                        page.push(step);
                    }
                    Ok(None) => {}
                    // What was found before isn't lost: the next call meets the error again.
                    Err(_) if !page.is_empty() => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(page)
        })?;
        if page.is_empty() && self.full {
            return Err(Error::Full);
        }
        Ok(page)
    }

    /// Takes the first of the queue; none when it is no document.
    fn advance(&mut self, connection: &Connection) -> Result<Option<Step>> {
        let Some((id, depth)) = self.queue.front().cloned() else {
            return Ok(None);
        };
        let manager = Rc::clone(&self.manager);
        let document = match depth {
            0 => None,
            _ => document::get(connection, &manager.name, &id)?,
        };
        // At the start it has been already, if it comes back to it.
        if depth < self.options.depth && (depth == 0 || id != self.start) {
            self.follow(connection, &manager.name, &id, depth + 1)?;
        }
        self.queue.pop_front();
        Ok(document.map(|document| Step { document, depth }))
    }

    /// Adds to the queue where edges of `id` lead and it hasn't been.
    fn follow(&mut self, connection: &Connection, name: &str, id: &str, depth: u32) -> Result<()> {
        const OUTGOING: &str = "SELECT target_item_id, label FROM beaver_edges
             WHERE collection = ?1 AND source_item_id = ?2 ORDER BY target_item_id";
        const INCOMING: &str = "SELECT source_item_id, label FROM beaver_edges
             WHERE collection = ?1 AND target_item_id = ?2 ORDER BY source_item_id";
        let ways: &[&str] = match self.options.direction {
            Direction::Outgoing => &[OUTGOING],
            Direction::Incoming => &[INCOMING],
            Direction::Both => &[OUTGOING, INCOMING],
        };
        let labels = &self.options.labels;
        for sql in ways {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([name, id])?;
            while let Some(row) = rows.next()? {
                let label = row.get_ref(1)?.as_str().unwrap_or_default();
                if !labels.is_empty() && !labels.iter().any(|wanted| wanted == label) {
                    continue;
                }
                let other = row.get_ref(0)?.as_str().unwrap_or_default();
                if self.seen.contains(other) {
                    continue;
                }
                let bytes = other.len() + SEEN_BYTES;
                if self.seen_bytes + bytes > self.seen_bytes_max {
                    self.full = true;
                    return Ok(());
                }
                let other: Rc<str> = other.into();
                self.seen_bytes += bytes;
                self.seen.insert(Rc::clone(&other));
                self.queue.push_back((other, depth));
            }
        }
        Ok(())
    }
}

pages_iterator!(Walk, Step);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IndexOptions, Options};

    #[test]
    fn a_walk_that_reaches_too_much_says_so_after_what_it_could_keep() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let database = Database::open(path.to_str().unwrap(), &Options::default()).unwrap();
        let collection = database.collection("c").unwrap();
        let id = |n: u32| format!("{n:02}");
        let transaction = database.begin().unwrap();
        for n in 0..20 {
            let id = id(n);
            let options = IndexOptions::default();
            collection.index(Some(&id), None, None, &options).unwrap();
            collection.connect("00", &id, "to", None).unwrap();
        }
        transaction.commit().unwrap();
        let walk = || {
            let mut walk = collection.walk("00", &WalkOptions::depth(2)).unwrap();
            walk.seen_bytes_max = 12 * (2 + SEEN_BYTES);
            walk
        };
        let mut pages = walk();
        let first: Vec<_> = pages.next_page(100).unwrap();
        let found: Vec<_> = first.iter().map(|step| step.document.id.as_str()).collect();
        assert_eq!(found, (0..12).map(id).collect::<Vec<_>>());
        assert_eq!(pages.next_page(100), Err(Error::Full));
        assert_eq!(pages.next_page(100), Err(Error::Full));
        let iterated: Vec<_> = walk().collect();
        assert_eq!(iterated.len(), 13);
        assert_eq!(iterated[12], Err(Error::Full));
    }
}
