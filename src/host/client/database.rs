//! An open database file.

use super::handle::{call, handle};
use super::{IfExists, Journal, ManagerEntry, OpenOptions, Stats};
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
            .beaver_db_database(&mut *store)?
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
            .beaver_db_database(&mut *store)?
            .database()
            .call_format_version(store, this))?
        .map_err(Error::Db)
    }

    /// The journal in use.
    pub async fn journal(&self, instance: &mut Instance) -> Result<Journal, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_database(&mut *store)?
            .database()
            .call_journal(store, this))
    }

    /// Copies what can be copied from the write-ahead log into the database
    /// file. Returns the frames left in the log.
    pub async fn checkpoint(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_database(&mut *store)?
            .database()
            .call_checkpoint(store, this))?
        .map_err(Error::Db)
    }

    /// What is in the file, by kind and name, page by page.
    pub async fn managers(
        &self,
        instance: &mut Instance,
        include_internal: bool,
    ) -> Result<ManagerCursor, Error> {
        let this = self.0.on(instance)?;
        let cursor = call!(instance, |store, api| api
            .beaver_db_database(&mut *store)?
            .database()
            .call_managers(store, this, include_internal))?
        .map_err(Error::Db)?;
        Ok(ManagerCursor(instance.registry().adopt(cursor)))
    }

    /// Figures of the file.
    pub async fn stats(&self, instance: &mut Instance) -> Result<Stats, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_database(&mut *store)?
            .database()
            .call_stats(store, this))?
        .map_err(Error::Db)
    }

    /// A number that has grown whenever anybody has committed since the last call.
    pub async fn data_version(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_database(&mut *store)?
            .database()
            .call_data_version(store, this))?
        .map_err(Error::Db)
    }

    /// Rewrites the file without its unused pages. Returns by how many bytes
    /// the database became smaller.
    pub async fn vacuum(&self, instance: &mut Instance) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_database(&mut *store)?
            .database()
            .call_vacuum(store, this))?
        .map_err(Error::Db)
    }

    /// Copies the database to the file `name` of the grant while others use
    /// it. Returns the size of the copy in bytes.
    pub async fn backup(
        &self,
        instance: &mut Instance,
        name: &str,
        if_exists: IfExists,
    ) -> Result<u64, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_database(&mut *store)?
            .database()
            .call_backup(store, this, name, if_exists))?
        .map_err(Error::Db)
    }
}

handle! {
    /// Where a listing of managers stands.
    ManagerCursor
}

impl ManagerCursor {
    /// The next page: at most `max` entries; empty at the end.
    pub async fn next(
        &self,
        instance: &mut Instance,
        max: u32,
    ) -> Result<Vec<ManagerEntry>, Error> {
        let this = self.0.on(instance)?;
        call!(instance, |store, api| api
            .beaver_db_database(&mut *store)?
            .manager_cursor()
            .call_next(store, this, max))?
        .map_err(Error::Db)
    }
}
