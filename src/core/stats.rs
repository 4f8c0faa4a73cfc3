//! Figures of a file, for those who watch over it.

use crate::database::Database;
use crate::error::Result;
use crate::options::Journal;

/// Figures of a database, as they were at one moment, except for the log's,
/// which are of a moment later.
///
/// ```
/// # fn main() -> beaver_core::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("app.db");
/// let db = beaver_core::Database::open(path.to_str().unwrap(), &Default::default())?;
/// let stats = db.stats()?;
/// assert!(stats.size_bytes() > 0 && stats.free_bytes() < stats.size_bytes());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of a page.
    pub page_size_bytes: u32,
    /// Pages of the database, those in the log included.
    pub pages: u64,
    /// Pages in it that hold nothing: new rows take them, and
    /// [`Database::vacuum`] gives them back.
    pub free_pages: u64,
    /// Frames (one changed page each) in the write-ahead log. None with a
    /// rollback journal, and while a transaction is open on this handle.
    pub log_frames: Option<u64>,
    /// How many of those are in the database file already. None as for `log_frames`.
    pub log_frames_copied: Option<u64>,
    /// The journal in use.
    pub journal: Journal,
    /// The version of BeaverDB's format that the file names.
    pub format_version: Option<String>,
    /// The version of SQLite that reads it here.
    pub sqlite_version: String,
    /// See [`Database::data_version`].
    pub data_version: u64,
}

impl Stats {
    /// The size of the database.
    pub fn size_bytes(&self) -> u64 {
        self.pages * u64::from(self.page_size_bytes)
    }

    /// How much of it holds nothing.
    pub fn free_bytes(&self) -> u64 {
        self.free_pages * u64::from(self.page_size_bytes)
    }
}

impl Database {
    /// Figures of the file. Reads no more than a page or two of it.
    ///
    /// # Errors
    /// What reading may report.
    pub fn stats(&self) -> Result<Stats> {
        let (page_size_bytes, pages, free_pages) = self.pages()?;
        let (log_frames, log_frames_copied) = self.log_frames()?.unzip();
        Ok(Stats {
            page_size_bytes,
            pages,
            free_pages,
            log_frames,
            log_frames_copied,
            journal: self.journal(),
            format_version: self.format_version()?,
            sqlite_version: rusqlite::version().to_owned(),
            data_version: self.data_version()?,
        })
    }

    /// A number that has grown whenever anybody, through this handle or
    /// elsewhere, has committed something since the last call. It may also
    /// grow though no value changed (a lock was taken, the log started over).
    ///
    /// It belongs to this handle: another one's, or the one of a later
    /// opening, can't be compared with it. What an open transaction of this
    /// handle has written counts when it commits.
    ///
    /// # Errors
    /// What reading may report.
    pub fn data_version(&self) -> Result<u64> {
        // SQLite's own number leaves out this connection's commits.
        let of_others: i64 = self.read(|connection| {
            Ok(connection
                .prepare_cached("PRAGMA data_version")?
                .query_row([], |row| row.get(0))?)
        })?;
        Ok(of_others
            .cast_unsigned()
            .wrapping_add(self.inner.commits.get()))
    }

    /// Bytes of a page, pages, free pages; of one moment, as it is one statement.
    pub(crate) fn pages(&self) -> Result<(u32, u64, u64)> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT page_size, page_count, freelist_count
                     FROM pragma_page_size, pragma_page_count, pragma_freelist_count",
                )?
                .query_row([], |row| {
                    let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
                    Ok((row.get(0)?, number(1)?, number(2)?))
                })?)
        })
    }

    /// Frames in the log, and how many of them the database file has.
    fn log_frames(&self) -> Result<Option<(u64, u64)>> {
        // SQLite refuses even to look while this connection reads or writes.
        if self.inner.in_transaction.get() {
            return Ok(None);
        }
        let (frames, copied): (i64, i64) = self.read(|connection| {
            Ok(connection
                .prepare_cached("PRAGMA wal_checkpoint(NOOP)")?
                .query_row([], |row| Ok((row.get(1)?, row.get(2)?)))?)
        })?;
        // -1 without a log.
        Ok(u64::try_from(frames).ok().zip(u64::try_from(copied).ok()))
    }
}
