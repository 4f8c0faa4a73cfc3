//! The one directory: which name stands for which file, now and on the device.
//!
//! What must stay true: applying the unsynced changes in order to the durable names gives the
//! live names. Syncing a file says nothing of its name, except on a journalling file system
//! (see [`NameSync`]).

use super::FileId;
use super::file::Moment;
use super::loss::{Loss, LossStyle, NameSync};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) type NameMap = BTreeMap<Arc<str>, FileId>;

#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    live: NameMap,
    durable: NameMap,
    unsynced: Vec<NameChange>,
    /// How many of `unsynced` a journalling file system has committed with a file's sync.
    journalled: usize,
}

#[derive(Clone, Debug)]
struct NameChange {
    at: Moment,
    name: Arc<str>,
    /// None: deleted.
    now: Option<FileId>,
}

impl NameChange {
    fn apply(&self, names: &mut NameMap) {
        match self.now {
            Some(file) => names.insert(Arc::clone(&self.name), file),
            None => names.remove(&self.name),
        };
    }
}

impl Names {
    /// Names that are all on the device.
    pub(super) fn durable(names: NameMap) -> Self {
        Self {
            live: names.clone(),
            durable: names,
            ..Self::default()
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<FileId> {
        self.live.get(name).copied()
    }

    pub(super) fn find_durable(&self, name: &str) -> Option<FileId> {
        self.durable.get(name).copied()
    }

    pub(super) fn live(&self) -> &NameMap {
        &self.live
    }

    pub(super) fn unsynced(&self) -> impl Iterator<Item = Moment> {
        self.unsynced.iter().map(|change| change.at)
    }

    /// Whether `file` has a name.
    pub(super) fn is_named(&self, file: FileId) -> bool {
        self.live.values().any(|named| *named == file)
    }

    /// Whether `file` has a name, or might have one after a power loss.
    pub(super) fn may_be_named(&self, file: FileId) -> bool {
        self.is_named(file)
            || self.durable.values().any(|named| *named == file)
            || (self.unsynced.iter()).any(|change| change.now == Some(file))
    }

    /// From `at` on, `name` stands for `now`.
    pub(super) fn change(&mut self, at: Moment, name: &str, now: Option<FileId>) {
        let change = NameChange {
            at,
            name: name.into(),
            now,
        };
        change.apply(&mut self.live);
        self.unsynced.push(change);
    }

    /// `file` was synced. Its creation, if it isn't on the device, goes with it into a journal,
    /// and with that whatever the journal had before.
    pub(super) fn file_synced(&mut self, file: FileId) {
        let created = (self.unsynced.iter()).rposition(|change| change.now == Some(file));
        if let Some(index) = created {
            self.journalled = self.journalled.max(index + 1);
        }
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
        self.journalled = 0;
    }

    /// What is left after a power loss; `cut`: the first change that a `Prefix` doesn't have.
    pub(super) fn surviving(&self, loss: &Loss, cut: Moment, random: &mut ChaCha8Rng) -> NameMap {
        let (committed, open) = match loss.names {
            NameSync::Directory => (&[][..], &self.unsynced[..]),
            NameSync::Journal => self.unsynced.split_at(self.journalled),
        };
        let mut names = self.durable.clone();
        for change in committed {
            change.apply(&mut names);
        }
        match (loss.style, loss.names) {
            (LossStyle::Nothing, _) => {}
            (LossStyle::Everything, _) => names.clone_from(&self.live),
            (LossStyle::Prefix, _) => {
                for change in open.iter().take_while(|change| change.at < cut) {
                    change.apply(&mut names);
                }
            }
            // A journal keeps the order of such changes, whatever becomes of the contents.
            (LossStyle::Any, NameSync::Journal) => {
                for change in &open[..random.random_range(0..=open.len())] {
                    change.apply(&mut names);
                }
            }
            (LossStyle::Any, NameSync::Directory) => any_of_each(open, &mut names, random),
        }
        names
    }
}

/// Sets each name to any of the files that it stood for, or to none if it did for none.
fn any_of_each(changes: &[NameChange], names: &mut NameMap, random: &mut ChaCha8Rng) {
    let mut of_name: BTreeMap<&str, Vec<&NameChange>> = BTreeMap::new();
    for change in changes {
        of_name.entry(&change.name).or_default().push(change);
    }
    for versions in of_name.values() {
        let picked = random.random_range(0..=versions.len());
        if let Some(change) = picked.checked_sub(1).and_then(|index| versions.get(index)) {
            change.apply(names);
        }
    }
}
