//! Whether a file is still what others find under its name.
//!
//! What must stay true: what is written is found by others. So nobody becomes the writer of a database
//! that lost its name (deleted, moved away, replaced) or whose wal-index is harmed, and nothing
//! is added to a log or journal without a name.

use super::OpenFile;
use crate::storage::error::ErrorCode;
use crate::storage::kinds::ShmLockKind;
use crate::storage::queue::SlotLock;
use crate::storage::registry::FileId;

impl OpenFile {
    /// To be called after a wait for slots has got them. On an error they are given back:
    /// much may have happened to the files meanwhile.
    pub(crate) fn waited_for(
        &self,
        first: u32,
        count: u32,
        kind: ShmLockKind,
    ) -> Result<(), ErrorCode> {
        if let Err(error) = self.check_writer(SlotLock::new(first, count, kind)?) {
            self.shm_unlock(first, count, kind)?;
            return Err(error);
        }
        self.note_lock(first, kind);
        Ok(())
    }

    /// Whether somebody cut the wal-index since this handle attached to it: then nothing that
    /// the guest has read of it counts.
    pub(crate) fn has_lost_wal_index(&self) -> bool {
        let Some(shm) = &self.shm else { return false };
        if self.mappings.are_lost() && !shm.is_cut() {
            shm.note_cut();
        }
        shm.is_cut()
    }

    /// Before these slots are locked: is it to become the writer, and may it?
    pub(super) fn check_writer(&self, wants: SlotLock) -> Result<(), ErrorCode> {
        if wants.kind() == ShmLockKind::Exclusive && wants.first() == 0 {
            self.check_unmoved()?;
        }
        Ok(())
    }

    /// An error when the database isn't found under its name any more, or its wal-index is
    /// harmed: what would be written, nobody else would see.
    pub(super) fn check_unmoved(&self) -> Result<(), ErrorCode> {
        match self.grant.stat(&self.name) {
            Ok(stat) if FileId::of(&stat) == self.id => {}
            Ok(_) | Err(ErrorCode::NotFound) => return Err(ErrorCode::Io),
            // Where looking isn't allowed any more, nothing says that it moved.
            Err(_) => {}
        }
        match &self.shm {
            Some(shm) => shm.check_unharmed(),
            None => Ok(()),
        }
    }

    /// An error when a log or journal was deleted: who looks for it wouldn't find it.
    pub(super) fn check_log_unmoved(&self) -> Result<(), ErrorCode> {
        if rustix::fs::fstat(&self.fd)?.st_nlink == 0 {
            return Err(ErrorCode::Io);
        }
        Ok(())
    }
}
