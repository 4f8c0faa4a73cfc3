//! The lock levels against byte ranges in memory, one holder per number.

use super::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Every holder's locks by (holder, byte), and what happened after each step.
#[derive(Default)]
struct World {
    locks: BTreeMap<(u32, u64), RangeLock>,
    steps: Vec<(RangeLock, u64, u64)>,
    /// Holder 0's number of locked bytes in the shared range after each step.
    shared_bytes: Vec<usize>,
}

#[derive(Clone)]
struct Fake {
    world: Rc<RefCell<World>>,
    me: u32,
}

impl ByteRange for Fake {
    fn set(&self, to: RangeLock, start: u64, len: u64) -> Result<(), ErrorCode> {
        if to != RangeLock::Unlock && self.conflict(to, start, len)?.is_some() {
            return Err(ErrorCode::Busy);
        }
        let mut world = self.world.borrow_mut();
        for byte in start..start + len {
            match to {
                RangeLock::Unlock => world.locks.remove(&(self.me, byte)),
                _ => world.locks.insert((self.me, byte), to),
            };
        }
        world.steps.push((to, start, len));
        let shared = world
            .locks
            .keys()
            .filter(|key| key.0 == 0 && key.1 >= SHARED_FIRST)
            .count();
        world.shared_bytes.push(shared);
        Ok(())
    }

    fn conflict(
        &self,
        want: RangeLock,
        start: u64,
        len: u64,
    ) -> Result<Option<RangeLock>, ErrorCode> {
        let world = self.world.borrow();
        let other = world.locks.iter().find(|((holder, byte), kind)| {
            *holder != self.me
                && (start..start + len).contains(byte)
                && (want == RangeLock::Write || **kind == RangeLock::Write)
        });
        Ok(other.map(|(_, kind)| *kind))
    }
}

struct Handle(FileLock, Fake);

impl Handle {
    fn raise(&mut self, to: LockLevel) -> Result<(), ErrorCode> {
        self.0.raise(&self.1, to, || Ok(false))
    }

    fn lower(&mut self, to: LockLevel) -> Result<(), ErrorCode> {
        self.0.lower(&self.1, to)
    }
}

fn two() -> (Handle, Handle, Rc<RefCell<World>>) {
    let world = Rc::<RefCell<World>>::default();
    let handle = |me| {
        Handle(
            FileLock::new(),
            Fake {
                world: Rc::clone(&world),
                me,
            },
        )
    };
    (handle(0), handle(1), world)
}

use LockLevel::{Exclusive, Pending, Reserved, Shared, Unlocked};

#[test]
fn a_writer_works_beside_readers_until_it_is_pending() {
    let (mut writer, mut reader, _) = two();
    writer.raise(Shared).unwrap();
    writer.raise(Reserved).unwrap();
    reader.raise(Shared).unwrap();
    assert_eq!(reader.raise(Reserved), Err(ErrorCode::Busy));
    assert_eq!(reader.0.level(), Shared);

    assert_eq!(writer.raise(Exclusive), Err(ErrorCode::Busy));
    assert_eq!(writer.0.level(), Pending);
    reader.lower(Unlocked).unwrap();
    assert_eq!(
        reader.raise(Shared),
        Err(ErrorCode::Busy),
        "pending keeps new readers out"
    );
    writer.raise(Exclusive).unwrap();
    assert_eq!(reader.raise(Shared), Err(ErrorCode::Busy));

    writer.lower(Shared).unwrap();
    reader.raise(Shared).unwrap();
    reader.raise(Reserved).unwrap();
}

#[test]
fn exclusive_to_shared_never_lets_go_of_shared() {
    let (mut writer, _, world) = two();
    for level in [Shared, Reserved, Exclusive] {
        writer.raise(level).unwrap();
    }
    let before = world.borrow().shared_bytes.len();
    writer.lower(Shared).unwrap();
    let world = world.borrow();
    let after = &world.shared_bytes[before..];
    assert!(!after.is_empty());
    assert!(
        after.iter().all(|bytes| *bytes as u64 == SHARED_LEN),
        "{after:?}"
    );
    let (kind, start, _) = world.steps[before];
    assert_eq!(
        (kind, start),
        (RangeLock::Read, SHARED_FIRST),
        "pending goes last"
    );
}

#[test]
fn unlocked_holds_nothing() {
    let (mut one, mut other, world) = two();
    for level in [Shared, Reserved, Exclusive] {
        one.raise(level).unwrap();
    }
    assert_eq!(other.raise(Shared), Err(ErrorCode::Busy));
    assert!(
        world.borrow().locks.keys().all(|key| key.0 == 0),
        "a refused reader keeps nothing"
    );
    one.lower(Unlocked).unwrap();
    assert!(world.borrow().locks.is_empty());
}

#[test]
fn rolling_back_a_hot_journal_does_not_pass_pending() {
    let (mut one, mut other, _) = two();
    one.raise(Shared).unwrap();
    other.raise(Shared).unwrap();
    assert_eq!(one.raise(Exclusive), Err(ErrorCode::Busy));
    assert_eq!(one.0.level(), Shared);
    other.lower(Unlocked).unwrap();
    other.raise(Shared).unwrap();
    other.lower(Unlocked).unwrap();
    one.raise(Exclusive).unwrap();
}

#[test]
fn a_shared_wal_index_forbids_exclusive() {
    let (mut one, _, _) = two();
    one.raise(Shared).unwrap();
    one.raise(Reserved).unwrap();
    let fake = one.1.clone();
    assert_eq!(
        one.0.raise(&fake, Exclusive, || Ok(true)),
        Err(ErrorCode::Busy)
    );
    assert_eq!(one.0.level(), Pending);
    one.raise(Exclusive).unwrap();
}

#[test]
fn steps_that_sqlite_never_takes_are_refused() {
    let (mut one, _, world) = two();
    for level in [Reserved, Pending, Exclusive] {
        assert_eq!(
            one.raise(level),
            Err(ErrorCode::InvalidArgument),
            "{level:?}"
        );
    }
    one.raise(Shared).unwrap();
    assert_eq!(one.raise(Pending), Err(ErrorCode::InvalidArgument));
    one.raise(Reserved).unwrap();
    one.raise(Exclusive).unwrap();
    let steps = world.borrow().steps.len();
    assert_eq!(one.lower(Reserved), Err(ErrorCode::InvalidArgument));
    one.raise(Shared).unwrap();
    one.lower(Exclusive).unwrap();
    assert_eq!(world.borrow().steps.len(), steps, "no change, no step");
    assert_eq!(one.0.level(), Exclusive);
}

#[test]
fn reserved_is_seen_by_the_holder_and_by_others() {
    let (mut one, other, _) = two();
    one.raise(Shared).unwrap();
    assert!(!one.0.anyone_reserved(&one.1).unwrap());
    assert!(!other.0.anyone_reserved(&other.1).unwrap());
    one.raise(Reserved).unwrap();
    assert!(one.0.anyone_reserved(&one.1).unwrap());
    assert!(other.0.anyone_reserved(&other.1).unwrap());
}
