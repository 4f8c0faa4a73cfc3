//! BeaverDB 1.3.0's tables: which of them a file has, and making those we use.
//!
//! What must stay true: column names, types, keys and index names are the
//! reference's, because its `CREATE … IF NOT EXISTS` runs on files made here
//! and finds them. The tables that everything needs are made when a file is
//! opened, those of a manager when its first handle is: SQLite reads the whole
//! schema at each open, a third of what opening costs. A file that isn't
//! BeaverDB 1.x is never written to.

use crate::error::{Error, Result};
use crate::manager::Kind;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

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

impl Group {
    fn contains(&self, name: &str) -> bool {
        is_among(self.tables, name) || is_among(self.own, name)
    }
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

/// What a file's tables say about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No table at all.
    Empty,
    /// Everything that is needed from the start, and these managers' tables.
    Complete(Groups),
    /// A BeaverDB 1.x file without something that is needed from the start to
    /// write to it, and with these managers' tables.
    Partial(Groups),
}

/// Looks at the tables of the file; refuses what isn't BeaverDB 1.x.
///
/// A table's kind is told by its statement, the one part of a schema's row that SQLite goes by.
/// Asking SQLite (`pragma_table_list`) would have it prepare each view and set up each virtual table
/// of a stranger's file.
pub(crate) fn inspect(connection: &Connection) -> Result<Found> {
    check_encoding(connection)?;
    let mut statement = connection.prepare_cached("SELECT name, type, sql FROM sqlite_schema")?;
    let mut rows = statement.query([])?;
    let (mut any, mut base, mut second_generation) = (false, 0, false);
    let (mut of_group, mut own) = ([0; GROUPS.len()], [0; GROUPS.len()]);
    while let Some(row) = rows.next()? {
        let name = as_sqlite_reads(row.get_ref(0)?);
        let kind = as_sqlite_reads(row.get_ref(1)?);
        let sql = as_sqlite_reads(row.get_ref(2)?);
        let is_view = kind.eq_ignore_ascii_case("view");
        // SQLite's own tables (sqlite_stat1, sqlite_sequence) say nothing.
        if !is_view && !kind.eq_ignore_ascii_case("table") || name.starts_with("sqlite_") {
            continue;
        }
        if is_view && name.eq_ignore_ascii_case(UNFINISHED_VIEW) {
            return Err(Error::UnsupportedFormat(
                "the file is a backup that was not finished".into(),
            ));
        }
        let is_ours = is_among(&BASE, name) || GROUPS.iter().any(|group| group.contains(name));
        // What would be written to a view or another virtual table ends elsewhere.
        let is_right = if name.eq_ignore_ascii_case(FULL_TEXT_TABLE) {
            is_full_text(sql)
        } else {
            begins_with(sql, "CREATE TABLE ")
        };
        if is_ours && !is_right {
            return Err(Error::UnsupportedFormat(format!(
                "{name} is not the kind of table that it is in a file of BeaverDB 1.x"
            )));
        }
        any = true;
        base += usize::from(is_among(&BASE, name));
        for (place, group) in GROUPS.iter().enumerate() {
            of_group[place] += usize::from(is_among(group.tables, name));
            own[place] += usize::from(is_among(group.own, name));
        }
        second_generation |= name.starts_with("__beaver_");
    }
    let mut groups = Groups::default();
    for (place, group) in GROUPS.iter().enumerate() {
        let readable = of_group[place] == group.tables.len();
        let complete = readable && own[place] == group.own.len();
        groups.readable |= u8::from(readable) << place;
        groups.complete |= u8::from(complete) << place;
    }
    let file_of_the_reference = base > 0 || groups != Groups::default();
    match () {
        () if !any => Ok(Found::Empty),
        () if base == BASE.len() => Ok(Found::Complete(groups)),
        () if file_of_the_reference => Ok(Found::Partial(groups)),
        () if second_generation => Err(Error::UnsupportedFormat(
            "the file was made by BeaverDB 2.x, whose tables differ; this package uses 1.x files".into(),
        )),
        () => Err(Error::UnsupportedFormat(
            "the file is a SQLite database, but not BeaverDB's; give a new file or one made by beaver-db 1.x".into(),
        )),
    }
}

/// Refuses UTF-16: SQLite's order of texts is that of their bytes, and ours is UTF-8's. Reading page
/// by page would take one for the other, and a sound file for a damaged one.
fn check_encoding(connection: &Connection) -> Result<()> {
    let encoding: String = connection
        .prepare_cached("PRAGMA encoding")?
        .query_row([], |row| row.get(0))?;
    if encoding.eq_ignore_ascii_case("UTF-8") {
        return Ok(());
    }
    Err(Error::UnsupportedFormat(format!(
        "the file's texts are {encoding}; files of BeaverDB 1.x have UTF-8"
    )))
}

/// SQLite's names ignore case.
fn is_among(names: &[&str], name: &str) -> bool {
    names.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

/// A schema's text as SQLite takes it when it reads the schema: a blob's bytes too, and up to a NUL.
fn as_sqlite_reads(value: ValueRef<'_>) -> &str {
    let (ValueRef::Text(bytes) | ValueRef::Blob(bytes)) = value else {
        return "";
    };
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    std::str::from_utf8(text).unwrap_or_default()
}

fn begins_with(text: &str, start: &str) -> bool {
    let beginning = text.as_bytes().get(..start.len());
    beginning.is_some_and(|text| text.eq_ignore_ascii_case(start.as_bytes()))
}

/// Whether the statement makes the full-text index by means of FTS5. What SQLite wrote there is
/// `CREATE VIRTUAL TABLE`, a space and the rest as it was given. A comment could hide another
/// module, so none is allowed for.
fn is_full_text(sql: &str) -> bool {
    let mut words = sql.split_ascii_whitespace();
    let mut expect = |word: &str| {
        words.next().is_some_and(|found| {
            let name = found.trim_matches(['"', '\'', '`', '[', ']']);
            name.eq_ignore_ascii_case(word)
        })
    };
    let is_index = ["CREATE", "VIRTUAL", "TABLE", FULL_TEXT_TABLE, "USING"]
        .into_iter()
        .all(&mut expect);
    let module = words.next().unwrap_or_default();
    is_index && (begins_with(module, "fts5(") || module.eq_ignore_ascii_case("fts5"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;
    use crate::options::Options;

    /// Refused, after a change to a database with all tables.
    fn check_is_refused(change: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let stranger = Connection::open(&path).unwrap();
        let sql = "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY";
        stranger.execute_batch(sql).unwrap();
        create(&stranger, &Found::Empty).unwrap();
        create_all(&stranger).unwrap();
        let Found::Complete(groups) = inspect(&stranger).unwrap() else {
            panic!("all tables are there");
        };
        assert!(GROUPS.iter().all(|group| groups.contains(group.kind)));
        stranger.execute_batch(change).unwrap();
        drop(stranger);
        // As it isn't in a connection that may write to the schema, what is there must make sense to SQLite.
        let connection = Connection::open(&path).unwrap();
        match inspect(&connection) {
            Err(Error::UnsupportedFormat(said)) if said.contains("is not the kind of table") => {}
            other => panic!("{change}: {other:?}"),
        }
    }

    #[test]
    fn views_and_virtual_tables_are_no_tables_of_ours() {
        for (table, instead) in [
            (
                "beaver_lock_waiters",
                "CREATE VIEW beaver_lock_waiters AS SELECT 1",
            ),
            ("beaver_lists", "CREATE VIEW beaver_lists AS SELECT 1"),
            ("beaver_lists", "CREATE VIEW BEAVER_Lists AS SELECT 1"),
            (
                "beaver_blob_parts",
                "CREATE VIRTUAL TABLE beaver_blob_parts USING fts5(x)",
            ),
        ] {
            check_is_refused(&format!("DROP TABLE {table}; {instead}"));
        }
    }

    #[test]
    fn the_full_text_index_is_one_of_fts5() {
        for instead in [
            "CREATE TABLE beaver_fts_index (x)",
            "CREATE VIEW beaver_fts_index AS SELECT 1",
            "CREATE VIEW Beaver_FTS_index AS SELECT 1",
            "CREATE VIRTUAL TABLE beaver_fts_index USING rtree(id, a, b)",
            "CREATE VIRTUAL TABLE beaver_fts_index /* USING fts5( */ USING rtree(id, a, b)",
            "CREATE VIRTUAL TABLE beaver_fts_index/* USING fts5( */ USING rtree(id, a, b)",
            "CREATE VIRTUAL TABLE beaver_fts_index USING fts5vocab(other, row)",
        ] {
            check_is_refused(&format!("DROP TABLE beaver_fts_index; {instead}"));
        }
        for same in [
            "CREATE VIRTUAL TABLE beaver_fts_index USING fts5(x)",
            "create virtual table if not exists \"Beaver_FTS_Index\"\n\tusing FTS5 (x)",
        ] {
            let connection = Connection::open_in_memory().unwrap();
            connection.execute_batch(same).unwrap();
            create(&connection, &Found::Empty).unwrap();
            create_group(&connection, Kind::Collection).unwrap();
            let Found::Complete(groups) = inspect(&connection).unwrap() else {
                panic!("{same}");
            };
            assert!(groups.contains(Kind::Collection));
        }
    }

    /// The rows of a schema that SQLite takes for others than they look.
    #[test]
    fn no_disguise_makes_another_table_ours() {
        let view = "DROP TABLE beaver_lists; CREATE VIEW beaver_lists AS SELECT 1";
        let virtual_one =
            "DROP TABLE beaver_lists; CREATE VIRTUAL TABLE beaver_lists USING fts5(x)";
        for (instead, disguise) in [
            (virtual_one, "rootpage = 2"),
            (view, "type = 'VIEW'"),
            (view, "type = CAST(type AS BLOB)"),
            (view, "name = CAST(name AS BLOB)"),
            (view, "name = name || char(0) || 'x'"),
            (view, "name = CAST(CAST(name AS BLOB) || x'00ff' AS TEXT)"),
            (virtual_one, "sql = replace(sql, ' VIRTUAL', '/**/VIRTUAL')"),
        ] {
            check_is_refused(&format!(
                "{instead}; PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET {disguise} WHERE name = 'beaver_lists'"
            ));
        }
    }

    #[test]
    fn names_in_other_letters_are_ours() {
        let connection = Connection::open_in_memory().unwrap();
        create(&connection, &Found::Empty).unwrap();
        let sql = "CREATE TABLE BEAVER_LISTS (list_name, item_order, item_value)";
        connection.execute_batch(sql).unwrap();
        let Found::Complete(groups) = inspect(&connection).unwrap() else {
            panic!("the tables of the start are there");
        };
        assert!(groups.contains(Kind::List));
    }

    /// In UTF-16LE SQLite has these two keys in this order, in UTF-8 in the other one: reading page by
    /// page would call the file damaged.
    #[test]
    fn texts_are_utf_8() {
        let folder = tempfile::tempdir().unwrap();
        for encoding in ["UTF-16le", "UTF-16be"] {
            let path = folder.path().join(encoding);
            let stranger = Connection::open(&path).unwrap();
            let sql = format!("PRAGMA encoding = '{encoding}'; PRAGMA synchronous = OFF");
            stranger.execute_batch(&sql).unwrap();
            stranger.execute_batch(CREATE_BASE).unwrap();
            let sql = "INSERT INTO beaver_dicts VALUES ('d', ?1, '1', NULL)";
            for key in ["\u{100}", "a"] {
                stranger.execute(sql, [key]).unwrap();
            }
            drop(stranger);
            let before = std::fs::read(&path).unwrap();
            match Database::open(path.to_str().unwrap(), &Options::default()) {
                Err(Error::UnsupportedFormat(said)) => assert!(said.contains(encoding), "{said}"),
                Err(other) => panic!("{other:?}"),
                Ok(database) => {
                    let keys = database.dict("d").unwrap().keys().unwrap();
                    panic!("opened: {:?}", keys.take(3).collect::<Vec<_>>());
                }
            }
            assert_eq!(std::fs::read(&path).unwrap(), before);
        }
    }

    #[test]
    fn tables_with_other_columns_are_another_format() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let path = path.to_str().unwrap();
        let open = || Database::open(path, &Options::default()).unwrap();
        open().list("l").unwrap();
        let stranger = Connection::open(path).unwrap();
        let sql = "DROP TABLE beaver_lists; CREATE TABLE beaver_lists (a)";
        stranger.execute_batch(sql).unwrap();
        match open().list("l").unwrap().len() {
            Err(Error::UnsupportedFormat(said)) => assert!(!said.contains("SELECT"), "{said}"),
            other => panic!("{other:?}"),
        }
    }
}
