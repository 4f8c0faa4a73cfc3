//! What each host call does: `src/host/storage/file.rs` and `file/main_db.rs` over a simulated disk.
//!
//! What must stay true: it promises no more than the real host does. Where that is a matter of
//! durability (what makes a file's name durable), the disk says what is mirrored here.

use super::audit::Which;
use super::audit::{Files as _, Mark};
use super::disk::{DiskError, SyncPoint};
use super::locks::{LockError, LockLevel, ShmAnswer, ShmKind, Ticket};
use super::room::{DATABASE, DiskFiles, OpenFile, REGIONS, Room};
use beaver_host::machine::{
    Begin, Capabilities, ErrorCode, FileKind, HostCall, Interest, LockLevel as HostLevel, Reply,
    ShmLockKind, WatcherId,
};
use rand::Rng as _;
use std::sync::Arc;
use std::time::Duration;

/// As in `src/host/storage/file.rs` and `file/main_db.rs`.
const READ_BYTES_MAX: u32 = 1 << 20;
const OFFSET_MAX: u64 = i64::MAX as u64;

/// What comes of a call.
pub(super) enum Effect {
    Reply(Reply),
    Wait(Wait),
}

/// What a call waits for.
pub(super) enum Wait {
    Sleep {
        until_ns: u64,
    },
    /// For slots of the wal-index.
    Slots {
        ticket: Ticket,
        until_ns: u64,
        file: u32,
        first: u32,
        kind: ShmLockKind,
    },
    /// For a change.
    Change {
        id: WatcherId,
        begun: Begin,
        seen: u64,
        until_ns: u64,
        process: usize,
        /// It watches nothing else, and leaves when the wait is over.
        is_passing: bool,
    },
    /// For the device.
    Sync {
        file: u32,
        begun: Option<Mark>,
        from: SyncPoint,
        until_ns: u64,
    },
}

impl Wait {
    pub(super) fn until_ns(&self) -> u64 {
        match self {
            Self::Sleep { until_ns }
            | Self::Slots { until_ns, .. }
            | Self::Change { until_ns, .. }
            | Self::Sync { until_ns, .. } => *until_ns,
        }
    }
}

type Answer<T = Reply> = Result<T, ErrorCode>;

impl From<DiskError> for Failed {
    fn from(error: DiskError) -> Self {
        Self(match error {
            DiskError::NotFound => ErrorCode::NotFound,
            DiskError::Exists => ErrorCode::Exists,
            DiskError::Full => ErrorCode::Full,
            DiskError::InvalidArgument => ErrorCode::InvalidArgument,
        })
    }
}

impl From<LockError> for Failed {
    fn from(error: LockError) -> Self {
        Self(match error {
            LockError::Busy => ErrorCode::Busy,
            LockError::InvalidArgument => ErrorCode::InvalidArgument,
            LockError::Full => ErrorCode::Full,
        })
    }
}

/// An error on its way to the guest.
pub(super) struct Failed(ErrorCode);

impl From<ErrorCode> for Failed {
    fn from(error: ErrorCode) -> Self {
        Self(error)
    }
}

fn level(level: HostLevel) -> LockLevel {
    match level {
        HostLevel::Unlocked => LockLevel::Unlocked,
        HostLevel::Shared => LockLevel::Shared,
        HostLevel::Reserved => LockLevel::Reserved,
        HostLevel::Pending => LockLevel::Pending,
        HostLevel::Exclusive => LockLevel::Exclusive,
    }
}

fn shm_kind(kind: ShmLockKind) -> ShmKind {
    match kind {
        ShmLockKind::Shared => ShmKind::Shared,
        ShmLockKind::Exclusive => ShmKind::Exclusive,
    }
}

fn shm_answer(answer: ShmAnswer) -> Answer {
    match answer {
        ShmAnswer::Done => Ok(Reply::Done),
        ShmAnswer::Busy => Err(ErrorCode::Busy),
        ShmAnswer::Invalid => Err(ErrorCode::InvalidArgument),
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What belongs to the database of this name, and isn't it.
fn is_shm(name: &str) -> bool {
    name.ends_with("-shm")
}

impl Room {
    /// The instance's file of this number.
    pub(super) fn file(&mut self, instance: u64, number: u32) -> Option<&mut OpenFile> {
        let files = &mut self.instances.get_mut(&instance)?.files;
        files.get_mut(number as usize)?.as_mut()
    }

    fn open_file(&mut self, instance: u64, number: u32) -> Answer<&mut OpenFile> {
        self.file(instance, number)
            .ok_or(ErrorCode::InvalidArgument)
    }

    fn main_db(&mut self, instance: u64, number: u32) -> Answer<&mut OpenFile> {
        let file = self.open_file(instance, number)?;
        if file.kind == FileKind::MainDb {
            Ok(file)
        } else {
            Err(ErrorCode::InvalidArgument)
        }
    }

    fn process(&self, instance: u64) -> usize {
        self.instances
            .get(&instance)
            .map_or(0, |known| known.process())
    }

    /// Does what an instance asks; time passes meanwhile.
    pub(super) fn carry_out(
        &mut self,
        actor: u32,
        instance: u64,
        call: &mut HostCall<'_>,
    ) -> Effect {
        self.time.pass(cost_ns(call));
        let effect = self.attempt(actor, instance, call);
        self.look();
        match effect {
            Ok(effect) => effect,
            Err(Failed(error)) => Effect::Reply(Reply::Failed(error)),
        }
    }

    fn attempt(
        &mut self,
        actor: u32,
        instance: u64,
        call: &mut HostCall<'_>,
    ) -> Result<Effect, Failed> {
        let reply = match call {
            HostCall::GetCapabilities => Reply::Capabilities(Capabilities {
                shared_memory: true,
                wait_change: true,
                claims: true,
            }),
            HostCall::OpenFile { name, kind, how } => {
                if is_shm(name) || name.contains('/') || name.contains('\0') {
                    return Err(ErrorCode::Access.into());
                }
                let id = self.disk.open(name, how.create, how.exclusive)?;
                let holder = self.new_holder();
                self.shm.belongs(holder, self.process(instance));
                let open = OpenFile {
                    id,
                    kind: *kind,
                    name: (*name).to_owned(),
                    holder,
                    is_read_only: how.read_only,
                    delete_on_close: how.delete_on_close,
                    sync_directory: how.create && *kind != FileKind::MainDb,
                    announces: false,
                    since: None,
                    committed: None,
                    watcher: None,
                };
                let Some(known) = self.instances.get_mut(&instance) else {
                    return Err(ErrorCode::Io.into());
                };
                let free = known.files.iter().position(Option::is_none);
                let number = free.unwrap_or(known.files.len());
                match known.files.get_mut(number) {
                    Some(place) => *place = Some(open),
                    None => known.files.push(Some(open)),
                }
                Reply::Number(number as u64)
            }
            HostCall::CloseFile { file } => {
                let process = self.process(instance);
                let place = self
                    .instances
                    .get_mut(&instance)
                    .and_then(|known| known.files.get_mut(*file as usize));
                if let Some(open) = place.and_then(Option::take) {
                    self.close(open, process, true);
                }
                Reply::Done
            }
            HostCall::DeleteFile {
                name,
                sync_directory,
            } => {
                if is_shm(name) {
                    return Err(ErrorCode::Access.into());
                }
                self.disk.delete(name, false)?;
                if *sync_directory {
                    // The deletion of a journal is a commit, which so is covered.
                    self.look();
                    let begun = self.sync_begins();
                    self.sync_directory(begun);
                }
                Reply::Done
            }
            HostCall::FileExists { name } => Reply::Bool(self.disk.exists(name)),
            HostCall::IsReadOnly { file } => {
                Reply::Bool(self.open_file(instance, *file)?.is_read_only)
            }
            HostCall::ReadAt { file, offset, len } => {
                if *len > READ_BYTES_MAX {
                    return Err(ErrorCode::InvalidArgument.into());
                }
                check_range(*offset, *len as usize)?;
                let id = self.open_file(instance, *file)?.id;
                let mut bytes = vec![0; *len as usize];
                let read = self.disk.read_at(id, *offset, &mut bytes);
                bytes.truncate(read);
                Reply::Bytes(bytes)
            }
            HostCall::ReadInto {
                file,
                offset,
                buffer,
            } => {
                check_range(*offset, buffer.len())?;
                let id = self.open_file(instance, *file)?.id;
                Reply::Number(self.disk.read_at(id, *offset, buffer) as u64)
            }
            HostCall::WriteAt { file, offset, data } => {
                check_range(*offset, data.len())?;
                let id = self.writable(instance, *file)?;
                self.disk.write_at(id, *offset, data)?;
                Reply::Done
            }
            HostCall::Size { file } => {
                let id = self.open_file(instance, *file)?.id;
                Reply::Number(self.disk.size(id))
            }
            HostCall::Truncate { file, size } => {
                let id = self.writable(instance, *file)?;
                self.disk.truncate(id, *size)?;
                Reply::Done
            }
            HostCall::Sync { file, .. } => {
                self.open_file(instance, *file)?;
                if self.defects.sync_does_nothing {
                    return Ok(Effect::Reply(Reply::Done));
                }
                // Most take as long as a good device does, some much longer.
                let takes_ns = 20_000 << self.chance.random_range(0..8_u32);
                return Ok(Effect::Wait(Wait::Sync {
                    file: *file,
                    begun: self.sync_begins(),
                    from: self.disk.sync_begins(),
                    until_ns: self.now_ns() + takes_ns,
                }));
            }
            HostCall::Lock { file, level: to } => {
                let holder = self.open_file(instance, *file)?.holder;
                let is_shared = self.attached.is_shared_with_others(holder);
                self.locks.lock(holder, level(*to), is_shared)?;
                if *to == HostLevel::Exclusive {
                    self.note_writer(instance, *file);
                }
                Reply::Done
            }
            HostCall::Unlock { file, level: to } => {
                let holder = self.open_file(instance, *file)?.holder;
                let was = self.locks.level(holder);
                let ends_write = was == LockLevel::Exclusive && level(*to) < was;
                if ends_write {
                    self.note_commit(instance, *file);
                }
                self.locks.unlock(holder, level(*to))?;
                if ends_write {
                    self.tell_of_commit(instance, *file);
                }
                Reply::Done
            }
            HostCall::CheckReserved { file } => {
                let holder = self.open_file(instance, *file)?.holder;
                Reply::Bool(self.locks.is_reserved(holder))
            }
            HostCall::ShmMap {
                file,
                region,
                extend,
            } => self.shm_map(instance, *file, *region, *extend)?,
            HostCall::ShmLock {
                file,
                first,
                count,
                kind,
            } => {
                let holder = self.attached_holder(instance, *file)?;
                let answer = self.shm.try_lock(holder, *first, *count, shm_kind(*kind));
                let reply = shm_answer(answer)?;
                self.note_slots(instance, *file, *first, *kind);
                reply
            }
            HostCall::ShmLockWait {
                file,
                first,
                count,
                kind,
                timeout,
            } => {
                let holder = self.attached_holder(instance, *file)?;
                let asked = self
                    .shm
                    .lock_or_wait(holder, *first, *count, shm_kind(*kind));
                match asked {
                    Ok(ticket) => {
                        self.awaits(ticket, actor);
                        return Ok(Effect::Wait(Wait::Slots {
                            ticket,
                            until_ns: self.now_ns().saturating_add(nanoseconds(*timeout)),
                            file: *file,
                            first: *first,
                            kind: *kind,
                        }));
                    }
                    Err(answer) => {
                        let reply = shm_answer(answer)?;
                        self.note_slots(instance, *file, *first, *kind);
                        reply
                    }
                }
            }
            HostCall::ShmUnlock {
                file,
                first,
                count,
                kind,
            } => {
                let holder = self.attached_holder(instance, *file)?;
                let ends_write = *kind == ShmLockKind::Exclusive && *first == 0;
                if ends_write && self.shm.holds(holder, 0, 1, ShmKind::Exclusive) {
                    self.note_commit(instance, *file);
                }
                let (answer, woken) = self.shm.unlock(holder, *first, *count, shm_kind(*kind));
                self.wake_waiters(&woken);
                let reply = shm_answer(answer)?;
                if ends_write {
                    self.tell_of_commit(instance, *file);
                }
                reply
            }
            HostCall::ShmUnmap { file, .. } => {
                let holder = self.open_file(instance, *file)?.holder;
                let was_writer = self.shm.holds(holder, 0, 1, ShmKind::Exclusive);
                self.detach(holder);
                if was_writer {
                    self.tell_of_commit(instance, *file);
                }
                Reply::Done
            }
            HostCall::Claim { file, token } => {
                let holder = self.main_db(instance, *file)?.holder;
                self.claims.claim(holder, *token)?;
                Reply::Done
            }
            HostCall::IsClaimed { file, token } => {
                let holder = self.main_db(instance, *file)?.holder;
                Reply::Bool(self.claims.is_claimed_by_other(holder, *token)?)
            }
            HostCall::ChangeToken { file } => {
                self.main_db(instance, *file)?;
                Reply::Number(self.token())
            }
            HostCall::Watch { file, interest } => {
                self.watch(instance, *file, *interest)?;
                Reply::Done
            }
            HostCall::Announce { file, topics } => {
                let open = self.main_db(instance, *file)?;
                open.announces = true;
                let committed = open.committed.take();
                let (now_ns, process) = (self.now_ns(), self.process(instance));
                let hub = &mut self.processes[process].hub;
                hub.announce(topics, committed, now_ns);
                Reply::Done
            }
            HostCall::WaitChange {
                file,
                seen,
                timeout,
            } => return Ok(self.begin_change(actor, instance, *file, *seen, *timeout)?),
            HostCall::Sleep { duration } => {
                return Ok(Effect::Wait(Wait::Sleep {
                    until_ns: self.now_ns().saturating_add(nanoseconds(*duration)),
                }));
            }
        };
        Ok(Effect::Reply(reply))
    }

    /// What waited is able to go on: it is done, or waits again.
    pub(super) fn wait_on(&mut self, actor: u32, instance: u64, wait: Wait) -> Effect {
        let now_ns = self.now_ns();
        match wait {
            Wait::Sleep { until_ns } if now_ns < until_ns => Effect::Wait(wait),
            Wait::Sleep { .. } => Effect::Reply(Reply::Done),
            Wait::Sync { until_ns, .. } if now_ns < until_ns => Effect::Wait(wait),
            Wait::Sync {
                file, begun, from, ..
            } => Effect::Reply(self.end_sync(instance, file, from, begun)),
            Wait::Slots {
                ticket,
                until_ns,
                file,
                first,
                kind,
            } => {
                let (answer, woken) = self.shm.retry(ticket);
                self.wake_waiters(&woken);
                if answer == ShmAnswer::Busy && now_ns < until_ns {
                    return Effect::Wait(wait);
                }
                self.awaits_no_more(ticket);
                match answer {
                    ShmAnswer::Done => {
                        self.note_slots(instance, file, first, kind);
                        Effect::Reply(Reply::Done)
                    }
                    ShmAnswer::Busy => {
                        let woken = self.shm.cancel(ticket);
                        self.wake_waiters(&woken);
                        Effect::Reply(Reply::Failed(ErrorCode::TimedOut))
                    }
                    ShmAnswer::Invalid => Effect::Reply(Reply::Failed(ErrorCode::InvalidArgument)),
                }
            }
            Wait::Change {
                id,
                begun,
                seen,
                until_ns,
                process,
                ..
            } => {
                let waker = self.waker(actor);
                if !self.processes[process].hub.is_waiting(id, &waker) {
                    return self.end_change(&wait, true);
                }
                if now_ns < until_ns {
                    return Effect::Wait(wait);
                }
                let changed = begun == Begin::Compare && self.token() != seen;
                self.end_change(&wait, changed)
            }
        }
    }

    /// What waited is gone.
    pub(super) fn wait_no_more(&mut self, wait: Wait) {
        match wait {
            Wait::Slots { ticket, .. } => {
                self.awaits_no_more(ticket);
                let woken = self.shm.cancel(ticket);
                self.wake_waiters(&woken);
            }
            Wait::Change { .. } => {
                self.end_change(&wait, false);
            }
            _ => {}
        }
    }

    fn writable(&mut self, instance: u64, file: u32) -> Result<super::disk::FileId, Failed> {
        let open = self.open_file(instance, file)?;
        if open.is_read_only {
            return Err(ErrorCode::ReadOnly.into());
        }
        Ok(open.id)
    }

    // Syncs.

    fn sync_begins(&self) -> Option<Mark> {
        self.ledger.as_ref().map(|ledger| ledger.sync_begins())
    }

    fn sync_directory(&mut self, begun: Option<Mark>) {
        // Who asks for it counts on it, whether it is done or not: so does the audit.
        if !self.defects.sync_does_nothing {
            self.disk.sync_directory();
        }
        if let (Some(ledger), Some(begun)) = (&mut self.ledger, begun) {
            ledger.directory_synced(begun);
        }
    }

    fn end_sync(
        &mut self,
        instance: u64,
        file: u32,
        from: SyncPoint,
        begun: Option<Mark>,
    ) -> Reply {
        let Some(open) = self.file(instance, file) else {
            return Reply::Failed(ErrorCode::InvalidArgument);
        };
        let (id, kind) = (open.id, open.kind);
        let sync_directory = std::mem::take(&mut open.sync_directory);
        if self.disk.sync(id, from).is_err() {
            return Reply::Failed(ErrorCode::Io);
        }
        if let (FileKind::Wal, Some(ledger), Some(begun)) = (kind, &mut self.ledger, begun) {
            ledger.wal_synced(begun);
        }
        if kind == FileKind::MainDb {
            self.audit(|ledger, files, _| ledger.database_synced(files));
        }
        if sync_directory {
            self.sync_directory(begun);
        }
        Reply::Done
    }

    // The wal-index.

    fn attached_holder(&mut self, instance: u64, file: u32) -> Answer<super::locks::Holder> {
        let holder = self.open_file(instance, file)?.holder;
        if self.attached.is_attached(holder) {
            Ok(holder)
        } else {
            Err(ErrorCode::InvalidArgument)
        }
    }

    fn shm_map(&mut self, instance: u64, file: u32, region: u32, extend: bool) -> Answer {
        let open = self.main_db(instance, file)?;
        if open.name != DATABASE {
            return Err(ErrorCode::Unsupported);
        }
        let holder = open.holder;
        if self.attached.attach(holder) {
            self.memory.clear();
            self.regions = 0;
        }
        if region >= self.regions {
            if !extend {
                return Ok(Reply::Region(None));
            }
            if region as usize >= REGIONS {
                return Err(ErrorCode::Full);
            }
            self.regions = region + 1;
        }
        Ok(Reply::Region(Some(Arc::clone(&self.memory))))
    }

    // Who has committed what.

    fn note_slots(&mut self, instance: u64, file: u32, first: u32, kind: ShmLockKind) {
        if kind == ShmLockKind::Exclusive && first == 0 {
            self.note_writer(instance, file);
        }
    }

    fn note_writer(&mut self, instance: u64, file: u32) {
        let process = self.process(instance);
        let since = self.processes[process]
            .hub
            .is_watched()
            .then(|| self.last_commit());
        if let Some(open) = self.file(instance, file)
            && open.announces
        {
            (open.since, open.committed) = (since, None);
        }
    }

    fn note_commit(&mut self, instance: u64, file: u32) {
        let last = self.last_commit();
        if let Some(open) = self.file(instance, file)
            && open.announces
        {
            let since = open.since.take();
            open.committed = since
                .filter(|since| last == since.wrapping_add(1))
                .map(|_| last);
        }
    }

    fn tell_of_commit(&mut self, instance: u64, file: u32) {
        let process = self.process(instance);
        let (last, now_ns) = (self.last_commit(), self.now_ns());
        let announces = self.file(instance, file).is_some_and(|open| open.announces);
        if !announces {
            self.processes[process].hub.released(last, now_ns);
        }
    }

    /// As `src/host/storage/token.rs`; the time of the last change is the number of changes.
    fn token(&self) -> u64 {
        let mut token = self.index_header().map_or(0, |header| {
            let (words, _) = header.as_chunks::<8>();
            words.iter().fold(1, |all: u64, word| {
                (all ^ u64::from_le_bytes(*word))
                    .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                    .rotate_left(31)
            })
        });
        let files = DiskFiles(&self.disk);
        for number in [
            u32::from_be_bytes(self.change_counter()).into(),
            files.size(Which::Database),
        ] {
            token = (token ^ number)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .rotate_left(31);
        }
        token
    }

    // Waiting for a change.

    fn watch(&mut self, instance: u64, file: u32, interest: Option<Interest>) -> Answer<()> {
        let (now_ns, process) = (self.now_ns(), self.process(instance));
        let open = self.main_db(instance, file)?;
        let is_read_only = open.is_read_only;
        let watcher = open.watcher;
        let interest = interest.map(|interest| Interest {
            turn: interest.turn.filter(|_| !is_read_only),
            ..interest
        });
        let hub = &mut self.processes[process].hub;
        let watcher = match (interest, watcher) {
            (Some(interest), Some(id)) => {
                hub.watch(id, interest, now_ns);
                Some(id)
            }
            (Some(interest), None) => Some(hub.join(Some(interest), now_ns)),
            (None, Some(id)) => {
                hub.leave(id, now_ns);
                None
            }
            (None, None) => None,
        };
        self.main_db(instance, file)?.watcher = watcher;
        Ok(())
    }

    fn begin_change(
        &mut self,
        actor: u32,
        instance: u64,
        file: u32,
        seen: u64,
        timeout: Duration,
    ) -> Answer<Effect> {
        let (now_ns, process, waker) = (self.now_ns(), self.process(instance), self.waker(actor));
        let open = self.main_db(instance, file)?;
        let (holder, watcher) = (open.holder, open.watcher);
        let hub = &mut self.processes[process].hub;
        let is_passing = watcher.is_none();
        let id = watcher.unwrap_or_else(|| hub.join(None, now_ns));
        let begun = hub.begin(id, holder, waker, now_ns);
        let look_ns = hub.look_ns;
        let wait = Wait::Change {
            id,
            begun,
            seen,
            until_ns: now_ns.saturating_add(nanoseconds(timeout)),
            process,
            is_passing,
        };
        if begun == Begin::News {
            return Ok(self.end_change(&wait, true));
        }
        if let Some(look_ns) = look_ns {
            self.alarm(look_ns);
        }
        if begun == Begin::Compare {
            let last = self.last_commit();
            self.processes[process].hub.start(last);
            if self.token() != seen {
                return Ok(self.end_change(&wait, true));
            }
        }
        Ok(Effect::Wait(wait))
    }

    fn end_change(&mut self, wait: &Wait, changed: bool) -> Effect {
        if let Wait::Change {
            id,
            is_passing,
            process,
            ..
        } = wait
        {
            let now_ns = self.now_ns();
            let hub = &mut self.processes[*process].hub;
            hub.end(*id, changed);
            if *is_passing {
                hub.leave(*id, now_ns);
            }
        }
        Effect::Reply(Reply::Bool(changed))
    }
}

fn check_range(offset: u64, len: usize) -> Result<(), Failed> {
    let end = offset.checked_add(len as u64);
    match end.filter(|end| *end <= OFFSET_MAX) {
        Some(_) => Ok(()),
        None => Err(ErrorCode::InvalidArgument.into()),
    }
}

/// What a call takes without waiting, about as measured on a real host.
fn cost_ns(call: &HostCall<'_>) -> u64 {
    match call {
        HostCall::ReadAt { .. } | HostCall::ReadInto { .. } => 900,
        HostCall::WriteAt { .. } => 2500,
        HostCall::OpenFile { .. } | HostCall::DeleteFile { .. } | HostCall::CloseFile { .. } => {
            10_000
        }
        HostCall::Truncate { .. } | HostCall::ShmMap { .. } => 5000,
        HostCall::GetCapabilities | HostCall::IsReadOnly { .. } => 70,
        _ => 1000,
    }
}
