//! Keeps a wal-index that somebody cut from killing the process.
//!
//! The `-shm` file belongs to others too. When one of them makes it shorter, the kernel
//! answers an access to what is gone with `SIGBUS`, whose default is the death of the process
//! (native SQLite dies of it). The handler here puts private zeroed memory in the place of
//! *all* regions of the handle in question and notes that they are lost; the access is
//! repeated and finds zeros. What the guest computes from them goes nowhere: it can't reach
//! the file any more, and is made to trap at its next host call (`Ctx::check`).
//!
//! What must stay true:
//! - The handler may interrupt anything, an allocation or a held mutex included. So it reads
//!   and writes atomics, makes system calls, and does nothing else.
//! - A region's owner is written after its address and taken away before it: who finds an
//!   owner finds the owner's address.
//! - Only one thread at a time has to do with an owner: it runs the guest that faults, or it
//!   maps and gives back. So the handler never sees its own owner half-way.
//! - A signal that isn't about one of our regions goes to whoever had them before.
//!
//! Atomics are std's, not `sync`'s: no model checker can follow a signal handler.
#![allow(unsafe_code)]

use super::error::ErrorCode;
use super::mapping::REGION_BYTES;
use libc::{c_int, c_void, siginfo_t};
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// How many regions the process has mapped at a time: a quarter of the mappings that it may have, as Linux
/// comes (`vm.max_map_count`). A region takes two at most, and the rest is for those that replace
/// regions, here or when they are given back: without one to spare, that would be the end of the
/// process. A slot that was never used costs address space only.
const SLOTS: usize = 1 << 14;
/// Set in an owner whose regions were replaced.
const LOST: u64 = 1 << 63;

struct Slot {
    /// Zero: nobody.
    owner: AtomicU64,
    at: AtomicUsize,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        owner: AtomicU64::new(0),
        at: AtomicUsize::new(0),
    }
}; SLOTS];
/// Slots from here on were never used.
static END: AtomicUsize = AtomicUsize::new(0);
/// Below `END`, and free.
static FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());
/// How often regions were lost, in the whole process.
static LOSSES: AtomicU64 = AtomicU64::new(0);
/// What `SIGBUS` did before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Grows with each loss. For as long as it doesn't, nobody need look.
pub(crate) fn losses() -> u64 {
    LOSSES.load(Ordering::Acquire)
}

/// Makes everybody look.
pub(crate) fn note_loss() {
    LOSSES.fetch_add(1, Ordering::Release);
}

/// Who has regions; a number that is given out once.
#[derive(Debug)]
pub(crate) struct Owner(u64);

impl Owner {
    /// Installs the handler, the first time.
    pub(crate) fn new() -> Result<Owner, ErrorCode> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        install()?;
        Ok(Owner(NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Enters the region at `at`, before it is mapped there.
    pub(crate) fn enter(&self, at: usize) -> Result<Entry, ErrorCode> {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let number = match free {
            Some(number) => number,
            None => END
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |end| {
                    (end < SLOTS).then_some(end + 1)
                })
                .map_err(|_| ErrorCode::Full)?,
        };
        let slot = &TABLE[number];
        slot.at.store(at, Ordering::Relaxed);
        slot.owner.store(self.0, Ordering::Release);
        Ok(Entry { number })
    }
}

/// A region that the handler looks after, until dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    number: usize,
}

impl Entry {
    pub(crate) fn at(&self) -> usize {
        TABLE[self.number].at.load(Ordering::Relaxed)
    }

    /// Whether the handler has put zeros there.
    pub(crate) fn is_lost(&self) -> bool {
        TABLE[self.number].owner.load(Ordering::Acquire) & LOST != 0
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let slot = &TABLE[self.number];
        slot.owner.store(0, Ordering::Release);
        slot.at.store(0, Ordering::Release);
        FREE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.number);
    }
}

/// Takes `SIGBUS` over, once.
fn install() -> Result<(), ErrorCode> {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        // SAFETY: all-zero is a `sigaction`; the first call only asks, the second installs a
        // function of the type that SA_SIGINFO says, whose like is described at its head.
        // SA_ONSTACK as wasmtime's and std's handlers: a guest's stack may have no room.
        unsafe {
            let mut before: libc::sigaction = mem::zeroed();
            if libc::sigaction(libc::SIGBUS, ptr::null(), &mut before) != 0 {
                return false;
            }
            // Known before the handler can run.
            let _ = BEFORE.set(before);
            let mut ours: libc::sigaction = mem::zeroed();
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            ours.sa_sigaction = on_sigbus as *const () as usize;
            libc::sigemptyset(&mut ours.sa_mask);
            libc::sigaction(libc::SIGBUS, &ours, ptr::null_mut()) == 0
        }
    });
    if *installed {
        Ok(())
    } else {
        Err(ErrorCode::Unsupported)
    }
}

/// The handler.
///
/// # Safety
/// Called by the kernel alone, with what SA_SIGINFO promises.
unsafe extern "C" fn on_sigbus(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid `info`; `si_addr` is set in what a fault sends
    // (`si_code` > 0), which is asked first.
    let fault = unsafe { ((*info).si_code > 0).then(|| (*info).si_addr().addr()) };
    if fault.is_some_and(replace_regions_around) {
        return;
    }
    // SAFETY: what we were called with.
    unsafe { pass_on(signal, info, context) };
}

/// Puts zeros where the owner of the region at `fault` has regions; false: nobody owns it, or the
/// kernel refuses.
fn replace_regions_around(fault: usize) -> bool {
    let end = END.load(Ordering::Acquire).min(SLOTS);
    let taken = |slot: &Slot| {
        let owner = slot.owner.load(Ordering::Acquire);
        (owner != 0).then(|| (owner & !LOST, slot.at.load(Ordering::Relaxed)))
    };
    let slots = || TABLE.iter().take(end);
    let Some((owner, _)) = slots()
        .filter_map(taken)
        .find(|(_, at)| (*at..*at + REGION_BYTES).contains(&fault))
    else {
        return false;
    };
    for slot in slots() {
        let Some((_, at)) = taken(slot).filter(|(of, _)| *of == owner) else {
            continue;
        };
        // SAFETY: the range is a region that its owner has mapped over memory which it may
        // replace (`Mappings::map_next`), or is about to, with its guest not running. This
        // thread runs that guest now, so nobody maps or gives back meanwhile, and there are no Rust
        // references into the range. By number: a C library's `mmap` may take locks.
        // `errno`, which the interrupted code may be about to read, is kept.
        let mapped = unsafe {
            let errno = libc::__errno_location();
            let kept = *errno;
            let mapped = libc::syscall(
                libc::SYS_mmap,
                at,
                REGION_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            );
            *errno = kept;
            mapped
        };
        if mapped < 0 || mapped as usize != at {
            return false;
        }
        slot.owner.store(owner | LOST, Ordering::Release);
    }
    note_loss();
    true
}

/// Does what would have been done without us.
///
/// # Safety
/// As for [`on_sigbus`].
unsafe fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(before) = BEFORE.get() else { return };
    // SAFETY: `before` was in force, so its function is of the type that its flags say; both
    // calls at the end may be made in a handler (signal-safety(7)).
    unsafe {
        let is_sent = (*info).si_code <= 0;
        match before.sa_sigaction {
            // A fault can't be ignored: back there, it comes again and is fatal.
            libc::SIG_IGN if is_sent => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                libc::sigaction(signal, before, ptr::null_mut());
                if is_sent {
                    libc::raise(signal);
                }
            }
            handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
                let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                    mem::transmute(handler);
                handler(signal, info, context);
            }
            handler => {
                let handler: extern "C" fn(c_int) = mem::transmute(handler);
                handler(signal);
            }
        }
    }
}

#[cfg(test)]
#[path = "sigbus_tests.rs"]
mod tests;
