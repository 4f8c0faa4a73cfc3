//! `beaver:db/dump`.

use crate::Component;
use crate::bindings::exports::beaver::db::dump as wit;
use crate::bindings::exports::beaver::db::types::Error;
use beaver_core::{Dump, Loader};
use std::cell::RefCell;

impl wit::Guest for Component {
    type DumpCursor = RefCell<Dump>;
    type Loader = RefCell<Loader>;
}

pub(crate) fn cursor(dump: Dump) -> wit::DumpCursor {
    wit::DumpCursor::new(RefCell::new(dump))
}

pub(crate) fn loader(loader: Loader) -> wit::Loader {
    wit::Loader::new(RefCell::new(loader))
}

// The cells are never borrowed twice: a component isn't entered again while a
// call runs.

impl wit::GuestDumpCursor for RefCell<Dump> {
    fn next(&self, max: u32) -> Result<String, Error> {
        Ok(self.borrow_mut().next_chunk(max)?)
    }
}

impl wit::GuestLoader for RefCell<Loader> {
    fn write(&self, chunk: String) -> Result<(), Error> {
        Ok(self.borrow_mut().write(&chunk)?)
    }

    fn finish(&self) -> Result<u64, Error> {
        Ok(self.borrow_mut().finish()?)
    }
}
