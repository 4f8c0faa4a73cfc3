//! What each host call does: `src/host/storage/file.rs` and `file/main_db.rs` over a simulated disk.
//!
//! What must stay true: it promises no more than the real host does. Where that is a matter of
//! durability (what makes a file's name durable), the disk says what is mirrored here.

mod commit;
mod sync;
mod wait;

pub(super) use wait::{Effect, Wait};

use super::disk::DiskError;
use super::locks::{LockError, LockLevel, ShmAnswer, ShmKind};
use super::room::{DATABASE, OpenFile, REGIONS, Room};
use beaver_host::machine::{
    Capabilities, ErrorCode, FileKind, HostCall, LockLevel as HostLevel, Reply, ShmLockKind,
};
use rand::Rng as _;
use std::sync::Arc;
use std::time::Duration;

/// As in `src/host/storage/file.rs` and `file/main_db.rs`.
const READ_BYTES_MAX: u32 = 1 << 20;
const OFFSET_MAX: u64 = i64::MAX as u64;

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
pub(super) fn is_shm(name: &str) -> bool {
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
            HostCall::Claim { file, first, count } => {
                self.writable(instance, *file)?;
                let holder = self.main_db(instance, *file)?.holder;
                self.claims.claim(holder, *first, *count)?;
                Reply::Done
            }
            HostCall::EndClaim { file, token } => {
                let holder = self.main_db(instance, *file)?.holder;
                if self.claims.end(holder, *token)? {
                    let ended = std::iter::once(*token..*token + 1).collect();
                    let (process, now_ns) = (self.process(instance), self.now_ns());
                    self.processes[process].hub.claims_ended(&ended, now_ns);
                }
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

    fn writable(&mut self, instance: u64, file: u32) -> Result<crate::sim::disk::FileId, Failed> {
        let open = self.open_file(instance, file)?;
        if open.is_read_only {
            return Err(ErrorCode::ReadOnly.into());
        }
        Ok(open.id)
    }

    fn attached_holder(&mut self, instance: u64, file: u32) -> Answer<crate::sim::locks::Holder> {
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
