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
use rusqlite::{Connection, OptionalExtension as _, Rows, params};
use std::collections::BTreeSet;

/// How many locks a look for a circle passes before it gives up.
const LOCKS_MAX: usize = 1000;

/// How many names of locks it goes through in all, for each keeper from the first. The time is up already:
/// this many take less than a second.
const NAMES_MAX: usize = 20_000;

/// Of how many rows that nobody stands behind any more, before one that counts, it takes notice.
const GONE_MAX: u32 = 64;

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

    /// Whether it is sure that nobody stands behind a row any more.
    fn is_row_gone(&self, row: &str) -> bool {
        let claim = self.waiter_ids().claim_of_other(row);
        self.inner
            .orphans
            .borrow()
            .iter()
            .any(|orphan| orphan.is_row(row))
            || claim.is_some_and(|claim| self.is_gone(claim))
    }

    fn find_circle(
        &self,
        connection: &Connection,
        lock_names: &[&str],
    ) -> Result<Option<Vec<String>>> {
        let ids = self.waiter_ids();
        let own = ids.connection();
        let now = self.inner.runtime.unix_seconds();
        let is_gone = &|waiter_id: &str| self.is_row_gone(waiter_id);
        let mut steps: Vec<Step> = lock_names
            .iter()
            .map(|name| Step {
                lock_name: (*name).to_owned(),
                waiting: own.to_owned(),
                from: None,
            })
            .collect();
        let mut seen = BTreeSet::new();
        let mut names_left = NAMES_MAX;
        let mut next = 0;
        while let Some(step) = steps.get(next).filter(|_| next < LOCKS_MAX) {
            let head = head(connection, &step.lock_name, now, is_gone)?;
            // The head waits for nobody here, but perhaps elsewhere.
            let keeper = head
                .as_deref()
                .and_then(WaiterIds::connection_of)
                .filter(|keeper| *keeper != step.waiting);
            if keeper == Some(own) {
                return Ok(Some(way_to(&steps, next)));
            }
            if let Some(keeper) = keeper
                && seen.insert(keeper.to_owned())
            {
                for lock_name in awaited(connection, keeper, now, is_gone, &mut names_left)? {
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
fn head(
    connection: &Connection,
    lock_name: &str,
    now: f64,
    is_gone: &dyn Fn(&str) -> bool,
) -> Result<Option<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT CAST(waiter_id AS TEXT) FROM beaver_lock_waiters
         WHERE lock_name = ?1 AND expires_at > ?2 ORDER BY requested_at LIMIT ?3",
    )?;
    let mut rows = statement.query(params![lock_name, now, GONE_MAX])?;
    first_left(&mut rows, is_gone)
}

/// The first that isn't gone.
fn first_left(rows: &mut Rows<'_>, is_gone: &dyn Fn(&str) -> bool) -> Result<Option<String>> {
    while let Some(row) = rows.next()? {
        let waiter_id: String = row.get(0)?;
        if !is_gone(&waiter_id) {
            return Ok(Some(waiter_id));
        }
    }
    Ok(None)
}

/// The next lock's name. From one to the next, because no index has the owners of all locks.
const NEXT: &str = "SELECT min(lock_name) FROM beaver_lock_waiters WHERE lock_name > ?1";

/// The places of a connection in a lock's line. The `+` keep SQLite from the other indexes, by which it
/// would read the whole line.
const STANDS: &str = "SELECT CAST(waiter_id AS TEXT) FROM beaver_lock_waiters AS waiter
     WHERE lock_name = ?4 AND waiter_id >= ?1 || ':' AND waiter_id < ?1 || ';'
       AND +requested_at > ?2 AND +expires_at > ?3 LIMIT ?5";

/// The locks for which a connection stands in line, as far as `names_left` go.
/// They end it also where a damaged index gives the same names again.
fn awaited(
    connection: &Connection,
    keeper: &str,
    now: f64,
    is_gone: &dyn Fn(&str) -> bool,
    names_left: &mut usize,
) -> Result<Vec<String>> {
    let mut next = connection.prepare_cached(NEXT)?;
    let mut stands = connection.prepare_cached(STANDS)?;
    let mut awaited = Vec::new();
    // No name is empty, or comes before it.
    let mut last = String::new();
    while *names_left > 0 {
        *names_left -= 1;
        let Some(name) = next.query_row([&last], |row| row.get::<_, Option<String>>(0))? else {
            break;
        };
        let mut places = stands.query(params![keeper, GRANTED_AT, now, name, GONE_MAX])?;
        if first_left(&mut places, is_gone)?.is_some() {
            awaited.push(name.clone());
        }
        last = name;
    }
    Ok(awaited)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::runtime::testing::Telling;
    use std::rc::Rc;

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
    fn what_was_given_up_makes_no_circle_and_hides_none() {
        let keeper = "live:00000000100000000000000000000000";
        let given_up = 0x1000_0000 + 1 + 7;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.db");
        let runtime = Rc::new(Telling::of(move |token| Some(token != given_up)));
        let db = Database::open_with(path.to_str().unwrap(), &Options::default(), runtime).unwrap();
        let add = |lock: &str, id: &str, requested_at: f64| {
            db.inner
                .connection
                .execute(
                    "INSERT INTO beaver_lock_waiters VALUES (?1, ?2, ?3, 9e9)",
                    params![lock, id, requested_at],
                )
                .unwrap();
        };
        row(&db, "x", "me", GRANTED_AT);
        add("y", &format!("{keeper}:3"), GRANTED_AT);
        add("x", &format!("{keeper}:7+5f"), 1.0);
        assert_eq!(circle(&db, &["y"]), None, "it waits for x no longer");
        add("x", &format!("{keeper}:8+5f"), 2.0);
        assert_eq!(circle(&db, &["y"]).unwrap(), ["y", "x"]);
        // Before who really has z stands what was given up.
        add("z", &format!("{keeper}:7"), 1.0);
        row(&db, "z", "a", 2.0);
        assert_eq!(circle(&db, &["z"]), None);
        row(&db, "x", "a", 3.0);
        assert_eq!(circle(&db, &["z"]).unwrap(), ["z", "x"]);
    }

    #[test]
    fn no_more_names_than_allowed_are_gone_through() {
        let (_dir, db) = database();
        for number in 0..10 {
            row(&db, &format!("k{number}"), "a", 1.0);
        }
        let mut left = 7;
        let walk = |db: &Database, left: &mut usize| {
            awaited(&db.inner.connection, "wasm:a", 2.0, &|_| false, left)
        };
        assert_eq!(walk(&db, &mut left).unwrap().len(), 7);
        assert_eq!(walk(&db, &mut left).unwrap().len(), 0);
        assert_eq!(walk(&db, &mut 100).unwrap().len(), 10);
    }

    #[test]
    fn no_line_is_read_as_a_whole() {
        let (_dir, db) = database();
        let plan = |sql: &str, parameters: &[&dyn rusqlite::ToSql]| -> Vec<String> {
            let mut plan = db
                .inner
                .connection
                .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
                .unwrap();
            plan.query_map(parameters, |row| row.get(3))
                .unwrap()
                .collect::<rusqlite::Result<_>>()
                .unwrap()
        };
        let next = plan(NEXT, params![""]);
        assert!(
            next.len() == 1 && next[0].starts_with("SEARCH") && next[0].contains("lock_name>?"),
            "{next:#?}"
        );
        let stands = plan(STANDS, params!["a", 0.0, 0.0, "k", 1]);
        let waiter = stands.iter().find(|step| step.contains("waiter USING"));
        assert!(
            waiter.is_some_and(|step| step.contains("idx_lock_waiter_id")
                && step.contains("waiter_id>? AND waiter_id<?")),
            "{stands:#?}"
        );
    }
}
