//! `beaver:db/log`.

use crate::Component;
use crate::bindings::exports::beaver::db::database::DatabaseBorrow;
use crate::bindings::exports::beaver::db::dump::{DumpCursor, Loader};
use crate::bindings::exports::beaver::db::log as wit;
use crate::bindings::exports::beaver::db::types::{Duration, Error};
use crate::convert::duration;
use crate::dump;
use beaver_core::{Database, Live, Log, LogEntries, LogEntry, Tail};
use std::cell::RefCell;

impl wit::Guest for Component {
    type Log = Log;
    type EntryCursor = RefCell<LogEntries>;
    type Tail = RefCell<Tail>;
    type Live = RefCell<Live>;
}

impl wit::GuestLog for Log {
    fn open(db: DatabaseBorrow<'_>, name: String) -> Result<wit::Log, Error> {
        Ok(wit::Log::new(db.get::<Database>().log(&name)?))
    }

    fn append(&self, data: String, timestamp: Option<f64>) -> Result<f64, Error> {
        Ok(self.append(&data, timestamp)?)
    }

    fn len(&self) -> Result<u64, Error> {
        Ok(self.len()?)
    }

    fn range(&self, start: f64, end: f64) -> Result<wit::EntryCursor, Error> {
        Ok(wit::EntryCursor::new(RefCell::new(self.range(start, end)?)))
    }

    fn entries(&self) -> Result<wit::EntryCursor, Error> {
        Ok(wit::EntryCursor::new(RefCell::new(self.entries()?)))
    }

    fn tail(&self, after: Option<f64>) -> Result<wit::Tail, Error> {
        Ok(wit::Tail::new(RefCell::new(self.tail(after)?)))
    }

    fn live(&self, window: Duration, period: Duration) -> Result<wit::Live, Error> {
        let (window, period) = (
            std::time::Duration::from_nanos(window),
            std::time::Duration::from_nanos(period),
        );
        Ok(wit::Live::new(RefCell::new(self.live(window, period)?)))
    }

    fn dump(&self) -> Result<DumpCursor, Error> {
        Ok(dump::cursor(self.dump()?))
    }

    fn loader(&self) -> Result<Loader, Error> {
        Ok(dump::loader(self.loader()?))
    }

    fn clear(&self) -> Result<u64, Error> {
        Ok(self.clear()?)
    }
}

// The cells are never borrowed twice: a component isn't entered again while a
// call runs.

impl wit::GuestEntryCursor for RefCell<LogEntries> {
    fn next(&self, max: u32) -> Result<Vec<wit::Entry>, Error> {
        Ok(entries(self.borrow_mut().next_page(max)?))
    }
}

impl wit::GuestTail for RefCell<Tail> {
    fn next(&self, max: u32, timeout: Option<Duration>) -> Result<Vec<wit::Entry>, Error> {
        Ok(entries(
            self.borrow_mut().next_page(max, duration(timeout))?,
        ))
    }
}

impl wit::GuestLive for RefCell<Live> {
    fn next(&self, timeout: Option<Duration>) -> Result<wit::Window, Error> {
        let window = self.borrow_mut().next_window(duration(timeout))?;
        Ok(wit::Window {
            start: window.start,
            end: window.end,
            cleared: window.cleared,
        })
    }

    fn entered(&self, max: u32) -> Result<Vec<wit::Entry>, Error> {
        Ok(entries(self.borrow_mut().entered(max)?))
    }
}

fn entries(page: Vec<LogEntry>) -> Vec<wit::Entry> {
    page.into_iter()
        .map(|entry| wit::Entry {
            timestamp: entry.timestamp,
            data: entry.data,
        })
        .collect()
}
