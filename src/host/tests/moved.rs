//! A database that is deleted, moved away or replaced while instances have it open.
//!
//! Bugs these guard against: commits that are acknowledged into a file which nobody finds, an
//! instance that deletes the log of the database that took its own's place, two databases that
//! share a wal-index.

#![allow(clippy::unwrap_used)] // helpers of tests are tests to a reader, not to clippy

use beaver_host::client::{Database, DbError, Dict, Journal, OpenOptions, Outcome};
use beaver_host::{Error, Grant, Host, Instance};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

fn host() -> Host {
    Host::builder().max_instances(4).build().unwrap()
}

struct Worker {
    instance: Instance,
    _database: Database,
    dict: Dict,
}

async fn open(host: &Host, directory: &Path, options: &OpenOptions) -> Result<Worker, Error> {
    let grant = Grant::directory(directory).unwrap();
    let mut instance = host.instantiate(grant).await?;
    let database = instance.open("a.db", options).await?;
    let dict = instance.dict(&database, "d").await?;
    Ok(Worker {
        instance,
        _database: database,
        dict,
    })
}

impl Worker {
    async fn set(&mut self, value: &str) -> Result<(), Error> {
        self.dict.set(&mut self.instance, "k", value, None).await
    }

    async fn get(&mut self) -> Option<String> {
        self.dict.get(&mut self.instance, "k").await.unwrap()
    }
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

/// Native SQLite in a process of its own, which keeps the database open.
struct Native {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Native {
    fn open(database: &Path) -> Self {
        let script = "import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
for line in sys.stdin:
    print(c.execute(line.strip()).fetchall(), flush=True)";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            stdin,
            stdout,
        }
    }

    fn sql(&mut self, sql: &str) -> String {
        writeln!(self.stdin, "{sql}").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_sound(database: &Path) {
    let found = Native::open(database).sql("PRAGMA integrity_check");
    assert_eq!(found, "[('ok',)]");
}

#[tokio::test]
async fn what_is_written_to_a_deleted_database_is_refused_and_a_new_one_takes_its_place() {
    let host = host();
    for journal in [Journal::Wal, Journal::Rollback] {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("a.db");
        let options = options(journal);
        let mut old = open(&host, directory.path(), &options).await.unwrap();
        old.set("1").await.unwrap();
        fs::remove_file(&database).unwrap();
        not_applied(old.set("2").await);
        not_applied(old.set("2").await);
        assert_eq!(old.get().await.as_deref(), Some("1"), "still readable");
        if journal == Journal::Wal {
            // They would share a wal-index.
            not_applied(open(&host, directory.path(), &options).await.map(drop));
        }
        old.instance.close().await.unwrap();
        let mut new = open(&host, directory.path(), &options).await.unwrap();
        assert_eq!(new.get().await, None);
        new.set("3").await.unwrap();
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
        worker.set("1").await.unwrap();
        fs::rename(&database, &aside).unwrap();
        not_applied(worker.set("2").await);
        fs::rename(&aside, &database).unwrap();
        worker.set("3").await.unwrap();
        assert_eq!(worker.get().await.as_deref(), Some("3"));
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
        old.set("1").await.unwrap();
        for name in ["a.db", "a.db-wal", "a.db-shm"] {
            let _ = fs::remove_file(path(name));
        }
        let mut native = Native::open(&path("a.db"));
        native.sql("PRAGMA journal_mode = wal");
        native.sql("CREATE TABLE t(x)");
        native.sql("INSERT INTO t VALUES (1)");
        not_applied(old.set("2").await);
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
    old.set("1").await.unwrap();
    fs::remove_file(directory.path().join("a.db-wal")).unwrap();
    // SQLite finds it out in the middle of its commit, and core doesn't guess.
    let error = old.set("2").await.unwrap_err();
    assert!(matches!(error, Error::Db(DbError::Failed(_))), "{error:?}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(old.get().await.as_deref(), Some("1"));
    // What it held goes into the database when its last user leaves.
    old.instance.close().await.unwrap();
    let mut new = open(&host, directory.path(), &options(Journal::Wal))
        .await
        .unwrap();
    assert_eq!(new.get().await.as_deref(), Some("1"));
    new.set("3").await.unwrap();
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
    old.set("1").await.unwrap();
    fs::remove_file(directory.path().join("a.db-shm")).unwrap();
    not_applied(old.set("2").await);
    drop(old);
    let mut new = open(&host, directory.path(), &options(Journal::Wal))
        .await
        .unwrap();
    assert_eq!(new.get().await.as_deref(), Some("1"));
    new.set("3").await.unwrap();
    new.instance.close().await.unwrap();
    is_sound(&database);
}
