//! BeaverDB 1.3.0's tables: which of them a file has, and making those we use.
//!
//! What must stay true: column names, types, keys and index names are the
//! reference's, because its `CREATE … IF NOT EXISTS` runs on files made here
//! and finds them. The tables that everything needs are made when a file is
//! opened, those of a manager when its first handle is: SQLite reads the whole
//! schema at each open, a third of what opening costs.

use crate::error::Result;
use crate::manager::Kind;
use rusqlite::Connection;

mod inspect;

pub(crate) use inspect::{Found, inspect};

/// The version that files made here name, in the reference's own place for it:
/// it warns when it finds another.
pub(crate) const FORMAT_VERSION: &str = "1.3.0";

/// Ours; the reference doesn't know it and doesn't mind.
const FENCING_TABLE: &str = "beaver_lock_fencing";

/// The only virtual one.
const FULL_TEXT_TABLE: &str = "beaver_fts_index";

/// What is there from the start.
const BASE: [&str; 5] = [
    "beaver_dicts",
    "beaver_priority_queues",
    "beaver_lock_waiters",
    "beaver_manager_versions",
    FENCING_TABLE,
];

const CREATE_BASE: &str = "
CREATE TABLE IF NOT EXISTS beaver_dicts (
    dict_name TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    expires_at REAL,
    PRIMARY KEY (dict_name, key)
);
CREATE TABLE IF NOT EXISTS beaver_priority_queues (
    queue_name TEXT NOT NULL,
    priority REAL NOT NULL,
    timestamp REAL NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_priority_queue_order
    ON beaver_priority_queues (queue_name, priority ASC, timestamp ASC);
CREATE TABLE IF NOT EXISTS beaver_lock_waiters (
    lock_name TEXT NOT NULL,
    waiter_id TEXT NOT NULL,
    requested_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    PRIMARY KEY (lock_name, requested_at)
);
CREATE INDEX IF NOT EXISTS idx_lock_expires ON beaver_lock_waiters (lock_name, expires_at);
CREATE INDEX IF NOT EXISTS idx_lock_waiter_id ON beaver_lock_waiters (lock_name, waiter_id);
CREATE TABLE IF NOT EXISTS beaver_manager_versions (
    namespace TEXT PRIMARY KEY,
    version INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS beaver_lock_fencing (
    lock_name TEXT PRIMARY KEY,
    token INTEGER NOT NULL
) WITHOUT ROWID;
";

/// The tables of one kind of manager beyond [`BASE`].
struct Group {
    kind: Kind,
    /// The reference's: enough for a file that is only read.
    tables: &'static [&'static str],
    /// Ours, which the reference doesn't know.
    own: &'static [&'static str],
    create: &'static str,
}

const GROUPS: [Group; 5] = [
    Group {
        kind: Kind::List,
        tables: &["beaver_lists"],
        own: &[],
        create: "
CREATE TABLE IF NOT EXISTS beaver_lists (
    list_name TEXT NOT NULL,
    item_order REAL NOT NULL,
    item_value TEXT NOT NULL,
    PRIMARY KEY (list_name, item_order)
);
",
    },
    Group {
        kind: Kind::Blob,
        tables: &["beaver_blobs"],
        own: &["beaver_blob_versions", "beaver_blob_parts"],
        // The triggers run in whatever process changes a blob. No conflict clause
        // in them, because that of the statement that fires them counts instead;
        // no upsert and no function either, with which SQLite would keep large rows
        // in memory (see blob/row.rs). No store is called '': that row counts.
        create: "
CREATE TABLE IF NOT EXISTS beaver_blobs (
    store_name TEXT NOT NULL,
    key TEXT NOT NULL,
    data BLOB NOT NULL,
    metadata TEXT,
    PRIMARY KEY (store_name, key)
);
CREATE TABLE IF NOT EXISTS beaver_blob_versions (
    store_name TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (store_name, key)
) WITHOUT ROWID;
INSERT OR IGNORE INTO beaver_blob_versions VALUES ('', '', 0);
CREATE TRIGGER IF NOT EXISTS beaver_blob_inserted AFTER INSERT ON beaver_blobs BEGIN
    UPDATE beaver_blob_versions SET version = version + 1 WHERE store_name = '' AND key = '';
    DELETE FROM beaver_blob_versions WHERE store_name = new.store_name AND key = new.key;
    INSERT INTO beaver_blob_versions SELECT new.store_name, new.key, version
        FROM beaver_blob_versions WHERE store_name = '' AND key = '';
END;
CREATE TRIGGER IF NOT EXISTS beaver_blob_updated AFTER UPDATE ON beaver_blobs BEGIN
    UPDATE beaver_blob_versions SET version = version + 1 WHERE store_name = '' AND key = '';
    DELETE FROM beaver_blob_versions WHERE store_name = new.store_name AND key = new.key;
    INSERT INTO beaver_blob_versions SELECT new.store_name, new.key, version
        FROM beaver_blob_versions WHERE store_name = '' AND key = '';
END;
CREATE TRIGGER IF NOT EXISTS beaver_blob_deleted AFTER DELETE ON beaver_blobs BEGIN
    DELETE FROM beaver_blob_versions WHERE store_name = old.store_name AND key = old.key;
END;
CREATE TABLE IF NOT EXISTS beaver_blob_parts (
    upload TEXT NOT NULL,
    number INTEGER NOT NULL,
    expires_at REAL NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (upload, number)
);
",
    },
    Group {
        kind: Kind::Log,
        tables: &["beaver_logs"],
        own: &[],
        create: "
CREATE TABLE IF NOT EXISTS beaver_logs (
    log_name TEXT NOT NULL,
    timestamp REAL NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (log_name, timestamp)
);
CREATE INDEX IF NOT EXISTS idx_logs_timestamp ON beaver_logs (log_name, timestamp);
",
    },
    Group {
        kind: Kind::Channel,
        tables: &["beaver_pubsub_log"],
        own: &[],
        create: "
CREATE TABLE IF NOT EXISTS beaver_pubsub_log (
    timestamp REAL PRIMARY KEY,
    channel_name TEXT NOT NULL,
    message_payload TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_pubsub_channel_timestamp
    ON beaver_pubsub_log (channel_name, timestamp);
",
    },
    Group {
        kind: Kind::Collection,
        tables: &[
            "beaver_collections",
            FULL_TEXT_TABLE,
            "beaver_trigrams",
            "beaver_edges",
            "beaver_vector_change_log",
            "beaver_collection_versions",
        ],
        own: &[],
        create: "
CREATE TABLE IF NOT EXISTS beaver_collections (
    collection TEXT NOT NULL,
    item_id TEXT NOT NULL,
    item_vector BLOB,
    metadata TEXT,
    PRIMARY KEY (collection, item_id)
);
CREATE VIRTUAL TABLE IF NOT EXISTS beaver_fts_index USING fts5(
    collection,
    item_id,
    field_path,
    field_content,
    tokenize = 'porter'
);
CREATE TABLE IF NOT EXISTS beaver_trigrams (
    collection TEXT NOT NULL,
    item_id TEXT NOT NULL,
    field_path TEXT NOT NULL,
    trigram TEXT NOT NULL,
    PRIMARY KEY (collection, field_path, trigram, item_id)
);
CREATE INDEX IF NOT EXISTS idx_trigram_lookup
    ON beaver_trigrams (collection, trigram, field_path);
CREATE TABLE IF NOT EXISTS beaver_edges (
    collection TEXT NOT NULL,
    source_item_id TEXT NOT NULL,
    target_item_id TEXT NOT NULL,
    label TEXT NOT NULL,
    metadata TEXT,
    PRIMARY KEY (collection, source_item_id, target_item_id, label)
);
CREATE TABLE IF NOT EXISTS beaver_vector_change_log (
    log_id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection_name TEXT NOT NULL,
    item_id TEXT NOT NULL,
    operation_type INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_vcl_lookup
    ON beaver_vector_change_log (collection_name, log_id);
CREATE TABLE IF NOT EXISTS beaver_collection_versions (
    collection_name TEXT PRIMARY KEY,
    base_version INTEGER NOT NULL DEFAULT 0
);
",
    },
];

/// Our own indexes on a collection's tables, which the reference goes without:
/// the vectors among many documents, in the order in which they lie in the
/// file, and a document's edges by their other end. SQLite keeps them up to
/// date whoever writes; nothing depends on them but speed.
const COLLECTION_INDEXES: &str = "
CREATE INDEX IF NOT EXISTS beaver_collections_with_vector
    ON beaver_collections (collection) WHERE item_vector IS NOT NULL;
CREATE INDEX IF NOT EXISTS beaver_edges_by_target
    ON beaver_edges (collection, target_item_id, source_item_id, label);
";

/// The managers whose tables a file is known to have, one bit for each of [`GROUPS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    complete: u8,
    readable: u8,
}

impl Groups {
    /// Whether the tables of `kind` are there.
    pub(crate) fn contains(self, kind: Kind) -> bool {
        Self::bit(kind).is_none_or(|bit| self.complete & bit != 0)
    }

    /// Whether those of the reference are there.
    pub(crate) fn is_readable(self, kind: Kind) -> bool {
        Self::bit(kind).is_none_or(|bit| self.readable & bit != 0)
    }

    /// None for what needs only [`BASE`].
    fn bit(kind: Kind) -> Option<u8> {
        let place = GROUPS.iter().position(|group| group.kind == kind)?;
        Some(1 << place)
    }
}

/// Makes what is missing of the tables that everything needs. Call inside a
/// write transaction, after `inspect` there: another process may have been first.
pub(crate) fn create(connection: &Connection, found: &Found) -> Result<()> {
    connection.execute_batch(CREATE_BASE)?;
    if *found == Found::Empty {
        connection.execute(
            "INSERT OR IGNORE INTO beaver_dicts (dict_name, key, value, expires_at)
             VALUES ('__metadata__', 'version', ?1, NULL)",
            [format!("\"{FORMAT_VERSION}\"")],
        )?;
    }
    Ok(())
}

/// What stands in an unfinished backup: a view in the place of the table that
/// every BeaverDB reads first, so that Python's fails too instead of taking the
/// file for an empty database.
const UNFINISHED_VIEW: &str = "beaver_dicts";

/// Makes an empty database one that nobody takes for a finished backup. Call
/// inside a write transaction.
pub(crate) fn mark_unfinished(connection: &Connection) -> Result<()> {
    Ok(connection.execute_batch(&format!(
        "CREATE VIEW IF NOT EXISTS {UNFINISHED_VIEW} AS
         SELECT 'this file is a backup that was not finished' AS unfinished_backup"
    ))?)
}

/// Whether the file is what [`mark_unfinished`] made.
pub(crate) fn is_unfinished(connection: &Connection) -> bool {
    connection
        .query_row(
            // Nothing else is there: the copy is one transaction.
            "SELECT count(*) = 1 AND min(type = 'view' AND name = ?1) FROM sqlite_schema",
            [UNFINISHED_VIEW],
            |row| row.get(0),
        )
        .is_ok_and(|alone: bool| alone)
}

/// Makes the tables of every kind.
#[cfg(test)]
pub(crate) fn create_all(connection: &Connection) -> Result<()> {
    for group in &GROUPS {
        connection.execute_batch(group.create)?;
    }
    Ok(())
}

/// Makes what is missing of the tables of `kind`. Call inside a write transaction.
pub(crate) fn create_group(connection: &Connection, kind: Kind) -> Result<()> {
    for group in GROUPS.iter().filter(|group| group.kind == kind) {
        connection.execute_batch(group.create)?;
    }
    Ok(())
}

/// Makes what is missing of our indexes on a collection's tables: a file of the
/// reference has none. Call inside a write transaction.
pub(crate) fn create_collection_indexes(connection: &Connection) -> Result<()> {
    connection.execute_batch(COLLECTION_INDEXES)?;
    Ok(())
}
