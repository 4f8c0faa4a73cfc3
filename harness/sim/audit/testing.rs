//! Native SQLite as the truth to compare with.

use super::index::HEADER_BYTES;
use super::{AuditError, Files, Ledger, Which};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// Bytes of files, as they were or as a test has made them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) database: Vec<u8>,
    pub(super) wal: Vec<u8>,
    pub(super) journal: Vec<u8>,
}

impl Snapshot {
    fn bytes(&self, which: Which) -> &[u8] {
        match which {
            Which::Database => &self.database,
            Which::Wal => &self.wal,
            Which::Journal => &self.journal,
        }
    }

    fn write(&self, path: &Path) {
        std::fs::write(path, &self.database).unwrap();
        for (end, bytes) in [("wal", &self.wal), ("journal", &self.journal)] {
            if !bytes.is_empty() {
                std::fs::write(beside(path, end), bytes).unwrap();
            }
        }
    }

    /// What native SQLite makes of the files: the database after it has opened them, copied
    /// the log back, and closed them. (If it then finds the database broken, it has played
    /// a journal back all the same.)
    pub(super) fn truth(&self) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth.db");
        self.write(&path);
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "PRAGMA synchronous=OFF; SELECT count(*) FROM sqlite_schema;
                 PRAGMA wal_checkpoint(TRUNCATE)",
            )
            .ok();
        connection.close().unwrap();
        std::fs::read(&path).unwrap()
    }
}

impl Files for Snapshot {
    fn size(&self, which: Which) -> u64 {
        self.bytes(which).len() as u64
    }

    fn read(&self, which: Which, offset: u64, buffer: &mut [u8]) -> usize {
        let bytes = self.bytes(which).get(offset as usize..).unwrap_or(&[]);
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        length
    }
}

/// A database of native SQLite's, in WAL mode and without checkpoints of its own.
pub(super) struct Native {
    connection: Connection,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Native {
    pub(super) fn new() -> Self {
        Self::with("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0")
    }

    pub(super) fn with(pragmas: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("native.db");
        let native = Self {
            connection: Connection::open(&path).unwrap(),
            path,
            _folder: folder,
        };
        native.run("PRAGMA synchronous=OFF; PRAGMA busy_timeout=0");
        native.run(pragmas);
        native
    }

    /// Opens what was left of another database.
    pub(super) fn from(files: &Snapshot) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("native.db");
        files.write(&path);
        let native = Self {
            connection: Connection::open(&path).unwrap(),
            path,
            _folder: folder,
        };
        native.run("PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0");
        native
    }

    pub(super) fn run(&self, sql: &str) {
        self.connection.execute_batch(sql).unwrap();
    }

    /// The header of the next generation of the log.
    pub(super) fn restarted_header(&self) -> Vec<u8> {
        self.run("PRAGMA wal_checkpoint(RESTART); CREATE TABLE restarted (v)");
        self.files().wal[..32].to_vec()
    }

    /// As `run`, unless another connection is in the way.
    pub(super) fn attempt(&self, sql: &str) {
        self.connection.execute_batch(sql).ok();
    }

    pub(super) fn another(&self) -> Connection {
        let connection = Connection::open(&self.path).unwrap();
        connection
            .execute_batch(
                "PRAGMA synchronous=OFF; PRAGMA busy_timeout=0; PRAGMA wal_autocheckpoint=0",
            )
            .unwrap();
        connection
    }

    pub(super) fn files(&self) -> Snapshot {
        let read = |path: &Path| std::fs::read(path).unwrap_or_default();
        Snapshot {
            database: read(&self.path),
            wal: read(&beside(&self.path, "wal")),
            journal: read(&beside(&self.path, "journal")),
        }
    }

    /// The first copy of the wal-index's header.
    pub(super) fn index(&self) -> Option<[u8; HEADER_BYTES]> {
        std::fs::read(beside(&self.path, "shm"))
            .ok()?
            .first_chunk()
            .copied()
    }

    pub(super) fn truth(&self) -> Vec<u8> {
        self.files().truth()
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-");
    name.push(end);
    name.into()
}

/// Rows of about `bytes` bytes each, which differ with `salt`.
pub(super) fn insert(rows: u32, bytes: u32, salt: u32) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO t SELECT i * 1000 + {salt}, zeroblob({bytes}) FROM n"
    )
}

/// A native database and the record of its commits.
pub(super) struct Watched {
    pub(super) native: Native,
    pub(super) ledger: Ledger,
    now_ns: u64,
}

impl Watched {
    /// A ledger that begins with the database as it is.
    pub(super) fn new(native: Native) -> Self {
        let mut watched = Self {
            ledger: Ledger::new(&native.files(), 0),
            native,
            now_ns: 0,
        };
        watched.look().unwrap();
        watched
    }

    /// In WAL mode and with a table `t (k, v)`.
    pub(super) fn with_table() -> Self {
        let native = Native::new();
        native.run("CREATE TABLE t (k, v)");
        Self::new(native)
    }

    pub(super) fn look(&mut self) -> Result<usize, AuditError> {
        self.now_ns += 1;
        self.ledger.observe(
            &self.native.files(),
            self.native.index().as_ref(),
            self.now_ns,
        )
    }

    /// Runs what must be one commit, and gives its number.
    pub(super) fn commit(&mut self, sql: &str) -> u64 {
        self.native.run(sql);
        assert_eq!(self.look(), Ok(1), "{sql}");
        self.ledger.last().number
    }

    /// Runs what must not be a commit.
    pub(super) fn idle(&mut self, sql: &str) {
        self.native.run(sql);
        assert_eq!(self.look(), Ok(0), "{sql}");
    }
}
