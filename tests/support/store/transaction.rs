//! See `beaver_core::Transaction`.

use super::Store;
use crate::Result;
use crate::component::Remote;
use beaver_core as native;
use beaver_host::client;

/// A transaction of either system.
#[derive(Debug)]
pub enum Transaction {
    /// The core in this process.
    Native(native::Transaction),
    /// The component.
    Component(Remote<client::Transaction>),
}

impl Store {
    /// Starts a transaction.
    ///
    /// # Errors
    /// What beginning reports.
    pub fn begin(&self) -> Result<Transaction> {
        match self {
            Self::Native(db) => db.begin().map(Transaction::Native),
            Self::Component(db) => db
                .open(async |db, instance| instance.begin_transaction(db).await)
                .map(Transaction::Component),
        }
    }
}

impl Transaction {
    /// As the core's `commit`.
    ///
    /// # Errors
    /// As the core's.
    pub fn commit(self) -> Result<()> {
        match self {
            Self::Native(transaction) => transaction.commit(),
            Self::Component(transaction) => transaction
                .consume(async |transaction, instance| transaction.commit(instance).await),
        }
    }

    /// As the core's `rollback`.
    ///
    /// # Errors
    /// As the core's.
    pub fn rollback(self) -> Result<()> {
        match self {
            Self::Native(transaction) => transaction.rollback(),
            Self::Component(transaction) => transaction
                .consume(async |transaction, instance| transaction.rollback(instance).await),
        }
    }
}
