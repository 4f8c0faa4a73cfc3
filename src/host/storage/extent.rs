//! How long a wal-index has been while this process used it: plain data.
//!
//! A wal-index in use only grows. One that is shorter was cut by somebody who mustn't, and
//! what it held is gone: whoever extends it again finds zeros in the place of frames that
//! others believe to be noted there.

/// The size of a wal-index, and how often it was found cut.
#[derive(Debug, Default)]
pub(crate) struct Extent {
    bytes: u64,
    cuts: u32,
}

impl Extent {
    /// The file has `bytes` now; true: that is a cut.
    pub(crate) fn saw(&mut self, bytes: u64) -> bool {
        let is_cut = bytes < self.bytes;
        self.cuts += u32::from(is_cut);
        self.bytes = bytes;
        is_cut
    }

    /// Somebody who attached when there were `cuts` of them has found it cut.
    pub(crate) fn cut_since(&mut self, cuts: u32) {
        if self.cuts == cuts {
            self.cuts += 1;
            self.bytes = 0;
        }
    }

    /// What differs for those who attached before a cut and after it.
    pub(crate) fn cuts(&self) -> u32 {
        self.cuts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_is_no_cut_and_each_cut_is_one() {
        let mut extent = Extent::default();
        for bytes in [3, 100, 100, 300] {
            assert!(!extent.saw(bytes));
        }
        assert!(extent.saw(299));
        assert!(!extent.saw(299));
        assert_eq!(extent.cuts(), 1);
        // Two who were there before the second find the same one.
        extent.cut_since(1);
        extent.cut_since(1);
        extent.cut_since(0);
        assert_eq!(extent.cuts(), 2);
        assert!(!extent.saw(3));
    }
}
