//! `beaver:db/queue`.

use crate::Component;
use crate::bindings::exports::beaver::db::database::DatabaseBorrow;
use crate::bindings::exports::beaver::db::dump::{DumpCursor, Loader};
use crate::bindings::exports::beaver::db::queue as wit;
use crate::bindings::exports::beaver::db::types::{Duration, Error};
use crate::convert::duration;
use crate::dump;
use crate::lock::lock_methods;
use beaver_core::{Database, Item, Queue, QueueItems};
use std::cell::RefCell;

impl wit::Guest for Component {
    type Queue = Queue;
    type ItemCursor = RefCell<QueueItems>;
}

impl wit::GuestQueue for Queue {
    fn open(db: DatabaseBorrow<'_>, name: String) -> Result<wit::Queue, Error> {
        Ok(wit::Queue::new(db.get::<Database>().queue(&name)?))
    }

    fn put(&self, data: String, priority: f64) -> Result<(), Error> {
        Ok(self.put(&data, priority)?)
    }

    fn get(&self, timeout: Option<Duration>) -> Result<wit::Item, Error> {
        Ok(item(self.get(duration(timeout))?))
    }

    fn try_get(&self) -> Result<Option<wit::Item>, Error> {
        Ok(self.try_get()?.map(item))
    }

    fn get_batch(&self, count: u32, timeout: Option<Duration>) -> Result<Vec<wit::Item>, Error> {
        Ok(self
            .get_batch(count, duration(timeout))?
            .into_iter()
            .map(item)
            .collect())
    }

    fn peek(&self) -> Result<Option<wit::Item>, Error> {
        Ok(self.peek()?.map(item))
    }

    fn len(&self) -> Result<u64, Error> {
        Ok(self.len()?)
    }

    fn items(&self) -> Result<wit::ItemCursor, Error> {
        Ok(wit::ItemCursor::new(RefCell::new(self.items()?)))
    }

    fn clear(&self) -> Result<u64, Error> {
        Ok(self.clear()?)
    }

    fn dump(&self) -> Result<DumpCursor, Error> {
        Ok(dump::cursor(self.dump()?))
    }

    fn loader(&self) -> Result<Loader, Error> {
        Ok(dump::loader(self.loader()?))
    }

    lock_methods!();
}

impl wit::GuestItemCursor for RefCell<QueueItems> {
    fn next(&self, max: u32) -> Result<Vec<wit::Item>, Error> {
        // Never borrowed twice: a component isn't entered again during a call.
        Ok(self
            .borrow_mut()
            .next_page(max)?
            .into_iter()
            .map(item)
            .collect())
    }
}

fn item(item: Item) -> wit::Item {
    wit::Item {
        priority: item.priority,
        timestamp: item.timestamp,
        data: item.data,
    }
}
