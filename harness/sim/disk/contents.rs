//! What a file holds: a size and the pages below it.
//!
//! What must stay true:
//! - A stored page is zero from the file's size on, and none lies wholly beyond it. So growing
//!   a file shows zeros, whatever was there before it was cut.
//! - A clone shares every page until one of the two writes to it.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What a file system allocates at a time.
pub(super) const PAGE_BYTES: usize = 4096;
const PAGE: u64 = PAGE_BYTES as u64;

type Page = [u8; PAGE_BYTES];

/// Sparse: a page that is missing is a hole, and reads as zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pages: Arc<BTreeMap<u64, Arc<Page>>>,
    size: u64,
}

impl Contents {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// How many pages take up room.
    pub(super) fn allocated(&self) -> usize {
        self.pages.len()
    }

    /// How much of a write of `len` bytes can be done with `free` more pages.
    pub(super) fn fitting(&self, offset: u64, len: usize, free: usize) -> usize {
        let mut free = free;
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            if !self.pages.contains_key(&(at / PAGE)) {
                if free == 0 {
                    break;
                }
                free -= 1;
            }
            done += PAGE_BYTES - (at % PAGE) as usize;
        }
        done.min(len)
    }

    /// Fills `buffer` from `offset` on; how many bytes there were.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let there = self.size.saturating_sub(offset);
        let len = usize::try_from(there).map_or(buffer.len(), |there| buffer.len().min(there));
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let count = (len - done).min(PAGE_BYTES - within);
            let part = &mut buffer[done..done + count];
            match self.pages.get(&(at / PAGE)) {
                Some(page) => part.copy_from_slice(&page[within..within + count]),
                None => part.fill(0),
            }
            done += count;
        }
        len
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let pages = Arc::make_mut(&mut self.pages);
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let count = (data.len() - done).min(PAGE_BYTES - within);
            let page = pages
                .entry(at / PAGE)
                .or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[within..within + count].copy_from_slice(&data[done..done + count]);
            done += count;
        }
        self.size = self.size.max(offset + data.len() as u64);
    }

    /// Cuts or grows.
    pub(super) fn resize(&mut self, size: u64) {
        if size < self.size {
            let pages = Arc::make_mut(&mut self.pages);
            pages.split_off(&size.div_ceil(PAGE));
            let within = (size % PAGE) as usize;
            if within > 0
                && let Some(page) = pages.get_mut(&(size / PAGE))
            {
                Arc::make_mut(page)[within..].fill(0);
            }
        }
        self.size = size;
    }

    /// Takes over, without copying, the pages of `other` in which the `len` bytes at `offset`
    /// lie, and grows as if they had been written here.
    pub(super) fn share(&mut self, other: &Self, offset: u64, len: usize) {
        if len == 0 {
            return;
        }
        let end = offset + len as u64;
        let pages = Arc::make_mut(&mut self.pages);
        for number in offset / PAGE..end.div_ceil(PAGE) {
            match other.pages.get(&number) {
                Some(page) => pages.insert(number, Arc::clone(page)),
                None => pages.remove(&number),
            };
        }
        self.size = self.size.max(end);
    }

    /// In how many pages the two differ; what only one of them has differs.
    pub(super) fn pages_unlike(&self, other: &Self) -> u64 {
        const HOLE: Page = [0; PAGE_BYTES];
        let common = self.size.min(other.size).div_ceil(PAGE);
        let mut numbers: Vec<u64> = (self.pages.range(..common))
            .chain(other.pages.range(..common))
            .map(|(number, _)| *number)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        let unlike = numbers
            .into_iter()
            .filter(|number| {
                let (one, two) = (self.pages.get(number), other.pages.get(number));
                match (one, two) {
                    (Some(one), Some(two)) => !Arc::ptr_eq(one, two) && one != two,
                    (Some(page), None) | (None, Some(page)) => **page != HOLE,
                    (None, None) => false,
                }
            })
            .count() as u64;
        unlike + self.size.max(other.size).div_ceil(PAGE) - common
    }

    /// All of it.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.size).unwrap_or(usize::MAX)];
        self.read(0, &mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_and_regrown_ends_are_zero() {
        let mut contents = Contents::default();
        contents.write(4090, &[7; 20]);
        assert_eq!((contents.size(), contents.allocated()), (4110, 2));
        contents.resize(4095);
        contents.resize(9000);
        let mut expected = vec![0; 9000];
        expected[4090..4095].fill(7);
        assert_eq!(contents.to_vec(), expected);
        assert_eq!(contents.allocated(), 1);
        let mut buffer = [1; 8];
        assert_eq!(contents.read(8996, &mut buffer), 4);
        assert_eq!(buffer, [0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(contents.read(u64::MAX, &mut buffer), 0);
    }

    #[test]
    fn a_clone_keeps_what_it_had() {
        let mut contents = Contents::default();
        contents.write(0, &[1; 10_000]);
        let before = contents.clone();
        contents.write(5000, &[2]);
        assert_eq!(before.to_vec(), vec![1; 10_000]);
        let shared = |page| Arc::ptr_eq(&before.pages[&page], &contents.pages[&page]);
        assert_eq!([shared(0), shared(1), shared(2)], [true, false, true]);
        assert_eq!(before.pages_unlike(&contents), 1);
    }

    #[test]
    fn pages_are_taken_over_with_their_holes() {
        let mut from = Contents::default();
        from.write(4096, &[1; 10]);
        from.resize(20_000);
        let mut to = Contents::default();
        to.write(0, &[2; 9000]);
        to.share(&from, 4000, 200);
        let mut expected = vec![0; 9000];
        expected[4096..4106].fill(1);
        expected[8192..].fill(2);
        assert_eq!(to.to_vec(), expected);
        to.share(&from, 9000, 3000);
        assert_eq!((to.size(), to.allocated()), (12_000, 1));
    }

    #[test]
    fn sizes_and_zeros_count_when_two_are_compared() {
        let mut one = Contents::default();
        let mut two = Contents::default();
        one.write(0, &[0; 4096]);
        two.resize(4096);
        assert_eq!(one.pages_unlike(&two), 0);
        two.resize(4097);
        assert_eq!(one.pages_unlike(&two), 1);
        one.write(1, &[1]);
        assert_eq!(two.pages_unlike(&one), 2);
    }

    #[test]
    fn what_fits_ends_with_the_last_page_there_is() {
        let mut contents = Contents::default();
        contents.write(4096, &[1]);
        assert_eq!(contents.fitting(4000, 5000, 0), 0);
        assert_eq!(contents.fitting(4000, 5000, 1), 96 + 4096);
        assert_eq!(contents.fitting(4000, 5000, 2), 5000);
        assert_eq!(contents.fitting(4096, 4096, 0), 4096);
    }
}
