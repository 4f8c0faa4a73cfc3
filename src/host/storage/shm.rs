//! The wal-index file: attaching to it, growing it, and locking its slots.
//!
//! What must stay true:
//! - The dead-man switch is native SQLite's: whoever finds nobody attached
//!   truncates the file under the write lock, and keeps the read lock for as
//!   long as it uses the file. So a wal-index that outlived a crash is never
//!   believed.
//! - What this process holds (`SlotQueue`) and what the kernel was told change
//!   together, under the queue's mutex.
//! - A wal-index that somebody cut is nobody's any more who was attached before: see
//!   `extent` and `sigbus`.
//! - A closed handle never takes a lock again, although a wait that somebody
//!   still owns keeps its descriptor open.

use super::error::ErrorCode;
use super::file_limit::check_process_limit;
use super::grant::{Grant, is_regular, retry};
use super::kinds::ShmLockKind;
use super::lock::{ByteRange, RangeLock};
use super::mapping::REGION_BYTES;
use super::queue::{SLOTS, SlotLock, SlotQueue};
use super::registry::{FileId, Registry, Shared};
use super::sigbus;
use super::sync::{Arc, AtomicBool, AtomicU8, Mutex, Ordering};
use rustix::fs::{FallocateFlags, OFlags, Stat};
use std::os::fd::OwnedFd;
use std::task::Waker;
use std::thread;
use std::time::Duration;

/// Where native SQLite puts the slots (`UNIX_SHM_BASE`) and the dead-man
/// switch (`UNIX_SHM_DMS`): in header bytes that nobody reads.
const SLOTS_AT: u64 = 120;
const SWITCH_AT: u64 = SLOTS_AT + SLOTS as u64;
/// A length that no sound wal-index has, which says who cut it.
const TRUNCATED_BYTES: u64 = 3;
/// How often attaching is tried while others attach or delete the file. They
/// are within a few system calls, so this is milliseconds of patience at most.
const ATTACH_TRIES: u32 = 40;
const ATTACH_PAUSE: Duration = Duration::from_micros(50);

/// The queue of each wal-index that this process has attached to.
pub(crate) static QUEUES: Registry<Mutex<SlotQueue>> = Registry::new();

pub(crate) type SharedQueue = Arc<Shared<Mutex<SlotQueue>>>;

/// One handle's attachment to a wal-index, `F` being what its locks are asked
/// of: the file itself, or a model's stand-in for the kernel.
#[derive(Debug)]
pub(crate) struct Shm<F: ByteRange = OwnedFd> {
    // Before `fd`: the registry's entry must go while the inode is still ours.
    queue: SharedQueue,
    held: Held,
    /// How often the file was found cut before we attached.
    cuts: u32,
    fd: F,
    id: FileId,
}

/// The slots one handle holds, one bit each. Changed only under the queue's
/// mutex, which orders all but `check_wanted`'s early look: atomic so that no
/// second mutex is needed, which each read would take three times.
#[derive(Debug, Default)]
struct Held {
    shared: AtomicU8,
    exclusive: AtomicU8,
    closed: AtomicBool,
}

impl Held {
    fn slots(&self, kind: ShmLockKind) -> &AtomicU8 {
        match kind {
            ShmLockKind::Shared => &self.shared,
            ShmLockKind::Exclusive => &self.exclusive,
        }
    }

    fn has(&self, kind: ShmLockKind) -> u8 {
        self.slots(kind).load(Ordering::Relaxed)
    }

    fn add(&self, lock: SlotLock) {
        self.slots(lock.kind())
            .fetch_or(lock.mask(), Ordering::Relaxed);
    }

    fn remove(&self, lock: SlotLock) {
        self.slots(lock.kind())
            .fetch_and(!lock.mask(), Ordering::Relaxed);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// What came of asking for a slot lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Acquired,
    /// A handle of this process is in the way; its release will be known.
    HeldHere,
    /// Another process is; nobody will tell when it lets go.
    HeldElsewhere,
}

impl Shm {
    /// Attaches to `name`, the wal-index of the database that `database`
    /// describes, creating the file if need be.
    pub(crate) fn attach(grant: &Grant, name: &str, database: &Stat) -> Result<Shm, ErrorCode> {
        for attempt in 0..ATTACH_TRIES {
            if attempt > 0 {
                thread::sleep(ATTACH_PAUSE);
            }
            let (fd, stat) = grant.create_like(name, OFlags::RDWR, Some(database))?;
            let id = FileId::of(&stat);
            let queue = QUEUES.get(id, Mutex::default);
            // One at a time in this process: the switch's write lock of a
            // neighbour would look like a busy file.
            let mut guard = queue.lock();
            // The database was replaced, and others still use this with the one before: it
            // says nothing of ours. (Not `busy`, at which SQLite would try for ten seconds.)
            let of = *guard.database.get_or_insert(FileId::of(database));
            if of != FileId::of(database) {
                return Err(ErrorCode::Io);
            }
            if !throw_switch(&fd)? {
                continue;
            }
            // Shorter than those here know it: somebody cut it (or we did just now, and
            // there is nobody).
            note_size(&mut guard, size(&fd)?);
            let cuts = guard.extent.cuts();
            drop(guard);
            // Whoever was last may have deleted the file between our opening
            // it and taking the switch: then nobody else will ever find ours.
            if rustix::fs::fstat(&fd)?.st_nlink > 0 {
                let mut shm = Shm::new(queue, fd, id);
                shm.cuts = cuts;
                return Ok(shm);
            }
        }
        Err(ErrorCode::Busy)
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Makes sure the file has region `region`; `false`: it hasn't, and
    /// `extend` is false.
    pub(crate) fn ensure_region(
        &self,
        grant: &Grant,
        region: u32,
        extend: bool,
        max_bytes: u64,
    ) -> Result<bool, ErrorCode> {
        let end = (u64::from(region) + 1) * REGION_BYTES as u64;
        // One at a time, so that none finds the size from before another's growth.
        let mut queue = self.queue.lock();
        let size = size(&self.fd)?;
        note_size(&mut queue, size);
        if queue.extent.cuts() != self.cuts {
            return Err(ErrorCode::Io);
        }
        if size >= end {
            return Ok(true);
        }
        if !extend {
            return Ok(false);
        }
        // The guest decides how far its wal-index grows.
        if end > max_bytes {
            return Err(ErrorCode::Full);
        }
        check_process_limit(end)?;
        let _taken = grant.take_bytes(end - size)?;
        // Really allocated, from the start: writing to a hole when the disk is
        // full is no error code but a SIGBUS.
        match retry(|| rustix::fs::fallocate(&self.fd, FallocateFlags::empty(), 0, end)) {
            Err(ErrorCode::Unsupported) => self.write_each_page(size, end)?,
            other => other?,
        }
        note_size(&mut queue, end);
        Ok(true)
    }

    /// Notes that the file was found cut, for all who attached before.
    pub(crate) fn note_cut(&self) {
        self.queue.lock().extent.cut_since(self.cuts);
        sigbus::note_loss();
    }

    /// An error when the file isn't what others will find: deleted, or cut.
    pub(crate) fn check_unharmed(&self) -> Result<(), ErrorCode> {
        let mut queue = self.queue.lock();
        // Not before: what others of this process have added meanwhile would look like cut.
        let stat = rustix::fs::fstat(&self.fd)?;
        note_size(&mut queue, stat.st_size.unsigned_abs());
        if stat.st_nlink == 0 || queue.extent.cuts() != self.cuts {
            return Err(ErrorCode::Io);
        }
        Ok(())
    }

    /// Whether the file was cut since this handle attached to it.
    pub(crate) fn is_cut(&self) -> bool {
        self.queue.lock().extent.cuts() != self.cuts
    }

    /// For file systems without `fallocate`: native SQLite's way, one byte at
    /// the end of each new page.
    fn write_each_page(&self, from: u64, to: u64) -> Result<(), ErrorCode> {
        const PAGE_BYTES: u64 = 4096;
        for page in (from / PAGE_BYTES)..(to / PAGE_BYTES) {
            let at = page * PAGE_BYTES + PAGE_BYTES - 1;
            if retry(|| rustix::io::pwrite(&self.fd, &[0], at))? != 1 {
                return Err(ErrorCode::Full);
            }
        }
        Ok(())
    }
}

impl<F: ByteRange> Shm<F> {
    /// `fd` takes part in the dead-man switch of the file `id`, whose queue
    /// `queue` is.
    pub(crate) fn new(queue: SharedQueue, fd: F, id: FileId) -> Shm<F> {
        Shm {
            queue,
            held: Held::default(),
            cuts: 0,
            fd,
            id,
        }
    }

    pub(crate) fn queue(&self) -> &Mutex<SlotQueue> {
        &self.queue
    }

    /// Refuses what this handle may not ask for: SQLite never changes a slot
    /// from shared to exclusive or back, and takes none twice. `Ok(true)`: it
    /// shares the slot already.
    pub(crate) fn check_wanted(&self, wants: SlotLock) -> Result<bool, ErrorCode> {
        let shared = self.held.has(ShmLockKind::Shared);
        let exclusive = self.held.has(ShmLockKind::Exclusive);
        let (same, other) = match wants.kind() {
            ShmLockKind::Shared => (shared, exclusive),
            ShmLockKind::Exclusive => (0, exclusive | shared),
        };
        if self.held.is_closed() || other & wants.mask() != 0 {
            return Err(ErrorCode::InvalidArgument);
        }
        Ok(same & wants.mask() != 0)
    }

    /// Takes the lock at once or answers `busy`, whoever waits for it.
    pub(crate) fn try_lock(&self, wants: SlotLock) -> Result<(), ErrorCode> {
        match self.attempt(&mut self.queue.lock(), wants)? {
            Attempt::Acquired => Ok(()),
            Attempt::HeldHere | Attempt::HeldElsewhere => Err(ErrorCode::Busy),
        }
    }

    /// Takes the lock if nobody is in the way and this handle doesn't share it
    /// already. `queue` is this file's, locked.
    pub(crate) fn attempt(
        &self,
        queue: &mut SlotQueue,
        wants: SlotLock,
    ) -> Result<Attempt, ErrorCode> {
        // Here as well, where nothing changes meanwhile: another wait of this
        // handle may have got the lock since this one began.
        if self.check_wanted(wants)? {
            return Ok(Attempt::Acquired);
        }
        if queue.held_here(wants) {
            return Ok(Attempt::HeldHere);
        }
        let to = match wants.kind() {
            ShmLockKind::Shared => RangeLock::Read,
            ShmLockKind::Exclusive => RangeLock::Write,
        };
        match self.fd.set(
            to,
            SLOTS_AT + u64::from(wants.first()),
            u64::from(wants.count()),
        ) {
            Ok(()) => {}
            Err(ErrorCode::Busy) => return Ok(Attempt::HeldElsewhere),
            Err(error) => return Err(error),
        }
        self.held.add(wants);
        queue.acquired(wants);
        Ok(Attempt::Acquired)
    }

    /// Releases slots that this handle holds in just this way, and wakes who
    /// waited for them.
    pub(crate) fn unlock(&self, lock: SlotLock) -> Result<(), ErrorCode> {
        let mut queue = self.queue.lock();
        if self.held.has(lock.kind()) & lock.mask() != lock.mask() {
            return Err(ErrorCode::InvalidArgument);
        }
        let (at, count) = (SLOTS_AT + u64::from(lock.first()), u64::from(lock.count()));
        self.fd.set(RangeLock::Unlock, at, count)?;
        self.held.remove(lock);
        let wakers = queue.released(lock);
        drop(queue);
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Whether this handle holds slot 0, the writer's.
    pub(crate) fn is_writer(&self) -> bool {
        self.held.has(ShmLockKind::Exclusive) & 1 != 0
    }

    /// Whether anybody else, in any process, is attached.
    pub(crate) fn is_shared_with_others(&self) -> Result<bool, ErrorCode> {
        Ok(self.fd.conflict(RangeLock::Write, SWITCH_AT, 1)?.is_some())
    }

    /// Deletes the file if nobody else is attached. To be followed by `close`.
    pub(crate) fn delete_if_alone(&self, grant: &Grant, name: &str) -> Result<(), ErrorCode> {
        // Raising the switch to a write lock makes newcomers wait; they then
        // see that the file lost its name and start over.
        match self.fd.set(RangeLock::Write, SWITCH_AT, 1) {
            Ok(()) => {}
            Err(ErrorCode::Busy) => return Ok(()),
            Err(error) => return Err(error),
        }
        // Only the file that we hold the switch of.
        match grant.stat(name) {
            Ok(stat) if FileId::of(&stat) == self.id && is_regular(&stat) => grant.unlink(name),
            _ => Ok(()),
        }
    }

    /// Gives everything back. The descriptor itself closes with the last
    /// reference, so the locks are dropped by hand.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        if self.held.is_closed() {
            return;
        }
        self.held.closed.store(true, Ordering::Relaxed);
        let mut wakers = Vec::new();
        // A failure here (which the kernel has no reason for) leaves the locks
        // until the descriptor closes.
        let _ = self
            .fd
            .set(RangeLock::Unlock, SLOTS_AT, SWITCH_AT + 1 - SLOTS_AT);
        for kind in [ShmLockKind::Shared, ShmLockKind::Exclusive] {
            let mask = self.held.has(kind);
            for slot in (0..SLOTS).filter(|slot| mask & (1 << slot) != 0) {
                if let Ok(lock) = SlotLock::new(slot, 1, kind) {
                    self.held.remove(lock);
                    wakers.extend(queue.released(lock));
                }
            }
        }
        drop(queue);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<F: ByteRange> Drop for Shm<F> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Notes the size that a wal-index has while `queue` is locked; makes everybody look if it was
/// cut.
fn note_size(queue: &mut SlotQueue, bytes: u64) {
    if queue.extent.saw(bytes) {
        sigbus::note_loss();
    }
}

fn size(fd: &OwnedFd) -> Result<u64, ErrorCode> {
    Ok(rustix::fs::fstat(fd)?.st_size.unsigned_abs())
}

/// Takes part in the dead-man switch; `false`: somebody is at it right now.
fn throw_switch(fd: &OwnedFd) -> Result<bool, ErrorCode> {
    match fd.conflict(RangeLock::Write, SWITCH_AT, 1)? {
        // The holder may die before it truncates, so its lock isn't waited
        // for but asked about again.
        Some(RangeLock::Write) => return Ok(false),
        Some(_) => {}
        None => {
            match fd.set(RangeLock::Write, SWITCH_AT, 1) {
                Ok(()) => {}
                Err(ErrorCode::Busy) => return Ok(false),
                Err(error) => return Err(error),
            }
            // On an error the descriptor closes, and the lock with it.
            retry(|| rustix::fs::ftruncate(fd, TRUNCATED_BYTES))?;
        }
    }
    match fd.set(RangeLock::Read, SWITCH_AT, 1) {
        Ok(()) => Ok(true),
        Err(ErrorCode::Busy) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "shm_tests.rs"]
mod tests;
