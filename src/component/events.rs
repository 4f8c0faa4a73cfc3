//! `beaver:db/events`.

use crate::Component;
use crate::bindings::exports::beaver::db::database::DatabaseBorrow;
use crate::bindings::exports::beaver::db::events as wit;
use crate::bindings::exports::beaver::db::types::{Duration, Error};
use crate::channel::messages;
use crate::convert::duration;
use beaver_core::{Database, Listener};
use std::cell::RefCell;

impl wit::Guest for Component {
    type Listener = RefCell<Listener>;

    fn emit(
        db: DatabaseBorrow<'_>,
        topic: String,
        event: String,
        payload: String,
    ) -> Result<bool, Error> {
        Ok(db.get::<Database>().emit(&topic, &event, &payload)?)
    }
}

impl wit::GuestListener for RefCell<Listener> {
    fn open(db: DatabaseBorrow<'_>, topic: String, event: String) -> Result<wit::Listener, Error> {
        let listener = db.get::<Database>().on(&topic, &event)?;
        Ok(wit::Listener::new(Self::new(listener)))
    }

    fn next(&self, max: u32, timeout: Option<Duration>) -> Result<Vec<wit::Message>, Error> {
        // Never borrowed twice: a component isn't entered again during a call.
        Ok(messages(
            self.borrow_mut().next_page(max, duration(timeout))?,
        ))
    }

    fn close(this: wit::Listener) -> Result<(), Error> {
        Ok(this.into_inner::<Self>().into_inner().close()?)
    }
}
