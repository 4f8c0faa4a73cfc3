//! What a file's tables say about it.
//!
//! What must stay true: a file that isn't BeaverDB 1.x is told before anything of it is prepared or
//! written. A table's kind is told by its statement, the one part of a schema's row that SQLite goes
//! by; asking SQLite (`pragma_table_list`) would have it prepare each view and set up each virtual
//! table of a stranger's file.

use super::{BASE, FULL_TEXT_TABLE, GROUPS, Group, Groups, UNFINISHED_VIEW};
use crate::error::{Error, Result};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

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

impl Group {
    fn contains(&self, name: &str) -> bool {
        is_among(self.tables, name) || is_among(self.own, name)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;
    use crate::manager::Kind;
    use crate::options::Options;
    use crate::schema::{CREATE_BASE, create, create_all, create_group};

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

    /// What SQLite says only when it uses a table, and without a place in the statement.
    #[test]
    fn what_cannot_be_used_as_ours_is_another_format() {
        let folder = tempfile::tempdir().unwrap();
        for change in [
            "ALTER TABLE beaver_dicts RENAME TO other;
             CREATE TABLE beaver_dicts AS SELECT * FROM other",
            "CREATE TRIGGER t AFTER INSERT ON beaver_dicts BEGIN
                 UPDATE beaver_fts_index_data SET block = x'00'; END",
            "UPDATE beaver_fts_index_config SET v = 0 WHERE k = 'version'",
        ] {
            let path = folder.path().join(format!("{}.db", change.len()));
            let path = path.to_str().unwrap();
            let open = || Database::open(path, &Options::default()).unwrap();
            let index = |database: &Database| {
                let options = crate::IndexOptions::default();
                let collection = database.collection("c").unwrap();
                let body = Some(r#"{"text": "word"}"#);
                collection.index(Some("id"), body, None, &options)?;
                collection.drop("id").map(drop)
            };
            index(&open()).unwrap();
            let stranger = Connection::open(path).unwrap();
            stranger.execute_batch(change).unwrap();
            drop(stranger);
            let database = open();
            let set = database.dict("d").unwrap().set("key", "1", None);
            let all = [set, index(&database)];
            let failed: Vec<_> = all.iter().filter(|one| one.is_err()).collect();
            let [Err(Error::UnsupportedFormat(_))] = failed[..] else {
                panic!("{change}: {all:?}");
            };
        }
    }

    /// A number that stands for no encoding is UTF-8 to whoever opens the file, but not to VACUUM.
    #[test]
    fn a_header_without_a_known_encoding_is_another_format() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let open = || Database::open(path.to_str().unwrap(), &Options::default()).unwrap();
        open().dict("d").unwrap().set("key", "1", None).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[56..60].copy_from_slice(&0x000f_0000_u32.to_be_bytes());
        std::fs::write(&path, bytes).unwrap();
        let database = open();
        let value = database.dict("d").unwrap().get("key").unwrap();
        assert_eq!(value.as_deref(), Some("1"));
        let said = database.vacuum();
        assert!(matches!(said, Err(Error::UnsupportedFormat(_))), "{said:?}");
    }
}
