//! Blobs: whole, in ranges, in pieces both ways; readers of what was replaced, and
//! writers whose pieces were rolled back.

use super::{Checked, Machine, Moment, Said, invalid};
use beaver_tests::{Blob, BlobReader, BlobWriter, Cursor, Error, Result, Store};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::rc::Rc;

pub(crate) struct Blobs;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Put(String, usize, bool),
    /// With metadata that aren't JSON.
    PutNothing(String),
    Get(String),
    Read(String, u64, u32),
    Size(String),
    Metadata(String),
    Contains(String),
    Delete(String),
    Len,
    Clear,
    /// Starts an iteration over the keys, or goes on with it.
    Keys,
    Next(u32),
    Reader(String),
    ReadOn(u64, u32),
    Writer(String),
    Write(usize),
    Finish(bool),
    /// Drops the writer.
    Leave,
}

#[derive(PartialEq)]
pub(crate) enum Answer {
    Done,
    Is(bool),
    Count(u64),
    Size(Option<u64>),
    Text(Option<String>),
    Keys(Vec<String>),
    Bytes(Option<Vec<u8>>),
    Content(Option<(Vec<u8>, Option<String>)>),
}

/// Without a million bytes.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |bytes: &[u8]| format!("{} bytes {:?}", bytes.len(), bytes.first());
        match self {
            Self::Done => write!(f, "Done"),
            Self::Is(is) => write!(f, "Is({is})"),
            Self::Count(count) => write!(f, "Count({count})"),
            Self::Size(size) => write!(f, "Size({size:?})"),
            Self::Text(text) => write!(f, "Text({text:?})"),
            Self::Keys(keys) => write!(f, "Keys({keys:?})"),
            Self::Bytes(bytes) => write!(f, "Bytes({:?})", bytes.as_deref().map(short)),
            Self::Content(content) => {
                let content = content.as_ref().map(|(data, text)| (short(data), text));
                write!(f, "Content({content:?})")
            }
        }
    }
}

#[derive(Clone)]
pub(crate) struct Held {
    data: Rc<[u8]>,
    metadata: Option<String>,
    /// The step that stored it.
    version: u64,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of step {}", self.data.len(), self.version)
    }
}

#[derive(Debug, Default)]
pub(crate) enum Iteration {
    #[default]
    Closed,
    Begun,
    After(String),
    Ended,
}

#[derive(Debug, Default)]
pub(crate) struct Place {
    keys: Iteration,
    reader: Option<Reader>,
    writer: Option<Writer>,
}

#[derive(Debug)]
struct Reader {
    key: String,
    held: Held,
    /// Opened in a transaction that may still be rolled back.
    is_inside: bool,
    /// It was: then the reader needn't work any more.
    was_undone: bool,
}

#[derive(Debug)]
struct Writer {
    key: String,
    data: Vec<u8>,
    has_finished: bool,
    /// Whether something was written in a transaction that is still open.
    is_inside: bool,
    /// It was rolled back: pieces may be missing.
    was_undone: bool,
}

pub(crate) struct Handle {
    blob: Blob,
    keys: Option<Cursor<String>>,
    reader: Option<BlobReader>,
    writer: Option<BlobWriter>,
}

/// Bytes that tell the step they are of, and where in it.
fn bytes(now: Moment, size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| (now.step as usize * 31 + at + at / 251) as u8)
        .collect()
}

fn metadata(now: Moment, with: bool) -> Option<String> {
    with.then(|| format!("{{\"step\": {}}}", now.step))
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![5 => "[ab]", 1 => prop::sample::select(vec![String::new(), "é/😀".to_owned()])]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 0..40_usize,
        2 => 4000..20_000_usize,
        // More than is read or written at a time.
        1 => Just(300_000_usize),
    ]
}

fn part(data: &[u8], offset: u64, length: u32) -> Vec<u8> {
    let from = usize::try_from(offset).unwrap().min(data.len());
    data[from..data.len().min(from + length as usize)].to_vec()
}

impl Machine for Blobs {
    type Op = Op;
    type Answer = Answer;
    type Contents = BTreeMap<String, Held>;
    type Handle = Handle;
    type Place = Place;

    fn op() -> BoxedStrategy<Op> {
        let offset = || prop_oneof![6 => 0..50_u64, 2 => 0..20_000_u64, 1 => 0..400_000_u64];
        let length = || prop_oneof![6 => 0..50_u32, 1 => Just(200_000_u32)];
        // Two of the large ones are more than a piece.
        let chunk = prop_oneof![3 => 0..50_usize, 2 => Just(700_000_usize)];
        prop_oneof![
            8 => (key(), size(), any::<bool>()).prop_map(|(key, size, with)| Op::Put(key, size, with)),
            1 => key().prop_map(Op::PutNothing),
            3 => key().prop_map(Op::Get),
            4 => (key(), offset(), length())
                .prop_map(|(key, offset, length)| Op::Read(key, offset, length)),
            1 => key().prop_map(Op::Size),
            2 => key().prop_map(Op::Metadata),
            1 => key().prop_map(Op::Contains),
            3 => key().prop_map(Op::Delete),
            1 => Just(Op::Len),
            1 => Just(Op::Clear),
            1 => Just(Op::Keys),
            2 => (0..3_u32).prop_map(Op::Next),
            4 => key().prop_map(Op::Reader),
            8 => (offset(), length()).prop_map(|(offset, max)| Op::ReadOn(offset, max)),
            3 => key().prop_map(Op::Writer),
            8 => chunk.prop_map(Op::Write),
            4 => any::<bool>().prop_map(Op::Finish),
            1 => Just(Op::Leave),
        ]
        .boxed()
    }

    fn open(store: &Store, name: &str) -> Result<Handle> {
        Ok(Handle {
            blob: store.blob(name)?,
            keys: None,
            reader: None,
            writer: None,
        })
    }

    fn run(handle: &mut Handle, _: &Self::Contents, op: &Op, now: Moment) -> Result<Answer> {
        let blob = &handle.blob;
        Ok(match op {
            Op::Put(key, size, with) => {
                blob.put(key, &bytes(now, *size), metadata(now, *with).as_deref())?;
                Answer::Done
            }
            Op::PutNothing(key) => {
                blob.put(key, b"", Some("nothing"))?;
                Answer::Done
            }
            Op::Get(key) => Answer::Content(
                blob.get(key)?
                    .map(|content| (content.data, content.metadata)),
            ),
            Op::Read(key, offset, length) => Answer::Bytes(blob.read(key, *offset, *length)?),
            Op::Size(key) => Answer::Size(blob.size(key)?),
            Op::Metadata(key) => Answer::Text(blob.metadata(key)?),
            Op::Contains(key) => Answer::Is(blob.contains(key)?),
            Op::Delete(key) => Answer::Is(blob.delete(key)?),
            Op::Len => Answer::Count(blob.len()?),
            Op::Clear => Answer::Count(blob.clear()?),
            Op::Keys => {
                handle.keys = Some(blob.keys()?);
                Answer::Done
            }
            Op::Next(max) => match &mut handle.keys {
                Some(keys) => Answer::Keys(keys.next_page(*max)?),
                None => Answer::Done,
            },
            Op::Reader(key) => {
                handle.reader = blob.reader(key)?;
                Answer::Is(handle.reader.is_some())
            }
            Op::ReadOn(offset, max) => match &mut handle.reader {
                Some(reader) => Answer::Bytes(Some(reader.read_at(*offset, *max)?)),
                None => Answer::Done,
            },
            Op::Writer(key) => {
                // The one before first, or it is left to the new one to clear away.
                handle.writer = None;
                handle.writer = Some(blob.writer(key)?);
                Answer::Done
            }
            Op::Write(size) => {
                if let Some(writer) = &mut handle.writer {
                    writer.write(&bytes(now, *size))?;
                }
                Answer::Done
            }
            Op::Finish(with) => {
                if let Some(writer) = &mut handle.writer {
                    writer.finish(metadata(now, *with).as_deref())?;
                }
                Answer::Done
            }
            Op::Leave => {
                handle.writer = None;
                Answer::Done
            }
        })
    }

    fn expect(
        contents: &mut Self::Contents,
        place: &mut Place,
        op: &Op,
        now: Moment,
        said: Said<'_, Answer>,
    ) -> Result<Answer> {
        Ok(match op {
            Op::PutNothing(_) => return Err(Error::InvalidJson(String::new())),
            Op::Put(key, size, with) => {
                now.needs_write_lock()?;
                let held = Held {
                    data: bytes(now, *size).into(),
                    metadata: metadata(now, *with),
                    version: now.step,
                };
                contents.insert(key.clone(), held);
                Answer::Done
            }
            Op::Get(key) => Answer::Content(
                contents
                    .get(key)
                    .map(|held| (held.data.to_vec(), held.metadata.clone())),
            ),
            Op::Read(key, offset, length) => Answer::Bytes(
                contents
                    .get(key)
                    .map(|held| part(&held.data, *offset, *length)),
            ),
            Op::Size(key) => Answer::Size(contents.get(key).map(|held| held.data.len() as u64)),
            Op::Metadata(key) => {
                Answer::Text(contents.get(key).and_then(|held| held.metadata.clone()))
            }
            Op::Contains(key) => Answer::Is(contents.contains_key(key)),
            Op::Delete(key) => {
                now.needs_write_lock()?;
                Answer::Is(contents.remove(key).is_some())
            }
            Op::Len => Answer::Count(contents.len() as u64),
            Op::Clear => {
                now.needs_write_lock()?;
                Answer::Count(std::mem::take(contents).len() as u64)
            }
            Op::Keys => {
                place.keys = Iteration::Begun;
                Answer::Done
            }
            Op::Next(max) => {
                let after = match &place.keys {
                    Iteration::Closed => return Ok(Answer::Done),
                    _ if *max == 0 => return Err(invalid()),
                    Iteration::Ended => return Ok(Answer::Keys(Vec::new())),
                    Iteration::Begun => Bound::Unbounded,
                    Iteration::After(key) => Bound::Excluded(key.clone()),
                };
                let later = contents.range((after, Bound::Unbounded));
                let page: Vec<_> = later
                    .take(*max as usize)
                    .map(|(key, _)| key.clone())
                    .collect();
                place.keys = match page.last() {
                    Some(last) => Iteration::After(last.clone()),
                    None => Iteration::Ended,
                };
                Answer::Keys(page)
            }
            Op::Reader(key) => {
                place.reader = contents.get(key).map(|held| Reader {
                    key: key.clone(),
                    held: held.clone(),
                    is_inside: now.in_transaction,
                    was_undone: false,
                });
                Answer::Is(place.reader.is_some())
            }
            Op::ReadOn(offset, max) => {
                let Some(reader) = &place.reader else {
                    return Ok(Answer::Done);
                };
                reader.expect(contents, *offset, *max, said)?
            }
            Op::Writer(key) => {
                // The writer that was open is gone in any case.
                place.writer = None;
                if now.is_blocked && said == Err(&Error::Busy) {
                    // Somebody's pieces are to be cleared away first.
                    return Err(Error::Busy);
                }
                place.writer = Some(Writer {
                    key: key.clone(),
                    data: Vec::new(),
                    has_finished: false,
                    is_inside: false,
                    was_undone: false,
                });
                Answer::Done
            }
            Op::Write(size) => {
                let Some(writer) = &mut place.writer else {
                    return Ok(Answer::Done);
                };
                if writer.has_finished {
                    return Err(invalid());
                }
                // Whether it goes to the file, and so needs the write lock, is its affair.
                if now.is_blocked && said == Err(&Error::Busy) {
                    return Err(Error::Busy);
                }
                if writer.was_undone && said == Err(&Error::Changed) {
                    return Err(Error::Changed);
                }
                writer.is_inside |= now.in_transaction;
                writer.data.extend(bytes(now, *size));
                Answer::Done
            }
            Op::Finish(with) => {
                let Some(writer) = &mut place.writer else {
                    return Ok(Answer::Done);
                };
                if writer.has_finished {
                    return Err(invalid());
                }
                now.needs_write_lock()?;
                if writer.was_undone && said == Err(&Error::Changed) {
                    return Err(Error::Changed);
                }
                writer.has_finished = true;
                let held = Held {
                    data: writer.data.as_slice().into(),
                    metadata: metadata(now, *with),
                    version: now.step,
                };
                contents.insert(writer.key.clone(), held);
                Answer::Done
            }
            Op::Leave => {
                place.writer = None;
                Answer::Done
            }
        })
    }

    fn look(_: &Self::Contents, place: &mut Place, ended: Option<bool>) {
        let Some(was_rolled_back) = ended else { return };
        if let Some(reader) = &mut place.reader {
            reader.was_undone |= reader.is_inside && was_rolled_back;
            reader.is_inside = false;
        }
        if let Some(writer) = &mut place.writer {
            writer.was_undone |= writer.is_inside && was_rolled_back;
            writer.is_inside = false;
        }
    }

    fn check(handle: &mut Handle, contents: &Self::Contents) -> Checked {
        let keys = handle.blob.key_pages(2).unwrap().concat();
        prop_assert_eq!(&keys, &contents.keys().cloned().collect::<Vec<_>>());
        for key in keys {
            let found = handle.blob.get(&key).unwrap().unwrap();
            let held = &contents[&key];
            prop_assert!(found.data == *held.data, "{key}");
            prop_assert_eq!(&found.metadata, &held.metadata);
            let mut reader = handle.blob.reader(&key).unwrap().unwrap();
            prop_assert!(reader.read_all(100_000).unwrap() == *held.data, "{key}");
        }
        Ok(())
    }
}

impl Reader {
    /// It has read ahead what it likes: of that it may give even if the blob
    /// has changed, and of nothing else.
    fn expect(
        &self,
        contents: &BTreeMap<String, Held>,
        offset: u64,
        max: u32,
        said: Said<'_, Answer>,
    ) -> Result<Answer> {
        if max == 0 {
            return Err(invalid());
        }
        let now = contents.get(&self.key).map(|held| held.version);
        let may_fail = self.was_undone || now != Some(self.held.version);
        if may_fail && said == Err(&Error::Changed) {
            return Err(Error::Changed);
        }
        let most = part(&self.held.data, offset, max);
        match said {
            Ok(Answer::Bytes(Some(read)))
                if most.starts_with(read) && read.is_empty() == most.is_empty() =>
            {
                Ok(Answer::Bytes(Some(read.clone())))
            }
            _ => Ok(Answer::Bytes(Some(most))),
        }
    }
}
