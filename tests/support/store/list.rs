//! See `beaver_core::List`.

use super::Store;
use super::pages;
use crate::Result;
use crate::component::Remote;
use beaver_core as native;
use beaver_host::client;

/// A list of either system.
#[derive(Debug)]
pub enum List {
    /// The core in this process.
    Native(native::List),
    /// The component.
    Component(Remote<client::List>),
}

/// A cursor over a list, of either system.
#[derive(Debug)]
pub enum ListItems {
    /// The core in this process.
    Native(native::ListItems),
    /// The component.
    Component(Remote<client::ListCursor>),
}

impl Store {
    /// A handle for a list.
    ///
    /// # Errors
    /// What opening the handle reports.
    pub fn list(&self, name: &str) -> Result<List> {
        match self {
            Self::Native(db) => db.list(name).map(List::Native),
            Self::Component(db) => db
                .open(async |db, instance| instance.list(db, name).await)
                .map(List::Component),
        }
    }
}

locking!(List);
dumping!(List);
loading!(List);

impl List {
    forward! {
        push(value: &str) -> ();
        prepend(value: &str) -> ();
        insert(index: i64, value: &str) -> ();
        pop() -> Option<String>;
        pop_first() -> Option<String>;
        get(index: i64) -> Option<String>;
        set(index: i64, value: &str) -> ();
        delete(index: i64) -> ();
        contains(value: &str) -> bool;
        #[expect(clippy::len_without_is_empty, reason = "as in core")]
        len() -> u64;
        clear() -> u64;
    }

    /// As the core's `items`.
    ///
    /// # Errors
    /// As the core's.
    pub fn items(&self) -> Result<ListItems> {
        match self {
            Self::Native(list) => list.items().map(ListItems::Native),
            Self::Component(list) => list
                .open(async |list, instance| list.items(instance).await)
                .map(ListItems::Component),
        }
    }

    /// As the core's `slice`.
    ///
    /// # Errors
    /// As the core's.
    pub fn slice(&self, start: Option<i64>, stop: Option<i64>) -> Result<ListItems> {
        match self {
            Self::Native(list) => list.slice(start, stop).map(ListItems::Native),
            Self::Component(list) => list
                .open(async |list, instance| list.slice(instance, start, stop).await)
                .map(ListItems::Component),
        }
    }

    /// All items, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn item_pages(&self, max: u32) -> Result<Vec<Vec<String>>> {
        let mut items = self.items()?;
        pages(|| items.next_page(max))
    }

    /// The items of a slice, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn slice_pages(
        &self,
        start: Option<i64>,
        stop: Option<i64>,
        max: u32,
    ) -> Result<Vec<Vec<String>>> {
        let mut items = self.slice(start, stop)?;
        pages(|| items.next_page(max))
    }
}

impl ListItems {
    /// As the core's `next_page`.
    ///
    /// # Errors
    /// As the core's.
    pub fn next_page(&mut self, max: u32) -> Result<Vec<String>> {
        match self {
            Self::Native(items) => items.next_page(max),
            Self::Component(items) => {
                items.run(async |items, instance| items.next(instance, max).await)
            }
        }
    }
}
