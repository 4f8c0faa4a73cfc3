//! The thread that keeps this process's claims, in a descriptor table of its own.
//!
//! What must stay true:
//! - Database files are opened and closed on that thread only, for reading only: a
//!   descriptor's number means another file there, so nothing there may ever write.
//! - Whoever starts it waits until it has left the common table: before that, a table
//!   that only it used would be taken for its own and emptied.
//! - No signal is handled there: a handler would find foreign files behind the
//!   numbers that it knows.
//! - A forked child has neither the thread nor its table, so no claim of its parent;
//!   the first claim that it makes starts a thread of its own.

use super::sys;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};

enum Request {
    /// Locks bytes of a file under a new number.
    Claim {
        id: u64,
        path: String,
        bytes: Range<u64>,
        answer: SyncSender<bool>,
    },
    /// Locks more bytes of that file, or unlocks some.
    Set {
        id: u64,
        bytes: Range<u64>,
        to: Lock,
        answer: SyncSender<bool>,
    },
    /// What somebody else has locked round that byte; none: it can't be told.
    Claimed {
        id: u64,
        at: u64,
        answer: SyncSender<Option<Option<Range<u64>>>>,
    },
    End {
        id: u64,
        answer: SyncSender<()>,
    },
}

#[derive(Clone, Copy)]
enum Lock {
    Set,
    Unset,
}

/// The claims of a connection, which are held until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    id: u64,
}

/// Goes on in a forked child, so that no number of the parent's means anything there.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Held {
    /// Locks bytes of the file; none when somebody has or it can't be done.
    pub(super) fn new(path: &str, bytes: Range<u64>) -> Option<Self> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let path = path.to_owned();
        let request = |answer| Request::Claim {
            id,
            path,
            bytes,
            answer,
        };
        ask(request)?.then_some(Self { id })
    }

    /// Locks more bytes. False when somebody else has or it can't be done.
    pub(super) fn add(&self, bytes: Range<u64>) -> bool {
        self.set(bytes, Lock::Set)
    }

    /// Unlocks bytes. False when it can't be done.
    pub(super) fn remove(&self, bytes: Range<u64>) -> bool {
        self.set(bytes, Lock::Unset)
    }

    fn set(&self, bytes: Range<u64>, to: Lock) -> bool {
        let id = self.id;
        let request = |answer| Request::Set {
            id,
            bytes,
            to,
            answer,
        };
        ask(request).unwrap_or(false)
    }

    /// What somebody else has locked round the byte `at`, if it is; none: it can't be told.
    pub(super) fn claimed(&self, at: u64) -> Option<Option<Range<u64>>> {
        let id = self.id;
        ask(|answer| Request::Claimed { id, at, answer })?
    }
}

impl Drop for Held {
    /// Returns once the claim has ended.
    fn drop(&mut self) {
        let id = self.id;
        ask(|answer| Request::End { id, answer });
    }
}

fn ask<T>(request: impl FnOnce(SyncSender<T>) -> Request) -> Option<T> {
    let (answer, answered) = sync_channel(1);
    requests()?.send(request(answer)).ok()?;
    answered.recv().ok()
}

/// Of which process the thread is, and the way to it; none where it can't be.
type Guardian = (u32, Option<Sender<Request>>);

static GUARDIAN: Mutex<Option<Guardian>> = Mutex::new(None);

/// The way to the thread, which is started when there is none yet.
fn requests() -> Option<Sender<Request>> {
    let mut guardian = GUARDIAN.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if let Some((of, requests)) = &*guardian
        && *of == process
    {
        return requests.clone();
    }
    let requests = start();
    // The parent's channel may have been in use when this child was forked.
    std::mem::forget(guardian.replace((process, requests.clone())));
    requests
}

fn start() -> Option<Sender<Request>> {
    let (requests, inbox) = channel();
    let (ready, is_ready) = sync_channel(1);
    let signals = sys::block_signals()?;
    let thread = std::thread::Builder::new()
        .name("beaver-claims".into())
        .spawn(move || {
            let is_alone = sys::leave_descriptor_table();
            let _ = ready.send(is_alone);
            if is_alone {
                serve(&inbox);
            }
        });
    drop(signals);
    thread.ok()?;
    is_ready.recv().is_ok_and(|alone| alone).then_some(requests)
}

fn serve(inbox: &Receiver<Request>) {
    let mut files = BTreeMap::new();
    for request in inbox {
        // Whoever asks waits for the answer.
        match request {
            Request::Claim {
                id,
                path,
                bytes,
                answer,
            } => {
                let file = claim(&path, &bytes);
                let claimed = file.is_some();
                files.extend(file.map(|file| (id, file)));
                let _ = answer.send(claimed);
            }
            Request::Set {
                id,
                bytes,
                to,
                answer,
            } => {
                let file: Option<&File> = files.get(&id);
                let done = file.is_some_and(|file| match to {
                    Lock::Set => lock_if_free(file, &bytes),
                    Lock::Unset => sys::unlock(file, &bytes),
                });
                let _ = answer.send(done);
            }
            Request::Claimed { id, at, answer } => {
                let file: Option<&File> = files.get(&id);
                let _ = answer.send(file.and_then(|file| sys::locked(file, &(at..at + 1))));
            }
            Request::End { id, answer } => {
                files.remove(&id);
                let _ = answer.send(());
            }
        }
    }
}

fn claim(path: &str, bytes: &Range<u64>) -> Option<File> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        // Something else that took the file's name isn't to be waited for.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .ok()?;
    lock_if_free(&file, bytes).then_some(file)
}

fn lock_if_free(file: &File, bytes: &Range<u64>) -> bool {
    sys::locked(file, bytes) == Some(None) && sys::lock(file, bytes)
}
