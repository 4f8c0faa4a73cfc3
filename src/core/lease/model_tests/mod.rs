//! The lock table against a plain model of it, in simulated time: owners whose
//! clocks differ and jump, foreign processes that keep Python's rules, deaths.
//!
//! Waits are taken apart into looks, so that several owners wait at once on one thread.

mod model;

use super::wait::{Entry, Poll, Waiter, enter};
use super::{Fencing, Lease, Wanted};
use crate::guard::Sealed as _;
use crate::{Database, Dict, Error, GuardMode, LockOptions, Options, Runtime};
use model::{Answer, Model, Row, State, Who};
use proptest::prelude::*;
use rusqlite::{Connection, params};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

const LOCK: &str = "__lock__dict__d";
const OWNERS: usize = 3;
/// This one's rows tell that it lives.
const CLAIMING: usize = 0;
/// This one writes whatever the lock says.
const ADVISORY: usize = 2;
/// The claims of foreign rows start here, above those of owners.
const FOREIGN_CLAIM: u64 = 1000;
const EPOCH_S: f64 = 1.7e9;

#[derive(Clone, Debug)]
enum Op {
    TryAcquire {
        ttl_s: u64,
    },
    Acquire {
        ttl_s: u64,
        timeout_s: Option<u64>,
    },
    Poll,
    Leave,
    Release,
    Renew {
        ttl_s: Option<u64>,
    },
    Write {
        in_transaction: bool,
    },
    Drop {
        in_transaction: bool,
    },
    Clear,
    Advance {
        ms: u64,
    },
    Jump {
        offset_s: i32,
    },
    ForeignRequest {
        early_s: i32,
        ttl_s: u32,
        claim: bool,
    },
    ForeignDies,
    ForeignLeaves,
}

fn op() -> impl Strategy<Value = Op> {
    let ttl_s = prop::sample::select(vec![1_u64, 5, 60]);
    let timeout_s = prop::option::weighted(0.8, prop::sample::select(vec![0_u64, 3, 40]));
    prop_oneof![
        2 => ttl_s.clone().prop_map(|ttl_s| Op::TryAcquire { ttl_s }),
        6 => (ttl_s.clone(), timeout_s)
            .prop_map(|(ttl_s, timeout_s)| Op::Acquire { ttl_s, timeout_s }),
        6 => Just(Op::Poll),
        1 => Just(Op::Leave),
        3 => Just(Op::Release),
        2 => prop::option::of(ttl_s).prop_map(|ttl_s| Op::Renew { ttl_s }),
        5 => any::<bool>().prop_map(|in_transaction| Op::Write { in_transaction }),
        1 => any::<bool>().prop_map(|in_transaction| Op::Drop { in_transaction }),
        1 => Just(Op::Clear),
        5 => prop::sample::select(vec![0_u64, 1, 500, 1000, 3000, 10_000, 31_000, 61_000])
            .prop_map(|ms| Op::Advance { ms }),
        1 => prop::sample::select(vec![-3600, -61, -10, 0, 10, 61, 3600])
            .prop_map(|offset_s| Op::Jump { offset_s }),
        3 => (-5..100_i32, 1..70_u32, any::<bool>())
            .prop_map(|(early_s, ttl_s, claim)| Op::ForeignRequest { early_s, ttl_s, claim }),
        1 => Just(Op::ForeignDies),
        2 => Just(Op::ForeignLeaves),
    ]
}

/// What is shared by all clocks.
#[derive(Default)]
struct Time {
    now: Cell<Duration>,
    gone: RefCell<HashSet<u64>>,
}

struct Clock {
    time: Rc<Time>,
    owner: usize,
    offset_s: Cell<f64>,
}

impl Runtime for Clock {
    fn unix_seconds(&self) -> f64 {
        EPOCH_S + self.time.now.get().as_secs_f64() + self.offset_s.get()
    }
    fn monotonic(&self) -> Duration {
        self.time.now.get()
    }
    fn random(&self) -> u128 {
        // The upper 33 bits tell connections apart.
        (self.owner as u128 + 1) << 95
    }
    fn sleep(&self, _: Duration) {
        unreachable!("no operation here has to wait");
    }
    fn claim(&self, _: &Connection, _: Range<u64>) -> bool {
        self.owner == CLAIMING
    }
    fn is_claimed(&self, _: &Connection, claim: u64) -> Option<bool> {
        Some(!self.time.gone.borrow().contains(&(claim >> 28)))
    }
    fn explain_cannot_open(&self, _: &str) -> Error {
        Error::NotFound
    }
}

struct Owner<'a> {
    database: &'a Database,
    clock: &'a Clock,
    dict: Dict,
    waiter: Option<Waiter<'a, Database>>,
}

impl Owner<'_> {
    fn granted(&mut self, lease: Lease) -> Answer {
        let token = lease.token;
        self.waiter = None;
        self.dict.owner().adopt(lease);
        Answer::Granted { token }
    }

    fn token(&self) -> Answer {
        Answer::Granted {
            token: self.dict.fencing_token().unwrap(),
        }
    }

    fn apply(&mut self, op: &Op, foreign: &Foreign, writes: i64) -> Answer {
        let done = |result: crate::Result<()>| result.map_or_else(Answer::Fails, |()| Answer::Done);
        match op {
            Op::TryAcquire { ttl_s } => {
                match self.dict.try_acquire(Some(Duration::from_secs(*ttl_s))) {
                    Ok(true) => self.token(),
                    Ok(false) => Answer::Taken,
                    Err(error) => Answer::Fails(error),
                }
            }
            Op::Acquire { ttl_s, timeout_s } => {
                let (ttl, timeout) = (
                    Duration::from_secs(*ttl_s),
                    timeout_s.map(Duration::from_secs),
                );
                if timeout == Some(Duration::ZERO) || self.dict.fencing_token().is_some() {
                    let options = LockOptions {
                        timeout,
                        ttl: Some(ttl),
                    };
                    return match self.dict.acquire(&options) {
                        Ok(()) => self.token(),
                        Err(error) => Answer::Fails(error),
                    };
                }
                let wanted = Wanted {
                    lock_name: LOCK,
                    ttl,
                    fencing: Fencing::With,
                };
                match enter(self.database, &wanted, timeout) {
                    Ok(Entry::Granted(lease)) => self.granted(lease),
                    Ok(Entry::InLine(waiter)) => {
                        self.waiter = Some(waiter);
                        Answer::InLine
                    }
                    Err(error) => Answer::Fails(error),
                }
            }
            Op::Poll => {
                for _ in 0..3 {
                    let Some(waiter) = &mut self.waiter else {
                        return Answer::Done;
                    };
                    match waiter.poll() {
                        Ok(Poll::Granted(lease)) => return self.granted(lease),
                        Ok(Poll::Again) => {}
                        Ok(Poll::Busy) => panic!("nobody else writes"),
                        Ok(Poll::Wait(wait)) => {
                            assert!(wait.longest > Duration::ZERO, "it would spin");
                            assert!(wait.longest <= Duration::from_secs(10));
                            return Answer::Waits { ahead: wait.ahead };
                        }
                        Err(error) => {
                            self.waiter = None;
                            return Answer::Fails(error);
                        }
                    }
                }
                panic!("a waiter that looks again and again without waiting");
            }
            Op::Leave => {
                self.waiter = None;
                Answer::Done
            }
            Op::Release => done(self.dict.release()),
            Op::Renew { ttl_s } => done(self.dict.renew(ttl_s.map(Duration::from_secs))),
            Op::Write { in_transaction } => {
                let value = (writes + 1).to_string();
                let transaction = in_transaction.then(|| self.database.begin().unwrap());
                let written = self.dict.set("x", &value, None);
                if let Some(transaction) = transaction {
                    transaction.commit().unwrap();
                }
                done(written)
            }
            Op::Drop { in_transaction } => {
                let transaction = in_transaction.then(|| self.database.begin().unwrap());
                self.dict = self.database.dict("d").unwrap();
                if let Some(transaction) = transaction {
                    transaction.commit().unwrap();
                }
                Answer::Done
            }
            Op::Clear => {
                self.database.lock(LOCK).unwrap().clear().unwrap();
                Answer::Done
            }
            Op::Advance { ms } => {
                let now = &self.clock.time.now;
                now.set(now.get() + Duration::from_millis(*ms));
                Answer::Done
            }
            Op::Jump { offset_s } => {
                self.clock.offset_s.set(f64::from(*offset_s));
                Answer::Done
            }
            Op::ForeignRequest {
                early_s,
                ttl_s,
                claim,
            } => foreign.request(f64::from(*early_s), f64::from(*ttl_s), *claim),
            Op::ForeignDies => {
                let claims = 0..foreign.count.get();
                let mut gone = self.clock.time.gone.borrow_mut();
                gone.extend(claims.map(|number| FOREIGN_CLAIM + number));
                Answer::Done
            }
            Op::ForeignLeaves => foreign.leave(),
        }
    }
}

/// Other processes, which know nothing of ours.
struct Foreign {
    connection: Connection,
    time: Rc<Time>,
    count: Cell<u64>,
}

impl Foreign {
    fn request(&self, early_s: f64, ttl_s: f64, claim: bool) -> Answer {
        let number = self.count.get();
        let id = if claim {
            format!("live:{:016x}{:016x}:0", (FOREIGN_CLAIM + number) << 28, 0)
        } else {
            format!("foreign:{number}")
        };
        let requested_at = EPOCH_S + self.time.now.get().as_secs_f64() - early_s;
        let inserted = self
            .connection
            .execute(
                "INSERT OR IGNORE INTO beaver_lock_waiters VALUES (?1, ?2, ?3, ?4)",
                params![LOCK, id, requested_at, requested_at + ttl_s],
            )
            .unwrap();
        if inserted == 0 {
            return Answer::Taken;
        }
        self.count.set(number + 1);
        Answer::Done
    }

    fn leave(&self) -> Answer {
        let first = self
            .rows()
            .into_iter()
            .find(|row| matches!(row.who, Who::Foreign(_)));
        if let Some(row) = first {
            self.connection
                .execute(
                    "DELETE FROM beaver_lock_waiters WHERE requested_at = ?1",
                    [row.requested_at],
                )
                .unwrap();
        }
        Answer::Done
    }

    fn rows(&self) -> Vec<Row> {
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT waiter_id, requested_at, expires_at FROM beaver_lock_waiters
                 ORDER BY requested_at",
            )
            .unwrap();
        let rows = statement.query_map([], |row| {
            let id: String = row.get(0)?;
            let number = |text: &str, radix| u64::from_str_radix(text, radix).unwrap();
            let who = if let Some(text) = id.strip_prefix("foreign:") {
                Who::Foreign(number(text, 10))
            } else if let Some(text) = id.strip_prefix("live:") {
                let claim = number(&text[..16], 16) >> 28;
                match claim.checked_sub(FOREIGN_CLAIM) {
                    Some(foreign) => Who::Foreign(foreign),
                    None => Who::Owner(claim as usize - 1),
                }
            } else {
                let random = u128::from_str_radix(&id["wasm:".len()..][..32], 16).unwrap();
                Who::Owner((random >> 95) as usize - 1)
            };
            Ok(Row {
                who,
                requested_at: row.get(1)?,
                expires_at: row.get(2)?,
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    fn value(&self) -> Option<i64> {
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT max(CAST(value AS INTEGER)) FROM beaver_dicts WHERE dict_name = 'd'",
            )
            .unwrap();
        statement.query_row([], |row| row.get(0)).unwrap()
    }
}

/// A new database's file. Nothing here is about syncs, which are most of a new
/// file's cost.
fn new_file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new.db");
        drop(Database::open(path.to_str().unwrap(), &Options::default()).unwrap());
        std::fs::read(&path).unwrap()
    })
}

fn check(ops: &[(usize, Op)]) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock.db");
    std::fs::write(&path, new_file()).unwrap();
    let time = Rc::new(Time::default());
    let clocks: Vec<Rc<Clock>> = (0..OWNERS)
        .map(|owner| {
            Rc::new(Clock {
                time: Rc::clone(&time),
                owner,
                offset_s: Cell::new(0.0),
            })
        })
        .collect();
    let databases: Vec<Database> = clocks
        .iter()
        .map(|clock| {
            let options = Options {
                lock_wait: Duration::ZERO,
                guard_mode: if clock.owner == ADVISORY {
                    GuardMode::Advisory
                } else {
                    GuardMode::Mandatory
                },
                ..Options::default()
            };
            let runtime: Rc<dyn Runtime> = Rc::<Clock>::clone(clock);
            let database = Database::open_with(path.to_str().unwrap(), &options, runtime).unwrap();
            let sync = database
                .inner
                .connection
                .execute_batch("PRAGMA synchronous=OFF");
            sync.unwrap();
            database
        })
        .collect();
    let mut owners: Vec<Owner<'_>> = databases
        .iter()
        .zip(&clocks)
        .map(|(database, clock)| Owner {
            database,
            clock,
            dict: database.dict("d").unwrap(),
            waiter: None,
        })
        .collect();
    let foreign = Foreign {
        connection: Connection::open(&path).unwrap(),
        time: Rc::clone(&time),
        count: Cell::new(0),
    };
    let mut model = Model::new();
    for (step, (owner, op)) in ops.iter().enumerate() {
        // Who waits does nothing else.
        let op = match (model.states[*owner], op) {
            (
                State::Waiting { .. },
                Op::TryAcquire { .. }
                | Op::Acquire { .. }
                | Op::Release
                | Op::Renew { .. }
                | Op::Write { .. }
                | Op::Drop { .. },
            ) => &Op::Poll,
            (State::Free | State::Holding { .. }, Op::Leave) => &Op::Poll,
            _ => op,
        };
        let writes = model.writes;
        let expected = model.apply(*owner, op);
        let answer = owners[*owner].apply(op, &foreign, writes);
        prop_assert_eq!(answer, expected, "step {} by {}: {:?}", step, owner, op);
        prop_assert_eq!(foreign.rows(), &model.line[..], "step {}: {:?}", step, op);
        prop_assert_eq!(foreign.value(), model.value, "step {}: {:?}", step, op);
    }

    // Of those who believe that they hold the lock only the last can write.
    let mut writers = Vec::new();
    for (owner, state) in owners.iter().zip(model.states) {
        if let State::Holding { token, .. } = state {
            match owner.dict.set("x", "1000000", None) {
                Ok(()) => writers.push(token),
                Err(error) => prop_assert_eq!(error, Error::LockLost(LOCK.into())),
            }
        }
    }
    prop_assert!(
        writers.is_empty() || writers == [model.token],
        "{:?}",
        writers
    );

    drop(owners);
    let ours = |row: &Row| matches!(row.who, Who::Owner(_));
    prop_assert!(!foreign.rows().iter().any(ours), "something is left behind");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_table_is_as_the_model_says(ops in prop::collection::vec((0..OWNERS, op()), 1..80)) {
        check(&ops)?;
    }
}
