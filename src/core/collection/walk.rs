//! Walks along the edges between documents, breadth first.
//!
//! What must stay true: a walk visits each id once, whatever cycles there are, nearest first, and
//! holds no more of the graph than the ids it has seen.

use super::Collection;
use super::document::{self, Document};
use super::graph::Direction;
use crate::cursor::{Ahead, PAGE_BYTES, check_max, pages_iterator};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::manager::{Manager, check_key};
use rusqlite::Connection;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

/// How much the ids that one walk has seen may take: about a million of them.
pub const MAX_WALK_BYTES: usize = 64 * 1024 * 1024;

/// What an id takes besides its text, in a walk's set and queue.
const SEEN_BYTES: usize = 48;

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
