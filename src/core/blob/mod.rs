//! A store of named blobs, table `beaver_blobs`.
//!
//! What must stay true: whoever reads sees one version of a blob, whoever wrote
//! it (see [`row`]); a large blob is written and read without holding it in
//! memory (see [`writer`], [`reader`]); nothing is left of an upload that isn't
//! finished (see [`parts`]). The reference emits no events for blobs, and each of its
//! methods on them is one statement, which a write of ours can't tear.

mod parts;
mod reader;
mod row;
mod writer;

use crate::cursor::{Ahead, check_max, check_order, pages_iterator, read_page};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::json::python_text;
use crate::manager::{Kind, MAX_VALUE_BYTES, Manager, check_key};
use crate::options::OpenMode;
use crate::owner::{Owner, lock_methods};
use crate::value;
use crate::write::{Effect, Interference, Request};
use rusqlite::{Connection, params};
use std::rc::Rc;

pub use reader::BlobReader;
pub use writer::{BlobWriter, MAX_CHUNK_BYTES};

/// SQLite's limit for a row: a blob's data, key, metadata and store's name together.
pub const MAX_BLOB_BYTES: u64 = 1_000_000_000;

/// What a row takes besides its values, generously.
const ROW_OVERHEAD_BYTES: u64 = 64;

/// A handle for a blob store: one lock owner. Dropping it gives its lock back.
///
/// Every method is one transaction of its own, or part of the open
/// [`Transaction`](crate::Transaction). Metadata are JSON texts.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("app.db");
/// # let path = path.to_str().unwrap();
/// use beaver_core::{Database, Options};
/// use std::io::{Read as _, Write as _};
///
/// let db = Database::open(path, &Options::default())?;
/// let files = db.blob("files")?;
/// files.put("hello.txt", b"hello", Some(r#"{"type": "text/plain"}"#))?;
/// assert_eq!(files.read("hello.txt", 1, 3)?.as_deref(), Some(&b"ell"[..]));
///
/// // A large one is written and read in pieces.
/// let mut writer = files.writer("large")?;
/// for _ in 0..100 {
///     writer.write_all(&[7; 100_000])?;
/// }
/// writer.finish(None)?;
/// let mut reader = files.reader("large")?.ok_or("no such blob")?;
/// assert_eq!(reader.size(), 10_000_000);
/// let mut start = [0; 4];
/// reader.read_exact(&mut start)?;
/// assert_eq!(start, [7; 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Blob {
    pub(crate) database: Database,
    manager: Rc<Manager>,
    owner: Owner,
    /// Whether the file has our table of versions; not if it is only read
    /// and only others have written to it.
    versioned: bool,
}

lock_methods!(Blob);

/// A blob's data and metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobContent {
    /// The bytes.
    pub data: Vec<u8>,
    /// A JSON text, if there is any.
    pub metadata: Option<String>,
}

impl Database {
    /// A handle for the blob store `name`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bad name; when the file has no blobs
    /// yet, what writing may report.
    pub fn blob(&self, name: &str) -> Result<Blob> {
        Blob::open(self, name)
    }
}

impl Blob {
    fn open(database: &Database, name: &str) -> Result<Self> {
        let manager = Rc::new(Manager::new(Kind::Blob, name)?);
        database.require(Kind::Blob)?;
        let versioned =
            database.inner.options.mode != OpenMode::ReadOnly || database.is_complete(Kind::Blob);
        Ok(Self {
            owner: Owner::new(database, &manager.lock_name),
            database: database.clone(),
            manager,
            versioned,
        })
    }

    /// The store's name.
    pub fn name(&self) -> &str {
        &self.manager.name
    }

    /// Stores `data` under `key`, replacing what was there, its metadata included.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] (more than [`MAX_VALUE_BYTES`] of data: use a
    /// [`Blob::writer`]), [`Error::InvalidJson`], [`Error::Locked`],
    /// [`Error::LockLost`], and what writing may report.
    pub fn put(&self, key: &str, data: &[u8], metadata: Option<&str>) -> Result<()> {
        check_key(key)?;
        if data.len() > MAX_VALUE_BYTES {
            return Err(Error::InvalidArgument(format!(
                "put takes at most {MAX_VALUE_BYTES} bytes, this blob has {}: write it in pieces",
                data.len()
            )));
        }
        let metadata = metadata.map(python_text).transpose()?;
        self.write(|connection| {
            row::put(connection, self.name(), key, data, metadata.as_deref())?;
            Ok(Effect::Changed(()))
        })
    }

    /// The blob under `key`; none when there is none.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than [`MAX_VALUE_BYTES`] of data, or more than that and
    /// 1 MiB with the metadata: use a
    /// [`Blob::reader`] or [`Blob::read`]. Otherwise what reading may report.
    pub fn get(&self, key: &str) -> Result<Option<BlobContent>> {
        check_key(key)?;
        self.database
            .read(|connection| row::get(connection, self.name(), key))
    }

    /// The `length` bytes from `offset` on, fewer at the end of the blob, none
    /// of them beyond it. None when there is no such blob.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for more than [`MAX_VALUE_BYTES`], and what
    /// reading may report.
    pub fn read(&self, key: &str, offset: u64, length: u32) -> Result<Option<Vec<u8>>> {
        check_key(key)?;
        if length as usize > MAX_VALUE_BYTES {
            return Err(Error::InvalidArgument(format!(
                "a call returns at most {MAX_VALUE_BYTES} bytes, not {length}"
            )));
        }
        let mut data = Vec::new();
        let found = self.database.read(|connection| {
            let place = row::Place {
                store: self.name(),
                key,
                versioned: self.versioned,
            };
            row::read(connection, place, None, offset, length as usize, &mut data)
        })?;
        Ok(found.then_some(data))
    }

    /// The number of bytes of data, without reading them; none when there is no such blob.
    ///
    /// # Errors
    /// What reading may report.
    pub fn size(&self, key: &str) -> Result<Option<u64>> {
        check_key(key)?;
        self.database
            .read(|connection| row::size(connection, self.name(), key))
    }

    /// The metadata; none when there are none or there is no such blob. SQLite
    /// finds them behind the data: for a large blob that takes time, not memory.
    ///
    /// # Errors
    /// What reading may report.
    pub fn metadata(&self, key: &str) -> Result<Option<String>> {
        check_key(key)?;
        self.database
            .read(|connection| row::metadata(connection, self.name(), key))
    }

    /// Whether there is a blob under `key`.
    ///
    /// # Errors
    /// What reading may report.
    pub fn contains(&self, key: &str) -> Result<bool> {
        check_key(key)?;
        self.database.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM beaver_blobs WHERE store_name = ?1 AND key = ?2)",
                )?
                .query_row([self.name(), key], |row| row.get(0))?)
        })
    }

    /// Removes the blob. False when there was none.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::LockLost`], and what writing may report.
    pub fn delete(&self, key: &str) -> Result<bool> {
        check_key(key)?;
        self.write(|connection| {
            let deleted = connection
                .prepare_cached("DELETE FROM beaver_blobs WHERE store_name = ?1 AND key = ?2")?
                .execute([self.name(), key])?;
            Ok(if deleted > 0 {
                Effect::Changed(true)
            } else {
                Effect::Unchanged(false)
            })
        })
    }

    /// The number of blobs.
    ///
    /// # Errors
    /// What reading may report.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a count is a query; is_empty would hide that"
    )]
    pub fn len(&self) -> Result<u64> {
        self.database.read(|connection| {
            let count: i64 = connection
                .prepare_cached("SELECT count(*) FROM beaver_blobs WHERE store_name = ?1")?
                .query_row([self.name()], |row| row.get(0))?;
            Ok(count.cast_unsigned())
        })
    }

    /// Removes every blob; returns how many there were.
    ///
    /// # Errors
    /// As [`Blob::delete`].
    pub fn clear(&self) -> Result<u64> {
        self.write(|connection| {
            let deleted = connection
                .prepare_cached("DELETE FROM beaver_blobs WHERE store_name = ?1")?
                .execute([self.name()])? as u64;
            Ok(if deleted > 0 {
                Effect::Changed(deleted)
            } else {
                Effect::Unchanged(0)
            })
        })
    }

    /// The keys in order of their bytes.
    ///
    /// # Errors
    /// None now; each page may fail.
    pub fn keys(&self) -> Result<BlobKeys> {
        Ok(BlobKeys {
            database: self.database.clone(),
            manager: Rc::clone(&self.manager),
            after: None,
            done: false,
            ahead: Ahead::default(),
        })
    }

    /// Opens the blob for reading in pieces; none when there is no such blob.
    ///
    /// # Errors
    /// What reading may report.
    pub fn reader(&self, key: &str) -> Result<Option<BlobReader>> {
        check_key(key)?;
        BlobReader::open(self, key)
    }

    /// A blob's reader and its metadata, of one version. The key is one that was
    /// read: others' may be none that is taken here.
    pub(crate) fn open_stored(&self, key: &str) -> Result<Option<(BlobReader, Option<String>)>> {
        self.database.read_snapshot(|connection| {
            let Some(reader) = BlobReader::open(self, key)? else {
                return Ok(None);
            };
            let metadata = row::metadata(connection, self.name(), key)?;
            Ok(Some((reader, metadata)))
        })
    }

    /// Starts to write a blob in pieces. Nobody sees anything of it before
    /// [`BlobWriter::finish`], and nothing is left of it without.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bad key; [`Error::ReadOnly`].
    pub fn writer(&self, key: &str) -> Result<BlobWriter> {
        check_key(key)?;
        BlobWriter::open(self, key)
    }

    /// Another such handle, of the same lock owner: the lock doesn't end with it.
    pub(crate) fn share(&self) -> Self {
        Self {
            database: self.database.clone(),
            manager: Rc::clone(&self.manager),
            owner: self.owner.share(),
            versioned: self.versioned,
        }
    }

    /// Stores small blobs whose metadata are Python's JSON texts, all in one transaction.
    pub(crate) fn put_all<'a>(
        &self,
        blobs: impl Iterator<Item = (&'a str, &'a BlobContent)> + Clone,
    ) -> Result<()> {
        self.write(|connection| {
            for (key, blob) in blobs.clone() {
                let metadata = blob.metadata.as_deref();
                row::put(connection, self.name(), key, &blob.data, metadata)?;
            }
            Ok(Effect::Changed(()))
        })
    }

    fn write<T>(&self, write: impl FnMut(&Connection) -> Result<Effect<T>>) -> Result<T> {
        run_write(&self.database, &self.manager, &self.owner, write)
    }
}

fn run_write<T>(
    database: &Database,
    manager: &Manager,
    owner: &Owner,
    write: impl FnMut(&Connection) -> Result<Effect<T>>,
) -> Result<T> {
    let lease = owner.lease();
    let request = Request {
        manager,
        lease: lease.as_ref(),
        interference: Interference::None,
        event: None,
        wait: database.inner.options.lock_wait,
        write_limit: None,
    };
    database.write(&request, write)
}

/// The keys of a [`Blob`] store. Reads page by page, each as the database is then.
#[derive(Debug)]
pub struct BlobKeys {
    database: Database,
    manager: Rc<Manager>,
    after: Option<String>,
    done: bool,
    ahead: Ahead<String>,
}

impl BlobKeys {
    /// The next page: at most `max`, fewer when they are large, empty at the end.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for 0, and what reading may report.
    pub fn next_page(&mut self, max: u32) -> Result<Vec<String>> {
        check_max(max)?;
        if self.done {
            return Ok(Vec::new());
        }
        let page = self.database.read(|connection| {
            // No key sorts before the empty one, which is a key like any other.
            let sql = match self.after {
                None => {
                    "SELECT key FROM beaver_blobs
                     WHERE store_name = ?1 AND key >= ?2 ORDER BY key"
                }
                Some(_) => {
                    "SELECT key FROM beaver_blobs
                     WHERE store_name = ?1 AND key > ?2 ORDER BY key"
                }
            };
            let after = self.after.as_deref().unwrap_or_default();
            read_page(
                &mut *connection.prepare_cached(sql)?,
                params![self.manager.name, after],
                max,
                |row| {
                    let key = value::text(row, 0)?;
                    let size = key.len();
                    Ok((key, size))
                },
            )
        })?;
        check_order(self.after.as_deref(), page.iter().map(String::as_str))?;
        match page.last() {
            Some(last) => self.after = Some(last.clone()),
            None => self.done = true,
        }
        Ok(page)
    }
}

pages_iterator!(BlobKeys, String);
