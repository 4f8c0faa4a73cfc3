//! Clocks, randomness and waiting for core, from WASI and the host.

use crate::bindings::beaver::host::storage::{self, Capabilities, ErrorCode, FileKind, OpenFlags};
use crate::vfs;
use beaver_core::rusqlite::Connection;
use beaver_core::{Error, Interest, Outcome, Runtime, SystemRuntime};
use std::ops::Range;
use std::time::Duration;

/// What core runs on in a component: WASI's clocks and randomness by way of
/// the standard library, the host's waiting.
#[derive(Default)]
pub(crate) struct HostRuntime {
    system: SystemRuntime,
}

impl Runtime for HostRuntime {
    fn unix_seconds(&self) -> f64 {
        self.system.unix_seconds()
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }

    fn random(&self) -> u128 {
        self.system.random()
    }

    fn secure_random(&self) -> beaver_core::Result<u128> {
        self.system.secure_random()
    }

    /// Parks the instance, not a thread of the host.
    fn sleep(&self, duration: Duration) {
        storage::sleep(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    fn change_token(&self, connection: &Connection) -> Option<u64> {
        vfs::change_token(connection)
    }

    fn watch(&self, connection: &Connection, interest: Option<Interest>) {
        let interest = interest.map(|interest| storage::Interest {
            topic: interest.topic,
            turn: interest.turn,
            claim: interest.claim,
        });
        vfs::watch(connection, interest);
    }

    fn announce(&self, connection: &Connection, topics: &[u64]) {
        vfs::announce(connection, topics);
    }

    fn wait_change(&self, connection: &Connection, seen: Option<u64>, timeout: Duration) {
        let waited = seen.is_some_and(|seen| vfs::wait_change(connection, seen, timeout));
        if !waited {
            self.sleep(timeout.min(POLL_INTERVAL));
        }
    }

    fn claim(&self, connection: &Connection, tokens: Range<u64>) -> bool {
        storage::get_capabilities().contains(Capabilities::CLAIMS) && vfs::claim(connection, tokens)
    }

    fn end_claim(&self, connection: &Connection, token: u64) -> bool {
        vfs::end_claim(connection, token)
    }

    fn is_claimed(&self, connection: &Connection, token: u64) -> Option<bool> {
        vfs::is_claimed(connection, token)
    }

    /// Asks the host for the file itself: it says why not, and the file's
    /// header says whether it is in WAL mode, which SQLite refuses with the
    /// same code where the wal-index can't be shared.
    fn explain_cannot_open(&self, path: &str) -> Error {
        let failed = |message: &str| Error::Failed {
            message: format!("the database could not be opened: {message}"),
            outcome: Outcome::NotApplied,
        };
        let file = match storage::open_file(path, FileKind::MainDb, OpenFlags::READ_ONLY) {
            Ok(file) => file,
            Err(ErrorCode::NotFound) => return Error::NotFound,
            Err(ErrorCode::Access) => return Error::AccessDenied,
            Err(ErrorCode::ReadOnly) => return Error::ReadOnly,
            Err(ErrorCode::Full | ErrorCode::TooManyFiles) => return Error::Full,
            Err(ErrorCode::Busy | ErrorCode::TimedOut) => return Error::Busy,
            Err(other) => return failed(other.message()),
        };
        if storage::get_capabilities().contains(Capabilities::SHARED_MEMORY) {
            return failed("its journal or log can't be opened");
        }
        match file.read_at(FORMAT_VERSIONS, 2).as_deref() {
            Ok([WAL, _] | [_, WAL]) => Error::WalUnsupported,
            _ => failed("its journal can't be opened"),
        }
    }
}

/// How often to look where the host can't wake: core's own interval.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// https://sqlite.org/fileformat.html: "The file format write version and file
/// format read version at offsets 18 and 19 […] are 1 for rollback journalling
/// modes and 2 for WAL journalling mode."
const FORMAT_VERSIONS: u64 = 18;
const WAL: u8 = 2;
