//! The locks of the database file: SQLite's levels, as they come of its byte ranges
//! (`src/host/storage/lock.rs`).
//!
//! What must stay true: a holder's level says which bytes it has locked, but for one case:
//! exclusive straight from shared (rolling back a hot journal) has neither RESERVED nor PENDING.

use super::{Holder, LockError, LockFaults};
use std::collections::BTreeMap;

/// SQLite's lock levels; the order is SQLite's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockLevel {
    /// No lock.
    #[default]
    Unlocked,
    /// Reading; any number of holders.
    Shared,
    /// Intends to write; one holder beside readers.
    Reserved,
    /// Waits for the readers to leave; no new readers.
    Pending,
    /// Writing; one holder, no readers.
    Exclusive,
}

/// What one holder has.
#[derive(Clone, Copy, Debug)]
struct Held {
    level: LockLevel,
    /// Whether it came by way of reserved, and so has that byte.
    reserved: bool,
}

impl Held {
    /// Whether it has the byte that every new reader has to pass.
    fn pending(self) -> bool {
        self.reserved && self.level >= LockLevel::Pending
    }
}

/// Everybody's locks on one database file.
#[derive(Clone, Debug, Default)]
pub struct FileLocks {
    faults: LockFaults,
    /// Those that hold something.
    held: BTreeMap<Holder, Held>,
}

impl FileLocks {
    /// Nobody holds anything.
    pub fn new(faults: LockFaults) -> Self {
        Self {
            faults,
            held: BTreeMap::new(),
        }
    }

    /// Raises the lock of `holder` to `level`, at once or not at all, but exclusive may leave
    /// pending behind with `Busy`. Nothing changes when the level is held already.
    /// `shm_is_shared`: whether others use the wal-index that `holder` uses
    /// ([`super::Attachments::is_shared_with_others`]); then nobody becomes exclusive.
    pub fn lock(
        &mut self,
        holder: Holder,
        level: LockLevel,
        shm_is_shared: bool,
    ) -> Result<(), LockError> {
        let was = self.held.get(&holder).copied();
        let from = self.level(holder);
        if level <= from {
            return Ok(());
        }
        let mut reserved = was.is_some_and(|held| held.reserved);
        match (from, level) {
            (LockLevel::Unlocked, LockLevel::Shared) => {
                self.refuse_if(holder, |other| {
                    other.pending() || other.level == LockLevel::Exclusive
                })?;
            }
            (LockLevel::Shared, LockLevel::Reserved) => {
                if !self.faults.level_dropped {
                    self.refuse_if(holder, |other| other.reserved)?;
                }
                reserved = true;
            }
            (
                LockLevel::Shared | LockLevel::Reserved | LockLevel::Pending,
                LockLevel::Exclusive,
            ) => {
                // Nobody else can have PENDING: it takes RESERVED to get there.
                if from == LockLevel::Reserved {
                    self.set(holder, LockLevel::Pending, reserved);
                }
                if shm_is_shared {
                    return Err(LockError::Busy);
                }
                let writers_count = !self.faults.level_dropped;
                self.refuse_if(holder, |other| {
                    writers_count || other.level == LockLevel::Shared
                })?;
            }
            _ => return Err(LockError::InvalidArgument),
        }
        self.set(holder, level, reserved);
        Ok(())
    }

    /// Lowers the lock of `holder` to shared or unlocked. Nothing changes when it is at or below
    /// `level` already.
    pub fn unlock(&mut self, holder: Holder, level: LockLevel) -> Result<(), LockError> {
        if self.level(holder) <= level {
            return Ok(());
        }
        match level {
            LockLevel::Unlocked => self.drop_holder(holder),
            LockLevel::Shared => self.set(holder, level, false),
            _ => return Err(LockError::InvalidArgument),
        }
        Ok(())
    }

    /// Whether anybody at all holds reserved or more, as seen by `holder`: of another one only
    /// the byte RESERVED shows.
    pub fn is_reserved(&self, holder: Holder) -> bool {
        (self.held.iter()).any(|(other, held)| {
            held.reserved || (*other == holder && held.level >= LockLevel::Reserved)
        })
    }

    /// What `holder` has.
    pub fn level(&self, holder: Holder) -> LockLevel {
        self.held
            .get(&holder)
            .map_or(LockLevel::Unlocked, |held| held.level)
    }

    /// Everybody that holds something.
    pub fn holders(&self) -> impl Iterator<Item = (Holder, LockLevel)> {
        self.held.iter().map(|(holder, held)| (*holder, held.level))
    }

    /// `holder` has closed the file.
    pub fn drop_holder(&mut self, holder: Holder) {
        self.held.remove(&holder);
    }

    fn set(&mut self, holder: Holder, level: LockLevel, reserved: bool) {
        self.held.insert(holder, Held { level, reserved });
    }

    fn refuse_if(&self, holder: Holder, conflicts: impl Fn(Held) -> bool) -> Result<(), LockError> {
        let is_busy = (self.held.iter()).any(|(other, held)| *other != holder && conflicts(*held));
        if is_busy {
            Err(LockError::Busy)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LockLevel::{Exclusive, Pending, Reserved, Shared, Unlocked};
    use super::*;

    const ONE: Holder = Holder(1);
    const TWO: Holder = Holder(2);

    fn locks(faults: LockFaults, held: &[(Holder, LockLevel)]) -> FileLocks {
        let mut locks = FileLocks::new(faults);
        for (holder, level) in held {
            locks.lock(*holder, *level, false).unwrap();
        }
        locks
    }

    #[test]
    fn a_writer_works_beside_readers_until_it_is_pending() {
        let mut locks = locks(
            LockFaults::default(),
            &[(ONE, Shared), (ONE, Reserved), (TWO, Shared)],
        );
        assert_eq!(locks.lock(TWO, Reserved, false), Err(LockError::Busy));
        assert_eq!(locks.lock(ONE, Exclusive, false), Err(LockError::Busy));
        assert_eq!(locks.level(ONE), Pending);
        locks.unlock(TWO, Unlocked).unwrap();
        assert_eq!(locks.lock(TWO, Shared, false), Err(LockError::Busy));
        locks.lock(ONE, Exclusive, false).unwrap();
        assert_eq!(locks.lock(TWO, Shared, false), Err(LockError::Busy));
        locks.unlock(ONE, Shared).unwrap();
        locks.lock(TWO, Shared, false).unwrap();
        locks.lock(TWO, Reserved, false).unwrap();
        locks.drop_holder(TWO);
        locks.lock(ONE, Reserved, false).unwrap();
    }

    #[test]
    fn a_hot_journal_is_rolled_back_without_pending() {
        let mut locks = locks(LockFaults::default(), &[(ONE, Shared), (TWO, Shared)]);
        assert_eq!(locks.lock(ONE, Exclusive, false), Err(LockError::Busy));
        assert_eq!(locks.level(ONE), Shared);
        locks.unlock(TWO, Unlocked).unwrap();
        locks.lock(TWO, Shared, false).unwrap();
        locks.unlock(TWO, Unlocked).unwrap();
        locks.lock(ONE, Exclusive, false).unwrap();
        assert!(locks.is_reserved(ONE));
        assert!(!locks.is_reserved(TWO), "nothing is at that byte");
        assert_eq!(locks.lock(TWO, Shared, false), Err(LockError::Busy));
    }

    #[test]
    fn a_shared_wal_index_forbids_exclusive() {
        let mut locks = locks(LockFaults::default(), &[(ONE, Shared), (ONE, Reserved)]);
        assert_eq!(locks.lock(ONE, Exclusive, true), Err(LockError::Busy));
        assert_eq!(locks.level(ONE), Pending);
        locks.lock(ONE, Exclusive, false).unwrap();
    }

    #[test]
    fn the_planted_fault_forgets_writers_but_not_readers() {
        let faults = LockFaults {
            level_dropped: true,
            ..LockFaults::default()
        };
        let mut locks = locks(faults, &[(ONE, Shared), (ONE, Reserved), (TWO, Shared)]);
        locks.lock(TWO, Reserved, false).unwrap();
        locks.lock(Holder(3), Shared, false).unwrap();
        assert_eq!(locks.lock(ONE, Exclusive, false), Err(LockError::Busy));
        locks.drop_holder(Holder(3));
        locks.lock(ONE, Exclusive, false).unwrap();
        locks.lock(TWO, Exclusive, false).unwrap();
        let both: Vec<_> = locks.holders().collect();
        assert_eq!(both, [(ONE, Exclusive), (TWO, Exclusive)]);
    }
}
