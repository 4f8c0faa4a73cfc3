//! An open database file.

use super::handle::{call, handle};
use super::{Journal, OpenOptions};
use crate::{Error, Instance};

handle! {
    /// An open database: one SQLite connection of the component.
    Database
}

impl Instance {
    /// Opens the database `name`, relative to the grant.
    pub async fn open(&mut self, name: &str, options: &OpenOptions) -> Result<Database, Error> {
        let options = options.to_wit();
        let opened = call!(self, |store, api| api
            .beaver_db_database()
            .database()
            .call_open(store, name, options))?;
        let resource = opened.map_err(Error::Db)?;
        Ok(Database(self.registry().adopt(resource)))
    }
}

impl Database {
    /// The version of BeaverDB's file format that the file names, if any.
    pub async fn format_version(&self, instance: &mut Instance) -> Result<Option<String>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_database()
            .database()
            .call_format_version(store, this))?
        .map_err(Error::Db)
    }

    /// The journal in use.
    pub async fn journal(&self, instance: &mut Instance) -> Result<Journal, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_database()
            .database()
            .call_journal(store, this))
    }

    /// Copies what can be copied from the write-ahead log into the database
    /// file. Returns the frames left in the log.
    pub async fn checkpoint(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_database()
            .database()
            .call_checkpoint(store, this))?
        .map_err(Error::Db)
    }
}
