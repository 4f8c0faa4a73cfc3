//! A limit on all files of a grant together, met by the component.

#![allow(clippy::unwrap_used)] // helpers of tests are tests to a reader, not to clippy

use beaver_host::client::{DbError, OpenOptions, Outcome};
use beaver_host::{Error, Grant, Host};
use std::fs;

const LIMIT: u64 = 2 << 20;

#[tokio::test]
async fn instances_that_fill_their_grant_get_a_typed_error_and_go_on_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let grant = Grant::directory(directory.path())
        .unwrap()
        .max_total_bytes(LIMIT);
    let host = Host::builder().max_instances(2).build().unwrap();
    let ballast = directory.path().join("ballast");
    fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let value = format!("\"{}\"", "x".repeat(50_000));
    let mut stores = Vec::new();
    for name in ["a.db", "b.db"] {
        let mut instance = host.instantiate(grant.clone()).await.unwrap();
        let options = OpenOptions::default();
        let database = instance.open(name, &options).await.unwrap();
        let dict = instance.dict(&database, "d").await.unwrap();
        dict.set(&mut instance, "0", "1", None).await.unwrap();
        stores.push((instance, database, dict, 1_u64));
    }
    for (instance, _, dict, stored) in &mut stores {
        let error = loop {
            match dict.set(instance, &stored.to_string(), &value, None).await {
                Ok(()) => *stored += 1,
                Err(error) => break error,
            }
            assert!(*stored < 100);
        };
        assert!(matches!(error, Error::Db(DbError::Full)), "{error:?}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert_eq!(dict.len(instance).await.unwrap(), *stored);
        let sizes = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len());
        assert!(sizes.sum::<u64>() <= LIMIT);
    }
    fs::remove_file(&ballast).unwrap();
    for (instance, _, dict, stored) in &mut stores {
        dict.set(instance, "more", &value, None).await.unwrap();
        assert_eq!(dict.len(instance).await.unwrap(), *stored + 1);
    }
    for (instance, ..) in stores {
        instance.close().await.unwrap();
    }
}
