//! Files as files, their limits, locks between two handles, and endings.

use super::super::testing::{CREATE, Memory, open_db, storage};
use super::super::{Grant, Storage, StorageLimits};
use super::*;
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::path::Path;

#[test]
fn bytes_come_back_and_end_where_the_file_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mut file = open_db(directory.path());
    file.write_at(10, b"hello").unwrap();
    assert_eq!(file.size().unwrap(), 15);
    let mut buffer = [9; 8];
    assert_eq!(file.read_at(8, &mut buffer).unwrap(), 7);
    assert_eq!(&buffer, b"\0\0hello\x09");
    assert_eq!(file.read_vec(12, 2).unwrap(), b"ll");
    assert_eq!(file.read_vec(12, 1 << 20).unwrap(), b"llo");
    assert_eq!(file.read_vec(15, 1).unwrap(), b"");
    file.truncate(12).unwrap();
    file.truncate(13).unwrap();
    assert_eq!(file.read_vec(10, 9).unwrap(), b"he\0");
    file.sync(SyncKind::Data).unwrap();
    file.sync(SyncKind::Full).unwrap();
}

#[test]
fn numbers_that_the_system_cannot_express_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = open_db(directory.path());
    let invalid = ErrorCode::InvalidArgument;
    for offset in [1 << 63, u64::MAX, OFFSET_MAX] {
        assert_eq!(file.read_at(offset, &mut [0]), Err(invalid), "{offset}");
        assert_eq!(file.read_vec(offset, 1), Err(invalid), "{offset}");
        assert_eq!(file.write_at(offset, &[0]), Err(invalid), "{offset}");
    }
    assert_eq!(file.truncate(1 << 63), Err(invalid));
    assert_eq!(file.read_vec(0, (1 << 20) + 1), Err(invalid));
    assert_eq!(file.size().unwrap(), 0);
}

#[test]
fn limits_are_the_instances() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("large"), [1; 200]).unwrap();
    let limits = StorageLimits {
        max_open_files: 2,
        max_file_bytes: 100,
    };
    let storage = Storage::new(Grant::directory(directory.path()).unwrap(), limits);
    let file = storage.open_file("db", FileKind::MainDb, CREATE).unwrap();
    file.write_at(90, &[1; 10]).unwrap();
    assert_eq!(file.write_at(91, &[1; 10]), Err(ErrorCode::Full));
    assert_eq!(file.truncate(101), Err(ErrorCode::Full));
    assert_eq!(file.size().unwrap(), 100);
    let large = storage
        .open_file("large", FileKind::MainDb, CREATE)
        .unwrap();
    large.write_at(190, &[2; 10]).unwrap();
    assert_eq!(large.write_at(191, &[2; 10]), Err(ErrorCode::Full));

    let third = |storage: &Storage| {
        storage
            .open_file("db", FileKind::MainDb, CREATE)
            .map(|_| ())
    };
    assert_eq!(third(&storage), Err(ErrorCode::TooManyFiles));
    drop(file);
    third(&storage).unwrap();
    assert_eq!(
        storage
            .open_file("..", FileKind::MainDb, CREATE)
            .map(|_| ()),
        Err(ErrorCode::Access)
    );
    third(&storage).expect("a failed open gives its place back");
}

#[test]
fn opening_says_what_was_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    let open = |flags| storage.open_file("db", FileKind::MainDb, flags).map(|_| ());
    assert_eq!(open(OpenFlags::default()), Err(ErrorCode::NotFound));
    let lone = OpenFlags {
        exclusive: true,
        ..OpenFlags::default()
    };
    assert_eq!(open(lone), Err(ErrorCode::InvalidArgument));
    let exclusive = OpenFlags {
        exclusive: true,
        ..CREATE
    };
    open(exclusive).unwrap();
    assert_eq!(open(exclusive), Err(ErrorCode::Exists));
    assert!(
        !storage.file_exists("db").unwrap(),
        "empty counts as absent"
    );
    fs::write(directory.path().join("db"), "x").unwrap();
    assert!(storage.file_exists("db").unwrap());
    let read_only = OpenFlags {
        read_only: true,
        ..OpenFlags::default()
    };
    let mut file = storage
        .open_file("db", FileKind::MainDb, read_only)
        .unwrap();
    assert!(file.is_read_only());
    file.lock(LockLevel::Shared).unwrap();
    assert_eq!(file.lock(LockLevel::Reserved), Err(ErrorCode::ReadOnly));
    assert_eq!(file.write_at(0, b"y"), Err(ErrorCode::ReadOnly));
}

#[test]
fn two_handles_of_one_process_exclude_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let (mut one, mut other) = (open_db(directory.path()), open_db(directory.path()));
    one.lock(LockLevel::Shared).unwrap();
    other.lock(LockLevel::Shared).unwrap();
    one.lock(LockLevel::Reserved).unwrap();
    assert_eq!(other.lock(LockLevel::Reserved), Err(ErrorCode::Busy));
    assert!(other.check_reserved().unwrap());
    assert_eq!(one.lock(LockLevel::Exclusive), Err(ErrorCode::Busy));
    other.unlock(LockLevel::Unlocked).unwrap();
    assert_eq!(
        other.lock(LockLevel::Shared),
        Err(ErrorCode::Busy),
        "pending"
    );
    one.lock(LockLevel::Exclusive).unwrap();
    one.unlock(LockLevel::Shared).unwrap();
    other.lock(LockLevel::Shared).unwrap();
    assert!(!other.check_reserved().unwrap());
    assert_eq!(one.lock(LockLevel::Exclusive), Err(ErrorCode::Busy));
    drop(one);
    other.lock(LockLevel::Exclusive).unwrap();
}

#[test]
fn a_wait_that_outlives_its_file_keeps_no_lock() {
    let directory = tempfile::tempdir().unwrap();
    let (mut one, mut other) = (open_db(directory.path()), open_db(directory.path()));
    one.lock(LockLevel::Shared).unwrap();
    one.lock(LockLevel::Exclusive).unwrap();
    let wait = one.wait_change(0, Duration::from_secs(60)).unwrap();
    drop(one);
    other.lock(LockLevel::Shared).unwrap();
    drop(wait);
}

#[test]
fn delete_on_close_deletes_its_own_file_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let storage = storage(directory.path());
    let flags = OpenFlags {
        delete_on_close: true,
        ..CREATE
    };
    let file = storage.open_file("db", FileKind::MainDb, flags).unwrap();
    assert!(path.exists());
    drop(file);
    assert!(!path.exists());

    let file = storage.open_file("db", FileKind::MainDb, flags).unwrap();
    fs::rename(&path, directory.path().join("moved")).unwrap();
    fs::write(&path, "somebody else's").unwrap();
    drop(file);
    assert!(path.exists());
}

#[test]
fn nobody_becomes_the_writer_of_a_file_that_lost_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (aside, taken) = (path("aside"), path("db"));
    for how in ["deleted", "moved", "replaced"] {
        let mut file = open_db(directory.path());
        file.write_at(0, b"x").unwrap();
        file.lock(LockLevel::Shared).unwrap();
        match how {
            "deleted" => fs::remove_file(&taken).unwrap(),
            "moved" => fs::rename(&taken, &aside).unwrap(),
            _ => {
                fs::write(&aside, "other").unwrap();
                fs::rename(&aside, &taken).unwrap();
            }
        }
        for level in [LockLevel::Reserved, LockLevel::Exclusive] {
            assert_eq!(file.lock(level), Err(ErrorCode::Io), "{how}");
        }
        assert_eq!(file.read_vec(0, 1).unwrap(), b"x", "it is still readable");
        file.unlock(LockLevel::Unlocked).unwrap();
        if how == "moved" {
            fs::rename(&aside, &taken).unwrap();
            file.lock(LockLevel::Shared).unwrap();
            file.lock(LockLevel::Exclusive).unwrap();
        }
        drop(file);
        let mut next = open_db(directory.path());
        next.lock(LockLevel::Shared).unwrap();
        next.lock(LockLevel::Reserved).unwrap();
        drop(next);
        let _ = fs::remove_file(&taken);
    }
}

#[test]
fn a_log_that_was_deleted_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    for (name, kind) in [
        ("db-wal", FileKind::Wal),
        ("db-journal", FileKind::MainJournal),
    ] {
        let log = storage(directory.path())
            .open_file(name, kind, CREATE)
            .unwrap();
        log.write_at(0, b"x").unwrap();
        fs::remove_file(directory.path().join(name)).unwrap();
        assert_eq!(log.write_at(1, b"y"), Err(ErrorCode::Io));
        assert_eq!(log.size().unwrap(), 1);
    }
}

#[test]
fn a_wal_index_that_was_deleted_or_is_another_databases_lets_nobody_write() {
    use super::super::testing::{Memory, attached};
    let directory = tempfile::tempdir().unwrap();
    let writer = SlotLock::new(0, 1, ShmLockKind::Exclusive).unwrap();
    let old = attached(directory.path());
    old.file.check_writer(writer).unwrap();
    fs::rename(directory.path().join("db"), directory.path().join("aside")).unwrap();
    let (mut next, memory) = (open_db(directory.path()), Memory::new());
    assert_eq!(memory.map(&mut next, 0, true), Err(ErrorCode::Io));
    let kind = ShmLockKind::Exclusive;
    assert_eq!(old.file.shm_try_lock(0, 1, kind), Err(ErrorCode::Io));
    let wait = old.file.shm_lock(0, 1, kind, Duration::ZERO);
    assert_eq!(super::super::testing::block_on(wait), Err(ErrorCode::Io));
    old.file.shm_try_lock(3, 1, kind).unwrap();
    // Or it happened while the writer waited.
    old.file.shm.as_ref().unwrap().try_lock(writer).unwrap();
    assert_eq!(old.file.waited_for(0, 1, kind), Err(ErrorCode::Io));
    assert_eq!(
        old.file.shm_unlock(0, 1, kind),
        Err(ErrorCode::InvalidArgument)
    );
    drop(old);
    assert!(memory.map(&mut next, 0, true).unwrap());
    next.shm_try_lock(0, 1, kind).unwrap();
    next.shm_unlock(0, 1, kind).unwrap();
    fs::remove_file(directory.path().join("db-shm")).unwrap();
    assert_eq!(next.shm_try_lock(0, 1, kind), Err(ErrorCode::Io));
    drop(next);
}

/// The system has one regular file at hand whose reading and writing fail so.
#[test]
fn an_io_error_of_the_system_is_io() {
    let limits = StorageLimits::default();
    let storage = Storage::new(Grant::directory("/proc/self").unwrap(), limits);
    let file = storage
        .open_file("mem", FileKind::MainDb, OpenFlags::default())
        .unwrap();
    assert_eq!(file.read_at(0, &mut [0]), Err(ErrorCode::Io));
    assert_eq!(file.read_vec(0, 1), Err(ErrorCode::Io));
    assert_eq!(file.write_at(0, b"x"), Err(ErrorCode::Io));
}

/// Each round a file is written again in place, by several so that they wait for each other with its
/// size known, while another handle makes it shorter; then a second file takes what that left.
#[test]
fn what_is_written_again_while_another_makes_the_file_shorter_counts() {
    const LIMIT: u64 = 4 << 20;
    const WRITERS: usize = 3;
    let directory = tempfile::tempdir().unwrap();
    let grant = Grant::directory(directory.path()).unwrap();
    let storage = Storage::new(grant.max_total_bytes(LIMIT), StorageLimits::default());
    let open = |name| storage.open_file(name, FileKind::MainDb, CREATE).unwrap();
    let (one, two) = (open("one"), open("two"));
    let data = vec![1; 3 << 20];
    for round in 0..50 {
        two.truncate(0).unwrap();
        one.truncate(0).unwrap();
        one.write_at(0, &data).unwrap();
        let barrier = std::sync::Barrier::new(WRITERS + 1);
        std::thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| {
                    let again = open("one");
                    barrier.wait();
                    let _ = again.write_at(0, &data);
                });
            }
            barrier.wait();
            one.truncate(0).unwrap();
            let _ = two.write_at(0, &data);
        });
        let total = one.size().unwrap() + two.size().unwrap();
        assert!(total <= LIMIT, "{total} in round {round}");
    }
}

/// In a process of its own, whose limit it is.
#[test]
fn the_processs_limit_on_files_is_an_error_and_no_signal() {
    const HERE: &str = "BEAVER_FILE_LIMIT_IN";
    if let Some(directory) = std::env::var_os(HERE) {
        let directory = Path::new(&directory);
        let file = open_db(directory);
        file.write_at(0, &[1; 8192]).unwrap();
        let mut limit = getrlimit(Resource::Fsize);
        limit.current = Some(10_000);
        rustix::process::setrlimit(Resource::Fsize, limit).unwrap();
        assert_eq!(file.write_at(9_000, &[1; 1001]), Err(ErrorCode::Full));
        assert_eq!(file.write_at(1 << 40, &[1]), Err(ErrorCode::Full));
        assert_eq!(file.truncate(10_001), Err(ErrorCode::Full));
        assert_eq!(file.truncate(1 << 62), Err(ErrorCode::Full));
        assert_eq!(file.size().unwrap(), 8192);
        file.write_at(9_000, &[1; 1000]).unwrap();
        let memory = Memory::new();
        let mut file = open_db(directory);
        assert_eq!(memory.map(&mut file, 0, true), Err(ErrorCode::Full));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "storage::file::tests::the_processs_limit_on_files_is_an_error_and_no_signal",
        ])
        .env(HERE, directory.path())
        // The limit is on what it says, too, if that goes into a file.
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_handle_has_so_many_claims_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let (mut file, mut other) = (open_db(directory.path()), open_db(directory.path()));
    // Every second token, so that each is a piece.
    let most = 2 * main_db::PIECES_MAX as u64;
    for token in (0..most).step_by(2) {
        file.claim(token, 1).unwrap();
    }
    assert_eq!(file.claim(most, 1), Err(ErrorCode::Full));
    assert_eq!(other.is_claimed(most), Ok(false));
    other.claim(most, 1).unwrap();
    assert_eq!(file.claim(most - 1, 2), Err(ErrorCode::Busy));
    file.claim(1, 1).unwrap();
    file.claim(most - 1, 1).unwrap();
    drop(file);
    other.claim(0, most).unwrap();
    let all = main_db::CLAIMED_MAX;
    assert_eq!(other.claim(0, all + 1), Err(ErrorCode::Full));
    other.claim(0, all).unwrap();
    assert_eq!(other.claim(1 << 60, 1), Err(ErrorCode::Full));
}

#[test]
fn a_handle_ends_the_claims_that_it_has_and_leaves_so_many_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let (mut file, mut other) = (open_db(directory.path()), open_db(directory.path()));
    file.claim(0, 1000).unwrap();
    let most = 2 * main_db::PIECES_MAX as u64;
    for token in (1..most - 1).step_by(2) {
        file.end_claim(token).unwrap();
        assert_eq!(other.is_claimed(token), Ok(false));
        assert_eq!(other.is_claimed(token + 1), Ok(true));
    }
    assert_eq!(file.end_claim(most), Err(ErrorCode::Full));
    assert_eq!(other.is_claimed(most), Ok(true));
    // One that it has ended, and one that it never had.
    file.end_claim(1).unwrap();
    file.end_claim(5000).unwrap();
    other.claim(1, 1).unwrap();
    file.end_claim(1).unwrap();
    assert_eq!(file.is_claimed(1), Ok(true), "the other's");
    file.claim(3, 1).unwrap();
    file.end_claim(most).unwrap();
    assert_eq!(file.end_claim(u64::MAX), Err(ErrorCode::InvalidArgument));
}
