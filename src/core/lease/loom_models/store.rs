//! A lock table in memory, each of whose steps loom may interleave with those of others.
//!
//! A write transaction ([`Transaction`]) is holding the mutex. The clock moves only by
//! [`Store::advance`], which is a step too; a wait whose time doesn't come is a deadlock, which
//! loom reports. The faults are what a store, or a change to the algorithm, could get wrong:
//! models must catch them.

use super::state::{Row, State};
use super::transaction::Transaction;
use super::wanted;
use crate::error::Result;
use crate::lease::gate::{Pass, Seen, Verdict};
use crate::lease::guarded::{self, Guarded};
use crate::lease::table::{Life, Line, LockTable, LockTransaction as _, Wait};
use crate::lease::{GRANTED_AT, Lease, grant, wait};
use crate::options::GuardMode;
use crate::write::Effect;
use loom::sync::{Condvar, Mutex, MutexGuard};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

pub(super) const LOCK: &str = "lock";
const INTERNAL_LOCK: &str = "internal lock";
pub(super) const EPOCH_S: f64 = 1.7e9;

/// What goes wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Transactions work on copies, as without `BEGIN IMMEDIATE`.
    NotAlone,
    /// Rows are taken for expired before their time.
    ExpiredEarly,
    /// The end of the line is read before the transaction.
    StampedBefore,
    /// A grant leaves the row where it is in line.
    GrantStaysPut,
    /// A grant's time to live counts from the request.
    TtlFromRequest,
    /// A wait that ends leaves its row.
    WaitLeavesRow,
    /// A write under the lock doesn't look whether the grant is there.
    NotFenced,
    /// Renewing brings back a grant that was lost.
    RenewRevives,
    /// The fencing token is read before the transaction.
    TokenBefore,
    /// A write without the lock doesn't look whether it is taken.
    LockIgnored,
    /// A write without the lock looks before its transaction.
    GateBefore,
    /// A write without the lock leaves the grant of a holder past its time.
    StaleGrantStays,
    /// A waiter doesn't see that its row is gone.
    ClearingUnseen,
    /// The change token is taken after the look.
    ChangeTokenAfterLook,
    /// A holder that doesn't answer is taken for dead.
    GoneByGuess,
    /// Nobody is known to be dead.
    GoneUnseen,
    /// A holder's row is taken for one that waits.
    GrantUnseen,
}

pub(super) struct Store {
    pub(super) fault: Fault,
    state: Mutex<State>,
    changed: Condvar,
    clock: Cell<Duration>,
    /// Whether connections claim their numbers.
    claiming: Cell<bool>,
    gone: RefCell<Vec<u32>>,
    /// The rows whose owners ended the claims on them.
    given_up: RefCell<Vec<String>>,
}

impl Store {
    pub(super) fn new(fault: Fault) -> Rc<Self> {
        Rc::new(Self {
            fault,
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            clock: Cell::new(Duration::ZERO),
            claiming: Cell::new(false),
            gone: RefCell::default(),
            given_up: RefCell::default(),
        })
    }

    pub(super) fn connect(self: &Rc<Self>, number: u32) -> Connection {
        Connection {
            store: Rc::clone(self),
            number,
            offset_s: 0.0,
            next_id: Cell::new(0),
            cannot_delete: Cell::new(false),
        }
    }

    pub(super) fn claiming(&self) {
        self.claiming.set(true);
    }

    /// One state of everything.
    pub(super) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    /// A change that no rule binds, by a foreign process.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let value = change(&mut state);
        self.committed(state);
        value
    }

    pub(super) fn advance(&self, by: Duration) {
        let state = self.lock();
        self.clock.set(self.clock.get() + by);
        self.wake(state);
    }

    /// Ends a connection's process.
    pub(super) fn kill(&self, number: u32) {
        let _step = self.lock();
        self.gone.borrow_mut().push(number);
    }

    pub(super) fn clock(&self) -> Duration {
        self.clock.get()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("loom's mutexes aren't poisoned")
    }

    pub(super) fn committed(&self, mut state: MutexGuard<'_, State>) {
        state.commits += 1;
        self.wake(state);
    }

    fn wake(&self, state: MutexGuard<'_, State>) {
        let sleepers = state.sleepers;
        drop(state);
        if sleepers > 0 {
            self.changed.notify_all();
        }
    }
}

/// One process's connection.
pub(super) struct Connection {
    store: Rc<Store>,
    number: u32,
    offset_s: f64,
    next_id: Cell<u32>,
    /// Whether it finds somebody writing whenever it gives a row up.
    cannot_delete: Cell<bool>,
}

impl Connection {
    /// The same with another wall clock.
    pub(super) fn ahead(self, offset_s: f64) -> Self {
        Self { offset_s, ..self }
    }

    pub(super) fn cannot_delete(self) -> Self {
        self.cannot_delete.set(true);
        self
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn acquire(&self, timeout: Option<Duration>, ttl_s: u64) -> Result<Lease> {
        wait::acquire(self, &wanted(ttl_s), timeout)
    }

    /// A manager's write, through a handle that holds the lock or not.
    pub(super) fn write<T>(
        &self,
        lease: Option<&Lease>,
        change: impl Fn(&mut State) -> T,
    ) -> Result<T> {
        let guarded = Guarded {
            lock_name: LOCK,
            internal_lock_name: INTERNAL_LOCK,
            lease,
            wait: Duration::MAX,
            write_limit: None,
        };
        let gate = |transaction: &Transaction<'_>, held: Option<&Lease>, _: Option<&Lease>| {
            let own = held.map(|lease| lease.waiter_id.as_str());
            let mut look = transaction.state.borrow().see(self.unix_seconds(), own);
            match self.store.fault {
                Fault::GateBefore if held.is_none() => look = transaction.early.look,
                Fault::NotFenced => look.owned = true,
                Fault::LockIgnored => (look.taken, look.granted) = (false, false),
                _ => {}
            }
            let pass = Pass {
                guard_mode: GuardMode::Mandatory,
                has_lease: held.is_some(),
                internal: None,
                minds_methods: false,
            };
            let verdict = pass.judge(&Seen {
                taken: look.taken,
                owned: look.owned,
                granted: look.granted,
                under_way: None,
            });
            if verdict == Verdict::FenceOff && self.store.fault != Fault::StaleGrantStays {
                transaction.delete_where(|row| row.requested_at == GRANTED_AT);
            }
            Ok(verdict)
        };
        guarded::write(self, &guarded, gate, |transaction| {
            let mut state = transaction.state.borrow_mut();
            if let Some(lease) = lease {
                state.writes.push(lease.token);
            }
            Ok(Effect::Changed(change(&mut state)))
        })
    }
}

impl LockTable for Connection {
    type Transaction<'a> = Transaction<'a>;

    fn begin(&self, _: Option<Duration>) -> Result<Transaction<'_>> {
        let (store, number) = (&*self.store, self.number);
        Ok(Transaction::begin(store, number, self.unix_seconds()))
    }

    fn look<T>(&self, _: &str, id: &str, judge: impl FnOnce(&Line<'_>) -> T) -> Result<Option<T>> {
        let state = self.store.lock();
        let me = match state.place(id) {
            Some(place) => &state.rows[place],
            None if self.store.fault == Fault::ClearingUnseen => {
                return Ok(Some(judge(&Line {
                    head: None,
                    head_expires_at: f64::INFINITY,
                    head_granted: true,
                    ahead: 1,
                    token: None,
                })));
            }
            None => return Ok(None),
        };
        let Some(head) = state.head() else {
            return Ok(None);
        };
        let before_me = |row: &&Row| row.requested_at < me.requested_at;
        Ok(Some(judge(&Line {
            head: Some(&head.id),
            head_expires_at: head.expires_at,
            head_granted: head.requested_at == GRANTED_AT,
            ahead: u32::try_from(state.rows.iter().filter(before_me).count()).unwrap_or(u32::MAX),
            token: Some(state.tokens),
        })))
    }

    fn new_waiter_id(&self) -> String {
        let count = self.next_id.get();
        self.next_id.set(count + 1);
        format!("{}:{count}", self.number)
    }

    fn life(&self, id: &str) -> Life {
        let owner = id.split(':').next().and_then(|number| number.parse().ok());
        match owner {
            Some(owner) if self.store.claiming.get() && owner != self.number => {
                let gone = self.store.gone.borrow().contains(&owner)
                    || self.store.given_up.borrow().iter().any(|row| row == id);
                if self.store.fault == Fault::GoneUnseen {
                    Life::Lives
                } else if gone || self.store.fault == Fault::GoneByGuess {
                    Life::Gone
                } else {
                    Life::Lives
                }
            }
            _ => Life::Unknown,
        }
    }

    fn unix_seconds(&self) -> f64 {
        EPOCH_S + self.store.clock().as_secs_f64() + self.offset_s
    }

    fn monotonic(&self) -> Duration {
        self.store.clock()
    }

    fn change_token(&self) -> Option<u64> {
        match self.store.fault {
            Fault::ChangeTokenAfterLook => None,
            _ => Some(self.store.read(|state| state.commits)),
        }
    }

    fn is_told(&self) -> bool {
        true
    }

    fn wait(&self, wait: &Wait<'_>) {
        let until = self.store.clock().saturating_add(wait.longest);
        let mut state = self.store.lock();
        let seen = wait.seen.unwrap_or(state.commits);
        while state.commits == seen && self.store.clock() < until {
            state.sleepers += 1;
            let woken = self.store.changed.wait(state);
            state = woken.expect("loom's mutexes aren't poisoned");
            state.sleepers -= 1;
        }
    }

    fn sleep(&self, _: Duration) {
        unreachable!("nobody is far behind, and no writer is waited for");
    }

    fn abandon(&self, _: &str, id: &str) {
        // A model that failed has no further steps.
        if std::thread::panicking() {
            return;
        }
        if self.cannot_delete.get() {
            let _step = self.store.lock();
            self.store.given_up.borrow_mut().push(id.to_owned());
            return;
        }
        if let Ok(transaction) = self.begin(None)
            && grant::give_back(self, &transaction, LOCK, id).is_ok()
        {
            let _ = transaction.commit();
        }
    }
}
