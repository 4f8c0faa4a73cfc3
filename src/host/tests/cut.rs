//! A `-shm` file that another process makes shorter while instances use it.
//!
//! Bugs these guard against: a host that dies of it, a result that was computed from a wal-index
//! that isn't there, a commit by halves, a database that can't be used afterwards, instances of
//! other databases that are drawn in.

#![allow(clippy::unwrap_used)] // helpers of tests are tests to a reader, not to clippy

mod support;

use beaver_host::client::{OpenOptions, Outcome};
use beaver_host::{Error, Grant, Host};
use std::path::Path;
use std::process::Command;
use support::{Worker, is_sound};

fn host() -> Host {
    Host::builder().max_instances(8).build().unwrap()
}

async fn worker(host: &Host, directory: &Path, name: &str) -> Worker {
    let opened = Worker::open(host, directory, name, &OpenOptions::default()).await;
    opened.unwrap()
}

/// As a process does that knows nothing of SQLite.
fn cut(directory: &Path, bytes: u64) {
    let status = Command::new("truncate")
        .args(["--size", &bytes.to_string()])
        .arg(directory.join("a.db-shm"))
        .status();
    assert!(status.unwrap().success());
}

fn is_cut<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::WalIndexCut), "{error:?}");
    assert!(error.is_fatal());
    assert_eq!(error.outcome(), Outcome::Unknown);
}

#[tokio::test]
async fn ends_the_instances_of_that_database_and_nothing_else() {
    let host = host();
    for bytes in [0, 3, 100, 4096, 16 << 10, (32 << 10) - 1] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mut writer = worker(&host, path, "a.db").await;
        let mut idle = worker(&host, path, "a.db").await;
        let mut elsewhere = worker(&host, path, "b.db").await;
        for n in 0..20 {
            writer.set(&n.to_string(), n).await.unwrap();
        }
        idle.get("0").await.unwrap();
        elsewhere.set("k", 1).await.unwrap();
        cut(path, bytes);

        // Also if what is gone is nothing that this would have read.
        is_cut(writer.set("more", 1).await);
        assert!(writer.instance.is_poisoned());
        assert_eq!(elsewhere.get("k").await.unwrap(), Some(1));
        elsewhere.set("k", 2).await.unwrap();
        is_cut(idle.get("0").await);

        let mut next = worker(&host, path, "a.db").await;
        for n in 0..20 {
            assert_eq!(next.get(&n.to_string()).await.unwrap(), Some(n), "{bytes}");
        }
        let more = next.get("more").await.unwrap();
        assert!(matches!(more, None | Some(1)), "{bytes}: {more:?}");
        next.set("after", 1).await.unwrap();
        next.instance.close().await.unwrap();
        drop((writer, idle, elsewhere));
        is_sound(&path.join("a.db"));
    }
}

#[tokio::test]
async fn in_a_transaction_leaves_all_of_it_or_nothing() {
    let host = host();
    for at_commit in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mut writer = worker(&host, path, "a.db").await;
        writer.set("before", 1).await.unwrap();
        let transaction = writer
            .instance
            .begin_transaction(&writer.database)
            .await
            .unwrap();
        writer.set("x", 1).await.unwrap();
        if at_commit {
            writer.set("y", 1).await.unwrap();
            cut(path, 0);
            is_cut(transaction.commit(&mut writer.instance).await);
        } else {
            cut(path, 0);
            // It may find both in its memory, up to the commit.
            if let Ok(()) = writer.set("y", 1).await {
                is_cut(transaction.commit(&mut writer.instance).await);
            }
        }
        assert!(writer.instance.is_poisoned());
        let mut next = worker(&host, path, "a.db").await;
        assert_eq!(next.get("before").await.unwrap(), Some(1));
        let (x, y) = (next.get("x").await.unwrap(), next.get("y").await.unwrap());
        assert_eq!(x, y, "both or none");
        next.set("after", 1).await.unwrap();
        next.instance.close().await.unwrap();
        is_sound(&path.join("a.db"));
    }
}

/// Somebody opens the database after the cut and makes a new index, before the others have
/// looked: for them there is no signal any more.
#[tokio::test]
async fn is_known_to_those_who_never_meet_it() {
    let host = host();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut old = worker(&host, path, "a.db").await;
    old.set("k", 1).await.unwrap();
    let transaction = old.instance.begin_transaction(&old.database).await.unwrap();
    old.set("k", 2).await.unwrap();
    cut(path, 0);
    let grant = Grant::directory(path).unwrap();
    let mut next = host.instantiate(grant).await.unwrap();
    let options = OpenOptions::default();
    let opens = async {
        // It waits: the old one still has the write lock, which making an index needs.
        let database = next.open("a.db", &options).await?;
        let dict = next.dict(&database, "d").await?;
        dict.get(&mut next, "k").await
    };
    let (k, committed) = tokio::join!(opens, transaction.commit(&mut old.instance));
    is_cut(committed);
    let k = k.unwrap();
    assert!(matches!(k.as_deref(), Some("1" | "2")), "{k:?}");
    next.close().await.unwrap();
    is_sound(&path.join("a.db"));
}
