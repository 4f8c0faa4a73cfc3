//! A blob's row: finding its version, reading parts of it, storing it.
//!
//! What must stay true:
//! - **A version is told for sure.** A row's id doesn't do: whoever deletes the
//!   newest blob and puts it again gets the same one. So triggers, which run in
//!   Python's process too, give each change of a blob the next number in
//!   `beaver_blob_versions`. In a file without them (only read here, written only by
//!   others) any commit counts as a change.
//! - **One call, one snapshot.** The statement that found the version stays
//!   open until the data are read, and is closed before the call returns.
//! - **Memory is bounded**, also SQLite's own. It makes a whole row in memory
//!   unless the row ends with zeros of which only the number is known; so a
//!   large blob is stored as zeros and then written over, its metadata too,
//!   which then have the type of a blob (Python's `json.loads` takes it as
//!   well). And no statement may need to undo itself alone, hence `OR FAIL` and no
//!   upsert: SQLite would keep all that it overwrites in memory. Our
//!   transactions roll back as a whole.

use super::{BlobContent, ROW_OVERHEAD_BYTES};
use crate::blob::MAX_BLOB_BYTES;
use crate::error::{Error, Result};
use crate::manager::MAX_VALUE_BYTES;
use crate::value;
use rusqlite::blob::{Blob as Incremental, ZeroBlob};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, MAIN_DB, OptionalExtension as _, Row, ToSql, ffi, params};
use std::ffi::CStr;

/// Up to this size a blob is a value like any other to SQLite, and made in
/// memory, three times over.
const DIRECT_BYTES: usize = 4 << 20;

/// Where a blob is.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) store: &'a str,
    pub(super) key: &'a str,
    pub(super) versioned: bool,
}

/// What tells two versions of a blob apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    row: i64,
    /// The number that the triggers gave it, none for a blob from before them. In a
    /// file without triggers, a number that each commit of others changes.
    stamp: Option<i64>,
}

/// The version and the size of the blob; none when there is none.
pub(super) fn find(connection: &Connection, place: Place<'_>) -> Result<Option<(Version, u64)>> {
    Ok(connection
        .prepare_cached(place.find())?
        .query_row([place.store, place.key], found)
        .optional()?)
}

/// Reads up to `length` bytes from `offset` on into `data`. False when there is no
/// such blob; [`Error::Changed`] when it isn't the one that was `expected`.
pub(super) fn read(
    connection: &Connection,
    place: Place<'_>,
    expected: Option<Version>,
    offset: u64,
    length: usize,
    data: &mut Vec<u8>,
) -> Result<bool> {
    data.clear();
    let mut statement = connection.prepare_cached(place.find())?;
    let mut rows = statement.query([place.store, place.key])?;
    let here = rows.next()?.map(found).transpose()?;
    if expected.is_some() && here.map(|(version, _)| version) != expected {
        return Err(Error::Changed);
    }
    let Some((version, size)) = here else {
        return Ok(false);
    };
    let length = length.min(usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX));
    if length == 0 {
        return Ok(true);
    }
    // The size of the blob is an `i32`, and the offset within it.
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    make_room(data, length)?;
    let blob = open(connection, c"data", version.row, true)?;
    blob.read_at_exact(data, offset)?;
    Ok(true)
}

/// The whole blob.
pub(super) fn get(connection: &Connection, store: &str, key: &str) -> Result<Option<BlobContent>> {
    let mut statement = connection.prepare_cached(
        "SELECT octet_length(data),
                CASE WHEN octet_length(data) <= ?3 THEN data END,
                CASE WHEN octet_length(data) <= ?4 THEN metadata END,
                rowid
         FROM beaver_blobs WHERE store_name = ?1 AND key = ?2",
    )?;
    let mut rows = statement.query(params![
        store,
        key,
        DIRECT_BYTES as i64,
        MAX_VALUE_BYTES as i64
    ])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let size: u64 = row.get::<_, i64>(0)?.cast_unsigned();
    if size > MAX_VALUE_BYTES as u64 {
        return Err(Error::TooLarge(size));
    }
    let data = match row.get_ref(1)? {
        // Not by way of SQLite's own memory.
        ValueRef::Null => {
            let mut data = Vec::new();
            make_room(&mut data, size as usize)?;
            let row = row.get(3)?;
            let blob = open(connection, c"data", row, true)?;
            blob.read_at_exact(&mut data, 0)?;
            data
        }
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.to_vec(),
        other => {
            return Err(Error::Corrupt(format!(
                "the data of a blob are of type {}",
                other.data_type()
            )));
        }
    };
    let metadata = text(row.get_ref(2)?)?;
    value::check(data.len() + metadata.as_ref().map_or(0, String::len))?;
    Ok(Some(BlobContent { data, metadata }))
}

pub(super) fn size(connection: &Connection, store: &str, key: &str) -> Result<Option<u64>> {
    let size: Option<i64> = connection
        .prepare_cached(
            "SELECT octet_length(data) FROM beaver_blobs WHERE store_name = ?1 AND key = ?2",
        )?
        .query_row([store, key], |row| row.get(0))
        .optional()?;
    Ok(size.map(i64::cast_unsigned))
}

pub(super) fn metadata(connection: &Connection, store: &str, key: &str) -> Result<Option<String>> {
    let mut statement = connection
        .prepare_cached("SELECT metadata FROM beaver_blobs WHERE store_name = ?1 AND key = ?2")?;
    let mut rows = statement.query([store, key])?;
    match rows.next()? {
        Some(row) => text(row.get_ref(0)?),
        None => Ok(None),
    }
}

/// Stores a blob whose data are at hand. Call inside a write transaction.
pub(super) fn put(
    connection: &Connection,
    store: &str,
    key: &str,
    data: &[u8],
    metadata: Option<&str>,
) -> Result<()> {
    check_size(store, key, data.len() as u64, metadata)?;
    if data.len() <= DIRECT_BYTES || metadata.is_some() {
        upsert(connection, store, key, &data, &metadata)?;
        return Ok(());
    }
    put_in_pieces(connection, store, key, data.len() as u64, None, |blob| {
        Ok(blob.write_at(data, 0)?)
    })
}

/// Stores a blob of `size` bytes that `fill` writes. Call inside a write transaction.
pub(super) fn put_in_pieces(
    connection: &Connection,
    store: &str,
    key: &str,
    size: u64,
    metadata: Option<&str>,
    fill: impl FnOnce(&mut Incremental<'_>) -> Result<()>,
) -> Result<()> {
    check_size(store, key, size, metadata)?;
    let zeros = metadata.map(|text| ZeroBlob(text.len() as u64));
    let row = upsert(connection, store, key, &ZeroBlob(size), &zeros)?;
    if let Some(text) = metadata {
        open(connection, c"metadata", row, false)?.write_at(text.as_bytes(), 0)?;
    }
    fill(&mut open(connection, c"data", row, false)?)
}

/// Whether a row with these values is one that SQLite takes.
pub(super) fn check_size(
    store: &str,
    key: &str,
    data_bytes: u64,
    metadata: Option<&str>,
) -> Result<()> {
    let others = store.len() + key.len() + metadata.map_or(0, str::len);
    let bytes = data_bytes + others as u64 + ROW_OVERHEAD_BYTES;
    if bytes > MAX_BLOB_BYTES {
        return Err(Error::InvalidArgument(format!(
            "a blob with its key and metadata has at most {MAX_BLOB_BYTES} bytes; this one has {bytes}"
        )));
    }
    Ok(())
}

impl Place<'_> {
    fn find(self) -> &'static str {
        if self.versioned {
            "SELECT rowid, octet_length(data),
                    (SELECT version FROM beaver_blob_versions WHERE store_name = ?1 AND key = ?2)
             FROM beaver_blobs WHERE store_name = ?1 AND key = ?2"
        } else {
            "SELECT rowid, octet_length(data), (SELECT data_version FROM pragma_data_version)
             FROM beaver_blobs WHERE store_name = ?1 AND key = ?2"
        }
    }
}

fn found(row: &Row<'_>) -> rusqlite::Result<(Version, u64)> {
    let version = Version {
        row: row.get(0)?,
        stamp: row.get(2)?,
    };
    Ok((version, row.get::<_, i64>(1)?.cast_unsigned()))
}

/// Returns the row's id. A row that is there is changed in place: then its new
/// data get their pages before the old ones are given up.
fn upsert(
    connection: &Connection,
    store: &str,
    key: &str,
    data: &dyn ToSql,
    metadata: &dyn ToSql,
) -> Result<i64> {
    let row: Option<i64> = connection
        .prepare_cached("SELECT rowid FROM beaver_blobs WHERE store_name = ?1 AND key = ?2")?
        .query_row([store, key], |row| row.get(0))
        .optional()?;
    if let Some(row) = row {
        connection
            .prepare_cached(
                "UPDATE OR FAIL beaver_blobs SET data = ?2, metadata = ?3 WHERE rowid = ?1",
            )?
            .execute(params![row, data, metadata])?;
        return Ok(row);
    }
    connection
        .prepare_cached(
            "INSERT OR FAIL INTO beaver_blobs (store_name, key, data, metadata)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![store, key, data, metadata])?;
    Ok(connection.last_insert_rowid())
}

fn text(value: ValueRef<'_>) -> Result<Option<String>> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            value::check(bytes.len())?;
            let text = std::str::from_utf8(bytes)
                .map_err(|error| Error::Corrupt(format!("metadata that aren't text: {error}")))?;
            Ok(Some(text.to_owned()))
        }
        other => Err(Error::Corrupt(format!(
            "metadata of type {}",
            other.data_type()
        ))),
    }
}

/// Opens a column of a row that is there, to be read and written in place.
fn open<'a>(
    connection: &'a Connection,
    column: &CStr,
    row: i64,
    read_only: bool,
) -> Result<Incremental<'a>> {
    let opened = connection.blob_open(MAIN_DB, c"beaver_blobs", column, row, read_only);
    opened.map_err(|error| {
        // The value is a number, or the table isn't one: somebody else's work. What the device or an
        // interruption may cause has codes of its own and says nothing about the file.
        let is_about_the_value = matches!(
            &error,
            rusqlite::Error::SqliteFailure(failure, _) if failure.extended_code == ffi::SQLITE_ERROR
        );
        match Error::from(error) {
            Error::Failed { message, .. } if is_about_the_value => {
                Error::Corrupt(format!("the data of a blob: {message}"))
            }
            other => other,
        }
    })
}

/// Makes `data` as long as `length`; a typed error where memory doesn't suffice.
fn make_room(data: &mut Vec<u8>, length: usize) -> Result<()> {
    data.try_reserve_exact(length)
        .map_err(|_| Error::OutOfMemory)?;
    data.resize(length, 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;
    use crate::options::Options;

    #[test]
    fn numbers_in_the_place_of_data_are_corrupt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let database = Database::open(path.to_str().unwrap(), &Options::default()).unwrap();
        let store = database.blob("s").unwrap();
        for data in [&1.5 as &dyn ToSql, &7] {
            let sql = "INSERT OR REPLACE INTO beaver_blobs VALUES ('s', 'k', ?1, NULL)";
            database.inner.connection.execute(sql, [data]).unwrap();
            let said = store.read("k", 0, 1);
            assert!(matches!(said, Err(Error::Corrupt(_))), "{said:?}");
            assert!(matches!(store.get("k"), Err(Error::Corrupt(_))));
            let mut reader = store.reader("k").unwrap().unwrap();
            assert!(matches!(reader.read_at(0, 1), Err(Error::Corrupt(_))));
        }
    }

    #[test]
    fn an_interruption_is_no_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let database = Database::open(path.to_str().unwrap(), &Options::default()).unwrap();
        database.blob("s").unwrap().put("k", b"1", None).unwrap();
        let connection = &database.inner.connection;
        let mut statement = connection
            .prepare("SELECT rowid FROM beaver_blobs")
            .unwrap();
        // As long as it is under way, SQLite keeps an interruption in mind.
        let mut rows = statement.query([]).unwrap();
        let row = rows.next().unwrap().unwrap().get(0).unwrap();
        connection.get_interrupt_handle().interrupt();
        match open(connection, c"data", row, true) {
            Err(Error::Failed { message, .. }) => assert!(message.contains("interrupted")),
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("opened in spite of the interruption"),
        }
    }

    #[test]
    fn what_sqlite_would_not_take_is_refused_before() {
        let longest = MAX_BLOB_BYTES - ROW_OVERHEAD_BYTES;
        assert!(check_size("s", "key", longest - 4, None).is_ok());
        for (bytes, metadata) in [(longest - 3, None), (longest - 4, Some("1"))] {
            let error = check_size("s", "key", bytes, metadata).unwrap_err();
            assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
        }
        // SQLite's own limit is no smaller than ours.
        let connection = Connection::open_in_memory().unwrap();
        let takes = |bytes: u64| {
            let length: rusqlite::Result<i64> =
                connection.query_row("SELECT length(?1)", [ZeroBlob(bytes)], |row| row.get(0));
            length.is_ok()
        };
        assert!(takes(MAX_BLOB_BYTES));
        assert!(!takes(MAX_BLOB_BYTES + 1));
    }
}
