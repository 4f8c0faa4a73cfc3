//! Locks: two clients of two processes.

use super::talk::{Expected, NOTHING, Talk, judge};
use super::{Fault, Trial};
use crate::protocol::{Capability, ErrorCode};
use serde_json::{Value, json};
use std::time::Duration;

const NOT_HELD: Expected = Expected::Error(&[ErrorCode::NotHeld]);

/// A release of what isn't held is an error or nothing, as the system likes.
const NOTHING_RELEASED: Expected = Expected::Either(&[ErrorCode::NotHeld]);

fn acquire(lock: &str, timeout_ms: u64) -> Value {
    json!({"op": "lock-acquire", "lock": lock, "timeout_ms": timeout_ms})
}

fn release(lock: &str) -> Value {
    json!({"op": "lock-release", "lock": lock})
}

/// What `lock-acquire` answers.
fn granted(talk: &Talk) -> Expected {
    if talk.offers(Capability::Fencing) {
        Expected::Like(
            "{\"ok\":{\"token\":N}} with an integer N (it offers `fencing`)",
            |value| value.get("token").is_some_and(Value::is_u64),
        )
    } else {
        Expected::Like("{\"ok\":{\"token\":…}} or {\"ok\":null}", |value| {
            value.is_null() || value.get("token").is_some()
        })
    }
}

impl Trial {
    /// The other client is another process's: those of one may share a lock, if the system's
    /// threads do.
    pub(super) fn try_locks(&mut self, talk: &mut Talk) -> Result<(), Fault> {
        if !talk.offers(Capability::Locks) {
            return Ok(());
        }
        let mut other = Talk::spawn(self, "store.db", 0)?;
        other.open(0)?;
        let other = &other;
        let manager = [
            (Capability::Dict, "dict:locked"),
            (Capability::Queue, "queue:locked"),
            (Capability::List, "list:locked"),
            (Capability::Collection, "collection:locked"),
            (Capability::Blob, "blob:locked"),
        ]
        .into_iter()
        .find(|(capability, _)| talk.offers(*capability))
        .map(|(_, lock)| lock);
        for lock in std::iter::once("lock:check").chain(manager) {
            try_lock(talk, other, lock)?;
        }
        self.done("grants a lock to one client at a time");
        if talk.offers(Capability::LockRenew) {
            try_renewal(talk)?;
            self.done("renews locks");
        }
        if talk.offers(Capability::LockWaiting) {
            try_count(talk, other)?;
            self.done("counts who holds or waits for a lock");
        }
        if talk.offers(Capability::Dict) && talk.offers(Capability::MandatoryLocks) {
            try_mandatory(talk, other)?;
            self.done("keeps writers out who don't hold the lock");
        }
        if talk.offers(Capability::Dict) && talk.offers(Capability::Fencing) {
            try_fencing(talk, other)?;
            self.done("fences off a holder that lost its lock");
        }
        Ok(())
    }
}

fn try_lock(talk: &Talk, other: &Talk, lock: &str) -> Result<(), Fault> {
    let granted = granted(talk);
    let what = |op: &str, rest: &str| format!("`{op}` of {lock}{rest}");
    let free = what("lock-release", ", which this client doesn't hold,");
    talk.expect(0, &free, release(lock), &NOTHING_RELEASED)?;
    let first = what("lock-acquire", ", which is free,");
    let first = talk.expect(0, &first, acquire(lock, 5000), &granted)?;
    let taken = what("lock-acquire", ", which another client holds,");
    other.times_out(0, &taken, acquire(lock, 0))?;
    let not_ours = what("lock-release", ", which another client holds,");
    other.expect(0, &not_ours, release(lock), &NOTHING_RELEASED)?;
    other.times_out(0, &taken, acquire(lock, 0))?;
    let waiting = what(
        "lock-acquire",
        " by a client that waits, after its release,",
    );
    let asked = other.send(Some(0), &waiting, acquire(lock, 5000))?;
    let held = what(
        "lock-release",
        " by its holder, while another waits for it,",
    );
    talk.expect(0, &held, release(lock), &NOTHING)?;
    let token = other.judge(asked, &granted)?;
    other.expect(
        0,
        &what("lock-release", " by its holder"),
        release(lock),
        &NOTHING,
    )?;
    // Nobody is left in the line.
    let again = what("lock-acquire", ", which is free again,");
    talk.expect(0, &again, acquire(lock, 5000), &granted)?;
    talk.expect(0, &held, release(lock), &NOTHING)?;
    let number = |value: &Value| value.get("token").and_then(Value::as_u64);
    match (number(&first), number(&token)) {
        (Some(before), Some(after)) if after <= before => Err(format!(
            "each grant of a lock must have a larger token than the one before, but after \
             {before} came {after}"
        )),
        _ => Ok(()),
    }
}

fn try_renewal(talk: &Talk) -> Result<(), Fault> {
    let renew = json!({"op": "lock-renew", "lock": "lock:renewed", "ttl_ms": 60_000});
    let free = "`lock-renew` of a lock that this client doesn't hold";
    talk.expect(0, free, renew.clone(), &NOT_HELD)?;
    talk.expect(
        0,
        "`lock-acquire` of a free lock",
        acquire("lock:renewed", 5000),
        &granted(talk),
    )?;
    talk.expect(0, "`lock-renew` by the lock's holder", renew, &NOTHING)?;
    talk.expect(
        0,
        "`lock-release` by the lock's holder",
        release("lock:renewed"),
        &NOTHING,
    )?;
    Ok(())
}

fn try_count(talk: &Talk, other: &Talk) -> Result<(), Fault> {
    let count = || json!({"op": "lock-waiting", "lock": "lock:counted"});
    let is = |count: u32| Expected::Is(count.into());
    talk.expect(0, "`lock-waiting` of a free lock", count(), &is(0))?;
    talk.expect(
        0,
        "`lock-acquire` of a free lock",
        acquire("lock:counted", 5000),
        &granted(talk),
    )?;
    talk.expect(0, "`lock-waiting` of a lock that is held", count(), &is(1))?;
    let what = "`lock-waiting` by another client than the lock's holder";
    other.expect(0, what, count(), &is(1))?;
    talk.expect(
        0,
        "`lock-release` by the lock's holder",
        release("lock:counted"),
        &NOTHING,
    )?;
    talk.expect(
        0,
        "`lock-waiting` of a lock that was released",
        count(),
        &is(0),
    )?;
    Ok(())
}

fn try_mandatory(talk: &Talk, other: &Talk) -> Result<(), Fault> {
    const LOCK: &str = "dict:mandatory";
    let set =
        |value: u32| json!({"op": "dict-set", "name": "mandatory", "key": "k", "value": value});
    let get = || json!({"op": "dict-get", "name": "mandatory", "key": "k"});
    talk.expect(
        0,
        "`lock-acquire` of a free lock",
        acquire(LOCK, 5000),
        &granted(talk),
    )?;
    talk.expect(
        0,
        "`dict-set` by the holder of the dictionary's lock",
        set(1),
        &NOTHING,
    )?;
    let what = "`dict-set` by a client that doesn't hold the dictionary's lock";
    let asked = other.send(Some(0), what, set(2))?;
    let refused = Expected::Error(&[ErrorCode::Locked]);
    // It may wait for the lock or be refused, but not be done.
    let asked = match other.peek(asked, Duration::from_millis(200)) {
        Ok((answer, _)) => {
            judge(&format!("{what}, held by another,"), &answer, &refused)?;
            None
        }
        Err(asked) => Some(asked),
    };
    let what = "`dict-get` by the holder, after another client tried to write,";
    talk.expect(0, what, get(), &Expected::Is(json!(1)))?;
    talk.expect(
        0,
        "`lock-release` by the lock's holder",
        release(LOCK),
        &NOTHING,
    )?;
    if let Some(asked) = asked {
        let (answer, _) = other.receive(asked)?;
        match &answer {
            Err(failure) if failure.error == ErrorCode::Locked => {}
            answer => {
                judge(&format!("{what}, after the release,"), answer, &NOTHING)?;
            }
        }
    }
    Ok(())
}

fn try_fencing(talk: &Talk, other: &Talk) -> Result<(), Fault> {
    const LOCK: &str = "dict:fenced";
    let set = json!({"op": "dict-set", "name": "fenced", "key": "k", "value": 1});
    let mut short = acquire(LOCK, 5000);
    if let Value::Object(fields) = &mut short {
        fields.insert("ttl_ms".into(), 50.into());
    }
    talk.expect(
        0,
        "`lock-acquire` of a free lock with \"ttl_ms\":50",
        short,
        &granted(talk),
    )?;
    let granted = granted(talk);
    let what = "`lock-acquire` of a lock whose holder is past its time";
    other.expect(0, what, acquire(LOCK, 20_000), &granted)?;
    let lost = Expected::Error(&[ErrorCode::LockLost]);
    let what = "`dict-set` by a client that held the dictionary's lock and lost it";
    talk.expect(0, what, set, &lost)?;
    let ended = Expected::Error(&[ErrorCode::LockLost, ErrorCode::NotHeld]);
    let what = "`lock-release` by a client that held the lock and lost it";
    talk.expect(0, what, release(LOCK), &ended)?;
    other.expect(
        0,
        "`lock-release` by the lock's holder",
        release(LOCK),
        &NOTHING,
    )?;
    Ok(())
}
