//! `beaver:host/storage` for instances on machines: every function asks the machine, and may wait.
//!
//! What must stay true: as in `crate::linker`, nothing that a guest passes makes the host panic or
//! touch memory outside the list that was passed. The store is held from the moment a function
//! is called until it returns, however long the machine takes.
#![allow(unsafe_code)]

use super::seat::closes;
use super::{Crashed, ErrorCode, HostCall, Reply};
use crate::limits::Stopped;
use crate::linker::{TOPICS_MAX, answer, copied, duration};
use crate::memory::GuestBuffer;
use crate::state::State;
use crate::wire::{
    Capabilities, FileKind, Interest, LockLevel, OpenFlags, ShmAnswer, ShmLockKind, SyncKind,
};
use std::task::Poll;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType, WasmList, WasmStr};

/// The number of a file, as the machine gave it out.
struct FileHandle;

type File = Resource<FileHandle>;
type Store<'a> = StoreContextMut<'a, State>;
type Answer<R> = Result<R, ErrorCode>;

/// Links `beaver:host/storage` to the machine of each store.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut instance = linker.instance("beaver:host/storage@0.1.0")?;
    instance.resource_async(
        "file",
        ResourceType::host::<FileHandle>(),
        |mut store, file| {
            Box::new(async move {
                let _ = done(ask(&mut store, HostCall::CloseFile { file }).await?)?;
                Ok(())
            })
        },
    )?;
    names(&mut instance)?;
    contents(&mut instance)?;
    locks(&mut instance)?;
    wal_index(&mut instance)?;
    waits(&mut instance)
}

/// Asks the machine. An error traps.
async fn ask(store: &mut Store<'_>, mut call: HostCall<'_>) -> wasmtime::Result<Reply> {
    if let Some(file) = closes(&call) {
        let unmapped = store.data_mut().seat()?.unmap(file);
        unmapped.map_err(|_| wasmtime::Error::msg("a mapping could not be undone"))?;
    }
    let reply = std::future::poll_fn(|context| {
        let machine = match store.data_mut().seat() {
            Ok(seat) => seat.machine(),
            Err(error) => return Poll::Ready(Err(error)),
        };
        match machine.map(|machine| machine.poll_call(&mut call, context)) {
            None | Some(Poll::Ready(Err(Crashed))) => {
                Poll::Ready(Err(wasmtime::Error::new(Stopped::Interrupted)))
            }
            Some(Poll::Ready(Ok(reply))) => Poll::Ready(Ok(reply)),
            Some(Poll::Pending) => Poll::Pending,
        }
    })
    .await?;
    let slice = store.data_mut().slice();
    store.fuel_async_yield_interval(slice)?;
    Ok(reply)
}

fn senseless<R>(reply: &Reply) -> wasmtime::Result<R> {
    Err(wasmtime::Error::msg(format!(
        "the machine's answer makes no sense here: {reply:?}"
    )))
}

fn done(reply: Reply) -> wasmtime::Result<Answer<()>> {
    match reply {
        Reply::Done => Ok(Ok(())),
        Reply::Failed(error) => Ok(Err(error)),
        other => senseless(&other),
    }
}

fn truth(reply: Reply) -> wasmtime::Result<Answer<bool>> {
    match reply {
        Reply::Bool(truth) => Ok(Ok(truth)),
        Reply::Failed(error) => Ok(Err(error)),
        other => senseless(&other),
    }
}

fn number(reply: Reply) -> wasmtime::Result<Answer<u64>> {
    match reply {
        Reply::Number(number) => Ok(Ok(number)),
        Reply::Failed(error) => Ok(Err(error)),
        other => senseless(&other),
    }
}

/// A number that fits 32 bits.
fn small(reply: Reply) -> wasmtime::Result<Answer<u32>> {
    Ok(match number(reply)? {
        Ok(number) => Ok(u32::try_from(number).map_err(wasmtime::Error::new)?),
        Err(error) => Err(error),
    })
}

/// The functions that take names.
fn names(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.func_wrap_async("get-capabilities", |mut store: Store<'_>, (): ()| {
        Box::new(async move {
            match ask(&mut store, HostCall::GetCapabilities).await? {
                Reply::Capabilities(offered) => Ok((Capabilities::from(offered),)),
                other => senseless(&other),
            }
        })
    })?;
    instance.func_wrap_async(
        "open-file",
        |mut store: Store<'_>, (name, kind, how): (WasmStr, FileKind, OpenFlags)| {
            Box::new(async move {
                let name = match copied(&name, &store)? {
                    Ok(name) => name,
                    Err(error) => return answer(Err(error)),
                };
                let call = HostCall::OpenFile {
                    name: &name,
                    kind: kind.into(),
                    how: how.into(),
                };
                let opened = small(ask(&mut store, call).await?)?;
                answer(opened.map(File::new_own))
            })
        },
    )?;
    instance.func_wrap_async(
        "delete-file",
        |mut store: Store<'_>, (name, sync_directory): (WasmStr, bool)| {
            Box::new(async move {
                let name = match copied(&name, &store)? {
                    Ok(name) => name,
                    Err(error) => return answer(Err(error)),
                };
                let call = HostCall::DeleteFile {
                    name: &name,
                    sync_directory,
                };
                answer(done(ask(&mut store, call).await?)?)
            })
        },
    )?;
    instance.func_wrap_async(
        "file-exists",
        |mut store: Store<'_>, (name,): (WasmStr,)| {
            Box::new(async move {
                let name = match copied(&name, &store)? {
                    Ok(name) => name,
                    Err(error) => return answer(Err(error)),
                };
                let call = HostCall::FileExists { name: &name };
                answer(truth(ask(&mut store, call).await?)?)
            })
        },
    )
}

/// The functions that read, write and size files.
fn contents(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.func_wrap("[method]file.number", |_: Store<'_>, (file,): (File,)| {
        Ok((file.rep(),))
    })?;
    instance.func_wrap_async(
        "[method]file.is-read-only",
        |mut store: Store<'_>, (file,): (File,)| {
            Box::new(async move {
                match ask(&mut store, HostCall::IsReadOnly { file: file.rep() }).await? {
                    Reply::Bool(truth) => Ok((truth,)),
                    other => senseless(&other),
                }
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.read-at",
        |mut store: Store<'_>, (file, offset, len): (File, u64, u32)| {
            Box::new(async move {
                let file = file.rep();
                match ask(&mut store, HostCall::ReadAt { file, offset, len }).await? {
                    Reply::Bytes(bytes) => answer(Ok(bytes)),
                    Reply::Failed(error) => answer(Err(error)),
                    other => senseless(&other),
                }
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.read-into",
        |mut store: Store<'_>, (file, offset, list): (File, u64, WasmList<u8>)| {
            Box::new(async move {
                let buffer = GuestBuffer::of(&list, &store);
                if store.data_mut().seat()?.overlaps(buffer) {
                    return answer(Err(ErrorCode::InvalidArgument));
                }
                let call = HostCall::ReadInto {
                    file: file.rep(),
                    offset,
                    // SAFETY: `store` is held until this function returns, so nobody else reaches
                    // the memory and it stays; no wal-index is mapped into it; and this is the
                    // only slice of it.
                    buffer: unsafe { buffer.as_mut_slice() },
                };
                answer(small(ask(&mut store, call).await?)?)
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.write-at",
        |mut store: Store<'_>, (file, offset, list): (File, u64, WasmList<u8>)| {
            Box::new(async move {
                let buffer = GuestBuffer::of(&list, &store);
                if store.data_mut().seat()?.overlaps(buffer) {
                    return answer(Err(ErrorCode::InvalidArgument));
                }
                let call = HostCall::WriteAt {
                    file: file.rep(),
                    offset,
                    // SAFETY: as for `read-into`, and nothing writes it meanwhile.
                    data: unsafe { buffer.as_slice() },
                };
                answer(done(ask(&mut store, call).await?)?)
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.size",
        |mut store: Store<'_>, (file,): (File,)| {
            Box::new(async move {
                answer(number(
                    ask(&mut store, HostCall::Size { file: file.rep() }).await?,
                )?)
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.truncate",
        |mut store: Store<'_>, (file, size): (File, u64)| {
            Box::new(async move {
                let file = file.rep();
                answer(done(
                    ask(&mut store, HostCall::Truncate { file, size }).await?,
                )?)
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.sync",
        |mut store: Store<'_>, (file, kind): (File, SyncKind)| {
            Box::new(async move {
                let (file, kind) = (file.rep(), kind.into());
                answer(done(ask(&mut store, HostCall::Sync { file, kind }).await?)?)
            })
        },
    )
}

/// The functions on the database file's lock, and claims.
fn locks(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.func_wrap_async(
        "[method]file.lock",
        |mut store: Store<'_>, (file, level): (File, LockLevel)| {
            Box::new(async move {
                let (file, level) = (file.rep(), level.into());
                answer(done(
                    ask(&mut store, HostCall::Lock { file, level }).await?,
                )?)
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.unlock",
        |mut store: Store<'_>, (file, level): (File, LockLevel)| {
            Box::new(async move {
                let (file, level) = (file.rep(), level.into());
                answer(done(
                    ask(&mut store, HostCall::Unlock { file, level }).await?,
                )?)
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.check-reserved",
        |mut store: Store<'_>, (file,): (File,)| {
            Box::new(async move {
                let file = file.rep();
                answer(truth(
                    ask(&mut store, HostCall::CheckReserved { file }).await?,
                )?)
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.claim",
        |mut store: Store<'_>, (file, first, count): (File, u64, u64)| {
            Box::new(async move {
                let file = file.rep();
                let call = HostCall::Claim { file, first, count };
                answer(done(ask(&mut store, call).await?)?)
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.end-claim",
        |mut store: Store<'_>, (file, token): (File, u64)| {
            Box::new(async move {
                let file = file.rep();
                answer(done(
                    ask(&mut store, HostCall::EndClaim { file, token }).await?,
                )?)
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.is-claimed",
        |mut store: Store<'_>, (file, token): (File, u64)| {
            Box::new(async move {
                let file = file.rep();
                answer(truth(
                    ask(&mut store, HostCall::IsClaimed { file, token }).await?,
                )?)
            })
        },
    )
}

/// What the answer to a slot lock means.
fn slots(reply: Reply) -> wasmtime::Result<(ShmAnswer,)> {
    Ok((ShmAnswer::from(done(reply)?),))
}

/// The functions on the shared wal-index that don't wait.
fn wal_index(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.func_wrap_async(
        "[method]file.shm-map",
        |mut store: Store<'_>, (file, region, extend, list): (File, u32, bool, WasmList<u8>)| {
            Box::new(async move {
                let buffer = GuestBuffer::of(&list, &store);
                let file = file.rep();
                match store.data_mut().seat()?.check(file, region, buffer) {
                    Ok(true) => return answer(Ok(true)),
                    Ok(false) => {}
                    Err(error) => return answer(Err(error)),
                }
                let call = HostCall::ShmMap {
                    file,
                    region,
                    extend,
                };
                let memory = match ask(&mut store, call).await? {
                    Reply::Region(Some(memory)) => memory,
                    Reply::Region(None) => return answer(Ok(false)),
                    Reply::Failed(error) => return answer(Err(error)),
                    other => return senseless(&other),
                };
                // SAFETY: `check` accepted the buffer for this region of this file, and nothing
                // else happened to this store meanwhile. It lies in the guest's linear memory,
                // which stays at its place until the store frees it (`configure`); the seat goes
                // before that. No reference into it exists now.
                let mapped = unsafe { store.data_mut().seat()?.map(file, buffer, memory) };
                answer(mapped.map(|()| true))
            })
        },
    )?;
    instance.func_wrap_async(
        "shm-lock",
        |mut store: Store<'_>, (file, first, count, kind): (u32, u32, u32, ShmLockKind)| {
            Box::new(async move {
                let kind = kind.into();
                let call = HostCall::ShmLock {
                    file,
                    first,
                    count,
                    kind,
                };
                slots(ask(&mut store, call).await?)
            })
        },
    )?;
    instance.func_wrap_async(
        "shm-unlock",
        |mut store: Store<'_>, (file, first, count, kind): (u32, u32, u32, ShmLockKind)| {
            Box::new(async move {
                let kind = kind.into();
                let call = HostCall::ShmUnlock {
                    file,
                    first,
                    count,
                    kind,
                };
                slots(ask(&mut store, call).await?)
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.shm-unmap",
        |mut store: Store<'_>, (file, delete): (File, bool)| {
            Box::new(async move {
                let file = file.rep();
                answer(done(
                    ask(&mut store, HostCall::ShmUnmap { file, delete }).await?,
                )?)
            })
        },
    )
}

/// The functions about waiting for others.
fn waits(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.func_wrap_async(
        "[method]file.shm-lock-wait",
        |mut store: Store<'_>,
         (file, first, count, kind, timeout): (File, u32, u32, ShmLockKind, u64)| {
            Box::new(async move {
                let call = HostCall::ShmLockWait {
                    file: file.rep(),
                    first,
                    count,
                    kind: kind.into(),
                    timeout: duration(timeout),
                };
                answer(done(ask(&mut store, call).await?)?)
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.change-token",
        |mut store: Store<'_>, (file,): (File,)| {
            Box::new(async move {
                let file = file.rep();
                answer(number(
                    ask(&mut store, HostCall::ChangeToken { file }).await?,
                )?)
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.watch",
        |mut store: Store<'_>, (file, interest): (File, Option<Interest>)| {
            Box::new(async move {
                let call = HostCall::Watch {
                    file: file.rep(),
                    interest: interest.map(Into::into),
                };
                answer(done(ask(&mut store, call).await?)?)
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.announce",
        |mut store: Store<'_>, (file, list): (File, WasmList<u64>)| {
            Box::new(async move {
                let topics: wasmtime::Result<Vec<u64>> =
                    list.iter(&mut store)?.take(TOPICS_MAX).collect();
                let topics = topics?;
                if list.len() > TOPICS_MAX {
                    return answer(Err(ErrorCode::InvalidArgument));
                }
                let call = HostCall::Announce {
                    file: file.rep(),
                    topics: &topics,
                };
                answer(done(ask(&mut store, call).await?)?)
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]file.wait-change",
        |mut store: Store<'_>, (file, seen, timeout): (File, u64, u64)| {
            Box::new(async move {
                let call = HostCall::WaitChange {
                    file: file.rep(),
                    seen,
                    timeout: duration(timeout),
                };
                answer(truth(ask(&mut store, call).await?)?)
            })
        },
    )?;
    instance.func_wrap_async("sleep", |mut store: Store<'_>, (time,): (u64,)| {
        Box::new(async move {
            let call = HostCall::Sleep {
                duration: duration(time),
            };
            done(ask(&mut store, call).await?)?
                .map_err(|error| wasmtime::Error::msg(format!("sleeping failed: {error:?}")))
        })
    })
}
