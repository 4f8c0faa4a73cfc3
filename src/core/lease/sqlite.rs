//! The lock table in SQLite, and a connection's runtime as its world.

use super::GRANTED_AT;
use super::table::{Expired, HeadRow, Life, Line, LockTable, LockTransaction, Wait};
use super::wait::FAR;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::runtime::Interest;
use crate::write::WriteTransaction;
use crate::{topic, watch};
use rusqlite::{OptionalExtension as _, params};
use std::time::Duration;

impl LockTransaction for WriteTransaction<'_> {
    fn commit(self) -> Result<()> {
        WriteTransaction::commit(self)
    }

    fn expired(&self, lock_name: &str, now: f64) -> Result<Vec<Expired>> {
        let mut statement = self.connection().prepare_cached(
            "SELECT CAST(waiter_id AS TEXT), requested_at = ?3, expires_at
             FROM beaver_lock_waiters WHERE lock_name = ?1 AND expires_at <= ?2",
        )?;
        let rows = statement.query_map(params![lock_name, now, GRANTED_AT], |row| {
            Ok(Expired {
                waiter_id: row.get(0)?,
                granted: row.get(1)?,
                expires_at: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn head(&self, lock_name: &str) -> Result<Option<HeadRow>> {
        Ok(self
            .connection()
            .prepare_cached(
                "SELECT CAST(waiter_id AS TEXT), requested_at = ?2, expires_at
                 FROM beaver_lock_waiters
                 WHERE lock_name = ?1 ORDER BY requested_at LIMIT 1",
            )?
            .query_row(params![lock_name, GRANTED_AT], |row| {
                Ok(HeadRow {
                    waiter_id: row.get(0)?,
                    granted: row.get(1)?,
                    expires_at: row.get(2)?,
                })
            })
            .optional()?)
    }

    fn last_request(&self, lock_name: &str) -> Result<Option<f64>> {
        Ok(self
            .connection()
            .prepare_cached(
                "SELECT max(requested_at) FROM beaver_lock_waiters WHERE lock_name = ?1",
            )?
            .query_row([lock_name], |row| row.get(0))?)
    }

    fn insert(
        &self,
        lock_name: &str,
        waiter_id: &str,
        requested_at: f64,
        expires_at: f64,
    ) -> Result<()> {
        // At the end of the line, or where there was none.
        self.database().concerns(topic::NOBODY);
        self.connection()
            .prepare_cached(
                "INSERT INTO beaver_lock_waiters (lock_name, waiter_id, requested_at, expires_at)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![lock_name, waiter_id, requested_at, expires_at])?;
        Ok(())
    }

    fn update(
        &self,
        lock_name: &str,
        waiter_id: &str,
        requested_at: Option<f64>,
        expires_at: f64,
    ) -> Result<bool> {
        // Who is granted the lock on its behalf waits for that.
        self.database().concerns(match requested_at {
            Some(_) => topic::lock(lock_name),
            None => topic::NOBODY,
        });
        let updated = self
            .connection()
            .prepare_cached(
                "UPDATE beaver_lock_waiters
                 SET requested_at = coalesce(?3, requested_at), expires_at = ?4
                 WHERE lock_name = ?1 AND waiter_id = ?2",
            )?
            .execute(params![lock_name, waiter_id, requested_at, expires_at])?;
        Ok(updated > 0)
    }

    fn extend_grant(&self, lock_name: &str, waiter_id: &str, expires_at: f64) -> Result<bool> {
        // It may end sooner than the next in line expects.
        self.database().concerns(topic::lock(lock_name));
        let updated = self
            .connection()
            .prepare_cached(
                "UPDATE beaver_lock_waiters SET expires_at = ?4
                 WHERE lock_name = ?1 AND requested_at = ?2 AND waiter_id = ?3",
            )?
            .execute(params![lock_name, GRANTED_AT, waiter_id, expires_at])?;
        Ok(updated > 0)
    }

    fn delete(&self, lock_name: &str, waiter_id: &str) -> Result<bool> {
        self.database().concerns(topic::lock(lock_name));
        let deleted = self
            .connection()
            .prepare_cached(
                // Somebody else's id may be a blob; it was read as text.
                "DELETE FROM beaver_lock_waiters
                 WHERE lock_name = ?1 AND waiter_id IN (?2, CAST(?2 AS BLOB))",
            )?
            .execute([lock_name, waiter_id])?;
        Ok(deleted > 0)
    }

    fn clear(&self, lock_name: &str) -> Result<u64> {
        self.database().concerns(topic::lock(lock_name));
        let deleted = self
            .connection()
            .prepare_cached("DELETE FROM beaver_lock_waiters WHERE lock_name = ?1")?
            .execute([lock_name])?;
        Ok(deleted as u64)
    }

    fn next_token(&self, lock_name: &str) -> Result<u64> {
        Ok(self
            .connection()
            .prepare_cached(
                "INSERT INTO beaver_lock_fencing (lock_name, token) VALUES (?1, 1)
                 ON CONFLICT (lock_name) DO UPDATE SET token = token + 1 RETURNING token",
            )?
            .query_row([lock_name], |row| row.get::<_, i64>(0))?
            .cast_unsigned())
    }
}

impl LockTable for Database {
    type Transaction<'a> = WriteTransaction<'a>;

    fn begin(&self, limit: Option<Duration>) -> Result<WriteTransaction<'_>> {
        self.begin_write(limit)
    }

    fn look<T>(
        &self,
        lock_name: &str,
        waiter_id: &str,
        judge: impl FnOnce(&Line<'_>) -> T,
    ) -> Result<Option<T>> {
        let mut statement = self.inner.connection.prepare_cached(
            "SELECT head.expires_at,
                    (SELECT count(*) FROM (SELECT 1 FROM beaver_lock_waiters
                      WHERE lock_name = ?1 AND requested_at < me.requested_at LIMIT ?4)),
                    head.waiter_id, head.requested_at = ?3,
                    CASE WHEN head.requested_at = ?3 AND head.waiter_id = ?2 THEN
                      (SELECT token FROM beaver_lock_fencing WHERE lock_name = ?1) END
             FROM beaver_lock_waiters AS me,
                  (SELECT waiter_id, expires_at, requested_at FROM beaver_lock_waiters
                    WHERE lock_name = ?1 ORDER BY requested_at LIMIT 1) AS head
             WHERE me.lock_name = ?1 AND me.waiter_id = ?2",
        )?;
        let mut rows = statement.query(params![lock_name, waiter_id, GRANTED_AT, FAR])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        Ok(Some(judge(&Line {
            head: row.get_ref(2)?.as_str().ok(),
            head_expires_at: row.get(0)?,
            head_granted: row.get(3)?,
            ahead: row.get(1)?,
            token: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
        })))
    }

    fn new_waiter_id(&self) -> String {
        self.waiter_ids().next()
    }

    fn claim(&self, waiter_id: &str) -> Option<u64> {
        self.waiter_ids().claim_of_other(waiter_id)
    }

    fn life(&self, waiter_id: &str) -> Life {
        let Some(claim) = self.claim(waiter_id) else {
            return Life::Unknown;
        };
        match self.inner.runtime.is_claimed(&self.inner.connection, claim) {
            Some(true) => Life::Lives,
            Some(false) => Life::Gone,
            None => Life::Unknown,
        }
    }

    fn check_may_wait(&self, lock_name: &str) -> Result<()> {
        self.check_not_own(lock_name)
    }

    fn timed_out(&self, lock_name: &str) -> Error {
        Database::timed_out(self, &[lock_name])
    }

    fn unix_seconds(&self) -> f64 {
        self.inner.runtime.unix_seconds()
    }

    fn monotonic(&self) -> Duration {
        self.inner.runtime.monotonic()
    }

    fn change_token(&self) -> Option<u64> {
        self.inner.runtime.change_token(&self.inner.connection)
    }

    fn is_told(&self) -> bool {
        let inner = &*self.inner;
        let ask = || inner.runtime.change_token(&inner.connection).is_some();
        *inner.is_told.get_or_init(ask)
    }

    fn watch(&self, wait: &Wait<'_>) {
        Database::watch(
            self,
            Some(Interest {
                topic: topic::lock(wait.lock_name),
                turn: wait.place.map(watch::turn),
                claim: wait.claim,
            }),
        );
    }

    fn wait(&self, wait: &Wait<'_>) {
        let inner = &*self.inner;
        LockTable::watch(self, wait);
        let (seen, longest) = (wait.seen, wait.longest);
        inner.runtime.wait_change(&inner.connection, seen, longest);
    }

    fn stop_waiting(&self) {
        Database::watch(self, None);
    }

    fn sleep(&self, duration: Duration) {
        self.inner.runtime.sleep(duration);
    }

    fn abandon(&self, lock_name: &str, waiter_id: &str) {
        Database::abandon(self, &[(lock_name, waiter_id)]);
    }
}

#[cfg(test)]
mod tests {
    use crate::database::Database;
    use crate::error::Error;
    use crate::lease::GRANTED_AT;
    use crate::options::{LockOptions, Options};
    use crate::runtime::testing::Telling;
    use crate::runtime::{Interest, Runtime, SystemRuntime};
    use rusqlite::{Connection, params};
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    /// Counts the places that others see when it is first told what to watch.
    struct Counting(SystemRuntime, Connection, Cell<Option<i64>>);

    impl Runtime for Counting {
        fn unix_seconds(&self) -> f64 {
            self.0.unix_seconds()
        }
        fn monotonic(&self) -> Duration {
            self.0.monotonic()
        }
        fn random(&self) -> u128 {
            self.0.random()
        }
        fn sleep(&self, duration: Duration) {
            self.0.sleep(duration);
        }
        fn watch(&self, _: &Connection, interest: Option<Interest>) {
            if interest.is_some() && self.2.get().is_none() {
                let count = "SELECT count(*) FROM beaver_lock_waiters WHERE requested_at > 0";
                let places = self.1.query_row(count, [], |row| row.get(0)).unwrap();
                self.2.set(Some(places));
            }
        }
        fn explain_cannot_open(&self, path: &str) -> Error {
            self.0.explain_cannot_open(path)
        }
    }

    #[test]
    fn a_place_is_watched_before_anybody_can_grant_it_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let path = path.to_str().unwrap();
        let holder = Database::open(path, &Options::default()).unwrap();
        let lock = holder.lock("l").unwrap();
        lock.acquire(&LockOptions::default()).unwrap();

        let others = Connection::open(path).unwrap();
        let runtime = Rc::new(Counting(SystemRuntime::new(), others, Cell::new(None)));
        let waiter = Database::open_with(path, &Options::default(), runtime.clone()).unwrap();
        let options = LockOptions {
            timeout: Some(Duration::from_millis(1)),
            ..LockOptions::default()
        };
        let waited = waiter.lock("l").unwrap().acquire(&options);
        assert!(matches!(waited, Err(Error::Timeout)), "{waited:?}");
        assert_eq!(runtime.2.get(), Some(0));
    }

    const WAITER: &str = "live:00000000100000000000000000000001:0+3600000000000f";

    /// Gives a lock back behind which `id` waits; returns whether that one was
    /// granted it, if it is still there.
    fn give_back(claimed: Option<bool>, id: &dyn rusqlite::ToSql, prepare: &str) -> Option<bool> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let runtime = Rc::new(Telling::of(move |_| claimed));
        let db = Database::open_with(path.to_str().unwrap(), &Options::default(), runtime).unwrap();
        let lock = db.lock("l").unwrap();
        lock.acquire(&LockOptions::default()).unwrap();
        let connection = &db.inner.connection;
        let now = db.inner.runtime.unix_seconds();
        connection
            .execute(
                "INSERT INTO beaver_lock_waiters VALUES ('l', ?1, ?2, ?3)",
                params![id, now, now + 30.0],
            )
            .unwrap();
        connection.execute_batch(prepare).unwrap();
        lock.release().unwrap();
        // Nothing is left to put away, so the next write goes on.
        db.dict("d").unwrap().set("k", "1", None).unwrap();
        connection
            .query_row("SELECT requested_at FROM beaver_lock_waiters", [], |row| {
                Ok(row.get::<_, f64>(0)? == GRANTED_AT)
            })
            .ok()
    }

    #[test]
    fn a_lock_is_handed_over_to_the_living_only() {
        assert_eq!(give_back(Some(true), &WAITER, ""), Some(true));
        assert_eq!(give_back(Some(false), &WAITER, ""), None);
        // Native code can't tell: dead, it would keep the lock for an hour.
        assert_eq!(give_back(None, &WAITER, ""), Some(false));
        // Neither can it be known what these want, or that they want it still.
        let set = "live:00000000100000000000000000000001:0";
        assert_eq!(give_back(Some(true), &set, ""), Some(false));
        assert_eq!(give_back(Some(true), &"pid:7:id:8", ""), Some(false));
        let late = "UPDATE beaver_lock_waiters SET expires_at = 1 WHERE waiter_id LIKE 'live:%+%'";
        assert_eq!(give_back(Some(true), &WAITER, late), Some(false));
        // By a clock 20 s behind it might be over before its owner takes it up.
        let short = "live:00000000100000000000000000000001:0+21999999999f";
        assert_eq!(give_back(Some(true), &short, ""), Some(false));
    }

    #[test]
    fn giving_back_succeeds_whatever_stands_in_the_line() {
        let blob = WAITER.as_bytes();
        assert_eq!(give_back(Some(false), &blob, ""), None);
        assert_eq!(give_back(Some(true), &blob, ""), Some(false));
        assert_eq!(
            give_back(Some(true), &[0xff_u8, 0xfe].as_slice(), ""),
            Some(false)
        );
        let full = "UPDATE beaver_lock_fencing SET token = 9223372036854775807";
        assert_eq!(give_back(Some(true), &WAITER, full), Some(false));
    }

    /// A stranger's file can keep the dead in a line, and take away what was granted.
    #[test]
    fn asking_for_a_lock_ends_whatever_comes_back() {
        let come_back = "CREATE TRIGGER t AFTER DELETE ON beaver_lock_waiters
             WHEN OLD.requested_at > 0 BEGIN INSERT INTO beaver_lock_waiters
             VALUES (OLD.lock_name, OLD.waiter_id, OLD.requested_at, OLD.expires_at); END";
        assert_eq!(give_back(Some(false), &WAITER, come_back), Some(false));
        let none_stays = "CREATE TRIGGER t AFTER INSERT ON beaver_lock_waiters BEGIN
             DELETE FROM beaver_lock_waiters; END";
        for trigger in [come_back, none_stays] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("app.db");
            let runtime = Rc::new(Telling::of(|_| Some(false)));
            let options = Options {
                lock_wait: Duration::ZERO,
                ..Options::default()
            };
            let db = Database::open_with(path.to_str().unwrap(), &options, runtime).unwrap();
            let dict = db.dict("d").unwrap();
            let connection = &db.inner.connection;
            let now = db.inner.runtime.unix_seconds();
            connection
                .execute(
                    "INSERT INTO beaver_lock_waiters VALUES ('__lock__dict__d', ?1, ?2, ?3)",
                    params![WAITER, now, now + 30.0],
                )
                .unwrap();
            connection.execute_batch(trigger).unwrap();
            let set = dict.set("k", "1", None);
            assert!(matches!(set, Err(Error::Locked(_))), "{set:?}");
        }
    }
}
