//! The real files that are edited.
//!
//! What must stay true: they are the same in each process; in SQLite's own files only salts and nonces
//! aren't, so those are replaced.

use super::seal;
use crate::clock::Clock;
use crate::scratch::Scratch;
use crate::sweep::options;
use beaver_core::rusqlite::Connection;
use beaver_core::{Database, IndexOptions, JournalChoice, Options};
use std::path::Path;
use std::sync::LazyLock;

/// A database with what is beside it; none: no such file.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) database: Vec<u8>,
    pub(super) log: Option<Vec<u8>>,
    pub(super) journal: Option<Vec<u8>>,
}

/// As we make one, with all tables; with pages of 512 bytes, that can move; such a one with a log; and
/// with a journal of somebody who died.
pub(crate) static BASES: LazyLock<[Base; 4]> = LazyLock::new(|| [plain(), small(), log(), hot()]);

fn plain() -> Base {
    let scratch = Scratch::new();
    fill(&scratch.path(), &options(), 1);
    read(&scratch.path())
}

fn small() -> Base {
    let scratch = Scratch::new();
    make_small(&scratch.path());
    read(&scratch.path())
}

fn log() -> Base {
    let scratch = Scratch::new();
    let path = scratch.path();
    make_small(&path);
    // Keeps the log.
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0")
        .unwrap();
    change(&other, "UPDATE beaver_dicts SET value = value || ' '");
    change(&other, "DELETE FROM beaver_lists WHERE item_order > 3");
    change(
        &other,
        "INSERT INTO beaver_logs VALUES ('g', 1, hex(zeroblob(1000)))",
    );
    let mut base = read(&path);
    seal::salt_log(base.log.as_mut().unwrap());
    base
}

fn hot() -> Base {
    let scratch = Scratch::new();
    let path = scratch.path();
    make_small(&path);
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch(
            "PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF; PRAGMA cache_size = 1;
             BEGIN IMMEDIATE",
        )
        .unwrap();
    change(&other, "UPDATE beaver_dicts SET value = value || ' '");
    change(
        &other,
        "UPDATE beaver_lists SET item_value = hex(zeroblob(400))",
    );
    change(&other, "DELETE FROM beaver_collections");
    let mut base = read(&path);
    seal::salt_journal(base.journal.as_mut().unwrap());
    base
}

fn change(connection: &Connection, sql: &str) {
    connection.execute(sql, []).unwrap();
}

fn make_small(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch("PRAGMA page_size = 512; PRAGMA auto_vacuum = FULL; CREATE TABLE t (x)")
        .unwrap();
    connection.execute_batch("DROP TABLE t").unwrap();
    drop(connection);
    let options = Options {
        journal: JournalChoice::Rollback,
        ..options()
    };
    fill(path, &options, 12);
}

/// Makes every table and puts something in each.
fn fill(path: &Path, options: &Options, count: u32) {
    let database = Database::open_with(path.to_str().unwrap(), options, Clock::new()).unwrap();
    let dict = database.dict("d").unwrap();
    let list = database.list("l").unwrap();
    let queue = database.queue("q").unwrap();
    let collection = database.collection("c").unwrap();
    let blob = database.blob("b").unwrap();
    let log = database.log("g").unwrap();
    let channel = database.channel("p").unwrap();
    let indexed = IndexOptions {
        fuzzy: true,
        ..IndexOptions::default()
    };
    for number in 0..count {
        let text = number.to_string();
        dict.set(&format!("k{number}"), "\"some text\"", None)
            .unwrap();
        list.push(&text).unwrap();
        queue.put(&text, f64::from(number % 3)).unwrap();
        let vector = [f64::from(number) as f32, 1.0];
        let body = Some(r#"{"t": "some words"}"#);
        let id = ["a", "b", "c"][number as usize % 3];
        collection
            .index(Some(id), body, Some(&vector), &indexed)
            .unwrap();
        collection.connect(id, "b", &text, None).unwrap();
        log.append(&text, None).unwrap();
    }
    blob.put("k", &vec![7; 100 * count as usize], None).unwrap();
    channel.publish("1").unwrap();
    drop(log.tail(None).unwrap());
    let _ = database.checkpoint();
}

fn read(path: &Path) -> Base {
    let beside = |suffix: &str| {
        let name = format!("{}{suffix}", path.to_str().unwrap());
        std::fs::read(name).ok().filter(|bytes| !bytes.is_empty())
    };
    Base {
        database: std::fs::read(path).unwrap(),
        log: beside("-wal"),
        journal: beside("-journal"),
    }
}
