//! The database at a commit: the pages of the database file, overlaid by those in the log.
//!
//! What must stay true: an image is what SQLite would read, page for page. Where neither the file nor
//! the log has a page, that is zeros.

use super::digest::PageTable;
use super::wal::{Wal, big_endian};
use super::{Files, Which, journal};

/// The least that is read as a database's header.
const HEADER_BYTES: usize = 100;
const PAGE_SIZE_DEFAULT: usize = 4096;

/// The database file without the log: after a hot journal was played back, in whole pages.
pub(super) struct Database {
    bytes: Vec<u8>,
    page_size: usize,
    pages: u32,
}

impl Database {
    pub(super) fn read(files: &dyn Files) -> Self {
        let mut bytes = vec![0; files.size(Which::Database) as usize];
        let read = files.read(Which::Database, 0, &mut bytes);
        bytes.truncate(read);
        journal::play_back(files, &mut bytes);
        let page_size = page_size(&bytes);
        bytes.resize(bytes.len().next_multiple_of(page_size), 0);
        let in_file = (bytes.len() / page_size) as u32;
        Self {
            pages: header_pages(&bytes).map_or(in_file, |pages| pages.min(in_file)),
            bytes,
            page_size,
        }
    }

    /// Whether the file's header says that it has a write-ahead log.
    pub(super) fn is_wal(&self) -> bool {
        self.bytes.get(19) == Some(&2)
    }

    /// The digests of all pages of the file. Without a log, of those that mean something: of the
    /// free list's leaves SQLite journals nothing (`sqlite3PagerDontRollback`), so that a
    /// rollback leaves in them what a transaction wrote. With one, nothing is rolled back in the file.
    pub(super) fn table(&self) -> PageTable {
        let leaves = if self.is_wal() {
            Vec::new()
        } else {
            self.free_leaves()
        };
        if leaves.is_empty() {
            return PageTable::of(&self.bytes, self.page_size, self.pages);
        }
        let mut bytes = self.bytes.clone();
        for page in leaves {
            let start = (page as usize - 1) * self.page_size;
            if let Some(content) = bytes.get_mut(start..start + self.page_size) {
                content.fill(0);
            }
        }
        PageTable::of(&bytes, self.page_size, self.pages)
    }

    /// The leaves of the free list (<https://sqlite.org/fileformat2.html#the_freelist>).
    fn free_leaves(&self) -> Vec<u32> {
        let mut leaves = Vec::new();
        if self.bytes.len() < HEADER_BYTES {
            return leaves;
        }
        let mut trunk = big_endian(&self.bytes, 32);
        // A list that goes in circles is one that no page is left of.
        for _ in 0..self.pages {
            let start = match (trunk as usize).checked_sub(1) {
                Some(before) => before * self.page_size,
                None => break,
            };
            let Some(content) = self.bytes.get(start..start + self.page_size) else {
                break;
            };
            let count = big_endian(content, 4) as usize;
            let places = (8..self.page_size - 3).step_by(4).take(count);
            let numbers = places.map(|at| big_endian(content, at));
            leaves.extend(numbers.filter(|page| (1..=self.pages).contains(page)));
            trunk = big_endian(content, 0);
        }
        leaves
    }

    /// The image with what has been read of the log.
    fn overlaid(mut self, files: &dyn Files, wal: &Wal) -> Vec<u8> {
        let (Some(pages), Some(page_size)) = (wal.pages(), wal.page_size()) else {
            self.bytes.truncate(self.pages as usize * self.page_size);
            return self.bytes;
        };
        self.bytes.resize(pages as usize * page_size, 0);
        for (page, offset) in wal.page_offsets() {
            let start = (page as usize - 1) * page_size;
            if let Some(place) = self.bytes.get_mut(start..start + page_size) {
                files.read(Which::Wal, offset, place);
            }
        }
        self.bytes
    }
}

/// The image at the last transaction that has been read of the log, as the bytes of a database file.
pub(super) fn image(files: &dyn Files, wal: &Wal) -> Vec<u8> {
    Database::read(files).overlaid(files, wal)
}

/// What SQLite would find in the files if nobody had them open, as the bytes of a database file.
#[must_use]
pub fn recovered_image(files: &dyn Files) -> Vec<u8> {
    image(files, &recover_log(files).0)
}

/// As [`Wal::recover`], except that SQLite deletes the log of an empty database
/// (`pagerOpenWalIfPresent`).
pub(super) fn recover_log(files: &dyn Files) -> (Wal, Vec<super::wal::Transaction>) {
    if files.size(Which::Database) == 0 {
        return (Wal::default(), Vec::new());
    }
    Wal::recover(files)
}

fn page_size(bytes: &[u8]) -> usize {
    match big_endian(bytes, 14) & 0xffff {
        1 => 65536,
        size if size.is_power_of_two() && size >= 512 => size as usize,
        _ => PAGE_SIZE_DEFAULT,
    }
}

/// "The in-header database size is only considered to be valid if it is non-zero and if the
/// 4-byte change counter at offset 24 exactly matches the 4-byte version-valid-for
/// number at offset 92."
fn header_pages(bytes: &[u8]) -> Option<u32> {
    if bytes.len() < HEADER_BYTES {
        return None;
    }
    let pages = big_endian(bytes, 28);
    (pages > 0 && big_endian(bytes, 24) == big_endian(bytes, 92)).then_some(pages)
}
