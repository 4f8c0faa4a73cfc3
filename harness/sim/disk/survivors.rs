//! What is left of one file's contents after a power loss.
//!
//! What must stay true, for [`any`], the one that isn't plain:
//! - A sector holds what it held at *some* moment since the last sync: all that was written to it
//!   until then and nothing of what came later, since page cache and device move whole sectors.
//!   (But see [`Loss::tears_sectors`].)
//! - Sizes and cuts are metadata, which survive up to one moment, in order, as journalling file
//!   systems do it. Sectors don't care for that moment, with two exceptions:
//!   nothing from before a cut that survived is seen beyond it; and nothing written beyond a
//!   cut that was lost is seen, since it went to other blocks, which nobody would look in.

use super::contents::{Contents, PAGE_BYTES};
use super::file::{File, Moment, What};
use super::loss::{Loss, Unwritten};
use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// All changes before `cut`, and perhaps part of one write at that moment.
pub(super) fn prefix(file: &File, loss: &Loss, cut: Moment, random: &mut ChaCha8Rng) -> Contents {
    let mut left = file.durable.clone();
    for change in &file.unsynced {
        if change.at < cut {
            change.what.apply(&mut left);
        } else if let What::Write { offset, data } = &change.what
            && change.at == cut
        {
            let sector = loss.sector.bytes();
            let mut len = random.random_range(0..data.len().max(1));
            if !loss.tears_sectors {
                let end = (offset + len as u64) / sector as u64 * sector as u64;
                len = end.saturating_sub(*offset) as usize;
            }
            left.write(*offset, &data[..len]);
        }
    }
    left
}

/// Any version of each sector and any size. `newest_percent`: how likely the last version of a
/// sector is; else any one is as likely as the other.
pub(super) fn any(
    file: &File,
    loss: &Loss,
    newest_percent: u32,
    random: &mut ChaCha8Rng,
) -> Contents {
    let mut replay = Replay {
        sector_bytes: loss.sector.bytes() as u64,
        left: file.durable.clone(),
        newest: file.durable.clone(),
        sealed_at: u64::MAX,
        sectors: BTreeMap::new(),
    };
    // The metadata of so many changes survives.
    let kept = random.random_range(0..=file.unsynced.len());
    let mut size = None;
    for (index, change) in file.unsynced.iter().enumerate() {
        if index == kept {
            size = Some(replay.size_between(&change.what, random));
        }
        match &change.what {
            What::Resize(to) if index < kept => replay.cut(*to),
            What::Resize(to) => replay.lose_cut(*to),
            // The next one's, too, in case that its size survives in part.
            What::Write { offset, data } => replay.write(*offset, data, index <= kept, random),
        }
    }
    let size = size.unwrap_or(replay.newest.size());
    replay.finish(loss, size, newest_percent, random)
}

/// One way in which all of a file's changes may have reached the device.
struct Replay {
    sector_bytes: u64,
    /// What is left: the durable contents under the cuts that survived.
    left: Contents,
    /// The last version of each sector that may survive.
    newest: Contents,
    /// From here on, nothing that is written any more can survive.
    sealed_at: u64,
    /// Those that were written to.
    sectors: BTreeMap<u64, Sector>,
}

/// A sector with several versions.
struct Sector {
    /// Any version.
    picked: Vec<u8>,
    /// Whether `picked` is from when the file didn't have this sector.
    is_hole: bool,
    /// Whether the file then got one: until it is written there may be anything in it.
    is_allocated_since: bool,
    /// How many there were.
    versions: u32,
}

impl Replay {
    /// The size if the metadata survives up to before `next`: or, since a large write is several
    /// to a kernel, up to somewhere inside it.
    fn size_between(&self, next: &What, random: &mut ChaCha8Rng) -> u64 {
        let size = self.newest.size();
        if let What::Write { offset, data } = next
            && random.random_bool(0.5)
        {
            let end = offset + data.len() as u64;
            let inside = random.random_range(*offset..=end);
            (inside / self.sector_bytes * self.sector_bytes).max(size)
        } else {
            size
        }
    }

    fn cut(&mut self, to: u64) {
        self.left.resize(to);
        self.newest.resize(to);
        for (number, sector) in self.sectors.range_mut(to / self.sector_bytes..) {
            let within = to.saturating_sub(number * self.sector_bytes) as usize;
            sector.picked[within..].fill(0);
            if within == 0 {
                sector.is_hole = true;
                sector.is_allocated_since = false;
            }
        }
    }

    fn lose_cut(&mut self, to: u64) {
        if to >= self.newest.size().min(self.sealed_at) {
            return;
        }
        // The file keeps the block that the cut goes through, and its rest is cleared there.
        self.sealed_at = to.next_multiple_of(PAGE_BYTES as u64);
        let end = self.sealed_at.min(self.newest.size());
        self.newest.write(to, &vec![0; (end - to) as usize]);
    }

    fn write(&mut self, offset: u64, data: &[u8], is_allocated: bool, random: &mut ChaCha8Rng) {
        let visible = self.sealed_at.saturating_sub(offset).min(data.len() as u64);
        if visible == 0 {
            return;
        }
        let data = &data[..visible as usize];
        let end = offset + visible;
        let touched = offset / self.sector_bytes..end.div_ceil(self.sector_bytes);
        self.newest.write(offset, data);
        for number in touched {
            let start = number * self.sector_bytes;
            let sector = self.sectors.entry(number).or_insert_with(|| Sector {
                picked: part(&self.left, start, self.sector_bytes),
                is_hole: start >= self.left.size(),
                is_allocated_since: false,
                versions: 1,
            });
            sector.is_allocated_since |= is_allocated;
            sector.versions += 1;
            // Of n versions the n-th replaces the picked one in one of n cases: so each is
            // as likely as the others, whenever it ends.
            if random.random_ratio(1, sector.versions) {
                sector.picked = part(&self.newest, start, self.sector_bytes);
                sector.is_hole = false;
                sector.is_allocated_since = false;
            }
        }
    }

    fn finish(
        mut self,
        loss: &Loss,
        size: u64,
        newest_percent: u32,
        random: &mut ChaCha8Rng,
    ) -> Contents {
        self.left.resize(size);
        for (number, sector) in &self.sectors {
            let start = number * self.sector_bytes;
            let visible = size.saturating_sub(start).min(self.sector_bytes) as usize;
            if visible == 0 {
                continue;
            }
            let newest = part(&self.newest, start, self.sector_bytes);
            let mut bytes = sector.picked.clone();
            let is_unwritten = sector.is_hole && sector.is_allocated_since;
            if loss.unwritten == Unwritten::Garbage && is_unwritten {
                random.fill_bytes(&mut bytes);
            }
            if random.random_ratio(newest_percent, 100) {
                bytes = newest;
            } else if loss.tears_sectors && random.random_bool(0.5) {
                let torn_at = random.random_range(0..bytes.len());
                bytes[..torn_at].copy_from_slice(&newest[..torn_at]);
            }
            self.left.write(start, &bytes[..visible]);
        }
        self.left
    }
}

/// `len` bytes from `start` on, zeros beyond the end.
fn part(contents: &Contents, start: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    contents.read(start, &mut bytes);
    bytes
}
