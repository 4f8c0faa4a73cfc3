//! What is decided within one write transaction: who is granted the lock, who
//! joins the line, who is taken for dead.

use super::table::{Life, LockTable, LockTransaction};
use super::terms::Terms;
use super::{Fencing, GRANTED_AT, Lease, Wanted};
use crate::error::{Error, Result};
use std::time::Duration;

/// How far a waiter whose clock is behind moves its row's expiry towards the
/// clock of the last in line. Bounded, because a row with an absurd time must
/// not make those behind it immortal.
pub(super) const ADOPTED_SKEW_MAX_S: f64 = 120.0;

/// A grant that somebody else made is lost, and with it the place in line, if its owner
/// doesn't take it up in time: the granter's clock may be as far behind as waiters bear (20 s),
/// and the owner's thread may have to wait for a processor, then for a stranger who writes.
/// Whoever wants the lock for less than this grants itself.
const HANDED_OVER_TTL_MIN: Duration = Duration::from_secs(22);

/// How many rows of the dead are deleted at a time, more than a line ever has: a trigger of the file may
/// bring them back. The next look goes on with what is left.
const GONE_MAX: usize = 10_000;

/// Takes the lock if nobody holds or awaits it.
pub(super) fn try_acquire<L: LockTable>(table: &L, wanted: &Wanted<'_>) -> Result<Option<Lease>> {
    let transaction = table.begin(None)?;
    let now = table.unix_seconds();
    let waiter_id = table.new_waiter_id();
    let lease = grant_if_free(table, &transaction, wanted, &waiter_id, now)?;
    if lease.is_some() {
        transaction.commit().inspect_err(|_| {
            // The row may be there whatever the commit reports.
            table.abandon(wanted.lock_name, &waiter_id);
        })?;
    }
    Ok(lease)
}

/// Gives the lock back. False: it was lost before.
pub(super) fn release<L: LockTable>(table: &L, lease: &Lease) -> Result<bool> {
    let transaction = table.begin(None)?;
    let held = give_back(table, &transaction, &lease.lock_name, &lease.waiter_id)?;
    if held {
        transaction.commit()?;
    }
    Ok(held)
}

/// Deletes a grant, or a place in line, and grants the lock to the next if nobody
/// holds it now. False: there was no such row.
pub(super) fn give_back<L: LockTable>(
    table: &L,
    transaction: &L::Transaction<'_>,
    lock_name: &str,
    waiter_id: &str,
) -> Result<bool> {
    let held = transaction.delete(lock_name, waiter_id)?;
    if held {
        // Whatever stands in the line, giving back succeeds: the next in line
        // grants itself. What ended the transaction is reported by its commit.
        let _ = hand_over(table, transaction, lock_name);
    }
    Ok(held)
}

/// Grants the lock to the head on its behalf, if it is one that may be: its id says for
/// how long, and it is known to live. Everybody else grants itself.
fn hand_over<L: LockTable>(
    table: &L,
    transaction: &L::Transaction<'_>,
    lock_name: &str,
) -> Result<()> {
    let now = table.unix_seconds();
    for _ in 0..GONE_MAX {
        let Some(head) = transaction.head(lock_name)? else {
            return Ok(());
        };
        let terms = Terms::of(&head.waiter_id);
        // A place past its time may be one that its owner could not put away.
        let Some(terms) = terms.filter(|_| !head.granted && head.expires_at > now) else {
            return Ok(());
        };
        match table.life(&head.waiter_id) {
            Life::Gone if transaction.delete(lock_name, &head.waiter_id)? => {}
            Life::Gone | Life::Unknown => return Ok(()),
            Life::Lives if terms.ttl < HANDED_OVER_TTL_MIN => return Ok(()),
            Life::Lives => {
                // The token first: should the other fail, one is left out.
                if terms.fencing == Fencing::With {
                    transaction.next_token(lock_name)?;
                }
                let expires_at = now + terms.ttl.as_secs_f64();
                transaction.update(lock_name, &head.waiter_id, Some(GRANTED_AT), expires_at)?;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Lets the grant live `ttl` from now. False: it was lost before.
pub(super) fn renew<L: LockTable>(table: &L, lease: &Lease, ttl: Duration) -> Result<bool> {
    let transaction = table.begin(None)?;
    let expires_at = table.unix_seconds() + ttl.as_secs_f64();
    let held = transaction.extend_grant(&lease.lock_name, &lease.waiter_id, expires_at)?;
    if held {
        transaction.commit()?;
    }
    Ok(held)
}

/// Grants the lock to a newcomer, unless somebody holds or awaits it.
pub(crate) fn grant_if_free<L: LockTable>(
    table: &L,
    transaction: &L::Transaction<'_>,
    wanted: &Wanted<'_>,
    waiter_id: &str,
    now: f64,
) -> Result<Option<Lease>> {
    let head = living_head(table, transaction, wanted.lock_name, waiter_id, now)?;
    if head.is_some() {
        return Ok(None);
    }
    let expires_at = now + wanted.ttl.as_secs_f64();
    transaction.insert(wanted.lock_name, waiter_id, GRANTED_AT, expires_at)?;
    granted(transaction, wanted, waiter_id).map(Some)
}

/// Where somebody stands in line.
pub(crate) struct Place {
    pub(crate) requested_at: f64,
    /// By how much the clock of whoever was last in line is ahead of ours.
    pub(crate) skew_s: f64,
}

/// Joins the line at its end.
pub(crate) fn enqueue(
    transaction: &impl LockTransaction,
    lock_name: &str,
    waiter_id: &str,
    place_ttl: Duration,
    now: f64,
) -> Result<Place> {
    let last = transaction.last_request(lock_name)?;
    let requested_at = last.map_or(now, |last| now.max(last.next_up()));
    if !requested_at.is_finite() {
        return Err(Error::Corrupt(format!(
            "the last request for {lock_name} has no finite time; clear the lock"
        )));
    }
    let skew_s = (requested_at - now).min(ADOPTED_SKEW_MAX_S);
    let expires_at = now + skew_s + place_ttl.as_secs_f64();
    transaction.insert(lock_name, waiter_id, requested_at, expires_at)?;
    Ok(Place {
        requested_at,
        skew_s,
    })
}

/// Grants the lock to this waiter if it is the head; lets its place live for
/// `place_s` otherwise.
pub(super) fn promote<L: LockTable>(
    table: &L,
    transaction: &L::Transaction<'_>,
    wanted: &Wanted<'_>,
    waiter_id: &str,
    place_s: f64,
) -> Result<Option<Lease>> {
    let now = table.unix_seconds();
    let head = living_head(table, transaction, wanted.lock_name, waiter_id, now)?;
    if head.as_deref() == Some(waiter_id) {
        // It may have been granted already, since the look: then once more, with
        // a token of its own, which does no harm.
        grant_head(transaction, wanted, waiter_id, now).map(Some)
    } else if transaction.update(wanted.lock_name, waiter_id, None, now + place_s)? {
        Ok(None)
    } else {
        Err(Error::WaitCleared)
    }
}

/// Grants the lock to who is the head.
pub(crate) fn grant_head(
    transaction: &impl LockTransaction,
    wanted: &Wanted<'_>,
    waiter_id: &str,
    now: f64,
) -> Result<Lease> {
    let expires_at = now + wanted.ttl.as_secs_f64();
    if transaction.update(wanted.lock_name, waiter_id, Some(GRANTED_AT), expires_at)? {
        granted(transaction, wanted, waiter_id)
    } else {
        Err(Error::WaitCleared)
    }
}

fn granted(
    transaction: &impl LockTransaction,
    wanted: &Wanted<'_>,
    waiter_id: &str,
) -> Result<Lease> {
    let token = match wanted.fencing {
        Fencing::Without => 0,
        Fencing::With => transaction.next_token(wanted.lock_name)?,
    };
    Ok(Lease {
        lock_name: wanted.lock_name.to_owned(),
        waiter_id: waiter_id.to_owned(),
        token,
        ttl: wanted.ttl,
    })
}

/// How long a place past its time may stand if its owner isn't known to be gone:
/// it could not renew while somebody wrote for long.
const SPARED_S: f64 = 300.0;

/// Until when a place in line stands that expires at `expires_at`.
pub(super) fn spared_until<L: LockTable>(table: &L, waiter_id: &str, expires_at: f64) -> f64 {
    match table.life(waiter_id) {
        Life::Lives => expires_at + SPARED_S,
        Life::Unknown if table.claim(waiter_id).is_some() => expires_at + SPARED_S,
        Life::Gone | Life::Unknown => expires_at,
    }
}

/// The head once the rows of the dead are deleted: those that have expired,
/// and those at the head whose owners are known to be gone. `me` stays.
pub(crate) fn living_head<L: LockTable>(
    table: &L,
    transaction: &L::Transaction<'_>,
    lock_name: &str,
    me: &str,
    now: f64,
) -> Result<Option<String>> {
    for row in transaction.expired(lock_name, now)? {
        let spared = || !row.granted && now < spared_until(table, &row.waiter_id, row.expires_at);
        if row.waiter_id != me && !spared() {
            transaction.delete(lock_name, &row.waiter_id)?;
        }
    }
    for _ in 0..GONE_MAX {
        match transaction.head(lock_name)? {
            Some(head)
                if table.life(&head.waiter_id) == Life::Gone
                    && transaction.delete(lock_name, &head.waiter_id)? => {}
            head => return Ok(head.map(|head| head.waiter_id)),
        }
    }
    let head = transaction.head(lock_name)?;
    Ok(head.map(|head| head.waiter_id))
}
