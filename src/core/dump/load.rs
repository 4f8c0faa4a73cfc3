//! Putting a dump's items into a manager.
//!
//! What must stay true: reading the text changes nothing in the database, and a
//! batch is forgotten only once it is in; so an error of a batch (locked, busy)
//! loses nothing, and the call that reported it may be repeated.

use super::member;
use super::scan::{Scanner, Token};
use super::split::{Members, Receiver, Shape, Splitter};
use crate::cursor::PAGE_BYTES;
use crate::error::{Error, Outcome, Result};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;

/// The most that one [`Loader::write`] takes.
pub const MAX_DUMP_CHUNK_BYTES: usize = 1 << 20;

/// What goes in at a time: others wait while it is written.
const BATCH_BYTES: usize = PAGE_BYTES;
const BATCH_ITEMS: usize = 1024;

/// A dump that is being loaded into a manager, from its `loader` method.
///
/// The items go in in batches, each one transaction and, like any write of the
/// handle that the loader is from, under its lock if it holds it; inside a
/// transaction they are a part of that. Dropping a loader leaves the batches
/// that are in: whoever wants all or nothing loads inside a transaction.
///
/// Spaces, the order of members and unknown members don't matter, nor does the
/// name that the dump was made of, nor the `count` in it.
#[derive(Debug)]
pub struct Loader {
    splitter: Splitter,
    loading: Loading,
    state: State,
}

#[derive(Debug)]
enum State {
    Open,
    /// The text can't be loaded; every call says so.
    Failed(Error),
    Finished,
}

#[derive(Debug)]
struct Loading {
    sink: Box<dyn Sink>,
    /// Whether the metadata came, and were right.
    checked: bool,
    items: u64,
}

/// Where items wait until they are written.
pub(super) trait Sink: Debug {
    /// The dump's type.
    fn kind(&self) -> &'static str;

    /// Takes an item.
    fn take(&mut self, members: Members) -> Result<()>;

    /// The stream of the next item begins, if the shape has one.
    fn stream_begins(&mut self) -> Result<()> {
        Ok(())
    }

    /// A part of it.
    fn stream(&mut self, _text: &str) -> Result<()> {
        Ok(())
    }

    /// How many bytes wait, about.
    fn waiting_bytes(&self) -> usize;

    fn is_empty(&self) -> bool;

    /// Writes a batch; on an error it waits on.
    fn flush(&mut self) -> Result<()>;
}

impl Loader {
    pub(super) fn new(shape: Shape, sink: impl Sink + 'static) -> Self {
        Self {
            splitter: Splitter::new(shape),
            loading: Loading {
                sink: Box::new(sink),
                checked: false,
                items: 0,
            },
            state: State::Open,
        }
    }

    /// A loader whose items are written by `target`.
    pub(super) fn of<T: Target + 'static>(target: T) -> Self {
        let batch = Batch {
            target,
            items: VecDeque::new(),
            sizes: VecDeque::new(),
            bytes: 0,
        };
        Self::new(T::SHAPE, batch)
    }

    /// Takes the next piece of the dump's text, cut anywhere, at most
    /// [`MAX_DUMP_CHUNK_BYTES`]. What has gathered to a batch before it is
    /// written first: that waits for locks as every write does.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::LockLost`], [`Error::Busy`] and what else
    /// writing may report: nothing of the chunk was taken, nothing is lost,
    /// and the call may be repeated, unless it says that its outcome is unknown:
    /// then the last batch may be there. [`Error::InvalidJson`] and
    /// [`Error::InvalidArgument`] when the text is no dump of this manager, or
    /// an item can't be stored: the loader is of no more use, every later call
    /// reports the same, and what was read since the last batch isn't written.
    pub fn write(&mut self, chunk: &str) -> Result<()> {
        self.check_open()?;
        if chunk.len() > MAX_DUMP_CHUNK_BYTES {
            return Err(Error::InvalidArgument(format!(
                "a chunk has at most {MAX_DUMP_CHUNK_BYTES} bytes; this one has {}",
                chunk.len()
            )));
        }
        while self.loading.sink.waiting_bytes() >= BATCH_BYTES {
            self.flush()?;
        }
        let split = self.splitter.split(chunk, &mut self.loading);
        self.keep_failure(split)
    }

    /// The text has ended: writes what is left and returns the number of items
    /// in the dump.
    ///
    /// # Errors
    /// As [`Loader::write`]; also when the text isn't whole, or has no metadata.
    pub fn finish(&mut self) -> Result<u64> {
        self.check_open()?;
        let finished = self.splitter.finish().and_then(|()| {
            if self.loading.checked {
                Ok(())
            } else {
                Err(Error::InvalidArgument(
                    "a dump has a member \"metadata\", this text has none".into(),
                ))
            }
        });
        self.keep_failure(finished)?;
        while !self.loading.sink.is_empty() {
            self.flush()?;
        }
        self.state = State::Finished;
        Ok(self.loading.items)
    }

    fn flush(&mut self) -> Result<()> {
        match self.loading.sink.flush() {
            // Written again, a batch that is there already would be there twice.
            Err(error) if error.outcome() == Outcome::Unknown => self.keep_failure(Err(error)),
            other => other,
        }
    }

    /// Loads the whole text of `reader`.
    pub(super) fn load(mut self, mut reader: impl io::Read) -> Result<u64> {
        let mut buffer = vec![0; 64 * 1024];
        // What is left of a character that a read cut through.
        let mut begun = 0;
        loop {
            let read = match reader.read(&mut buffer[begun..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Error::Failed {
                        message: format!("reading the dump: {error}"),
                        outcome: Outcome::NotApplied,
                    });
                }
            };
            let filled = begun + read;
            let whole = match std::str::from_utf8(&buffer[..filled]) {
                Ok(_) => filled,
                Err(error) if error.error_len().is_none() && read > 0 => error.valid_up_to(),
                Err(_) => return Err(Error::InvalidJson("the dump isn't UTF-8".into())),
            };
            self.write(std::str::from_utf8(&buffer[..whole]).unwrap_or_default())?;
            if read == 0 {
                return self.finish();
            }
            buffer.copy_within(whole..filled, 0);
            begun = filled - whole;
        }
    }

    fn keep_failure(&mut self, result: Result<()>) -> Result<()> {
        if let Err(error) = &result {
            self.state = State::Failed(error.clone());
        }
        result
    }

    fn check_open(&self) -> Result<()> {
        match &self.state {
            State::Open => Ok(()),
            State::Failed(error) => Err(error.clone()),
            State::Finished => Err(Error::InvalidArgument(
                "this loader has finished its dump already".into(),
            )),
        }
    }
}

impl Loading {
    /// Says which item an error is about.
    fn in_item(&self, error: Error) -> Error {
        let place = |problem: String| format!("item {}: {problem}", self.items);
        match error {
            Error::InvalidArgument(problem) => Error::InvalidArgument(place(problem)),
            Error::InvalidJson(problem) => Error::InvalidJson(place(problem)),
            other => other,
        }
    }
}

impl Receiver for Loading {
    fn metadata(&mut self, text: &str) -> Result<()> {
        let (kind, expected) = (kind_of(text)?, self.sink.kind());
        if kind != expected {
            return Err(Error::InvalidArgument(format!(
                "this is the dump of a {kind}, not of a {expected}"
            )));
        }
        self.checked = true;
        Ok(())
    }

    fn item(&mut self, members: Members) -> Result<()> {
        self.sink
            .take(members)
            .map_err(|error| self.in_item(error))?;
        self.items += 1;
        Ok(())
    }

    fn stream_begins(&mut self) -> Result<()> {
        self.sink
            .stream_begins()
            .map_err(|error| self.in_item(error))
    }

    fn stream(&mut self, text: &str) -> Result<()> {
        self.sink.stream(text).map_err(|error| self.in_item(error))
    }
}

/// The member `type` of a dump's metadata, whose text is valid JSON without spaces.
fn kind_of(metadata: &str) -> Result<String> {
    let mut scanner = Scanner::new(usize::MAX);
    let (mut at, mut text, mut is_type, mut kind) = (0, String::new(), false, None);
    while let Some(token) = scanner.next(metadata, &mut at)? {
        match token {
            Token::Quote { .. } => text.clear(),
            Token::Text(part) => text.push_str(part),
            Token::Unquote { key: true } if scanner.depth() == 1 => {
                is_type = member::unescape(&text).as_deref() == Some("type");
            }
            // Not of an object in it, whose keys are deeper.
            Token::Unquote { key: false } if scanner.depth() == 1 && is_type => {
                kind = member::unescape(&text);
            }
            _ => {}
        }
    }
    match kind {
        Some(kind) if metadata.starts_with('{') => Ok(kind),
        _ => Err(Error::InvalidArgument(
            "a dump's metadata are an object with its \"type\"".into(),
        )),
    }
}

/// What makes items of a manager's dump into its rows.
pub(super) trait Target: Debug {
    type Item: Debug;

    const KIND: &'static str;
    const SHAPE: Shape;

    /// The item with these members, and about how many bytes it takes.
    fn item(&self, members: Members) -> Result<(Self::Item, usize)>;

    /// Writes items, all in one transaction.
    fn add(&self, items: &[Self::Item]) -> Result<()>;
}

/// Items that wait to be written together.
#[derive(Debug)]
struct Batch<T: Target> {
    target: T,
    items: VecDeque<T::Item>,
    sizes: VecDeque<usize>,
    bytes: usize,
}

/// What an item takes besides its texts.
const ITEM_OVERHEAD_BYTES: usize = 64;

impl<T: Target> Sink for Batch<T> {
    fn kind(&self) -> &'static str {
        T::KIND
    }

    fn take(&mut self, members: Members) -> Result<()> {
        let (item, size) = self.target.item(members)?;
        let size = size + ITEM_OVERHEAD_BYTES;
        self.items.push_back(item);
        self.sizes.push_back(size);
        self.bytes += size;
        Ok(())
    }

    fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn flush(&mut self) -> Result<()> {
        let count = batch_length(self.sizes.iter().copied());
        self.target.add(&self.items.make_contiguous()[..count])?;
        self.items.drain(..count);
        self.bytes -= self.sizes.drain(..count).sum::<usize>();
        Ok(())
    }
}

/// How many of the first items of these sizes go in together; at least one.
pub(super) fn batch_length(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fitting = sizes.take(BATCH_ITEMS).take_while(|size| {
        let fits = bytes < BATCH_BYTES;
        bytes += size;
        fits
    });
    fitting.count()
}

/// The member `index` of an item, which it must have.
pub(super) fn required(members: &mut Members, index: usize, name: &str) -> Result<String> {
    members[index]
        .take()
        .ok_or_else(|| Error::InvalidArgument(format!("it has no member {name:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    /// Says of every batch that it may have been written.
    #[derive(Debug)]
    struct Uncertain(Rc<Cell<u32>>);

    impl Target for Uncertain {
        type Item = ();

        const KIND: &'static str = "List";
        const SHAPE: Shape = Shape::Value;

        fn item(&self, _: Members) -> Result<((), usize)> {
            Ok(((), 1))
        }

        fn add(&self, _: &[()]) -> Result<()> {
            self.0.set(self.0.get() + 1);
            Err(Error::Failed {
                message: "at commit".into(),
                outcome: Outcome::Unknown,
            })
        }
    }

    // Found in review: it was written again, and a list had its items twice.
    #[test]
    fn a_batch_that_may_be_there_is_not_written_again() {
        let tries = Rc::new(Cell::new(0));
        let mut loader = Loader::of(Uncertain(Rc::clone(&tries)));
        loader
            .write(r#"{"metadata": {"type": "List"}, "items": [1, 2]}"#)
            .unwrap();
        for _ in 0..2 {
            assert_eq!(loader.finish().unwrap_err().outcome(), Outcome::Unknown);
        }
        assert_eq!(tries.get(), 1);
    }
}
