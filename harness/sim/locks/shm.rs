//! The eight locks of the wal-index, and who waits for them in which order
//! (`src/host/storage/{shm,queue,shm_wait}.rs`, all in one process).
//!
//! Whoever waits is served in the order of coming; one that came later goes first only if the two
//! don't conflict. Who tries without waiting may overtake all. One that is woken doesn't have the
//! lock: it is to [`retry`](ShmLocks::retry) when it runs, and somebody may have come between, as on
//! the real host.
//!
//! What must stay true: each change that may let somebody go first says whom. A waiter that was
//! woken and leaves without the lock passes that on.

use super::{Holder, LockFaults};
use std::collections::BTreeMap;

/// How many slots there are (`SQLITE_SHM_NLOCK`).
const SLOTS: u32 = 8;

/// The two kinds of lock on the wal-index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShmKind {
    /// Any number of holders.
    Shared,
    /// One holder.
    Exclusive,
}

/// What came of asking for a lock, or of giving it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShmAnswer {
    /// The slots are locked, or given back.
    Done,
    /// Somebody is in the way, or (only who waits hears of that) came first.
    Busy,
    /// There are no such slots, or this holder has them in another way than this needs.
    Invalid,
}

/// A waiter's place: lower came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Waiters that may go ahead now: each is to `retry`.
pub type Woken = Vec<Ticket>;

/// Some neighbouring slots, locked in one way.
#[derive(Clone, Copy, Debug)]
struct Slots {
    /// One bit per slot.
    mask: u8,
    kind: ShmKind,
}

impl Slots {
    /// None: SQLite's contract excludes it (slots past the last, none, or several for sharing).
    fn new(first: u32, count: u32, kind: ShmKind) -> Option<Self> {
        let fits = count >= 1 && first < SLOTS && count <= SLOTS - first;
        if !fits || (kind == ShmKind::Shared && count != 1) {
            return None;
        }
        // At most 8 bits, as it fits.
        let mask = (((1u16 << count) - 1) << first) as u8;
        Some(Self { mask, kind })
    }
}

/// The slots of one holder, one bit each. None is in both.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    shared: u8,
    exclusive: u8,
}

impl Held {
    fn of(&mut self, kind: ShmKind) -> &mut u8 {
        match kind {
            ShmKind::Shared => &mut self.shared,
            ShmKind::Exclusive => &mut self.exclusive,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    holder: Holder,
    wants: Slots,
}

/// Everybody's locks on one wal-index, and the waiters.
#[derive(Clone, Debug, Default)]
pub struct ShmLocks {
    faults: LockFaults,
    held: BTreeMap<Holder, Held>,
    waiters: BTreeMap<Ticket, Waiter>,
    /// In which process each is; those of whom nothing was said are in one.
    processes: BTreeMap<Holder, usize>,
    next_ticket: u64,
}

impl ShmLocks {
    /// Nobody holds anything.
    pub fn new(faults: LockFaults) -> Self {
        Self {
            faults,
            ..Self::default()
        }
    }

    /// `holder` is in this process. Order is kept within each process alone: across processes a host asks
    /// again and again, and whoever asks first when the slots are free gets them.
    pub fn belongs(&mut self, holder: Holder, process: usize) {
        self.processes.insert(holder, process);
    }

    /// Takes the slots at once or not at all, whoever waits for them. A slot that `holder` shares
    /// already stays shared.
    pub fn try_lock(&mut self, holder: Holder, first: u32, count: u32, kind: ShmKind) -> ShmAnswer {
        match Slots::new(first, count, kind) {
            Some(wants) => self.attempt(holder, wants),
            None => ShmAnswer::Invalid,
        }
    }

    /// Takes the slots if nobody is in the way and nobody who waits came first; else (`Busy`)
    /// joins the end of those who wait, with a ticket for [`retry`](Self::retry) and
    /// [`cancel`](Self::cancel).
    pub fn lock_or_wait(
        &mut self,
        holder: Holder,
        first: u32,
        count: u32,
        kind: ShmKind,
    ) -> Result<Ticket, ShmAnswer> {
        let wants = Slots::new(first, count, kind).ok_or(ShmAnswer::Invalid)?;
        match self.attempt_in_turn(holder, wants, None) {
            ShmAnswer::Busy => {
                let ticket = Ticket(self.next_ticket);
                self.next_ticket += 1;
                self.waiters.insert(ticket, Waiter { holder, wants });
                Ok(ticket)
            }
            answer => Err(answer),
        }
    }

    /// Tries again for one that waits. `Busy`: it still waits. With any other answer it has
    /// left the queue. `Invalid`, too, when it did so before.
    #[must_use = "wake these"]
    pub fn retry(&mut self, ticket: Ticket) -> (ShmAnswer, Woken) {
        let Some(waiter) = self.waiters.get(&ticket).copied() else {
            return (ShmAnswer::Invalid, Woken::new());
        };
        match self.attempt_in_turn(waiter.holder, waiter.wants, Some(ticket)) {
            ShmAnswer::Busy => (ShmAnswer::Busy, Woken::new()),
            answer => (answer, self.cancel(ticket)),
        }
    }

    /// Ends a wait. Nothing happens when it has ended.
    #[must_use = "wake these"]
    pub fn cancel(&mut self, ticket: Ticket) -> Woken {
        match self.waiters.remove(&ticket) {
            Some(waiter) => self.able(waiter.wants.mask),
            None => Woken::new(),
        }
    }

    /// Releases slots that `holder` has in just this way.
    #[must_use = "wake these"]
    pub fn unlock(
        &mut self,
        holder: Holder,
        first: u32,
        count: u32,
        kind: ShmKind,
    ) -> (ShmAnswer, Woken) {
        let slots = Slots::new(first, count, kind);
        let (Some(slots), Some(held)) = (slots, self.held.get_mut(&holder)) else {
            return (ShmAnswer::Invalid, Woken::new());
        };
        let has = held.of(kind);
        if *has & slots.mask != slots.mask {
            return (ShmAnswer::Invalid, Woken::new());
        }
        *has &= !slots.mask;
        (ShmAnswer::Done, self.able(slots.mask))
    }

    /// `holder` gave its wal-index up, or is gone: it has no slots any more and waits for none.
    #[must_use = "wake these"]
    pub fn drop_holder(&mut self, holder: Holder) -> Woken {
        let held = self.held.remove(&holder).unwrap_or_default();
        let mut freed = held.shared | held.exclusive;
        self.waiters.retain(|_, waiter| {
            if waiter.holder == holder {
                freed |= waiter.wants.mask;
            }
            waiter.holder != holder
        });
        self.able(freed)
    }

    /// Whether `holder` has all these slots in just this way.
    pub fn holds(&self, holder: Holder, first: u32, count: u32, kind: ShmKind) -> bool {
        let mut held = self.held.get(&holder).copied().unwrap_or_default();
        let has = *held.of(kind);
        Slots::new(first, count, kind).is_some_and(|slots| has & slots.mask == slots.mask)
    }

    /// Whoever has a lock that is in the way of these for `holder`.
    pub fn blockers(&self, holder: Holder, first: u32, count: u32, kind: ShmKind) -> Vec<Holder> {
        Slots::new(first, count, kind)
            .map(|wants| self.in_the_way(holder, wants).collect())
            .unwrap_or_default()
    }

    /// Those who wait, in the order in which they came.
    pub fn waiting(&self) -> impl Iterator<Item = (Ticket, Holder)> {
        (self.waiters.iter()).map(|(ticket, waiter)| (*ticket, waiter.holder))
    }

    fn attempt_in_turn(
        &mut self,
        holder: Holder,
        wants: Slots,
        ticket: Option<Ticket>,
    ) -> ShmAnswer {
        match self.check_wanted(holder, wants) {
            ShmAnswer::Busy if self.is_first(holder, ticket, wants) => self.attempt(holder, wants),
            answer => answer,
        }
    }

    fn attempt(&mut self, holder: Holder, wants: Slots) -> ShmAnswer {
        match self.check_wanted(holder, wants) {
            ShmAnswer::Busy if self.in_the_way(holder, wants).next().is_none() => {
                *self.held.entry(holder).or_default().of(wants.kind) |= wants.mask;
                ShmAnswer::Done
            }
            answer => answer,
        }
    }

    /// What is known whatever others do, else `Busy`. SQLite never changes a slot from shared to
    /// exclusive or back, and takes none twice.
    fn check_wanted(&self, holder: Holder, wants: Slots) -> ShmAnswer {
        let held = self.held.get(&holder).copied().unwrap_or_default();
        let (same, other) = match wants.kind {
            ShmKind::Shared => (held.shared, held.exclusive),
            ShmKind::Exclusive => (0, held.exclusive | held.shared),
        };
        if other & wants.mask != 0 {
            ShmAnswer::Invalid
        } else if same & wants.mask != 0 {
            ShmAnswer::Done
        } else {
            ShmAnswer::Busy
        }
    }

    fn in_the_way(&self, holder: Holder, wants: Slots) -> impl Iterator<Item = Holder> {
        let faults = self.faults;
        (self.held.iter())
            .filter(move |(other, held)| {
                let has = match wants.kind {
                    _ if faults.shm_ignored => 0,
                    ShmKind::Shared => held.exclusive,
                    ShmKind::Exclusive => held.exclusive | held.shared,
                };
                **other != holder && has & wants.mask != 0
            })
            .map(|(other, _)| *other)
    }

    /// Whether nobody of the same process who came before `ticket` (none: anybody at all) conflicts with
    /// `wants`.
    fn is_first(&self, holder: Holder, ticket: Option<Ticket>, wants: Slots) -> bool {
        let process = self.processes.get(&holder);
        let mut before = self
            .waiters
            .iter()
            .take_while(|(other, _)| ticket.is_none_or(|mine| **other < mine))
            .filter(|(_, waiter)| self.processes.get(&waiter.holder) == process);
        before.all(|(_, waiter)| !self.conflict(waiter.wants, wants))
    }

    fn conflict(&self, one: Slots, two: Slots) -> bool {
        let both_share = one.kind == ShmKind::Shared && two.kind == ShmKind::Shared;
        one.mask & two.mask != 0 && !both_share && !self.faults.shm_ignored
    }

    /// Those who want one of `slots` and have nobody in their way, neither a holder nor somebody
    /// that came first.
    fn able(&self, slots: u8) -> Woken {
        (self.waiters.iter())
            .filter(|(ticket, waiter)| {
                waiter.wants.mask & slots != 0
                    && self.is_first(waiter.holder, Some(**ticket), waiter.wants)
                    && self
                        .in_the_way(waiter.holder, waiter.wants)
                        .next()
                        .is_none()
            })
            .map(|(ticket, _)| *ticket)
            .collect()
    }
}
