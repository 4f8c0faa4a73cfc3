//! A manager's contents as JSON text, and back: the reference's `dump` format.
//!
//! ```text
//! print.rs  a stored value, indented        date.rs   Python's isoformat
//! scan.rs   JSON token by token             split.rs  a dump's text into items
//! load.rs   items into a manager            member.rs an item's strings and numbers
//! dict.rs list.rs queue.rs collection.rs blob.rs log.rs   what is one manager's own
//! ```
//!
//! What must stay true:
//! - A dump is, byte for byte, what Python's `json.dump(manager.dump(), file,
//!   indent=2)` writes of the same contents, and loses nothing that is stored.
//! - Memory is bounded both ways, by one value (a blob: by a piece of it) and a
//!   page or batch. Between two calls no statement or transaction is open.
//! - A dump that comes to its end has as many items as its metadata say.

mod blob;
mod collection;
mod date;
mod dict;
mod list;
mod load;
mod log;
mod member;
mod print;
mod queue;
mod scan;
mod split;

pub use load::{Loader, MAX_DUMP_CHUNK_BYTES};

use crate::cursor::check_max;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::json::{python_float_text, python_string};
use print::Printer;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;

/// The most that one [`Dump::next_chunk`] returns.
const MAX_CHUNK_BYTES: u32 = 1 << 20;

/// How deep an item is, and a member of it.
const ITEM_LEVEL: usize = 2;
const MEMBER_LEVEL: usize = 3;

/// A manager's contents as JSON text, from its `dump` method, in pieces. Also
/// [`io::Read`], and an iterator over pieces.
///
/// The items are read page by page, each as the database is then. Inside a
/// transaction, or while the manager is locked, that is one consistent view; so
/// it is for what fits into a page: 256 items of about 256 KiB together, and of
/// blobs that number of keys. Otherwise, when the number
/// of items that came isn't the one that the metadata said, the dump ends with
/// [`Error::Changed`].
#[derive(Debug)]
pub struct Dump {
    source: Box<dyn Source>,
    extent: Extent,
    came: u64,
    /// What is to come before the next item.
    parts: VecDeque<Part>,
    ended: bool,
    /// Whether the iterator has given an error.
    failed: bool,
    /// What was made and not yet taken, and how much of it is taken.
    out: String,
    taken: usize,
}

/// What was known of the items when the dump began.
#[derive(Clone, Copy, Debug)]
struct Extent {
    count: u64,
    /// Whether all of them were read then: what was added since isn't asked for.
    whole: bool,
}

impl Extent {
    /// `ahead` items of `count` were read.
    fn new(count: u64, ahead: usize) -> Self {
        Self {
            count,
            whole: ahead as u64 == count,
        }
    }
}

/// Gives a manager's items.
trait Source: Debug {
    /// The next one; none at the end. After an error it may be asked again.
    fn next(&mut self) -> Result<Option<Vec<Part>>>;
}

/// A part of the text.
#[derive(Debug)]
enum Part {
    Text(String),
    Json(Printer),
    /// A blob's data, in quotes.
    Data(blob::Encoder),
}

impl Part {
    /// A stored value of an item; `what` tells whose.
    fn stored(text: String, what: String) -> Self {
        Self::Json(Printer::new(text, MEMBER_LEVEL, what))
    }

    fn string(text: &str) -> Self {
        let mut quoted = String::with_capacity(text.len() + 2);
        python_string(text, &mut quoted);
        Self::Text(quoted)
    }

    fn float(value: f64) -> Self {
        Self::Text(python_float_text(value))
    }
}

/// An item that is an object.
fn object<const N: usize>(members: [(&str, Part); N]) -> Vec<Part> {
    let mut parts = Vec::with_capacity(2 * N + 1);
    for (index, (name, part)) in members.into_iter().enumerate() {
        let before = if index == 0 { "{" } else { "," };
        parts.push(Part::Text(format!("{before}\n      \"{name}\": ")));
        parts.push(part);
    }
    parts.push(Part::Text("\n    }".into()));
    parts
}

impl Dump {
    /// `more` is what the metadata say besides.
    fn new(
        database: &Database,
        kind: &str,
        name: &str,
        extent: Extent,
        more: &str,
        source: impl Source + 'static,
    ) -> Self {
        let date = date::isoformat(database.inner.runtime.unix_seconds());
        let mut out = format!("{{\n  \"metadata\": {{\n    \"type\": \"{kind}\",\n    \"name\": ");
        python_string(name, &mut out);
        out.push_str(&format!(
            ",\n    \"count\": {},\n    \"dump_date\": \"{date}\"{more}\n  }},\n  \"items\": [",
            extent.count
        ));
        Self {
            source: Box::new(source),
            extent,
            came: 0,
            parts: VecDeque::new(),
            ended: false,
            failed: false,
            out,
            taken: 0,
        }
    }

    /// The next piece of the text: at most `max` bytes (but one character),
    /// perhaps fewer, none at the end.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for 0. [`Error::Changed`], see [`Dump`].
    /// [`Error::Corrupt`] when a value isn't JSON, which it names. Otherwise
    /// what reading may report; the call may be repeated, nothing is skipped.
    pub fn next_chunk(&mut self, max: u32) -> Result<String> {
        check_max(max)?;
        let piece = self.make(max as usize)?.to_owned();
        self.taken += piece.len();
        Ok(piece)
    }

    /// At most `max` bytes that weren't taken yet.
    fn make(&mut self, max: usize) -> Result<&str> {
        let max = max.min(MAX_CHUNK_BYTES as usize);
        // Only `io::Read` cuts through a character; the rest of that is no text.
        self.taken = self.out.ceil_char_boundary(self.taken);
        if self.taken > self.out.len() / 2 {
            self.out.drain(..self.taken);
            self.taken = 0;
        }
        let filled = self.fill(self.taken + max);
        if self.out.len() == self.taken {
            filled?;
        }
        let ready = &self.out[self.taken..];
        Ok(match ready.floor_char_boundary(max) {
            0 => &ready[..ready.ceil_char_boundary(1)],
            end => &ready[..end],
        })
    }

    fn fill(&mut self, limit: usize) -> Result<()> {
        while self.out.len() < limit {
            match self.parts.front_mut() {
                Some(Part::Text(text)) => self.out.push_str(text),
                Some(Part::Json(printer)) => {
                    if !printer.print(&mut self.out, limit)? {
                        return Ok(());
                    }
                }
                Some(Part::Data(encoder)) => {
                    if !encoder.encode(&mut self.out)? {
                        continue;
                    }
                }
                None if self.ended => return Ok(()),
                None => {
                    self.next_item()?;
                    continue;
                }
            }
            self.parts.pop_front();
        }
        Ok(())
    }

    fn next_item(&mut self) -> Result<()> {
        let whole = self.extent.whole && self.came == self.extent.count;
        let item = if whole { None } else { self.source.next()? };
        match item {
            Some(parts) => {
                let before = if self.came == 0 { "\n    " } else { ",\n    " };
                self.out.push_str(before);
                self.parts.extend(parts);
                self.came += 1;
            }
            None if self.came != self.extent.count => return Err(Error::Changed),
            None => {
                let end = if self.came == 0 { "]\n}" } else { "\n  ]\n}" };
                self.out.push_str(end);
                self.ended = true;
            }
        }
        Ok(())
    }
}

/// An error is the last thing that it gives. To try again, call [`Dump::next_chunk`].
impl Iterator for Dump {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.next_chunk(64 * 1024) {
            Ok(piece) if piece.is_empty() => None,
            Ok(piece) => Some(Ok(piece)),
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

impl io::Read for Dump {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // Bytes, which may end anywhere.
        if self.taken == self.out.len() {
            self.make(64 * 1024).map_err(io::Error::other)?;
        }
        let ready = &self.out.as_bytes()[self.taken..];
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.taken += count;
        Ok(count)
    }
}

/// Gives a manager `load_from`.
macro_rules! load_from {
    ($type:ty) => {
        impl $type {
            /// Loads the dump that `reader` gives; returns how many items it had.
            ///
            /// # Errors
            /// As [`Loader::write`](crate::Loader::write); [`Error::Failed`](crate::Error::Failed)
            /// when `reader` fails. What was loaded before stays, except inside
            /// a transaction that is then rolled back.
            pub fn load_from(&self, reader: impl std::io::Read) -> crate::Result<u64> {
                self.loader()?.load(reader)
            }
        }
    };
}
use load_from;
