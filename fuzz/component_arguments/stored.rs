//! What a database stores, read by native SQLite beside the component.
//!
//! What must stay true: nothing in here goes through the component, and nothing stays locked between
//! two looks. Locks and claims aren't looked at: a call of several steps may take one and then fail.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::time::Duration;

/// Those with what people put there.
const TABLES: [&str; 11] = [
    "beaver_dicts",
    "beaver_priority_queues",
    "beaver_lists",
    "beaver_blobs",
    "beaver_logs",
    "beaver_pubsub_log",
    "beaver_collections",
    "beaver_fts_index",
    "beaver_trigrams",
    "beaver_edges",
    "beaver_vector_change_log",
];

/// Of a value, in bytes: the rest is as long as it is.
const LOOKED_AT_MAX: usize = 4096;

/// See the module.
pub(super) struct Stored {
    connection: Connection,
    /// SQLite's, of when `rows` were read.
    version: Option<i64>,
    rows: u64,
}

impl Stored {
    pub(super) fn new(path: &Path) -> Self {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let connection = connection.unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        let mut stored = Self {
            connection,
            version: None,
            rows: 0,
        };
        stored.has_changed();
        stored
    }

    /// Whether anything is another thing than at the last look.
    pub(super) fn has_changed(&mut self) -> bool {
        let version = "PRAGMA data_version";
        let version = self.connection.query_row(version, [], |row| row.get(0));
        let version = Some(version.unwrap());
        if self.version == version {
            return false;
        }
        self.version = version;
        let rows = self.rows().unwrap();
        std::mem::replace(&mut self.rows, rows) != rows
    }

    fn rows(&self) -> rusqlite::Result<u64> {
        let mut hasher = DefaultHasher::new();
        for table in TABLES {
            // Most are made when they are needed first: none is as good as an empty one.
            let exists = "SELECT count(*) FROM sqlite_schema WHERE name = ?";
            if 0 == self
                .connection
                .query_row(exists, [table], |row| row.get::<_, i64>(0))?
            {
                continue;
            }
            let sql = format!("SELECT rowid, * FROM {table} ORDER BY rowid");
            let mut statement = self.connection.prepare(&sql)?;
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                table.hash(&mut hasher);
                for column in 0..columns {
                    hash(row.get_ref(column)?, &mut hasher);
                }
            }
        }
        Ok(hasher.finish())
    }
}

fn hash(value: ValueRef<'_>, hasher: &mut DefaultHasher) {
    value.data_type().to_string().hash(hasher);
    match value {
        ValueRef::Null => {}
        ValueRef::Integer(number) => number.hash(hasher),
        ValueRef::Real(number) => number.to_bits().hash(hasher),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            bytes.len().hash(hasher);
            bytes[..bytes.len().min(LOOKED_AT_MAX)].hash(hasher);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    /// A change has to be seen, or the target would show nothing.
    #[test]
    fn what_others_store_is_seen() {
        let scratch = Scratch::new();
        let database = scratch.open();
        let mut stored = Stored::new(&scratch.path());
        assert!(!stored.has_changed());
        let dict = database.dict("d").unwrap();
        dict.set("k", "1", None).unwrap();
        assert!(stored.has_changed());
        assert!(!stored.has_changed());
        dict.set("k", "2", Some(Duration::from_secs(9))).unwrap();
        assert!(stored.has_changed());
        dict.set("l", "2", None).unwrap();
        dict.delete("l").unwrap();
        assert!(!stored.has_changed());
        let blobs = database.blob("b").unwrap();
        assert!(!stored.has_changed());
        blobs.put("k", b"x", None).unwrap();
        assert!(stored.has_changed());
        database.collection("c").unwrap();
        assert!(!stored.has_changed());
    }
}
