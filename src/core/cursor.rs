//! Reading large contents page by page, in bounded memory.
//!
//! What must stay true: no page holds more than [`PAGE_BYTES`] plus one row,
//! however many rows were asked for, and no statement stays open between pages,
//! so that a forgotten cursor can't hold back the write-ahead log. Each page is after the last one, also
//! in a damaged index, where SQLite may find what is behind a key before it: reading comes to an end.

use crate::error::{Error, Result};
use crate::value;
use rusqlite::{Row, Statement};

/// A page ends after the row with which it reaches this size.
pub(crate) const PAGE_BYTES: usize = 256 * 1024;

/// How many rows the iterators ask for at once.
pub(crate) const PAGE_ROWS: u32 = 256;

pub(crate) fn check_max(max: u32) -> Result<()> {
    if max == 0 {
        return Err(Error::InvalidArgument("a page has at least one row".into()));
    }
    Ok(())
}

/// Reads the rows of one page. `decode` says how many bytes a row takes.
///
/// # Errors
/// [`Error::TooLarge`] of a row.
pub(crate) fn read_page<T>(
    statement: &mut Statement<'_>,
    parameters: impl rusqlite::Params,
    max: u32,
    mut decode: impl FnMut(&Row<'_>) -> rusqlite::Result<(T, usize)>,
) -> Result<Vec<T>> {
    let mut rows = statement.query(parameters)?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (value, size) = decode(row)?;
        value::check(size)?;
        page.push(value);
        bytes += size;
        if bytes >= PAGE_BYTES || page.len() >= max as usize {
            break;
        }
    }
    Ok(page)
}

/// Refuses keys that don't ascend from `after` on.
///
/// # Errors
/// [`Error::Corrupt`]: the index is damaged, and the next page could be this one again.
pub(crate) fn check_order<K: PartialOrd>(
    after: Option<K>,
    keys: impl IntoIterator<Item = K>,
) -> Result<()> {
    let mut last = after;
    for key in keys {
        if last.is_some_and(|last| last >= key) {
            return Err(out_of_order());
        }
        last = Some(key);
    }
    Ok(())
}

pub(crate) fn out_of_order() -> Error {
    Error::Corrupt("an index of the file is out of order".into())
}

/// What an iterator has read ahead.
#[derive(Debug)]
pub(crate) struct Ahead<T> {
    pub(crate) rows: std::vec::IntoIter<T>,
    /// Whether reading failed.
    pub(crate) failed: bool,
}

impl<T> Default for Ahead<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new().into_iter(),
            failed: false,
        }
    }
}

/// Makes an iterator over rows of something with `next_page`.
macro_rules! pages_iterator {
    ($type:ty, $item:ty) => {
        impl $type {
            /// Sees to it that what the iterator gives next is in memory; returns
            /// how much is.
            pub(crate) fn read_ahead(&mut self) -> crate::Result<usize> {
                if self.ahead.rows.len() == 0 {
                    self.ahead.rows = self.next_page(crate::cursor::PAGE_ROWS)?.into_iter();
                }
                Ok(self.ahead.rows.len())
            }
        }

        /// An error is the last thing that it gives: a damaged file would give the same for ever. To
        /// try again, call `next_page`.
        impl Iterator for $type {
            type Item = crate::Result<$item>;

            fn next(&mut self) -> Option<Self::Item> {
                if self.ahead.failed {
                    return None;
                }
                match self.read_ahead() {
                    Ok(_) => self.ahead.rows.next().map(Ok),
                    Err(error) => {
                        self.ahead.failed = true;
                        Some(Err(error))
                    }
                }
            }
        }
    };
}
pub(crate) use pages_iterator;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Database, JournalChoice, Options};

    /// The reading of every kind of thing that is read page by page, over a file in which each
    /// text `k8`, or each such number, is another, smaller or larger, so that it isn't where it
    /// should be.
    #[test]
    fn reading_ends_in_a_damaged_index() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            journal: JournalChoice::Rollback,
            ..Options::default()
        };
        let whole = folder.path().join("whole.db");
        fill(&Database::open(whole.to_str().unwrap(), &options).unwrap());
        let bytes = std::fs::read(&whole).unwrap();
        let text = |other: &[u8; 2]| (b"k8".to_vec(), other.to_vec());
        let number = |other| {
            let bytes = |number: f64| number.to_be_bytes().to_vec();
            (bytes(stamp(8)), bytes(stamp(other)))
        };
        let mut failed = 0;
        for (old, new) in [
            text(b"a8"),
            text(b"z8"),
            text(b"k3"),
            number(0),
            number(99),
            number(3),
        ] {
            let mut damaged = bytes.clone();
            for at in 0..damaged.len() {
                if damaged[at..].starts_with(&old) {
                    damaged[at..at + new.len()].copy_from_slice(&new);
                }
            }
            assert_ne!(damaged, bytes);
            let path = folder.path().join("damaged.db");
            std::fs::write(&path, &damaged).unwrap();
            let database = Database::open(path.to_str().unwrap(), &options).unwrap();
            let ends: Vec<_> = [1, 3, 100].map(|max| read_all(&database, max)).concat();
            assert!(ends.iter().all(|end| *end), "{ends:?}");
            failed += check_iterators(&database);
        }
        assert_ne!(failed, 0);
    }

    /// An iterator gives one error at most, as its last. Returns how many give one.
    fn check_iterators(database: &Database) -> usize {
        fn check<T: std::fmt::Debug>(rows: impl Iterator<Item = Result<T>>) -> usize {
            // More than there is, also if each of it came twice.
            let rows: Vec<_> = rows.take(100).collect();
            assert!(rows.len() < 100, "{:?}", rows.last());
            let first = rows.iter().position(Result::is_err);
            assert!(first.is_none_or(|first| first + 1 == rows.len()));
            usize::from(first.is_some())
        }
        let collection = database.collection("c").unwrap();
        let dump = database.dict("d").unwrap().dump();
        check(database.dict("d").unwrap().items().unwrap())
            + check(database.blob("b").unwrap().keys().unwrap())
            + check(database.managers(true).unwrap())
            + check(database.list("l").unwrap().items().unwrap())
            + check(database.queue("q").unwrap().items().unwrap())
            + check(database.log("g").unwrap().entries().unwrap())
            + check(collection.documents().unwrap())
            + check(collection.edges("a", crate::Direction::Outgoing).unwrap())
            + dump.map_or(1, check)
    }

    const COUNT: u64 = 10;

    /// A number that SQLite stores in eight bytes.
    fn stamp(number: u64) -> f64 {
        f64::from_bits(0x41d9_54fc_40a5_a501 + number)
    }

    fn fill(database: &Database) {
        let transaction = database.begin().unwrap();
        let collection = database.collection("c").unwrap();
        for number in 0..COUNT {
            let key = format!("k{number}");
            let (key, index) = (key.as_str(), &crate::IndexOptions::default());
            database.dict("d").unwrap().set(key, "1", None).unwrap();
            database.blob("b").unwrap().put(key, b"1", None).unwrap();
            collection.index(Some(key), None, None, index).unwrap();
            collection.connect("a", key, "to", None).unwrap();
            collection.connect(key, "a", "to", None).unwrap();
            database.dict(key).unwrap().set("x", "1", None).unwrap();
            database.list(key).unwrap().push("1").unwrap();
            let stamp = stamp(number + 1);
            database.queue("q").unwrap().put("1", stamp).unwrap();
            let log = database.log("g").unwrap();
            log.append("1", Some(stamp)).unwrap();
            let sql = "INSERT INTO beaver_lists VALUES ('l', ?1, '1')";
            database.list("l").unwrap();
            database.inner.connection.execute(sql, [stamp]).unwrap();
        }
        transaction.commit().unwrap();
    }

    /// Whether each comes to an end, or to an error that says why not.
    fn read_all(database: &Database, max: u32) -> Vec<bool> {
        fn ends<T>(mut page: impl FnMut() -> Result<Vec<T>>) -> bool {
            for _ in 0..100 {
                match page() {
                    Ok(page) if page.is_empty() => return true,
                    Ok(_) => {}
                    Err(error) => return matches!(error, Error::Corrupt(_)),
                }
            }
            false
        }
        let dict = database.dict("d").unwrap();
        let blob = database.blob("b").unwrap();
        let collection = database.collection("c").unwrap();
        let (mut keys, mut items) = (dict.keys().unwrap(), dict.items().unwrap());
        let (mut blobs, mut documents) = (blob.keys().unwrap(), collection.documents().unwrap());
        let mut managers = database.managers(true).unwrap();
        let mut all = vec![
            ends(|| keys.next_page(max)),
            ends(|| items.next_page(max)),
            ends(|| blobs.next_page(max)),
            ends(|| documents.next_page(max)),
            ends(|| managers.next_page(max)),
        ];
        let mut listed = database.list("l").unwrap().items().unwrap();
        let mut queued = database.queue("q").unwrap().items().unwrap();
        let mut logged = database.log("g").unwrap().entries().unwrap();
        all.push(ends(|| listed.next_page(max)));
        all.push(ends(|| queued.next_page(max)));
        all.push(ends(|| logged.next_page(max)));
        for direction in [crate::Direction::Outgoing, crate::Direction::Incoming] {
            let mut edges = collection.edges("a", direction).unwrap();
            let mut neighbors = collection.neighbors("a", None, direction).unwrap();
            all.push(ends(|| edges.next_page(max)));
            all.push(ends(|| neighbors.next_page(max)));
        }
        all
    }

    #[test]
    fn only_what_ascends_is_in_order() {
        assert!(check_order(None, ["", "a", "b"]).is_ok());
        assert!(check_order(Some("a"), []).is_ok());
        for (after, keys) in [
            (Some("a"), vec!["a"]),
            (None, vec!["b", "a"]),
            (Some("b"), vec!["a"]),
        ] {
            assert!(matches!(check_order(after, keys), Err(Error::Corrupt(_))));
        }
        assert!(check_order(Some((1.0, 2)), [(1.0, 3), (2.0, 0)]).is_ok());
    }
}
