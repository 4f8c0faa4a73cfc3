//! A guest can name only what it was granted.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_host::client::{DbError, IfExists, Journal, LockOptions, OpenOptions};
use beaver_host::{Error, Grant};
use beaver_tests::{Files, System, component_host, s};
use std::path::Path;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

async fn open(grant: Grant, name: &str) -> Result<(), Error> {
    let mut instance = component_host().instantiate(grant).await?;
    let db = instance.open(name, &OpenOptions::default()).await?;
    let dict = instance.dict(&db, "d").await?;
    dict.set(&mut instance, "x", "1", None).await
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A refusal, without a word about where on the host the grant lies.
fn refused(result: Result<(), Error>, directory: &Path) {
    match result {
        Err(error @ Error::Db(DbError::AccessDenied | DbError::InvalidArgument(_))) => {
            assert!(
                !format!("{error:?}").contains(directory.to_str().unwrap()),
                "{error:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_directory_grant_ends_at_the_directory() {
    let files = Files::new(System::Component);
    let inside = files.directory().join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::create_dir(inside.join("sub")).unwrap();
    std::fs::write(files.directory().join("secret.db"), b"").unwrap();
    std::os::unix::fs::symlink("../secret.db", inside.join("link.db")).unwrap();
    std::os::unix::fs::symlink("/nowhere", inside.join("dangling.db")).unwrap();
    let absolute = files.directory().join("secret.db");
    for name in [
        "../secret.db",
        "..",
        ".",
        "sub",
        "sub/x.db",
        "./../secret.db",
        "inside/../../x",
        "link.db",
        "dangling.db",
        "app.db-wal",
        "app.db-shm",
        "app.db-journal",
        "a\0b",
        "",
        absolute.to_str().unwrap(),
        &"n".repeat(300),
        "file:../secret.db",
        "file:x.db?vfs=memdb",
    ] {
        refused(
            run(open(Grant::directory(&inside).unwrap(), name)),
            files.directory(),
        );
    }
    assert_eq!(names(files.directory()), ["inside", "secret.db"]);
    assert_eq!(names(&inside), ["dangling.db", "link.db", "sub"]);
    assert_eq!(std::fs::metadata(&absolute).unwrap().len(), 0);
    run(open(Grant::directory(&inside).unwrap(), "app.db")).unwrap();
    assert!(names(&inside).contains(&"app.db".to_owned()));
}

#[test]
fn a_file_grant_is_that_file_alone() {
    let files = Files::new(System::Component);
    let grant = || Grant::file(files.database()).unwrap();
    for name in ["other.db", "app.db2", "app", "../app.db"] {
        refused(run(open(grant(), name)), files.directory());
    }
    run(open(grant(), "app.db")).unwrap();
    let left = names(files.directory());
    assert!(
        left.iter().all(|name| name.starts_with("app.db")),
        "{left:?}"
    );
}

#[test]
fn a_read_only_grant_never_writes() {
    let files = Files::new(System::Component);
    let rollback = OpenOptions {
        journal: Some(Journal::Rollback),
        ..OpenOptions::default()
    };
    run(async {
        let mut writer = component_host()
            .instantiate(Grant::directory(files.directory()).unwrap())
            .await
            .unwrap();
        let db = writer.open("app.db", &rollback).await.unwrap();
        let dict = writer.dict(&db, "d").await.unwrap();
        dict.set(&mut writer, "x", "1", None).await.unwrap();
        writer.close().await.unwrap();
        let before = std::fs::read(files.database()).unwrap();

        let grant = Grant::directory(files.directory()).unwrap().read_only();
        let mut reader = component_host().instantiate(grant).await.unwrap();
        let db = reader
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        let dict = reader.dict(&db, "d").await.unwrap();
        assert_eq!(
            dict.get(&mut reader, "x").await.unwrap().as_deref(),
            Some("1")
        );
        let error = dict.set(&mut reader, "x", "2", None).await.unwrap_err();
        assert!(matches!(error, Error::Db(DbError::ReadOnly)), "{error:?}");
        let error = reader
            .open("new.db", &OpenOptions::default())
            .await
            .map(drop)
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::Db(DbError::ReadOnly | DbError::NotFound | DbError::AccessDenied)
            ),
            "{error:?}"
        );
        drop(reader);
        assert_eq!(std::fs::read(files.database()).unwrap(), before);
        assert_eq!(names(files.directory()), ["app.db"]);
    });
}

#[test]
fn a_host_that_cannot_map_gets_a_rollback_journal() {
    let files = Files::new(System::Component);
    let grant = || Grant::directory(files.directory()).unwrap();
    run(async {
        let mut instance = component_host()
            .instantiate(grant().without_shared_memory())
            .await
            .unwrap();
        let db = instance
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        assert_eq!(db.journal(&mut instance).await.unwrap(), Journal::Rollback);
        let dict = instance.dict(&db, "d").await.unwrap();
        dict.set(&mut instance, "x", "1", None).await.unwrap();
        let wal = OpenOptions {
            journal: Some(Journal::Wal),
            ..OpenOptions::default()
        };
        let error = instance.open("app.db", &wal).await.map(drop).unwrap_err();
        assert!(
            matches!(error, Error::Db(DbError::WalUnsupported)),
            "{error:?}"
        );
        instance.close().await.unwrap();
    });
    run(open(grant(), "app.db")).unwrap();
    // Keep it in WAL mode by having it open.
    run(async {
        let mut user = component_host().instantiate(grant()).await.unwrap();
        let db = user.open("app.db", &OpenOptions::default()).await.unwrap();
        assert_eq!(db.journal(&mut user).await.unwrap(), Journal::Wal);
        let error = open(grant().without_shared_memory(), "app.db")
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Db(DbError::WalUnsupported)),
            "{error:?}"
        );
    });
}

#[test]
fn a_backup_goes_where_the_grant_allows() {
    let files = Files::new(System::Component);
    let rollback = OpenOptions {
        journal: Some(Journal::Rollback),
        ..OpenOptions::default()
    };
    let back_up = async |grant: Grant, name: &str| {
        let mut instance = component_host().instantiate(grant).await?;
        let db = instance.open("app.db", &rollback).await?;
        db.backup(&mut instance, name, IfExists::Replace).await
    };
    let directory = || Grant::directory(files.directory()).unwrap();
    run(async {
        back_up(directory(), "copy.db").await.unwrap();
        let before = names(files.directory());
        for name in ["../x.db", "sub/x.db", "/tmp/x.db", "file:x.db"] {
            refused(
                back_up(directory(), name).await.map(drop),
                files.directory(),
            );
        }
        let only = Grant::file(files.database()).unwrap();
        let error = back_up(only, "other.db").await.unwrap_err();
        assert!(
            matches!(error, Error::Db(DbError::AccessDenied)),
            "{error:?}"
        );
        for name in ["other.db", "copy.db"] {
            let error = back_up(directory().read_only(), name).await.unwrap_err();
            assert!(matches!(error, Error::Db(DbError::ReadOnly)), "{error:?}");
        }
        assert_eq!(names(files.directory()), before);
    });
}

/// One of the two is woken by the host, the other looks by itself, both ways round.
#[test]
fn where_nobody_is_woken_waiting_works_by_looking() {
    let files = Files::new(System::Component);
    let grant = || Grant::directory(files.directory()).unwrap();
    for grants in [
        [grant().without_waking(), grant().without_waking()],
        [grant().without_waking(), grant()],
        [grant(), grant().without_waking()],
    ] {
        run(async {
            let [waits, acts] = grants;
            let mut waits = component_host().instantiate(waits).await.unwrap();
            let mut acts = component_host().instantiate(acts).await.unwrap();
            let options = OpenOptions::default();
            let (theirs, ours) = (
                waits.open("app.db", &options).await.unwrap(),
                acts.open("app.db", &options).await.unwrap(),
            );
            let lock = acts.lock(&ours, "l").await.unwrap();
            lock.acquire(&mut acts, LockOptions::default())
                .await
                .unwrap();
            let local = tokio::task::LocalSet::new();
            local
                .run_until(async move {
                    let waiter = tokio::task::spawn_local(async move {
                        let lock = waits.lock(&theirs, "l").await.unwrap();
                        let options = LockOptions {
                            timeout: Some(s(60)),
                            ttl: None,
                        };
                        lock.acquire(&mut waits, options).await.unwrap();
                        let queue = waits.queue(&theirs, "q").await.unwrap();
                        queue.get(&mut waits, Some(s(60))).await.unwrap().data
                    });
                    tokio::task::yield_now().await;
                    lock.release(&mut acts).await.unwrap();
                    tokio::task::yield_now().await;
                    let queue = acts.queue(&ours, "q").await.unwrap();
                    queue.put(&mut acts, "7", 0.0).await.unwrap();
                    assert_eq!(waiter.await.unwrap(), "7");
                })
                .await;
        });
    }
}
