//! See `beaver_core::Log`.

use super::Store;
use super::{Cursor, pages};
use crate::component::Remote;
use crate::{LogEntry, Result, Window};
use beaver_core as native;
use beaver_host::client;
use std::time::Duration;

/// A log of either system.
#[derive(Debug)]
pub enum Log {
    /// The core in this process.
    Native(native::Log),
    /// The component.
    Component(Remote<client::Log>),
}

/// Follows a log of either system.
#[derive(Debug)]
pub enum Tail {
    /// The core in this process.
    Native(native::Tail),
    /// The component.
    Component(Remote<client::Tail>),
}

/// A window over a log of either system.
#[derive(Debug)]
pub enum Live {
    /// The core in this process.
    Native(native::Live),
    /// The component.
    Component(Remote<client::Live>),
}

impl Store {
    /// A handle for a log.
    ///
    /// # Errors
    /// What opening the handle reports.
    pub fn log(&self, name: &str) -> Result<Log> {
        match self {
            Self::Native(db) => db.log(name).map(Log::Native),
            Self::Component(db) => db
                .open(async |db, instance| instance.log(db, name).await)
                .map(Log::Component),
        }
    }
}

dumping!(Log);
loading!(Log);

impl Log {
    forward! {
        append(data: &str, timestamp: Option<f64>) -> f64;
        #[expect(clippy::len_without_is_empty, reason = "as in core")]
        len() -> u64;
        clear() -> u64;
    }

    /// All entries, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn entry_pages(&self, max: u32) -> Result<Vec<Vec<LogEntry>>> {
        self.entries()?.pages(max)
    }

    /// As the core's `entries`.
    ///
    /// # Errors
    /// As the core's.
    pub fn entries(&self) -> Result<Cursor<LogEntry>> {
        match self {
            Self::Native(log) => {
                let mut cursor = log.entries()?;
                Ok(Cursor::new(move |max| cursor.next_page(max)))
            }
            Self::Component(log) => {
                let cursor = log.open(async |log, instance| log.entries(instance).await)?;
                Ok(Cursor::new(move |max| {
                    Ok(entries(cursor.run(async |c, i| c.next(i, max).await)?))
                }))
            }
        }
    }

    /// The entries from `start` to `end`, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn range_pages(&self, start: f64, end: f64, max: u32) -> Result<Vec<Vec<LogEntry>>> {
        match self {
            Self::Native(log) => {
                let mut cursor = log.range(start, end)?;
                pages(|| cursor.next_page(max))
            }
            Self::Component(log) => {
                let cursor = log.open(async |log, i| log.range(i, start, end).await)?;
                pages(|| Ok(entries(cursor.run(async |c, i| c.next(i, max).await)?)))
            }
        }
    }

    /// As the core's `tail`.
    ///
    /// # Errors
    /// As the core's.
    pub fn tail(&self, after: Option<f64>) -> Result<Tail> {
        match self {
            Self::Native(log) => log.tail(after).map(Tail::Native),
            Self::Component(log) => log
                .open(async |log, instance| log.tail(instance, after).await)
                .map(Tail::Component),
        }
    }

    /// As the core's `live`.
    ///
    /// # Errors
    /// As the core's.
    pub fn live(&self, window: Duration, period: Duration) -> Result<Live> {
        match self {
            Self::Native(log) => log.live(window, period).map(Live::Native),
            Self::Component(log) => log
                .open(async |log, instance| log.live(instance, window, period).await)
                .map(Live::Component),
        }
    }
}

impl Tail {
    /// As the core's `next_page`.
    ///
    /// # Errors
    /// As the core's.
    pub fn next_page(&mut self, max: u32, timeout: Option<Duration>) -> Result<Vec<LogEntry>> {
        match self {
            Self::Native(tail) => tail.next_page(max, timeout),
            Self::Component(tail) => tail
                .run(async |tail, instance| tail.next(instance, max, timeout).await)
                .map(entries),
        }
    }
}

impl Live {
    /// As the core's `next_window`.
    ///
    /// # Errors
    /// As the core's.
    pub fn next_window(&mut self, timeout: Option<Duration>) -> Result<Window> {
        match self {
            Self::Native(live) => live.next_window(timeout),
            Self::Component(live) => {
                let window = live.run(async |live, i| live.next(i, timeout).await)?;
                Ok(Window {
                    start: window.start,
                    end: window.end,
                    cleared: window.cleared,
                })
            }
        }
    }

    /// As the core's `entered`.
    ///
    /// # Errors
    /// As the core's.
    pub fn entered(&mut self, max: u32) -> Result<Vec<LogEntry>> {
        match self {
            Self::Native(live) => live.entered(max),
            Self::Component(live) => live
                .run(async |live, instance| live.entered(instance, max).await)
                .map(entries),
        }
    }
}

fn entries(page: Vec<client::LogEntry>) -> Vec<LogEntry> {
    page.into_iter()
        .map(|entry| LogEntry {
            timestamp: entry.timestamp,
            data: entry.data,
        })
        .collect()
}
