//! Damaged and hostile files, opened by the component in the real host.
//!
//! The input is that of the target `files`.
//!
//! What must stay true: every call is answered with a result or a typed error, or a limit of the host
//! ends the instance; the host serves the next one; and files stay within the instance's limit.

use crate::Target;
use crate::component::{Gone, check_files, expect, instance, run as run_calls, still_serves};
use crate::failed::is_of_a_file;
use crate::files::Files;
use crate::scratch::Scratch;
use beaver_core::{JournalChoice, OpenMode};
use beaver_host::client::{
    Direction, FullText, IfExists, IndexOptions, Journal, LockOptions, MatchOptions, Metric,
    OpenMode as HostMode, OpenOptions, WalkOptions,
};
use std::time::Duration;

/// See the module.
pub const TARGET: Target = Target {
    name: "component_files",
    run,
    tries: 10,
    bytes_max: 1024,
};

const PAGES_MAX: usize = 100;
const PAGE: u32 = 100;

fn run(bytes: &[u8]) {
    let scratch = Scratch::new();
    let files = Files::make(bytes, &scratch);
    let options = OpenOptions {
        mode: Some(match files.options.mode {
            OpenMode::ReadOnly => HostMode::ReadOnly,
            OpenMode::Existing => HostMode::Existing,
            OpenMode::Create => HostMode::Create,
        }),
        journal: Some(match files.options.journal {
            JournalChoice::Rollback => Journal::Rollback,
            JournalChoice::Wal => Journal::Wal,
            JournalChoice::Automatic => Journal::Automatic,
        }),
        busy_timeout: Some(Duration::ZERO),
        lock_wait: Some(Duration::from_millis(1)),
        ..OpenOptions::default()
    };
    run_calls(async {
        // A limit that ends it ends it for good.
        let _: Result<(), Gone> = everything(&scratch, &options).await;
        still_serves().await;
    });
    check_files(&scratch);
}

/// Every kind of operation on the file.
async fn everything(scratch: &Scratch, options: &OpenOptions) -> Result<(), Gone> {
    let mut instance = instance(scratch).await;
    let on = &mut instance;
    macro_rules! tried {
        ($called:expr) => {
            expect(scratch, $called.await, is_of_a_file)?
        };
    }
    macro_rules! paged {
        ($cursor:expr) => {
            if let Some(cursor) = tried!($cursor) {
                for _ in 0..PAGES_MAX {
                    match tried!(cursor.next(on, PAGE)) {
                        Some(page) if !page.is_empty() => {}
                        _ => break,
                    }
                }
            }
        };
    }
    let Some(database) = tried!(on.open("f.db", options)) else {
        return Ok(());
    };
    tried!(database.format_version(on));
    tried!(database.stats(on));
    paged!(database.managers(on, true));
    let soon = LockOptions {
        timeout: Some(Duration::from_millis(1)),
        ttl: None,
    };
    if let Some(dict) = tried!(on.dict(&database, "d")) {
        tried!(dict.get(on, "k1"));
        paged!(dict.items(on));
        paged!(dict.dump(on));
        tried!(dict.set(on, "k1", "2", None));
        tried!(dict.acquire(on, soon));
        tried!(dict.delete(on, "k2"));
        tried!(dict.release(on));
    }
    if let Some(list) = tried!(on.list(&database, "l")) {
        tried!(list.insert(on, 1, "2"));
        paged!(list.items(on));
        tried!(list.pop(on));
    }
    if let Some(queue) = tried!(on.queue(&database, "q")) {
        tried!(queue.put(on, "2", 0.0));
        tried!(queue.try_get(on));
        paged!(queue.items(on));
    }
    if let Some(blob) = tried!(on.blob(&database, "b")) {
        tried!(blob.get(on, "k"));
        tried!(blob.put(on, "k", b"2", None));
        paged!(blob.keys(on));
        tried!(blob.delete(on, "k"));
    }
    if let Some(log) = tried!(on.log(&database, "g")) {
        tried!(log.append(on, "2", None));
        paged!(log.entries(on));
    }
    if let Some(channel) = tried!(on.channel(&database, "p")) {
        tried!(channel.publish(on, "2"));
        paged!(channel.history(on, None, None));
    }
    if let Some(docs) = tried!(on.collection(&database, "c")) {
        let indexed = IndexOptions {
            full_text: FullText::All,
            fuzzy: true,
        };
        let vector = [1.0, 2.0];
        let body = Some(r#"{"t": "more words"}"#);
        tried!(docs.index(on, Some("a"), body, Some(&vector), &indexed));
        tried!(docs.get(on, "b"));
        let words = MatchOptions {
            on: Vec::new(),
            top_k: 10,
            fuzziness: 0,
        };
        tried!(docs.match_text(on, "words", &words));
        tried!(docs.search(on, &vector, 10, Metric::L2));
        tried!(docs.connect(on, "a", "b", "x", None));
        let far = WalkOptions {
            depth: 9,
            labels: Vec::new(),
            direction: Direction::Both,
        };
        paged!(docs.walk(on, "a", &far));
        paged!(docs.documents(on));
        tried!(docs.compact(on));
        tried!(docs.drop(on, "b"));
    }
    if let Some(transaction) = tried!(on.begin_transaction(&database)) {
        tried!(transaction.commit(on));
    }
    tried!(database.backup(on, "copy.db", IfExists::Replace));
    tried!(database.vacuum(on));
    tried!(database.checkpoint(on));
    drop(database);
    expect(scratch, instance.close().await, is_of_a_file).map(drop)
}
