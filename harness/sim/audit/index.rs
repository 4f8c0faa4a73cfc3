//! The header of the wal-index: SQLite's `struct WalIndexHdr`, 48 bytes at its start.
//!
//! Its byte order is that of the machine that wrote it. Components are wasm, which is little-endian
//! wherever it runs; so is this.
//!
//! What must stay true: a header that was torn or never written isn't taken for one.

/// How many bytes the header has. A second copy follows it.
pub(super) const HEADER_BYTES: usize = 48;

/// What the header says of the last commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexHeader {
    /// `iChange`: grows with each commit, and starts anew when the wal-index is rebuilt.
    pub(super) change: u32,
    /// `mxFrame`: the last valid frame of the log, or 0.
    pub(super) mx_frame: u32,
    /// `nPage`: the database's size in pages after the last commit in the log.
    pub(super) pages: u32,
    /// `aFrameCksum`: the checksum of frame `mx_frame`.
    pub(super) checksum: [u32; 2],
    /// `aSalt`: as in the log's header and its frames.
    pub(super) salts: [u8; 8],
}

impl IndexHeader {
    /// None if nobody has initialised it or its checksum is wrong.
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<4>();
        let word = |at: usize| words.get(at).map(|word| u32::from_le_bytes(*word));
        let is_initialised = bytes[12] != 0;
        let mut sum = [0_u32; 2];
        for pair in words[..10].chunks_exact(2) {
            sum[0] = sum[0]
                .wrapping_add(u32::from_le_bytes(pair[0]))
                .wrapping_add(sum[1]);
            sum[1] = sum[1]
                .wrapping_add(u32::from_le_bytes(pair[1]))
                .wrapping_add(sum[0]);
        }
        if !is_initialised || word(10) != Some(sum[0]) || word(11) != Some(sum[1]) {
            return None;
        }
        let mut salts = [0; 8];
        salts.copy_from_slice(&bytes[32..40]);
        Some(Self {
            change: word(2)?,
            mx_frame: word(4)?,
            pages: word(5)?,
            checksum: [word(6)?, word(7)?],
            salts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::audit::testing::Native;

    #[test]
    fn native_sqlites_header_is_understood_and_a_torn_one_is_not() {
        let native = Native::new();
        native.run("CREATE TABLE t (v)");
        let bytes = native.index().unwrap();
        let header = IndexHeader::parse(&bytes).unwrap();
        assert_eq!(header.mx_frame, 2);
        assert_eq!(header.pages, 2);
        native.run("INSERT INTO t VALUES (1)");
        let newer = native.index().unwrap();
        assert_eq!(
            IndexHeader::parse(&newer).unwrap().change,
            header.change + 1
        );
        for cut in 1..HEADER_BYTES {
            let mut torn = bytes;
            torn[..cut].copy_from_slice(&newer[..cut]);
            if torn != bytes && torn != newer {
                assert_eq!(IndexHeader::parse(&torn), None, "torn at {cut}");
            }
        }
        assert_eq!(IndexHeader::parse(&[0; HEADER_BYTES]), None);
    }
}
