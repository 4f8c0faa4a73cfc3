//! `beaver:db/database`.

use crate::Component;
use crate::bindings::exports::beaver::db::database as wit;
use crate::bindings::exports::beaver::db::types::Error;
use crate::runtime::HostRuntime;
use beaver_core::{Database, Durability, GuardMode, Journal, JournalChoice, OpenMode, Options};
use std::rc::Rc;
use std::time::Duration;

impl wit::Guest for Component {
    type Database = Database;
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
        match self.journal() {
            Journal::Wal => wit::Journal::Wal,
            Journal::Rollback => wit::Journal::Rollback,
        }
    }

    fn checkpoint(&self) -> Result<u64, Error> {
        Ok(self.checkpoint()?)
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
