//! `beaver:db/blob`.

use crate::Component;
use crate::bindings::exports::beaver::db::blob as wit;
use crate::bindings::exports::beaver::db::database::DatabaseBorrow;
use crate::bindings::exports::beaver::db::dump::{DumpCursor, Loader};
use crate::bindings::exports::beaver::db::types::Error;
use crate::dump;
use crate::lock::lock_methods;
use beaver_core::{Blob, BlobKeys, BlobReader, BlobWriter, Database};
use std::cell::RefCell;

impl wit::Guest for Component {
    type Blob = Blob;
    type Reader = RefCell<BlobReader>;
    type Writer = RefCell<BlobWriter>;
    type KeyCursor = RefCell<BlobKeys>;
}

impl wit::GuestBlob for Blob {
    fn open(db: DatabaseBorrow<'_>, name: String) -> Result<wit::Blob, Error> {
        Ok(wit::Blob::new(db.get::<Database>().blob(&name)?))
    }

    fn put(&self, key: String, data: Vec<u8>, metadata: Option<String>) -> Result<(), Error> {
        Ok(self.put(&key, &data, metadata.as_deref())?)
    }

    fn get(&self, key: String) -> Result<Option<wit::Content>, Error> {
        Ok(self.get(&key)?.map(|content| wit::Content {
            data: content.data,
            metadata: content.metadata,
        }))
    }

    fn read(&self, key: String, offset: u64, length: u32) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.read(&key, offset, length)?)
    }

    fn size(&self, key: String) -> Result<Option<u64>, Error> {
        Ok(self.size(&key)?)
    }

    fn metadata(&self, key: String) -> Result<Option<String>, Error> {
        Ok(self.metadata(&key)?)
    }

    fn contains(&self, key: String) -> Result<bool, Error> {
        Ok(self.contains(&key)?)
    }

    fn delete(&self, key: String) -> Result<bool, Error> {
        Ok(self.delete(&key)?)
    }

    fn len(&self) -> Result<u64, Error> {
        Ok(self.len()?)
    }

    fn clear(&self) -> Result<u64, Error> {
        Ok(self.clear()?)
    }

    fn keys(&self) -> Result<wit::KeyCursor, Error> {
        Ok(wit::KeyCursor::new(RefCell::new(self.keys()?)))
    }

    fn reader(&self, key: String) -> Result<Option<wit::Reader>, Error> {
        let reader = self.reader(&key)?;
        Ok(reader.map(|reader| wit::Reader::new(RefCell::new(reader))))
    }

    fn writer(&self, key: String) -> Result<wit::Writer, Error> {
        Ok(wit::Writer::new(RefCell::new(self.writer(&key)?)))
    }

    fn dump(&self) -> Result<DumpCursor, Error> {
        Ok(dump::cursor(self.dump()?))
    }

    fn loader(&self) -> Result<Loader, Error> {
        Ok(dump::loader(self.loader()?))
    }

    lock_methods!();
}

// The cells are never borrowed twice: a component isn't entered again while a
// call runs.

impl wit::GuestReader for RefCell<BlobReader> {
    fn size(&self) -> u64 {
        self.borrow().size()
    }

    fn read(&self, offset: u64, max: u32) -> Result<Vec<u8>, Error> {
        Ok(self.borrow_mut().read_at(offset, max)?)
    }
}

impl wit::GuestWriter for RefCell<BlobWriter> {
    fn write(&self, chunk: Vec<u8>) -> Result<(), Error> {
        Ok(self.borrow_mut().write(&chunk)?)
    }

    fn finish(&self, metadata: Option<String>) -> Result<(), Error> {
        Ok(self.borrow_mut().finish(metadata.as_deref())?)
    }
}

impl wit::GuestKeyCursor for RefCell<BlobKeys> {
    fn next(&self, max: u32) -> Result<Vec<String>, Error> {
        Ok(self.borrow_mut().next_page(max)?)
    }
}
