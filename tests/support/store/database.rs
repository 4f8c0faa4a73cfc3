//! See `beaver_core::Database`.

use super::{Store, pages};
use crate::{IfExists, Journal, ManagerEntry, ManagerKind, Result, Stats};
use beaver_host::client;
use std::path::Path;

impl Store {
    /// The version that the file names.
    ///
    /// # Errors
    /// What reading reports.
    pub fn format_version(&self) -> Result<Option<String>> {
        match self {
            Self::Native(db) => db.format_version(),
            Self::Component(db) => db.run(async |db, i| db.format_version(i).await),
        }
    }

    /// The journal in use.
    ///
    /// # Errors
    /// When the instance is gone.
    pub fn journal(&self) -> Result<Journal> {
        match self {
            Self::Native(db) => Ok(db.journal()),
            Self::Component(db) => Ok(match db.run(async |db, i| db.journal(i).await)? {
                client::Journal::Rollback => Journal::Rollback,
                _ => Journal::Wal,
            }),
        }
    }

    /// Frames left in the log after a checkpoint.
    ///
    /// # Errors
    /// What it reports.
    pub fn checkpoint(&self) -> Result<u64> {
        match self {
            Self::Native(db) => db.checkpoint(),
            Self::Component(db) => db.run(async |db, i| db.checkpoint(i).await),
        }
    }

    /// What is in the file, read in pages of at most `max`.
    ///
    /// # Errors
    /// What reading reports.
    pub fn manager_pages(
        &self,
        include_internal: bool,
        max: u32,
    ) -> Result<Vec<Vec<ManagerEntry>>> {
        match self {
            Self::Native(db) => {
                let mut cursor = db.managers(include_internal)?;
                pages(|| cursor.next_page(max))
            }
            Self::Component(db) => {
                let cursor = db.open(async |db, i| db.managers(i, include_internal).await)?;
                pages(|| {
                    let page = cursor.run(async |cursor, i| cursor.next(i, max).await)?;
                    Ok(page.into_iter().map(entry).collect())
                })
            }
        }
    }

    /// Figures of the file.
    ///
    /// # Errors
    /// What reading reports.
    pub fn stats(&self) -> Result<Stats> {
        match self {
            Self::Native(db) => db.stats(),
            Self::Component(db) => {
                let stats = db.run(async |db, i| db.stats(i).await)?;
                Ok(Stats {
                    page_size_bytes: stats.page_size_bytes,
                    pages: stats.pages,
                    free_pages: stats.free_pages,
                    log_frames: stats.log_frames,
                    log_frames_copied: stats.log_frames_copied,
                    journal: match stats.journal {
                        client::Journal::Rollback => Journal::Rollback,
                        _ => Journal::Wal,
                    },
                    format_version: stats.format_version,
                    sqlite_version: stats.sqlite_version,
                    data_version: stats.data_version,
                })
            }
        }
    }

    /// What grows with every commit.
    ///
    /// # Errors
    /// What reading reports.
    pub fn data_version(&self) -> Result<u64> {
        match self {
            Self::Native(db) => db.data_version(),
            Self::Component(db) => db.run(async |db, i| db.data_version(i).await),
        }
    }

    /// Gives unused pages back.
    ///
    /// # Errors
    /// What it reports.
    pub fn vacuum(&self) -> Result<u64> {
        match self {
            Self::Native(db) => db.vacuum(),
            Self::Component(db) => db.run(async |db, i| db.vacuum(i).await),
        }
    }

    /// Copies the database to `path`, of which the component is told the file name.
    ///
    /// # Errors
    /// What it reports.
    pub fn backup(&self, path: &Path, if_exists: IfExists) -> Result<u64> {
        match self {
            Self::Native(db) => db.backup(path.to_str().unwrap_or_default(), if_exists),
            Self::Component(db) => {
                let name = path.file_name().and_then(|name| name.to_str());
                let if_exists = match if_exists {
                    IfExists::Fail => client::IfExists::Fail,
                    IfExists::Replace => client::IfExists::Replace,
                };
                db.run(async |db, i| db.backup(i, name.unwrap_or_default(), if_exists).await)
            }
        }
    }
}

fn entry(entry: client::ManagerEntry) -> ManagerEntry {
    ManagerEntry {
        kind: match entry.kind {
            client::ManagerKind::Dict => ManagerKind::Dict,
            client::ManagerKind::List => ManagerKind::List,
            client::ManagerKind::Queue => ManagerKind::Queue,
            client::ManagerKind::Collection => ManagerKind::Collection,
            client::ManagerKind::Blob => ManagerKind::Blob,
            client::ManagerKind::Log => ManagerKind::Log,
            client::ManagerKind::Channel => ManagerKind::Channel,
            client::ManagerKind::Sketch => ManagerKind::Sketch,
            client::ManagerKind::Lock => ManagerKind::Lock,
        },
        name: entry.name,
        count: entry.count,
        size_bytes: entry.size_bytes,
    }
}
