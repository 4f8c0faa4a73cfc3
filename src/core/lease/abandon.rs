//! How a row is given up on a path that can't report: the end of a wait, a dropped guard.
//!
//! What must stay true: nobody stands behind the row any more, so it keeps the lock from
//! nobody. It is deleted, and if SQLite's write lock isn't to be had for that, its claim is
//! ended, so that others take it for what a dead owner left. The connection's next read or
//! write deletes it, or its end.

use super::grant;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::orphan::Orphan;
use std::time::Duration;

/// What a wait that ends without the lock may take beyond its time to put its place
/// away. Longer than [`WRITE_GRACE`](super::WRITE_GRACE): to Python, and to who knows no claims, a
/// place that stands without anybody who waits in it is one like any other.
const ABANDON_GRACE: Duration = Duration::from_secs(1);

impl Database {
    /// Gives up lock rows (a lock's name, a waiter's id). Blocks for a second at most.
    pub(crate) fn abandon(&self, rows: &[(&str, &str)]) {
        if self.delete_now(rows).is_ok() {
            return;
        }
        let inner = &*self.inner;
        for (lock_name, waiter_id) in rows {
            let token = self.waiter_ids().claim_of_own(waiter_id);
            let is_given_up =
                token.is_some_and(|token| inner.runtime.end_claim(&inner.connection, token));
            // Deleting a row that is gone already does no harm.
            inner.orphans.borrow_mut().push(Orphan::Lease {
                lock_name: (*lock_name).to_owned(),
                waiter_id: (*waiter_id).to_owned(),
                is_given_up,
            });
        }
    }

    fn delete_now(&self, rows: &[(&str, &str)]) -> Result<()> {
        if !self.inner.connection.is_autocommit() {
            return Err(Error::InTransaction);
        }
        let transaction = self.begin_write(Some(ABANDON_GRACE))?;
        let mut were_there = false;
        for (lock_name, waiter_id) in rows {
            were_there |= grant::give_back(self, &transaction, lock_name, waiter_id)?;
        }
        if were_there {
            transaction.commit()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{LockOptions, Options};
    use crate::runtime::Runtime;
    use rusqlite::Connection;
    use std::cell::{Cell, RefCell};
    use std::ops::Range;
    use std::rc::Rc;

    /// Claims whatever is asked for. When somebody waits, an hour passes, and from then on
    /// another connection writes.
    struct Interfering {
        now: Cell<Duration>,
        writer: Connection,
        owner: u64,
        claimed: RefCell<Vec<Range<u64>>>,
        ended: RefCell<Vec<u64>>,
    }

    impl Runtime for Interfering {
        fn unix_seconds(&self) -> f64 {
            1.7e9 + self.now.get().as_secs_f64()
        }
        fn monotonic(&self) -> Duration {
            self.now.get()
        }
        fn random(&self) -> u128 {
            u128::from(self.owner) << 96
        }
        fn sleep(&self, duration: Duration) {
            self.now.set(self.now.get() + duration);
        }
        fn wait_change(&self, _: &Connection, _: Option<u64>, _: Duration) {
            self.now.set(self.now.get() + Duration::from_secs(3600));
            self.writer.execute_batch("BEGIN IMMEDIATE").unwrap();
        }
        fn claim(&self, _: &Connection, tokens: Range<u64>) -> bool {
            self.claimed.borrow_mut().push(tokens);
            true
        }
        fn end_claim(&self, _: &Connection, token: u64) -> bool {
            self.ended.borrow_mut().push(token);
            true
        }
        fn is_claimed(&self, _: &Connection, _: u64) -> Option<bool> {
            Some(true)
        }
        fn explain_cannot_open(&self, _: &str) -> Error {
            Error::NotFound
        }
    }

    fn open(path: &str, owner: u64) -> (Database, Rc<Interfering>) {
        let runtime = Rc::new(Interfering {
            now: Cell::default(),
            writer: Connection::open(path).unwrap(),
            owner,
            claimed: RefCell::default(),
            ended: RefCell::default(),
        });
        let options = Options {
            busy_timeout: Duration::from_millis(1),
            ..Options::default()
        };
        let database = Database::open_with(path, &options, runtime.clone()).unwrap();
        (database, runtime)
    }

    fn rows(database: &Database) -> Vec<String> {
        let rows = "SELECT waiter_id FROM beaver_lock_waiters WHERE requested_at > 0 ORDER BY 1";
        let mut statement = database.inner.connection.prepare(rows).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    }

    /// Waits for what others hold until the time is up, and looks at what is left.
    fn give_up(wait: impl FnOnce(&Database, &LockOptions) -> Error, places: usize) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let path = path.to_str().unwrap();
        let (holder, _) = open(path, 1);
        let held = ["l", "m"].map(|name| holder.lock(name).unwrap());
        for lock in &held {
            lock.acquire(&LockOptions::default()).unwrap();
        }
        let (waiter, runtime) = open(path, 2);
        let options = LockOptions {
            timeout: Some(Duration::from_secs(60)),
            ..LockOptions::default()
        };
        assert_eq!(wait(&waiter, &options), Error::Timeout);
        let left = rows(&holder);
        assert_eq!(left.len(), places);
        let of_rows: Vec<_> = left
            .iter()
            .map(|id| holder.waiter_ids().claim_of_other(id).unwrap())
            .collect();
        assert_eq!(*runtime.ended.borrow(), of_rows, "{left:?}");

        runtime.writer.execute_batch("ROLLBACK").unwrap();
        waiter.dict("d").unwrap().set("k", "1", None).unwrap();
        assert_eq!(rows(&holder), <[String; 0]>::default());
        // Once in the beginning, and once again when all have been put away.
        let claimed = runtime.claimed.borrow();
        assert!(
            claimed.len() == 2 && claimed[0] == claimed[1],
            "{claimed:?}"
        );
        assert!(of_rows.iter().all(|token| claimed[0].contains(token)));
    }

    #[test]
    fn a_place_that_cannot_be_deleted_is_given_up_by_its_claim() {
        give_up(
            |waiter, options| waiter.lock("l").unwrap().acquire(options).unwrap_err(),
            1,
        );
    }

    #[test]
    fn so_are_the_places_of_a_set() {
        let wait = |waiter: &Database, options: &LockOptions| {
            let (l, m) = (waiter.lock("l").unwrap(), waiter.lock("m").unwrap());
            waiter.acquire_all(&[&l, &m], options).unwrap_err()
        };
        give_up(wait, 2);
    }
}
