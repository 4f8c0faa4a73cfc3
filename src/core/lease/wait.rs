//! How one waits in line: looking without writing until it may be one's turn,
//! renewing the place, and leaving nothing when the time is up.

use super::grant::{Place, enqueue, give_back, grant_if_free, promote, spared_until};
use super::table::{Life, Line, LockTable, LockTransaction as _, Wait};
use super::terms::Terms;
use super::{Fencing, Lease, WAITER_TTL, WRITE_GRACE, Wanted};
use crate::error::{Error, Result};
use crate::runtime::{POLL_INTERVAL, pause_before};
use std::time::Duration;

/// How often a waiter renews its row: early enough that a clock 20 s ahead of
/// its own doesn't take it for dead.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(10);

/// Who is no further than this from the head looks at each change that concerns it,
/// and when the head expires.
const NEAR: u32 = 2;

/// Further than this from the head makes no difference.
pub(super) const FAR: u32 = 500;

/// Of whoever has not looked yet.
const UNKNOWN: u32 = u32::MAX;

/// A hand-over takes no less than this: a few commits.
const HAND_OVER_MIN: Duration = Duration::from_micros(300);

/// Claims are watched by the host; how soon a waiter looks itself, should one not be.
pub(crate) const GONE_LOOK: Duration = Duration::from_secs(1);

/// How late a waiter far behind may notice that all before it have left, or that it
/// was removed.
const FAR_LOOK_MAX: Duration = Duration::from_millis(250);

/// No change token: a wait that compares it finds a change.
const NEVER_SEEN: u64 = u64::MAX;

/// By how much less than its time to live a grant may live that somebody else made.
const SHORT_MAX: Duration = Duration::from_secs(1);

/// Waits for the lock in FIFO order, up to `timeout` (none: for ever).
pub(super) fn acquire<L: LockTable>(
    table: &L,
    wanted: &Wanted<'_>,
    timeout: Option<Duration>,
) -> Result<Lease> {
    let mut waiter = match enter(table, wanted, timeout)? {
        Entry::Granted(lease) => return Ok(lease),
        Entry::InLine(waiter) => waiter,
    };
    let mut pace = Pace::default();
    if table.is_told() {
        // No look yet: whoever isn't the foremost of its process is told when it is.
        pace.wait_for_turn(table, waiter.first_wait());
    }
    loop {
        match waiter.poll()? {
            Poll::Granted(lease) => return Ok(lease),
            Poll::Again => {}
            Poll::Busy => table.sleep(POLL_INTERVAL),
            Poll::Wait(wait) => pace.wait_for_turn(table, wait),
        }
    }
}

/// Decides, as the one place, what wakes a waiter, and how soon it looks again.
#[derive(Default)]
pub(crate) struct Pace {
    /// How often it has waited as the next in line, told of nothing.
    waits_as_next: u32,
}

impl Pace {
    /// Blocks until it may be the waiter's turn, at most `wait.longest`; may return early.
    pub(crate) fn wait_for_turn(&mut self, table: &impl LockTable, mut wait: Wait<'_>) {
        let is_far = wait.ahead > NEAR && wait.ahead != UNKNOWN;
        let is_told = table.is_told();
        // Nobody tells it, and a lock is mostly held for a short transaction or two.
        if wait.ahead <= 1 && !is_told {
            wait.longest = wait.longest.min(pause_before(self.waits_as_next));
            self.waits_as_next = self.waits_as_next.saturating_add(1);
        }
        let end = table.monotonic().saturating_add(wait.longest);
        if !is_far || is_told {
            table.wait(&wait);
        }
        if is_far {
            let nap = until_near(wait.ahead, end.saturating_sub(table.monotonic()));
            if !nap.is_zero() {
                table.sleep(nap);
            }
        }
    }
}

/// How long somebody far behind sleeps of the time that is `left`. Were all to look at
/// each change, waiting would cost as much as there are waiters (where changes are
/// told: as there are processes with waiters); so these look a few times until they
/// are near.
fn until_near(ahead: u32, left: Duration) -> Duration {
    let hand_overs = HAND_OVER_MIN * ahead.saturating_sub(NEAR);
    hand_overs.max(POLL_INTERVAL).min(FAR_LOOK_MAX).min(left)
}

pub(super) enum Entry<'a, L: LockTable> {
    Granted(Lease),
    InLine(Waiter<'a, L>),
}

/// Takes the lock if nobody holds or awaits it, a place in line otherwise.
///
/// # Errors
/// [`Error::Timeout`] when the lock isn't free and `timeout` is zero.
pub(super) fn enter<'a, L: LockTable>(
    table: &'a L,
    wanted: &Wanted<'a>,
    timeout: Option<Duration>,
) -> Result<Entry<'a, L>> {
    // A sum past the clock's range is a wait for ever.
    let deadline = timeout.and_then(|timeout| table.monotonic().checked_add(timeout));
    let mut waiter = Waiter {
        table,
        wanted: *wanted,
        waiter_id: table.new_waiter_id(),
        deadline,
        place: Place {
            requested_at: 0.0,
            skew_s: 0.0,
        },
        renew_at: Duration::ZERO,
        in_line: false,
    };
    let transaction = table
        .begin(waiter.write_limit())
        .map_err(|error| match error {
            Error::Busy if waiter.is_expired() => Error::Timeout,
            other => other,
        })?;
    let now = table.unix_seconds();
    if let Some(lease) = grant_if_free(table, &transaction, wanted, &waiter.waiter_id, now)? {
        // The row may be there whatever the commit reports.
        waiter.in_line = true;
        transaction.commit()?;
        waiter.in_line = false;
        return Ok(Entry::Granted(lease));
    }
    if timeout.is_some_and(|timeout| timeout.is_zero()) {
        return Err(Error::Timeout);
    }
    table.check_may_wait(wanted.lock_name)?;
    let terms = Terms {
        ttl: wanted.ttl,
        fencing: wanted.fencing,
    };
    waiter.waiter_id = terms.add_to(&waiter.waiter_id);
    waiter.place = enqueue(
        &transaction,
        wanted.lock_name,
        &waiter.waiter_id,
        waiter.place_ttl(),
        now,
    )?;
    waiter.renew_at = table.monotonic() + RENEW_EVERY;
    // Before anybody can see the place: who sees it may grant the lock to it and say so
    // at once, and by a clock that is behind, those who come after that have places
    // before it.
    table.watch(&waiter.first_wait());
    // From here on the row may be there, whatever the commit reports.
    waiter.in_line = true;
    transaction.commit()?;
    Ok(Entry::InLine(waiter))
}

/// A place in line. Its row is deleted when the wait ends on a path that did
/// not see to it.
pub(super) struct Waiter<'a, L: LockTable> {
    table: &'a L,
    wanted: Wanted<'a>,
    waiter_id: String,
    deadline: Option<Duration>,
    place: Place,
    renew_at: Duration,
    in_line: bool,
}

/// What a look at the line came to.
pub(super) enum Poll<'a> {
    Granted(Lease),
    /// Something changed: look again at once.
    Again,
    /// A writer is in the way; the place in line is kept.
    Busy,
    /// It is somebody else's turn.
    Wait(Wait<'a>),
}

impl<'a, L: LockTable> Waiter<'a, L> {
    /// Looks at the line, and takes the lock if it is this waiter's turn.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::WaitCleared`], and what reading and writing
    /// may report; drop the waiter then.
    pub(super) fn poll(&mut self) -> Result<Poll<'a>> {
        // Taken before the look, so that a commit after the look ends the wait.
        let seen = self.table.change_token();
        let expired = self.is_expired();
        let head = look(self.table, self.wanted.lock_name, &self.waiter_id);
        let turn = match &head {
            Ok(head) if head.is_mine && !self.is_short(head) => {
                self.in_line = false;
                return Ok(Poll::Granted(Lease {
                    lock_name: self.wanted.lock_name.to_owned(),
                    waiter_id: self.waiter_id.clone(),
                    token: head.token.unwrap_or_default(),
                    ttl: self.wanted.ttl,
                }));
            }
            Ok(head) => head.is_over(),
            Err(Error::Busy) => false,
            Err(Error::WaitCleared) if expired => return Err(Error::Timeout),
            Err(error) => return Err(error.clone()),
        };
        if turn || expired || self.table.monotonic() >= self.renew_at {
            match self.write(expired) {
                Ok(Some(lease)) => {
                    self.in_line = false;
                    return Ok(Poll::Granted(lease));
                }
                Ok(None) if expired => {
                    self.in_line = false;
                    return Err(self.table.timed_out(self.wanted.lock_name));
                }
                Ok(None) => self.renew_at = self.table.monotonic() + RENEW_EVERY,
                Err(Error::Busy | Error::WaitCleared) if expired => return Err(Error::Timeout),
                // A long writer is in the way; the place in line is kept.
                Err(Error::Busy) => return Ok(Poll::Busy),
                Err(error) => return Err(error),
            }
            if turn {
                return Ok(Poll::Again);
            }
        }
        let Ok(head) = head else {
            return Ok(Poll::Busy);
        };
        let until_renewal = self.renew_at.saturating_sub(self.table.monotonic());
        let longest = self
            .remaining()
            .map_or(until_renewal, |left| left.min(until_renewal))
            .min(head.expires_in);
        Ok(Poll::Wait(Wait {
            lock_name: self.wanted.lock_name,
            seen,
            ahead: head.ahead,
            place: Some(self.place.requested_at),
            claim: head.claim,
            longest: if head.can_be_gone {
                longest.min(GONE_LOOK)
            } else {
                longest
            },
        }))
    }

    /// Ends at once for the foremost, who has to look.
    fn first_wait(&self) -> Wait<'a> {
        let until_renewal = self.renew_at.saturating_sub(self.table.monotonic());
        let left = self.remaining();
        Wait {
            lock_name: self.wanted.lock_name,
            seen: Some(NEVER_SEEN),
            ahead: UNKNOWN,
            longest: left.map_or(until_renewal, |left| left.min(until_renewal)),
            place: Some(self.place.requested_at),
            claim: None,
        }
    }

    /// Takes the lock, renews the place, or leaves it if the time is up.
    fn write(&self, expired: bool) -> Result<Option<Lease>> {
        let place_s = self.place.skew_s + self.place_ttl().as_secs_f64();
        let transaction = self.table.begin(self.write_limit())?;
        let lease = promote(
            self.table,
            &transaction,
            &self.wanted,
            &self.waiter_id,
            place_s,
        )?;
        if lease.is_none() && expired {
            give_back(
                self.table,
                &transaction,
                self.wanted.lock_name,
                &self.waiter_id,
            )?;
        }
        transaction.commit()?;
        Ok(lease)
    }

    /// Whether a grant made on this waiter's behalf has less time than it should: it
    /// was found late, or the clock of whoever made it is behind. It is made anew.
    fn is_short(&self, granted: &Head) -> bool {
        let ttl = self.wanted.ttl;
        granted.expires_in.saturating_add(SHORT_MAX.min(ttl / 4)) < ttl
    }

    fn remaining(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_sub(self.table.monotonic()))
    }

    fn is_expired(&self) -> bool {
        self.remaining().is_some_and(|left| left.is_zero())
    }

    fn write_limit(&self) -> Option<Duration> {
        self.remaining().map(|left| left.max(WRITE_GRACE))
    }

    /// The place of a single write matters to Python's methods, which wait
    /// no longer than a second for it: it isn't to outlive its purpose.
    fn place_ttl(&self) -> Duration {
        match (self.wanted.fencing, self.remaining()) {
            (Fencing::Without, Some(left)) => {
                WAITER_TTL.min(left.saturating_add(Duration::from_secs(1)))
            }
            _ => WAITER_TTL,
        }
    }
}

impl<L: LockTable> Drop for Waiter<'_, L> {
    fn drop(&mut self) {
        self.table.stop_waiting();
        if self.in_line {
            self.table.abandon(self.wanted.lock_name, &self.waiter_id);
        }
    }
}

/// Who is at the head and how far that is, without writing.
pub(crate) fn look<L: LockTable>(table: &L, lock_name: &str, waiter_id: &str) -> Result<Head> {
    let now = table.unix_seconds();
    let judge = |line: &Line<'_>| {
        // Those far behind one after the other, should nobody nearer look.
        let after_s = if line.ahead > NEAR {
            HAND_OVER_MIN.as_secs_f64() * f64::from(line.ahead)
        } else {
            0.0
        };
        let mut expires_in = (line.head_expires_at + after_s - now).max(0.0);
        let life = match line.head {
            Some(head) if line.ahead > 0 && (line.ahead <= NEAR || expires_in == 0.0) => {
                table.life(head)
            }
            _ => Life::Unknown,
        };
        if expires_in == 0.0
            && !line.head_granted
            && let Some(head) = line.head
        {
            // A waiter that lives may be late with its renewal.
            let until = spared_until(table, head, line.head_expires_at);
            expires_in = (until + after_s - now).max(0.0);
        }
        Head {
            ahead: line.ahead,
            is_mine: line.ahead == 0 && line.head_granted,
            token: line.token,
            claim: line.head.and_then(|head| table.claim(head)),
            can_be_gone: life != Life::Unknown,
            is_gone: life == Life::Gone,
            expires_in: Duration::try_from_secs_f64(expires_in).unwrap_or(Duration::MAX),
        }
    };
    table
        .look(lock_name, waiter_id, judge)?
        .ok_or(Error::WaitCleared)
}

pub(crate) struct Head {
    /// Whether this waiter holds the lock: somebody has granted it.
    pub(crate) is_mine: bool,
    token: Option<u64>,
    pub(crate) claim: Option<u64>,
    /// Whether the head would be known to be gone, and is.
    pub(crate) can_be_gone: bool,
    is_gone: bool,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;
    use crate::options::{LockOptions, Options};
    use crate::runtime::Runtime;
    use rusqlite::Connection;
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    #[test]
    fn who_is_far_behind_sleeps_no_longer_than_its_time() {
        let ms = Duration::from_millis;
        assert_eq!(until_near(3, ms(500)), POLL_INTERVAL);
        assert_eq!(until_near(102, ms(500)), ms(30));
        assert_eq!(
            until_near(FAR, ms(500)),
            ms(149) + Duration::from_micros(400)
        );
        // The wait before may have used it up: a timeout is not to be late by this.
        assert_eq!(until_near(FAR, ms(2)), ms(2));
        assert_eq!(until_near(FAR, Duration::ZERO), Duration::ZERO);
    }

    /// Is told nothing, and keeps how long it was to wait at most before each look.
    #[derive(Default)]
    struct Untold {
        now: Cell<Duration>,
        waits: RefCell<Vec<Duration>>,
    }

    impl Runtime for Untold {
        fn unix_seconds(&self) -> f64 {
            1.7e9 + self.now.get().as_secs_f64()
        }
        fn monotonic(&self) -> Duration {
            self.now.get()
        }
        fn random(&self) -> u128 {
            std::ptr::from_ref(self).addr() as u128
        }
        fn sleep(&self, duration: Duration) {
            self.now.set(self.now.get() + duration);
        }
        fn wait_change(&self, _: &Connection, _: Option<u64>, timeout: Duration) {
            self.waits.borrow_mut().push(timeout);
            self.sleep(timeout.min(POLL_INTERVAL));
        }
        fn explain_cannot_open(&self, _: &str) -> Error {
            Error::NotFound
        }
    }

    /// The waits of who waits 5 ms in vain behind so many for the lock of the dict `d`, in
    /// microseconds.
    fn waits(ahead: u32, acquire: fn(&Database, &LockOptions) -> Result<()>) -> Vec<u128> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let open = || {
            let runtime = Rc::<Untold>::default();
            let told: Rc<dyn Runtime> = runtime.clone();
            let options = Options::default();
            let database = Database::open_with(path.to_str().unwrap(), &options, told).unwrap();
            (database, runtime)
        };
        let (holder, _) = open();
        let held = holder.dict("d").unwrap();
        held.acquire(&LockOptions::default()).unwrap();
        let connection = Connection::open(&path).unwrap();
        for place in 1..ahead {
            let row = "INSERT INTO beaver_lock_waiters
                       SELECT lock_name, 'stranger' || ?1, ?1, 4e9 FROM beaver_lock_waiters LIMIT 1";
            connection.execute(row, [place]).unwrap();
        }
        let (waiter, runtime) = open();
        let options = LockOptions {
            timeout: Some(Duration::from_millis(5)),
            ..LockOptions::default()
        };
        assert_eq!(acquire(&waiter, &options), Err(Error::Timeout));
        let waits = runtime.waits.borrow();
        waits.iter().map(Duration::as_micros).collect()
    }

    #[test]
    fn the_next_in_line_who_is_told_nothing_looks_soon_and_ever_less_often() {
        let one = |database: &Database, options: &LockOptions| database.dict("d")?.acquire(options);
        let several = |database: &Database, options: &LockOptions| {
            let (held, free) = (database.dict("d")?, database.dict("e")?);
            database.acquire_all(&[&held, &free], options)
        };
        for acquire in [one, several] {
            assert_eq!(
                waits(1, acquire),
                [50, 100, 200, 400, 800, 1000, 1000, 1000, 450]
            );
            // The holder before it isn't the last.
            assert_eq!(waits(2, acquire), [5000, 4000, 3000, 2000, 1000]);
        }
    }
}
