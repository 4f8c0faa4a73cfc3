//! `beaver:db/transaction`.

use crate::Component;
use crate::bindings::exports::beaver::db::database::DatabaseBorrow;
use crate::bindings::exports::beaver::db::transaction as wit;
use crate::bindings::exports::beaver::db::types::Error;
use beaver_core::{Database, Transaction};

impl wit::Guest for Component {
    type Transaction = Transaction;
}

impl wit::GuestTransaction for Transaction {
    fn begin(db: DatabaseBorrow<'_>) -> Result<wit::Transaction, Error> {
        Ok(wit::Transaction::new(db.get::<Database>().begin()?))
    }

    fn commit(this: wit::Transaction) -> Result<(), Error> {
        Ok(this.into_inner::<Self>().commit()?)
    }

    fn rollback(this: wit::Transaction) -> Result<(), Error> {
        Ok(this.into_inner::<Self>().rollback()?)
    }
}
