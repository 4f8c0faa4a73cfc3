//! Who empties the write-ahead log, and when.
//!
//! SQLite's own automatic checkpoint is passive: it copies pages, but the log
//! starts over only if at that moment nobody reads from it. Under load somebody
//! always does; then the log grows without bound, and from 1000 pages on every
//! single commit pays for a checkpoint and its syncs. So a commit that finds the
//! log long checkpoints with `RESTART`, which waits a moment for the readers, or
//! with `TRUNCATE`, which does the same and shortens the file, when it is very long.
//!
//! What must stay true: a checkpoint that fails or can't get through is no error
//! of the commit before it; a reader that stays delays nobody by more than
//! [`PATIENCE`] per [`RETRY_PAGES`] of each connection.

use crate::database::Database;
use crate::error::Result;
use rusqlite::Connection;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// The length from which on the log is to start over: SQLite's own, 4 MiB.
const LONG_PAGES: i32 = 1000;

/// How much longer the log gets before a connection that failed tries again.
const RETRY_PAGES: i32 = 1000;

/// How long to wait for readers, who hold up a checkpoint for one statement.
const PATIENCE: Duration = Duration::from_millis(20);

/// The length from which on the log's file is also given back to the file
/// system: a large blob leaves such a one, and starting over keeps its size.
const OVERSIZED_PAGES: i32 = 4 * LONG_PAGES;

/// One connection's view of the log.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// Pages in the log after the last commit. An atomic only because
    /// rusqlite's hooks must be `Send`.
    log_pages: Arc<AtomicI32>,
    due_at: Cell<i32>,
}

impl Checkpoints {
    /// Takes the place of SQLite's automatic checkpoints.
    pub(crate) fn of(connection: &mut Connection) -> Result<Self> {
        let log_pages = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&log_pages);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            seen.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self {
            log_pages,
            due_at: Cell::new(LONG_PAGES),
        })
    }
}

impl Database {
    /// Call after each commit.
    pub(crate) fn checkpoint_if_due(&self) {
        let checkpoints = &self.inner.checkpoints;
        let pages = checkpoints.log_pages.load(Ordering::Relaxed);
        if pages < checkpoints.due_at.get() {
            // Somebody else's checkpoint has ended the wait for a second try.
            if pages < LONG_PAGES {
                checkpoints.due_at.set(LONG_PAGES);
            }
            return;
        }
        let restarted = self.restart_log(pages).unwrap_or(false);
        checkpoints.due_at.set(if restarted {
            LONG_PAGES
        } else {
            pages.saturating_add(RETRY_PAGES)
        });
    }

    /// Whether the whole log was copied, so that the next writer starts it over.
    fn restart_log(&self, pages: i32) -> Result<bool> {
        let inner = &*self.inner;
        let sql = if pages < OVERSIZED_PAGES {
            "PRAGMA wal_checkpoint(RESTART)"
        } else {
            "PRAGMA wal_checkpoint(TRUNCATE)"
        };
        self.set_busy_timeout(PATIENCE.min(inner.options.busy_timeout))?;
        let busy = inner
            .connection
            .prepare_cached(sql)
            .and_then(|mut checkpoint| checkpoint.query_row([], |row| row.get::<_, i64>(0)));
        self.set_busy_timeout(inner.options.busy_timeout)?;
        Ok(busy? == 0)
    }
}
