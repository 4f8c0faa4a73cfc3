//! Blob stores: `{"key", "metadata", "data_b64"}`.
//!
//! A blob's data go through in pieces, both ways: neither the blob nor its
//! base64 text is ever held as a whole, unless it is small.

use super::load::{Sink, batch_length, required};
use super::split::{Members, Shape};
use super::{Dump, Extent, Loader, Part, Source, load_from, member, object};
use crate::blob::{Blob, BlobContent, BlobKeys, BlobReader, BlobWriter};
use crate::error::{Error, Result};
use crate::json::python_text_with_constants;
use crate::manager::check_key;
use base64ct::{Base64, Encoding as _};
use std::collections::VecDeque;

/// How much is encoded at a time: a multiple of three, or padding would come
/// in the middle.
const ENCODED_BYTES: u32 = 48 * 1024;

/// A blob of more is written in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

const SHAPE: Shape = Shape::WithStream(&["key", "metadata"], "data_b64");

load_from!(Blob);

impl Blob {
    /// The blobs in order of their keys, their data in base64, as the JSON text
    /// that Python's `json.dump(store.dump(), file, indent=2)` writes.
    ///
    /// A blob that is replaced or removed while it is being read ends the dump
    /// with [`Error::Changed`].
    ///
    /// # Errors
    /// What reading may report; each piece may fail.
    pub fn dump(&self) -> Result<Dump> {
        let (extent, keys) = self.database.read_snapshot(|_| {
            let (count, mut keys) = (self.len()?, self.keys()?);
            let extent = Extent::new(count, keys.read_ahead()?);
            Ok((extent, keys))
        })?;
        let source = Stored {
            store: self.share(),
            keys,
            key: None,
        };
        Ok(Dump::new(
            &self.database,
            "BlobStore",
            self.name(),
            extent,
            "",
            source,
        ))
    }

    /// Loads a dump: puts its blobs, replacing those with their keys. A large
    /// one goes through a [`BlobWriter`], and is seen only when it is whole.
    ///
    /// # Errors
    /// None now; see [`Loader`].
    pub fn loader(&self) -> Result<Loader> {
        Ok(Loader::new(SHAPE, Putting::new(self.share())))
    }
}

#[derive(Debug)]
struct Stored {
    store: Blob,
    keys: BlobKeys,
    /// The key whose blob is next, taken from `keys` already.
    key: Option<String>,
}

impl Source for Stored {
    fn next(&mut self) -> Result<Option<Vec<Part>>> {
        if self.key.is_none() {
            self.key = self.keys.next().transpose()?;
        }
        let Some(key) = &self.key else {
            return Ok(None);
        };
        let found = self.store.open_stored(key)?;
        let (reader, metadata) = found.ok_or(Error::Changed)?;
        let metadata = match metadata {
            None => Part::Text("null".into()),
            Some(text) => Part::stored(text, format!("the metadata of {key:?}")),
        };
        let parts = object([
            ("key", Part::string(key)),
            ("metadata", metadata),
            (
                "data_b64",
                Part::Data(Encoder {
                    reader,
                    offset: None,
                }),
            ),
        ]);
        self.key = None;
        Ok(Some(parts))
    }
}

/// A blob's data as a JSON string.
#[derive(Debug)]
pub(super) struct Encoder {
    reader: BlobReader,
    /// Where to read on; none before the opening quote.
    offset: Option<u64>,
}

impl Encoder {
    /// Appends the next piece. True when that was the last.
    pub(super) fn encode(&mut self, out: &mut String) -> Result<bool> {
        let mut at = self.offset.unwrap_or(0);
        let mut data = Vec::new();
        // The reader may give less than it is asked for.
        while data.len() < ENCODED_BYTES as usize {
            let more = self.reader.read_at(at, ENCODED_BYTES - data.len() as u32)?;
            if more.is_empty() {
                break;
            }
            at += more.len() as u64;
            data.extend_from_slice(&more);
        }
        if self.offset.is_none() {
            out.push('"');
        }
        self.offset = Some(at);
        out.push_str(&Base64::encode_string(&data));
        let ends = at >= self.reader.size();
        if ends {
            out.push('"');
        }
        Ok(ends)
    }
}

/// What waits to be written.
#[derive(Debug)]
enum Piece {
    /// A small blob.
    Whole(String, BlobContent),
    /// A part of a large one.
    Data(Vec<u8>),
    /// What came of a large one is void.
    Discard,
    /// A large one is complete.
    End(String, Option<String>),
}

impl Piece {
    fn size(&self) -> usize {
        match self {
            Self::Whole(key, blob) => {
                key.len() + blob.data.len() + blob.metadata.as_ref().map_or(0, String::len)
            }
            Self::Data(data) => data.len(),
            Self::Discard | Self::End(..) => 0,
        }
    }
}

#[derive(Debug)]
struct Putting {
    store: Blob,
    /// The item's data so far, if they have begun.
    current: Option<Current>,
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Where the parts of a large blob go.
    writer: Option<BlobWriter>,
}

#[derive(Debug, Default)]
struct Current {
    decoder: Decoder,
    data: Vec<u8>,
    /// Whether parts of it are on their way already.
    large: bool,
}

impl Putting {
    fn new(store: Blob) -> Self {
        Self {
            store,
            current: None,
            pieces: VecDeque::new(),
            bytes: 0,
            writer: None,
        }
    }

    fn push(&mut self, piece: Piece) {
        self.bytes += piece.size();
        self.pieces.push_back(piece);
    }

    fn pop(&mut self, count: usize) {
        for piece in self.pieces.drain(..count) {
            self.bytes -= piece.size();
        }
    }
}

impl Sink for Putting {
    fn kind(&self) -> &'static str {
        "BlobStore"
    }

    fn stream_begins(&mut self) -> Result<()> {
        if self.current.take().is_some_and(|current| current.large) {
            self.push(Piece::Discard);
        }
        self.current = Some(Current::default());
        Ok(())
    }

    fn stream(&mut self, text: &str) -> Result<()> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        current.decoder.decode(text, &mut current.data)?;
        let mut pieces = Vec::new();
        while current.data.len() >= PIECE_BYTES {
            let rest = current.data.split_off(PIECE_BYTES);
            pieces.push(std::mem::replace(&mut current.data, rest));
        }
        current.large |= !pieces.is_empty();
        for data in pieces {
            self.push(Piece::Data(data));
        }
        Ok(())
    }

    fn take(&mut self, mut members: Members) -> Result<()> {
        let key = member::string(&required(&mut members, 0, "key")?, "a key")?;
        check_key(&key)?;
        let metadata = match members[1].take() {
            None => None,
            Some(text) if text == "null" => None,
            Some(text) => Some(python_text_with_constants(&text)?),
        };
        let Some(Current {
            decoder,
            data,
            large,
        }) = self.current.take()
        else {
            return Err(Error::InvalidArgument(
                "it has no member \"data_b64\"".into(),
            ));
        };
        decoder.finish()?;
        if large {
            self.push(Piece::Data(data));
            self.push(Piece::End(key, metadata));
        } else {
            self.push(Piece::Whole(key, BlobContent { data, metadata }));
        }
        Ok(())
    }

    fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    fn flush(&mut self) -> Result<()> {
        let small = self.pieces.iter().map_while(|piece| match piece {
            Piece::Whole(key, blob) => Some((key.as_str(), blob)),
            _ => None,
        });
        let sizes = self
            .pieces
            .iter()
            .map(Piece::size)
            .take(small.clone().count());
        let count = batch_length(sizes);
        if count > 0 {
            self.store.put_all(small.take(count))?;
            self.pop(count);
            return Ok(());
        }
        match self.pieces.front() {
            Some(Piece::Data(data)) => {
                let writer = match &mut self.writer {
                    Some(writer) => writer,
                    // Its key may come after its data.
                    none => none.insert(self.store.writer("")?),
                };
                writer.write(data)?;
            }
            Some(Piece::End(key, metadata)) => {
                if let Some(writer) = &mut self.writer {
                    writer.finish_as(key, metadata.as_deref())?;
                }
                self.writer = None;
            }
            Some(Piece::Discard) => self.writer = None,
            Some(Piece::Whole(..)) | None => {}
        }
        self.pop(1.min(self.pieces.len()));
        Ok(())
    }
}

/// Reads base64 that comes in pieces, out of a JSON string.
#[derive(Debug, Default)]
struct Decoder {
    /// Fewer than four characters, which make no bytes yet.
    begun: String,
    escape: bool,
    /// Padding came: that was the end.
    padded: bool,
}

impl Decoder {
    fn decode(&mut self, text: &str, out: &mut Vec<u8>) -> Result<()> {
        let mut plain = std::mem::take(&mut self.begun);
        for character in text.chars() {
            match (self.escape, character) {
                (false, '\\') => self.escape = true,
                // The one escape that may stand for a character of base64.
                (true, '/') | (false, _) => {
                    self.escape = false;
                    plain.push(character);
                }
                (true, _) => return Err(no_base64()),
            }
        }
        // No character of base64 has more bytes than one, others are refused below.
        let whole = plain.floor_char_boundary(plain.len() / 4 * 4);
        self.begun = plain.split_off(whole);
        if plain.is_empty() {
            return Ok(());
        }
        if self.padded {
            return Err(no_base64());
        }
        self.padded = plain.ends_with('=');
        out.extend(Base64::decode_vec(&plain).map_err(|_| no_base64())?);
        Ok(())
    }

    fn finish(&self) -> Result<()> {
        if self.begun.is_empty() && !self.escape {
            Ok(())
        } else {
            Err(no_base64())
        }
    }
}

fn no_base64() -> Error {
    Error::InvalidArgument("its \"data_b64\" isn't base64".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str, piece: usize) -> Result<Vec<u8>> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        let mut from = 0;
        while from < text.len() {
            let to = text.ceil_char_boundary((from + piece).min(text.len()));
            decoder.decode(&text[from..to], &mut out)?;
            from = to;
        }
        decoder.finish().map(|()| out)
    }

    #[test]
    fn base64_in_pieces_of_any_size() {
        let data: Vec<u8> = (0..=255).collect();
        for length in [0, 1, 2, 3, 4, 255, 256] {
            let text = Base64::encode_string(&data[..length]);
            for piece in 1..9 {
                assert_eq!(decoded(&text, piece).unwrap(), data[..length]);
            }
        }
        assert_eq!(decoded("\\/\\/\\/\\/", 3).unwrap(), [255; 3]);
        for text in [
            "YQ",
            "YQ=",
            "Y===",
            "YQ==YQ==",
            "YQ==Y",
            "a b ",
            "é€",
            "\\n",
            "YQ\\u003d\\u003d",
            "-_-_",
        ] {
            for piece in 1..5 {
                assert!(decoded(text, piece).is_err(), "{text} {piece}");
            }
        }
    }
}
