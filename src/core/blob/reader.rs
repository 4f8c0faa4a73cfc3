//! Reading a blob in pieces.
//!
//! What must stay true: everything a reader returns is of one version, that at
//! its opening. Between calls it holds no statement and no snapshot.
//!
//! SQLite finds an offset by walking the blob's pages from the first, so reading
//! in pieces costs the square of the size, divided by the piece. Hence reading
//! ahead: more with each piece that follows the one before.

use super::{Blob, row};
use crate::cursor::check_max;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::manager::Manager;
use std::io;
use std::rc::Rc;

/// How much is read at a time: in the beginning and after a jump, and at most.
const FIRST_BYTES: usize = 128 << 10;
const AHEAD_BYTES: usize = 8 << 20;

/// One version of a blob, from [`Blob::reader`]. Also [`io::Read`] and [`io::Seek`].
#[derive(Debug)]
pub struct BlobReader {
    database: Database,
    manager: Rc<Manager>,
    key: String,
    versioned: bool,
    version: row::Version,
    /// Opened inside a transaction: how many had been rolled back before. If
    /// this one is, its version number will be another blob's.
    rollbacks: Option<u64>,
    size: u64,
    /// What was read ahead, and where it begins.
    ahead: Vec<u8>,
    ahead_at: u64,
    /// Where the last reading of the database ended, and how much it was to read.
    end: u64,
    window: usize,
    /// For [`io::Read`].
    position: u64,
}

impl BlobReader {
    pub(super) fn open(blob: &Blob, key: &str) -> Result<Option<Self>> {
        let place = row::Place {
            store: blob.name(),
            key,
            versioned: blob.versioned,
        };
        let found = blob
            .database
            .read(|connection| row::find(connection, place))?;
        Ok(found.map(|(version, size)| Self {
            database: blob.database.clone(),
            manager: Rc::clone(&blob.manager),
            key: key.to_owned(),
            versioned: blob.versioned,
            version,
            rollbacks: blob
                .database
                .inner
                .in_transaction
                .get()
                .then(|| blob.database.inner.rollbacks.get()),
            size,
            ahead: Vec::new(),
            ahead_at: 0,
            end: 0,
            window: FIRST_BYTES,
            position: 0,
        }))
    }

    /// The number of bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes from `offset` on: at most `max`, perhaps fewer, at least one
    /// unless `offset` is at the end or beyond it. Cheap where the last call
    /// ended; a jump takes time in proportion to the offset.
    ///
    /// # Errors
    /// [`Error::Changed`](crate::Error::Changed) when the blob was replaced or
    /// removed since the reader was opened. `InvalidArgument` when `max` is 0.
    /// Otherwise what reading may report.
    pub fn read_at(&mut self, offset: u64, max: u32) -> Result<Vec<u8>> {
        check_max(max)?;
        let max = max as usize;
        if self.ahead_of(offset).is_empty() {
            self.advance(offset);
            if max >= self.window {
                // Nothing to gain from a copy.
                let mut data = Vec::new();
                self.fetch(offset, max.min(AHEAD_BYTES), &mut data)?;
                return Ok(data);
            }
            self.fill(offset)?;
        }
        let ahead = self.ahead_of(offset);
        Ok(ahead[..ahead.len().min(max)].to_vec())
    }

    /// What was read ahead from `offset` on.
    fn ahead_of(&self, offset: u64) -> &[u8] {
        offset
            .checked_sub(self.ahead_at)
            .and_then(|skip| self.ahead.get(usize::try_from(skip).ok()?..))
            .unwrap_or_default()
    }

    /// How much to read at `offset`.
    fn advance(&mut self, offset: u64) {
        self.window = if offset == self.end {
            AHEAD_BYTES.min(self.window * 2)
        } else {
            FIRST_BYTES
        };
    }

    fn fill(&mut self, offset: u64) -> Result<()> {
        let mut ahead = std::mem::take(&mut self.ahead);
        // Should it fail, nothing is ahead.
        self.fetch(offset, self.window, &mut ahead)?;
        self.ahead = ahead;
        self.ahead_at = offset;
        Ok(())
    }

    fn fetch(&mut self, offset: u64, length: usize, data: &mut Vec<u8>) -> Result<()> {
        if offset >= self.size {
            data.clear();
            return Ok(());
        }
        if self
            .rollbacks
            .is_some_and(|seen| seen != self.database.inner.rollbacks.get())
        {
            return Err(Error::Changed);
        }
        self.database.read(|connection| {
            let place = row::Place {
                store: &self.manager.name,
                key: &self.key,
                versioned: self.versioned,
            };
            row::read(connection, place, Some(self.version), offset, length, data)
        })?;
        self.end = offset + data.len() as u64;
        Ok(())
    }
}

impl io::Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ahead_of(self.position).is_empty() && !buffer.is_empty() {
            self.advance(self.position);
            self.fill(self.position).map_err(io::Error::other)?;
        }
        let ahead = self.ahead_of(self.position);
        let count = ahead.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ahead[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl io::Seek for BlobReader {
    /// Beyond the end there is nothing to read, as in a file.
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let position = match to {
            io::SeekFrom::Start(offset) => Some(offset),
            io::SeekFrom::Current(by) => self.position.checked_add_signed(by),
            io::SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
