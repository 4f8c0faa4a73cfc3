//! What native SQLite says of an image.
//!
//! The image is opened in memory. A database there can't have a write-ahead log, so the copy's header is
//! made to say that it has none; nothing else is touched.
//!
//! What must stay true: one connection serves many images, since opening one costs more than reading a
//! small image; but none serves another after an image that is no database, since SQLite first reads
//! the schema that it is to replace.

use rusqlite::{Connection, MAIN_DB, OptionalExtension as _};

/// Where the header says which journal mode the database has, for writing and reading.
const VERSIONS: std::ops::Range<usize> = 18..20;
const ROLLBACK: u8 = 1;
const WAITERS: &str =
    "SELECT lock_name, waiter_id, requested_at, expires_at FROM beaver_lock_waiters
     ORDER BY lock_name, requested_at";

/// Checks images.
#[derive(Debug)]
pub struct Verdict {
    connection: Connection,
}

/// A row of `beaver_lock_waiters`.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiter {
    /// The lock.
    pub lock_name: String,
    /// Who holds it or waits for it.
    pub waiter_id: String,
    /// Its place in line, in seconds since 1970; far before that for the holder.
    pub requested_at: f64,
    /// When it lapses, in seconds since 1970.
    pub expires_at: f64,
}

/// What of a sound image is of interest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// By lock and place in line; none if there is no such table.
    pub waiters: Vec<Waiter>,
}

impl Verdict {
    /// # Errors
    /// SQLite can't open a database in memory.
    pub fn new() -> rusqlite::Result<Self> {
        Ok(Self {
            connection: Connection::open_in_memory()?,
        })
    }

    /// Runs `integrity_check` and `foreign_key_check` on an image and reads who stands in line.
    ///
    /// # Errors
    /// What is wrong with it, for a person to read.
    pub fn check(&mut self, mut image: Vec<u8>) -> Result<Contents, String> {
        if image.is_empty() {
            return Ok(Contents::default());
        }
        if let Some(versions) = image.get_mut(VERSIONS) {
            versions.fill(ROLLBACK);
        }
        let contents = self
            .connection
            .deserialize_read_exact(MAIN_DB, image.as_slice(), image.len(), true)
            .and_then(|()| self.ask())
            .unwrap_or_else(|error| Err(error.to_string()));
        if contents.is_err()
            && let Ok(fresh) = Self::new()
        {
            *self = fresh;
        }
        contents
    }

    fn ask(&self) -> rusqlite::Result<Result<Contents, String>> {
        let mut wrong = self.lines("PRAGMA integrity_check", |row| row.get::<_, String>(0))?;
        wrong.retain(|line| line != "ok");
        wrong.extend(self.lines("PRAGMA foreign_key_check", |row| {
            let (table, parent) = (row.get::<_, String>(0)?, row.get::<_, String>(2)?);
            let row_id = row.get::<_, Option<i64>>(1)?;
            Ok(format!(
                "row {row_id:?} of {table} has no parent in {parent}"
            ))
        })?);
        if !wrong.is_empty() {
            return Ok(Err(wrong.join("\n")));
        }
        let has_waiters = self
            .connection
            .query_row(
                "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'beaver_lock_waiters'",
                [],
                |_| Ok(()),
            )
            .optional()?
            .is_some();
        if !has_waiters {
            return Ok(Ok(Contents::default()));
        }
        let waiters = self.lines(WAITERS, |row| {
            Ok(Waiter {
                lock_name: row.get(0)?,
                waiter_id: row.get(1)?,
                requested_at: row.get(2)?,
                expires_at: row.get(3)?,
            })
        })?;
        Ok(Ok(Contents { waiters }))
    }

    fn lines<T>(
        &self,
        sql: &str,
        each: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| each(row))?;
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::audit::testing::Native;

    #[test]
    fn a_sound_image_shows_who_stands_in_line() {
        let native = Native::new();
        native.run("CREATE TABLE t (v)");
        let mut verdict = Verdict::new().unwrap();
        assert_eq!(verdict.check(native.truth()), Ok(Contents::default()));
        native.run(
            "CREATE TABLE beaver_lock_waiters (lock_name, waiter_id, requested_at, expires_at);
             INSERT INTO beaver_lock_waiters VALUES ('l', 'me', 2.5, 3.5)",
        );
        let waiter = Waiter {
            lock_name: "l".to_owned(),
            waiter_id: "me".to_owned(),
            requested_at: 2.5,
            expires_at: 3.5,
        };
        let waiters = vec![waiter];
        assert_eq!(verdict.check(native.truth()), Ok(Contents { waiters }));
        assert_eq!(verdict.check(Vec::new()), Ok(Contents::default()));
    }

    #[test]
    fn what_is_wrong_is_told_and_the_next_image_is_judged_alone() {
        let native = Native::new();
        native.run(
            "CREATE TABLE t (v UNIQUE); INSERT INTO t VALUES (1), (2);
             CREATE TABLE c (p REFERENCES t (v))",
        );
        let sound = native.truth();
        let mut verdict = Verdict::new().unwrap();
        let mut broken = sound.clone();
        broken[4096..8192].fill(0);
        assert!(verdict.check(broken).is_err());
        assert!(verdict.check(vec![7; 8192]).is_err());
        assert!(verdict.check(sound[..4096].to_vec()).is_err());
        assert!(verdict.check(vec![7; 10]).is_err());
        assert_eq!(verdict.check(sound), Ok(Contents::default()));
        native.run("PRAGMA foreign_keys=OFF; INSERT INTO c VALUES (3)");
        assert_eq!(
            verdict.check(native.truth()).unwrap_err(),
            "row Some(1) of c has no parent in t"
        );
    }
}
