//! Plays a rollback journal back (<https://sqlite.org/fileformat2.html#the_rollback_journal>).
//!
//! A journal that was left behind is *hot*: the database may be half written, and is as before the
//! transaction once the journal's pages are copied back. "A valid rollback journal begins with a
//! header": magic, the number of records, a nonce for their checksums, the database's size before,
//! and the sizes of a sector and a page. Further headers, each at a sector's start, may follow the
//! records of the first (`hasHotJournal`, `pager_playback`, `readJournalHdr` and
//! `pager_playback_one_page` of sqlite3.c).
//!
//! A database that is written together with attached ones names a super-journal here, whose absence
//! means that the transaction was committed. Components attach nothing, so that is left out.
//!
//! What must stay true: as long as a transaction in a rollback journal mode (`DELETE`, `TRUNCATE`,
//! `PERSIST`) isn't committed, playing back gives the commit before it, whatever it has written.

use super::wal::big_endian;
use super::{Files, Which};

const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// SQLite wants this much to be there before it looks: its own sector size.
const HEADER_BYTES: u64 = 512;
/// Where SQLite's locks are; the page there is never used.
const PENDING_BYTE: u64 = 0x4000_0000;
const SIZE_MAX: u64 = 1 << 34;

/// Whether the next to open the database would play the journal back, if nobody holds `reserved`.
pub(super) fn is_hot(files: &dyn Files) -> bool {
    let mut first = [0];
    files.size(Which::Database) > 0
        && files.read(Which::Journal, 0, &mut first) == 1
        && first != [0]
}

/// Makes of a database file's bytes what SQLite would make of them.
pub(super) fn play_back(files: &dyn Files, database: &mut Vec<u8>) {
    if !is_hot(files) {
        return;
    }
    let size = files.size(Which::Journal);
    let mut offset = 0;
    let mut shape: Option<Shape> = None;
    while let Some(header) = Header::read(files, offset, shape, size) {
        if shape.is_none() {
            resize(database, header.shape);
        }
        shape = Some(header.shape);
        offset = header.records_start;
        let record_bytes = header.shape.page_size + 8;
        let mut record = vec![0; record_bytes as usize];
        // As many as there can be means as many as there are.
        for _ in 0..header.records {
            if files.read(Which::Journal, offset, &mut record) < record.len()
                || !header.restore(&record, database)
            {
                return;
            }
            offset += record_bytes;
        }
    }
}

/// What the first header says of all.
#[derive(Clone, Copy)]
struct Shape {
    pages: u64,
    sector_size: u64,
    page_size: u64,
}

struct Header {
    /// In bytes from the journal's start.
    records_start: u64,
    records: u32,
    nonce: u32,
    shape: Shape,
}

impl Header {
    /// The header at the first sector's start that isn't before `offset`.
    fn read(files: &dyn Files, offset: u64, shape: Option<Shape>, size: u64) -> Option<Self> {
        let sector_size = shape.map_or(HEADER_BYTES, |shape| shape.sector_size);
        let at = offset.next_multiple_of(sector_size);
        let mut bytes = [0; 28];
        if at + sector_size > size
            || files.read(Which::Journal, at, &mut bytes) < bytes.len()
            || !bytes.starts_with(&MAGIC)
        {
            return None;
        }
        let shape = shape.unwrap_or(Shape {
            pages: u64::from(big_endian(&bytes, 16)),
            sector_size: u64::from(big_endian(&bytes, 20)),
            page_size: u64::from(big_endian(&bytes, 24)),
        });
        let is_valid = shape.sector_size.is_power_of_two()
            && (32..=65536).contains(&shape.sector_size)
            && shape.page_size.is_power_of_two()
            && (512..=65536).contains(&shape.page_size)
            && shape.pages * shape.page_size <= SIZE_MAX;
        is_valid.then_some(Self {
            records_start: at + shape.sector_size,
            records: big_endian(&bytes, 8),
            nonce: big_endian(&bytes, 12),
            shape,
        })
    }

    /// False: the record isn't valid, and nothing after it counts.
    fn restore(&self, record: &[u8], database: &mut [u8]) -> bool {
        let page = u64::from(big_endian(record, 0));
        let page_size = self.shape.page_size;
        let content = &record[4..record.len() - 4];
        if page == 0 || page == PENDING_BYTE / page_size + 1 {
            return false;
        }
        if page > self.shape.pages {
            return true;
        }
        // `pager_cksum`: every 200th byte, from the end, without the first.
        let sum = (1..content.len().div_ceil(200))
            .map(|back| content[content.len() - 200 * back])
            .fold(self.nonce, |sum, byte| sum.wrapping_add(u32::from(byte)));
        if sum != big_endian(record, record.len() - 4) {
            return false;
        }
        let start = ((page - 1) * page_size) as usize;
        if let Some(place) = database.get_mut(start..start + content.len()) {
            place.copy_from_slice(content);
        }
        true
    }
}

fn resize(database: &mut Vec<u8>, shape: Shape) {
    database.resize((shape.pages * shape.page_size) as usize, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::audit::recovered_image;
    use crate::sim::audit::testing::{Native, Snapshot, insert};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// A transaction that has written much of the database and is then left; and what was before.
    static LEFT: LazyLock<(Snapshot, Vec<u8>)> = LazyLock::new(|| {
        let native = Native::with("PRAGMA cache_size=5; CREATE TABLE t (k, v)");
        native.run(&insert(30, 900, 1));
        let before = native.files().database;
        // `synchronous=OFF` would leave the number of records open.
        native.run("PRAGMA synchronous=FULL; BEGIN; UPDATE t SET k = k + 1, v = zeroblob(950)");
        native.run(&insert(60, 900, 2));
        (native.files(), before)
    });

    #[test]
    fn a_transaction_that_was_left_is_taken_back() {
        let (files, before) = &*LEFT;
        assert!(is_hot(files));
        assert!(files.database != *before);
        assert!(recovered_image(files) == *before);
        assert!(files.truth() == *before);
    }

    #[test]
    fn a_journal_of_unknown_length_is_read_to_its_end() {
        let native = Native::with("PRAGMA cache_size=5; CREATE TABLE t (k, v)");
        native.run(&insert(30, 900, 1));
        let before = native.files().database;
        native.run("BEGIN; UPDATE t SET k = k + 1");
        native.run(&insert(60, 900, 2));
        let files = native.files();
        assert_eq!(files.journal[8..12], [0xff; 4]);
        assert!(recovered_image(&files) == before);
    }

    #[test]
    fn a_journal_that_was_wiped_is_not_hot() {
        let mut files = LEFT.0.clone();
        files.journal[..28].fill(0);
        assert!(!is_hot(&files));
        assert!(
            recovered_image(&files)
                == recovered_image(&Snapshot {
                    journal: Vec::new(),
                    ..files
                })
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn damage_is_read_as_native_sqlite_reads_it(
            cut in 0..LEFT.0.journal.len(),
            damage in prop::collection::vec((512..LEFT.0.journal.len(), any::<u8>()), 0..3),
        ) {
            let mut files = LEFT.0.clone();
            for (at, byte) in damage {
                files.journal[at] = byte;
            }
            files.journal.truncate(cut);
            let mut image = files.database.clone();
            play_back(&files, &mut image);
            prop_assert!(image == files.truth());
        }
    }

    #[test]
    fn odd_page_numbers_are_read_as_native_sqlite_reads_them() {
        for page in [0, 1000, (PENDING_BYTE / 4096 + 1) as u32] {
            // Whether the checksum is looked at, too.
            for damage in [0, 1] {
                let mut files = LEFT.0.clone();
                files.journal[512..516].copy_from_slice(&page.to_be_bytes());
                files.journal[516 + 4096] ^= damage;
                let mut image = files.database.clone();
                play_back(&files, &mut image);
                assert!(image == files.truth(), "page {page}, damage {damage}");
            }
        }
    }

    #[test]
    fn the_bytes_that_a_checksum_covers_are_those_of_native_sqlite() {
        for at in [0, 95, 96, 97, 296, 3895, 3896, 3897, 4095, 4096, 4099] {
            let mut files = LEFT.0.clone();
            files.journal[516 + at] ^= 1;
            let mut image = files.database.clone();
            play_back(&files, &mut image);
            assert!(image == files.truth(), "byte {at}");
        }
    }
}
