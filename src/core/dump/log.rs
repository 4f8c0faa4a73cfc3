//! Logs: `{"timestamp", "data"}`.

use super::load::{Target, required};
use super::split::{Members, Shape};
use super::{Dump, Extent, Loader, Part, Source, load_from, member, object};
use crate::error::Result;
use crate::json::python_text_with_constants;
use crate::log::{Log, LogEntries, LogEntry, check_timestamp};

load_from!(Log);

impl Log {
    /// The entries up to the last one now, as the JSON text that Python's
    /// `json.dump(log.dump(), file, indent=2)` writes. What is appended
    /// meanwhile with a later timestamp isn't in it and doesn't disturb it.
    ///
    /// # Errors
    /// What reading may report; each piece may fail.
    pub fn dump(&self) -> Result<Dump> {
        let (extent, entries) = self.database.read_snapshot(|_| {
            let last = self.last_stamp()?.unwrap_or(f64::NEG_INFINITY);
            let mut entries = self.range(f64::NEG_INFINITY, last)?;
            let extent = Extent::new(self.len()?, entries.read_ahead()?);
            Ok((extent, entries))
        })?;
        Ok(Dump::new(
            &self.database,
            "Log",
            self.name(),
            extent,
            "",
            Logged(entries),
        ))
    }

    /// Loads a dump: appends its entries with their timestamps; one that is
    /// taken moves to the next free, as in [`Log::append`].
    ///
    /// # Errors
    /// None now; see [`Loader`].
    pub fn loader(&self) -> Result<Loader> {
        Ok(Loader::of(Logging(self.share())))
    }
}

#[derive(Debug)]
struct Logged(LogEntries);

impl Source for Logged {
    fn next(&mut self) -> Result<Option<Vec<Part>>> {
        let Some(LogEntry { timestamp, data }) = self.0.next().transpose()? else {
            return Ok(None);
        };
        let data = Part::stored(data, format!("the entry of {timestamp}"));
        Ok(Some(object([
            ("timestamp", Part::float(timestamp)),
            ("data", data),
        ])))
    }
}

#[derive(Debug)]
struct Logging(Log);

impl Target for Logging {
    type Item = LogEntry;

    const KIND: &'static str = "Log";
    const SHAPE: Shape = Shape::Object(&["timestamp", "data"]);

    fn item(&self, mut members: Members) -> Result<(LogEntry, usize)> {
        let timestamp = member::number(&required(&mut members, 0, "timestamp")?, "a timestamp")?;
        check_timestamp(timestamp)?;
        let data = python_text_with_constants(&required(&mut members, 1, "data")?)?;
        let size = data.len();
        Ok((LogEntry { timestamp, data }, size))
    }

    fn add(&self, entries: &[LogEntry]) -> Result<()> {
        self.0.append_all(entries)
    }
}
