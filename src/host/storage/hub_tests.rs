//! Waiting for commits of this process; other processes are in `native_tests`.

use super::super::testing::{Attached, Polled, attached, block_on, open_db};
use super::super::{LockLevel, OpenFile, ShmLockKind};
use super::*;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const LONG: Duration = Duration::from_secs(60);

/// Writes into the wal-index what a commit does: another value of `iChange`.
fn commit(handle: &Attached) {
    handle.memory.set(0, 1);
    handle.memory.set(8, handle.memory.get(8).wrapping_add(1));
}

fn wait(file: &OpenFile, seen: u64) -> Polled<ChangeWait> {
    Polled::new(file.wait_change(seen, LONG).unwrap())
}

fn lock_writer(handle: &Attached) {
    let exclusive = ShmLockKind::Exclusive;
    handle.file.shm_try_lock(0, 1, exclusive).unwrap();
}

fn unlock_writer(handle: &Attached) {
    handle
        .file
        .shm_unlock(0, 1, ShmLockKind::Exclusive)
        .unwrap();
}

fn hub(directory: &Path) -> SharedHub {
    let stat = std::fs::metadata(directory.join("db")).unwrap();
    let id = super::super::registry::FileId {
        device: stat.dev(),
        inode: stat.ino(),
    };
    assert!(HUBS.contains(id));
    HUBS.get(id, Hub::default)
}

/// From now on nobody looks but the test.
fn tick_by_hand(directory: &Path) {
    hub(directory).ticks_by_hand.store(true, Ordering::Relaxed);
}

#[test]
fn releasing_the_writers_lock_after_a_commit_wakes_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, reader) = (attached(directory.path()), attached(directory.path()));
    tick_by_hand(directory.path());
    // One that isn't attached to the wal-index sees the same.
    let plain = open_db(directory.path());
    let seen = reader.file.change_token().unwrap();
    assert_eq!(plain.change_token().unwrap(), seen);
    lock_writer(&writer);
    let (mut attached_wait, mut plain_wait) = (wait(&reader.file, seen), wait(&plain, seen));
    assert_eq!(attached_wait.poll(), Poll::Pending);
    assert_eq!(plain_wait.poll(), Poll::Pending);
    commit(&writer);
    unlock_writer(&writer);
    assert_eq!((attached_wait.woken(), plain_wait.woken()), (1, 1));
    assert_eq!(attached_wait.poll(), Poll::Ready(Ok(true)));
    assert_eq!(plain_wait.poll(), Poll::Ready(Ok(true)));
    let now = reader.file.change_token().unwrap();
    assert_ne!(now, seen);
    assert_eq!(plain.change_token().unwrap(), now);
}

#[test]
fn a_release_without_a_commit_wakes_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, reader) = (attached(directory.path()), attached(directory.path()));
    tick_by_hand(directory.path());
    let seen = reader.file.change_token().unwrap();
    let mut waiting = wait(&reader.file, seen);
    assert_eq!(waiting.poll(), Poll::Pending);
    lock_writer(&writer);
    unlock_writer(&writer);
    assert_eq!(waiting.woken(), 0);
    assert_eq!(waiting.poll(), Poll::Pending);
}

#[test]
fn a_writer_that_dies_after_its_commit_wakes_too() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, reader) = (attached(directory.path()), attached(directory.path()));
    tick_by_hand(directory.path());
    let seen = reader.file.change_token().unwrap();
    lock_writer(&writer);
    let mut waiting = wait(&reader.file, seen);
    assert_eq!(waiting.poll(), Poll::Pending);
    commit(&writer);
    drop(writer);
    assert_eq!(waiting.woken(), 1);
    assert_eq!(waiting.poll(), Poll::Ready(Ok(true)));
}

#[test]
fn leaving_exclusive_wakes_in_rollback_mode() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, reader) = (open_db(directory.path()), open_db(directory.path()));
    tick_by_hand(directory.path());
    writer.write_at(0, &[0; 100]).unwrap();
    let seen = reader.change_token().unwrap();
    for level in [LockLevel::Shared, LockLevel::Reserved, LockLevel::Exclusive] {
        writer.lock(level).unwrap();
    }
    let mut waiting = wait(&reader, seen);
    assert_eq!(waiting.poll(), Poll::Pending);
    writer.write_at(24, &[0, 0, 0, 1]).unwrap();
    writer.unlock(LockLevel::Shared).unwrap();
    assert_eq!(waiting.woken(), 1);
    assert_eq!(waiting.poll(), Poll::Ready(Ok(true)));
}

#[test]
fn a_commit_before_the_wait_is_not_missed() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, reader) = (attached(directory.path()), attached(directory.path()));
    let seen = reader.file.change_token().unwrap();
    commit(&writer);
    assert_eq!(wait(&reader.file, seen).poll(), Poll::Ready(Ok(true)));
    assert!(hub(directory.path()).is_idle());
}

#[test]
fn the_token_knows_the_databases_counter_size_and_time() {
    let directory = tempfile::tempdir().unwrap();
    let file = open_db(directory.path());
    file.write_at(0, &[0; 100]).unwrap();
    let raw = std::fs::File::open(directory.path().join("db")).unwrap();
    let then = std::time::SystemTime::UNIX_EPOCH;
    let mut tokens = Vec::new();
    let mut look = |time| {
        raw.set_modified(then + Duration::from_secs(time)).unwrap();
        tokens.push(file.change_token().unwrap());
    };
    look(1);
    look(2);
    file.write_at(27, &[1]).unwrap();
    look(2);
    file.truncate(200).unwrap();
    look(2);
    let distinct: std::collections::BTreeSet<_> = tokens.iter().collect();
    assert_eq!(distinct.len(), tokens.len(), "{tokens:?}");
}

#[test]
fn a_change_that_nobody_announces_is_found_by_looking() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, reader) = (attached(directory.path()), attached(directory.path()));
    let seen = reader.file.change_token().unwrap();
    let mut waiting = wait(&reader.file, seen);
    assert_eq!(waiting.poll(), Poll::Pending);
    commit(&writer);
    assert_eq!(waiting.finish(), Ok(true));
}

#[test]
fn nobody_waits_nothing_ticks() {
    let directory = tempfile::tempdir().unwrap();
    let reader = attached(directory.path());
    let seen = reader.file.change_token().unwrap();
    let hub = hub(directory.path());
    assert!(hub.is_idle());
    let (mut one, mut other) = (wait(&reader.file, seen), wait(&reader.file, seen));
    assert_eq!(one.poll(), Poll::Pending);
    assert_eq!(other.poll(), Poll::Pending);
    drop(one);
    assert!(!hub.is_idle(), "one still waits");
    drop(other);
    assert!(hub.is_idle());
    let timeout = Duration::from_millis(5);
    let start = Instant::now();
    assert_eq!(
        block_on(reader.file.wait_change(seen, timeout).unwrap()),
        Ok(false)
    );
    assert!(start.elapsed() >= timeout);
    assert!(hub.is_idle());
}

#[test]
fn no_wake_up_is_lost_under_load() {
    const COMMITS: u8 = 200;
    let directory = tempfile::tempdir().unwrap();
    let (writer, reader) = (attached(directory.path()), attached(directory.path()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Reads what it waits for between token and wait, as a user would.
            loop {
                let seen = reader.file.change_token().unwrap();
                if reader.memory.get(8) == COMMITS {
                    break;
                }
                let changed = block_on(reader.file.wait_change(seen, LONG).unwrap());
                assert_eq!(changed, Ok(true));
            }
        });
        for _ in 0..COMMITS {
            lock_writer(&writer);
            commit(&writer);
            unlock_writer(&writer);
        }
    });
    assert!(hub(directory.path()).is_idle());
}

fn topic(topic: u64) -> Option<Interest> {
    Some(Interest {
        topic,
        turn: Some(0),
        claim: None,
    })
}

/// Commits and says that it concerned `topics`.
fn announce(handle: &mut Attached, topics: &[u64]) {
    lock_writer(handle);
    commit(handle);
    unlock_writer(handle);
    handle.file.announce(topics).unwrap();
}

#[test]
fn an_announced_commit_wakes_only_those_whom_it_concerns() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = attached(directory.path());
    tick_by_hand(directory.path());
    writer.file.announce(&[]).unwrap();
    let (mut one, mut other) = (open_db(directory.path()), open_db(directory.path()));
    one.watch(topic(1)).unwrap();
    other.watch(topic(2)).unwrap();
    let seen = one.change_token().unwrap();
    let (mut one_waits, mut other_waits) = (wait(&one, seen), wait(&other, seen));
    assert_eq!(one_waits.poll(), Poll::Pending);
    assert_eq!(other_waits.poll(), Poll::Pending);
    announce(&mut writer, &[2, 3]);
    assert_eq!((one_waits.woken(), other_waits.woken()), (0, 1));
    assert_eq!(other_waits.poll(), Poll::Ready(Ok(true)));
    // The look that finds all commits spoken for wakes nobody either.
    Hub::tick(&hub(directory.path()));
    assert_eq!(one_waits.woken(), 0);
    assert_eq!(one_waits.poll(), Poll::Pending);
}

#[test]
fn a_foreign_commit_is_noticed_although_one_was_announced_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = attached(directory.path());
    writer.file.announce(&[]).unwrap();
    let mut reader = open_db(directory.path());
    reader.watch(topic(1)).unwrap();
    let mut waiting = wait(&reader, reader.change_token().unwrap());
    assert_eq!(waiting.poll(), Poll::Pending);
    commit(&writer);
    announce(&mut writer, &[2]);
    assert_eq!(waiting.finish(), Ok(true), "by the next look");
}

#[test]
fn a_handle_that_goes_wakes_the_next_in_turn_and_those_who_watch_its_claim() {
    let directory = tempfile::tempdir().unwrap();
    let open = || open_db(directory.path());
    let (mut first, mut second, mut watcher) = (open(), open(), open());
    tick_by_hand(directory.path());
    first.claim(77, 1).unwrap();
    first.watch(topic(1)).unwrap();
    second.watch(topic(1)).unwrap();
    let interest = Interest {
        topic: 2,
        turn: None,
        claim: Some(77),
    };
    watcher.watch(Some(interest)).unwrap();
    let seen = second.change_token().unwrap();
    let (mut next, mut watches) = (wait(&second, seen), wait(&watcher, seen));
    assert_eq!(next.poll(), Poll::Pending);
    assert_eq!(watches.poll(), Poll::Pending);
    assert_eq!(watcher.is_claimed(77), Ok(true));
    drop(first);
    assert_eq!((next.woken(), watches.woken()), (1, 1));
    assert_eq!(watcher.is_claimed(77), Ok(false));
    assert_eq!(next.poll(), Poll::Ready(Ok(true)));
    assert_eq!(watches.poll(), Poll::Ready(Ok(true)));
    drop((second, watcher, next, watches));
    let last = open();
    assert!(hub(directory.path()).is_idle());
    drop(last);
}

#[test]
fn a_transaction_that_wrote_nothing_does_not_speak_for_the_last_commit() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, other) = (attached(directory.path()), attached(directory.path()));
    tick_by_hand(directory.path());
    writer.file.announce(&[]).unwrap();
    let mut reader = open_db(directory.path());
    reader.watch(topic(1)).unwrap();
    let mut waiting = wait(&reader, reader.change_token().unwrap());
    assert_eq!(waiting.poll(), Poll::Pending);
    // Another process's, then an empty one of ours.
    commit(&other);
    lock_writer(&writer);
    unlock_writer(&writer);
    writer.file.announce(&[2]).unwrap();
    assert_eq!(waiting.woken(), 0);
    Hub::tick(&hub(directory.path()));
    assert_eq!(waiting.woken(), 1);
    // Nor does a release of a lock that it doesn't hold.
    let mut waiting = wait(&reader, reader.change_token().unwrap());
    assert_eq!(waiting.poll(), Poll::Pending);
    commit(&other);
    let unlocked = writer.file.shm_unlock(0, 1, ShmLockKind::Exclusive);
    assert_eq!(unlocked, Err(ErrorCode::InvalidArgument));
    writer.file.announce(&[2]).unwrap();
    Hub::tick(&hub(directory.path()));
    assert_eq!(waiting.woken(), 1);
}
