//! Several locks at once.
//!
//! What must stay true:
//! - **All or none.** They are granted in one transaction, once all are this
//!   set's turn. So none is held while waiting for another, and all live their
//!   full time.
//! - **No circle among sets.** The places in all lines are taken in one
//!   transaction. So of two sets the one that committed first is ahead wherever
//!   they meet, whatever they are named in.
//! - **One order.** Within a transaction the locks are gone through by the bytes of
//!   their names.

use crate::database::Database;
use crate::error::{Error, Result};
use crate::lease::table::LockTransaction as _;
use crate::lease::table::Wait;
use crate::lease::wait::{self, GONE_LOOK, Pace, RENEW_EVERY};
use crate::lease::{Fencing, Lease, WAITER_TTL, WRITE_GRACE, Wanted, grant};
use crate::options::LockOptions;
use crate::owner::{Owner, ttl_of};
use crate::runtime::POLL_INTERVAL;
use crate::write::WriteTransaction;
use std::rc::Rc;
use std::time::Duration;

/// Takes the locks of all `owners`, or none.
pub(crate) fn acquire_all(
    database: &Database,
    owners: &[&Owner],
    options: &LockOptions,
) -> Result<()> {
    let ttl = ttl_of(options)?;
    let mut owners = owners.to_vec();
    owners.sort_by(|one, other| one.lock_name().cmp(other.lock_name()));
    for owner in &owners {
        if !Rc::ptr_eq(&owner.database().inner, &database.inner) {
            return Err(Error::InvalidArgument(format!(
                "the handle for {} belongs to another database handle",
                owner.lock_name()
            )));
        }
    }
    for pair in owners.windows(2) {
        if let [one, other] = pair
            && one.lock_name() == other.lock_name()
        {
            return Err(Error::InvalidArgument(format!(
                "two handles have the same lock: {}",
                one.lock_name()
            )));
        }
    }
    for owner in &owners {
        owner.check_free()?;
    }
    if owners.is_empty() {
        return Ok(());
    }
    let leases = LockSet::of(database, &owners, ttl).acquire(options.timeout)?;
    for (owner, lease) in owners.into_iter().zip(leases) {
        owner.hold(lease);
    }
    Ok(())
}

/// What the guards of several locks report at their end, the locks that end with
/// them being given back in one transaction. The guards must still be closed.
pub(crate) fn end_all(database: &Database, guards: &[(&Owner, u64)]) -> Result<()> {
    let mut result = Ok(());
    let (mut last, mut nested) = (Vec::new(), Vec::new());
    for (owner, grant) in guards {
        match owner.is_last(*grant) {
            Ok(true) => last.push(*owner),
            Ok(false) => nested.push((*owner, *grant)),
            Err(error) => result = result.and(Err(error)),
        }
    }
    if !last.is_empty() {
        if database.inner.in_transaction.get() {
            return Err(Error::InTransaction);
        }
        let transaction = database.begin_write(None)?;
        let mut lost = Ok(());
        for owner in &last {
            if let Some(lease) = &*owner.lease()
                && !lease.give_back(&transaction)?
            {
                lost = lost.and(Err(owner.lost()));
            }
        }
        transaction.commit()?;
        for owner in &last {
            owner.let_go();
        }
        result = result.and(lost);
    }
    for (owner, grant) in nested {
        result = result.and(owner.end(grant));
    }
    result
}

/// A place in the line of one lock.
struct Place<'a> {
    lock_name: &'a str,
    waiter_id: String,
    /// By how much the clock of the last in line is ahead of ours.
    skew_s: f64,
}

/// The places of one owner in the lines of several locks.
struct LockSet<'a> {
    database: &'a Database,
    /// By the names of the locks.
    places: Vec<Place<'a>>,
    ttl: Duration,
    /// Whether the places are in the table.
    in_line: bool,
}

/// What stands before a set.
struct View<'a> {
    /// Whether it may be the set's turn.
    is_over: bool,
    /// How many stand before it where most do.
    ahead: u32,
    /// When to look again though nobody commits.
    look_in: Duration,
    /// One of the locks that it waits for, and the claim of that one's head.
    behind: Option<&'a str>,
    claim: Option<u64>,
}

impl<'a> LockSet<'a> {
    fn of(database: &'a Database, owners: &[&'a Owner], ttl: Duration) -> Self {
        let places = owners.iter().map(|owner| Place {
            lock_name: owner.lock_name(),
            waiter_id: database.waiter_ids().next(),
            skew_s: 0.0,
        });
        Self {
            database,
            places: places.collect(),
            ttl,
            in_line: false,
        }
    }

    /// Waits for all locks, in FIFO order at each, up to `timeout` (none: for ever).
    fn acquire(mut self, timeout: Option<Duration>) -> Result<Vec<Lease>> {
        let database = self.database;
        let (runtime, connection) = (&database.inner.runtime, &database.inner.connection);
        let deadline = timeout.and_then(|timeout| runtime.monotonic().checked_add(timeout));
        let remaining = || deadline.map(|deadline| deadline.saturating_sub(runtime.monotonic()));
        let is_late = || remaining().is_some_and(|left| left.is_zero());
        let write_limit = || remaining().map(|left| left.max(WRITE_GRACE));

        let begin = || {
            let begun = database.begin_write(write_limit());
            begun.map_err(|error| match error {
                Error::Busy if is_late() => Error::Timeout,
                other => other,
            })
        };

        let transaction = begin()?;
        if let Some(leases) = self.grant_if_free(&transaction)? {
            // The rows may be there whatever the commit reports.
            self.in_line = true;
            transaction.commit()?;
            self.in_line = false;
            return Ok(leases);
        }
        // Those that were granted go with it.
        drop(transaction);
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Error::Timeout);
        }
        let transaction = begin()?;
        for place in &self.places {
            database.check_not_own(place.lock_name)?;
        }
        self.enqueue(&transaction)?;
        self.in_line = true;
        transaction.commit()?;

        let mut renew_at = runtime.monotonic() + RENEW_EVERY;
        let mut pace = Pace::default();
        loop {
            // Taken before the look, so that a commit after the look ends the wait.
            let seen = runtime.change_token(connection);
            let expired = is_late();
            let view = self.look();
            let turn = match &view {
                Ok(view) => view.is_over,
                Err(Error::Busy) => false,
                Err(Error::WaitCleared) if expired => return Err(Error::Timeout),
                Err(error) => return Err(error.clone()),
            };
            if turn || expired || runtime.monotonic() >= renew_at {
                // Looked up before the places are given up: they are a part of it.
                let timed_out = expired.then(|| database.timed_out(&self.lock_names()));
                let step = database.begin_write(write_limit()).and_then(|transaction| {
                    let leases = self.promote(&transaction)?;
                    if leases.is_none() && expired {
                        self.delete(&transaction)?;
                    }
                    transaction.commit()?;
                    Ok(leases)
                });
                match (step, timed_out) {
                    (Ok(Some(leases)), _) => {
                        self.in_line = false;
                        return Ok(leases);
                    }
                    (Ok(None), Some(error)) => {
                        self.in_line = false;
                        return Err(error);
                    }
                    (Ok(None), None) => renew_at = runtime.monotonic() + RENEW_EVERY,
                    (Err(Error::Busy | Error::WaitCleared), Some(error)) => return Err(error),
                    // A long writer is in the way; the places in line are kept.
                    (Err(Error::Busy), None) => {
                        runtime.sleep(POLL_INTERVAL);
                        continue;
                    }
                    (Err(error), _) => return Err(error),
                }
                if turn {
                    continue;
                }
            }
            let Ok(view) = view else {
                runtime.sleep(POLL_INTERVAL);
                continue;
            };
            let until_renewal = renew_at.saturating_sub(runtime.monotonic());
            let wait = remaining().map_or(until_renewal, |left| left.min(until_renewal));
            // As for one lock: only who is near everywhere looks at each commit.
            pace.wait_for_turn(
                database,
                Wait {
                    lock_name: view.behind.unwrap_or_default(),
                    seen,
                    ahead: view.ahead,
                    // Its turn is elsewhere too.
                    place: None,
                    claim: view.claim,
                    longest: wait.min(view.look_in),
                },
            );
        }
    }

    fn lock_names(&self) -> Vec<&'a str> {
        self.places.iter().map(|place| place.lock_name).collect()
    }

    /// Takes the locks if nobody holds or awaits any of them.
    fn grant_if_free(&self, transaction: &WriteTransaction<'_>) -> Result<Option<Vec<Lease>>> {
        let now = self.database.inner.runtime.unix_seconds();
        let mut leases = Vec::with_capacity(self.places.len());
        for place in &self.places {
            let wanted = self.wanted(place);
            let id = &place.waiter_id;
            let granted = grant::grant_if_free(self.database, transaction, &wanted, id, now)?;
            match granted {
                Some(lease) => leases.push(lease),
                None => return Ok(None),
            }
        }
        Ok(Some(leases))
    }

    /// Joins all lines at their ends.
    fn enqueue(&mut self, transaction: &WriteTransaction<'_>) -> Result<()> {
        let now = self.database.inner.runtime.unix_seconds();
        for place in &mut self.places {
            let id = &place.waiter_id;
            let entered = grant::enqueue(transaction, place.lock_name, id, WAITER_TTL, now)?;
            place.skew_s = entered.skew_s;
        }
        Ok(())
    }

    /// Takes the locks if this set is at the head of all; renews its places otherwise.
    fn promote(&self, transaction: &WriteTransaction<'_>) -> Result<Option<Vec<Lease>>> {
        let database = self.database;
        let now = database.inner.runtime.unix_seconds();
        let mut at_head = true;
        for place in &self.places {
            let (name, id) = (place.lock_name, place.waiter_id.as_str());
            let head = grant::living_head(database, transaction, name, id, now)?;
            at_head &= head.as_deref() == Some(id);
        }
        if at_head {
            let leases = self.places.iter().map(|place| {
                grant::grant_head(transaction, &self.wanted(place), &place.waiter_id, now)
            });
            return leases.collect::<Result<_>>().map(Some);
        }
        for place in &self.places {
            let expires_at = now + place.skew_s + WAITER_TTL.as_secs_f64();
            if !transaction.update(place.lock_name, &place.waiter_id, None, expires_at)? {
                return Err(Error::WaitCleared);
            }
        }
        Ok(None)
    }

    fn wanted(&self, place: &Place<'a>) -> Wanted<'a> {
        Wanted {
            lock_name: place.lock_name,
            ttl: self.ttl,
            fencing: Fencing::With,
        }
    }

    /// What stands before the set, without writing.
    fn look(&self) -> Result<View<'a>> {
        let mut view = View {
            is_over: true,
            ahead: 0,
            look_in: Duration::MAX,
            behind: None,
            claim: None,
        };
        for place in &self.places {
            let head = wait::look(self.database, place.lock_name, &place.waiter_id)?;
            if head.is_over() {
                continue;
            }
            view.is_over = false;
            (view.behind, view.claim) = (Some(place.lock_name), head.claim);
            view.ahead = view.ahead.max(head.ahead);
            view.look_in = view.look_in.min(head.expires_in);
            if head.can_be_gone {
                view.look_in = view.look_in.min(GONE_LOOK);
            }
        }
        Ok(view)
    }

    /// Deletes all places.
    fn delete(&self, transaction: &WriteTransaction<'_>) -> Result<()> {
        for place in &self.places {
            transaction.delete(place.lock_name, &place.waiter_id)?;
        }
        Ok(())
    }
}

impl Drop for LockSet<'_> {
    fn drop(&mut self) {
        self.database.watch(None);
        if self.in_line {
            let rows = self.places.iter();
            let rows = rows.map(|place| (place.lock_name, place.waiter_id.as_str()));
            self.database.abandon(&rows.collect::<Vec<_>>());
        }
    }
}
