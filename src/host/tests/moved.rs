//! A database that is deleted, moved away or replaced while instances have it open.
//!
//! Bugs these guard against: commits that are acknowledged into a file which nobody finds, an
//! instance that deletes the log of the database that took its own's place, two databases that
//! share a wal-index.

#![allow(clippy::unwrap_used)] // helpers of tests are tests to a reader, not to clippy

mod support;

use beaver_host::client::{DbError, Journal, OpenOptions, Outcome};
use beaver_host::{Error, Host};
use std::fs;
use std::path::Path;
use std::time::Duration;
use support::{Native, Worker, is_sound};

fn host() -> Host {
    Host::builder().max_instances(4).build().unwrap()
}

async fn open(host: &Host, directory: &Path, options: &OpenOptions) -> Result<Worker, Error> {
    Worker::open(host, directory, "a.db", options).await
}

fn options(journal: Journal) -> OpenOptions {
    OpenOptions {
        journal: Some(journal),
        busy_timeout: Some(Duration::from_millis(1)),
        ..OpenOptions::default()
    }
}

fn not_applied(result: Result<(), Error>) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Db(DbError::Failed(_))), "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error:?}");
    assert!(!format!("{error} {error:?}").contains("a.db"), "{error:?}");
}

#[tokio::test]
async fn what_is_written_to_a_deleted_database_is_refused_and_a_new_one_takes_its_place() {
    let host = host();
    for journal in [Journal::Wal, Journal::Rollback] {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("a.db");
        let options = options(journal);
        let mut old = open(&host, directory.path(), &options).await.unwrap();
        old.set("k", 1).await.unwrap();
        fs::remove_file(&database).unwrap();
        not_applied(old.set("k", 2).await);
        not_applied(old.set("k", 2).await);
        assert_eq!(old.get("k").await.unwrap(), Some(1), "still readable");
        if journal == Journal::Wal {
            // They would share a wal-index.
            not_applied(open(&host, directory.path(), &options).await.map(drop));
        }
        old.instance.close().await.unwrap();
        let mut new = open(&host, directory.path(), &options).await.unwrap();
        assert_eq!(new.get("k").await.unwrap(), None);
        new.set("k", 3).await.unwrap();
        new.instance.close().await.unwrap();
        is_sound(&database);
    }
}

#[tokio::test]
async fn a_database_that_comes_back_is_written_again() {
    let host = host();
    for journal in [Journal::Wal, Journal::Rollback] {
        let directory = tempfile::tempdir().unwrap();
        let (database, aside) = (
            directory.path().join("a.db"),
            directory.path().join("aside"),
        );
        let mut worker = open(&host, directory.path(), &options(journal))
            .await
            .unwrap();
        worker.set("k", 1).await.unwrap();
        fs::rename(&database, &aside).unwrap();
        not_applied(worker.set("k", 2).await);
        fs::rename(&aside, &database).unwrap();
        worker.set("k", 3).await.unwrap();
        assert_eq!(worker.get("k").await.unwrap(), Some(3));
        worker.instance.close().await.unwrap();
        is_sound(&database);
    }
}

#[tokio::test]
async fn whoever_has_the_one_before_leaves_the_new_one_alone() {
    let host = host();
    for journal in [Journal::Wal, Journal::Rollback] {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut old = open(&host, directory.path(), &options(journal))
            .await
            .unwrap();
        old.set("k", 1).await.unwrap();
        for name in ["a.db", "a.db-wal", "a.db-shm"] {
            let _ = fs::remove_file(path(name));
        }
        let mut native = Native::open(&path("a.db"));
        native.sql("PRAGMA journal_mode = wal");
        native.sql("CREATE TABLE t(x)");
        native.sql("INSERT INTO t VALUES (1)");
        not_applied(old.set("k", 2).await);
        old.instance.close().await.unwrap();
        assert!(path("a.db-wal").exists());
        native.sql("INSERT INTO t VALUES (2)");
        let mut other = Native::open(&path("a.db"));
        assert_eq!(other.sql("SELECT x FROM t"), "[(1,), (2,)]");
        assert_eq!(other.sql("PRAGMA integrity_check"), "[('ok',)]");
    }
}

#[tokio::test]
async fn a_log_that_is_deleted_takes_no_more_commits() {
    let host = host();
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("a.db");
    let mut old = open(&host, directory.path(), &options(Journal::Wal))
        .await
        .unwrap();
    old.set("k", 1).await.unwrap();
    fs::remove_file(directory.path().join("a.db-wal")).unwrap();
    // SQLite finds it out in the middle of its commit, and core doesn't guess.
    let error = old.set("k", 2).await.unwrap_err();
    assert!(matches!(error, Error::Db(DbError::Failed(_))), "{error:?}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(old.get("k").await.unwrap(), Some(1));
    // What it held goes into the database when its last user leaves.
    old.instance.close().await.unwrap();
    let mut new = open(&host, directory.path(), &options(Journal::Wal))
        .await
        .unwrap();
    assert_eq!(new.get("k").await.unwrap(), Some(1));
    new.set("k", 3).await.unwrap();
    new.instance.close().await.unwrap();
    is_sound(&database);
}

#[tokio::test]
async fn a_wal_index_that_is_deleted_lets_nobody_write_until_it_is_made_anew() {
    let host = host();
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("a.db");
    let mut old = open(&host, directory.path(), &options(Journal::Wal))
        .await
        .unwrap();
    old.set("k", 1).await.unwrap();
    fs::remove_file(directory.path().join("a.db-shm")).unwrap();
    not_applied(old.set("k", 2).await);
    drop(old);
    let mut new = open(&host, directory.path(), &options(Journal::Wal))
        .await
        .unwrap();
    assert_eq!(new.get("k").await.unwrap(), Some(1));
    new.set("k", 3).await.unwrap();
    new.instance.close().await.unwrap();
    is_sound(&database);
}
