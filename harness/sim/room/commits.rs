//! Who waits for the wal-index's locks, what has been committed, and what the audit says of it.
//!
//! What must stay true: after each host call somebody looks; the first thing that isn't right ends
//! the audit, since what follows from it would only be more of the same.

use super::{DATABASE, INDEX_HEADER_BYTES, Room, Waiter};
use crate::sim::audit::{AuditError, Durability, Files, Ledger, Which};
use crate::sim::disk::{Disk, FileId};
use crate::sim::locks::{Holder, ShmKind, Ticket, Woken};

impl Room {
    /// The actor waits for the lock that the ticket stands for.
    pub(in crate::sim) fn awaits(&mut self, ticket: Ticket, actor: u32) {
        self.waiters.insert(ticket, Waiter::Actor(actor));
    }

    pub(in crate::sim) fn awaits_no_more(&mut self, ticket: Ticket) {
        self.waiters.remove(&ticket);
    }

    pub(in crate::sim) fn wake_waiters(&mut self, woken: &Woken) {
        for ticket in woken {
            match self.waiters.get(ticket).copied() {
                Some(Waiter::Actor(actor)) => self.wake(actor),
                Some(Waiter::Stranger) => {
                    let now_ns = self.now_ns();
                    let mut strangers = self.strangers.iter_mut();
                    if let Some(stranger) = strangers.find(|it| it.ticket == Some(*ticket)) {
                        stranger.until_ns = now_ns;
                    }
                    self.alarm(now_ns);
                }
                None => {}
            }
        }
    }

    /// Whether an instance, or a stranger, has SQLite's write lock.
    pub(in crate::sim) fn somebody_writes(&self) -> bool {
        let nobody = Holder(0);
        let blockers = self.shm.blockers(nobody, 0, 1, ShmKind::Exclusive);
        !blockers.is_empty()
    }

    /// The first copy of the wal-index's header, while there is one.
    pub(in crate::sim) fn index_header(&self) -> Option<[u8; INDEX_HEADER_BYTES]> {
        (self.regions > 0).then(|| {
            let mut header = [0; INDEX_HEADER_BYTES];
            self.memory.read(0, &mut header);
            header
        })
    }

    /// As `src/host/storage/token.rs`: the wal-index's `iChange`, else the database's change counter.
    pub(in crate::sim) fn last_commit(&self) -> u32 {
        if let Some([v0, v1, v2, v3, _, _, _, _, c0, c1, c2, c3, ..]) = self.index_header()
            && u32::from_ne_bytes([v0, v1, v2, v3]) != 0
        {
            return u32::from_ne_bytes([c0, c1, c2, c3]);
        }
        u32::from_be_bytes(self.change_counter())
    }

    pub(in crate::sim) fn change_counter(&self) -> [u8; 4] {
        let mut counter = [0; 4];
        DiskFiles(&self.disk).read(Which::Database, 24, &mut counter);
        counter
    }

    /// Looks whether anything was committed.
    pub(in crate::sim) fn look(&mut self) {
        let header = self.index_header();
        let at_ns = self.now_ns();
        self.audit(|ledger, files, _| ledger.observe(files, header.as_ref(), at_ns).map(drop));
    }

    /// Asks the ledger something; what isn't right is a finding, and ends the audit.
    pub(in crate::sim) fn audit<T>(
        &mut self,
        ask: impl FnOnce(&mut Ledger, &DiskFiles<'_>, Durability) -> Result<T, AuditError>,
    ) -> Option<T> {
        let mut ledger = self.ledger.take()?;
        match ask(&mut ledger, &DiskFiles(&self.disk), self.durability) {
            Ok(answer) => {
                self.ledger = Some(ledger);
                Some(answer)
            }
            Err(error) => {
                let now_ms = self.now_ns() as f64 / 1e6;
                self.findings.push(format!("at {now_ms:.3} ms: {error}"));
                None
            }
        }
    }
}

/// The database's files on a disk.
pub(in crate::sim) struct DiskFiles<'a>(pub(in crate::sim) &'a Disk);

impl DiskFiles<'_> {
    fn find(&self, which: Which) -> Option<FileId> {
        self.0.find(match which {
            Which::Database => DATABASE,
            Which::Wal => "store.db-wal",
            Which::Journal => "store.db-journal",
        })
    }
}

impl Files for DiskFiles<'_> {
    fn size(&self, which: Which) -> u64 {
        self.find(which).map_or(0, |file| self.0.size(file))
    }

    fn read(&self, which: Which, offset: u64, buffer: &mut [u8]) -> usize {
        self.find(which)
            .map_or(0, |file| self.0.read_at(file, offset, buffer))
    }
}
