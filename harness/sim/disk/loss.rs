//! A power loss: what may become of changes that weren't synced, and what did.

/// How a power loss treats what wasn't synced. What was synced always survives it.
///
/// The default is the harshest of what SQLite and our VFS are built for: any sector may be
/// lost, and what is left is whole sectors of 512 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Which of the changes survive.
    pub style: LossStyle,
    /// What the device writes as a whole.
    pub sector: SectorSize,
    /// What a file shows where it grew and the data didn't come.
    pub unwritten: Unwritten,
    /// What makes names durable.
    pub names: NameSync,
    /// Whether the device may write part of a sector. Our VFS reports
    /// `SQLITE_IOCAP_POWERSAFE_OVERWRITE`, as SQLite's own: "when an application writes a range
    /// of bytes, no bytes outside of that range will change even if the write occurs just before
    /// a crash or power failure" (<https://sqlite.org/psow.html>). A torn sector keeps that
    /// promise too, as it is a mixture of its contents before and after a write; but devices
    /// don't do this, and SQLite's "sectors" are of 512 bytes at least.
    pub tears_sectors: bool,
}

/// Which of the unsynced changes survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LossStyle {
    /// None.
    Nothing,
    /// All: as if only the machine's memory, not its page cache, was lost.
    Everything,
    /// Those of all files before some moment, and perhaps part of a write at that moment.
    Prefix,
    /// Of each sector any version since the last sync, of each name any file, of each file any
    /// size: a device and a kernel that write in any order.
    #[default]
    Any,
}

/// What a device writes as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SectorSize {
    /// The least that SQLite assumes.
    #[default]
    Bytes512,
    /// Most devices of today.
    Bytes4096,
}

impl SectorSize {
    /// In bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bytes512 => 512,
            Self::Bytes4096 => 4096,
        }
    }
}

/// What a file shows where its new size survived ([`LossStyle::Any`]) and the new data didn't.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unwritten {
    /// Zeros. So do XFS, btrfs, and ext4 with `data=ordered` (the default): they let nobody see
    /// a block before it was written for this file. (ext4 then commits the new size after the
    /// data, except inside a block that the file had; the others needn't.)
    #[default]
    Zeros,
    /// Whatever was in the block before. So does ext4 with `data=writeback`, which commits a
    /// size without waiting for the data.
    Garbage,
}

/// What makes the creation of a file durable; deletions are only by a sync of the directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameSync {
    /// Only a sync of the directory, which is all that POSIX promises. Until then each name is
    /// on its own.
    #[default]
    Directory,
    /// A sync of the new file as well, as on ext4 and XFS: both keep changes of names in a
    /// journal, in order, and commit it up to there.
    Journal,
}

/// What a power loss did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LossReport {
    /// How many changes of contents and sizes weren't synced, those of nameless files included.
    pub changes_unsynced: usize,
    /// How many creations and deletions weren't synced.
    pub names_unsynced: usize,
    /// The files that aren't as they were just before, by name.
    pub files: Vec<FileLoss>,
}

/// How a file differs from what everybody saw just before the power loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLoss {
    /// Its name.
    pub name: String,
    /// Its size before, in bytes. None: it had been deleted, and is back.
    pub size_before: Option<u64>,
    /// Its size now, in bytes. None: it had been created, and is gone.
    pub size_after: Option<u64>,
    /// In how many pages of 4096 bytes it differs; a page that only one of the two has differs.
    pub pages_changed: u64,
}
