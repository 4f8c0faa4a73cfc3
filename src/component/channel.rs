//! `beaver:db/channel`.

use crate::Component;
use crate::bindings::exports::beaver::db::channel as wit;
use crate::bindings::exports::beaver::db::database::DatabaseBorrow;
use crate::bindings::exports::beaver::db::types::{Duration, Error};
use crate::convert::duration;
use beaver_core::{Channel, Database, History, Message, Subscription};
use std::cell::RefCell;

impl wit::Guest for Component {
    type Channel = Channel;
    type MessageCursor = RefCell<History>;
    type Subscription = RefCell<Subscription>;
}

impl wit::GuestChannel for Channel {
    fn open(db: DatabaseBorrow<'_>, name: String) -> Result<wit::Channel, Error> {
        Ok(wit::Channel::new(db.get::<Database>().channel(&name)?))
    }

    fn publish(&self, payload: String) -> Result<f64, Error> {
        Ok(self.publish(&payload)?)
    }

    fn subscribe(&self, after: Option<f64>) -> Result<wit::Subscription, Error> {
        Ok(wit::Subscription::new(RefCell::new(self.subscribe(after)?)))
    }

    fn history(&self, after: Option<f64>, last: Option<u64>) -> Result<wit::MessageCursor, Error> {
        let history = self.history(after, last)?;
        Ok(wit::MessageCursor::new(RefCell::new(history)))
    }

    fn len(&self) -> Result<u64, Error> {
        Ok(self.len()?)
    }

    fn prune(&self, before: f64) -> Result<u64, Error> {
        Ok(self.prune(before)?)
    }

    fn clear(&self) -> Result<u64, Error> {
        Ok(self.clear()?)
    }
}

// The cells are never borrowed twice: a component isn't entered again while a
// call runs.

impl wit::GuestMessageCursor for RefCell<History> {
    fn next(&self, max: u32) -> Result<Vec<wit::Message>, Error> {
        Ok(messages(self.borrow_mut().next_page(max)?))
    }
}

impl wit::GuestSubscription for RefCell<Subscription> {
    fn next(&self, max: u32, timeout: Option<Duration>) -> Result<Vec<wit::Message>, Error> {
        Ok(messages(
            self.borrow_mut().next_page(max, duration(timeout))?,
        ))
    }
}

pub(crate) fn messages(page: Vec<Message>) -> Vec<wit::Message> {
    page.into_iter()
        .map(|message| wit::Message {
            timestamp: message.timestamp,
            payload: message.payload,
        })
        .collect()
}
