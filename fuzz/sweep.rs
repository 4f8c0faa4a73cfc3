//! Every operation of ours on one database, whatever is in it.
//!
//! What must stay true: each ends with a result or an error that the caller expects of such a file,
//! in no more time than it was given, by a clock that stands still but while somebody waits; and
//! nothing that is read page by page goes on for ever.

use crate::clock::{Clock, STEP};
use beaver_core::{
    Collection, Database, Direction, Error, HybridOptions, IfExists, IndexOptions, LockOptions,
    Lockable, MatchOptions, Metric, Options, WalkOptions,
};
use std::io::Read as _;
use std::rc::Rc;
use std::time::Duration;

/// How long a write waits for a lock.
pub(crate) const LOCK_WAIT: Duration = Duration::from_millis(20);

/// How long whoever asks for a lock waits for it.
const TIMEOUT: Duration = Duration::from_millis(30);

/// More than any file of a fuzzer's holds.
const ITEMS_MAX: usize = 100_000;

/// A database and what may be said of it.
pub(crate) struct Sweep {
    clock: Rc<Clock>,
    database: Database,
    path: String,
    /// Whether an error is one to expect.
    expects: fn(&Error) -> bool,
}

/// Some of the operations.
type Part = fn(&Sweep);

/// Waits for nothing but as long as [`LOCK_WAIT`] for locks.
pub(crate) fn options() -> Options {
    Options {
        busy_timeout: Duration::ZERO,
        lock_wait: LOCK_WAIT,
        ..Options::default()
    }
}

impl Sweep {
    /// Opens the file; none when that fails with an error that is expected.
    pub(crate) fn open(path: &str, options: &Options, expects: fn(&Error) -> bool) -> Option<Self> {
        let clock = Clock::new();
        match Database::open_with(path, options, clock.clone()) {
            Ok(database) => Some(Self {
                clock,
                database,
                path: path.to_owned(),
                expects,
            }),
            Err(error) => {
                assert!(expects(&error), "open: {error:?}");
                None
            }
        }
    }

    /// Runs an operation that may wait this long.
    fn within<T>(
        &self,
        wait: Duration,
        what: &str,
        operation: impl FnOnce() -> Result<T, Error>,
    ) -> Option<T> {
        let begin = self.clock.begin();
        let said = operation();
        let waited = self.clock.begin() - begin;
        assert!(waited <= wait + STEP, "{what} waited {waited:?}");
        said.inspect_err(|error| assert!((self.expects)(error), "{what}: {error:?}"))
            .ok()
    }

    /// Runs one that waits for nobody.
    fn read<T>(&self, what: &str, operation: impl FnOnce() -> Result<T, Error>) -> Option<T> {
        self.within(Duration::ZERO, what, operation)
    }

    /// Runs one that waits for locks.
    fn write<T>(&self, what: &str, operation: impl FnOnce() -> Result<T, Error>) -> Option<T> {
        self.within(LOCK_WAIT, what, operation)
    }

    /// Goes through all that an iterator gives, up to the first error.
    fn each<T>(
        &self,
        what: &str,
        items: Result<impl Iterator<Item = Result<T, Error>>, Error>,
    ) -> Option<Vec<T>> {
        self.read(what, || {
            let mut all = Vec::new();
            for item in items? {
                all.push(item?);
                assert!(all.len() < ITEMS_MAX, "{what} without end");
            }
            Ok(all)
        })
    }

    /// Everything: reading, writing, locks, the file, and last removing. Or one part of it.
    pub(crate) fn everything(&self, only: Option<&str>) {
        let parts: [(&str, Part); 12] = [
            ("managers", Self::managers),
            ("dict", Self::dict),
            ("list", Self::list),
            ("queue", Self::queue),
            ("collection", Self::collection),
            ("blob", Self::blob),
            ("log", Self::log),
            ("channel", Self::channel),
            ("locks", Self::locks),
            ("transaction", Self::transaction),
            ("file", Self::file),
            ("clear", Self::clear),
        ];
        for (name, part) in parts {
            if only.is_none_or(|only| only == name) {
                part(self);
            }
        }
    }

    fn managers(&self) {
        for internal in [false, true] {
            self.each("managers", self.database.managers(internal));
        }
        self.read("format_version", || self.database.format_version());
        self.read("stats", || self.database.stats());
        self.read("data_version", || self.database.data_version());
    }

    fn dict(&self) {
        let Some(dict) = self.write("dict", || self.database.dict("d")) else {
            return;
        };
        let keys = self.each("dict.keys", dict.keys()).unwrap_or_default();
        self.each("dict.values", dict.values());
        self.each("dict.items", dict.items());
        self.each("dict.dump", dict.dump());
        self.read("dict.len", || dict.len());
        for key in keys.iter().map(String::as_str).take(8).chain(["k"]) {
            self.read("dict.get", || dict.get(key));
            self.read("dict.contains", || dict.contains(key));
        }
        self.write("dict.set", || dict.set("k", "1", None));
        self.write("dict.set", || dict.set("t", "2", Some(Duration::MAX)));
        self.write("dict.pop", || dict.pop("k"));
        self.write("dict.delete", || dict.delete("t"));
        self.owner("dict", &dict);
        self.write("dict.loader", || {
            let mut loader = dict.loader()?;
            loader.write(r#"{"metadata": {"type": "Dict", "name": "d", "count": 1}, "items": [{"key": "x", "value": [1]}]}"#)?;
            loader.finish()
        });
    }

    fn list(&self) {
        let Some(list) = self.write("list", || self.database.list("l")) else {
            return;
        };
        self.each("list.items", list.items());
        self.each("list.slice", list.slice(Some(-3), Some(2)));
        self.each("list.dump", list.dump());
        self.read("list.len", || list.len());
        for index in [0, 1, -1, i64::MAX] {
            self.read("list.get", || list.get(index));
            self.write("list.insert", || list.insert(index, "3"));
        }
        self.read("list.contains", || list.contains("1"));
        self.write("list.push", || list.push("1"));
        self.write("list.prepend", || list.prepend("2"));
        self.write("list.set", || list.set(0, "4"));
        self.write("list.delete", || list.delete(-1));
        self.write("list.pop", || list.pop());
        self.write("list.pop_first", || list.pop_first());
        self.owner("list", &list);
    }

    fn queue(&self) {
        let Some(queue) = self.write("queue", || self.database.queue("q")) else {
            return;
        };
        self.each("queue.items", queue.items());
        self.each("queue.dump", queue.dump());
        self.read("queue.len", || queue.len());
        self.read("queue.peek", || queue.peek());
        self.write("queue.put", || queue.put("1", -0.5));
        self.write("queue.put", || queue.put("2", f64::MAX));
        self.write("queue.try_get", || queue.try_get());
        self.within(TIMEOUT, "queue.get", || queue.get(Some(TIMEOUT)));
        self.within(TIMEOUT, "queue.get_batch", || {
            queue.get_batch(3, Some(TIMEOUT))
        });
        self.owner("queue", &queue);
    }

    fn collection(&self) {
        let Some(collection) = self.write("collection", || self.database.collection("c")) else {
            return;
        };
        let documents = self.each("collection.documents", collection.documents());
        self.each("collection.dump", collection.dump());
        self.read("collection.len", || collection.len());
        let ids = documents.unwrap_or_default().into_iter().take(4);
        for id in ids.map(|document| document.id).chain(["a".to_owned()]) {
            self.read("collection.get", || collection.get(&id));
            self.around(&collection, &id);
            let options = IndexOptions {
                fuzzy: true,
                ..IndexOptions::default()
            };
            self.write("collection.index", || {
                collection.index(
                    Some(&id),
                    Some(r#"{"t": "some words"}"#),
                    Some(&[1.0, 0.0]),
                    &options,
                )
            });
        }
        self.search(&collection);
        self.write("collection.connect", || {
            collection.connect("a", "b", "to", Some("{}"))
        });
        self.write("collection.disconnect", || {
            collection.disconnect("a", "b", "to")
        });
        self.search(&collection);
        self.write("collection.compact", || collection.compact());
        self.write("collection.drop", || collection.drop("a"));
        self.owner("collection", &collection);
    }

    fn around(&self, collection: &Collection, id: &str) {
        for direction in [Direction::Outgoing, Direction::Incoming, Direction::Both] {
            self.each("collection.edges", collection.edges(id, direction));
            self.each(
                "collection.neighbors",
                collection.neighbors(id, None, direction),
            );
            let options = WalkOptions {
                direction,
                ..WalkOptions::depth(3)
            };
            self.each("collection.walk", collection.walk(id, &options));
        }
    }

    fn search(&self, collection: &Collection) {
        for fuzziness in [0, 2] {
            let options = MatchOptions {
                fuzziness,
                ..MatchOptions::default()
            };
            self.read("collection.match", || {
                collection.match_text("some words", &options)
            });
        }
        for metric in [Metric::L2, Metric::Cosine] {
            self.read("collection.search", || {
                collection.search(&[1.0, 0.5], 3, metric)
            });
        }
        self.read("collection.hybrid_search", || {
            collection.hybrid_search("words", &[0.0, 1.0], &HybridOptions::default())
        });
    }

    fn blob(&self) {
        let Some(blob) = self.write("blob", || self.database.blob("b")) else {
            return;
        };
        let keys = self.each("blob.keys", blob.keys()).unwrap_or_default();
        self.each("blob.dump", blob.dump());
        self.read("blob.len", || blob.len());
        for key in keys.iter().map(String::as_str).take(4).chain(["k"]) {
            self.read("blob.get", || blob.get(key));
            self.read("blob.read", || blob.read(key, 1, 10));
            self.read("blob.size", || blob.size(key));
            self.read("blob.metadata", || blob.metadata(key));
            self.read("blob.contains", || blob.contains(key));
            if let Some(Some(mut reader)) = self.read("blob.reader", || blob.reader(key)) {
                let _ = reader.read_to_end(&mut Vec::new());
                self.read("reader.read_at", || reader.read_at(u64::MAX, 3));
            }
        }
        self.write("blob.put", || blob.put("k", b"data", Some("{}")));
        if let Some(mut writer) = self.write("blob.writer", || blob.writer("w")) {
            self.write("writer.write", || writer.write(&[7; 5000]));
            self.write("writer.finish", || writer.finish(None));
        }
        self.write("blob.delete", || blob.delete("k"));
        self.owner("blob", &blob);
    }

    fn log(&self) {
        let Some(log) = self.write("log", || self.database.log("g")) else {
            return;
        };
        self.each("log.entries", log.entries());
        self.each("log.range", log.range(f64::NEG_INFINITY, f64::INFINITY));
        self.each("log.dump", log.dump());
        self.read("log.len", || log.len());
        let tail = self.write("log.tail", || log.tail(Some(0.0)));
        let live = self.write("log.live", || log.live(TIMEOUT * 2, TIMEOUT));
        self.write("log.append", || log.append("1", None));
        self.write("log.append", || log.append("2", Some(-1e300)));
        if let Some(mut tail) = tail {
            for _ in 0..2 {
                self.within(TIMEOUT, "tail.next_page", || {
                    tail.next_page(10, Some(TIMEOUT))
                });
            }
        }
        if let Some(mut live) = live {
            self.within(TIMEOUT, "live.next_window", || {
                live.next_window(Some(TIMEOUT))
            });
            self.read("live.entered", || live.entered(10));
        }
    }

    fn channel(&self) {
        let Some(channel) = self.write("channel", || self.database.channel("p")) else {
            return;
        };
        self.read("channel.history", || {
            let mut history = channel.history(None, Some(5))?;
            let mut all = 0;
            loop {
                match history.next_page(2)?.len() {
                    0 => return Ok(()),
                    count => all += count,
                }
                assert!(all < ITEMS_MAX, "channel.history without end");
            }
        });
        self.read("channel.len", || channel.len());
        let subscription = self.write("channel.subscribe", || channel.subscribe(Some(-1.0)));
        self.write("channel.publish", || channel.publish("1"));
        if let Some(mut subscription) = subscription {
            for _ in 0..2 {
                self.within(TIMEOUT, "subscription.next_page", || {
                    subscription.next_page(10, Some(TIMEOUT))
                });
            }
        }
        let listener = self.write("on", || self.database.on("dict:d", "set"));
        self.write("emit", || self.database.emit("dict:d", "set", "{}"));
        if let Some(mut listener) = listener {
            self.within(TIMEOUT, "listener.next_page", || {
                listener.next_page(10, Some(TIMEOUT))
            });
            self.write("listener.close", || listener.close());
        }
        self.write("channel.prune", || channel.prune(0.0));
    }

    /// Its lock.
    fn owner(&self, what: &str, manager: &dyn Lockable) {
        let timeout = LockOptions::timeout;
        self.within(TIMEOUT, &format!("{what}.guard_all"), || {
            self.database
                .with_all(&[manager], &timeout(TIMEOUT), || Ok(()))
        });
    }

    fn locks(&self) {
        let Some(lock) = self.read("lock", || self.database.lock("l")) else {
            return;
        };
        let hold = || {
            self.write("renew", || lock.renew(None));
            self.write("renew", || lock.renew(Some(Duration::MAX)));
            let _ = lock.fencing_token();
            self.write("release", || lock.release());
        };
        if self.read("try_acquire", || lock.try_acquire(None)) == Some(true) {
            hold();
        }
        for timeout in [Duration::ZERO, TIMEOUT] {
            let options = LockOptions::timeout(timeout);
            let acquired = self.within(timeout, "acquire", || lock.acquire(&options));
            if acquired.is_some() {
                hold();
            }
        }
        let (Some(dict), Some(list)) = (
            self.write("dict", || self.database.dict("d")),
            self.write("list", || self.database.list("l")),
        ) else {
            return;
        };
        self.within(TIMEOUT + LOCK_WAIT, "with_all", || {
            let options = LockOptions::timeout(TIMEOUT).ttl(Duration::from_secs(1));
            self.database
                .with_all(&[&dict, &lock, &list], &options, || list.push("5"))
        });
        self.within(TIMEOUT + LOCK_WAIT, "dict.with", || {
            dict.with(&LockOptions::timeout(TIMEOUT), |dict| {
                dict.set("k", "1", None)
            })
        });
        self.write("lock.clear", || lock.clear());
        if self
            .within(TIMEOUT, "acquire", || {
                lock.acquire(&LockOptions::timeout(TIMEOUT))
            })
            .is_some()
        {
            hold();
        }
    }

    fn transaction(&self) {
        let all = |database: &Database| {
            database.dict("d")?.set("k", "1", None)?;
            database.list("l")?.push("1")?;
            database.queue("q")?.put("1", 1.0)?;
            let options = IndexOptions::default();
            database
                .collection("c")?
                .index(Some("t"), None, None, &options)?;
            database.blob("b")?.put("k", b"x", None)?;
            database.log("g")?.append("1", None)?;
            database.channel("p")?.publish("1")
        };
        self.write("transaction", || {
            let transaction = self.database.begin()?;
            all(&self.database)?;
            transaction.rollback()
        });
        self.write("transaction", || {
            self.database.transaction(|_| all(&self.database))
        });
    }

    fn file(&self) {
        self.read("checkpoint", || self.database.checkpoint());
        let copy = format!("{}-copy", self.path);
        self.read("backup", || self.database.backup(&copy, IfExists::Replace));
        let _ = std::fs::remove_file(&copy);
        self.read("vacuum", || self.database.vacuum());
    }

    fn clear(&self) {
        let database = &self.database;
        self.write("dict.clear", || database.dict("d")?.clear());
        self.write("list.clear", || database.list("l")?.clear());
        self.write("queue.clear", || database.queue("q")?.clear());
        self.write("collection.clear", || database.collection("c")?.clear());
        self.write("blob.clear", || database.blob("b")?.clear());
        self.write("log.clear", || database.log("g")?.clear());
        self.write("channel.clear", || database.channel("p")?.clear());
    }
}
