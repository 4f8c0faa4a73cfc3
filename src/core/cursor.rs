//! Reading large contents page by page, in bounded memory.
//!
//! What must stay true: no page holds more than [`PAGE_BYTES`] plus one row,
//! however many rows were asked for, and no statement stays open between pages,
//! so that a forgotten cursor can't hold back the write-ahead log.

use crate::error::{Error, Result};
use rusqlite::{Row, Statement};

/// A page ends after the row with which it reaches this size.
pub(crate) const PAGE_BYTES: usize = 256 * 1024;

/// How many rows the iterators ask for at once.
pub(crate) const PAGE_ROWS: u32 = 256;

pub(crate) fn check_max(max: u32) -> Result<()> {
    if max == 0 {
        return Err(Error::InvalidArgument("a page has at least one row".into()));
    }
    Ok(())
}

/// Reads the rows of one page. `decode` says how many bytes a row takes.
pub(crate) fn read_page<T>(
    statement: &mut Statement<'_>,
    parameters: impl rusqlite::Params,
    max: u32,
    mut decode: impl FnMut(&Row<'_>) -> rusqlite::Result<(T, usize)>,
) -> Result<Vec<T>> {
    let mut rows = statement.query(parameters)?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (value, size) = decode(row)?;
        page.push(value);
        bytes += size;
        if bytes >= PAGE_BYTES || page.len() >= max as usize {
            break;
        }
    }
    Ok(page)
}

/// Makes an iterator over rows of something with `next_page`.
macro_rules! pages_iterator {
    ($type:ty, $item:ty) => {
        impl $type {
            /// Sees to it that what the iterator gives next is in memory; returns
            /// how much is.
            pub(crate) fn read_ahead(&mut self) -> crate::Result<usize> {
                if self.buffer.len() == 0 {
                    self.buffer = self.next_page(crate::cursor::PAGE_ROWS)?.into_iter();
                }
                Ok(self.buffer.len())
            }
        }

        impl Iterator for $type {
            type Item = crate::Result<$item>;

            fn next(&mut self) -> Option<Self::Item> {
                match self.read_ahead() {
                    Ok(_) => self.buffer.next().map(Ok),
                    Err(error) => Some(Err(error)),
                }
            }
        }
    };
}
pub(crate) use pages_iterator;
