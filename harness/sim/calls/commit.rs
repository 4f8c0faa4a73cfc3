//! What the simulated host knows of commits: whose they are, and what tells that there was one.
//!
//! What must stay true: it is as `src/host/storage` has it, so that waiting handles are woken as often,
//! and no more, than those of real processes.

use crate::sim::audit::{Files as _, Which};
use crate::sim::room::{DiskFiles, Room};
use beaver_host::machine::ShmLockKind;

impl Room {
    pub(super) fn note_slots(&mut self, instance: u64, file: u32, first: u32, kind: ShmLockKind) {
        if kind == ShmLockKind::Exclusive && first == 0 {
            self.note_writer(instance, file);
        }
    }

    pub(super) fn note_writer(&mut self, instance: u64, file: u32) {
        let process = self.process(instance);
        let since = self.processes[process]
            .hub
            .is_watched()
            .then(|| self.last_commit());
        if let Some(open) = self.file(instance, file)
            && open.announces
        {
            (open.since, open.committed) = (since, None);
        }
    }

    pub(super) fn note_commit(&mut self, instance: u64, file: u32) {
        let last = self.last_commit();
        if let Some(open) = self.file(instance, file)
            && open.announces
        {
            let since = open.since.take();
            open.committed = since
                .filter(|since| last == since.wrapping_add(1))
                .map(|_| last);
        }
    }

    pub(super) fn tell_of_commit(&mut self, instance: u64, file: u32) {
        let process = self.process(instance);
        let (last, now_ns) = (self.last_commit(), self.now_ns());
        let announces = self.file(instance, file).is_some_and(|open| open.announces);
        if !announces {
            self.processes[process].hub.released(last, now_ns);
        }
    }

    /// As `src/host/storage/token.rs`; the time of the last change is the number of changes.
    pub(super) fn token(&self) -> u64 {
        let mut token = self.index_header().map_or(0, |header| {
            let (words, _) = header.as_chunks::<8>();
            words.iter().fold(1, |all: u64, word| {
                (all ^ u64::from_le_bytes(*word))
                    .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                    .rotate_left(31)
            })
        });
        let files = DiskFiles(&self.disk);
        for number in [
            u32::from_be_bytes(self.change_counter()).into(),
            files.size(Which::Database),
        ] {
            token = (token ^ number)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .rotate_left(31);
        }
        token
    }
}
