//! What the table and a manager hold, and what happened to the lock.

use crate::error::{Error, Outcome, Result};
use crate::lease::GRANTED_AT;
use std::time::Duration;

#[derive(Clone)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) requested_at: f64,
    pub(super) expires_at: f64,
    /// As first requested.
    pub(super) entered_at: f64,
}

/// What happened to the lock, in the order of commits.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Enqueued {
        id: String,
    },
    Granted {
        id: String,
        at: Duration,
    },
    Extended {
        id: String,
        at: Duration,
    },
    /// `by` is the number of whoever did it.
    Deleted {
        id: String,
        by: u32,
        at: Duration,
    },
}

/// What transactions change.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) rows: Vec<Row>,
    pub(super) tokens: u64,
    pub(super) events: Vec<Event>,
    /// A manager's content.
    pub(super) value: u64,
    pub(super) items: Vec<u32>,
    /// The tokens of the writes under the lock.
    pub(super) writes: Vec<u64>,
    pub(super) commits: u64,
    /// How many wait for a change.
    pub(super) sleepers: u32,
}

impl State {
    pub(super) fn head(&self) -> Option<&Row> {
        self.rows
            .iter()
            .min_by(|a, b| a.requested_at.total_cmp(&b.requested_at))
    }

    pub(super) fn last_request(&self) -> Option<f64> {
        let requests = self.rows.iter().map(|row| row.requested_at);
        requests.max_by(f64::total_cmp)
    }

    pub(super) fn place(&self, id: &str) -> Option<usize> {
        self.rows.iter().position(|row| row.id == id)
    }

    /// What Python does.
    pub(super) fn insert_foreign(&mut self, id: &str, requested_at: f64) {
        self.rows.push(Row {
            id: id.to_owned(),
            requested_at,
            expires_at: f64::INFINITY,
            entered_at: requested_at,
        });
    }

    pub(super) fn delete_foreign(&mut self, id: &str) {
        self.rows.retain(|row| row.id != id);
    }

    pub(super) fn is_head(&self, id: &str) -> bool {
        self.head().is_some_and(|row| row.id == id)
    }

    /// The table's primary key.
    pub(super) fn check_free(&self, requested_at: f64) -> Result<()> {
        if self.rows.iter().any(|row| row.requested_at == requested_at) {
            return Err(Error::Failed {
                message: "UNIQUE constraint failed".into(),
                outcome: Outcome::NotApplied,
            });
        }
        Ok(())
    }

    pub(super) fn see(&self, now: f64, own: Option<&str>) -> Look {
        Look {
            taken: self.rows.iter().any(|row| row.expires_at > now),
            owned: self
                .rows
                .iter()
                .any(|row| row.requested_at == GRANTED_AT && Some(row.id.as_str()) == own),
            granted: self.rows.iter().any(|row| row.requested_at == GRANTED_AT),
        }
    }
}

#[derive(Clone, Copy, Default)]
pub(super) struct Look {
    pub(super) taken: bool,
    pub(super) owned: bool,
    pub(super) granted: bool,
}
