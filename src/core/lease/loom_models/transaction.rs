//! A write transaction of the store: what it did is undone when it is dropped.

use super::state::{Event, Look, Row, State};
use super::store::{EPOCH_S, Fault, Store};
use crate::error::Result;
use crate::lease::GRANTED_AT;
use crate::lease::table::{Expired, HeadRow, LockTransaction};
use loom::sync::MutexGuard;
use std::cell::RefCell;

/// The state as a transaction has it.
pub(super) enum Held<'a> {
    Alone(MutexGuard<'a, State>),
    Copy(State),
}

impl std::ops::Deref for Held<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        match self {
            Self::Alone(state) => state,
            Self::Copy(state) => state,
        }
    }
}

impl std::ops::DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut State {
        match self {
            Self::Alone(state) => state,
            Self::Copy(state) => state,
        }
    }
}

#[derive(Default)]
pub(super) struct Early {
    last_request: Option<f64>,
    tokens: u64,
    pub(super) look: Look,
}

pub(super) struct Transaction<'a> {
    store: &'a Store,
    /// Its connection's.
    number: u32,
    pub(super) state: RefCell<Held<'a>>,
    /// What a rollback restores; none once committed.
    before: Option<State>,
    /// What was seen before it began, for the faults that rely on that.
    pub(super) early: Early,
}

impl<'a> Transaction<'a> {
    pub(super) fn begin(store: &'a Store, number: u32, unix_seconds: f64) -> Self {
        let early = match store.fault {
            Fault::StampedBefore | Fault::TokenBefore | Fault::GateBefore => {
                store.read(|state| Early {
                    last_request: state.last_request(),
                    tokens: state.tokens,
                    look: state.see(unix_seconds, None),
                })
            }
            _ => Early::default(),
        };
        let state = store.lock();
        Self {
            store,
            number,
            before: Some(state.clone()),
            state: RefCell::new(match store.fault {
                Fault::NotAlone => Held::Copy(state.clone()),
                _ => Held::Alone(state),
            }),
            early,
        }
    }

    pub(super) fn delete_where(&self, which: impl Fn(&Row) -> bool) -> u64 {
        let mut state = self.state.borrow_mut();
        let (gone, stay): (Vec<Row>, Vec<Row>) = state.rows.drain(..).partition(which);
        state.rows = stay;
        let count = gone.len() as u64;
        let (by, at) = (self.number, self.store.clock());
        let deleted = |row: Row| Event::Deleted { id: row.id, by, at };
        state.events.extend(gone.into_iter().map(deleted));
        count
    }

    fn log(&self, id: &str, requested_at: f64) {
        let id = id.to_owned();
        let at = self.store.clock();
        self.state
            .borrow_mut()
            .events
            .push(if requested_at == GRANTED_AT {
                Event::Granted { id, at }
            } else {
                Event::Enqueued { id }
            });
    }
}

impl LockTransaction for Transaction<'_> {
    fn commit(mut self) -> Result<()> {
        self.before = None;
        let placeholder = RefCell::new(Held::Copy(State::default()));
        match std::mem::replace(&mut self.state, placeholder).into_inner() {
            Held::Alone(state) => self.store.committed(state),
            Held::Copy(copy) => self.store.change(|state| {
                let (commits, sleepers) = (state.commits, state.sleepers);
                *state = State {
                    commits,
                    sleepers,
                    ..copy
                };
            }),
        }
        Ok(())
    }

    fn expired(&self, _: &str, now: f64) -> Result<Vec<Expired>> {
        let state = self.state.borrow();
        let early = self.store.fault == Fault::ExpiredEarly;
        let expired = state
            .rows
            .iter()
            .filter(|row| row.expires_at <= now || early);
        Ok(expired
            .map(|row| Expired {
                waiter_id: row.id.clone(),
                granted: row.requested_at == GRANTED_AT,
                expires_at: row.expires_at,
            })
            .collect())
    }

    fn head(&self, _: &str) -> Result<Option<HeadRow>> {
        Ok(self.state.borrow().head().map(|row| HeadRow {
            waiter_id: row.id.clone(),
            granted: row.requested_at == GRANTED_AT && self.store.fault != Fault::GrantUnseen,
            expires_at: row.expires_at,
        }))
    }

    fn last_request(&self, _: &str) -> Result<Option<f64>> {
        Ok(match self.store.fault {
            Fault::StampedBefore => self.early.last_request,
            _ => self.state.borrow().last_request(),
        })
    }

    fn insert(&self, _: &str, id: &str, requested_at: f64, expires_at: f64) -> Result<()> {
        self.log(id, requested_at);
        let entered_at = if requested_at == GRANTED_AT {
            EPOCH_S + self.store.clock().as_secs_f64()
        } else {
            requested_at
        };
        let requested_at = match self.store.fault {
            Fault::GrantStaysPut => entered_at,
            _ => requested_at,
        };
        let mut state = self.state.borrow_mut();
        state.check_free(requested_at)?;
        state.rows.push(Row {
            id: id.to_owned(),
            requested_at,
            expires_at,
            entered_at,
        });
        Ok(())
    }

    fn update(
        &self,
        _: &str,
        id: &str,
        requested_at: Option<f64>,
        expires_at: f64,
    ) -> Result<bool> {
        let mut state = self.state.borrow_mut();
        let Some(place) = state.place(id) else {
            return Ok(false);
        };
        state.rows[place].expires_at = expires_at;
        if let Some(requested_at) = requested_at {
            if self.store.fault == Fault::TtlFromRequest {
                let waited =
                    EPOCH_S + self.store.clock().as_secs_f64() - state.rows[place].entered_at;
                state.rows[place].expires_at -= waited;
            }
            if self.store.fault != Fault::GrantStaysPut {
                if state.rows[place].requested_at != requested_at {
                    state.check_free(requested_at)?;
                }
                state.rows[place].requested_at = requested_at;
            }
            drop(state);
            self.log(id, requested_at);
        }
        Ok(true)
    }

    fn extend_grant(&self, _: &str, id: &str, expires_at: f64) -> Result<bool> {
        let mut state = self.state.borrow_mut();
        let granted = |row: &Row| row.id == id && row.requested_at == GRANTED_AT;
        let place = match state.rows.iter().position(granted) {
            Some(place) => place,
            None if self.store.fault == Fault::RenewRevives => {
                state.rows.retain(|row| row.requested_at != GRANTED_AT);
                state.rows.push(Row {
                    id: id.to_owned(),
                    requested_at: GRANTED_AT,
                    expires_at,
                    entered_at: GRANTED_AT,
                });
                state.rows.len() - 1
            }
            None => return Ok(false),
        };
        state.rows[place].expires_at = expires_at;
        let (id, at) = (id.to_owned(), self.store.clock());
        state.events.push(Event::Extended { id, at });
        Ok(true)
    }

    fn delete(&self, _: &str, id: &str) -> Result<bool> {
        let leaves = self.store.fault == Fault::WaitLeavesRow;
        Ok(
            self.delete_where(|row| row.id == id && !(leaves && row.requested_at != GRANTED_AT))
                > 0,
        )
    }

    fn clear(&self, _: &str) -> Result<u64> {
        Ok(self.delete_where(|_| true))
    }

    fn next_token(&self, _: &str) -> Result<u64> {
        let mut state = self.state.borrow_mut();
        if self.store.fault == Fault::TokenBefore {
            state.tokens = self.early.tokens;
        }
        state.tokens += 1;
        Ok(state.tokens)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            **self.state.borrow_mut() = before;
        }
    }
}
