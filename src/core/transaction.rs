//! Several operations as one.
//!
//! What must stay true: while a transaction is open, every operation of its
//! database handle is part of it, and everything that would wait fails instead.

use crate::database::Database;
use crate::error::{Error, Result};

/// An open transaction; dropping it rolls back. It holds SQLite's write lock.
#[derive(Debug)]
#[must_use = "dropping a transaction rolls it back"]
pub struct Transaction {
    database: Database,
    /// How many lock rows of dropped handles were deleted at its beginning.
    reaped: usize,
    committed: bool,
    undone: bool,
}

impl Transaction {
    pub(crate) fn begin(database: &Database) -> Result<Self> {
        if database.inner.in_transaction.get() {
            return Err(Error::InTransaction);
        }
        let reaped = database.begin_write(None)?.into_open();
        database.inner.in_transaction.set(true);
        Ok(Self {
            database: database.clone(),
            reaped,
            committed: false,
            undone: false,
        })
    }

    /// Makes everything permanent.
    ///
    /// # Errors
    /// [`Error::NoTransaction`] when SQLite had rolled it back after an error;
    /// otherwise what `COMMIT` reports, with its [`outcome`](Error::outcome).
    pub fn commit(mut self) -> Result<()> {
        let connection = &self.database.inner.connection;
        if connection.is_autocommit() {
            return Err(Error::NoTransaction);
        }
        self.database.commit_write(self.reaped)?;
        self.committed = true;
        Ok(())
    }

    /// Undoes everything.
    ///
    /// # Errors
    /// What `ROLLBACK` reports; the changes are undone all the same.
    pub fn rollback(mut self) -> Result<()> {
        self.database.undo_write()?;
        self.undone = true;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let inner = &*self.database.inner;
        inner.in_transaction.set(false);
        if !self.committed && !self.undone {
            let _ = self.database.undo_write();
        }
        if !self.committed {
            inner.rollbacks.set(inner.rollbacks.get() + 1);
        }
        // Handles that were dropped meanwhile could not give their locks back.
        self.database.reap();
    }
}

#[cfg(test)]
mod tests {
    use crate::error::Error;
    use crate::{Database, MatchOptions, Options};

    #[test]
    fn a_table_that_cannot_be_made_again_yet_is_missed_by_nobody_else_and_no_sql_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let database = Database::open(path.to_str().unwrap(), &Options::default()).unwrap();
        let refuse = |writes| {
            let connection = &database.inner.connection;
            connection.pragma_update(None, "query_only", writes)
        };
        let dict = database.dict("d").unwrap();
        let transaction = database.begin().unwrap();
        let list = database.list("l").unwrap();
        let documents = database.collection("c").unwrap();
        list.push("1").unwrap();
        refuse(true).unwrap();
        transaction.rollback().unwrap();
        assert_eq!(list.len().unwrap_err(), Error::ReadOnly);
        let matched = documents.match_text("word", &MatchOptions::default());
        assert_eq!(matched.unwrap_err(), Error::ReadOnly);
        assert_eq!(dict.len().unwrap(), 0);
        refuse(false).unwrap();
        assert_eq!(list.len().unwrap(), 0);
    }
}
