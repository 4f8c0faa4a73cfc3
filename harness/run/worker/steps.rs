//! What each step does.

use super::{Done, Trouble, Worker};
use crate::history::Seen;
use crate::program::Fault;
use crate::protocol::{ErrorCode, LockName, Op};
use crate::run::world::World;
use crate::step::Step;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often a lock's line is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

impl<W: World> Worker<'_, W> {
    pub(super) async fn perform(&mut self, task: u64, step: &Step) -> Done {
        match step {
            Step::Call(call) => self.call(task, &call.op, call.certify).await.map(drop),
            Step::Locked {
                lock,
                timeout_ms,
                ttl_ms,
                body,
            } => {
                let acquire = Op::LockAcquire {
                    lock: lock.clone(),
                    timeout_ms: *timeout_ms,
                    ttl_ms: *ttl_ms,
                };
                self.call(task, &acquire, false).await?;
                let done = self.body(task, body).await;
                if matches!(done, Err(Trouble::Gone)) {
                    return done;
                }
                let released = self
                    .call(task, &Op::LockRelease { lock: lock.clone() }, false)
                    .await;
                done.and(released.map(drop))
            }
            Step::Transaction { body } => {
                self.call(task, &Op::Begin, false).await?;
                match self.body(task, body).await {
                    Ok(()) => self.call(task, &Op::Commit, false).await.map(drop),
                    Err(Trouble::Gone) => Err(Trouble::Gone),
                    Err(trouble) => {
                        self.call(task, &Op::Rollback, false).await?;
                        Err(trouble)
                    }
                }
            }
            // What it stands for has been put in its place.
            Step::Atomic { body, .. } => self.body(task, body).await,
            Step::Increment { name, key } => {
                let now = self.number(task, name, key).await?;
                let next = now.checked_add(1).ok_or_else(overflow)?;
                self.set(task, name, key, json!(next)).await
            }
            Step::CompareAndSet {
                name,
                key,
                expected,
                new,
            } => {
                if self.get(task, name, key).await? == *expected {
                    self.set(task, name, key, new.clone()).await?;
                }
                Ok(())
            }
            Step::Transfer {
                name,
                from,
                to,
                amount,
            } => {
                let (source, target) = (
                    self.number(task, name, from).await?,
                    self.number(task, name, to).await?,
                );
                if source >= *amount {
                    let less = source.checked_sub(*amount).ok_or_else(overflow)?;
                    let more = target.checked_add(*amount).ok_or_else(overflow)?;
                    self.set(task, name, from, json!(less)).await?;
                    self.set(task, name, to, json!(more)).await?;
                }
                Ok(())
            }
            Step::Withdraw {
                name,
                accounts,
                amount,
            } => {
                let mut balances = Vec::new();
                for account in accounts {
                    balances.push(self.number(task, name, account).await?);
                }
                let sum = balances
                    .iter()
                    .try_fold(0_i64, |sum, balance| sum.checked_add(*balance));
                if let (Some(account), Some(balance)) = (accounts.first(), balances.first())
                    && sum.ok_or_else(overflow)? >= *amount
                {
                    let less = balance.checked_sub(*amount).ok_or_else(overflow)?;
                    self.set(task, name, account, json!(less)).await?;
                }
                Ok(())
            }
            Step::UntilTimeout { op } => self.until_timeout(task, op).await,
            Step::Repeat { count, body } => {
                for _ in 0..*count {
                    if self.is_halted() {
                        return Err(Trouble::Late("the run was halted".to_owned()));
                    }
                    self.body(task, body).await?;
                }
                Ok(())
            }
            Step::Raise => Err(Trouble::Raised),
            Step::Sleep { ms } => {
                let began = self.world.now();
                let whole = Duration::from_millis(*ms);
                self.world.sleep(whole).await;
                if self.since(began) < whole {
                    return Err(Trouble::Late("the run was halted".to_owned()));
                }
                Ok(())
            }
            Step::Signal(name) => {
                self.world.give(name);
                Ok(())
            }
            Step::Await(name) => {
                let limit = self.course.settings.patience_forever;
                let is_over = || self.is_over();
                if self.world.await_signal(name, limit, &is_over).await {
                    Ok(())
                } else {
                    Err(self.in_vain(format!("nobody signalled {name:?}")))
                }
            }
            Step::AwaitWaiting { lock, count } => self.await_waiting(lock, *count).await,
            Step::Fault(fault) => self.inflict(*fault).await,
        }
    }

    async fn body(&mut self, task: u64, body: &[Step]) -> Done {
        for step in body {
            // Boxed, because a step may be within a step within a step.
            Box::pin(self.perform(task, step)).await?;
        }
        Ok(())
    }

    /// Not for ever: there are queues that give out the same item again and again.
    async fn until_timeout(&mut self, task: u64, op: &Op) -> Done {
        let began = self.world.now();
        let limit = self.course.settings.patience_forever;
        loop {
            match self.call(task, op, false).await {
                Ok(_) if self.since(began) < limit && !self.is_halted() => {}
                Ok(_) => return Err(self.in_vain(format!("{} comes to no end", op.name()))),
                Err(Trouble::Failed(failure)) if failure.error == ErrorCode::Timeout => {
                    return Ok(());
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Waited for nothing: the system's doing, unless the run's own end came between.
    fn in_vain(&self, what: String) -> Trouble {
        if self.world.has_deadline() && self.is_over() {
            Trouble::Late(what)
        } else {
            Trouble::InVain(what)
        }
    }

    async fn inflict(&mut self, fault: Fault) -> Done {
        match self.world.inflict(fault).await {
            Ok(done) => {
                self.course
                    .progress
                    .faults
                    .fetch_add(u64::from(done), Ordering::Relaxed);
            }
            Err(error) => return Err(Trouble::Harness(format!("{}: {error:#}", fault.name()))),
        }
        Ok(())
    }

    /// Looks at the line until it is long enough. Not an operation: the line is the harness's
    /// own concern.
    async fn await_waiting(&mut self, lock: &LockName, count: u64) -> Done {
        let until = self
            .world
            .now()
            .saturating_add(self.course.settings.patience);
        let op = Op::LockWaiting { lock: lock.clone() };
        loop {
            // Before the look: what the others did before they came to rest is seen by it.
            let stays = self.working && self.world.others_are_idle();
            self.session()?;
            let asked_ns = self.world.recorder().now_ns();
            let answer = self.ask(&op, false).await;
            let seen = match answer {
                Ok((value, _)) => value.as_u64().unwrap_or(0),
                Err(failure) if failure.error == ErrorCode::Gone => {
                    self.lost();
                    return Err(Trouble::Gone);
                }
                // No operation of the history, so no check sees the error.
                Err(failure) => {
                    return Err(self.in_vain(format!("lock-waiting of {lock}: {failure}")));
                }
            };
            let gives_up = stays || self.world.now() >= until || self.is_over();
            if seen >= count || gives_up {
                self.world.recorder().seen(Seen::Waiting {
                    lock: lock.clone(),
                    count: seen,
                    asked_ns,
                });
            }
            if seen >= count {
                return Ok(());
            }
            if gives_up {
                return Err(self.in_vain(format!("{seen} of {count} in the line of {lock}")));
            }
            self.world.sleep(LOOK_EVERY).await;
        }
    }

    async fn get(&mut self, task: u64, name: &str, key: &str) -> Done<Value> {
        let op = Op::DictGet {
            name: name.to_owned(),
            key: key.to_owned(),
        };
        self.call(task, &op, false).await
    }

    /// A number; absent is 0.
    async fn number(&mut self, task: u64, name: &str, key: &str) -> Done<i64> {
        let value = self.get(task, name, key).await?;
        if value.is_null() {
            return Ok(0);
        }
        let wrong = || Trouble::InVain(format!("{name}[{key:?}] is {value}, and no whole number"));
        value.as_i64().ok_or_else(wrong)
    }

    async fn set(&mut self, task: u64, name: &str, key: &str, value: Value) -> Done {
        let op = Op::DictSet {
            name: name.to_owned(),
            key: key.to_owned(),
            value,
        };
        self.call(task, &op, false).await.map(drop)
    }
}

fn overflow() -> Trouble {
    Trouble::InVain("a number is too large to be counted with".to_owned())
}
