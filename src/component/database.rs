//! `beaver:db/database`.

use crate::Component;
use crate::bindings::exports::beaver::db::database as wit;
use crate::bindings::exports::beaver::db::types::Error;
use crate::runtime::HostRuntime;
use beaver_core::{
    Database, Durability, GuardMode, IfExists, Journal, JournalChoice, ManagerKind, Managers,
    OpenMode, Options,
};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

impl wit::Guest for Component {
    type Database = Database;
    type ManagerCursor = RefCell<Managers>;
}

impl wit::GuestDatabase for Database {
    fn open(name: String, options: wit::Options) -> Result<wit::Database, Error> {
        check_name(&name)?;
        let database = Self::open_with(
            &name,
            &core_options(options),
            Rc::new(HostRuntime::default()),
        )?;
        Ok(wit::Database::new(database))
    }

    fn format_version(&self) -> Result<Option<String>, Error> {
        Ok(self.format_version()?)
    }

    fn journal(&self) -> wit::Journal {
        wit_journal(self.journal())
    }

    fn checkpoint(&self) -> Result<u64, Error> {
        Ok(self.checkpoint()?)
    }

    fn managers(&self, include_internal: bool) -> Result<wit::ManagerCursor, Error> {
        let managers = self.managers(include_internal)?;
        Ok(wit::ManagerCursor::new(RefCell::new(managers)))
    }

    fn stats(&self) -> Result<wit::Stats, Error> {
        let stats = self.stats()?;
        Ok(wit::Stats {
            page_size_bytes: stats.page_size_bytes,
            pages: stats.pages,
            free_pages: stats.free_pages,
            log_frames: stats.log_frames,
            log_frames_copied: stats.log_frames_copied,
            journal: wit_journal(stats.journal),
            format_version: stats.format_version,
            sqlite_version: stats.sqlite_version,
            data_version: stats.data_version,
        })
    }

    fn data_version(&self) -> Result<u64, Error> {
        Ok(self.data_version()?)
    }

    fn vacuum(&self) -> Result<u64, Error> {
        Ok(self.vacuum()?)
    }

    fn backup(&self, name: String, if_exists: wit::IfExists) -> Result<u64, Error> {
        check_name(&name)?;
        let if_exists = match if_exists {
            wit::IfExists::Fail => IfExists::Fail,
            wit::IfExists::Replace => IfExists::Replace,
        };
        Ok(self.backup(&name, if_exists)?)
    }
}

impl wit::GuestManagerCursor for RefCell<Managers> {
    fn next(&self, max: u32) -> Result<Vec<wit::ManagerEntry>, Error> {
        let page = self.borrow_mut().next_page(max)?;
        Ok(page
            .into_iter()
            .map(|entry| wit::ManagerEntry {
                kind: wit_kind(entry.kind),
                name: entry.name,
                count: entry.count,
                size_bytes: entry.size_bytes,
            })
            .collect())
    }
}

fn wit_journal(journal: Journal) -> wit::Journal {
    match journal {
        Journal::Wal => wit::Journal::Wal,
        Journal::Rollback => wit::Journal::Rollback,
    }
}

fn wit_kind(kind: ManagerKind) -> wit::ManagerKind {
    match kind {
        ManagerKind::Dict => wit::ManagerKind::Dict,
        ManagerKind::List => wit::ManagerKind::List,
        ManagerKind::Queue => wit::ManagerKind::Queue,
        ManagerKind::Collection => wit::ManagerKind::Collection,
        ManagerKind::Blob => wit::ManagerKind::Blob,
        ManagerKind::Log => wit::ManagerKind::Log,
        ManagerKind::Channel => wit::ManagerKind::Channel,
        ManagerKind::Sketch => wit::ManagerKind::Sketch,
        ManagerKind::Lock => wit::ManagerKind::Lock,
    }
}

/// The longest database name; SQLite's suffixes still fit the VFS's limit.
const MAX_NAME_BYTES: usize = 4000;

/// Lets no name through that means something else to SQLite than a file: empty
/// is a temporary database, `:memory:` one in memory, and with `SQLITE_USE_URI`
/// (which rusqlite's build sets) `file:` starts a URI whose parameters could
/// choose another VFS or turn locking off. Core takes care of NUL.
fn check_name(name: &str) -> Result<(), Error> {
    let problem = if name.is_empty() {
        "a database name must not be empty".to_owned()
    } else if name.len() > MAX_NAME_BYTES {
        format!(
            "a database name has at most {MAX_NAME_BYTES} bytes; this one has {}",
            name.len()
        )
    } else if name.starts_with("file:") {
        "a database name is a file's name, not a URI: it must not start with \"file:\"".to_owned()
    } else if name == ":memory:" {
        "a database name is a file's name; there are no databases in memory".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::InvalidArgument(problem))
}

fn core_options(options: wit::Options) -> Options {
    let default = Options::default();
    Options {
        mode: options.mode.map_or(default.mode, |mode| match mode {
            wit::OpenMode::Create => OpenMode::Create,
            wit::OpenMode::Existing => OpenMode::Existing,
            wit::OpenMode::ReadOnly => OpenMode::ReadOnly,
        }),
        guard_mode: options
            .guard_mode
            .map_or(default.guard_mode, |mode| match mode {
                wit::GuardMode::Mandatory => GuardMode::Mandatory,
                wit::GuardMode::Advisory => GuardMode::Advisory,
            }),
        durability: options
            .durability
            .map_or(default.durability, |durability| match durability {
                wit::Durability::Normal => Durability::Normal,
                wit::Durability::Full => Durability::Full,
            }),
        journal: options
            .journal
            .map_or(default.journal, |journal| match journal {
                // `Journal` names a choice here and a fact in `Database::journal`.
                wit::Journal::Automatic => JournalChoice::Automatic,
                wit::Journal::Wal => JournalChoice::Wal,
                wit::Journal::Rollback => JournalChoice::Rollback,
            }),
        busy_timeout: options
            .busy_timeout
            .map_or(default.busy_timeout, Duration::from_nanos),
        lock_wait: options
            .lock_wait
            .map_or(default.lock_wait, Duration::from_nanos),
    }
}
