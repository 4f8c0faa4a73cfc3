//! See `beaver_core::Blob`.

use super::Cursor;
use super::Store;
use crate::component::Remote;
use crate::{BlobContent, Result};
use beaver_core as native;
use beaver_host::client;

/// A blob store of either system.
#[derive(Debug)]
pub enum Blob {
    /// The core in this process.
    Native(native::Blob),
    /// The component.
    Component(Remote<client::Blob>),
}

impl Store {
    /// A handle for a blob store.
    ///
    /// # Errors
    /// What opening the handle reports.
    pub fn blob(&self, name: &str) -> Result<Blob> {
        match self {
            Self::Native(db) => db.blob(name).map(Blob::Native),
            Self::Component(db) => db
                .open(async |db, instance| instance.blob(db, name).await)
                .map(Blob::Component),
        }
    }
}

locking!(Blob);
dumping!(Blob);
loading!(Blob);

impl Blob {
    forward! {
        put(key: &str, data: &[u8], metadata: Option<&str>) -> ();
        read(key: &str, offset: u64, length: u32) -> Option<Vec<u8>>;
        size(key: &str) -> Option<u64>;
        metadata(key: &str) -> Option<String>;
        contains(key: &str) -> bool;
        delete(key: &str) -> bool;
        #[expect(clippy::len_without_is_empty, reason = "as in core")]
        len() -> u64;
        clear() -> u64;
    }

    /// As the core's `get`.
    ///
    /// # Errors
    /// As the core's.
    pub fn get(&self, key: &str) -> Result<Option<BlobContent>> {
        match self {
            Self::Native(blob) => blob.get(key),
            Self::Component(blob) => Ok(blob
                .run(async |blob, instance| blob.get(instance, key).await)?
                .map(|content| BlobContent {
                    data: content.data,
                    metadata: content.metadata,
                })),
        }
    }

    /// All keys, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn key_pages(&self, max: u32) -> Result<Vec<Vec<String>>> {
        self.keys()?.pages(max)
    }

    /// As the core's `keys`.
    ///
    /// # Errors
    /// As the core's.
    pub fn keys(&self) -> Result<Cursor<String>> {
        match self {
            Self::Native(blob) => {
                let mut cursor = blob.keys()?;
                Ok(Cursor::new(move |max| cursor.next_page(max)))
            }
            Self::Component(blob) => {
                let cursor = blob.open(async |blob, instance| blob.keys(instance).await)?;
                Ok(Cursor::new(move |max| {
                    cursor.run(async |cursor, instance| cursor.next(instance, max).await)
                }))
            }
        }
    }

    /// As the core's `reader`.
    ///
    /// # Errors
    /// As the core's.
    pub fn reader(&self, key: &str) -> Result<Option<BlobReader>> {
        match self {
            Self::Native(blob) => Ok(blob.reader(key)?.map(Box::new).map(BlobReader::Native)),
            Self::Component(blob) => Ok(blob
                .open_some(async |blob, instance| blob.reader(instance, key).await)?
                .map(BlobReader::Component)),
        }
    }

    /// As the core's `writer`.
    ///
    /// # Errors
    /// As the core's.
    pub fn writer(&self, key: &str) -> Result<BlobWriter> {
        match self {
            Self::Native(blob) => blob.writer(key).map(Box::new).map(BlobWriter::Native),
            Self::Component(blob) => blob
                .open(async |blob, instance| blob.writer(instance, key).await)
                .map(BlobWriter::Component),
        }
    }
}

/// A reader of either system.
#[derive(Debug)]
pub enum BlobReader {
    /// The core in this process.
    Native(Box<native::BlobReader>),
    /// The component.
    Component(Remote<client::BlobReader>),
}

impl BlobReader {
    /// As the core's `size`.
    ///
    /// # Errors
    /// When the instance is gone.
    pub fn size(&self) -> Result<u64> {
        match self {
            Self::Native(reader) => Ok(reader.size()),
            Self::Component(reader) => {
                reader.run(async |reader, instance| reader.size(instance).await)
            }
        }
    }

    /// As the core's `read_at`.
    ///
    /// # Errors
    /// As the core's.
    pub fn read_at(&mut self, offset: u64, max: u32) -> Result<Vec<u8>> {
        match self {
            Self::Native(reader) => reader.read_at(offset, max),
            Self::Component(reader) => {
                reader.run(async |reader, instance| reader.read(instance, offset, max).await)
            }
        }
    }

    /// Everything, in chunks of at most `max`.
    ///
    /// # Errors
    /// As the core's.
    pub fn read_all(&mut self, max: u32) -> Result<Vec<u8>> {
        let mut data = Vec::new();
        loop {
            let chunk = self.read_at(data.len() as u64, max)?;
            if chunk.is_empty() {
                return Ok(data);
            }
            data.extend(chunk);
        }
    }
}

/// A writer of either system.
#[derive(Debug)]
pub enum BlobWriter {
    /// The core in this process.
    Native(Box<native::BlobWriter>),
    /// The component.
    Component(Remote<client::BlobWriter>),
}

impl BlobWriter {
    /// As the core's `write`.
    ///
    /// # Errors
    /// As the core's.
    pub fn write(&mut self, chunk: &[u8]) -> Result<()> {
        match self {
            Self::Native(writer) => writer.write(chunk),
            Self::Component(writer) => {
                writer.run(async |writer, instance| writer.write(instance, chunk).await)
            }
        }
    }

    /// As the core's `finish`.
    ///
    /// # Errors
    /// As the core's.
    pub fn finish(&mut self, metadata: Option<&str>) -> Result<()> {
        match self {
            Self::Native(writer) => writer.finish(metadata),
            Self::Component(writer) => {
                writer.run(async |writer, instance| writer.finish(instance, metadata).await)
            }
        }
    }
}
