//! Dictionaries: `{"key", "value"}`.

use super::load::{Target, required};
use super::split::{Members, Shape};
use super::{Dump, Extent, Loader, Part, Source, load_from, member, object};
use crate::dict::{Dict, Entry, Items};
use crate::error::Result;
use crate::json::python_text_with_constants;
use crate::manager::check_key;

load_from!(Dict);

impl Dict {
    /// The entries that haven't expired now, as the JSON text that Python's
    /// `json.dump(dict.dump(), file, indent=2)` writes. Times to live aren't in
    /// it; values of an encrypted dictionary are, in plain text.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("app.db");
    /// use beaver_core::{Database, Options};
    ///
    /// let db = Database::open(path.to_str().unwrap(), &Options::default())?;
    /// let config = db.dict("config")?;
    /// config.set("theme", r#""dark""#, None)?;
    /// let text: String = config.dump()?.collect::<Result<_, _>>()?;
    /// assert!(text.contains(r#""type": "Dict""#));
    ///
    /// let copy = db.dict("copy")?;
    /// assert_eq!(copy.load_from(text.as_bytes())?, 1);
    /// assert_eq!(copy.get("theme")?.as_deref(), Some(r#""dark""#));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What reading may report; each piece may fail.
    pub fn dump(&self) -> Result<Dump> {
        let (extent, items) = self.database.read_snapshot(|_| {
            let (count, mut items) = self.items_now()?;
            let extent = Extent::new(count, items.read_ahead()?);
            Ok((extent, items))
        })?;
        let encrypted = format!(",\n    \"encrypted\": {}", self.is_encrypted());
        let source = Entries(items);
        Ok(Dump::new(
            &self.database,
            "Dict",
            self.name(),
            extent,
            &encrypted,
            source,
        ))
    }

    /// Loads a dump: sets its keys, without a time to live. Other keys stay.
    ///
    /// # Errors
    /// None now; see [`Loader`].
    pub fn loader(&self) -> Result<Loader> {
        Ok(Loader::of(Entering(self.share())))
    }
}

#[derive(Debug)]
struct Entries(Items);

impl Source for Entries {
    fn next(&mut self) -> Result<Option<Vec<Part>>> {
        let Some(Entry { key, value }) = self.0.next().transpose()? else {
            return Ok(None);
        };
        let value = Part::stored(value, format!("the value of {key:?}"));
        Ok(Some(object([
            ("key", Part::string(&key)),
            ("value", value),
        ])))
    }
}

#[derive(Debug)]
struct Entering(Dict);

impl Target for Entering {
    type Item = Entry;

    const KIND: &'static str = "Dict";
    const SHAPE: Shape = Shape::Object(&["key", "value"]);

    fn item(&self, mut members: Members) -> Result<(Entry, usize)> {
        let key = member::string(&required(&mut members, 0, "key")?, "a key")?;
        check_key(&key)?;
        let value = python_text_with_constants(&required(&mut members, 1, "value")?)?;
        let size = key.len() + value.len();
        Ok((Entry { key, value }, size))
    }

    fn add(&self, entries: &[Entry]) -> Result<()> {
        self.0.set_all(entries)
    }
}
