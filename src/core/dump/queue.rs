//! Queues: `{"priority", "timestamp", "data"}`.

use super::load::{Target, required};
use super::split::{Members, Shape};
use super::{Dump, Extent, Loader, Part, Source, load_from, member, object};
use crate::error::{Error, Result};
use crate::json::python_text_with_constants;
use crate::queue::{Item, Queue, QueueItems, check_priority};

load_from!(Queue);

impl Queue {
    /// The items in queue order, left where they are, as the JSON text that
    /// Python's `json.dump(queue.dump(), file, indent=2)` writes.
    ///
    /// # Errors
    /// What reading may report; each piece may fail.
    pub fn dump(&self) -> Result<Dump> {
        let (extent, items) = self.database.read_snapshot(|_| {
            let (count, mut items) = (self.len()?, self.items()?);
            let extent = Extent::new(count, items.read_ahead()?);
            Ok((extent, items))
        })?;
        let source = Waiting { items, given: 0 };
        Ok(Dump::new(
            &self.database,
            "Queue",
            self.name(),
            extent,
            "",
            source,
        ))
    }

    /// Loads a dump: puts its items, with their priorities and timestamps, so
    /// in their order and before those that were put later.
    ///
    /// # Errors
    /// None now; see [`Loader`].
    pub fn loader(&self) -> Result<Loader> {
        Ok(Loader::of(Putting(self.share())))
    }
}

#[derive(Debug)]
struct Waiting {
    items: QueueItems,
    given: u64,
}

impl Source for Waiting {
    fn next(&mut self) -> Result<Option<Vec<Part>>> {
        let Some(item) = self.items.next().transpose()? else {
            return Ok(None);
        };
        let number = self.given;
        self.given += 1;
        Ok(Some(object([
            ("priority", Part::float(item.priority)),
            ("timestamp", Part::float(item.timestamp)),
            (
                "data",
                Part::stored(item.data, format!("the queue's item {number}")),
            ),
        ])))
    }
}

#[derive(Debug)]
struct Putting(Queue);

impl Target for Putting {
    type Item = Item;

    const KIND: &'static str = "Queue";
    const SHAPE: Shape = Shape::Object(&["priority", "timestamp", "data"]);

    fn item(&self, mut members: Members) -> Result<(Item, usize)> {
        let priority = member::number(&required(&mut members, 0, "priority")?, "a priority")?;
        check_priority(priority)?;
        let timestamp = member::number(&required(&mut members, 1, "timestamp")?, "a timestamp")?;
        // After an infinite one no other could come.
        if !timestamp.is_finite() {
            return Err(Error::InvalidArgument("a timestamp must be finite".into()));
        }
        let data = python_text_with_constants(&required(&mut members, 2, "data")?)?;
        let size = data.len();
        Ok((
            Item {
                priority,
                timestamp,
                data,
            },
            size,
        ))
    }

    fn add(&self, items: &[Item]) -> Result<()> {
        self.0.put_all(items)
    }
}
