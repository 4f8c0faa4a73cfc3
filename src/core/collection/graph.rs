//! Edges between documents: the table `beaver_edges`.
//!
//! What must stay true: an edge is known by its two ends and its label; its ends
//! needn't be documents (yet), but only documents are found.

use super::Collection;
use super::document::{self, Document, Documents};
use crate::cursor::{Ahead, PAGE_BYTES, check_max, check_order, pages_iterator, read_page};
use crate::database::Database;
use crate::error::Result;
use crate::events::{Event, Payload};
use crate::json::python_text;
use crate::manager::{Manager, check_key};
use crate::value;
use crate::write::Effect;
use rusqlite::{Connection, params};
use std::rc::Rc;

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
