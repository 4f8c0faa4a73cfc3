//! What a guest can't reach, however it asks.

use super::super::testing::{CREATE, storage};
use super::super::{ErrorCode, FileKind, Grant, OpenFlags, Storage, StorageLimits};
use rustix::fs::{CWD, FileType, Mode};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

const EXISTING: OpenFlags = OpenFlags {
    create: false,
    exclusive: false,
    read_only: false,
    delete_on_close: false,
};
const READ_ONLY: OpenFlags = OpenFlags {
    read_only: true,
    ..EXISTING
};

fn open(storage: &Storage, name: &str) -> Result<(), ErrorCode> {
    storage
        .open_file(name, FileKind::MainDb, CREATE)
        .map(|_| ())
}

#[test]
fn names_are_one_plain_component() {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("inside");
    fs::create_dir(&inside).unwrap();
    fs::write(directory.path().join("secret"), "x").unwrap();
    let storage = storage(&inside);
    let long = "n".repeat(256);
    for name in [
        "",
        ".",
        "..",
        "../secret",
        "/etc/passwd",
        "a/b",
        "a\0b",
        "./a",
        &long,
    ] {
        assert_eq!(open(&storage, name), Err(ErrorCode::Access), "{name:?}");
        assert_eq!(
            storage.delete_file(name, false),
            Err(ErrorCode::Access),
            "{name:?}"
        );
        assert_eq!(
            storage.file_exists(name),
            Err(ErrorCode::Access),
            "{name:?}"
        );
    }
    open(&storage, &"n".repeat(255)).unwrap();
    open(&storage, "..data").unwrap();
    assert!(directory.path().join("secret").exists());
}

#[test]
fn only_regular_files_are_opened_and_a_fifo_does_not_hang() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("target"), "x").unwrap();
    symlink(path("target"), path("link")).unwrap();
    symlink(path("nowhere"), path("dangling")).unwrap();
    symlink("/dev/null", path("device")).unwrap();
    fs::create_dir(path("directory")).unwrap();
    rustix::fs::mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    let storage = storage(directory.path());
    for name in ["link", "dangling", "device", "directory", "fifo", "socket"] {
        for flags in [CREATE, EXISTING, READ_ONLY] {
            let opened = storage.open_file(name, FileKind::MainDb, flags).map(|_| ());
            assert_eq!(opened, Err(ErrorCode::Access), "{name} {flags:?}");
        }
        assert_eq!(
            storage.delete_file(name, false),
            Err(ErrorCode::Access),
            "{name}"
        );
        assert_eq!(storage.file_exists(name), Err(ErrorCode::Access), "{name}");
    }
    assert!(!path("nowhere").exists());
    assert_eq!(fs::read(path("target")).unwrap(), b"x");
}

#[test]
fn a_file_with_a_second_name_is_refused_unless_the_embedder_allows_it() {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("inside");
    fs::create_dir(&inside).unwrap();
    let secret = directory.path().join("secret");
    let grant = Grant::directory(&inside).unwrap();
    let of = |grant: &Grant| Storage::new(grant.clone(), StorageLimits::default());
    let names = [
        ("db", FileKind::MainDb),
        ("db-journal", FileKind::MainJournal),
        ("db-wal", FileKind::Wal),
    ];
    // Empty ones too: as root, the host would give them to the database's owner.
    for content in ["x", ""] {
        for (name, kind) in names {
            fs::write(&secret, content).unwrap();
            fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
            fs::hard_link(&secret, inside.join(name)).unwrap();
            for flags in [CREATE, EXISTING, READ_ONLY] {
                let opened = of(&grant).open_file(name, kind, flags).map(|_| ());
                assert_eq!(opened, Err(ErrorCode::Access), "{name} {flags:?}");
                let read_only = of(&grant.clone().read_only());
                let opened = read_only.open_file(name, kind, flags).map(|_| ());
                assert_eq!(opened, Err(ErrorCode::Access), "{name} {flags:?}");
            }
            assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o777, 0o600);
            let allowed = of(&grant.clone().allow_hard_links());
            allowed.open_file(name, kind, EXISTING).unwrap();
            fs::remove_file(inside.join(name)).unwrap();
        }
    }
    // The wal-index, which a guest can't open by name.
    fs::hard_link(&secret, inside.join("db-shm")).unwrap();
    let storage = of(&grant);
    let mut file = storage.open_file("db", FileKind::MainDb, CREATE).unwrap();
    let memory = super::super::testing::Memory::new();
    assert_eq!(memory.map(&mut file, 0, true), Err(ErrorCode::Access));
    fs::remove_file(inside.join("db-shm")).unwrap();
    assert!(memory.map(&mut file, 0, true).unwrap());
    drop(file);
}

#[test]
fn kinds_and_suffixes_belong_together() {
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    for (name, kind) in [
        ("db-journal", FileKind::MainDb),
        ("db-wal", FileKind::MainDb),
        ("db-shm", FileKind::MainDb),
        ("db", FileKind::MainJournal),
        ("db-wal", FileKind::MainJournal),
        ("-journal", FileKind::MainJournal),
        ("db", FileKind::Wal),
        ("db-shm", FileKind::Wal),
        ("-wal", FileKind::Wal),
    ] {
        let opened = storage.open_file(name, kind, CREATE).map(|_| ());
        assert_eq!(opened, Err(ErrorCode::Access), "{name} {kind:?}");
    }
    storage
        .open_file("db-journal", FileKind::MainJournal, CREATE)
        .unwrap();
    storage.open_file("db-wal", FileKind::Wal, CREATE).unwrap();
    fs::write(directory.path().join("db-shm"), "x").unwrap();
    assert_eq!(storage.delete_file("db-shm", false), Err(ErrorCode::Access));
    storage.delete_file("db-wal", true).unwrap();
    assert_eq!(
        storage.delete_file("db-wal", true),
        Err(ErrorCode::NotFound)
    );
}

#[test]
fn a_file_grant_is_one_database() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["app.db", "app.db2", "other.db", "app.db-journal2"] {
        fs::write(directory.path().join(name), "x").unwrap();
    }
    let grant = Grant::file(directory.path().join("app.db")).unwrap();
    let storage = Storage::new(grant, StorageLimits::default());
    for name in ["app.db2", "other.db", "app.db-journal2", "app.d", "new.db"] {
        assert_eq!(open(&storage, name), Err(ErrorCode::Access), "{name}");
        assert_eq!(storage.file_exists(name), Err(ErrorCode::Access), "{name}");
        assert_eq!(
            storage.delete_file(name, false),
            Err(ErrorCode::Access),
            "{name}"
        );
    }
    open(&storage, "app.db").unwrap();
    storage
        .open_file("app.db-wal", FileKind::Wal, CREATE)
        .unwrap();
    storage
        .open_file("app.db-journal", FileKind::MainJournal, CREATE)
        .unwrap();
    for bad in ["/", "..", "x/..", "db-wal", "db-shm"] {
        assert!(Grant::file(bad).is_err(), "{bad}");
    }
    assert!(Grant::directory(directory.path().join("app.db")).is_err());
    assert!(Grant::directory(directory.path().join("missing")).is_err());
}

#[test]
fn a_read_only_grant_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("db"), "content").unwrap();
    let grant = Grant::directory(directory.path()).unwrap().read_only();
    let storage = Storage::new(grant, StorageLimits::default());
    assert!(!storage.capabilities().shared_memory);
    let file = storage.open_file("db", FileKind::MainDb, CREATE).unwrap();
    assert!(file.is_read_only());
    assert_eq!(file.read_vec(0, 100).unwrap(), b"content");
    assert_eq!(file.write_at(0, b"X"), Err(ErrorCode::ReadOnly));
    assert_eq!(file.truncate(0), Err(ErrorCode::ReadOnly));
    assert_eq!(open(&storage, "new"), Err(ErrorCode::ReadOnly));
    let exclusive = OpenFlags {
        exclusive: true,
        ..CREATE
    };
    let opened = storage
        .open_file("db", FileKind::MainDb, exclusive)
        .map(|_| ());
    assert_eq!(opened, Err(ErrorCode::Exists));
    let delete = OpenFlags {
        delete_on_close: true,
        ..EXISTING
    };
    let opened = storage
        .open_file("db", FileKind::MainDb, delete)
        .map(|_| ());
    assert_eq!(opened, Err(ErrorCode::ReadOnly));
    assert_eq!(storage.delete_file("db", false), Err(ErrorCode::ReadOnly));
    drop(file);
    assert_eq!(fs::read(directory.path().join("db")).unwrap(), b"content");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn what_lies_beside_a_database_may_be_used_by_the_same_people() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("db"), "x").unwrap();
    fs::set_permissions(path("db"), fs::Permissions::from_mode(0o666)).unwrap();
    let storage = storage(directory.path());
    storage.open_file("db-wal", FileKind::Wal, CREATE).unwrap();
    assert_eq!(
        fs::metadata(path("db-wal")).unwrap().mode() & 0o777,
        0o666,
        "despite the umask"
    );
    let mut file = storage.open_file("db", FileKind::MainDb, CREATE).unwrap();
    let memory = super::super::testing::Memory::new();
    memory.map(&mut file, 0, true).unwrap();
    assert_eq!(fs::metadata(path("db-shm")).unwrap().mode() & 0o777, 0o666);
    drop(file);
}

#[test]
fn all_files_of_a_grant_together_stay_within_its_limit() {
    const LIMIT: u64 = 100 << 10;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let stored = || -> u64 {
        let entries = fs::read_dir(directory.path()).unwrap();
        let sizes = entries.map(|entry| entry.unwrap().metadata().unwrap().len());
        sizes.sum()
    };
    fs::write(path("theirs"), vec![0; 20 << 10]).unwrap();
    let grant = Grant::directory(directory.path())
        .unwrap()
        .max_total_bytes(LIMIT);
    // Two instances, whose limit is one.
    let storages = [(); 2].map(|()| Storage::new(grant.clone(), StorageLimits::default()));
    let file = |at: usize, name: &str| storages[at].open_file(name, FileKind::MainDb, CREATE);
    let (one, other) = (file(0, "one").unwrap(), file(1, "other").unwrap());
    one.write_at(0, &[1; 30 << 10]).unwrap();
    other.write_at(0, &[1; 30 << 10]).unwrap();
    assert_eq!(one.write_at(30 << 10, &[1; 30 << 10]), Err(ErrorCode::Full));
    assert_eq!(other.truncate(60 << 10), Err(ErrorCode::Full));
    // What is there may be changed, and cut.
    one.write_at(0, &[2; 30 << 10]).unwrap();
    other.truncate(10 << 10).unwrap();
    one.write_at(30 << 10, &[1; 20 << 10]).unwrap();
    assert!(stored() <= LIMIT, "{}", stored());
    // Neither a hole nor a wal-index gets round it.
    assert_eq!(one.write_at(1 << 40, b"x"), Err(ErrorCode::Full));
    let memory = super::super::testing::Memory::new();
    let mut third = file(0, "third").unwrap();
    assert_eq!(memory.map(&mut third, 0, true), Err(ErrorCode::Full));
    // Nor any number of empty files.
    let made = (0..100)
        .take_while(|n| file(0, &format!("empty{n}")).is_ok())
        .count();
    assert!(made < 25, "{made}");
    storages[0]
        .open_file("one", FileKind::MainDb, CREATE)
        .unwrap();
    drop(third);
}

#[test]
fn a_file_grants_limit_is_for_that_database_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("other.db"), vec![0; 1 << 20]).unwrap();
    let grant = Grant::file(directory.path().join("app.db")).unwrap();
    let storage = Storage::new(grant.max_total_bytes(64 << 10), StorageLimits::default());
    let file = storage
        .open_file("app.db", FileKind::MainDb, CREATE)
        .unwrap();
    let wal = storage
        .open_file("app.db-wal", FileKind::Wal, CREATE)
        .unwrap();
    file.write_at(0, &[1; 30 << 10]).unwrap();
    wal.write_at(0, &[1; 30 << 10]).unwrap();
    assert_eq!(wal.write_at(30 << 10, &[1; 10 << 10]), Err(ErrorCode::Full));
}

#[test]
fn what_was_deleted_counts_until_nobody_has_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let grant = Grant::directory(dir.path())
        .unwrap()
        .max_total_bytes(64 << 10);
    let storage = Storage::new(grant, StorageLimits::default());
    let how = OpenFlags {
        create: true,
        ..OpenFlags::default()
    };
    let open = |name| storage.open_file(name, FileKind::MainDb, how);
    let first = open("a.db").unwrap();
    first.write_at(0, &[1; 40 << 10]).unwrap();
    storage.delete_file("a.db", false).unwrap();
    let second = open("b.db").unwrap();
    assert_eq!(second.write_at(0, &[1; 40 << 10]), Err(ErrorCode::Full));
    assert_eq!(
        first.write_at(40 << 10, &[1; 40 << 10]),
        Err(ErrorCode::Full)
    );
    drop(first);
    second.write_at(0, &[1; 40 << 10]).unwrap();
}

#[test]
fn what_lies_beside_a_database_takes_its_permissions_but_no_links_and_none_to_run() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let outside = tempfile::tempdir().unwrap();
    let program = outside.path().join("program");
    for (file, mode) in [(&program, 0o777), (&path("a"), 0o777), (&path("b"), 0o640)] {
        fs::write(file, "").unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink(&program, path("link")).unwrap();
    let storage = storage(directory.path());
    for (name, mode) in [("a", 0o666), ("b", 0o640), ("link", 0o644)] {
        let journal = format!("{name}-journal");
        let opened = storage.open_file(&journal, FileKind::MainJournal, CREATE);
        opened.unwrap();
        let found = fs::metadata(path(&journal)).unwrap().permissions().mode();
        // A new file's mode is less what the umask takes.
        let is_right = match name {
            "link" => found & 0o777 & !mode == 0,
            _ => found & 0o777 == mode,
        };
        assert!(is_right, "{name}: {found:o}");
    }
}
