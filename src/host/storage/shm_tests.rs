//! The wal-index: attaching, mapping, growing, and giving memory back.

use super::super::mapping::REGION_BYTES;
use super::super::testing::{Attached, CREATE, Memory, attached, open_db, storage};
use super::super::{ErrorCode, FileKind, Grant, ShmLockKind, Storage, StorageLimits};
use std::fs;
use std::time::Duration;

const NOW: Duration = Duration::ZERO;
const MX_FRAME: usize = 16;

fn shm_len(directory: &tempfile::TempDir) -> u64 {
    fs::metadata(directory.path().join("db-shm")).unwrap().len()
}

#[test]
fn what_one_handle_writes_the_other_reads() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (attached(directory.path()), attached(directory.path()));
    one.memory.set(5000, 42);
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(other.memory.get(5000), 42);
    assert_eq!(fs::read(directory.path().join("db-shm")).unwrap()[5000], 42);
}

#[test]
fn memory_comes_back_zeroed_and_private() {
    let directory = tempfile::tempdir().unwrap();
    let mut one = attached(directory.path());
    let Attached { file, memory } = attached(directory.path());
    for at in [0, 5000, REGION_BYTES - 1] {
        one.memory.set(at, 7);
    }
    one.file.shm_unmap(false).unwrap();
    assert!(one.memory.is_zero());
    one.memory.set(5000, 1);
    assert_eq!(memory.get(5000), 7, "no longer the same memory");
    one.file.shm_unmap(false).unwrap();

    drop(file);
    assert!(memory.is_zero());
    assert_eq!(fs::read(directory.path().join("db-shm")).unwrap()[5000], 7);
}

#[test]
fn regions_come_in_order_and_neighbours_are_all_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let (mut file, memory) = (open_db(directory.path()), Memory::new());
    assert!(!memory.map(&mut file, 0, false).unwrap());
    assert_eq!(
        memory.map(&mut file, 1, true),
        Err(ErrorCode::InvalidArgument)
    );
    for region in 0..3 {
        assert!(memory.map(&mut file, region, true).unwrap());
        assert_eq!(
            shm_len(&directory),
            (u64::from(region) + 1) * REGION_BYTES as u64
        );
        memory.set(region as usize * REGION_BYTES, 9);
    }
    assert!(
        memory.map(&mut file, 1, false).unwrap(),
        "mapped there already"
    );
    let other = attached(directory.path());
    assert_eq!(other.memory.get(0), 9);
    file.shm_unmap(false).unwrap();
    assert!(memory.is_zero());
}

#[test]
#[allow(unsafe_code)]
fn buffers_of_the_wrong_shape_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut file, memory) = (open_db(directory.path()), Memory::new());
    let at = memory.region(0);
    let mut map = |region, at: *mut u8, len| {
        // SAFETY: the test's own memory, dropped after the file.
        unsafe { file.shm_map(region, true, at, len) }
    };
    let refused = Err(ErrorCode::InvalidArgument);
    assert_eq!(map(0, at, REGION_BYTES - 1), refused);
    assert_eq!(map(0, at, 2 * REGION_BYTES), refused);
    assert_eq!(map(0, at.wrapping_add(8), REGION_BYTES), refused);
    assert_eq!(map(0, std::ptr::null_mut(), REGION_BYTES), refused);
    assert_eq!(map(u32::MAX, at, REGION_BYTES), refused);
    assert_eq!(map(0, at, REGION_BYTES), Ok(true));
    assert_eq!(map(0, memory.region(1), REGION_BYTES), refused);
    assert_eq!(map(1, at, REGION_BYTES), refused);
    assert_eq!(map(1, at.wrapping_add(4096), REGION_BYTES), refused);
    drop(file);
}

#[test]
#[allow(unsafe_code)]
fn regions_that_lie_apart_are_all_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let (mut file, memory) = (open_db(directory.path()), Memory::new());
    for (region, buffer) in [(0, 3), (1, 0), (2, 1)] {
        // SAFETY: the test's own memory, dropped after the file.
        let mapped = unsafe { file.shm_map(region, true, memory.region(buffer), REGION_BYTES) };
        assert_eq!(mapped, Ok(true));
        memory.set(buffer * REGION_BYTES, 9);
    }
    memory.set(2 * REGION_BYTES, 1);
    file.shm_unmap(false).unwrap();
    assert_eq!(
        memory.get(2 * REGION_BYTES),
        1,
        "what lies between is left alone"
    );
    memory.set(2 * REGION_BYTES, 0);
    assert!(memory.is_zero());
}

#[test]
fn what_outlived_its_users_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("db-shm"), vec![0xee; REGION_BYTES]).unwrap();
    let (mut file, memory) = (open_db(directory.path()), Memory::new());
    assert!(!memory.map(&mut file, 0, false).unwrap());
    assert_eq!(shm_len(&directory), 3);
    assert!(memory.map(&mut file, 0, true).unwrap());
    // Not among the three bytes that the truncation leaves.
    memory.set(MX_FRAME, 5);
    // As long as one is attached, the next one believes it.
    let other = attached(directory.path());
    assert_eq!(other.memory.get(MX_FRAME), 5);
    drop(file);
    let third = attached(directory.path());
    assert_eq!(third.memory.get(MX_FRAME), 5);
    drop((other, third));
    let fourth = attached(directory.path());
    assert_eq!(fourth.memory.get(MX_FRAME), 0);
}

#[test]
fn the_last_user_may_delete_the_wal_index() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db-shm");
    let (mut one, mut other) = (attached(directory.path()), attached(directory.path()));
    one.file.shm_unmap(true).unwrap();
    assert!(path.exists(), "somebody else is attached");
    other.file.shm_unmap(true).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_host_that_cannot_map_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let grant = Grant::directory(directory.path())
        .unwrap()
        .without_shared_memory();
    let storage = Storage::new(grant, StorageLimits::default());
    assert!(!storage.capabilities().shared_memory);
    assert!(storage.capabilities().wait_change);
    let mut file = storage.open_file("db", FileKind::MainDb, CREATE).unwrap();
    let memory = Memory::new();
    assert_eq!(memory.map(&mut file, 0, true), Err(ErrorCode::Unsupported));
    assert!(!directory.path().join("db-shm").exists());
    drop(file);
}

#[test]
fn the_wal_index_is_under_the_limit_and_inside_the_grant() {
    let directory = tempfile::tempdir().unwrap();
    let limits = StorageLimits {
        max_file_bytes: REGION_BYTES as u64,
        ..Default::default()
    };
    let small = Storage::new(Grant::directory(directory.path()).unwrap(), limits);
    let mut file = small.open_file("db", FileKind::MainDb, CREATE).unwrap();
    let memory = Memory::new();
    assert!(memory.map(&mut file, 0, true).unwrap());
    assert_eq!(memory.map(&mut file, 1, true), Err(ErrorCode::Full));
    drop(file);

    std::os::unix::fs::symlink("/dev/null", directory.path().join("x-shm")).unwrap();
    let storage = storage(directory.path());
    let mut file = storage.open_file("x", FileKind::MainDb, CREATE).unwrap();
    assert_eq!(memory.map(&mut file, 0, true), Err(ErrorCode::Access));
    let mut wal = storage.open_file("y-wal", FileKind::Wal, CREATE).unwrap();
    assert_eq!(
        memory.map(&mut wal, 0, true),
        Err(ErrorCode::InvalidArgument)
    );
    drop((file, wal));
}

#[test]
fn only_what_is_held_can_be_released() {
    use ShmLockKind::{Exclusive, Shared};
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (attached(directory.path()), attached(directory.path()));
    let lock = |handle: &Attached, first, count, kind| {
        super::super::testing::block_on(handle.file.shm_lock(first, count, kind, NOW))
    };
    let invalid = Err(ErrorCode::InvalidArgument);
    assert_eq!(one.file.shm_unlock(0, 1, Exclusive), invalid);
    lock(&one, 4, 2, Exclusive).unwrap();
    assert_eq!(one.file.shm_unlock(4, 3, Exclusive), invalid);
    assert_eq!(one.file.shm_unlock(4, 1, Shared), invalid);
    assert_eq!(
        other.file.shm_unlock(4, 2, Exclusive),
        invalid,
        "it is one's"
    );
    assert_eq!(lock(&one, 4, 1, Exclusive), invalid, "held already");
    assert_eq!(lock(&one, 4, 1, Shared), invalid, "no downgrade");
    assert_eq!(lock(&one, 8, 1, Shared), invalid);
    assert_eq!(lock(&other, 5, 1, Shared), Err(ErrorCode::Busy));
    assert_eq!(lock(&other, 6, 1, Shared), Ok(()));
    assert_eq!(
        lock(&other, 6, 1, Shared),
        Ok(()),
        "shared already: nothing changes"
    );
    assert_eq!(lock(&one, 6, 1, Shared), Ok(()));
    other.file.shm_unlock(6, 1, Shared).unwrap();
    assert_eq!(other.file.shm_unlock(6, 1, Shared), invalid);
    assert_eq!(
        lock(&other, 6, 1, Exclusive),
        Err(ErrorCode::Busy),
        "one shares it"
    );
    drop(one);
    assert_eq!(lock(&other, 4, 4, Exclusive), Ok(()), "dropping releases");
    // Without a wal-index there is nothing to lock.
    let plain = open_db(directory.path());
    assert_eq!(
        super::super::testing::block_on(plain.shm_lock(0, 1, Exclusive, NOW)),
        invalid
    );
    assert_eq!(plain.shm_unlock(0, 1, Exclusive), invalid);
}

/// A file that grows while it is looked at hasn't been cut.
#[test]
fn whoever_grows_it_harms_nobody_who_wants_to_write() {
    use ShmLockKind::Exclusive;
    let directory = tempfile::tempdir().unwrap();
    for round in 0..200 {
        let name = format!("db{round}");
        let storage = storage(directory.path());
        let open = || storage.open_file(&name, FileKind::MainDb, CREATE).unwrap();
        let memories = (Memory::new(), Memory::new());
        let (mut one, mut other) = (open(), open());
        assert!(!memories.0.map(&mut one, 0, false).unwrap());
        assert!(!memories.1.map(&mut other, 0, false).unwrap());
        std::thread::scope(|scope| {
            let growing = scope.spawn(|| {
                for region in 0..4 {
                    assert_eq!(memories.0.map(&mut one, region, true), Ok(true));
                }
            });
            while !growing.is_finished() {
                assert_eq!(other.shm_try_lock(0, 1, Exclusive), Ok(()), "{round}");
                other.shm_unlock(0, 1, Exclusive).unwrap();
            }
        });
        assert!(!one.has_lost_wal_index(), "{round}");
        assert!(!other.has_lost_wal_index(), "{round}");
    }
}
