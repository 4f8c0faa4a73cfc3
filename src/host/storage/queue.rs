//! Who waits for which wal-index lock inside this process, in which order, and
//! what handles of this process hold: plain data, without a system call.
//!
//! Fairness promised: waiters are served in the order in which they came. One
//! that came later goes first only if the two don't conflict (other slots, or
//! both shared). A newcomer that is willing to wait queues behind whomever it
//! conflicts with; a newcomer that isn't (timeout 0) tries at once and may
//! overtake. Nothing is promised between processes: there the kernel's lock
//! goes to whoever asks at the right moment.
//!
//! What must stay true:
//! - Each change that may let somebody go first answers with their wakers; the
//!   caller wakes them after it let go of the mutex around this.
//! - A waiter that is woken and then leaves instead of taking the lock passes
//!   the wake-up on ([`SlotQueue::leave`]).

use super::error::ErrorCode;
use super::extent::Extent;
use super::kinds::ShmLockKind;
use super::registry::FileId;
use std::collections::BTreeMap;
use std::task::Waker;

/// How many lock slots a wal-index has (`SQLITE_SHM_NLOCK`).
pub(crate) const SLOTS: u32 = 8;

/// Some neighbouring slots, locked in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotLock {
    first: u32,
    count: u32,
    kind: ShmLockKind,
}

impl SlotLock {
    /// Refuses what SQLite's contract excludes (`xShmLock`): slots past the
    /// last, none, or several for sharing.
    pub(crate) fn new(first: u32, count: u32, kind: ShmLockKind) -> Result<SlotLock, ErrorCode> {
        let fits = count >= 1 && first < SLOTS && count <= SLOTS - first;
        if !fits || (kind == ShmLockKind::Shared && count != 1) {
            return Err(ErrorCode::InvalidArgument);
        }
        Ok(SlotLock { first, count, kind })
    }

    pub(crate) fn first(self) -> u32 {
        self.first
    }

    pub(crate) fn count(self) -> u32 {
        self.count
    }

    pub(crate) fn kind(self) -> ShmLockKind {
        self.kind
    }

    /// One bit per slot.
    pub(crate) fn mask(self) -> u8 {
        // At most 8 bits: `new` checked first + count.
        (((1u16 << self.count) - 1) << self.first) as u8
    }

    fn conflicts(self, other: SlotLock) -> bool {
        self.mask() & other.mask() != 0
            && (self.kind == ShmLockKind::Exclusive || other.kind == ShmLockKind::Exclusive)
    }
}

/// A waiter's place: lower came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

#[derive(Debug)]
struct Waiter {
    wants: SlotLock,
    waker: Waker,
}

/// The waiters and holders of one wal-index in this process.
#[derive(Debug, Default)]
pub(crate) struct SlotQueue {
    /// Here because those who share the queue share the file.
    pub(crate) extent: Extent,
    /// Whose wal-index it is, since the first that attached.
    pub(crate) database: Option<FileId>,
    next_ticket: u64,
    waiters: BTreeMap<Ticket, Waiter>,
    /// Handles of this process that share each slot.
    sharers: [u32; SLOTS as usize],
    /// Slots that a handle of this process holds alone.
    exclusive: u8,
}

impl SlotQueue {
    /// Whether a handle of this process stands in the way: then its release
    /// wakes the waiter, and asking the kernel is a waste.
    pub(crate) fn held_here(&self, wants: SlotLock) -> bool {
        let shared = match wants.kind {
            ShmLockKind::Shared => 0,
            ShmLockKind::Exclusive => (0..SLOTS)
                .filter(|slot| self.sharers[*slot as usize] > 0)
                .fold(0u8, |mask, slot| mask | (1 << slot)),
        };
        wants.mask() & (self.exclusive | shared) != 0
    }

    /// Whether nobody who came before `ticket` (`None`: anybody at all)
    /// conflicts with `wants`.
    pub(crate) fn is_first(&self, ticket: Option<Ticket>, wants: SlotLock) -> bool {
        self.waiters
            .iter()
            .take_while(|(other, _)| ticket.is_none_or(|mine| **other < mine))
            .all(|(_, waiter)| !waiter.wants.conflicts(wants))
    }

    /// Joins the end.
    pub(crate) fn join(&mut self, wants: SlotLock, waker: Waker) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiters.insert(ticket, Waiter { wants, waker });
        ticket
    }

    /// Replaces the waker, if the task moved.
    pub(crate) fn set_waker(&mut self, ticket: Ticket, waker: &Waker) {
        if let Some(waiter) = self.waiters.get_mut(&ticket) {
            waiter.waker.clone_from(waker);
        }
    }

    /// Leaves, with the lock or without. Nothing happens when already gone.
    #[must_use = "wake these, after letting go of the queue"]
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Vec<Waker> {
        match self.waiters.remove(&ticket) {
            Some(waiter) => self.able(waiter.wants.mask()),
            None => Vec::new(),
        }
    }

    /// A handle of this process now holds `lock`.
    pub(crate) fn acquired(&mut self, lock: SlotLock) {
        match lock.kind {
            ShmLockKind::Shared => self.sharers[lock.first as usize] += 1,
            ShmLockKind::Exclusive => self.exclusive |= lock.mask(),
        }
    }

    /// A handle of this process no longer holds `lock`.
    #[must_use = "wake these, after letting go of the queue"]
    pub(crate) fn released(&mut self, lock: SlotLock) -> Vec<Waker> {
        match lock.kind {
            ShmLockKind::Shared => {
                let sharers = &mut self.sharers[lock.first as usize];
                *sharers = sharers.saturating_sub(1);
            }
            ShmLockKind::Exclusive => self.exclusive &= !lock.mask(),
        }
        self.able(lock.mask())
    }

    /// The wakers of those who want one of `slots`, have nobody conflicting
    /// before them and no handle of this process in the way.
    fn able(&self, slots: u8) -> Vec<Waker> {
        let mut wakers = Vec::new();
        // Slots that somebody further ahead wants alone, or wants to share.
        let (mut wanted_alone, mut wanted_shared) = (0u8, 0u8);
        for waiter in self.waiters.values() {
            // Everybody from here on is behind an exclusive waiter.
            if wanted_alone & slots == slots {
                break;
            }
            let mask = waiter.wants.mask();
            let ahead = match waiter.wants.kind {
                ShmLockKind::Shared => wanted_alone,
                ShmLockKind::Exclusive => wanted_alone | wanted_shared,
            };
            if mask & slots != 0 && mask & ahead == 0 && !self.held_here(waiter.wants) {
                wakers.push(waiter.waker.clone());
            }
            match waiter.wants.kind {
                ShmLockKind::Shared => wanted_shared |= mask,
                ShmLockKind::Exclusive => wanted_alone |= mask,
            }
        }
        wakers
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiters.len()
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
