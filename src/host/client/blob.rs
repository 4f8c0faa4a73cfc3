//! A store of named blobs (`wit/blob.wit`).

use super::dump::{DumpCursor, Loader};
use super::handle::{call, handle};
use super::locking::lock_methods;
use super::{BlobContent, Database};
use crate::{Error, Instance};

handle! {
    /// A blob store. Two handles of one name are two lock owners; closing one
    /// releases the lock it holds.
    Blob
}

impl Instance {
    /// A handle for the blob store `name`, which exists as long as it has blobs.
    pub async fn blob(&mut self, database: &Database, name: &str) -> Result<Blob, Error> {
        let database = database.0.on(self)?;
        let opened = call!(self, |store, api| api
            .beaver_db_blob(&mut *store)?
            .blob()
            .call_open(store, database, name))?;
        let resource = opened.map_err(Error::Db)?;
        Ok(Blob(self.registry().adopt(resource)))
    }
}

lock_methods!(Blob, beaver_db_blob, blob);

impl Blob {
    /// Stores `data` (at most 64 MiB) under `key`, replacing what was there.
    /// `metadata` is a JSON text.
    pub async fn put(
        &self,
        instance: &mut Instance,
        key: &str,
        data: &[u8],
        metadata: Option<&str>,
    ) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        let metadata = metadata.map(str::to_owned); // the bindings want a `&String` here
        call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .blob()
            .call_put(store, this, key, data, metadata.as_ref()))?
        .map_err(Error::Db)
    }

    /// The blob under `key`; none when there is none.
    /// [`DbError::TooLarge`](super::DbError::TooLarge) for more than 64 MiB.
    pub async fn get(
        &self,
        instance: &mut Instance,
        key: &str,
    ) -> Result<Option<BlobContent>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .blob()
            .call_get(store, this, key))?
        .map_err(Error::Db)
    }

    /// The `length` bytes (at most 64 MiB) from `offset` on, fewer at the end;
    /// none when there is no such blob.
    pub async fn read(
        &self,
        instance: &mut Instance,
        key: &str,
        offset: u64,
        length: u32,
    ) -> Result<Option<Vec<u8>>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .blob()
            .call_read(store, this, key, offset, length))?
        .map_err(Error::Db)
    }

    /// The number of bytes, without reading them; none when there is no such blob.
    pub async fn size(&self, instance: &mut Instance, key: &str) -> Result<Option<u64>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .blob()
            .call_size(store, this, key))?
        .map_err(Error::Db)
    }

    /// The metadata, a JSON text; none when there are none or there is no such blob.
    pub async fn metadata(
        &self,
        instance: &mut Instance,
        key: &str,
    ) -> Result<Option<String>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .blob()
            .call_metadata(store, this, key))?
        .map_err(Error::Db)
    }

    /// Whether there is a blob under `key`.
    pub async fn contains(&self, instance: &mut Instance, key: &str) -> Result<bool, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .blob()
            .call_contains(store, this, key))?
        .map_err(Error::Db)
    }

    /// Removes the blob; false when there was none.
    pub async fn delete(&self, instance: &mut Instance, key: &str) -> Result<bool, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .blob()
            .call_delete(store, this, key))?
        .map_err(Error::Db)
    }

    /// The number of blobs.
    pub async fn len(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .blob()
            .call_len(store, this))?
        .map_err(Error::Db)
    }

    /// Removes every blob; returns how many there were.
    pub async fn clear(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .blob()
            .call_clear(store, this))?
        .map_err(Error::Db)
    }

    /// The keys in ascending order of their bytes, page by page.
    pub async fn keys(&self, instance: &mut Instance) -> Result<BlobKeyCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .blob()
            .call_keys(store, this))?
        .map_err(Error::Db)?;
        Ok(BlobKeyCursor(instance.registry().adopt(cursor)))
    }

    /// Opens the blob for reading in pieces; none when there is no such blob.
    pub async fn reader(
        &self,
        instance: &mut Instance,
        key: &str,
    ) -> Result<Option<BlobReader>, Error> {
        let this = self.0.on(instance)?;
        let reader = call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .blob()
            .call_reader(store, this, key))?
        .map_err(Error::Db)?;
        Ok(reader.map(|reader| BlobReader(instance.registry().adopt(reader))))
    }

    /// Starts to write a blob in pieces, of which nobody sees anything before
    /// [`BlobWriter::finish`].
    pub async fn writer(&self, instance: &mut Instance, key: &str) -> Result<BlobWriter, Error> {
        let this = self.0.on(instance)?;
        let writer = call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .blob()
            .call_writer(store, this, key))?
        .map_err(Error::Db)?;
        Ok(BlobWriter(instance.registry().adopt(writer)))
    }

    /// The contents as JSON text, piece by piece.
    pub async fn dump(&self, instance: &mut Instance) -> Result<DumpCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .blob()
            .call_dump(store, this))?
        .map_err(Error::Db)?;
        Ok(DumpCursor(instance.registry().adopt(cursor)))
    }

    /// Loads a dump piece by piece.
    pub async fn loader(&self, instance: &mut Instance) -> Result<Loader, Error> {
        let this = self.0.on(instance)?;
        let loader = call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .blob()
            .call_loader(store, this))?
        .map_err(Error::Db)?;
        Ok(Loader(instance.registry().adopt(loader)))
    }
}

handle! {
    /// One version of a blob, read in pieces.
    BlobReader
}

impl BlobReader {
    /// The number of bytes.
    pub async fn size(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .reader()
            .call_size(store, this))
    }

    /// The bytes from `offset` on: at most `max`, perhaps fewer, empty only at the
    /// end. Cheap where the last call ended. [`DbError::Changed`](super::DbError::Changed)
    /// when the blob was replaced or removed since.
    pub async fn read(
        &self,
        instance: &mut Instance,
        offset: u64,
        max: u32,
    ) -> Result<Vec<u8>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .reader()
            .call_read(store, this, offset, max))?
        .map_err(Error::Db)
    }
}

handle! {
    /// A blob that is being written. Closing it unfinished leaves everything as it was.
    BlobWriter
}

impl BlobWriter {
    /// Adds `chunk`, at most 4 MiB. On an error nothing of it was taken.
    pub async fn write(&self, instance: &mut Instance, chunk: &[u8]) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .writer()
            .call_write(store, this, chunk))?
        .map_err(Error::Db)
    }

    /// Stores what was written, all at once, as the handle that the writer is
    /// from. On an error nothing has changed, and it may be tried again, except after
    /// [`DbError::Changed`](super::DbError::Changed).
    pub async fn finish(
        &self,
        instance: &mut Instance,
        metadata: Option<&str>,
    ) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        let metadata = metadata.map(str::to_owned); // the bindings want a `&String` here
        call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .writer()
            .call_finish(store, this, metadata.as_ref()))?
        .map_err(Error::Db)
    }
}

handle! {
    /// Where an iteration over a store's keys stands.
    BlobKeyCursor
}

impl BlobKeyCursor {
    /// The next page: at most `max` keys; empty at the end.
    pub async fn next(&self, instance: &mut Instance, max: u32) -> Result<Vec<String>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_blob(&mut *store)?
            .key_cursor()
            .call_next(store, this, max))?
        .map_err(Error::Db)
    }
}
