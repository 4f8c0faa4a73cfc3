//! One file (an inode, in POSIX's words): what everybody sees of it, what the device has of it,
//! and the changes that lie between.
//!
//! What must stay true: applying the unsynced changes in order to the durable contents gives the
//! live contents.

use super::contents::Contents;
use std::sync::Arc;

/// A point in the order of all changes to a disk.
pub(super) type Moment = u64;

#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) live: Contents,
    pub(super) durable: Contents,
    pub(super) unsynced: Vec<Change>,
    pub(super) openers: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) at: Moment,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Write { offset: u64, data: Arc<[u8]> },
    Resize(u64),
}

impl What {
    pub(super) fn apply(&self, contents: &mut Contents) {
        match self {
            Self::Write { offset, data } => contents.write(*offset, data),
            Self::Resize(size) => contents.resize(*size),
        }
    }
}

impl File {
    /// A file that is on the device as a whole.
    pub(super) fn durable(contents: Contents) -> Self {
        Self {
            live: contents.clone(),
            durable: contents,
            ..Self::default()
        }
    }

    pub(super) fn change(&mut self, at: Moment, what: What) {
        what.apply(&mut self.live);
        self.unsynced.push(Change { at, what });
    }

    /// Makes what was changed up to a moment durable.
    pub(super) fn sync_to(&mut self, moment: Moment) {
        let later = self.unsynced.partition_point(|change| change.at <= moment);
        if later == self.unsynced.len() {
            return self.sync();
        }
        for change in self.unsynced.drain(..later) {
            change.what.apply(&mut self.durable);
        }
    }

    /// Makes everything durable. Moves pages, not bytes: it costs as much as there were changes.
    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            match change.what {
                What::Write { offset, data } => {
                    self.durable.share(&self.live, offset, data.len());
                }
                What::Resize(size) => self.durable.resize(size),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_takes_over_what_is_there_at_last() {
        let mut file = File::default();
        let write = |offset, byte, len| What::Write {
            offset,
            data: vec![byte; len].into(),
        };
        file.change(0, write(0, 1, 9000));
        file.sync();
        for (at, what) in [
            write(4000, 2, 200),
            What::Resize(100),
            What::Resize(6000),
            write(5000, 3, 10),
            write(12_000, 4, 1),
            What::Resize(12_000),
        ]
        .into_iter()
        .enumerate()
        {
            file.change(at as Moment, what);
        }
        let mut expected = vec![0; 12_000];
        expected[..100].fill(1);
        expected[5000..5010].fill(3);
        assert_eq!(file.live.to_vec(), expected);
        assert_eq!(file.durable.to_vec(), vec![1; 9000]);
        file.sync();
        assert_eq!(file.durable.to_vec(), expected);
        assert!(file.unsynced.is_empty());
    }

    #[test]
    fn a_sync_takes_over_nothing_that_came_after_it_had_begun() {
        let mut file = File::default();
        let write = |offset, byte| What::Write {
            offset,
            data: vec![byte; 100].into(),
        };
        file.change(1, write(0, 1));
        file.change(2, What::Resize(60));
        file.change(3, write(50, 2));
        file.change(4, What::Resize(90));
        file.sync_to(2);
        assert_eq!(file.durable.to_vec(), [1; 60]);
        assert_eq!(file.unsynced.len(), 2);
        file.sync_to(4);
        assert_eq!(file.durable.to_vec(), file.live.to_vec());
        assert!(file.unsynced.is_empty());
    }
}
