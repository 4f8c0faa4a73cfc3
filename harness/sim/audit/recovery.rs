//! Which commit the files hold after a crash or a power loss.
//!
//! All is computed from the surviving bytes: a hot journal is played back, the log is read as
//! far as its checksums reach. What comes out must be the image of a commit that is known, with
//! one exception: a writer may have written a whole transaction and not yet have published it. That has
//! a commit frame in the log, and what is before that frame is the image of a known commit. Such a
//! transaction was never answered, so it may take effect or not. (One that was overwritten in the log
//! by a commit that was then lost may come back, too.) More than one can't be: nobody
//! appends to what isn't published. What is before it in the log must be that commit's own frames, or else
//! nothing, in a log that hadn't begun: an old log over a newer database is a mixture.
//!
//! What must stay true: digests may repeat when a value is set back; then the newest commit counts,
//! so nothing is called lost that can't be told from what was kept.

use super::digest::PageTable;
use super::durability::Durable;
use super::image::{Database, recover_log};
use super::index::HEADER_BYTES;
use super::wal::{Transaction, Wal};
use super::{AuditError, Durability, Files, Ledger};

/// What ended all use of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fall {
    /// Every instance is gone; what they wrote is all there.
    Crash,
    /// What wasn't synced may be gone, too.
    PowerLoss(Durability),
}

/// What the files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The commit's number.
    pub commit: u64,
    /// Whether its writer had not yet published it. Then it has a new number.
    pub was_unpublished: bool,
}

/// The files as SQLite would recover them.
pub(super) struct State {
    wal: Wal,
    table: PageTable,
    /// The log's transactions, and the digest before each.
    transactions: Vec<(u64, Transaction)>,
    is_wal: bool,
}

impl State {
    pub(super) fn recover(files: &dyn Files) -> Self {
        let database = Database::read(files);
        let mut table = database.table();
        let (wal, found) = recover_log(files);
        let mut transactions = Vec::new();
        for transaction in found {
            let before = table.digest();
            table.apply(&transaction.writes, transaction.pages);
            transactions.push((before, transaction));
        }
        Self {
            is_wal: wal.mx_frame() > 0 || database.is_wal(),
            wal,
            table,
            transactions,
        }
    }
}

impl Ledger {
    /// Nobody has the database open any more, and nobody has opened it since: says which commit it holds.
    /// Commits after that one are forgotten.
    ///
    /// # Errors
    /// The files hold no commit, or an older one than they must.
    pub fn recovered(
        &mut self,
        files: &dyn Files,
        after: Fall,
        at_ns: u64,
    ) -> Result<Recovered, AuditError> {
        let bound = match after {
            Fall::Crash => self.last().number,
            Fall::PowerLoss(durability) => self.durable_bound(durability),
        };
        let state = State::recover(files);
        let (at, was_unpublished) = match self.newest(state.table.digest()) {
            Some(at) => (at, false),
            None => match self.written_upon(&state) {
                Some(at) => (at, true),
                None => {
                    return Err(AuditError::NoSuchCommit {
                        last: self.last().number,
                        differing: state.table.differing(&self.table),
                    });
                }
            },
        };
        let found = self.commits[at].number;
        if found < bound {
            return Err(AuditError::Lost { bound, found });
        }
        self.commits.truncate(at + 1);
        self.adopt(state);
        if was_unpublished {
            self.push(0, at_ns);
        }
        let commit = self.last().number;
        if after != Fall::Crash {
            self.durable = Durable::at(commit);
        }
        Ok(Recovered {
            commit,
            was_unpublished,
        })
    }

    /// The commit upon which the log's last transaction was written, if nobody has seen that one.
    fn written_upon(&self, state: &State) -> Option<usize> {
        let salts = state.wal.salts();
        let ((before, _), earlier) = state.transactions.split_last()?;
        match earlier.last() {
            Some((_, previous)) => self
                .commits
                .iter()
                .rposition(|commit| commit.is(salts, previous) && commit.digest == *before),
            // The first of a generation, so of one that hadn't begun.
            None => self.newest(*before).filter(|at| {
                let mut until = self.commits[..=*at].iter();
                until.all(|commit| commit.salts != salts)
            }),
        }
    }

    /// Goes on from what the files hold.
    pub(super) fn adopt(&mut self, state: State) {
        self.seen = [0; HEADER_BYTES];
        self.stamp = None;
        self.wal = state.wal;
        self.table = state.table;
        self.is_wal = state.is_wal;
    }

    fn newest(&self, digest: u64) -> Option<usize> {
        self.commits
            .iter()
            .rposition(|commit| commit.digest == digest)
    }
}
