//! Reads a write-ahead log (<https://sqlite.org/fileformat2.html#walformat>).
//!
//! The log is a header of 32 bytes and then frames, each a header of 24 bytes and a page. "A frame is
//! considered valid if and only if the following conditions are true: (1) The salt-1 and salt-2
//! values in the frame-header match salt values in the wal-header. (2) The checksum values in the
//! final 8 bytes of the frame-header exactly match the checksum computed consecutively on the
//! first 24 bytes of the WAL header and the first 8 bytes and content of all frames up to and
//! including the current frame." A frame whose header names a size of the database ends a
//! transaction; what follows the last valid one of those doesn't count (`walIndexRecover`,
//! `walDecodeFrame`, `walChecksumBytes` of sqlite3.c).
//!
//! What must stay true: [`Wal`] holds whole transactions only, so reading on later gives what
//! reading all at once would have given.

use super::digest::page_digest;
use super::{Files, Which};
use std::collections::BTreeMap;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The last bit says in which byte order checksums are computed.
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;
/// Simulated databases are small; a frame of a greater page number is nobody's, and would cost memory.
const PAGES_MAX: u32 = 1 << 22;

/// A transaction in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transaction {
    /// Its last frame; the first of a log is 1.
    pub(super) frame: u32,
    /// The database's size in pages after it.
    pub(super) pages: u32,
    /// The checksum of that frame, hence of all before it in this generation of the log.
    pub(super) checksum: [u32; 2],
    /// The pages it wrote and their digests. A page may be there twice; the later counts.
    pub(super) writes: Vec<(u32, u64)>,
}

/// What has been read of one generation of the log: from one restart to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Wal {
    salts: [u8; 8],
    /// None until the first frame was looked for.
    format: Option<Format>,
    checksum: [u32; 2],
    /// The pages of all frames of whole transactions, with their digests.
    frames: Vec<(u32, u64)>,
    /// The database's size in pages after the last transaction.
    pages: u32,
}

#[derive(Clone, Copy, Debug)]
struct Format {
    is_big_endian: bool,
    page_size: usize,
}

impl Wal {
    /// A generation of which nothing has been read.
    pub(super) fn new(salts: [u8; 8]) -> Self {
        Self {
            salts,
            ..Self::default()
        }
    }

    /// All that SQLite would recover from the file.
    pub(super) fn recover(files: &dyn Files) -> (Self, Vec<Transaction>) {
        let mut header = [0; HEADER_BYTES];
        let mut wal = Self::default();
        if files.read(Which::Wal, 0, &mut header) == HEADER_BYTES {
            wal.salts.copy_from_slice(&header[16..24]);
        }
        let transactions = wal.extend(files, u32::MAX);
        (wal, transactions)
    }

    /// Reads on from the last transaction known, as far as frame `to` or the last valid
    /// commit frame before it. Says which transactions it found.
    pub(super) fn extend(&mut self, files: &dyn Files, to: u32) -> Vec<Transaction> {
        let mut found = Vec::new();
        let Some(format) = self.format(files) else {
            return found;
        };
        let mut checksum = self.checksum;
        let mut writes = Vec::new();
        let mut buffer = vec![0; FRAME_HEADER_BYTES + format.page_size];
        for frame in self.mx_frame() + 1..=to {
            let offset = frame_offset(frame, format.page_size);
            if files.read(Which::Wal, offset, &mut buffer) < buffer.len() {
                break;
            }
            let (header, content) = buffer.split_at(FRAME_HEADER_BYTES);
            let (page, pages) = (big_endian(header, 0), big_endian(header, 4));
            if header[8..16] != self.salts || page == 0 || page.max(pages) > PAGES_MAX {
                break;
            }
            checksum = sum(format.is_big_endian, &header[..8], checksum);
            checksum = sum(format.is_big_endian, content, checksum);
            if checksum != [big_endian(header, 16), big_endian(header, 20)] {
                break;
            }
            writes.push((page, page_digest(page, content)));
            if pages > 0 {
                self.checksum = checksum;
                self.pages = pages;
                self.frames.extend_from_slice(&writes);
                found.push(Transaction {
                    frame,
                    pages,
                    checksum,
                    writes: std::mem::take(&mut writes),
                });
            }
        }
        found
    }

    /// The header is read when the first frame is: until then the file may hold an older generation's.
    fn format(&mut self, files: &dyn Files) -> Option<Format> {
        if self.format.is_none() {
            let mut header = [0; HEADER_BYTES];
            if files.read(Which::Wal, 0, &mut header) < HEADER_BYTES {
                return None;
            }
            let magic = big_endian(&header, 0);
            let page_size = big_endian(&header, 8);
            let is_big_endian = magic & 1 == 1;
            let checksum = sum(is_big_endian, &header[..24], [0, 0]);
            let is_valid = magic & !1 == MAGIC
                && big_endian(&header, 4) == VERSION
                && page_size.is_power_of_two()
                && (512..=65536).contains(&page_size)
                && header[16..24] == self.salts
                && checksum == [big_endian(&header, 24), big_endian(&header, 28)];
            if !is_valid {
                return None;
            }
            self.checksum = checksum;
            self.format = Some(Format {
                is_big_endian,
                page_size: page_size as usize,
            });
        }
        self.format
    }

    pub(super) fn salts(&self) -> [u8; 8] {
        self.salts
    }

    /// The last frame of the last transaction, or 0.
    pub(super) fn mx_frame(&self) -> u32 {
        self.frames.len() as u32
    }

    /// The checksum of that frame.
    pub(super) fn checksum(&self) -> [u32; 2] {
        self.checksum
    }

    /// The database's size in pages after the last transaction; None if there is none.
    pub(super) fn pages(&self) -> Option<u32> {
        (!self.frames.is_empty()).then_some(self.pages)
    }

    /// The size of a page in bytes; None if there is no transaction.
    pub(super) fn page_size(&self) -> Option<usize> {
        self.format
            .filter(|_| !self.frames.is_empty())
            .map(|format| format.page_size)
    }

    /// The pages of all frames in the log's order, with their digests.
    pub(super) fn writes(&self) -> &[(u32, u64)] {
        &self.frames
    }

    /// For each page in the log, where in the file its newest content begins (in bytes).
    pub(super) fn page_offsets(&self) -> BTreeMap<u32, u64> {
        let page_size = self.format.map_or(0, |format| format.page_size);
        (1..)
            .zip(&self.frames)
            .map(|(frame, (page, _))| {
                let offset = frame_offset(frame, page_size) + FRAME_HEADER_BYTES as u64;
                (*page, offset)
            })
            .collect()
    }
}

fn frame_offset(frame: u32, page_size: usize) -> u64 {
    HEADER_BYTES as u64 + u64::from(frame - 1) * (FRAME_HEADER_BYTES + page_size) as u64
}

/// The four bytes at `at`; 0 if there are fewer.
pub(super) fn big_endian(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|bytes| bytes.first_chunk::<4>())
        .map_or(0, |word| u32::from_be_bytes(*word))
}

/// `walChecksumBytes`.
fn sum(is_big_endian: bool, bytes: &[u8], start: [u32; 2]) -> [u32; 2] {
    let word = if is_big_endian {
        u32::from_be_bytes
    } else {
        u32::from_le_bytes
    };
    let [mut first, mut second] = start;
    for [low, high] in bytes.as_chunks::<4>().0.as_chunks::<2>().0 {
        first = first.wrapping_add(word(*low)).wrapping_add(second);
        second = second.wrapping_add(word(*high)).wrapping_add(first);
    }
    [first, second]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::audit::recovered_image;
    use crate::sim::audit::testing::{Native, Snapshot, insert};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// Some transactions after a checkpoint; the log also holds frames of an older generation and of
    /// a transaction that was rolled back.
    static FILES: LazyLock<Snapshot> = LazyLock::new(|| {
        let native = Native::new();
        native.run("PRAGMA cache_size=3; CREATE TABLE t (k, v); CREATE INDEX i ON t (k)");
        native.run(&insert(90, 900, 1));
        native.run("PRAGMA wal_checkpoint(RESTART)");
        for salt in 0..3 {
            native.run(&insert(3, 1500, salt));
        }
        native.run("BEGIN");
        native.run(&insert(40, 1500, 7));
        native.run("ROLLBACK");
        native.run("DELETE FROM t WHERE k > 50000");
        native.files()
    });

    #[test]
    fn what_is_recovered_is_what_native_sqlite_recovers_wherever_the_log_is_cut() {
        assert!(Wal::recover(&*FILES).1.len() == 4);
        let mut images = std::collections::BTreeSet::new();
        for cut in (0..=FILES.wal.len()).step_by(512) {
            let mut files = FILES.clone();
            files.wal.truncate(cut);
            let image = recovered_image(&files);
            assert!(image == files.truth(), "cut at {cut}");
            images.insert(image);
        }
        assert_eq!(images.len(), 5);
    }

    #[test]
    fn reading_on_gives_what_reading_all_at_once_gives() {
        let (whole, transactions) = Wal::recover(&*FILES);
        for to in 0..=whole.mx_frame() {
            let mut wal = Wal::new(whole.salts());
            let mut found = wal.extend(&*FILES, to);
            assert!(wal.mx_frame() <= to);
            found.extend(wal.extend(&*FILES, u32::MAX));
            assert_eq!(found, transactions);
            assert_eq!(wal.checksum(), whole.checksum());
            assert_eq!(wal.page_offsets(), whole.page_offsets());
        }
    }

    /// Changes the header of a frame and makes all checksums right again.
    fn forged(frame: u32, change: impl Fn(&mut [u8])) -> Snapshot {
        let mut files = FILES.clone();
        let mut checksum = sum(false, &files.wal[..24], [0, 0]);
        let frames = files.wal[HEADER_BYTES..].chunks_exact_mut(FRAME_HEADER_BYTES + 4096);
        for (at, bytes) in (1..).zip(frames) {
            if at == frame {
                change(&mut bytes[..16]);
            }
            checksum = sum(false, &bytes[..8], checksum);
            checksum = sum(false, &bytes[FRAME_HEADER_BYTES..], checksum);
            bytes[16..20].copy_from_slice(&checksum[0].to_be_bytes());
            bytes[20..24].copy_from_slice(&checksum[1].to_be_bytes());
        }
        files
    }

    #[test]
    fn a_frame_without_a_page_or_with_other_salts_ends_the_log() {
        let whole = forged(0, |_| ());
        assert!(whole.truth() == recovered_image(&whole));
        let last = Wal::recover(&*FILES).0.mx_frame();
        for (change, name) in [
            ((|header| header[..4].fill(0)) as fn(&mut [u8]), "page"),
            (|header| header[9] ^= 1, "salt"),
        ] {
            let files = forged(last, change);
            assert!(
                recovered_image(&files) != recovered_image(&*FILES),
                "{name}"
            );
            assert!(recovered_image(&files) == files.truth(), "{name}");
        }
    }

    #[test]
    fn the_header_of_an_older_log_is_not_kept() {
        let (whole, transactions) = Wal::recover(&*FILES);
        let mut older = FILES.clone();
        older.wal[..HEADER_BYTES].copy_from_slice(&Native::from(&FILES).restarted_header());
        let mut wal = Wal::new(whole.salts());
        assert_eq!(wal.extend(&older, u32::MAX), []);
        assert_eq!(wal.extend(&*FILES, u32::MAX), transactions);
    }

    #[test]
    fn the_log_of_an_empty_database_is_not_read() {
        let mut files = FILES.clone();
        files.database.clear();
        assert_eq!(recovered_image(&files), files.truth());
        assert_eq!(recovered_image(&files), Vec::<u8>::new());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn damage_is_read_as_native_sqlite_reads_it(
            cut in 0..FILES.wal.len(),
            damage in prop::collection::vec((0..FILES.wal.len(), any::<u8>()), 0..3),
            header in prop::option::of((0..HEADER_BYTES + FRAME_HEADER_BYTES, any::<u8>())),
        ) {
            let mut files = FILES.clone();
            for (at, byte) in damage.into_iter().chain(header) {
                files.wal[at] = byte;
            }
            files.wal.truncate(cut);
            prop_assert!(recovered_image(&files) == files.truth());
        }

        #[test]
        fn arbitrary_bytes_are_read_without_a_panic(
            database in prop::collection::vec(any::<u8>(), 0..2000),
            wal in prop::collection::vec(any::<u8>(), 0..2000),
            journal in prop::collection::vec(any::<u8>(), 0..2000),
        ) {
            let magic = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
            let journal = [&magic[..], &journal].concat();
            let files = Snapshot { database, wal, journal };
            prop_assert!(recovered_image(&files).len().is_multiple_of(512));
        }
    }
}
