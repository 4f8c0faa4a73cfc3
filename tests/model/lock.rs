//! Locks: who may write, who loses what, tokens that only grow.
//!
//! Each connection has two owners of a dictionary's lock. The first connection
//! minds the lock (mandatory), the second doesn't (advisory). Times to live are over
//! at once, or not at all during a test.

use super::{Checked, Machine, Moment, Said, invalid};
use beaver_tests::{Dict, Error, GuardMode, Lock, LockOptions, Options, Result, Store, ms, s};
use proptest::prelude::*;
use std::time::Duration;

pub(crate) struct Locks;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// The first is the owner, of two.
    TryAcquire(usize, Ttl),
    Acquire(usize, Ttl),
    Release(usize),
    Renew(usize, Ttl),
    Set(usize),
    Get(usize),
    Token(usize),
    Clear,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ttl {
    Default,
    Hour,
    Over,
    Zero,
}

impl Ttl {
    fn duration(self) -> Option<Duration> {
        match self {
            Self::Default => None,
            Self::Hour => Some(s(3600)),
            Self::Over => Some(Duration::from_nanos(1)),
            Self::Zero => Some(Duration::ZERO),
        }
    }
}

#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Done,
    Is(bool),
    Count(u64),
    Text(Option<String>),
    Token(Option<u64>),
}

/// Connection and number.
type Owner = (usize, usize);

#[derive(Clone, Debug, Default)]
pub(crate) struct Contents {
    /// Who has been granted the lock, and whether that is over.
    grant: Option<(Owner, bool)>,
    /// The last token.
    token: u64,
    value: Option<String>,
}

impl Contents {
    fn is_free(&self) -> bool {
        self.grant.is_none_or(|(_, is_over)| is_over)
    }

    fn holds(&self, owner: Owner) -> bool {
        self.grant.is_some_and(|(holder, _)| holder == owner)
    }
}

/// What each owner believes to hold: its token, and the time to live it asked for.
#[derive(Debug, Default)]
pub(crate) struct Beliefs([Option<(u64, Ttl)>; 2]);

pub(crate) struct Handle {
    owners: [Dict; 2],
    lock: Lock,
    name: String,
}

fn lost(name: &str) -> Error {
    Error::LockLost(name.to_owned())
}

impl Machine for Locks {
    type Op = Op;
    type Answer = Answer;
    type Contents = Contents;
    type Handle = Handle;
    type Place = Beliefs;

    const LEAVES_NOTHING: bool = false;

    fn op() -> BoxedStrategy<Op> {
        let owner = || 0..2_usize;
        let ttl = || {
            prop_oneof![
                2 => Just(Ttl::Default),
                2 => Just(Ttl::Hour),
                4 => Just(Ttl::Over),
                1 => Just(Ttl::Zero),
            ]
        };
        prop_oneof![
            5 => (owner(), ttl()).prop_map(|(owner, ttl)| Op::TryAcquire(owner, ttl)),
            5 => (owner(), ttl()).prop_map(|(owner, ttl)| Op::Acquire(owner, ttl)),
            4 => owner().prop_map(Op::Release),
            4 => (owner(), ttl()).prop_map(|(owner, ttl)| Op::Renew(owner, ttl)),
            8 => owner().prop_map(Op::Set),
            2 => owner().prop_map(Op::Get),
            2 => owner().prop_map(Op::Token),
            1 => Just(Op::Clear),
        ]
        .boxed()
    }

    fn options(side: usize) -> Options {
        Options {
            busy_timeout: ms(0),
            lock_wait: ms(0),
            guard_mode: [GuardMode::Mandatory, GuardMode::Advisory][side],
            ..Options::default()
        }
    }

    fn open(store: &Store, name: &str) -> Result<Handle> {
        Ok(Handle {
            owners: [store.dict(name)?, store.dict(name)?],
            lock: store.lock(&format!("__lock__dict__{name}"))?,
            name: name.to_owned(),
        })
    }

    fn run(handle: &mut Handle, _: &Contents, op: &Op, now: Moment) -> Result<Answer> {
        let owner = |at: &usize| &handle.owners[*at];
        let said = match op {
            Op::TryAcquire(at, ttl) => owner(at).try_acquire(ttl.duration()).map(Answer::Is),
            Op::Acquire(at, ttl) => {
                let options = LockOptions {
                    timeout: Some(ms(0)),
                    ttl: ttl.duration(),
                };
                owner(at).acquire(&options).map(|()| Answer::Done)
            }
            Op::Release(at) => owner(at).release().map(|()| Answer::Done),
            Op::Renew(at, ttl) => owner(at).renew(ttl.duration()).map(|()| Answer::Done),
            Op::Set(at) => {
                let value = now.step.to_string();
                owner(at).set("x", &value, None).map(|()| Answer::Done)
            }
            Op::Get(at) => owner(at).get("x").map(Answer::Text),
            Op::Token(at) => Ok(Answer::Token(owner(at).fencing_token())),
            Op::Clear => handle.lock.clear().map(Answer::Count),
        };
        // Both of these name the lock, which the model doesn't know.
        let name = format!("__lock__dict__{}", handle.name);
        said.map_err(|error| match error {
            Error::Locked(lock) if lock == name => Error::Locked(String::new()),
            Error::LockLost(lock) if lock == name => lost(""),
            other => other,
        })
    }

    fn expect(
        contents: &mut Contents,
        beliefs: &mut Beliefs,
        op: &Op,
        now: Moment,
        _: Said<'_, Answer>,
    ) -> Result<Answer> {
        Ok(match op {
            Op::TryAcquire(_, Ttl::Zero) | Op::Acquire(_, Ttl::Zero) | Op::Renew(_, Ttl::Zero) => {
                return Err(invalid());
            }
            Op::TryAcquire(at, ttl) | Op::Acquire(at, ttl) => {
                now.needs_no_transaction()?;
                let tries = matches!(op, Op::TryAcquire(..));
                if beliefs.0[*at].is_some() {
                    return Err(Error::AlreadyHeld);
                }
                if now.is_blocked {
                    return Err(if tries { Error::Busy } else { Error::Timeout });
                }
                let is_free = contents.is_free();
                if is_free {
                    contents.token += 1;
                    contents.grant = Some(((now.side, *at), *ttl == Ttl::Over));
                    beliefs.0[*at] = Some((contents.token, *ttl));
                }
                match (tries, is_free) {
                    (true, _) => Answer::Is(is_free),
                    (false, true) => Answer::Done,
                    (false, false) => return Err(Error::Timeout),
                }
            }
            Op::Release(at) => {
                now.needs_no_transaction()?;
                if beliefs.0[*at].is_none() {
                    return Err(Error::NotHeld);
                }
                now.needs_write_lock()?;
                beliefs.0[*at] = None;
                if !contents.holds((now.side, *at)) {
                    return Err(lost(""));
                }
                contents.grant = None;
                Answer::Done
            }
            Op::Renew(at, ttl) => {
                now.needs_no_transaction()?;
                let (_, asked) = beliefs.0[*at].ok_or(Error::NotHeld)?;
                now.needs_write_lock()?;
                if !contents.holds((now.side, *at)) {
                    return Err(lost(""));
                }
                let ttl = if *ttl == Ttl::Default { asked } else { *ttl };
                contents.grant = Some(((now.side, *at), ttl == Ttl::Over));
                Answer::Done
            }
            Op::Set(at) => {
                now.needs_write_lock()?;
                if beliefs.0[*at].is_some() {
                    if !contents.holds((now.side, *at)) {
                        return Err(lost(""));
                    }
                } else if now.side == 0 {
                    if !contents.is_free() {
                        return Err(Error::Locked(String::new()));
                    }
                    // It goes before whatever a holder that is late still means to write.
                    contents.grant = None;
                }
                contents.value = Some(now.step.to_string());
                Answer::Done
            }
            Op::Get(_) => Answer::Text(contents.value.clone()),
            Op::Token(at) => Answer::Token(beliefs.0[*at].map(|(token, _)| token)),
            Op::Clear => {
                now.needs_no_transaction()?;
                now.needs_write_lock()?;
                Answer::Count(u64::from(contents.grant.take().is_some()))
            }
        })
    }

    fn close(contents: &mut Contents, side: usize) {
        if contents
            .grant
            .is_some_and(|((holder, _), _)| holder == side)
        {
            contents.grant = None;
        }
    }

    fn check(handle: &mut Handle, contents: &Contents) -> Checked {
        prop_assert_eq!(handle.owners[0].get("x").unwrap(), contents.value.clone());
        Ok(())
    }
}
