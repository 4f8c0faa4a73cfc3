//! The plain model: who stands in line, who holds, and what each operation answers.

use super::{ADVISORY, CLAIMING, EPOCH_S, LOCK, OWNERS, Op};
use crate::Error;
use crate::lease::GRANTED_AT;
use std::collections::HashSet;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Done,
    Granted { token: u64 },
    Taken,
    InLine,
    Waits { ahead: u32 },
    Fails(Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Owner(usize),
    Foreign(u64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) who: Who,
    pub(super) requested_at: f64,
    pub(super) expires_at: f64,
}

impl Row {
    fn granted(&self) -> bool {
        self.requested_at == GRANTED_AT
    }
}

/// What an owner believes to have.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Free,
    Waiting {
        deadline: Option<Duration>,
        skew_s: f64,
        renew_at: Duration,
        ttl_s: f64,
    },
    Holding {
        token: u64,
        ttl_s: f64,
    },
}

/// What must be so, without SQL.
pub(super) struct Model {
    pub(super) line: Vec<Row>,
    pub(super) states: [State; OWNERS],
    offsets_s: [f64; OWNERS],
    now: Duration,
    pub(super) token: u64,
    foreigners: u64,
    claimed: HashSet<u64>,
    gone: HashSet<u64>,
    pub(super) value: Option<i64>,
    pub(super) writes: i64,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            line: Vec::new(),
            states: [State::Free; OWNERS],
            offsets_s: [0.0; OWNERS],
            now: Duration::ZERO,
            token: 0,
            foreigners: 0,
            claimed: HashSet::new(),
            gone: HashSet::new(),
            value: None,
            writes: 0,
        }
    }

    fn wall(&self, owner: usize) -> f64 {
        EPOCH_S + self.now.as_secs_f64() + self.offsets_s[owner]
    }

    /// Whether `owner` knows that another's process has ended.
    fn knows_gone(&self, row: &Row) -> bool {
        matches!(row.who, Who::Foreign(n) if self.gone.contains(&n))
    }

    fn knows_alive(&self, owner: usize, row: &Row) -> bool {
        match row.who {
            Who::Owner(other) => other == CLAIMING && owner != CLAIMING,
            Who::Foreign(n) => self.claimed.contains(&n) && !self.gone.contains(&n),
        }
    }

    /// A place whose owner is known to live stands five minutes longer.
    fn stands_until(&self, owner: usize, row: &Row) -> f64 {
        if !row.granted() && self.knows_alive(owner, row) {
            row.expires_at + 300.0
        } else {
            row.expires_at
        }
    }

    /// The line as `owner` leaves it once it has removed the dead.
    fn living(&self, owner: usize) -> Vec<Row> {
        let now = self.wall(owner);
        let stays =
            |row: &&Row| row.who == Who::Owner(owner) || self.stands_until(owner, row) > now;
        let line: Vec<Row> = self.line.iter().filter(stays).copied().collect();
        let first = line.iter().position(|row| !self.knows_gone(row));
        line[first.unwrap_or(line.len())..].to_vec()
    }

    fn grant(&mut self, owner: usize, mut line: Vec<Row>, ttl_s: f64) -> Answer {
        line.retain(|row| row.who != Who::Owner(owner));
        line.insert(
            0,
            Row {
                who: Who::Owner(owner),
                requested_at: GRANTED_AT,
                expires_at: self.wall(owner) + ttl_s,
            },
        );
        self.line = line;
        self.token += 1;
        let token = self.token;
        self.states[owner] = State::Holding { token, ttl_s };
        Answer::Granted { token }
    }

    fn acquire(&mut self, owner: usize, ttl_s: f64, timeout: Option<Duration>) -> Answer {
        let line = self.living(owner);
        let Some(last) = line.last().copied() else {
            return self.grant(owner, line, ttl_s);
        };
        if timeout == Some(Duration::ZERO) {
            return Answer::Fails(Error::Timeout);
        }
        self.line = line;
        let now = self.wall(owner);
        let requested_at = now.max(last.requested_at.next_up());
        let skew_s = (requested_at - now).min(120.0);
        self.line.push(Row {
            who: Who::Owner(owner),
            requested_at,
            expires_at: now + skew_s + 30.0,
        });
        self.states[owner] = State::Waiting {
            deadline: timeout.map(|timeout| self.now + timeout),
            skew_s,
            renew_at: self.now + Duration::from_secs(10),
            ttl_s,
        };
        Answer::InLine
    }

    fn poll(&mut self, owner: usize) -> Answer {
        loop {
            let State::Waiting {
                deadline,
                skew_s,
                renew_at,
                ttl_s,
            } = self.states[owner]
            else {
                return Answer::Done;
            };
            let expired = deadline.is_some_and(|deadline| self.now >= deadline);
            let Some(ahead) = self.place(owner) else {
                self.states[owner] = State::Free;
                return Answer::Fails(if expired {
                    Error::Timeout
                } else {
                    Error::WaitCleared
                });
            };
            let (head, now) = (self.line[0], self.wall(owner));
            if ahead == 0 && head.granted() {
                // On its behalf. With too little time left it is made anew below.
                let left_s = (head.expires_at - now).max(0.0);
                if left_s + (ttl_s / 4.0).min(1.0) >= ttl_s {
                    let token = self.token;
                    self.states[owner] = State::Holding { token, ttl_s };
                    return Answer::Granted { token };
                }
            }
            let after_s = if ahead > 2 {
                0.0003 * ahead as f64
            } else {
                0.0
            };
            let late = head.expires_at + after_s <= now;
            let turn = ahead == 0
                || self.stands_until(owner, &head) + after_s <= now
                || self.knows_gone(&head) && (late || ahead <= 2);
            if turn || expired || self.now >= renew_at {
                let line = self.living(owner);
                if line[0].who == Who::Owner(owner) {
                    return self.grant(owner, line, ttl_s);
                }
                self.line = line;
                if expired {
                    self.give_back(owner);
                    self.states[owner] = State::Free;
                    return Answer::Fails(Error::Timeout);
                }
                let place = self.place(owner).expect("it is never its own undertaker");
                self.line[place].expires_at = now + (skew_s + 30.0);
                self.states[owner] = State::Waiting {
                    deadline,
                    skew_s,
                    renew_at: self.now + Duration::from_secs(10),
                    ttl_s,
                };
                if turn {
                    continue;
                }
            }
            return Answer::Waits {
                ahead: u32::try_from(ahead).unwrap(),
            };
        }
    }

    fn write(&mut self, owner: usize, in_transaction: bool) -> Answer {
        let now = self.wall(owner);
        if let State::Holding { .. } = self.states[owner] {
            if !self.owns(owner) {
                return Answer::Fails(Error::LockLost(LOCK.into()));
            }
        } else if owner != ADVISORY {
            if self.line.iter().any(|row| row.expires_at > now) {
                // It may queue up for this one write, but not wait. In a transaction it may not
                // even that, and what it removes goes with the transaction.
                let living = self.living(owner);
                if !living.is_empty() {
                    if in_transaction {
                        self.line = living;
                    }
                    return Answer::Fails(Error::Locked(LOCK.into()));
                }
                self.line.clear();
            }
            self.line.retain(|row| !row.granted());
        }
        self.writes += 1;
        self.value = Some(self.writes);
        Answer::Done
    }

    fn owns(&self, owner: usize) -> bool {
        self.place(owner)
            .is_some_and(|place| self.line[place].granted())
    }

    fn place(&self, owner: usize) -> Option<usize> {
        self.line
            .iter()
            .position(|row| row.who == Who::Owner(owner))
    }

    fn remove(&mut self, owner: usize) {
        self.line.retain(|row| row.who != Who::Owner(owner));
    }

    /// Removes the owner's row, and grants the lock to the next in line if that one
    /// is known to live, and wants it long enough.
    fn give_back(&mut self, owner: usize) {
        let was_there = self.place(owner).is_some();
        self.remove(owner);
        let Some(next) = self.line.first().copied().filter(|row| !row.granted()) else {
            return;
        };
        if was_there
            && next.expires_at > self.wall(owner)
            && self.knows_alive(owner, &next)
            && let Who::Owner(other) = next.who
            && let State::Waiting { ttl_s, .. } = self.states[other]
            && ttl_s >= 22.0
        {
            self.line[0].requested_at = GRANTED_AT;
            self.line[0].expires_at = self.wall(owner) + ttl_s;
            self.token += 1;
        }
    }

    pub(super) fn apply(&mut self, owner: usize, op: &Op) -> Answer {
        let held = match self.states[owner] {
            State::Holding { ttl_s, .. } => Some(ttl_s),
            _ => None,
        };
        let lost = || Answer::Fails(Error::LockLost(LOCK.into()));
        match (op, held) {
            (Op::TryAcquire { .. } | Op::Acquire { .. }, Some(_)) => {
                Answer::Fails(Error::AlreadyHeld)
            }
            (Op::Release | Op::Renew { .. }, None) => Answer::Fails(Error::NotHeld),
            (Op::TryAcquire { ttl_s }, None) => {
                match self.acquire(owner, *ttl_s as f64, Some(Duration::ZERO)) {
                    Answer::Fails(_) => Answer::Taken,
                    granted => granted,
                }
            }
            (Op::Acquire { ttl_s, timeout_s }, None) => {
                let timeout = timeout_s.map(Duration::from_secs);
                self.acquire(owner, *ttl_s as f64, timeout)
            }
            (Op::Release, Some(_)) => {
                let owned = self.owns(owner);
                self.give_back(owner);
                self.states[owner] = State::Free;
                if owned { Answer::Done } else { lost() }
            }
            (Op::Renew { ttl_s }, Some(old_ttl_s)) => {
                if !self.owns(owner) {
                    return lost();
                }
                let ttl_s = ttl_s.map_or(old_ttl_s, |ttl_s| ttl_s as f64);
                self.line[0].expires_at = self.wall(owner) + ttl_s;
                Answer::Done
            }
            (Op::Write { in_transaction }, _) => self.write(owner, *in_transaction),
            (Op::Poll, _) => self.poll(owner),
            (Op::Leave | Op::Drop { .. }, _) => {
                self.give_back(owner);
                self.states[owner] = State::Free;
                Answer::Done
            }
            (Op::Clear, _) => {
                self.line.clear();
                Answer::Done
            }
            (Op::Advance { ms }, _) => {
                self.now += Duration::from_millis(*ms);
                Answer::Done
            }
            (Op::Jump { offset_s }, _) => {
                self.offsets_s[owner] = f64::from(*offset_s);
                Answer::Done
            }
            (
                Op::ForeignRequest {
                    early_s,
                    ttl_s,
                    claim,
                },
                _,
            ) => {
                let requested_at = EPOCH_S + self.now.as_secs_f64() - f64::from(*early_s);
                if self.line.iter().any(|row| row.requested_at == requested_at) {
                    return Answer::Taken;
                }
                let number = self.foreigners;
                self.foreigners += 1;
                if *claim {
                    self.claimed.insert(number);
                }
                let place = self
                    .line
                    .partition_point(|row| row.requested_at < requested_at);
                self.line.insert(
                    place,
                    Row {
                        who: Who::Foreign(number),
                        requested_at,
                        expires_at: requested_at + f64::from(*ttl_s),
                    },
                );
                Answer::Done
            }
            (Op::ForeignDies, _) => {
                self.gone.extend(&self.claimed);
                Answer::Done
            }
            (Op::ForeignLeaves, _) => {
                let first = self
                    .line
                    .iter()
                    .position(|row| matches!(row.who, Who::Foreign(_)));
                if let Some(place) = first {
                    self.line.remove(place);
                }
                Answer::Done
            }
        }
    }
}
