//! A lock by name.

use crate::database::Database;
use crate::error::{Error, Result};
use crate::manager::check_name;
use crate::owner::{Owner, lock_methods};

/// A handle for a lock by name: one owner. Dropping it gives the lock back.
#[derive(Debug)]
pub struct Lock {
    database: Database,
    name: String,
    owner: Owner,
}

lock_methods!(Lock);

impl Database {
    /// A handle for the lock `name`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bad name.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        Lock::open(self, name)
    }
}

impl Lock {
    fn open(database: &Database, name: &str) -> Result<Self> {
        check_name(name)?;
        Ok(Self {
            database: database.clone(),
            name: name.to_owned(),
            owner: Owner::new(database, name),
        })
    }

    /// The lock's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Removes the holder and all waiters, whoever they are; returns how many
    /// there were. The holder's next guarded call gets
    /// [`Error::LockLost`], waiters get [`Error::WaitCleared`].
    ///
    /// # Errors
    /// [`Error::InTransaction`], and what writing may report.
    pub fn clear(&self) -> Result<u64> {
        if self.database.inner.in_transaction.get() {
            return Err(Error::InTransaction);
        }
        self.database.clear_lock(&self.name)
    }
}
