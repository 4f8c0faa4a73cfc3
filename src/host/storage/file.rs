//! An open file: reading, writing, locks, and the wal-index that belongs to it.
//!
//! What must stay true:
//! - Dropping it first gives the guest its memory back, then releases every
//!   lock, then deletes the file if so asked. The locks go at once, even while
//!   a wait that was made here still keeps the descriptors open.
//! - Numbers from the guest are checked before the system sees them.

mod main_db;
mod unharmed;

use main_db::MainDb;

use super::HandleCount;
use super::error::ErrorCode;
use super::file_limit::check_process_limit;
use super::grant::{Grant, retry};
use super::kinds::{FileKind, LockLevel, OpenFlags, ShmLockKind, SyncKind};
use super::lock::FileLock;
use super::mapping::Mappings;
use super::queue::SlotLock;
use super::quota::Taken;
use super::registry::FileId;
use super::shm::Shm;
use super::shm_wait::ShmWait;
use super::sync::Arc;
use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What one `read_vec` may ask the host to allocate (the WIT's limit).
const READ_BYTES_MAX: u32 = 1 << 20;
/// The largest offset and size that the system's signed 64 bits can hold.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// An open file. Dropping it closes it: see the WIT's `file`.
#[derive(Debug)]
pub struct OpenFile {
    mappings: Mappings,
    shm: Option<Arc<Shm>>,
    lock: FileLock,
    fd: Arc<OwnedFd>,
    id: FileId,
    grant: Grant,
    name: Arc<str>,
    /// Only for a main database.
    main: Option<MainDb>,
    max_file_bytes: u64,
    read_only: bool,
    delete_on_close: bool,
    /// Whether the directory has yet to be synced for this file to be found
    /// after a crash.
    sync_directory: bool,
    _counted: HandleCount,
}

impl OpenFile {
    pub(crate) fn open(
        grant: &Grant,
        name: &str,
        kind: FileKind,
        flags: OpenFlags,
        max_file_bytes: u64,
        counted: HandleCount,
    ) -> Result<OpenFile, ErrorCode> {
        grant.check_kind(name, kind)?;
        // O_EXCL without O_CREAT is undefined.
        if flags.exclusive && !flags.create {
            return Err(ErrorCode::InvalidArgument);
        }
        if flags.delete_on_close && grant.is_read_only() {
            return Err(ErrorCode::ReadOnly);
        }
        let (fd, stat, read_only) = if grant.is_read_only() {
            match grant.open(name, OFlags::RDONLY, Mode::empty()) {
                Ok(_) if flags.exclusive => return Err(ErrorCode::Exists),
                Ok((fd, stat)) => (fd, stat, true),
                Err(ErrorCode::NotFound) if flags.create => return Err(ErrorCode::ReadOnly),
                Err(error) => return Err(error),
            }
        } else {
            open_writable(grant, name, kind, flags)?
        };
        let id = FileId::of(&stat);
        let main = (kind == FileKind::MainDb).then(|| MainDb::new(id, name));
        let fd = Arc::new(fd);
        grant.remember(&fd);
        Ok(OpenFile {
            mappings: Mappings::default(),
            shm: None,
            lock: FileLock::new(),
            fd,
            id,
            grant: grant.clone(),
            name: name.into(),
            sync_directory: flags.create && main.is_none(),
            main,
            max_file_bytes,
            read_only,
            delete_on_close: flags.delete_on_close,
            _counted: counted,
        })
    }

    /// Whether the file could be opened only for reading.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Reads until `buffer` is full or the file ends; how many bytes.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, ErrorCode> {
        check_range(offset, buffer.len())?;
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            match retry(|| rustix::io::pread(&self.fd, &mut buffer[done..], at))? {
                0 => break,
                count => done += count,
            }
        }
        Ok(done)
    }

    /// Reads up to `len` bytes, at most 1 MiB: the guest says how much the
    /// host allocates here.
    pub fn read_vec(&self, offset: u64, len: u32) -> Result<Vec<u8>, ErrorCode> {
        if len > READ_BYTES_MAX {
            return Err(ErrorCode::InvalidArgument);
        }
        let len = len as usize;
        check_range(offset, len)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| ErrorCode::Io)?;
        while bytes.len() < len {
            let at = offset + bytes.len() as u64;
            let count = retry(|| rustix::io::pread(&self.fd, spare_capacity(&mut bytes), at))?;
            if count == 0 {
                break;
            }
        }
        // The allocator may have given more room than was asked for.
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Writes all of `data`, growing the file as needed.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), ErrorCode> {
        self.check_writable()?;
        let end = check_range(offset, data.len())?;
        check_process_limit(end)?;
        let _kept = self.grant.keep_sizes();
        let _taken = self.check_growth(end)?;
        if self.main.is_none() {
            self.check_log_unmoved()?;
        }
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            match retry(|| rustix::io::pwrite(&self.fd, &data[done..], at))? {
                // Not a single byte and no reason: there's no room.
                0 => return Err(ErrorCode::Full),
                count => done += count,
            }
        }
        Ok(())
    }

    /// The file's size in bytes.
    pub fn size(&self) -> Result<u64, ErrorCode> {
        Ok(rustix::fs::fstat(&self.fd)?.st_size.unsigned_abs())
    }

    /// Cuts or grows (with zeros) the file.
    pub fn truncate(&self, size: u64) -> Result<(), ErrorCode> {
        self.check_writable()?;
        if size > OFFSET_MAX {
            return Err(ErrorCode::InvalidArgument);
        }
        let _changed = self.grant.change_sizes();
        if check_process_limit(size).is_err() && size > self.size()? {
            return Err(ErrorCode::Full);
        }
        let _taken = self.check_growth(size)?;
        retry(|| rustix::fs::ftruncate(&self.fd, size))
    }

    /// Returns when everything written so far is on the device. The first sync
    /// of a journal or WAL that was to be created also covers its name: after
    /// a crash a journal that can't be found can't be rolled back.
    pub fn sync(&mut self, kind: SyncKind) -> Result<(), ErrorCode> {
        match kind {
            SyncKind::Data => retry(|| rustix::fs::fdatasync(&self.fd))?,
            SyncKind::Full => retry(|| rustix::fs::fsync(&self.fd))?,
        }
        if self.sync_directory {
            self.grant.sync_directory()?;
            self.sync_directory = false;
        }
        Ok(())
    }

    /// Raises the lock; see the WIT's `lock`.
    pub fn lock(&mut self, level: LockLevel) -> Result<(), ErrorCode> {
        if level >= LockLevel::Reserved && self.lock.level() < LockLevel::Reserved {
            self.check_unmoved()?;
        }
        let shm = self.shm.as_deref();
        // As native SQLite: whoever still uses the wal-index must not find the
        // database locked away, even if a careless `close` in its process
        // dropped its (POSIX) lock on the database.
        let shared_with_others = || shm.map_or(Ok(false), Shm::is_shared_with_others);
        self.lock.raise(&*self.fd, level, shared_with_others)?;
        if level == LockLevel::Exclusive {
            self.note_writer();
        }
        Ok(())
    }

    /// Lowers the lock; see the WIT's `unlock`.
    pub fn unlock(&mut self, level: LockLevel) -> Result<(), ErrorCode> {
        let was = self.lock.level();
        let ends_write = was == LockLevel::Exclusive && level < was;
        if ends_write {
            self.note_commit();
        }
        self.lock.lower(&*self.fd, level)?;
        if ends_write {
            self.tell_of_commit();
        }
        Ok(())
    }

    /// Whether any handle anywhere holds `reserved` or more.
    pub fn check_reserved(&self) -> Result<bool, ErrorCode> {
        self.lock.anyone_reserved(&*self.fd)
    }

    /// Maps region `region` of the wal-index over the `len` bytes at `at`; see
    /// the WIT's `shm-map`. The first call attaches to the wal-index.
    ///
    /// # Safety
    /// `[at, at + len)` is readable and writable private memory of the calling
    /// guest, nobody holds a Rust reference into it, and it stays the guest's
    /// (neither unmapped nor given to another instance) until `shm_unmap`
    /// succeeded or this file was dropped.
    #[allow(unsafe_code)]
    pub unsafe fn shm_map(
        &mut self,
        region: u32,
        extend: bool,
        at: *mut u8,
        len: usize,
    ) -> Result<bool, ErrorCode> {
        let main = self.main.as_ref().ok_or(ErrorCode::InvalidArgument)?;
        if !self.grant.offers_shared_memory() {
            return Err(ErrorCode::Unsupported);
        }
        if self.mappings.check(region, at, len)? {
            return Ok(true);
        }
        let shm = match &self.shm {
            Some(shm) => shm,
            None => {
                self.grant.check_name(&main.shm_name)?;
                let stat = rustix::fs::fstat(&self.fd)?;
                let attached = Shm::attach(&self.grant, &main.shm_name, &stat)?;
                self.shm.insert(Arc::new(attached))
            }
        };
        if !shm.ensure_region(&self.grant, region, extend, self.max_file_bytes)? {
            return Ok(false);
        }
        debug_assert_eq!(region as usize, self.mappings.len());
        // SAFETY: the memory is the caller's promise; `check` accepted the
        // range as the next region, and `ensure_region` made the file have it.
        unsafe { self.mappings.map_next(shm.fd(), at) }?;
        Ok(true)
    }

    /// Locks slots of the wal-index at once or not at all; see the WIT's `shm-lock`.
    pub fn shm_try_lock(&self, first: u32, count: u32, kind: ShmLockKind) -> Result<(), ErrorCode> {
        let wants = SlotLock::new(first, count, kind)?;
        // Not attached: SQLite maps before it locks.
        let shm = self.shm.as_ref().ok_or(ErrorCode::InvalidArgument)?;
        self.check_writer(wants)?;
        shm.try_lock(wants)?;
        self.note_lock(first, kind);
        Ok(())
    }

    fn note_lock(&self, first: u32, kind: ShmLockKind) {
        if kind == ShmLockKind::Exclusive && first == 0 {
            self.note_writer();
        }
    }

    /// Locks slots of the wal-index; see the WIT's `shm-lock-wait`. The future
    /// borrows nothing. With a `timeout` of zero it is ready, and the lock
    /// taken, before it is polled.
    pub fn shm_lock(
        &self,
        first: u32,
        count: u32,
        kind: ShmLockKind,
        timeout: Duration,
    ) -> ShmWait {
        match (&self.shm, SlotLock::new(first, count, kind)) {
            (Some(shm), Ok(wants)) => match self.check_writer(wants) {
                Ok(()) => ShmWait::new(Arc::clone(shm), wants, timeout),
                Err(error) => ShmWait::known(Err(error)),
            },
            // Not attached: SQLite maps before it locks.
            _ => ShmWait::known(Err(ErrorCode::InvalidArgument)),
        }
    }

    /// Releases slots locked with the same arguments.
    pub fn shm_unlock(&self, first: u32, count: u32, kind: ShmLockKind) -> Result<(), ErrorCode> {
        let lock = SlotLock::new(first, count, kind)?;
        let ends_write = kind == ShmLockKind::Exclusive && first == 0;
        let shm = self.shm.as_ref().ok_or(ErrorCode::InvalidArgument)?;
        if ends_write && shm.is_writer() {
            self.note_commit();
        }
        shm.unlock(lock)?;
        if ends_write {
            self.tell_of_commit();
        }
        Ok(())
    }

    /// Gives mapped regions back as zeroed memory and drops all wal-index
    /// locks; see the WIT's `shm-unmap`.
    pub fn shm_unmap(&mut self, delete: bool) -> Result<(), ErrorCode> {
        self.mappings.restore()?;
        let (Some(shm), Some(main)) = (self.shm.take(), &self.main) else {
            return Ok(());
        };
        let was_writer = shm.is_writer();
        let deleted = if delete {
            shm.delete_if_alone(&self.grant, &main.shm_name)
        } else {
            Ok(())
        };
        shm.close();
        if was_writer {
            self.tell_of_commit();
        }
        deleted
    }

    fn check_writable(&self) -> Result<(), ErrorCode> {
        if self.read_only {
            Err(ErrorCode::ReadOnly)
        } else {
            Ok(())
        }
    }

    /// The limits are on growth: what is large already may still be changed. The answer is to be
    /// kept until it has grown.
    fn check_growth(&self, end: u64) -> Result<Option<Taken>, ErrorCode> {
        if end <= self.max_file_bytes && !self.grant.has_quota() {
            return Ok(None);
        }
        let growth = end.saturating_sub(self.size()?);
        if growth == 0 {
            return Ok(None);
        }
        if end > self.max_file_bytes {
            return Err(ErrorCode::Full);
        }
        self.grant.take_bytes(growth)
    }

    /// Deletes the name, if it still is this file's.
    fn delete(&self) {
        if self
            .grant
            .stat(&self.name)
            .is_ok_and(|stat| FileId::of(&stat) == self.id)
        {
            let _ = self.grant.unlink(&self.name);
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // Can't fail quietly: if the memory stays mapped, dropping `mappings`
        // tries once more and then aborts.
        let _ = self.shm_unmap(false);
        // If this fails, the lock goes when the descriptor closes.
        let _ = self.unlock(LockLevel::Unlocked);
        if let Some(main) = &mut self.main {
            main.end(&self.fd);
        }
        if self.delete_on_close {
            self.delete();
        }
    }
}

/// Opens for writing, or for reading where writing isn't allowed.
fn open_writable(
    grant: &Grant,
    name: &str,
    kind: FileKind,
    flags: OpenFlags,
) -> Result<(OwnedFd, rustix::fs::Stat, bool), ErrorCode> {
    let mut how = if flags.read_only {
        OFlags::RDONLY
    } else {
        OFlags::RDWR
    };
    let opened = if flags.create {
        if flags.exclusive {
            how |= OFlags::EXCL;
        }
        let database = match kind {
            FileKind::MainDb => None,
            FileKind::MainJournal => super::grant::database_of(name, "-journal"),
            FileKind::Wal => super::grant::database_of(name, "-wal"),
        };
        let like = database.and_then(|database| grant.stat(database).ok());
        grant.create_like(name, how, like.as_ref())
    } else {
        grant.open(name, how, Mode::empty())
    };
    match opened {
        Ok((fd, stat)) => Ok((fd, stat, flags.read_only)),
        Err(error @ (ErrorCode::Access | ErrorCode::ReadOnly))
            if !flags.read_only && !flags.exclusive && !flags.delete_on_close =>
        {
            match grant.open(name, OFlags::RDONLY, Mode::empty()) {
                Ok((fd, stat)) => Ok((fd, stat, true)),
                // It was the creation that wasn't allowed.
                Err(ErrorCode::NotFound) => Err(error),
                Err(other) => Err(other),
            }
        }
        Err(error) => Err(error),
    }
}

/// The end of `[offset, offset + len)`, if the system can express it.
fn check_range(offset: u64, len: usize) -> Result<u64, ErrorCode> {
    offset
        .checked_add(len as u64)
        .filter(|end| *end <= OFFSET_MAX)
        .ok_or(ErrorCode::InvalidArgument)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
