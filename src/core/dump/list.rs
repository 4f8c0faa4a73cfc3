//! Lists: each item is the value itself.

use super::load::Target;
use super::print::Printer;
use super::split::{Members, Shape};
use super::{Dump, Extent, ITEM_LEVEL, Loader, Part, Source, load_from};
use crate::error::Result;
use crate::json::python_text_with_constants;
use crate::list::{List, ListItems};

load_from!(List);

impl List {
    /// The items as the JSON text that Python's
    /// `json.dump(list.dump(), file, indent=2)` writes.
    ///
    /// # Errors
    /// What reading may report; each piece may fail.
    pub fn dump(&self) -> Result<Dump> {
        let (extent, items) = self.database.read_snapshot(|_| {
            let (count, mut items) = (self.len()?, self.items()?);
            let extent = Extent::new(count, items.read_ahead()?);
            Ok((extent, items))
        })?;
        let source = Listed { items, given: 0 };
        Ok(Dump::new(
            &self.database,
            "List",
            self.name(),
            extent,
            "",
            source,
        ))
    }

    /// Loads a dump: pushes its items, in their order.
    ///
    /// # Errors
    /// None now; see [`Loader`].
    pub fn loader(&self) -> Result<Loader> {
        Ok(Loader::of(Pushing(self.share())))
    }
}

#[derive(Debug)]
struct Listed {
    items: ListItems,
    given: u64,
}

impl Source for Listed {
    fn next(&mut self) -> Result<Option<Vec<Part>>> {
        let Some(text) = self.items.next().transpose()? else {
            return Ok(None);
        };
        let what = format!("the list's item {}", self.given);
        self.given += 1;
        Ok(Some(vec![Part::Json(Printer::new(text, ITEM_LEVEL, what))]))
    }
}

#[derive(Debug)]
struct Pushing(List);

impl Target for Pushing {
    type Item = String;

    const KIND: &'static str = "List";
    const SHAPE: Shape = Shape::Value;

    fn item(&self, members: Members) -> Result<(String, usize)> {
        let text = members.into_iter().flatten().next().unwrap_or_default();
        let value = python_text_with_constants(&text)?;
        let size = value.len();
        Ok((value, size))
    }

    fn add(&self, values: &[String]) -> Result<()> {
        self.0.push_all(values)
    }
}
