//! A test process: `beaver-test-process native|component FILE JOURNAL`, then JSON lines
//! on stdio (see `support/process.rs`).

use anyhow::{Context as _, Result, bail, ensure};
use beaver_tests::{
    BlobWriter, Dict, IfExists, JournalChoice, Listener, Lock, LockOptions, Options, Outcome,
    Store, System, Transaction, ms, s,
};
use rusqlite::OptionalExtension as _;
use serde_json::{Value, json};
use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let system = match arguments.next().as_deref() {
        Some("native") => System::Native,
        Some("component") => System::Component,
        other => bail!("a system is expected, not {other:?}"),
    };
    let path = PathBuf::from(arguments.next().context("a file is expected")?);
    let journal = match arguments.next().as_deref() {
        Some("rollback") => JournalChoice::Rollback,
        Some("wal") => JournalChoice::Wal,
        _ => JournalChoice::Automatic,
    };
    let options = Options {
        journal,
        ..Options::default()
    };
    let store = Store::open(system, &path, &options)?;
    let mut child = Child {
        path,
        store,
        locks: Vec::new(),
        dicts: Vec::new(),
        listeners: Vec::new(),
        uploads: Vec::new(),
        transaction: None,
        readers: Vec::new(),
        hoard: Vec::new(),
    };
    answer(&json!({"ok": "open"}))?;
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        answer(&match child.run(&request) {
            Ok(value) => json!({"ok": value}),
            Err(error) => {
                let outcome = match error.downcast_ref().map(beaver_tests::Error::outcome) {
                    Some(Outcome::NotApplied) => "not-applied",
                    Some(Outcome::Unknown) => "unknown",
                    None => "none",
                };
                json!({"error": format!("{error:#}"), "outcome": outcome})
            }
        })?;
    }
    Ok(())
}

fn answer(value: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}

struct Child {
    path: PathBuf,
    store: Store,
    /// Held until the process ends, or released by name.
    locks: Vec<(String, Lock)>,
    dicts: Vec<(String, Dict)>,
    listeners: Vec<Listener>,
    uploads: Vec<BlobWriter>,
    transaction: Option<Transaction>,
    readers: Vec<rusqlite::Connection>,
    /// Every file handle that there was.
    hoard: Vec<std::fs::File>,
}

impl Child {
    /// A dictionary whose lock was acquired.
    fn held(&self, name: &str) -> Result<&(String, Dict)> {
        let held = self.dicts.iter().find(|(held, _)| held == name);
        held.context("not held")
    }

    fn run(&mut self, request: &Value) -> Result<Value> {
        let text = |field: &str| {
            request[field]
                .as_str()
                .with_context(|| format!("{field} is expected"))
        };
        let number = |field: &str| {
            request[field]
                .as_u64()
                .with_context(|| format!("{field} is expected"))
        };
        match text("op")? {
            "set" => {
                self.store.dict(text("name")?)?.set(
                    text("key")?,
                    &request["value"].to_string(),
                    None,
                )?;
                Ok(Value::Null)
            }
            "get" => Ok(match self.store.dict(text("name")?)?.get(text("key")?)? {
                Some(text) => serde_json::from_str(&text)?,
                None => Value::Null,
            }),
            // Locked increments of one key.
            "increment" => {
                let counter = self.store.dict(text("name")?)?;
                for _ in 0..number("count")? {
                    counter.acquire(&LockOptions::timeout(s(60)))?;
                    let n: u64 = counter.get("n")?.map_or(Ok(0), |text| text.parse())?;
                    counter.set("n", &(n + 1).to_string(), None)?;
                    counter.release()?;
                }
                Ok(Value::Null)
            }
            // Takes items one by one until the queue is empty.
            "drain" => {
                let queue = self.store.queue(text("name")?)?;
                let mut taken = Vec::new();
                while let Some(item) = queue.try_get()? {
                    taken.push(serde_json::from_str::<Value>(&item.data)?);
                }
                Ok(taken.into())
            }
            // Commits 1, 2, 3 … in two dictionaries at once, one answer each, until killed.
            "flood" => {
                let (a, b) = (self.store.dict("flood-a")?, self.store.dict("flood-b")?);
                for n in number("from")?.. {
                    let transaction = self.store.begin()?;
                    a.set("n", &n.to_string(), None)?;
                    a.set(
                        &format!("pad-{}", n % 50),
                        &format!("\"{}\"", "x".repeat(500)),
                        None,
                    )?;
                    b.set("n", &n.to_string(), None)?;
                    transaction.commit()?;
                    answer(&json!({"ok": n}))?;
                }
                Ok(Value::Null)
            }
            "acquire" => {
                let lock = self.store.lock(text("name")?)?;
                lock.acquire(&LockOptions::timeout(s(60)))?;
                self.locks.push((text("name")?.to_owned(), lock));
                Ok(Value::Null)
            }
            "release" => {
                let name = text("name")?;
                let at = self.locks.iter().position(|(held, _)| held == name);
                let (_, lock) = self.locks.swap_remove(at.context("not held")?);
                lock.release()?;
                Ok(Value::Null)
            }
            "acquire-dict" => {
                let dict = self.store.dict(text("name")?)?;
                let options = LockOptions {
                    timeout: Some(s(60)),
                    ttl: request["ttl-ms"].as_u64().map(ms),
                };
                dict.acquire(&options)?;
                self.dicts.push((text("name")?.to_owned(), dict));
                Ok(Value::Null)
            }
            // Through the handle that holds the lock.
            "set-held" => {
                let (key, value) = (text("key")?, request["value"].to_string());
                self.held(text("name")?)?.1.set(key, &value, None)?;
                Ok(Value::Null)
            }
            "release-dict" => {
                let name = text("name")?;
                let released = self.held(name)?.1.release();
                // Whatever came of it, it doesn't hold the lock any more.
                self.dicts.retain(|(held, _)| held != name);
                released?;
                Ok(Value::Null)
            }
            // One locked increment of a key, of which nobody else may have seen a part.
            "increment-alone" => {
                let counter = self.store.dict(text("name")?)?;
                counter.acquire(&LockOptions::timeout(s(300)).ttl(s(3600)))?;
                let me = request["id"].to_string();
                counter.set("holder", &me, None)?;
                let n: u64 = counter.get("n")?.map_or(Ok(0), |text| text.parse())?;
                counter.set("n", &(n + 1).to_string(), None)?;
                let holder = counter.get("holder")?;
                ensure!(holder == Some(me), "{holder:?} was here too");
                counter.release()?;
                Ok((n + 1).into())
            }
            "backup" => {
                let if_exists = if request["replace"] == json!(true) {
                    IfExists::Replace
                } else {
                    IfExists::Fail
                };
                let path = PathBuf::from(text("path")?);
                Ok(self.store.backup(&path, if_exists)?.into())
            }
            // Listens until the process ends.
            "on" => {
                let listener = self.store.on(text("topic")?, text("event")?)?;
                self.listeners.push(listener);
                Ok(Value::Null)
            }
            // Writes so much of a blob, and no more.
            "upload" => {
                let blob = self.store.blob(text("name")?)?;
                let mut writer = blob.writer(text("key")?)?;
                for n in 0..number("mib")? {
                    writer.write(&vec![n as u8; 1 << 20])?;
                }
                self.uploads.push(writer);
                Ok(Value::Null)
            }
            // Leaves the process no file handle.
            "hoard" => {
                while let Ok(file) = std::fs::File::open("/dev/null") {
                    self.hoard.push(file);
                }
                Ok(self.hoard.len().into())
            }
            "unhoard" => {
                self.hoard.clear();
                Ok(Value::Null)
            }
            "begin" => {
                self.transaction = Some(self.store.begin()?);
                Ok(Value::Null)
            }
            "commit" => {
                self.transaction
                    .take()
                    .context("no transaction")?
                    .commit()?;
                Ok(Value::Null)
            }
            // Reads from now on, in overlapping transactions, so that at any
            // moment somebody has a view of the log.
            "read-always" => {
                for _ in 0..4 {
                    let connection = rusqlite::Connection::open(&self.path)?;
                    connection.busy_timeout(s(60))?;
                    std::thread::spawn(move || -> rusqlite::Result<()> {
                        loop {
                            connection.execute_batch("BEGIN; SELECT count(*) FROM beaver_dicts")?;
                            std::thread::sleep(std::time::Duration::from_millis(2));
                            connection.execute_batch("COMMIT")?;
                        }
                    });
                }
                Ok(Value::Null)
            }
            // Opens a read transaction that ends with the process.
            "read-on" => {
                let connection = rusqlite::Connection::open(&self.path)?;
                connection.execute_batch("BEGIN; SELECT count(*) FROM beaver_dicts")?;
                self.readers.push(connection);
                Ok(Value::Null)
            }
            // A whole number out of the file (or null), or a change to it, with nothing of
            // ours between.
            "sql" | "sql-at-once" => {
                let connection = rusqlite::Connection::open(&self.path)?;
                let patience = if text("op")? == "sql" { s(60) } else { s(0) };
                connection.busy_timeout(patience)?;
                let value: Option<i64> = connection
                    .query_row(text("sql")?, [], |row| row.get(0))
                    .optional()?;
                Ok(value.into())
            }
            other => bail!("unknown op {other}"),
        }
    }
}
