//! What is in a file: each manager by kind and name, how much it holds.
//!
//! What must stay true: only tables that are there are read, none is made; what
//! has expired counts as absent, as everywhere.

use crate::cursor::{Ahead, PAGE_BYTES, check_max, check_order, pages_iterator, read_page};
use crate::database::Database;
use crate::error::Result;
use crate::value;
use rusqlite::{Connection, params};

/// A kind of manager, as far as a file can hold one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ManagerKind {
    /// A dictionary; counts entries.
    Dict,
    /// A list; counts items.
    List,
    /// A queue; counts items.
    Queue,
    /// A collection; counts documents.
    Collection,
    /// A blob store; counts blobs.
    Blob,
    /// A log; counts entries.
    Log,
    /// A channel; counts the messages kept.
    Channel,
    /// One of the reference's sketches; counts 1.
    Sketch,
    /// A lock that is held or awaited; counts its holder and those who wait.
    /// Managers' own locks have internal names.
    Lock,
}

/// A manager and how much it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerEntry {
    /// What it is.
    pub kind: ManagerKind,
    /// Its name.
    pub name: String,
    /// How many things it holds; see [`ManagerKind`].
    pub count: u64,
    /// The bytes of its keys, values and metadata, without what SQLite and
    /// search indexes need beside them.
    pub size_bytes: u64,
}

/// Where the managers of one kind are.
struct Source {
    kind: ManagerKind,
    table: &'static str,
    name: &'static str,
    size: &'static str,
    /// A condition on rows; `?4` is the time.
    live: &'static str,
}

/// `?4` must be in every statement that gets four values.
const ALWAYS: &str = "?4 IS NOT NULL";

const SOURCES: [Source; 9] = [
    Source {
        kind: ManagerKind::Dict,
        table: "beaver_dicts",
        name: "dict_name",
        size: "octet_length(key) + octet_length(value)",
        live: "(expires_at IS NULL OR expires_at > ?4)",
    },
    Source {
        kind: ManagerKind::List,
        table: "beaver_lists",
        name: "list_name",
        size: "octet_length(item_value)",
        live: ALWAYS,
    },
    Source {
        kind: ManagerKind::Queue,
        table: "beaver_priority_queues",
        name: "queue_name",
        size: "octet_length(data)",
        live: ALWAYS,
    },
    Source {
        kind: ManagerKind::Collection,
        table: "beaver_collections",
        name: "collection",
        size: "octet_length(item_id) + ifnull(octet_length(item_vector), 0)
               + ifnull(octet_length(metadata), 0)",
        live: ALWAYS,
    },
    Source {
        kind: ManagerKind::Blob,
        table: "beaver_blobs",
        name: "store_name",
        size: "octet_length(key) + octet_length(data) + ifnull(octet_length(metadata), 0)",
        live: ALWAYS,
    },
    Source {
        kind: ManagerKind::Log,
        table: "beaver_logs",
        name: "log_name",
        size: "octet_length(data)",
        live: ALWAYS,
    },
    Source {
        kind: ManagerKind::Channel,
        table: "beaver_pubsub_log",
        name: "channel_name",
        size: "octet_length(message_payload)",
        live: ALWAYS,
    },
    Source {
        kind: ManagerKind::Sketch,
        table: "beaver_sketches",
        name: "name",
        size: "octet_length(data)",
        live: ALWAYS,
    },
    Source {
        kind: ManagerKind::Lock,
        table: "beaver_lock_waiters",
        name: "lock_name",
        size: "octet_length(waiter_id)",
        live: "expires_at > ?4",
    },
];

impl Source {
    /// A page of names after `?1`, in order of their bytes. Each table has an
    /// index that begins with the name, so a page reads only its own managers.
    fn sql(&self) -> String {
        let Self {
            table,
            name,
            size,
            live,
            ..
        } = self;
        format!(
            "SELECT {name}, count(*), sum({size}) FROM {table}
             WHERE {name} > ?1 AND (?2 OR {name} NOT GLOB '__*') AND {live}
             GROUP BY {name} ORDER BY {name} LIMIT ?3"
        )
    }

    fn exists(&self, connection: &Connection) -> Result<bool> {
        Ok(connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)",
            )?
            .query_row([self.table], |row| row.get(0))?)
    }
}

impl Database {
    /// What is in the file: by kind, and by name within a kind. A manager
    /// exists as long as it holds something. Internal names, which begin with
    /// two underscores, come only with `include_internal`.
    ///
    /// Counting reads every row of the managers on a page.
    ///
    /// # Errors
    /// None now; each page may fail.
    pub fn managers(&self, include_internal: bool) -> Result<Managers> {
        Ok(Managers {
            database: self.clone(),
            include_internal,
            source: 0,
            after: String::new(),
            ahead: Ahead::default(),
        })
    }
}

/// What is in a file. Reads page by page, each as the database is then.
///
/// ```
/// # fn main() -> beaver_core::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("app.db");
/// use beaver_core::{Database, ManagerKind, Options};
///
/// let db = Database::open(path.to_str().unwrap(), &Options::default())?;
/// db.dict("config")?.set("theme", "\"dark\"", None)?;
/// db.queue("jobs")?.put("17", 1.0)?;
/// let found = db.managers(false)?.collect::<beaver_core::Result<Vec<_>>>()?;
/// assert_eq!(found[0].kind, ManagerKind::Dict);
/// assert_eq!((found[0].name.as_str(), found[0].count), ("config", 1));
/// assert_eq!(found[1].size_bytes, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Managers {
    database: Database,
    include_internal: bool,
    /// Where it stands: a place in [`SOURCES`], and a name there.
    source: usize,
    after: String,
    ahead: Ahead<ManagerEntry>,
}

impl Managers {
    /// The next page: at most `max`, fewer when the names are long, empty at the end.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for 0, and what reading may report.
    pub fn next_page(&mut self, max: u32) -> Result<Vec<ManagerEntry>> {
        check_max(max)?;
        let now = self.database.inner.runtime.unix_seconds();
        let (mut source, mut after) = (self.source, self.after.clone());
        let mut bytes = 0;
        let page = self.database.read(|connection| {
            let mut page: Vec<ManagerEntry> = Vec::new();
            while let Some(from) = SOURCES.get(source) {
                let wanted = max - u32::try_from(page.len()).unwrap_or(max);
                if wanted == 0 || bytes >= PAGE_BYTES {
                    break;
                }
                let mut rows = Vec::new();
                if from.exists(connection)? {
                    let mut statement = connection.prepare_cached(&from.sql())?;
                    let parameters = params![after, self.include_internal, wanted, now];
                    rows = read_page(&mut statement, parameters, wanted, |row| {
                        let name = value::text(row, 0)?;
                        let size = name.len() + size_of::<ManagerEntry>();
                        bytes += size;
                        let entry = ManagerEntry {
                            kind: from.kind,
                            name,
                            count: row.get::<_, i64>(1)?.cast_unsigned(),
                            size_bytes: row.get::<_, i64>(2)?.cast_unsigned(),
                        };
                        Ok((entry, size))
                    })?;
                }
                let names = rows.iter().map(|entry: &ManagerEntry| entry.name.as_str());
                check_order(Some(after.as_str()), names)?;
                match rows.last() {
                    Some(last) => after.clone_from(&last.name),
                    None => {
                        source += 1;
                        after.clear();
                    }
                }
                page.append(&mut rows);
            }
            Ok(page)
        })?;
        (self.source, self.after) = (source, after);
        Ok(page)
    }
}

pages_iterator!(Managers, ManagerEntry);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::schema;

    #[test]
    fn a_page_reads_only_its_own_managers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.db");
        let db = Database::open(path.to_str().unwrap(), &Options::default()).unwrap();
        let connection = &db.inner.connection;
        schema::create_all(connection).unwrap();
        for source in &SOURCES {
            if !source.exists(connection).unwrap() {
                assert_eq!(
                    source.kind,
                    ManagerKind::Sketch,
                    "made by the reference alone"
                );
                continue;
            }
            let plan: Vec<String> = connection
                .prepare(&format!("EXPLAIN QUERY PLAN {}", source.sql()))
                .unwrap()
                .query_map(params!["", true, 10, 0.0], |row| row.get(3))
                .unwrap()
                .collect::<rusqlite::Result<_>>()
                .unwrap();
            assert!(
                plan.len() == 1 && plan[0].starts_with("SEARCH") && plan[0].contains("INDEX"),
                "{:?}: {plan:?}",
                source.kind
            );
        }
    }
}
