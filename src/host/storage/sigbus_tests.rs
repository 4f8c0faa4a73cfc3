//! A wal-index that is cut under those who use it.
//!
//! Bugs these guard against: a process that dies of it, a guest that goes on with half of an
//! index, one that is told of a loss that isn't its own, a signal of somebody else's that is
//! swallowed.

use super::super::mapping::REGION_BYTES;
use super::super::testing::{Attached, Memory, Native, attached, open_db};
use super::super::{ErrorCode, OpenFile};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

fn cut(directory: &Path, bytes: u64) {
    let shm = File::options().write(true).open(directory.join("db-shm"));
    shm.unwrap().set_len(bytes).unwrap();
}

fn shm_bytes(directory: &Path) -> Vec<u8> {
    std::fs::read(directory.join("db-shm")).unwrap()
}

#[test]
fn an_access_finds_zeros_and_only_those_concerned_are_told() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut one = attached(directory.path());
    let bystander = attached(other.path());
    bystander.memory.set(100, 9);
    assert!(one.memory.map(&mut one.file, 1, true).unwrap());
    one.memory.set(100, 7);
    one.memory.set(REGION_BYTES + 100, 8);
    // The second region alone: the first is still there.
    cut(directory.path(), REGION_BYTES as u64);
    assert!(!one.file.has_lost_wal_index(), "nobody has looked");
    assert_eq!(one.memory.get(REGION_BYTES + 100), 0);
    assert!(one.file.has_lost_wal_index());
    // Half an index is none: what is written now stays here.
    assert_eq!(one.memory.get(100), 0);
    one.memory.set(100, 1);
    one.memory.set(REGION_BYTES + 100, 1);
    assert_eq!(shm_bytes(directory.path())[100], 7);
    assert_eq!(bystander.memory.get(100), 9);
    assert!(!bystander.file.has_lost_wal_index());
    // Unmapped, it is as any other.
    one.file.shm_unmap(false).unwrap();
    assert!(one.memory.is_zero());
    assert!(!one.file.has_lost_wal_index());
    assert!(one.memory.map(&mut one.file, 0, true).unwrap());
}

#[test]
fn all_who_were_attached_are_told_and_newcomers_begin_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (attached(directory.path()), attached(directory.path()));
    cut(directory.path(), 0);
    one.memory.set(100, 7);
    assert!(one.file.has_lost_wal_index());
    assert!(other.file.has_lost_wal_index(), "though it touched nothing");
    let next = attached(directory.path());
    assert!(!next.file.has_lost_wal_index());
    next.memory.set(100, 5);
    assert_eq!(shm_bytes(directory.path())[100], 5);
    assert_eq!(one.memory.get(100), 7, "private");
    drop((one, other));
    assert!(!next.file.has_lost_wal_index());
    assert_eq!(next.memory.get(100), 5);
}

#[test]
fn whoever_attaches_after_a_cut_finds_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut idle = attached(directory.path());
    cut(directory.path(), 3);
    // It extends the file again: `idle` would find zeros without any signal.
    let next = attached(directory.path());
    assert!(idle.file.has_lost_wal_index());
    assert!(!next.file.has_lost_wal_index());
    assert_eq!(idle.memory.map(&mut idle.file, 1, true), Err(ErrorCode::Io));
}

#[test]
fn growing_an_index_that_was_cut_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut one = attached(directory.path());
    cut(directory.path(), 100);
    assert_eq!(one.memory.map(&mut one.file, 1, true), Err(ErrorCode::Io));
    assert!(one.file.has_lost_wal_index());
}

#[test]
fn native_sqlite_recovers_what_was_lost_here() {
    let directory = tempfile::tempdir().unwrap();
    let mut native = Native::open(directory.path());
    native.sql("PRAGMA journal_mode = wal");
    native.sql("CREATE TABLE t(x)");
    native.sql("INSERT INTO t VALUES (1)");
    native.kill();
    let Attached { file, memory } = attached(directory.path());
    cut(directory.path(), 0);
    assert_eq!(memory.get(0), 0);
    drop(file);
    let mut next = Native::open(directory.path());
    assert_eq!(next.sql("SELECT x FROM t"), "[(1,)]");
    assert_eq!(next.sql("PRAGMA integrity_check"), "[('ok',)]");
}

/// Many threads at once, each with its own database: entries come and go while the handler
/// walks over them.
#[test]
fn others_map_and_unmap_meanwhile() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let directory = tempfile::tempdir().unwrap();
                let (mut file, memory): (OpenFile, Memory) =
                    (open_db(directory.path()), Memory::new());
                for round in 0..50 {
                    for region in 0..3 {
                        assert!(memory.map(&mut file, region, true).unwrap());
                        memory.set(region as usize * REGION_BYTES, 1);
                    }
                    let is_cut = round % 2 == 0;
                    if is_cut {
                        cut(directory.path(), 0);
                    }
                    let found = memory.get(2 * REGION_BYTES);
                    assert_eq!(found, u8::from(!is_cut));
                    assert_eq!(file.has_lost_wal_index(), is_cut);
                    file.shm_unmap(false).unwrap();
                    assert!(memory.is_zero());
                }
            });
        }
    });
}

/// Runs `name` of this file again, in a process of its own. It can't put its files away.
fn in_a_child(name: &str) -> ExitStatus {
    let directory = tempfile::tempdir().unwrap();
    let test = format!("{}::{name}", module_path!().split_once("::").unwrap().1);
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(CHILD, "1")
        .env("TMPDIR", directory.path())
        .status()
        .unwrap()
}

const CHILD: &str = "BEAVER_SIGBUS_CHILD";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
#[allow(unsafe_code)]
fn a_fault_of_somebody_elses_mapping_is_fatal_as_ever() {
    if !is_child() {
        let status = in_a_child("a_fault_of_somebody_elses_mapping_is_fatal_as_ever");
        assert_eq!(status.signal(), Some(libc::SIGBUS), "{status:?}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let ours = attached(directory.path());
    let file = tempfile::tempfile().unwrap();
    // SAFETY: a fresh mapping of an empty file; that reading it is fatal is the test.
    unsafe {
        let at = rustix::mm::mmap(
            std::ptr::null_mut(),
            4096,
            rustix::mm::ProtFlags::READ,
            rustix::mm::MapFlags::SHARED,
            &file,
            0,
        );
        std::ptr::read_volatile(at.unwrap().cast::<u8>());
    }
    drop(ours);
}

#[test]
#[allow(unsafe_code)]
fn a_signal_that_was_sent_is_fatal_as_ever() {
    if !is_child() {
        let status = in_a_child("a_signal_that_was_sent_is_fatal_as_ever");
        assert_eq!(status.signal(), Some(libc::SIGBUS), "{status:?}");
        return;
    }
    // Otherwise std's handler, which looks for overflows of the stack, has it.
    // SAFETY: the default, set before there is any other.
    unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
    let directory = tempfile::tempdir().unwrap();
    let ours = attached(directory.path());
    // SAFETY: no memory is involved.
    unsafe { libc::raise(libc::SIGBUS) };
    drop(ours);
}
