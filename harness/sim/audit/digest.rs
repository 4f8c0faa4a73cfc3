//! A digest of a database's pages that a commit can bring up to date by what it wrote.
//!
//! A database's digest is the wrapping sum of the digests of its pages, each of which covers the
//! page's number too. So order doesn't matter, and writing a page is one subtraction and one addition.
//!
//! Nobody here tries to make two images collide, so the digest of a page need only be fast and mix
//! well. Four independent lanes each take every fourth pair of words: one is mixed into the lane's state,
//! the other into a constant, and the two halves of their 128-bit product become the state (as in wyhash).
//! One multiplication does for 16 bytes, and four lanes keep the multiplier busy during its latency. A
//! change is missed once in 2⁶⁴. (A 64-bit product won't do: it carries nothing downwards, so that two
//! changes of high bits can cancel. SipHash, the standard library's, is ten times slower, and what it
//! adds is protection from an adversary.)
//!
//! What must stay true: [`PageTable::digest`] is the sum over pages `1..=pages`, and each page's
//! digest is of its whole content.

/// Bits without a pattern: digits of π.
const LANES: [u64; 4] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7345,
    0xa409_3822_299f_31d1,
    0x082e_fa98_ec4e_6c89,
];
const FACTORS: [u64; 4] = [
    0x4528_21e6_38d0_1377,
    0xbe54_66cf_34e9_0c6d,
    0xc0ac_29b7_c97c_50dd,
    0x3f84_d5b5_b547_0917,
];

/// The digest of one page.
pub(super) fn page_digest(page: u32, content: &[u8]) -> u64 {
    let mut lanes = LANES;
    let (blocks, rest) = content.as_chunks::<64>();
    for block in blocks {
        let pairs = block.as_chunks::<8>().0.as_chunks::<2>().0;
        for ((lane, factor), [one, other]) in lanes.iter_mut().zip(FACTORS).zip(pairs) {
            *lane = fold(
                *lane ^ u64::from_le_bytes(*one),
                factor ^ u64::from_le_bytes(*other),
            );
        }
    }
    let mut digest = fold(
        u64::from(page) ^ LANES[0],
        content.len() as u64 ^ FACTORS[0],
    );
    for word in lanes
        .into_iter()
        .chain(rest.iter().map(|byte| u64::from(*byte)))
    {
        digest = fold(digest ^ word, FACTORS[1]);
    }
    finish(digest)
}

fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

/// Sums are taken of digests, so all bits of them must be equally good (MurmurHash3's finalizer).
fn finish(mut digest: u64) -> u64 {
    digest ^= digest >> 33;
    digest = digest.wrapping_mul(0xff51_afd7_ed55_8ccd);
    digest ^= digest >> 33;
    digest = digest.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    digest ^ (digest >> 33)
}

/// The digests of a database's pages, and their sum.
#[derive(Clone, Debug, Default)]
pub(super) struct PageTable {
    page_size: usize,
    /// How many pages the database has. There may be digests of more: SQLite doesn't forget what a page
    /// held when the database shrinks, and finds it there when it grows again.
    pages: u32,
    digests: Vec<u64>,
    sum: u64,
}

impl PageTable {
    /// A database of `pages` pages, whose content is `bytes` and beyond them zeros.
    pub(super) fn of(bytes: &[u8], page_size: usize, pages: u32) -> Self {
        let mut table = Self {
            page_size,
            ..Self::default()
        };
        if page_size > 0 {
            for content in bytes.chunks_exact(page_size) {
                let page = table.digests.len() as u32 + 1;
                table.digests.push(page_digest(page, content));
            }
        }
        table.resize(pages);
        table
    }

    /// The digest of the whole database.
    pub(super) fn digest(&self) -> u64 {
        self.sum
    }

    /// How many pages the database has.
    pub(super) fn pages(&self) -> u32 {
        self.pages
    }

    /// What a commit wrote, as pages and their digests, and how many pages the database has since.
    pub(super) fn apply(&mut self, writes: &[(u32, u64)], pages: u32) {
        self.resize(pages);
        for (page, digest) in writes {
            self.reach(*page);
            let Some(known) = (*page as usize)
                .checked_sub(1)
                .and_then(|at| self.digests.get_mut(at))
            else {
                continue;
            };
            if *page <= pages {
                self.sum = self.sum.wrapping_sub(*known).wrapping_add(*digest);
            }
            *known = *digest;
        }
    }

    /// The pages whose content isn't the same, or that only one has.
    pub(super) fn differing(&self, other: &Self) -> Vec<u32> {
        let own = &self.digests[..self.pages as usize];
        let others = &other.digests[..other.pages as usize];
        (0..own.len().max(others.len()))
            .filter(|at| own.get(*at) != others.get(*at))
            .map(|at| at as u32 + 1)
            .collect()
    }

    fn resize(&mut self, pages: u32) {
        self.reach(pages);
        let (from, to) = (self.pages.min(pages), self.pages.max(pages));
        let between = self.digests[from as usize..to as usize]
            .iter()
            .fold(0_u64, |sum, digest| sum.wrapping_add(*digest));
        self.sum = if pages > self.pages {
            self.sum.wrapping_add(between)
        } else {
            self.sum.wrapping_sub(between)
        };
        self.pages = pages;
    }

    /// Pages that nobody has written are zeros.
    fn reach(&mut self, page: u32) {
        if self.digests.len() < page as usize {
            let zeros = vec![0; self.page_size];
            for next in self.digests.len() as u32 + 1..=page {
                self.digests.push(page_digest(next, &zeros));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_of_a_page_counts_and_so_does_its_number() {
        let page: Vec<u8> = (0..512_u32).map(|at| (at * 7) as u8).collect();
        let mut seen = std::collections::BTreeSet::from([page_digest(1, &page)]);
        assert!(seen.insert(page_digest(2, &page)));
        for bit in 0..page.len() * 8 {
            let mut other = page.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(page_digest(1, &other)), "bit {bit}");
        }
    }

    #[test]
    fn words_that_change_places_are_seen() {
        let mut page = vec![0_u8; 512];
        page[0] = 1;
        let mut other = vec![0_u8; 512];
        other[64] = 1;
        assert_ne!(page_digest(1, &page), page_digest(1, &other));
        other[64] = 0;
        other[8] = 1;
        assert_ne!(page_digest(1, &page), page_digest(1, &other));
    }

    #[test]
    fn a_table_kept_up_to_date_is_one_made_anew() {
        let mut bytes: Vec<u8> = (0..512 * 4_u32).map(|at| (at / 3) as u8).collect();
        let mut table = PageTable::of(&bytes, 512, 4);
        bytes[512..1024].fill(9);
        bytes.resize(512 * 7, 0);
        bytes[512 * 6..].fill(5);
        table.apply(
            &[
                (2, page_digest(2, &[9; 512])),
                (7, page_digest(7, &[5; 512])),
            ],
            7,
        );
        assert_eq!(table.digest(), PageTable::of(&bytes, 512, 7).digest());
        table.apply(&[], 3);
        bytes.truncate(512 * 3);
        let anew = PageTable::of(&bytes, 512, 3);
        assert_eq!(table.digest(), anew.digest());
        assert_eq!(table.differing(&anew), Vec::<u32>::new());
        table.apply(&[(5, 8)], 3);
        assert_eq!(table.digest(), anew.digest());
        table.apply(&[], 5);
        table.apply(&[(5, 0)], 5);
        table.apply(&[], 4);
        table.apply(&[], 3);
        assert_eq!(table.digest(), anew.digest());
        table.apply(&[(2, 1)], 4);
        assert_eq!(table.differing(&anew), [2, 4]);
    }
}
