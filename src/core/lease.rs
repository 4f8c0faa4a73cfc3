//! The lock algorithm, on BeaverDB's own table `beaver_lock_waiters`.
//!
//! The head of a lock's rows by `requested_at` owns the lock: that is what
//! Python processes believe, so it stays true here. On top of it:
//! - **FIFO by commit order.** A request is stamped inside its write
//!   transaction with `max(now, just after the last in line)`.
//! - **A grant is a write.** It moves the row to [`GRANTED_AT`], before any
//!   clock, so that a Python process that stamped its request before and
//!   inserts it after can't get ahead; the time to live starts then; the fencing token grows.
//! - **At most one grant.** Only the head is granted, only in a write
//!   transaction, after the rows that have expired are deleted there.
//! - **Nothing is left behind.** A wait that ends without the lock deletes its
//!   row; a waiter that dies is forgotten after [`WAITER_TTL`].

use crate::database::Database;
use crate::error::{Error, Result};
use crate::runtime::POLL_INTERVAL;
use crate::write::Orphan;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::time::Duration;

/// Where a holder's row stands: before any clock's time. A whole number that a
/// float holds exactly, so that `=` finds it.
pub(crate) const GRANTED_AT: f64 = -1.0e15;

/// How long a waiting row lives. One whose waiter died holds up the queue no
/// longer than this.
pub(crate) const WAITER_TTL: Duration = Duration::from_secs(30);

/// How often a waiter renews its row: early enough that a clock 20 s ahead of
/// its own doesn't take it for dead.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(10);

/// Who is no further than this from the head looks at every commit.
pub(crate) const NEAR: u32 = 2;

/// A hand-over takes no less than this: a few commits.
pub(crate) const HAND_OVER_MIN: Duration = Duration::from_micros(500);

/// How soon the nearest waiter notices that a holder's instance or process is
/// gone, which no commit tells it.
pub(crate) const GONE_LOOK: Duration = Duration::from_millis(20);

/// How late a waiter far behind may notice that all before it have left, or
/// that it was removed.
pub(crate) const FAR_LOOK_MAX: Duration = Duration::from_millis(250);

/// How far a waiter whose clock is behind moves its row's expiry towards the
/// clock of the last in line. Bounded, because a row with an absurd time must
/// not make those behind it immortal.
const ADOPTED_SKEW_MAX_S: f64 = 120.0;

/// What a bounded wait may take beyond its time to get SQLite's write lock: a
/// lock that is merely busy with somebody's commit is not a reason to give up early.
pub(crate) const WRITE_GRACE: Duration = Duration::from_millis(100);

/// A lock that was granted, as its holder knows it. Whether it is still held
/// is for the table to say.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) lock_name: String,
    pub(crate) waiter_id: String,
    /// Larger for every later grant of this lock; 0 without fencing.
    pub(crate) token: u64,
    pub(crate) ttl: Duration,
}

/// Whether a grant takes a fencing token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fencing {
    With,
    /// For the lock of a single write, which ends in the write's own transaction.
    Without,
}

impl Lease {
    /// Deletes this grant's row. False: it was gone, so the lock was lost.
    pub(crate) fn delete(&self, connection: &Connection) -> Result<bool> {
        Self::delete_row(connection, &self.lock_name, &self.waiter_id)
    }

    pub(crate) fn delete_row(
        connection: &Connection,
        lock_name: &str,
        waiter_id: &str,
    ) -> Result<bool> {
        let deleted = connection
            .prepare_cached(
                "DELETE FROM beaver_lock_waiters WHERE lock_name = ?1 AND waiter_id = ?2",
            )?
            .execute([lock_name, waiter_id])?;
        Ok(deleted > 0)
    }

    /// Lets the grant live `ttl` from `now`. False: it was lost.
    pub(crate) fn extend(&self, connection: &Connection, now: f64, ttl: Duration) -> Result<bool> {
        let updated = connection
            .prepare_cached(
                "UPDATE beaver_lock_waiters SET expires_at = ?4
                 WHERE lock_name = ?1 AND requested_at = ?2 AND waiter_id = ?3",
            )?
            .execute(params![
                self.lock_name,
                GRANTED_AT,
                self.waiter_id,
                now + ttl.as_secs_f64()
            ])?;
        Ok(updated > 0)
    }

    /// Lets the grant live `ttl` from `now` unless it lives longer. False: it was lost.
    pub(crate) fn extend_to_at_least(
        &self,
        connection: &Connection,
        now: f64,
        ttl: Duration,
    ) -> Result<bool> {
        let updated = connection
            .prepare_cached(
                "UPDATE beaver_lock_waiters SET expires_at = max(expires_at, ?4)
                 WHERE lock_name = ?1 AND requested_at = ?2 AND waiter_id = ?3",
            )?
            .execute(params![
                self.lock_name,
                GRANTED_AT,
                self.waiter_id,
                now + ttl.as_secs_f64()
            ])?;
        Ok(updated > 0)
    }

    /// Whether the grant is still there.
    pub(crate) fn is_held(&self, connection: &Connection) -> Result<bool> {
        Ok(connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM beaver_lock_waiters
                 WHERE lock_name = ?1 AND requested_at = ?2 AND waiter_id = ?3)",
            )?
            .query_row(params![self.lock_name, GRANTED_AT, self.waiter_id], |row| {
                row.get(0)
            })?)
    }
}

impl Database {
    /// Takes the lock if nobody holds or awaits it.
    pub(crate) fn try_lease(
        &self,
        lock_name: &str,
        ttl: Duration,
        fencing: Fencing,
    ) -> Result<Option<Lease>> {
        let transaction = self.begin_write(None)?;
        let waiter_id = self.inner.waiter_ids.next();
        let lease = self.grant_if_free(lock_name, &waiter_id, ttl, fencing)?;
        if lease.is_some() {
            transaction.commit()?;
        }
        Ok(lease)
    }

    /// Waits for the lock in FIFO order, up to `timeout` (none: for ever).
    pub(crate) fn acquire_lease(
        &self,
        lock_name: &str,
        timeout: Option<Duration>,
        ttl: Duration,
        fencing: Fencing,
    ) -> Result<Lease> {
        let runtime = &self.inner.runtime;
        // A sum past the clock's range is a wait for ever.
        let deadline = timeout.and_then(|timeout| runtime.monotonic().checked_add(timeout));
        let remaining = || deadline.map(|deadline| deadline.saturating_sub(runtime.monotonic()));
        let write_limit = || remaining().map(|remaining| remaining.max(WRITE_GRACE));
        let waiter_id = self.inner.waiter_ids.next();

        // The place of a single write matters to Python's methods, which wait
        // no longer than a second for it: it isn't to outlive its purpose.
        let place_ttl = || match (fencing, remaining()) {
            (Fencing::Without, Some(left)) => WAITER_TTL.min(left + Duration::from_secs(1)),
            _ => WAITER_TTL,
        };

        let transaction = self
            .begin_write(write_limit())
            .map_err(|error| match error {
                Error::Busy if remaining().is_some_and(|left| left.is_zero()) => Error::Timeout,
                other => other,
            })?;
        if let Some(lease) = self.grant_if_free(lock_name, &waiter_id, ttl, fencing)? {
            transaction.commit()?;
            return Ok(lease);
        }
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Error::Timeout);
        }
        self.check_not_own(lock_name)?;
        let skew_s = self.enqueue(lock_name, &waiter_id, place_ttl())?;
        transaction.commit()?;

        let mut place = Place {
            database: self,
            lock_name,
            waiter_id: &waiter_id,
            left: false,
        };
        let mut renew_at = runtime.monotonic() + RENEW_EVERY;
        loop {
            // Taken before the look, so that a commit after the look ends the wait.
            let seen = runtime.change_token(&self.inner.connection);
            let expired = remaining().is_some_and(|left| left.is_zero());
            let head = self.look(lock_name, &waiter_id);
            let turn = match &head {
                Ok(head) => head.is_over(),
                Err(Error::Busy) => false,
                Err(Error::WaitCleared) if expired => return Err(Error::Timeout),
                Err(error) => return Err(error.clone()),
            };
            if turn || expired || runtime.monotonic() >= renew_at {
                let place_s = skew_s + place_ttl().as_secs_f64();
                let step = self.begin_write(write_limit()).and_then(|transaction| {
                    let lease = self.promote(lock_name, &waiter_id, ttl, fencing, place_s)?;
                    if lease.is_none() && expired {
                        Lease::delete_row(&self.inner.connection, lock_name, &waiter_id)?;
                    }
                    transaction.commit()?;
                    Ok(lease)
                });
                match step {
                    Ok(Some(lease)) => {
                        place.left = true;
                        return Ok(lease);
                    }
                    Ok(None) if expired => {
                        place.left = true;
                        return Err(self.timed_out(&[lock_name]));
                    }
                    Ok(None) => renew_at = runtime.monotonic() + RENEW_EVERY,
                    Err(Error::Busy | Error::WaitCleared) if expired => return Err(Error::Timeout),
                    // A long writer is in the way; the place in line is kept.
                    Err(Error::Busy) => {
                        runtime.sleep(POLL_INTERVAL);
                        continue;
                    }
                    Err(error) => return Err(error),
                }
                if turn {
                    continue;
                }
            }
            let Ok(head) = head else {
                runtime.sleep(POLL_INTERVAL);
                continue;
            };
            let until_renewal = renew_at.saturating_sub(runtime.monotonic());
            let wait = remaining().map_or(until_renewal, |left| left.min(until_renewal));
            let mut wait = wait.min(head.expires_in);
            if head.can_be_gone {
                wait = wait.min(GONE_LOOK);
            }
            if head.ahead <= NEAR {
                runtime.wait_change(&self.inner.connection, seen, wait);
            } else {
                // Were all to look at each commit, a hand-over would cost as
                // much as there are waiters. Those far behind look a few times
                // until they are near.
                runtime.sleep(wait.min(HAND_OVER_MIN * head.ahead).min(FAR_LOOK_MAX));
            }
        }
    }

    /// Gives up a lock row on a path that can't report: now if SQLite's write
    /// lock is to be had soon, else with the next write, else it expires.
    pub(crate) fn abandon(&self, lock_name: &str, waiter_id: &str) {
        let now = || -> Result<()> {
            if !self.inner.connection.is_autocommit() {
                return Err(Error::InTransaction);
            }
            let transaction = self.begin_write(Some(WRITE_GRACE))?;
            Lease::delete_row(&self.inner.connection, lock_name, waiter_id)?;
            transaction.commit()
        };
        if now().is_err() {
            // Deleting a row that is gone already does no harm.
            self.inner.orphans.borrow_mut().push(Orphan::Lease {
                lock_name: lock_name.to_owned(),
                waiter_id: waiter_id.to_owned(),
            });
        }
    }

    pub(crate) fn grant_if_free(
        &self,
        lock_name: &str,
        waiter_id: &str,
        ttl: Duration,
        fencing: Fencing,
    ) -> Result<Option<Lease>> {
        let connection = &self.inner.connection;
        let now = self.inner.runtime.unix_seconds();
        self.delete_dead(lock_name, now, waiter_id)?;
        let taken: bool = connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM beaver_lock_waiters WHERE lock_name = ?1)",
            )?
            .query_row([lock_name], |row| row.get(0))?;
        if taken {
            return Ok(None);
        }
        connection
            .prepare_cached(
                "INSERT INTO beaver_lock_waiters (lock_name, waiter_id, requested_at, expires_at)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                lock_name,
                waiter_id,
                GRANTED_AT,
                now + ttl.as_secs_f64()
            ])?;
        self.granted(lock_name, waiter_id, ttl, fencing).map(Some)
    }

    pub(crate) fn is_gone(&self, claim: u64) -> bool {
        self.inner.runtime.is_gone(&self.inner.connection, claim)
    }

    /// Deletes what has expired, except `me` and waiters that are known to live:
    /// they could not renew while somebody wrote for long.
    fn delete_expired(&self, lock_name: &str, now: f64, me: &str) -> Result<()> {
        let connection = &self.inner.connection;
        let mut statement = connection.prepare_cached(
            "SELECT CAST(waiter_id AS TEXT), requested_at = ?3 FROM beaver_lock_waiters
             WHERE lock_name = ?1 AND expires_at <= ?2",
        )?;
        let mut rows = statement.query(params![lock_name, now, GRANTED_AT])?;
        let mut dead = Vec::new();
        while let Some(row) = rows.next()? {
            let (waiter_id, granted): (String, bool) = (row.get(0)?, row.get(1)?);
            let claim = self.inner.waiter_ids.claim_of_other(&waiter_id);
            let lives = !granted && claim.is_some_and(|claim| !self.is_gone(claim));
            if waiter_id != me && !lives {
                dead.push(waiter_id);
            }
        }
        for waiter_id in dead {
            Lease::delete_row(connection, lock_name, &waiter_id)?;
        }
        Ok(())
    }

    /// Deletes the rows at the head whose owners are known to be gone, and all
    /// that have expired, except `me`.
    pub(crate) fn delete_dead(&self, lock_name: &str, now: f64, me: &str) -> Result<()> {
        let connection = &self.inner.connection;
        self.delete_expired(lock_name, now, me)?;
        loop {
            let head: Option<String> = connection
                .prepare_cached(
                    "SELECT CAST(waiter_id AS TEXT) FROM beaver_lock_waiters
                     WHERE lock_name = ?1 ORDER BY requested_at LIMIT 1",
                )?
                .query_row([lock_name], |row| row.get(0))
                .optional()?;
            match head {
                Some(head)
                    if self
                        .inner
                        .waiter_ids
                        .claim_of_other(&head)
                        .is_some_and(|claim| self.is_gone(claim)) =>
                {
                    Lease::delete_row(connection, lock_name, &head)?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Joins the line at its end. Returns by how much the last in line's clock
    /// is ahead of ours.
    pub(crate) fn enqueue(
        &self,
        lock_name: &str,
        waiter_id: &str,
        place_ttl: Duration,
    ) -> Result<f64> {
        let connection = &self.inner.connection;
        let now = self.inner.runtime.unix_seconds();
        let last: Option<f64> = connection
            .prepare_cached(
                "SELECT max(requested_at) FROM beaver_lock_waiters WHERE lock_name = ?1",
            )?
            .query_row([lock_name], |row| row.get(0))?;
        let requested_at = last.map_or(now, |last| now.max(last.next_up()));
        if !requested_at.is_finite() {
            return Err(Error::Corrupt(format!(
                "the last request for {lock_name} has no finite time; clear the lock"
            )));
        }
        let skew_s = (requested_at - now).min(ADOPTED_SKEW_MAX_S);
        connection
            .prepare_cached(
                "INSERT INTO beaver_lock_waiters (lock_name, waiter_id, requested_at, expires_at)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                lock_name,
                waiter_id,
                requested_at,
                now + skew_s + place_ttl.as_secs_f64()
            ])?;
        Ok(skew_s)
    }

    /// Takes the lock if this waiter is the head; renews its row otherwise.
    pub(crate) fn promote(
        &self,
        lock_name: &str,
        waiter_id: &str,
        ttl: Duration,
        fencing: Fencing,
        place_s: f64,
    ) -> Result<Option<Lease>> {
        let connection = &self.inner.connection;
        let now = self.inner.runtime.unix_seconds();
        self.delete_dead(lock_name, now, waiter_id)?;
        let head: Option<bool> = connection
            .prepare_cached(
                "SELECT waiter_id = ?2 FROM beaver_lock_waiters
                 WHERE lock_name = ?1 ORDER BY requested_at LIMIT 1",
            )?
            .query_row([lock_name, waiter_id], |row| row.get(0))
            .optional()?;
        let (requested_at, expires_in) = match head {
            Some(true) => (Some(GRANTED_AT), ttl.as_secs_f64()),
            _ => (None, place_s),
        };
        let updated = connection
            .prepare_cached(
                "UPDATE beaver_lock_waiters
                 SET requested_at = coalesce(?3, requested_at), expires_at = ?4
                 WHERE lock_name = ?1 AND waiter_id = ?2",
            )?
            .execute(params![
                lock_name,
                waiter_id,
                requested_at,
                now + expires_in
            ])?;
        if updated == 0 {
            return Err(Error::WaitCleared);
        }
        if requested_at.is_none() {
            return Ok(None);
        }
        self.granted(lock_name, waiter_id, ttl, fencing).map(Some)
    }

    fn granted(
        &self,
        lock_name: &str,
        waiter_id: &str,
        ttl: Duration,
        fencing: Fencing,
    ) -> Result<Lease> {
        let token = match fencing {
            Fencing::Without => 0,
            Fencing::With => self
                .inner
                .connection
                .prepare_cached(
                    "INSERT INTO beaver_lock_fencing (lock_name, token) VALUES (?1, 1)
                     ON CONFLICT (lock_name) DO UPDATE SET token = token + 1 RETURNING token",
                )?
                .query_row([lock_name], |row| row.get::<_, i64>(0))?
                .cast_unsigned(),
        };
        Ok(Lease {
            lock_name: lock_name.to_owned(),
            waiter_id: waiter_id.to_owned(),
            token,
            ttl,
        })
    }

    /// Who is at the head and how far that is, without writing.
    pub(crate) fn look(&self, lock_name: &str, waiter_id: &str) -> Result<Head> {
        let now = self.inner.runtime.unix_seconds();
        let mut statement = self.inner.connection.prepare_cached(
            "SELECT head.expires_at,
                    (SELECT count(*) FROM beaver_lock_waiters
                      WHERE lock_name = ?1 AND requested_at < me.requested_at),
                    head.waiter_id, head.requested_at = ?3
             FROM beaver_lock_waiters AS me,
                  (SELECT waiter_id, expires_at, requested_at FROM beaver_lock_waiters
                    WHERE lock_name = ?1 ORDER BY requested_at LIMIT 1) AS head
             WHERE me.lock_name = ?1 AND me.waiter_id = ?2",
        )?;
        let mut rows = statement.query(params![lock_name, waiter_id, GRANTED_AT])?;
        let Some(row) = rows.next()? else {
            return Err(Error::WaitCleared);
        };
        let mut expires_in = (row.get::<_, f64>(0)? - now).max(0.0);
        let ahead: u32 = row.get(1)?;
        // For those far behind, the nearest look after the head.
        let claim = match row.get_ref(2)?.as_str() {
            Ok(head) if ahead > 0 && (ahead <= NEAR || expires_in == 0.0) => {
                self.inner.waiter_ids.claim_of_other(head)
            }
            _ => None,
        };
        let is_gone = claim.is_some_and(|claim| self.is_gone(claim));
        if claim.is_some() && !is_gone && !row.get::<_, bool>(3)? {
            // A waiter that lives, however late it is with its renewal.
            expires_in = f64::INFINITY;
        }
        Ok(Head {
            ahead,
            can_be_gone: claim.is_some(),
            is_gone,
            expires_in: Duration::try_from_secs_f64(expires_in).unwrap_or(Duration::MAX),
        })
    }
}

pub(crate) struct Head {
    /// Whether the head would be known to be gone, and is.
    pub(crate) can_be_gone: bool,
    pub(crate) is_gone: bool,
    /// How many stand before this waiter, the holder included.
    pub(crate) ahead: u32,
    pub(crate) expires_in: Duration,
}

impl Head {
    /// Whether it may be this waiter's turn.
    pub(crate) fn is_over(&self) -> bool {
        self.ahead == 0 || self.expires_in.is_zero() || self.is_gone
    }
}

/// A row in line. Deleted when the wait ends on a path that did not see to it.
struct Place<'a> {
    database: &'a Database,
    lock_name: &'a str,
    waiter_id: &'a str,
    left: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.left {
            self.database.abandon(self.lock_name, self.waiter_id);
        }
    }
}
