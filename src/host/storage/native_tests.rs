//! Side by side with native SQLite in another process: each excludes the
//! other, both share one wal-index, and its commits are noticed.

use super::queue::SLOTS;
use super::testing::{Native, Polled, attached, block_on, open_db};
use super::{ErrorCode, LockLevel, ShmLockKind};
use std::path::Path;
use std::task::Poll;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
/// Where the wal-index header keeps its number of frames (`mxFrame`).
const MX_FRAME: usize = 16;

fn native(directory: &Path, journal: &str) -> Native {
    let mut native = Native::open(directory);
    assert_eq!(
        native.sql(&format!("pragma journal_mode={journal}")),
        format!("[('{journal}',)]")
    );
    assert_eq!(native.sql("create table t(x)"), "[]");
    native
}

#[test]
fn begin_immediate_and_reserved_exclude_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut native = native(directory.path(), "delete");
    let mut file = open_db(directory.path());
    file.lock(LockLevel::Shared).unwrap();
    assert!(!file.check_reserved().unwrap());

    assert_eq!(native.sql("begin immediate"), "[]");
    assert!(file.check_reserved().unwrap());
    assert_eq!(file.lock(LockLevel::Reserved), Err(ErrorCode::Busy));
    assert_eq!(native.sql("rollback"), "[]");

    file.lock(LockLevel::Reserved).unwrap();
    assert_eq!(native.sql("begin immediate"), "error: database is locked");
    assert_eq!(native.sql("select * from t"), "[]", "readers may read");
    file.lock(LockLevel::Exclusive).unwrap();
    assert_eq!(native.sql("select * from t"), "error: database is locked");
    file.unlock(LockLevel::Shared).unwrap();
    assert_eq!(native.sql("begin exclusive"), "error: database is locked");
    drop(file);
    assert_eq!(native.sql("begin exclusive"), "[]");
    let mut file = open_db(directory.path());
    assert_eq!(file.lock(LockLevel::Shared), Err(ErrorCode::Busy));
    native.kill();
    file.lock(LockLevel::Shared).unwrap();
}

#[test]
fn both_share_one_wal_index() {
    let directory = tempfile::tempdir().unwrap();
    let mut native = native(directory.path(), "wal");
    assert_eq!(native.sql("insert into t values (1)"), "[]");
    // Native is attached: we mustn't truncate what it uses.
    let ours = attached(directory.path());
    let frames = ours.memory.get(MX_FRAME);
    assert!(frames > 0);
    assert_eq!(native.sql("insert into t values (2)"), "[]");
    assert!(ours.memory.get(MX_FRAME) > frames);
    // We are attached: another native process doesn't truncate what we use.
    drop(native);
    let mut native = Native::open(directory.path());
    let frames = ours.memory.get(MX_FRAME);
    assert!(frames > 0);
    assert_eq!(native.sql("insert into t values (3)"), "[]");
    assert_eq!(native.sql("select count(*) from t"), "[(3,)]");
    assert!(ours.memory.get(MX_FRAME) > frames);
}

#[test]
fn the_writers_slot_excludes_native_writers() {
    let directory = tempfile::tempdir().unwrap();
    let mut native = native(directory.path(), "wal");
    let ours = attached(directory.path());
    let lock = |timeout| ours.file.shm_lock(0, 1, ShmLockKind::Exclusive, timeout);
    assert_eq!(block_on(lock(Duration::ZERO)), Ok(()));
    assert_eq!(native.sql("begin immediate"), "error: database is locked");
    ours.file.shm_unlock(0, 1, ShmLockKind::Exclusive).unwrap();
    assert_eq!(native.sql("begin immediate"), "[]");
    assert_eq!(block_on(lock(Duration::ZERO)), Err(ErrorCode::Busy));
    assert_eq!(
        block_on(lock(Duration::from_millis(5))),
        Err(ErrorCode::TimedOut)
    );

    // Nobody tells us when another process lets go: it is found by asking.
    let mut wait = Polled::new(lock(LONG));
    assert_eq!(wait.poll(), Poll::Pending);
    assert_eq!(native.sql("commit"), "[]");
    assert_eq!(wait.finish(), Ok(()));
    ours.file.shm_unlock(0, 1, ShmLockKind::Exclusive).unwrap();

    // Nor when it dies.
    assert_eq!(native.sql("begin immediate"), "[]");
    let mut wait = Polled::new(lock(LONG));
    assert_eq!(wait.poll(), Poll::Pending);
    native.kill();
    assert_eq!(wait.finish(), Ok(()));
}

#[test]
fn a_native_reader_keeps_its_read_mark() {
    let directory = tempfile::tempdir().unwrap();
    let mut native = native(directory.path(), "wal");
    assert_eq!(native.sql("insert into t values (1)"), "[]");
    let ours = attached(directory.path());
    let count = SLOTS - 3;
    let marks = || {
        block_on(
            ours.file
                .shm_lock(3, count, ShmLockKind::Exclusive, Duration::ZERO),
        )
    };
    assert_eq!(marks(), Ok(()));
    ours.file
        .shm_unlock(3, count, ShmLockKind::Exclusive)
        .unwrap();
    assert_eq!(native.sql("begin"), "[]");
    assert_eq!(native.sql("select * from t"), "[(1,)]");
    assert_eq!(marks(), Err(ErrorCode::Busy));
}

#[test]
fn a_native_user_keeps_us_from_deleting_the_wal_index() {
    let directory = tempfile::tempdir().unwrap();
    let mut native = native(directory.path(), "wal");
    let mut ours = attached(directory.path());
    ours.file.lock(LockLevel::Shared).unwrap();
    assert_eq!(ours.file.lock(LockLevel::Exclusive), Err(ErrorCode::Busy));
    ours.file.shm_unmap(true).unwrap();
    assert!(directory.path().join("db-shm").exists());
    assert_eq!(native.sql("insert into t values (1)"), "[]");
}

#[test]
fn native_commits_are_noticed() {
    for journal in ["wal", "delete"] {
        let directory = tempfile::tempdir().unwrap();
        let mut native = native(directory.path(), journal);
        // Not attached to the wal-index, if there is one.
        let file = open_db(directory.path());
        for value in 0..3 {
            let seen = file.change_token().unwrap();
            assert_eq!(
                file.change_token().unwrap(),
                seen,
                "{journal}: nothing happened"
            );
            let mut wait = Polled::new(file.wait_change(seen, LONG).unwrap());
            assert_eq!(wait.poll(), Poll::Pending, "{journal}");
            native.send(&format!("insert into t values ({value})"));
            assert_eq!(wait.finish(), Ok(true), "{journal}");
            assert_eq!(native.answer(), "[]");
        }
    }
}

#[test]
fn the_last_one_out_changes_the_token() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = native(directory.path(), "wal");
    assert_eq!(first.sql("insert into t values (1)"), "[]");
    first.close();
    let file = open_db(directory.path());
    let seen = file.change_token().unwrap();
    let mut second = Native::open(directory.path());
    assert_eq!(second.sql("insert into t values (2)"), "[]");
    // Folds the WAL into the database and deletes the wal-index.
    second.close();
    assert!(!directory.path().join("db-shm").exists());
    assert_ne!(file.change_token().unwrap(), seen);
}
