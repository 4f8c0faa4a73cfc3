//! The simulated disk: one directory of files, as everybody sees it (*live*) and as it would be
//! found after a power loss (*durable*, and more or less of what was changed since).
//!
//! It is told what to do in the words of the system calls that the real host makes; rules of the
//! host that go beyond them are the caller's. Those that matter for durability
//! (`src/host/storage/`):
//! - The first `sync` of a handle also syncs the directory, if it was opened with `create` (even
//!   if the file existed) and isn't a main database.
//! - `delete-file` syncs the directory if asked to, after the deletion. `delete-on-close` and the
//!   deletion of a wal-index don't.
//! - Nothing else syncs the directory. A main database's name is durable once one of the above
//!   happened: SQLite creates a journal beside it before the first commit.
//! - `fdatasync` covers the size, so it does as much as `fsync` here.
//!
//! What must stay true:
//! - What was synced survives every power loss; see [`Loss`] for the rest.
//! - A clone is cheap and shares nothing that one of the two can change: each run begins with
//!   a clone of a prepared disk.
//! - A write costs as much as it is long, a sync as much as was written since the last one.

mod contents;
mod file;
mod loss;
mod names;
mod survivors;

#[cfg(test)]
mod loss_tests;
#[cfg(test)]
mod model_tests;

pub use loss::{FileLoss, Loss, LossReport, LossStyle, NameSync, SectorSize, Unwritten};

use contents::{Contents, PAGE_BYTES};
use file::{File, Moment, What};
use names::{NameMap, Names};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The largest file of ext4 with blocks of 4096 bytes.
const FILE_BYTES_MAX: u64 = 16 << 40;
/// The largest offset and size of the system calls.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// A file, whatever its name is; it stays as long as somebody has it open. Never used twice on one
/// disk, and unknown after a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(u32);

/// When a sync began: it promises nothing of what was written later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncPoint(Moment);

/// Why something couldn't be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// There is no such file.
    #[error("there is no such file")]
    NotFound,
    /// `exclusive` was asked for and the file exists.
    #[error("the file exists")]
    Exists,
    /// There is no room. Of a write, as much as fitted was done.
    #[error("the disk is full")]
    Full,
    /// An offset or a size past 2^63, or `exclusive` without `create`.
    #[error("an argument is out of range")]
    InvalidArgument,
}

/// A disk with one directory.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// All that have a name, are open, or might have a name after a power loss.
    files: BTreeMap<FileId, File>,
    names: Names,
    capacity_bytes: Option<u64>,
    next_file: u32,
    now: Moment,
}

impl Disk {
    /// An empty disk without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens `name`, and creates it if asked to and there is none. To be followed by
    /// [`close`](Self::close).
    pub fn open(&mut self, name: &str, create: bool, exclusive: bool) -> Result<FileId, DiskError> {
        if exclusive && !create {
            return Err(DiskError::InvalidArgument);
        }
        let id = match self.names.find(name) {
            Some(_) if exclusive => return Err(DiskError::Exists),
            Some(id) => id,
            None if create => {
                let id = self.new_id();
                let at = self.tick();
                self.names.change(at, name, Some(id));
                id
            }
            None => return Err(DiskError::NotFound),
        };
        self.files.entry(id).or_default().openers += 1;
        Ok(id)
    }

    /// The end of one [`open`](Self::open). The last one's ends a file that has no name.
    pub fn close(&mut self, file: FileId) {
        if let Some(open) = self.files.get_mut(&file) {
            open.openers = open.openers.saturating_sub(1);
        }
        self.forget_if_gone(file);
    }

    /// Reads until `buffer` is full or the file ends; how many bytes. None from an unknown file.
    pub fn read_at(&self, file: FileId, offset: u64, buffer: &mut [u8]) -> usize {
        (self.files.get(&file)).map_or(0, |file| file.live.read(offset, buffer))
    }

    /// Writes `data`, growing the file as needed. `Full`: as much was written as fitted, as
    /// `pwrite` does.
    pub fn write_at(&mut self, file: FileId, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        let end = check_size(offset.checked_add(data.len() as u64))?;
        let free = self.free_pages();
        let at = self.tick();
        let file = self.files.get_mut(&file).ok_or(DiskError::NotFound)?;
        if end > FILE_BYTES_MAX {
            return Err(DiskError::Full);
        }
        let fitting = free.map_or(data.len(), |free| {
            file.live.fitting(offset, data.len(), free)
        });
        if fitting > 0 {
            let data = data[..fitting].into();
            file.change(at, What::Write { offset, data });
        }
        if fitting < data.len() {
            return Err(DiskError::Full);
        }
        Ok(())
    }

    /// A write of which only some part, from the start, happens; how many bytes. The caller is to
    /// report an error.
    pub fn short_write(
        &mut self,
        file: FileId,
        offset: u64,
        data: &[u8],
        random: &mut ChaCha8Rng,
    ) -> Result<usize, DiskError> {
        let len = random.random_range(0..data.len().max(1));
        self.write_at(file, offset, &data[..len]).map(|()| len)
    }

    /// The file's size in bytes; 0 of an unknown one.
    pub fn size(&self, file: FileId) -> u64 {
        self.files.get(&file).map_or(0, |file| file.live.size())
    }

    /// Cuts or grows (with zeros, that take no room) to `size` bytes.
    pub fn truncate(&mut self, file: FileId, size: u64) -> Result<(), DiskError> {
        let size = check_size(Some(size))?;
        let at = self.tick();
        let file = self.files.get_mut(&file).ok_or(DiskError::NotFound)?;
        if size > FILE_BYTES_MAX {
            return Err(DiskError::Full);
        }
        file.change(at, What::Resize(size));
        Ok(())
    }

    /// What a sync that begins now is about.
    pub fn sync_begins(&self) -> SyncPoint {
        SyncPoint(self.now)
    }

    /// Makes contents and size durable as they were when the sync began, but not the name. (A sync
    /// that does nothing is one that isn't called.)
    pub fn sync(&mut self, file: FileId, begun: SyncPoint) -> Result<(), DiskError> {
        let synced = self.files.get_mut(&file).ok_or(DiskError::NotFound)?;
        synced.sync_to(begun.0);
        self.names.file_synced(file);
        Ok(())
    }

    /// Makes all creations and deletions durable.
    pub fn sync_directory(&mut self) {
        self.names.sync();
        let names = &self.names;
        self.files
            .retain(|id, file| file.openers > 0 || names.is_named(*id));
    }

    /// Makes everything durable.
    pub fn sync_all(&mut self) {
        self.files.values_mut().for_each(File::sync);
        self.sync_directory();
    }

    /// Takes `name` away; whoever has the file open keeps it.
    pub fn delete(&mut self, name: &str, sync_directory: bool) -> Result<(), DiskError> {
        let file = self.names.find(name).ok_or(DiskError::NotFound)?;
        let at = self.tick();
        self.names.change(at, name, None);
        if sync_directory {
            self.sync_directory();
        }
        self.forget_if_gone(file);
        Ok(())
    }

    /// Whether there is such a file and it isn't empty: SQLite wants an empty journal reported as
    /// absent.
    pub fn exists(&self, name: &str) -> bool {
        self.find(name).is_some_and(|file| self.size(file) > 0)
    }

    /// The file that `name` stands for.
    pub fn find(&self, name: &str) -> Option<FileId> {
        self.names.find(name)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.live().keys().map(|name| &**name)
    }

    /// From now on there is room for so many bytes, in whole pages of 4096. None: for any number.
    pub fn set_capacity_bytes(&mut self, capacity_bytes: Option<u64>) {
        self.capacity_bytes = capacity_bytes;
    }

    /// Everything that `name` stands for.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.files.get(&self.names.find(name)?)?;
        Some(file.live.to_vec())
    }

    /// What `name` is found with after the worst power loss: none of the unsynced survives.
    pub fn durable_contents(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.files.get(&self.names.find_durable(name)?)?;
        Some(file.durable.to_vec())
    }

    /// Nobody has a file open any more, and of what wasn't synced there is what `loss` and chance
    /// leave. All that is left is durable.
    pub fn power_loss(&mut self, loss: &Loss, random: &mut ChaCha8Rng) -> LossReport {
        let mut moments: Vec<Moment> = (self.files.values())
            .flat_map(|file| file.unsynced.iter().map(|change| change.at))
            .collect();
        let changes_unsynced = moments.len();
        moments.extend(self.names.unsynced());
        let names_unsynced = moments.len() - changes_unsynced;
        moments.sort_unstable();
        // One more than there are changes: the last case is that all survive.
        let cut = random.random_range(0..=moments.len());
        let cut = moments.get(cut).copied().unwrap_or(Moment::MAX);
        // The same for all files, so that there are runs that lose little and runs that lose much.
        let newest_percent = random.random_range(0..=100);

        let mut left: Vec<(Arc<str>, Contents)> = Vec::new();
        for (name, id) in self.names.surviving(loss, cut, random) {
            if let Some(file) = self.files.get(&id) {
                let contents = match loss.style {
                    LossStyle::Nothing => file.durable.clone(),
                    LossStyle::Everything => file.live.clone(),
                    LossStyle::Prefix => survivors::prefix(file, loss, cut, random),
                    LossStyle::Any => survivors::any(file, loss, newest_percent, random),
                };
                left.push((name, contents));
            }
        }
        let before = self.live_files();
        self.replace(left);
        LossReport {
            changes_unsynced,
            names_unsynced,
            files: differences(&before, &self.live_files()),
        }
    }

    /// Makes `files` all there is.
    fn replace(&mut self, files: Vec<(Arc<str>, Contents)>) {
        self.files.clear();
        let mut names = NameMap::new();
        for (name, contents) in files {
            let id = self.new_id();
            self.files.insert(id, File::durable(contents));
            names.insert(name, id);
        }
        self.names = Names::durable(names);
    }

    fn live_files(&self) -> BTreeMap<Arc<str>, Contents> {
        (self.names.live().iter())
            .filter_map(|(name, id)| {
                let file = self.files.get(id)?;
                Some((Arc::clone(name), file.live.clone()))
            })
            .collect()
    }

    fn forget_if_gone(&mut self, id: FileId) {
        let closed = self.files.get(&id).is_some_and(|file| file.openers == 0);
        if closed && !self.names.may_be_named(id) {
            self.files.remove(&id);
        }
    }

    /// None: no limit. Files that only a power loss could bring back take no room.
    fn free_pages(&self) -> Option<usize> {
        let capacity = self.capacity_bytes? / PAGE_BYTES as u64;
        let used: usize = (self.files.iter())
            .filter(|(id, file)| file.openers > 0 || self.names.is_named(**id))
            .map(|(_, file)| file.live.allocated())
            .sum();
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
        Some(capacity.saturating_sub(used))
    }

    fn new_id(&mut self) -> FileId {
        let id = FileId(self.next_file);
        self.next_file += 1;
        id
    }

    fn tick(&mut self) -> Moment {
        self.now += 1;
        self.now
    }
}

fn check_size(size: Option<u64>) -> Result<u64, DiskError> {
    size.filter(|size| *size <= OFFSET_MAX)
        .ok_or(DiskError::InvalidArgument)
}

fn differences(
    before: &BTreeMap<Arc<str>, Contents>,
    after: &BTreeMap<Arc<str>, Contents>,
) -> Vec<FileLoss> {
    let mut names: Vec<&Arc<str>> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let empty = Contents::default();
    names
        .into_iter()
        .filter_map(|name| {
            let (was, is) = (before.get(name), after.get(name));
            let difference = FileLoss {
                name: String::from(&**name),
                size_before: was.map(Contents::size),
                size_after: is.map(Contents::size),
                pages_changed: was.unwrap_or(&empty).pages_unlike(is.unwrap_or(&empty)),
            };
            let same_size = difference.size_before == difference.size_after;
            (!same_size || difference.pages_changed > 0).then_some(difference)
        })
        .collect()
}
