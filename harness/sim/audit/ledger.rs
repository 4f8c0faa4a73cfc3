//! The record of a database's commits, kept by looking at its files and its wal-index.
//!
//! A commit is what makes new content visible to others: with a write-ahead log, the wal-index's
//! header says that more frames are valid; with a rollback journal, the journal is gone and the
//! database's change counter has moved. Nothing else may change what the database holds, neither a
//! checkpoint nor a restart, truncation or deletion of the log; that is verified whenever the log
//! restarts or ends and whenever the database was synced.
//!
//! The wal-index is the only witness of what is published, the log only of what was written. A
//! wal-index that is rebuilt from the log (`walIndexRecover`) shows the same frames again, which isn't a
//! commit, or those of a writer that died before it could publish them, which is.
//!
//! What must stay true: the simulator looks after each host call (so that between a commit and
//! the restart of the log that holds it there is a look); numbers only grow and are never given
//! twice; the table of page digests is always the last commit's.

use super::digest::PageTable;
use super::durability::Durable;
use super::image::{Database, image};
use super::index::{HEADER_BYTES, IndexHeader};
use super::wal::{Transaction, Wal};
use super::{AuditError, Durability, Files, Mark, Which, journal};

/// What a commit was written to first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// A write-ahead log.
    WriteAheadLog,
    /// A rollback journal.
    Rollback,
}

/// A state of the database that others could see, or that recovery brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Grows with each; a number that was lost isn't given again.
    pub number: u64,
    /// The wal-index's `iChange`, or the database's file change counter.
    pub change: u32,
    /// The commit's last frame in the log; 0 without one.
    pub mx_frame: u32,
    /// The log's salts; zeros without one.
    pub salts: [u8; 8],
    /// The checksum of that frame; zeros without one.
    pub checksum: [u32; 2],
    /// The database's size in pages.
    pub pages: u32,
    /// The digest of all pages.
    pub digest: u64,
    /// When it was first seen.
    pub at_ns: u64,
    /// What it was written to.
    pub journal: Journal,
}

impl Commit {
    /// Whether this is the transaction in a log with these salts.
    pub(super) fn is(&self, salts: [u8; 8], transaction: &Transaction) -> bool {
        (self.salts, self.mx_frame, self.checksum)
            == (salts, transaction.frame, transaction.checksum)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    /// The wal-index's header at the last look; zeros if there was none.
    pub(super) seen: [u8; HEADER_BYTES],
    /// The database at the last look, if there was no wal-index.
    pub(super) stamp: Option<Stamp>,
    pub(super) wal: Wal,
    pub(super) table: PageTable,
    /// Whether the last commit's first page says that there is a log.
    pub(super) is_wal: bool,
    /// Never empty.
    pub(super) commits: Vec<Commit>,
    pub(super) next: u64,
    pub(super) durable: Durable,
}

/// Changes with each commit by a rollback journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    change: u32,
}

impl Stamp {
    fn of(files: &dyn Files) -> Self {
        let mut change = [0; 4];
        files.read(Which::Database, 24, &mut change);
        Self {
            size: files.size(Which::Database),
            change: u32::from_be_bytes(change),
        }
    }
}

impl Ledger {
    /// Begins with what the files hold, which is commit 0 and taken to be on the device. Nobody may
    /// have them open.
    #[must_use]
    pub fn new(files: &dyn Files, at_ns: u64) -> Self {
        let mut ledger = Self {
            seen: [0; HEADER_BYTES],
            stamp: None,
            wal: Wal::default(),
            table: PageTable::default(),
            is_wal: false,
            commits: Vec::new(),
            next: 0,
            durable: Durable::at(0),
        };
        let found = super::recovery::State::recover(files);
        ledger.adopt(found);
        ledger.push(0, at_ns);
        ledger
    }

    /// Looks whether anything was committed, and says how many commits. `index`: the first copy of the
    /// wal-index's header; None if there is no wal-index. Costs a comparison if
    /// nothing has changed, and otherwise reads what was committed.
    ///
    /// # Errors
    /// Frames that were published are gone, replaced or invalid; or the database isn't as the last
    /// commit left it.
    pub fn observe(
        &mut self,
        files: &dyn Files,
        index: Option<&[u8; HEADER_BYTES]>,
        at_ns: u64,
    ) -> Result<usize, AuditError> {
        let Some(bytes) = index else {
            self.seen = [0; HEADER_BYTES];
            return self.observe_database(files, at_ns);
        };
        if *bytes == self.seen {
            return Ok(0);
        }
        let Some(header) = IndexHeader::parse(bytes) else {
            return Ok(0);
        };
        self.seen = *bytes;
        self.stamp = None;
        if header.salts == self.wal.salts() {
            return self.observe_frames(files, header, at_ns);
        }
        self.wal = Wal::new(header.salts);
        let commits = self.observe_frames(files, header, at_ns)?;
        self.table = self.verify(files)?;
        Ok(commits)
    }

    fn observe_frames(
        &mut self,
        files: &dyn Files,
        header: IndexHeader,
        at_ns: u64,
    ) -> Result<usize, AuditError> {
        let commit = self.last().number;
        let (from, mx_frame) = (self.wal.mx_frame(), header.mx_frame);
        if mx_frame < from {
            return Err(AuditError::Rewound {
                commit,
                from,
                to: mx_frame,
            });
        }
        if mx_frame == from {
            let is_other = mx_frame > 0 && header.checksum != self.wal.checksum();
            return if is_other {
                Err(AuditError::Overwritten { commit, mx_frame })
            } else {
                Ok(0)
            };
        }
        let mut transactions = self.wal.extend(files, mx_frame);
        if from == 0 {
            // All died after the restart of the log was published and before it was done. So the index is
            // rebuilt from the older generation, whose transactions are known.
            transactions.retain(|transaction| {
                let is_known = |commit: &Commit| commit.is(header.salts, transaction);
                !self.commits.iter().any(is_known)
            });
        }
        let valid = self.wal.mx_frame();
        if valid != mx_frame
            || header.checksum != self.wal.checksum()
            || Some(header.pages) != self.wal.pages()
        {
            return Err(AuditError::Unreadable { mx_frame, valid });
        }
        let commits = transactions.len();
        for (later, transaction) in (0..commits as u32).rev().zip(&transactions) {
            self.push_transaction(transaction, header.change.wrapping_sub(later), at_ns);
        }
        if header.change > 0 && commits > 0 {
            self.durable.published(self.last().number);
        }
        Ok(commits)
    }

    fn observe_database(&mut self, files: &dyn Files, at_ns: u64) -> Result<usize, AuditError> {
        // What of a log is valid, the next to open the database will say; and a transaction whose journal is
        // hot isn't committed.
        if files.size(Which::Wal) > 0 || journal::is_hot(files) {
            return Ok(0);
        }
        let stamp = Stamp::of(files);
        if self.stamp == Some(stamp) {
            return Ok(0);
        }
        self.stamp = Some(stamp);
        let database = Database::read(files);
        let table = database.table();
        let is_wal = database.is_wal();
        let is_changed = table.digest() != self.table.digest();
        // Without its log, a database in WAL mode isn't written. What ends or begins that mode is itself
        // written with a rollback journal.
        if is_changed && is_wal && self.is_wal {
            return Err(self.changed(&table));
        }
        self.wal = Wal::default();
        self.table = table;
        self.is_wal = is_wal;
        if !is_changed {
            return Ok(0);
        }
        self.push(stamp.change, at_ns);
        self.durable.unlinked(self.last().number);
        Ok(1)
    }

    /// A sync of any of the database's files, or of their directory, begins: keep this until it ends.
    #[must_use]
    pub fn sync_begins(&self) -> Mark {
        Mark(self.last().number)
    }

    /// A sync of the log has ended well.
    pub fn wal_synced(&mut self, begun: Mark) {
        self.durable.wal_synced(begun);
    }

    /// A sync of the database has ended well: the end of a checkpoint, which must have changed nothing, or
    /// of a transaction's writes, which don't count before its journal is gone.
    ///
    /// # Errors
    /// [`AuditError::CheckpointChangedImage`].
    pub fn database_synced(&self, files: &dyn Files) -> Result<(), AuditError> {
        self.verify(files).map(|_| ())
    }

    /// A sync of the directory has ended well: journals that were deleted before it began stay so.
    pub fn directory_synced(&mut self, begun: Mark) {
        self.durable.directory_synced(begun);
    }

    /// The number of the commit that a power loss now must leave, or a later one.
    #[must_use]
    pub fn durable_bound(&self, durability: Durability) -> u64 {
        let bound = self.durable.bound(durability);
        self.commits
            .iter()
            .rev()
            .find(|commit| commit.number <= bound)
            .map_or(0, |commit| commit.number)
    }

    /// All commits that are not lost, oldest first.
    #[must_use]
    pub fn commits(&self) -> &[Commit] {
        &self.commits
    }

    /// The newest commit.
    #[must_use]
    pub fn last(&self) -> &Commit {
        &self.commits[self.commits.len() - 1]
    }

    /// The database as the last commit left it, as the bytes of a database file.
    #[must_use]
    pub fn image(&self, files: &dyn Files) -> Vec<u8> {
        image(files, &self.wal)
    }

    /// Compares database and log with what the last commit left.
    fn verify(&self, files: &dyn Files) -> Result<PageTable, AuditError> {
        let mut table = Database::read(files).table();
        if let Some(pages) = self.wal.pages() {
            table.apply(self.wal.writes(), pages);
        }
        if table.digest() == self.table.digest() {
            Ok(table)
        } else {
            Err(self.changed(&table))
        }
    }

    fn changed(&self, table: &PageTable) -> AuditError {
        AuditError::CheckpointChangedImage {
            commit: self.last().number,
            differing: table.differing(&self.table),
        }
    }

    fn push_transaction(&mut self, transaction: &Transaction, change: u32, at_ns: u64) {
        self.table.apply(&transaction.writes, transaction.pages);
        self.is_wal = true;
        self.push(change, at_ns);
        let at = self.commits.len() - 1;
        self.commits[at].mx_frame = transaction.frame;
        self.commits[at].checksum = transaction.checksum;
    }

    /// Enters the state of the table as a commit.
    pub(super) fn push(&mut self, change: u32, at_ns: u64) {
        let mx_frame = self.wal.mx_frame();
        let (salts, checksum) = if mx_frame > 0 {
            (self.wal.salts(), self.wal.checksum())
        } else {
            Default::default()
        };
        self.commits.push(Commit {
            number: self.next,
            change,
            mx_frame,
            salts,
            checksum,
            pages: self.table.pages(),
            digest: self.table.digest(),
            at_ns,
            journal: if mx_frame > 0 {
                Journal::WriteAheadLog
            } else {
                Journal::Rollback
            },
        });
        self.next += 1;
    }
}
