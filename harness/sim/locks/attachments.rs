//! Who uses the wal-index: the dead-man switch, as far as it can be seen from outside.
//!
//! What must stay true: whoever attaches when nobody is attached finds a wal-index of zeros, so
//! that what a crash left of it is never believed. The memory is the caller's.

use super::Holder;
use std::collections::BTreeSet;

/// The holders that are attached to one wal-index.
#[derive(Clone, Debug, Default)]
pub struct Attachments {
    attached: BTreeSet<Holder>,
}

impl Attachments {
    /// True: nobody was attached, so the wal-index is to be emptied. Nothing happens when `holder`
    /// is attached already.
    pub fn attach(&mut self, holder: Holder) -> bool {
        self.attached.insert(holder) && self.attached.len() == 1
    }

    /// True: nobody is attached any more. False, too, when `holder` wasn't.
    pub fn detach(&mut self, holder: Holder) -> bool {
        self.attached.remove(&holder) && self.attached.is_empty()
    }

    /// Whether `holder` is attached.
    pub fn is_attached(&self, holder: Holder) -> bool {
        self.attached.contains(&holder)
    }

    /// Whether `holder` and somebody else are: then `holder` may not become exclusive.
    pub fn is_shared_with_others(&self, holder: Holder) -> bool {
        self.is_attached(holder) && self.attached.len() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_and_the_last_one_are_told() {
        let mut attachments = Attachments::default();
        let (one, two) = (Holder(1), Holder(2));
        assert!(!attachments.detach(one));
        assert!(attachments.attach(one));
        assert!(!attachments.attach(one), "it uses the memory");
        assert!(!attachments.is_shared_with_others(one));
        assert!(!attachments.attach(two));
        assert!(attachments.is_shared_with_others(one));
        assert!(!attachments.is_shared_with_others(Holder(3)));
        assert!(!attachments.detach(one));
        assert!(!attachments.detach(one));
        assert!(attachments.detach(two));
        assert!(attachments.attach(two));
    }
}
