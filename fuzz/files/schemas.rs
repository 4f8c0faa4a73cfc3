//! Tables of ours that aren't what they should be, made with SQLite's own means.

use beaver_core::rusqlite::{self, Connection};
use std::path::Path;

/// Something to be swept: nothing else deletes of its own accord.
const ABANDONED: &str = "INSERT INTO beaver_blob_parts VALUES ('gone', 0, 1, x'00')";

/// Makes one of the tables another thing. What SQLite refuses is left as it was.
pub(super) fn change(path: &Path, kind: &str, table: &str) {
    let Ok(connection) = Connection::open(path) else {
        return;
    };
    let table = format!(
        "beaver_{}",
        table.replace(|c: char| !c.is_alphanumeric(), "_")
    );
    let names = columns(&connection, &table);
    let columns = names.join(", ");
    let instead = |what: &str| format!("ALTER TABLE {table} RENAME TO other; {what}");
    // SQLite takes the row of the schema for the same as before.
    let disguised = |what: &str, disguise: &str| {
        format!(
            "{}; PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET {disguise} WHERE name = '{table}'",
            instead(what)
        )
    };
    let view = format!("CREATE VIEW {table} AS SELECT * FROM other");
    let fts5 = format!("CREATE VIRTUAL TABLE {table} USING fts5({columns})");
    let sql = match kind {
        "missing" => format!("DROP TABLE {table}"),
        "view" => instead(&view),
        "writable_view" => instead(&format!(
            "{view};
             CREATE TRIGGER w INSTEAD OF INSERT ON {table} BEGIN SELECT 1; END"
        )),
        "capital_view" => {
            let table = table.to_uppercase();
            instead(&format!(
                "CREATE VIEW {table} AS SELECT * FROM other;
                 CREATE TRIGGER w INSTEAD OF INSERT ON {table} BEGIN SELECT 1; END;
                 CREATE TRIGGER d INSTEAD OF DELETE ON {table} BEGIN SELECT 1; END"
            ))
        }
        "view_of_type" => disguised(&view, "type = 'VIEW'"),
        "view_of_bytes" => disguised(&view, "name = CAST(name AS BLOB)"),
        "view_of_nul" => disguised(&view, "name = name || char(0) || 'x'"),
        "endless_view" => instead(&format!("CREATE VIEW {table} AS SELECT * FROM {table}")),
        "fts5" => instead(&fts5),
        "rooted" => disguised(&fts5, "rootpage = 2"),
        "commented" => instead(&format!(
            "CREATE VIRTUAL TABLE {table}/* USING fts5( */ USING rtree(id, a, b)"
        )),
        "rtree" => instead(&format!(
            "CREATE VIRTUAL TABLE {table} USING rtree(id, a, b)"
        )),
        "dbstat" => instead(&format!("CREATE VIRTUAL TABLE {table} USING dbstat")),
        "other_columns" => instead(&format!("CREATE TABLE {table} (a, b, c)")),
        "untyped" => instead(&format!("CREATE TABLE {table} ({columns})")),
        "generated" => format!("ALTER TABLE {table} ADD COLUMN more AS (1 / 0)"),
        "more_columns" => format!("ALTER TABLE {table} ADD COLUMN more DEFAULT 'x'"),
        "without_rowid" => instead(&format!(
            "CREATE TABLE {table} ({columns}, PRIMARY KEY ({columns})) WITHOUT ROWID"
        )),
        "refusing" => format!(
            "CREATE TRIGGER r BEFORE INSERT ON {table} BEGIN SELECT raise(FAIL, 'no'); END;
             CREATE TRIGGER d BEFORE DELETE ON {table} BEGIN SELECT raise(ROLLBACK, 'no'); END"
        ),
        "deleting" => format!(
            "CREATE TRIGGER d AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END;
             CREATE TRIGGER u AFTER UPDATE ON {table} BEGIN DELETE FROM beaver_lock_waiters; END"
        ),
        "doubling" => format!(
            "CREATE TRIGGER d AFTER DELETE ON {table} BEGIN
                 INSERT INTO {table} SELECT * FROM {table} LIMIT 1; END"
        ),
        "ignoring" => {
            format!("CREATE TRIGGER d BEFORE DELETE ON {table} BEGIN SELECT raise(IGNORE); END")
        }
        "returning" => {
            let old: Vec<_> = names.iter().map(|name| format!("OLD.{name}")).collect();
            format!(
                "CREATE TRIGGER d AFTER DELETE ON {table} BEGIN
                     INSERT INTO {table} ({columns}) VALUES ({}); END; {ABANDONED}",
                old.join(", ")
            )
        }
        "shadow" => format!(
            "CREATE TRIGGER s AFTER INSERT ON {table} BEGIN
                 UPDATE beaver_fts_index_data SET block = x'00'; END"
        ),
        "failing_index" => format!("CREATE INDEX f ON {table} (abs(rowid) / 0, json(rowid))"),
        "reserved" => format!("CREATE INDEX beaver_edges_by_target ON {table} (rowid)"),
        _ => return,
    };
    let _ = connection.execute_batch(&sql);
}

fn columns(connection: &Connection, table: &str) -> Vec<String> {
    let names = || {
        connection
            .prepare("SELECT name FROM pragma_table_info(?1)")?
            .query_map([table], |row| row.get(0))?
            .collect()
    };
    let names: Result<_, rusqlite::Error> = names();
    names.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::bases::BASES;
    use crate::scratch::Scratch;
    use crate::sweep::options;
    use beaver_core::{Database, Error};

    /// A change that SQLite refused, or takes for damage, would try nothing.
    #[test]
    fn what_is_no_table_of_ours_is_refused_as_that() {
        for table in ["lists", "fts_index"] {
            for kind in [
                "view",
                "writable_view",
                "capital_view",
                "view_of_type",
                "view_of_bytes",
                "view_of_nul",
                "endless_view",
                "fts5",
                "rooted",
                "commented",
                "rtree",
                "dbstat",
            ] {
                // FTS5 in the place of FTS5 is what it should be.
                if table == "fts_index" && ["fts5", "rooted"].contains(&kind) {
                    continue;
                }
                let scratch = Scratch::new();
                let path = scratch.path();
                std::fs::write(&path, &BASES[0].database).unwrap();
                change(&path, kind, table);
                let said = Database::open(path.to_str().unwrap(), &options()).err();
                match &said {
                    Some(Error::UnsupportedFormat(said)) if said.contains("kind of table") => {}
                    other => panic!("{kind} {table}: {other:?}"),
                }
            }
        }
    }
}
