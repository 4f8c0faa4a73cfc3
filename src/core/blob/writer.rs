//! Writing a blob in pieces.
//!
//! What must stay true: nobody sees anything of the blob before `finish`, which
//! is one transaction; a writer that ends without it leaves nothing (see
//! [`parts`](super::parts)); an error of `write` takes nothing of its chunk,
//! an error of `finish` changes nothing, so both may be repeated.
//!
//! What fits into one piece is stored without being written twice.

use super::{Blob, parts, row, run_write};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::json::python_text;
use crate::manager::Manager;
use crate::options::OpenMode;
use crate::owner::Owner;
use crate::write::Effect;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// The most that one [`BlobWriter::write`] takes.
pub const MAX_CHUNK_BYTES: usize = 4 << 20;

/// How large a piece becomes before it is written to the database. Larger ones
/// take more memory and no less time.
const PART_BYTES: usize = 1 << 20;

/// A blob that is being written, from [`Blob::writer`]. Dropping it leaves
/// everything as it was. Also [`io::Write`].
#[derive(Debug)]
pub struct BlobWriter {
    database: Database,
    manager: Rc<Manager>,
    owner: Owner,
    key: String,
    upload: String,
    /// How many pieces are in the database, and their bytes.
    parts: u32,
    parts_bytes: u64,
    /// What comes after them.
    rest: Vec<u8>,
    /// When the pieces in the database were given their time to live.
    renewed_at: Duration,
    finished: bool,
}

impl BlobWriter {
    pub(super) fn open(blob: &Blob, key: &str) -> Result<Self> {
        let database = &blob.database;
        if database.inner.options.mode == OpenMode::ReadOnly {
            return Err(Error::ReadOnly);
        }
        parts::sweep(database)?;
        Ok(Self {
            database: database.clone(),
            manager: Rc::clone(&blob.manager),
            owner: blob.owner.share(),
            key: key.to_owned(),
            upload: database.waiter_ids().next(),
            parts: 0,
            parts_bytes: 0,
            rest: Vec::new(),
            renewed_at: Duration::ZERO,
            finished: false,
        })
    }

    /// The number of bytes written so far.
    pub fn size(&self) -> u64 {
        self.parts_bytes + self.rest.len() as u64
    }

    /// Adds `chunk`, at most [`MAX_CHUNK_BYTES`]. Blocks for SQLite's write
    /// lock, up to [`Options::busy_timeout`](crate::Options::busy_timeout), about once
    /// per MiB.
    ///
    /// # Errors
    /// Nothing of `chunk` was taken, and the call may be repeated:
    /// [`Error::InvalidArgument`] (the chunk, or the blob with it, is too
    /// large), [`Error::Full`], [`Error::Busy`], and what writing may report.
    /// [`Error::Changed`]: nobody had called for an hour.
    pub fn write(&mut self, chunk: &[u8]) -> Result<()> {
        self.check_open()?;
        if chunk.len() > MAX_CHUNK_BYTES {
            return Err(Error::InvalidArgument(format!(
                "a chunk has at most {MAX_CHUNK_BYTES} bytes; this one has {}",
                chunk.len()
            )));
        }
        let size = self.size() + chunk.len() as u64;
        row::check_size(&self.manager.name, &self.key, size, None)?;
        if !self.rest.is_empty() && self.rest.len() + chunk.len() > PART_BYTES {
            self.flush_rest()?;
        } else {
            self.renew_if_due()?;
        }
        self.rest
            .try_reserve(chunk.len())
            .map_err(|_| Error::OutOfMemory)?;
        self.rest.extend_from_slice(chunk);
        Ok(())
    }

    /// Stores what was written under the key, all at once, replacing what was
    /// there. It is a write of the handle that the writer is from, under its
    /// lock if it holds it. Blocks others' writes for the time that it takes
    /// to write the data once more. Inside a transaction, replacing a blob by
    /// one of the same size takes as much memory as it has bytes: SQLite keeps
    /// what it overwrites, to be able to undo this call alone.
    ///
    /// # Errors
    /// As [`Blob::put`]; nothing has changed and it may be tried again, unless the
    /// [`outcome`](Error::outcome) is unknown or it is [`Error::Changed`]: the
    /// pieces are gone. Any call after it is [`Error::InvalidArgument`].
    pub fn finish(&mut self, metadata: Option<&str>) -> Result<()> {
        let metadata = metadata.map(python_text).transpose()?;
        self.store(metadata.as_deref())
    }

    /// The same with metadata that are Python's JSON text, and another key than
    /// the writer was opened for.
    pub(crate) fn finish_as(&mut self, key: &str, metadata: Option<&str>) -> Result<()> {
        key.clone_into(&mut self.key);
        self.store(metadata)
    }

    fn store(&mut self, metadata: Option<&str>) -> Result<()> {
        self.check_open()?;
        let (store, key) = (self.manager.name.as_str(), self.key.as_str());
        row::check_size(store, key, self.size(), metadata)?;
        run_write(&self.database, &self.manager, &self.owner, |connection| {
            if self.parts == 0 {
                row::put(connection, store, key, &self.rest, metadata)?;
            } else {
                self.assemble(connection, metadata)?;
            }
            Ok(Effect::Changed(()))
        })?;
        self.finished = true;
        if self.parts > 0 && self.database.inner.in_transaction.get() {
            // If that is rolled back, the pieces are there again.
            let mut dropped = self.database.inner.dropped_uploads.borrow_mut();
            dropped.push(self.upload.clone());
        }
        self.rest = Vec::new();
        Ok(())
    }

    fn assemble(&self, connection: &rusqlite::Connection, metadata: Option<&str>) -> Result<()> {
        parts::check(connection, &self.upload, self.parts, self.parts_bytes)?;
        let (store, key) = (self.manager.name.as_str(), self.key.as_str());
        row::put_in_pieces(connection, store, key, self.size(), metadata, |blob| {
            let mut offset = 0;
            parts::each(connection, &self.upload, |data| {
                blob.write_at(data, offset)?;
                offset += data.len();
                Ok(())
            })?;
            Ok(blob.write_at(&self.rest, offset)?)
        })?;
        parts::remove(connection, &self.upload)
    }

    /// Writes what has been gathered to the database.
    fn flush_rest(&mut self) -> Result<()> {
        parts::add(&self.database, &self.upload, self.parts, &self.rest)?;
        self.parts += 1;
        self.parts_bytes += self.rest.len() as u64;
        self.rest.clear();
        if self.parts == 1 {
            self.renewed_at = self.database.inner.runtime.monotonic();
        }
        self.renew_if_due()
    }

    fn renew_if_due(&mut self) -> Result<()> {
        if self.parts == 0 {
            return Ok(());
        }
        let now = self.database.inner.runtime.monotonic();
        if now.saturating_sub(self.renewed_at) > parts::UPLOAD_TTL / 4 {
            parts::renew(&self.database, &self.upload)?;
            self.renewed_at = now;
        }
        Ok(())
    }

    fn check_open(&self) -> Result<()> {
        if self.finished {
            return Err(Error::InvalidArgument(
                "this writer has finished its blob already".into(),
            ));
        }
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if self.parts > 0 && !self.finished {
            let upload = std::mem::take(&mut self.upload);
            parts::give_up(&self.database, upload, self.parts);
        }
    }
}

impl io::Write for BlobWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let chunk = &data[..data.len().min(PART_BYTES)];
        Self::write(self, chunk).map_err(io::Error::other)?;
        Ok(chunk.len())
    }

    /// Nothing is to be seen before [`BlobWriter::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
