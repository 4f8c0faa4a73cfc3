//! The levels against the bytes that native SQLite and the real host lock.

use super::*;
use LockLevel::{Exclusive, Pending, Reserved, Shared, Unlocked};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// One byte stands for the 510 that are always locked together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Byte {
    Pending,
    Reserved,
    Shared,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

/// Who has which byte, as the kernel keeps it, and the steps of `unixLock` and `posixUnlock`.
#[derive(Default)]
struct Model {
    bytes: BTreeMap<(Byte, Holder), Kind>,
    levels: BTreeMap<Holder, LockLevel>,
}

impl Model {
    fn conflicts(&self, holder: Holder, byte: Byte, kind: Kind) -> bool {
        (self.bytes.iter()).any(|((at, other), has)| {
            *at == byte && *other != holder && (kind == Kind::Write || *has == Kind::Write)
        })
    }

    fn set(&mut self, holder: Holder, byte: Byte, kind: Kind) -> Result<(), LockError> {
        if self.conflicts(holder, byte, kind) {
            return Err(LockError::Busy);
        }
        self.bytes.insert((byte, holder), kind);
        Ok(())
    }

    fn level(&self, holder: Holder) -> LockLevel {
        self.levels.get(&holder).copied().unwrap_or(Unlocked)
    }

    fn lock(&mut self, holder: Holder, to: LockLevel, shm: bool) -> Result<(), LockError> {
        match (self.level(holder), to) {
            (from, to) if to <= from => return Ok(()),
            (Unlocked, Shared) => {
                self.set(holder, Byte::Pending, Kind::Read)?;
                let shared = self.set(holder, Byte::Shared, Kind::Read);
                self.bytes.remove(&(Byte::Pending, holder));
                shared?;
            }
            (Shared, Reserved) => self.set(holder, Byte::Reserved, Kind::Write)?,
            (from @ (Shared | Reserved | Pending), Exclusive) => {
                if from == Reserved {
                    self.set(holder, Byte::Pending, Kind::Write)?;
                    self.levels.insert(holder, Pending);
                }
                if shm {
                    return Err(LockError::Busy);
                }
                self.set(holder, Byte::Shared, Kind::Write)?;
            }
            _ => return Err(LockError::InvalidArgument),
        }
        self.levels.insert(holder, to);
        Ok(())
    }

    fn unlock(&mut self, holder: Holder, to: LockLevel) -> Result<(), LockError> {
        if self.level(holder) <= to {
            return Ok(());
        }
        match to {
            Unlocked => {
                self.bytes.remove(&(Byte::Shared, holder));
            }
            Shared => self.set(holder, Byte::Shared, Kind::Read)?,
            _ => return Err(LockError::InvalidArgument),
        }
        self.bytes.remove(&(Byte::Pending, holder));
        self.bytes.remove(&(Byte::Reserved, holder));
        self.levels.insert(holder, to);
        Ok(())
    }

    fn is_reserved(&self, holder: Holder) -> bool {
        self.level(holder) >= Reserved || self.conflicts(holder, Byte::Reserved, Kind::Write)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Lock(LockLevel, bool),
    Unlock(LockLevel),
    Drop,
}

fn op() -> impl Strategy<Value = (Holder, Op)> {
    let level = prop::sample::select(vec![Unlocked, Shared, Reserved, Pending, Exclusive]);
    let often = prop::sample::select(vec![Shared, Shared, Reserved, Exclusive]);
    let op = prop_oneof![
        6 => (often, prop::bool::weighted(0.1)).prop_map(|(level, shm)| Op::Lock(level, shm)),
        1 => level.clone().prop_map(|level| Op::Lock(level, false)),
        2 => level.prop_map(Op::Unlock),
        1 => Just(Op::Drop),
    ];
    ((0u64..4).prop_map(Holder), op)
}

proptest! {
    #[test]
    fn the_answers_are_those_of_the_bytes(ops in prop::collection::vec(op(), 0..80)) {
        let mut locks = FileLocks::default();
        let mut model = Model::default();
        for (holder, op) in ops {
            match op {
                Op::Lock(level, shm) => prop_assert_eq!(
                    locks.lock(holder, level, shm),
                    model.lock(holder, level, shm)
                ),
                Op::Unlock(level) => {
                    prop_assert_eq!(locks.unlock(holder, level), model.unlock(holder, level));
                }
                Op::Drop => {
                    locks.drop_holder(holder);
                    model.unlock(holder, Unlocked).unwrap();
                }
            }
            for holder in (0..4).map(Holder) {
                prop_assert_eq!(locks.level(holder), model.level(holder));
                prop_assert_eq!(locks.is_reserved(holder), model.is_reserved(holder));
            }
            let levels: Vec<LockLevel> = locks.holders().map(|(_, level)| level).collect();
            let exclusive = levels.contains(&Exclusive);
            prop_assert!(!exclusive || levels.len() == 1);
            prop_assert!(levels.iter().filter(|level| **level >= Reserved).count() <= 1);
            prop_assert!(!levels.contains(&Unlocked));
        }
    }
}
