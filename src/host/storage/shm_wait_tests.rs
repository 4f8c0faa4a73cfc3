//! Waiting for slots: order, timeouts, and leaving in the middle.

use super::super::queue::SlotQueue;
use super::super::registry::FileId;
use super::super::shm::QUEUES;
use super::super::sync::Mutex;
use super::super::testing::{Attached, Polled, attached, block_on};
use super::super::{ErrorCode, ShmLockKind};
use super::*;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

const LONG: Duration = Duration::from_secs(60);
use ShmLockKind::{Exclusive, Shared};

fn wait(handle: &Attached, timeout: Duration) -> Polled<ShmWait> {
    Polled::new(handle.file.shm_lock(0, 1, Exclusive, timeout))
}

fn shm_id(directory: &Path) -> FileId {
    let stat = std::fs::metadata(directory.join("db-shm")).unwrap();
    FileId {
        device: stat.dev(),
        inode: stat.ino(),
    }
}

fn waiting(directory: &Path) -> usize {
    QUEUES
        .get(shm_id(directory), Mutex::<SlotQueue>::default)
        .lock()
        .waiting()
}

#[test]
fn waiters_are_served_in_order_and_newcomers_queue() {
    let directory = tempfile::tempdir().unwrap();
    let handles: Vec<_> = (0..5).map(|_| attached(directory.path())).collect();
    let [holder, first, second, third, late] = &handles[..] else {
        panic!()
    };
    assert_eq!(wait(holder, LONG).poll(), Poll::Ready(Ok(())));
    let mut first_wait = wait(first, LONG);
    let mut second_wait = wait(second, LONG);
    let mut third_wait = wait(third, LONG);
    for waiter in [&mut first_wait, &mut second_wait, &mut third_wait] {
        assert_eq!(waiter.poll(), Poll::Pending);
    }
    assert_eq!(waiting(directory.path()), 3);

    holder.file.shm_unlock(0, 1, Exclusive).unwrap();
    let woken = [&first_wait, &second_wait, &third_wait].map(Polled::woken);
    assert_eq!(woken, [1, 0, 0]);
    // The lock is free, but it is the first waiter's turn.
    let mut late_wait = wait(late, LONG);
    assert_eq!(late_wait.poll(), Poll::Pending);
    assert_eq!(second_wait.poll(), Poll::Pending);
    assert_eq!(first_wait.poll(), Poll::Ready(Ok(())));

    first.file.shm_unlock(0, 1, Exclusive).unwrap();
    assert_eq!(second_wait.woken(), 1);
    // The one whose turn it is leaves: the next one hears of it.
    drop(second_wait);
    assert_eq!(third_wait.woken(), 1);
    assert_eq!(third_wait.poll(), Poll::Ready(Ok(())));
    assert_eq!(late_wait.woken(), 0);
    third.file.shm_unlock(0, 1, Exclusive).unwrap();
    assert_eq!(late_wait.poll(), Poll::Ready(Ok(())));
    assert_eq!(waiting(directory.path()), 0);
}

#[test]
fn a_try_does_not_queue() {
    let directory = tempfile::tempdir().unwrap();
    let (holder, waiter, other) = (
        attached(directory.path()),
        attached(directory.path()),
        attached(directory.path()),
    );
    assert_eq!(wait(&holder, Duration::ZERO).poll(), Poll::Ready(Ok(())));
    assert_eq!(
        wait(&other, Duration::ZERO).poll(),
        Poll::Ready(Err(ErrorCode::Busy))
    );
    let mut queued = wait(&waiter, LONG);
    assert_eq!(queued.poll(), Poll::Pending);
    holder.file.shm_unlock(0, 1, Exclusive).unwrap();
    assert_eq!(
        wait(&other, Duration::ZERO).poll(),
        Poll::Ready(Ok(())),
        "it may overtake"
    );
    assert_eq!(queued.poll(), Poll::Pending);
    drop(other);
    assert_eq!(queued.woken(), 2, "dropping a handle releases, and tells");
    assert_eq!(queued.poll(), Poll::Ready(Ok(())));
}

#[test]
fn a_wait_ends_with_its_timeout_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (holder, waiter) = (attached(directory.path()), attached(directory.path()));
    assert_eq!(wait(&holder, LONG).poll(), Poll::Ready(Ok(())));
    let timeout = Duration::from_millis(20);
    let start = Instant::now();
    assert_eq!(wait(&waiter, timeout).finish(), Err(ErrorCode::TimedOut));
    assert!(start.elapsed() >= timeout);
    assert_eq!(waiting(directory.path()), 0);
    holder.file.shm_unlock(0, 1, Exclusive).unwrap();
    assert_eq!(wait(&waiter, timeout).poll(), Poll::Ready(Ok(())));
}

#[test]
fn two_waits_of_one_handle_take_one_lock() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (attached(directory.path()), attached(directory.path()));
    // Both begin before either has the lock.
    let lock = |kind| Polled::new(one.file.shm_lock(3, 1, kind, LONG));
    let (mut first, mut second) = (lock(Shared), lock(Shared));
    let mut upgrade = lock(Exclusive);
    assert_eq!(first.poll(), Poll::Ready(Ok(())));
    assert_eq!(second.poll(), Poll::Ready(Ok(())));
    assert_eq!(
        upgrade.poll(),
        Poll::Ready(Err(ErrorCode::InvalidArgument)),
        "it would wait for itself"
    );
    one.file.shm_unlock(3, 1, Shared).unwrap();
    assert_eq!(other.file.shm_try_lock(3, 1, Exclusive), Ok(()));
}

#[test]
fn a_dropped_wait_leaves_no_lock_no_place_and_no_alarm() {
    let directory = tempfile::tempdir().unwrap();
    let (holder, waiter) = (attached(directory.path()), attached(directory.path()));
    drop(wait(&waiter, LONG));
    assert_eq!(wait(&holder, LONG).poll(), Poll::Ready(Ok(())));
    let mut cancelled = wait(&waiter, LONG);
    assert_eq!(cancelled.poll(), Poll::Pending);
    assert_eq!(waiting(directory.path()), 1);
    drop(cancelled);
    assert_eq!(waiting(directory.path()), 0);
    holder.file.shm_unlock(0, 1, Exclusive).unwrap();
    // Not even the kernel knows of a lock: another handle takes all slots.
    let other = attached(directory.path());
    assert_eq!(
        block_on(other.file.shm_lock(0, 8, Exclusive, Duration::ZERO)),
        Ok(())
    );
}

#[test]
fn a_wait_whose_file_is_gone_takes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (holder, waiter) = (attached(directory.path()), attached(directory.path()));
    assert_eq!(wait(&holder, LONG).poll(), Poll::Ready(Ok(())));
    let mut orphan = wait(&waiter, LONG);
    assert_eq!(orphan.poll(), Poll::Pending);
    drop(waiter);
    holder.file.shm_unlock(0, 1, Exclusive).unwrap();
    assert_eq!(orphan.poll(), Poll::Ready(Err(ErrorCode::InvalidArgument)));
    assert_eq!(wait(&holder, Duration::ZERO).poll(), Poll::Ready(Ok(())));
}

#[test]
fn the_queue_goes_with_its_last_user() {
    let directory = tempfile::tempdir().unwrap();
    let handle = attached(directory.path());
    let id = shm_id(directory.path());
    assert!(QUEUES.contains(id));
    drop(handle);
    assert!(!QUEUES.contains(id));
}

#[test]
fn threads_that_contend_lose_no_update() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 250;
    let directory = tempfile::tempdir().unwrap();
    let reader = attached(directory.path());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let handle = attached(directory.path());
                for _ in 0..ROUNDS {
                    block_on(handle.file.shm_lock(0, 1, Exclusive, LONG)).unwrap();
                    let old = u16::from_le_bytes([handle.memory.get(200), handle.memory.get(201)]);
                    let [low, high] = (old + 1).to_le_bytes();
                    handle.memory.set(200, low);
                    handle.memory.set(201, high);
                    handle.file.shm_unlock(0, 1, Exclusive).unwrap();
                }
            });
        }
    });
    let total = u16::from_le_bytes([reader.memory.get(200), reader.memory.get(201)]);
    assert_eq!(usize::from(total), THREADS * ROUNDS);
    assert_eq!(waiting(directory.path()), 0);
    assert_eq!(
        block_on(reader.file.shm_lock(0, 1, Shared, Duration::ZERO)),
        Ok(())
    );
}
