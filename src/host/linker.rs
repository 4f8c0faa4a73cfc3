//! `beaver:host/storage` for wasmtime, by hand: each function checks what the
//! guest passed, finds the file, and calls the storage half.
//!
//! Invariants:
//! - Nothing a guest passes makes the host panic, allocate more than 1 MiB per
//!   call, or touch memory outside the list that was passed. (wasmtime itself
//!   decodes strings that aren't UTF-8 before we see them: up to 128 MiB.)
//! - Functions that can wait (`shm-lock-wait`, `wait-change`, `sleep`) park the
//!   guest's fiber; all others return at once, disk I/O included.
//! - A host function holds its store exclusively until it returns, and the
//!   guest is suspended meanwhile. The slices of guest memory below rely on it
//!   (see memory.rs).

#![allow(unsafe_code)]

use std::pin::pin;
use std::time::Duration;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType, WasmList, WasmStr};

use crate::memory::GuestBuffer;
use crate::storage::{ErrorCode, Nap};
use crate::wire::{
    self, Capabilities, FileKind, Interest, LockLevel, OpenFlags, ShmAnswer, ShmLockKind, SyncKind,
};
use crate::{Ctx, View};

/// Longer than any path that Linux takes.
const NAME_BYTES_MAX: usize = 4096;

/// Transactions that concern more don't announce it: see the component.
pub(crate) const TOPICS_MAX: usize = 64;

/// Longer waits are cut to this, far from where adding to a clock overflows.
const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a guest's `file` handle stands for: an index into `Ctx`.
struct FileHandle;

type File = Resource<FileHandle>;
type Store<'a, T> = StoreContextMut<'a, T>;
pub(crate) type Wire<R> = Result<R, wire::ErrorCode>;

/// Links `beaver:host/storage@0.1.0` to the [`Ctx`](crate::Ctx) of each store.
///
/// WASI isn't included (`wasmtime_wasi::p2::add_to_linker_async`). A component
/// imports it as any Rust program does, but needs only its clocks, its random
/// source, and standard error for the message of a panic; give it no more.
/// Waiting needs a Tokio runtime with timers, and calls made with wasmtime's
/// `async` functions. After each call of the guest ask
/// [`Ctx::check_wal_index`](crate::Ctx::check_wal_index), and check once more that the texts which it
/// returned are UTF-8: wasmtime checks them where they lie, and in a mapped wal-index others may
/// change them before they are copied.
pub fn add_to_linker<T: View>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut instance = linker.instance("beaver:host/storage@0.1.0")?;
    instance.resource(
        "file",
        ResourceType::host::<FileHandle>(),
        |mut store, number| {
            store.data_mut().ctx().remove(number);
            Ok(())
        },
    )?;
    names(&mut instance)?;
    contents(&mut instance)?;
    locks(&mut instance)?;
    wal_index(&mut instance)?;
    waits(&mut instance)
}

/// The context of the guest that calls. An error when it is to trap.
fn context<'a, T: View>(store: &'a mut Store<'_, T>) -> wasmtime::Result<&'a mut Ctx> {
    let ctx = store.data_mut().ctx();
    ctx.check_wal_index()?;
    Ok(ctx)
}

/// The functions that take names.
fn names<T: View>(instance: &mut LinkerInstance<'_, T>) -> wasmtime::Result<()> {
    instance.func_wrap("get-capabilities", |mut store: Store<'_, T>, (): ()| {
        let offered = context(&mut store)?.storage.capabilities();
        Ok((Capabilities::from(offered),))
    })?;
    instance.func_wrap(
        "open-file",
        |mut store: Store<'_, T>, (name, kind, how): (WasmStr, FileKind, OpenFlags)| {
            let name = copied(&name, &store)?;
            let ctx = context(&mut store)?;
            let opened = name
                .and_then(|name| ctx.storage.open_file(&name, kind.into(), how.into()))
                .and_then(|file| ctx.insert(file));
            answer(opened.map(File::new_own))
        },
    )?;
    instance.func_wrap(
        "delete-file",
        |mut store: Store<'_, T>, (name, sync_directory): (WasmStr, bool)| {
            let name = copied(&name, &store)?;
            let storage = &context(&mut store)?.storage;
            answer(name.and_then(|name| storage.delete_file(&name, sync_directory)))
        },
    )?;
    instance.func_wrap(
        "file-exists",
        |mut store: Store<'_, T>, (name,): (WasmStr,)| {
            let name = copied(&name, &store)?;
            let storage = &context(&mut store)?.storage;
            answer(name.and_then(|name| storage.file_exists(&name)))
        },
    )
}

/// A guest's file name, of a length that the system could take.
///
/// The *copy* is checked to be UTF-8, after wasmtime has checked the original: a
/// hostile guest may pass text from a mapped wal-index, which another process
/// can change in between.
pub(crate) fn copied<T: 'static>(
    name: &WasmStr,
    store: &Store<'_, T>,
) -> wasmtime::Result<Result<String, ErrorCode>> {
    let name = name.to_str(store)?;
    if name.len() > NAME_BYTES_MAX {
        // Else the guest would choose how much memory the host allocates.
        return Ok(Err(ErrorCode::InvalidArgument));
    }
    let bytes = name.as_bytes().to_vec();
    Ok(String::from_utf8(bytes).map_err(|_| ErrorCode::InvalidArgument))
}

/// The functions that read, write and size files.
fn contents<T: View>(instance: &mut LinkerInstance<'_, T>) -> wasmtime::Result<()> {
    instance.func_wrap(
        "[method]file.number",
        |_: Store<'_, T>, (file,): (File,)| Ok((file.rep(),)),
    )?;
    instance.func_wrap(
        "[method]file.is-read-only",
        |mut store: Store<'_, T>, (file,): (File,)| {
            Ok((context(&mut store)?.file(file.rep())?.is_read_only(),))
        },
    )?;
    instance.func_wrap(
        "[method]file.read-at",
        |mut store: Store<'_, T>, (file, offset, len): (File, u64, u32)| {
            let file = context(&mut store)?.file(file.rep())?;
            // `read_vec` refuses more than 1 MiB: the guest chooses how much
            // memory the host allocates.
            answer(file.read_vec(offset, len))
        },
    )?;
    instance.func_wrap(
        "[method]file.read-into",
        |mut store: Store<'_, T>, (file, offset, list): (File, u64, WasmList<u8>)| {
            let buffer = GuestBuffer::of(&list, &store);
            let ctx = context(&mut store)?;
            if ctx.overlaps_mapping(buffer) {
                return answer(Err(ErrorCode::InvalidArgument));
            }
            let file = ctx.file(file.rep())?;
            // SAFETY: `store` is held until this function returns, so nobody
            // else reaches the memory and it stays; no wal-index is mapped into
            // it; and this is the only slice of it. That the guest sees its own
            // argument change is what the interface says.
            let bytes = unsafe { buffer.as_mut_slice() };
            answer(file.read_at(offset, bytes).map(|read| read as u32))
        },
    )?;
    instance.func_wrap(
        "[method]file.write-at",
        |mut store: Store<'_, T>, (file, offset, list): (File, u64, WasmList<u8>)| {
            let buffer = GuestBuffer::of(&list, &store);
            let ctx = context(&mut store)?;
            if ctx.overlaps_mapping(buffer) {
                return answer(Err(ErrorCode::InvalidArgument));
            }
            let file = ctx.file(file.rep())?;
            // SAFETY: as for `read-into`, and nothing writes it meanwhile.
            let bytes = unsafe { buffer.as_slice() };
            answer(file.write_at(offset, bytes))
        },
    )?;
    instance.func_wrap(
        "[method]file.size",
        |mut store: Store<'_, T>, (file,): (File,)| {
            answer(context(&mut store)?.file(file.rep())?.size())
        },
    )?;
    instance.func_wrap(
        "[method]file.truncate",
        |mut store: Store<'_, T>, (file, size): (File, u64)| {
            answer(context(&mut store)?.file(file.rep())?.truncate(size))
        },
    )?;
    instance.func_wrap(
        "[method]file.sync",
        |mut store: Store<'_, T>, (file, kind): (File, SyncKind)| {
            answer(context(&mut store)?.file(file.rep())?.sync(kind.into()))
        },
    )
}

/// The functions on the database file's lock, none of which waits.
fn locks<T: View>(instance: &mut LinkerInstance<'_, T>) -> wasmtime::Result<()> {
    instance.func_wrap(
        "[method]file.lock",
        |mut store: Store<'_, T>, (file, level): (File, LockLevel)| {
            answer(context(&mut store)?.file(file.rep())?.lock(level.into()))
        },
    )?;
    instance.func_wrap(
        "[method]file.unlock",
        |mut store: Store<'_, T>, (file, level): (File, LockLevel)| {
            answer(context(&mut store)?.file(file.rep())?.unlock(level.into()))
        },
    )?;
    instance.func_wrap(
        "[method]file.check-reserved",
        |mut store: Store<'_, T>, (file,): (File,)| {
            answer(context(&mut store)?.file(file.rep())?.check_reserved())
        },
    )?;
    instance.func_wrap(
        "[method]file.claim",
        |mut store: Store<'_, T>, (file, first, count): (File, u64, u64)| {
            answer(context(&mut store)?.file(file.rep())?.claim(first, count))
        },
    )?;
    instance.func_wrap(
        "[method]file.end-claim",
        |mut store: Store<'_, T>, (file, token): (File, u64)| {
            answer(context(&mut store)?.file(file.rep())?.end_claim(token))
        },
    )?;
    instance.func_wrap(
        "[method]file.is-claimed",
        |mut store: Store<'_, T>, (file, token): (File, u64)| {
            answer(context(&mut store)?.file(file.rep())?.is_claimed(token))
        },
    )
}

/// The functions on the shared wal-index that don't wait.
fn wal_index<T: View>(instance: &mut LinkerInstance<'_, T>) -> wasmtime::Result<()> {
    instance.func_wrap(
        "[method]file.shm-map",
        |mut store: Store<'_, T>, (file, region, extend, list): (File, u32, bool, WasmList<u8>)| {
            let buffer = GuestBuffer::of(&list, &store);
            let number = file.rep();
            let ctx = context(&mut store)?;
            if let Err(error) = ctx.check_mappable(number, buffer) {
                return answer(Err(error));
            }
            let file = ctx.file(number)?;
            // SAFETY: `shm_map` checks size, alignment and order. The range
            // lies in the guest's linear memory, which nothing refers to now
            // and which stays at this address until the store frees it; by
            // then the file is closed and the mapping undone (`View`). No
            // other mapping lies in it (`check_mappable`). What was in it is
            // lost, as the interface says; `shm_map` refuses memory that a pool
            // would reset to an image instead of zeros.
            let mapped = unsafe { file.shm_map(region, extend, buffer.as_mut_ptr(), buffer.len()) };
            if mapped == Ok(true) {
                ctx.remember_mapping(number, buffer);
            }
            answer(mapped)
        },
    )?;
    instance.func_wrap(
        "shm-lock",
        |mut store: Store<'_, T>, (file, first, count, kind): (u32, u32, u32, ShmLockKind)| {
            let file = context(&mut store)?.numbered(file);
            let answer = file.and_then(|file| file.shm_try_lock(first, count, kind.into()));
            Ok((ShmAnswer::from(answer),))
        },
    )?;
    instance.func_wrap(
        "shm-unlock",
        |mut store: Store<'_, T>, (file, first, count, kind): (u32, u32, u32, ShmLockKind)| {
            let file = context(&mut store)?.numbered(file);
            let answer = file.and_then(|file| file.shm_unlock(first, count, kind.into()));
            Ok((ShmAnswer::from(answer),))
        },
    )?;
    instance.func_wrap(
        "[method]file.shm-unmap",
        |mut store: Store<'_, T>, (file, delete): (File, bool)| {
            let ctx = context(&mut store)?;
            let open = ctx.file(file.rep())?;
            let unmapped = open.shm_unmap(delete);
            // An error may come from deleting, with the memory given back
            // already: then there is nothing left to do the second time.
            if unmapped.is_ok() || open.shm_unmap(false).is_ok() {
                ctx.forget_mappings(file.rep());
            }
            answer(unmapped)
        },
    )?;
    instance.func_wrap(
        "[method]file.watch",
        |mut store: Store<'_, T>, (file, interest): (File, Option<Interest>)| {
            let file = context(&mut store)?.file(file.rep())?;
            answer(file.watch(interest.map(Into::into)))
        },
    )?;
    instance.func_wrap(
        "[method]file.announce",
        |mut store: Store<'_, T>, (file, list): (File, WasmList<u64>)| {
            // Else the guest would choose how much memory the host allocates.
            let topics: wasmtime::Result<Vec<u64>> =
                list.iter(&mut store)?.take(TOPICS_MAX).collect();
            let topics = topics?;
            let file = context(&mut store)?.file(file.rep())?;
            answer(if list.len() > TOPICS_MAX {
                Err(ErrorCode::InvalidArgument)
            } else {
                file.announce(&topics)
            })
        },
    )?;
    instance.func_wrap(
        "[method]file.change-token",
        |mut store: Store<'_, T>, (file,): (File,)| {
            answer(context(&mut store)?.file(file.rep())?.change_token())
        },
    )
}

/// The functions that may wait.
fn waits<T: View>(instance: &mut LinkerInstance<'_, T>) -> wasmtime::Result<()> {
    instance.func_wrap_async(
        "[method]file.shm-lock-wait",
        |mut store: Store<'_, T>,
         (file, first, count, kind, timeout): (File, u32, u32, ShmLockKind, u64)| {
            Box::new(async move {
                let file_number = file.rep();
                let file = context(&mut store)?.file(file_number)?;
                let wait = file.shm_lock(first, count, kind.into(), duration(timeout));
                let locked = parked(&mut store, wait).await;
                let file = context(&mut store)?.file(file_number)?;
                answer(locked.and_then(|()| file.waited_for(first, count, kind.into())))
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.wait-change",
        |mut store: Store<'_, T>, (file, seen, timeout): (File, u64, u64)| {
            Box::new(async move {
                let file = context(&mut store)?.file(file.rep())?;
                match file.wait_change(seen, duration(timeout)) {
                    Ok(wait) => answer(parked(&mut store, wait).await),
                    Err(error) => answer(Err(error)),
                }
            })
        },
    )?;
    instance.func_wrap_async("sleep", |mut store: Store<'_, T>, (time,): (u64,)| {
        Box::new(async move {
            context(&mut store)?;
            // Without a timer thread it would return at once: better a trap than
            // a guest that spins.
            let nap = parked(&mut store, Nap::new(duration(time))).await;
            nap.map_err(|error| wasmtime::Error::msg(format!("sleeping failed: {error:?}")))
        })
    })
}

/// Awaits on behalf of a guest, which then gets a whole tick before it is interrupted.
async fn parked<T: View, R>(store: &mut Store<'_, T>, wait: impl Future<Output = R>) -> R {
    let (mut wait, mut waited) = (pin!(wait), false);
    let result = std::future::poll_fn(|context| {
        let polled = wait.as_mut().poll(context);
        waited |= polled.is_pending();
        polled
    })
    .await;
    // Only after a real wait: else a guest that keeps asking would never be
    // interrupted. And only for a `Host`, whose deadline is a tick; an embedder's
    // own deadline is its own.
    if waited && store.data_mut().ctx().restart_tick_after_wait {
        store.set_epoch_deadline(1);
    }
    result
}

/// A result for the guest.
pub(crate) fn answer<R>(result: Result<R, ErrorCode>) -> wasmtime::Result<(Wire<R>,)> {
    Ok((result.map_err(wire::ErrorCode::from),))
}

/// A guest's nanoseconds.
pub(crate) fn duration(nanoseconds: u64) -> Duration {
    Duration::from_nanos(nanoseconds).min(WAIT_MAX)
}
