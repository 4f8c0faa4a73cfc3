//! Which commits a power loss must leave, by SQLite's documentation and by what its code does.
//!
//! In both modes the database is afterwards exactly as some commit left it, and that is the bound
//! or a later commit; never a mixture.
//!
//! # With a write-ahead log
//!
//! `sqlite3PagerSetFlags`: "For WAL mode, […] NORMAL means that the WAL is synced prior to the start
//! of checkpoint and that the database file is synced at the conclusion of the checkpoint if the
//! entire content of the WAL was written back into the database. But no sync operations occur for
//! an ordinary commit in NORMAL mode with WAL. FULL means that the WAL file is synced following
//! each commit operation, in addition to the syncs associated with NORMAL."
//! (<https://sqlite.org/pragma.html#pragma_synchronous>: "A transaction committed in WAL mode with
//! synchronous=NORMAL might roll back following a power loss or system crash.")
//!
//! - *FULL.* `walFrames` writes the frames of a transaction, calls `xSync` on the log if
//!   `WAL_SYNC_FLAGS(sync_flags)!=0`, and only then enters them into the wal-index
//!   (`walIndexAppend`, `walIndexWriteHdr`). So each commit that a writer has published survives. One
//!   exception: a writer that dies between the write and the sync leaves frames that nobody synced. If
//!   the wal-index is then rebuilt from the file, `walIndexRecover` publishes them, without a sync. That
//!   commit was never answered, and survives for certain only after the next sync. (It can be
//!   told from others: `walIndexRecover` starts with `iChange` at 0, each commit counts it up.)
//! - *NORMAL.* `CKPT_SYNC_FLAGS` are set and `WAL_SYNC_FLAGS` aren't. The log is synced by `walCheckpoint`
//!   before it copies the first frame ("Sync the WAL to disk"), and by `walFrames` after it has
//!   written the header of a restarted log (`syncHeader`). Whoever syncs the file syncs all of it. So
//!   each commit that had been published when a completed sync of the log *began* survives.
//! - *A restart takes nothing back.* `walRestartLog` restarts only a log with
//!   `nBackfill==mxFrame`; `walCheckpoint` stores that after it has synced the database, since then
//!   `mxSafeFrame==mxFrame`. From then on the commits survive in the database, whatever becomes of the log:
//!   a header that arrives only in part makes the log invalid (its checksum), one that arrives
//!   before its frames makes the old ones invalid (their salts), and it can't arrive after them ("Sync the
//!   header […] Otherwise an out-of-order write following a WAL restart could result in database
//!   corruption").
//!
//! # With a rollback journal
//!
//! The journal is synced before the database is written, the database before the journal is
//! deleted, and deleting it commits (`pager_end_transaction`). Neither NORMAL nor FULL syncs the directory
//! after that (what `durability: full` sets is EXTRA): "EXTRA […] is like FULL except that is also syncs the directory that contains the
//! rollback journal after the rollback journal is unlinked." So a power loss may bring the journal back and
//! roll the commit back, until something syncs the directory: the next journal's or log's first sync
//! does.
//!
//! What must stay true: the bound never exceeds what is promised, or a correct SQLite would be accused.

/// SQLite's `synchronous`, as the database's users have set it; the weaker one if they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// `synchronous=NORMAL`.
    Normal,
    /// `synchronous=EXTRA`.
    Full,
}

/// What had been committed when a sync began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub(super) u64);

/// The newest commits of which something is known, by number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Durable {
    /// Commits that a completed sync covers.
    synced: u64,
    /// The last commit that a writer published.
    published: u64,
    /// The first and the last commit whose journal may come back.
    unlinked: Option<(u64, u64)>,
}

impl Durable {
    /// All up to `number` is on the device.
    pub(super) fn at(number: u64) -> Self {
        Self {
            synced: number,
            published: number,
            unlinked: None,
        }
    }

    /// A writer has published a commit in the log.
    pub(super) fn published(&mut self, number: u64) {
        self.published = number;
    }

    /// A commit with a rollback journal.
    pub(super) fn unlinked(&mut self, number: u64) {
        self.synced = number;
        self.published = number;
        let first = self.unlinked.map_or(number, |(first, _)| first);
        self.unlinked = Some((first, number));
    }

    pub(super) fn wal_synced(&mut self, mark: Mark) {
        self.synced = self.synced.max(mark.0);
    }

    pub(super) fn directory_synced(&mut self, mark: Mark) {
        self.unlinked = self
            .unlinked
            .filter(|(_, last)| *last > mark.0)
            .map(|(first, last)| (first.max(mark.0 + 1), last));
    }

    /// No commit after this number must survive.
    pub(super) fn bound(&self, durability: Durability) -> u64 {
        let unsure = self.unlinked.map_or(u64::MAX, |(first, _)| first);
        match durability {
            Durability::Normal => self.synced.min(unsure.saturating_sub(1)),
            // EXTRA: the directory was synced before the commit was answered.
            Durability::Full => self.synced.max(self.published),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_in_the_log_is_durable_once_published_or_once_a_later_sync_has_ended() {
        let mut durable = Durable::at(3);
        durable.published(4);
        assert_eq!(durable.bound(Durability::Normal), 3);
        assert_eq!(durable.bound(Durability::Full), 4);
        durable.published(5);
        durable.wal_synced(Mark(4));
        assert_eq!(durable.bound(Durability::Normal), 4);
        assert_eq!(durable.bound(Durability::Full), 5);
        durable.wal_synced(Mark(3));
        assert_eq!(durable.bound(Durability::Normal), 4);
    }

    #[test]
    fn what_only_a_rebuilt_index_published_needs_a_sync() {
        let mut durable = Durable::at(3);
        assert_eq!(durable.bound(Durability::Full), 3);
        durable.wal_synced(Mark(4));
        assert_eq!(durable.bound(Durability::Full), 4);
    }

    #[test]
    fn a_deleted_journal_may_come_back_until_the_directory_is_synced() {
        let mut durable = Durable::at(0);
        durable.unlinked(1);
        durable.unlinked(2);
        durable.published(3);
        assert_eq!(durable.bound(Durability::Normal), 0);
        durable.directory_synced(Mark(1));
        assert_eq!(durable.bound(Durability::Normal), 1);
        durable.directory_synced(Mark(2));
        assert_eq!(durable.bound(Durability::Normal), 2);
        assert_eq!(durable.bound(Durability::Full), 3);
    }
}
