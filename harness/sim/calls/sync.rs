//! Syncs: how long they take, and what they make durable.
//!
//! What must stay true: a sync covers what was written when it began, and no more.

use crate::sim::audit::Mark;
use crate::sim::disk::SyncPoint;
use crate::sim::room::Room;
use beaver_host::machine::{ErrorCode, FileKind, Reply};

impl Room {
    pub(super) fn sync_begins(&self) -> Option<Mark> {
        self.ledger.as_ref().map(|ledger| ledger.sync_begins())
    }

    pub(super) fn sync_directory(&mut self, begun: Option<Mark>) {
        // Who asks for it counts on it, whether it is done or not: so does the audit.
        if !self.defects.sync_does_nothing {
            self.disk.sync_directory();
        }
        if let (Some(ledger), Some(begun)) = (&mut self.ledger, begun) {
            ledger.directory_synced(begun);
        }
    }

    pub(super) fn end_sync(
        &mut self,
        instance: u64,
        file: u32,
        from: SyncPoint,
        begun: Option<Mark>,
    ) -> Reply {
        let Some(open) = self.file(instance, file) else {
            return Reply::Failed(ErrorCode::InvalidArgument);
        };
        let (id, kind) = (open.id, open.kind);
        let sync_directory = std::mem::take(&mut open.sync_directory);
        if self.disk.sync(id, from).is_err() {
            return Reply::Failed(ErrorCode::Io);
        }
        if let (FileKind::Wal, Some(ledger), Some(begun)) = (kind, &mut self.ledger, begun) {
            ledger.wal_synced(begun);
        }
        if kind == FileKind::MainDb {
            self.audit(|ledger, files, _| ledger.database_synced(files));
        }
        if sync_directory {
            self.sync_directory(begun);
        }
        Reply::Done
    }
}
