//! Several operations as one (`wit/transaction.wit`).

use super::Database;
use super::handle::{call, handle};
use crate::{Error, Instance};

handle! {
    /// An open transaction: every operation of its database handle's managers
    /// is part of it. Closing or dropping it rolls back, as does the end of the
    /// instance. It holds SQLite's write lock until the component hears of the
    /// drop: prefer [`rollback`](Self::rollback) to going out of scope.
    Transaction
}

impl Instance {
    /// Starts a transaction on `database`.
    pub async fn begin_transaction(&mut self, database: &Database) -> Result<Transaction, Error> {
        let database = database.0.on(self)?;
        let begun = call!(self, |store, api| api
            .beaver_db_transaction(&mut *store)?
            .transaction()
            .call_begin(store, database))?;
        let resource = begun.map_err(Error::Db)?;
        Ok(Transaction(self.registry().adopt(resource)))
    }
}

impl Transaction {
    /// Makes everything permanent.
    pub async fn commit(self, instance: &mut Instance) -> Result<(), Error> {
        let this = self.0.take(instance)?;
        call!(instance, |store, api| api
            .beaver_db_transaction(&mut *store)?
            .transaction()
            .call_commit(store, this))?
        .map_err(Error::Db)
    }

    /// Undoes everything.
    pub async fn rollback(self, instance: &mut Instance) -> Result<(), Error> {
        let this = self.0.take(instance)?;
        call!(instance, |store, api| api
            .beaver_db_transaction(&mut *store)?
            .transaction()
            .call_rollback(store, this))?
        .map_err(Error::Db)
    }
}
