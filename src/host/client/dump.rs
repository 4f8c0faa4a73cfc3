//! A manager's contents as JSON text, and back (`wit/dump.wit`).

use super::handle::{call, handle};
use crate::{Error, Instance};

handle! {
    /// A dump in the making.
    DumpCursor
}

impl DumpCursor {
    /// The next piece of the text: at most `max` bytes; empty at the end.
    pub async fn next(&self, instance: &mut Instance, max: u32) -> Result<String, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_dump(&mut *store)?
            .dump_cursor()
            .call_next(store, this, max))?
        .map_err(Error::Db)
    }
}

handle! {
    /// A dump that is being loaded. Closing it leaves the batches that are in.
    Loader
}

impl Loader {
    /// Takes the next piece of the text, at most 1 MiB, cut anywhere between
    /// two characters.
    pub async fn write(&self, instance: &mut Instance, chunk: &str) -> Result<(), Error> {
        let this = self.0.on(instance)?;
        let chunk = &chunk.to_owned(); // the bindings want a `&String` here
        call!(instance, |store, api| api
            .beaver_db_dump(&mut *store)?
            .loader()
            .call_write(store, this, chunk))?
        .map_err(Error::Db)
    }

    /// The text has ended: writes what is left; returns the number of items.
    pub async fn finish(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_dump(&mut *store)?
            .loader()
            .call_finish(store, this))?
        .map_err(Error::Db)
    }
}
