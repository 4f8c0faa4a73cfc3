//! Giving unused pages back.

use crate::database::Database;
use crate::error::{Error, Result};

impl Database {
    /// Rewrites the file without its unused pages, its tables in order.
    /// Returns by how many bytes the database became smaller.
    ///
    /// Blocks for the write lock up to [`Options::busy_timeout`](crate::Options::busy_timeout),
    /// and holds it while it works; with a write-ahead log others can read
    /// meanwhile. The file itself shrinks with a checkpoint, which follows at
    /// once but for readers that still need the log. It needs room for a
    /// second copy: natively in a temporary file, in the component in its
    /// memory.
    ///
    /// # Errors
    /// [`Error::InTransaction`], [`Error::Busy`], [`Error::ReadOnly`],
    /// [`Error::Full`], [`Error::OutOfMemory`]: the contents are the same after
    /// each.
    pub fn vacuum(&self) -> Result<u64> {
        if self.inner.in_transaction.get() {
            return Err(Error::InTransaction);
        }
        let size = || {
            self.pages()
                .map(|(bytes, pages, _)| u64::from(bytes) * pages)
        };
        let before = size()?;
        let connection = &self.inner.connection;
        // Temporary tables are in memory otherwise, where the whole database
        // would have to fit. The component knows no temporary files, and its
        // SQLite ignores this.
        connection.execute_batch("PRAGMA temp_store=FILE")?;
        let vacuumed = connection.execute_batch("VACUUM");
        connection.execute_batch("PRAGMA temp_store=MEMORY")?;
        vacuumed?;
        self.count_commit();
        // Readers may be in its way: then a later one shortens the file.
        let _ = self.checkpoint();
        Ok(before.saturating_sub(size()?))
    }
}
