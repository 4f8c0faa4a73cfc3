//! Waits that can't help, and how they end.
//!
//! A connection belongs to one thread, so whoever waits gives nothing back
//! meanwhile. Two things follow, and they are all that this module says:
//! - **A lock of one's own** (another handle of the same connection holds it) is never
//!   waited for: only its time to live could end that, and take it from its
//!   holder. That is known at once.
//! - **A circle** of connections that wait for each other ends when one gives up.
//!   Whoever runs out of time looks whether it stands in one, to say so instead of
//!   a mere timeout. Nobody is given up for the others: their time may be longer.
//!
//! What must stay true: nothing is reported that isn't so. Hence only owners
//! whose names tell their connection are followed; Python's tell the process, whose
//! threads may be busy and waiting at the same time. And nothing is paid before
//! the time is up, or by those who hold nothing.

use crate::database::Database;
use crate::error::{Error, Result};
use crate::lease::{GRANTED_AT, WRITE_GRACE};
use crate::waiter_id::WaiterIds;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::BTreeSet;

/// How many locks a look for a circle passes before it gives up.
const LOCKS_MAX: usize = 1000;

/// A lock on the way from the one that is waited for.
struct Step {
    lock_name: String,
    /// Who waits for it.
    waiting: String,
    /// The step whose lock that one keeps.
    from: Option<usize>,
}

impl Database {
    /// Refuses to wait for what another handle of this connection holds.
    pub(crate) fn check_not_own(&self, lock_name: &str) -> Result<()> {
        if self.inner.held.get() == 0 {
            return Ok(());
        }
        let holder: Option<String> = self
            .inner
            .connection
            .prepare_cached(
                "SELECT CAST(waiter_id AS TEXT) FROM beaver_lock_waiters
                 WHERE lock_name = ?1 AND requested_at = ?2",
            )?
            .query_row(params![lock_name, GRANTED_AT], |row| row.get(0))
            .optional()?;
        let own = self.waiter_ids().connection();
        if holder.as_deref().and_then(WaiterIds::connection_of) == Some(own) {
            return Err(Error::Deadlock(vec![lock_name.to_owned()]));
        }
        Ok(())
    }

    /// What to report when the time for `lock_names` is up.
    pub(crate) fn timed_out(&self, lock_names: &[&str]) -> Error {
        // Who holds nothing stands in nobody's way, unless it has places in
        // several lines.
        if self.inner.held.get() == 0 && lock_names.len() < 2 {
            return Error::Timeout;
        }
        // What can't be found out is not a reason to report anything else.
        let found = self.read_snapshot_within(WRITE_GRACE, |connection| {
            self.find_circle(connection, lock_names)
        });
        match found {
            Ok(Some(circle)) => Error::Deadlock(circle),
            Ok(None) | Err(_) => Error::Timeout,
        }
    }

    fn find_circle(
        &self,
        connection: &Connection,
        lock_names: &[&str],
    ) -> Result<Option<Vec<String>>> {
        let ids = self.waiter_ids();
        let own = ids.connection();
        let now = self.inner.runtime.unix_seconds();
        let mut steps: Vec<Step> = lock_names
            .iter()
            .map(|name| Step {
                lock_name: (*name).to_owned(),
                waiting: own.to_owned(),
                from: None,
            })
            .collect();
        let mut seen = BTreeSet::new();
        let mut next = 0;
        while let Some(step) = steps.get(next).filter(|_| next < LOCKS_MAX) {
            let head = head(connection, &step.lock_name, now)?;
            // The head waits for nobody here, but perhaps elsewhere.
            let keeper = head
                .as_deref()
                .and_then(WaiterIds::connection_of)
                .filter(|keeper| *keeper != step.waiting);
            if keeper == Some(own) {
                return Ok(Some(way_to(&steps, next)));
            }
            if let (Some(head), Some(keeper)) = (&head, keeper)
                && !ids
                    .claim_of_other(head)
                    .is_some_and(|claim| self.is_gone(claim))
                && seen.insert(keeper.to_owned())
            {
                for lock_name in awaited(connection, keeper, now)? {
                    steps.push(Step {
                        lock_name,
                        waiting: keeper.to_owned(),
                        from: Some(next),
                    });
                }
            }
            next += 1;
        }
        Ok(None)
    }
}

fn way_to(steps: &[Step], last: usize) -> Vec<String> {
    let mut way: Vec<String> = std::iter::successors(steps.get(last), |step| {
        step.from.and_then(|from| steps.get(from))
    })
    .map(|step| step.lock_name.clone())
    .collect();
    way.reverse();
    way
}

/// Who is at the head of a lock's line: its holder, or whom all others there
/// wait for.
fn head(connection: &Connection, lock_name: &str, now: f64) -> Result<Option<String>> {
    Ok(connection
        .prepare_cached(
            "SELECT CAST(waiter_id AS TEXT) FROM beaver_lock_waiters
             WHERE lock_name = ?1 AND expires_at > ?2 ORDER BY requested_at LIMIT 1",
        )?
        .query_row(params![lock_name, now], |row| row.get(0))
        .optional()?)
}

/// From lock to lock, because no index has the owners of all locks. The `+` keep
/// SQLite from the other indexes, by which it would read a whole line.
const AWAITED: &str = "WITH RECURSIVE lock (name) AS (
       SELECT min(lock_name) FROM beaver_lock_waiters
       UNION ALL
       SELECT (SELECT min(lock_name) FROM beaver_lock_waiters WHERE lock_name > lock.name)
         FROM lock WHERE lock.name IS NOT NULL)
     SELECT DISTINCT lock.name
       FROM lock CROSS JOIN beaver_lock_waiters AS waiter
         ON waiter.lock_name = lock.name
        AND waiter.waiter_id >= ?1 || ':' AND waiter.waiter_id < ?1 || ';'
      WHERE +waiter.requested_at > ?2 AND +waiter.expires_at > ?3";

/// The locks for which a connection stands in line.
fn awaited(connection: &Connection, keeper: &str, now: f64) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(AWAITED)?;
    let names = statement.query_map(params![keeper, GRANTED_AT, now], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    fn database() -> (tempfile::TempDir, Database) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.db");
        let db = Database::open(path.to_str().unwrap(), &Options::default()).unwrap();
        (dir, db)
    }

    /// Puts connection `who` ("a" is a peer of ours, "me" this one) in line for `lock`.
    fn row(db: &Database, lock: &str, who: &str, requested_at: f64) {
        let connection = match who {
            "me" => db.waiter_ids().connection().to_owned(),
            "pid" => "pid:7:id".to_owned(),
            other => format!("wasm:{other}"),
        };
        db.inner
            .connection
            .execute(
                "INSERT INTO beaver_lock_waiters VALUES (?1, ?2, ?3, 9e9)",
                params![lock, format!("{connection}:0"), requested_at],
            )
            .unwrap();
    }

    fn circle(db: &Database, wanted: &[&str]) -> Option<Vec<String>> {
        db.find_circle(&db.inner.connection, wanted).unwrap()
    }

    #[test]
    fn a_circle_names_its_locks_in_order() {
        let (_dir, db) = database();
        row(&db, "x", "me", GRANTED_AT);
        row(&db, "y", "a", GRANTED_AT);
        assert_eq!(
            circle(&db, &["y"]),
            None,
            "the holder of y waits for nobody"
        );
        row(&db, "z", "b", GRANTED_AT);
        row(&db, "z", "a", 1.0);
        assert_eq!(
            circle(&db, &["y"]),
            None,
            "the holder of z waits for nobody"
        );
        row(&db, "x", "b", 1.0);
        assert_eq!(circle(&db, &["y"]).unwrap(), ["y", "z", "x"]);
    }

    #[test]
    fn a_circle_of_others_is_not_ours() {
        let (_dir, db) = database();
        row(&db, "x", "me", GRANTED_AT);
        row(&db, "y", "a", GRANTED_AT);
        row(&db, "z", "b", GRANTED_AT);
        row(&db, "z", "a", 1.0);
        row(&db, "y", "b", 1.0);
        assert_eq!(circle(&db, &["y"]), None);
    }

    #[test]
    fn python_and_expired_owners_are_not_followed() {
        let (_dir, db) = database();
        row(&db, "x", "me", GRANTED_AT);
        row(&db, "y", "pid", GRANTED_AT);
        row(&db, "x", "pid", 1.0);
        assert_eq!(circle(&db, &["y"]), None);
        row(&db, "z", "a", GRANTED_AT);
        row(&db, "x", "a", 2.0);
        assert!(circle(&db, &["z"]).is_some());
        db.inner
            .connection
            .execute(
                "UPDATE beaver_lock_waiters SET expires_at = 1 WHERE requested_at = 2",
                [],
            )
            .unwrap();
        assert_eq!(circle(&db, &["z"]), None);
    }

    #[test]
    fn places_in_several_lines_are_in_the_way_too() {
        let (_dir, db) = database();
        // We wait for both, and are next for x: that is what "a" waits for.
        row(&db, "x", "me", 1.0);
        row(&db, "x", "a", 2.0);
        row(&db, "y", "a", GRANTED_AT);
        row(&db, "y", "me", 1.0);
        assert_eq!(circle(&db, &["x", "y"]).unwrap(), ["y", "x"]);
    }

    #[test]
    fn no_line_is_read_as_a_whole() {
        let (_dir, db) = database();
        let mut plan = db
            .inner
            .connection
            .prepare(&format!("EXPLAIN QUERY PLAN {AWAITED}"))
            .unwrap();
        let plan: Vec<String> = plan
            .query_map(params!["a", 0.0, 0.0], |row| row.get(3))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        let waiter = plan.iter().find(|step| step.contains("waiter USING"));
        assert!(
            waiter.is_some_and(|step| step.contains("idx_lock_waiter_id")
                && step.contains("waiter_id>? AND waiter_id<?")),
            "{plan:#?}"
        );
    }
}
