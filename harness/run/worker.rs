//! One worker: carries out its steps, one after the other.
//!
//! What must stay true: a worker comes to every phase, whatever happened to it before; so nobody
//! waits for it in vain.

use super::crew::{Opened, Refused};
use super::{Shared, blob_text};
use crate::driver::{Answer, gone};
use crate::history::{Seen, SessionEnd, TaskOutcome};
use crate::program::Fault;
use crate::protocol::{ErrorCode, Failure, LockName, Op};
use crate::step::Step;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often a lock's line is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Why a step ended early.
enum Trouble {
    /// An operation failed.
    Failed(Failure),
    /// The caller's own exception.
    Raised,
    /// What the step waits for did not come.
    InVain(String),
    /// The time was up before it could come.
    Late(String),
    /// The client is no more.
    Gone,
    /// The harness can't go on.
    Harness(String),
}

type Done<T = ()> = Result<T, Trouble>;

pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    number: u32,
    open: Option<Opened>,
    had_client: bool,
    /// It could not get a client any more: its steps are left out.
    crippled: bool,
    /// It is at its steps, not at what comes before or after.
    working: bool,
}

impl<'a> Worker<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, number: u32) -> Self {
        Self {
            shared,
            number,
            open: None,
            had_client: false,
            crippled: false,
            working: false,
        }
    }

    /// All phases.
    pub(super) fn live(mut self) {
        let frame = &self.shared.plan.frame;
        let at = self.number as usize;
        if self.number == 0 {
            self.all(&frame.set_up);
        }
        self.shared.phase.wait();
        self.ready();
        self.all(frame.prologue.get(at).map_or(&[], Vec::as_slice));
        self.shared.phase.wait();
        self.steps();
        self.shared.crew.finished();
        self.shared.signals.finished();
        self.shared.phase.wait();
        self.all(frame.epilogue.get(at).map_or(&[], Vec::as_slice));
        if self.number != 0 {
            self.close();
        }
        self.shared.phase.wait();
        if self.number == 0 {
            self.all(&frame.tear_down);
            self.close();
        }
        self.shared.phase.wait();
    }

    fn all(&mut self, steps: &[Step]) {
        for step in steps {
            if self.is_halted() {
                return;
            }
            self.task(step);
        }
    }

    /// Whether nobody need wait for others any more: who has ended its steps signals nothing.
    fn is_over(&self) -> bool {
        self.shared.progress.halt.load(Ordering::Relaxed)
            || self.working && self.shared.time_is_up()
    }

    fn steps(&mut self) {
        self.working = true;
        self.work();
        self.working = false;
    }

    fn work(&mut self) {
        let most = self.shared.settings.steps_max.unwrap_or(u64::MAX);
        for number in 0..most {
            if self.shared.time_is_up() || self.crippled {
                return;
            }
            let Some(step) = (self.shared.plan.source)(self.number, number) else {
                return;
            };
            self.shared.steps[self.number as usize].fetch_add(1, Ordering::Relaxed);
            self.task(&step);
        }
    }

    fn task(&mut self, step: &Step) {
        self.ready();
        if self.crippled {
            return;
        }
        let step = step.resolved(self.shared.transactions);
        let task = self.shared.recorder.task(self.number, &step);
        // A panic here would leave everybody else waiting for the next phase.
        let done = catch_unwind(AssertUnwindSafe(|| self.perform(task, &step)));
        let done =
            done.unwrap_or_else(|_| Err(Trouble::Harness("the harness panicked".to_owned())));
        let outcome = match done {
            Ok(()) => TaskOutcome::Done,
            Err(Trouble::Failed(failure)) => TaskOutcome::Failed(failure.to_string()),
            Err(Trouble::Raised) => TaskOutcome::Failed("raised".into()),
            Err(Trouble::InVain(what)) => {
                self.shared.in_vain.fetch_add(1, Ordering::Relaxed);
                TaskOutcome::InVain(what)
            }
            Err(Trouble::Late(what)) => {
                self.shared.in_vain.fetch_add(1, Ordering::Relaxed);
                TaskOutcome::Late(what)
            }
            Err(Trouble::Gone) => TaskOutcome::Unknown,
            Err(Trouble::Harness(what)) => {
                self.crippled = true;
                self.shared
                    .crew
                    .trouble(format!("worker {}: {what}", self.number));
                TaskOutcome::Failed(what)
            }
        };
        self.shared.recorder.end(task, outcome);
    }

    fn perform(&mut self, task: u64, step: &Step) -> Done {
        match step {
            Step::Call(call) => self.call(task, &call.op, call.certify).map(drop),
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
                self.call(task, &acquire, false)?;
                let done = self.body(task, body);
                if matches!(done, Err(Trouble::Gone)) {
                    return done;
                }
                let released = self.call(task, &Op::LockRelease { lock: lock.clone() }, false);
                done.and(released.map(drop))
            }
            Step::Transaction { body } => {
                self.call(task, &Op::Begin, false)?;
                match self.body(task, body) {
                    Ok(()) => self.call(task, &Op::Commit, false).map(drop),
                    Err(Trouble::Gone) => Err(Trouble::Gone),
                    Err(trouble) => {
                        self.call(task, &Op::Rollback, false)?;
                        Err(trouble)
                    }
                }
            }
            // What it stands for has been put in its place.
            Step::Atomic { body, .. } => self.body(task, body),
            Step::Increment { name, key } => {
                let now = self.number(task, name, key)?;
                let next = now.checked_add(1).ok_or_else(overflow)?;
                self.set(task, name, key, json!(next))
            }
            Step::CompareAndSet {
                name,
                key,
                expected,
                new,
            } => {
                if self.get(task, name, key)? == *expected {
                    self.set(task, name, key, new.clone())?;
                }
                Ok(())
            }
            Step::Transfer {
                name,
                from,
                to,
                amount,
            } => {
                let (source, target) =
                    (self.number(task, name, from)?, self.number(task, name, to)?);
                if source >= *amount {
                    let less = source.checked_sub(*amount).ok_or_else(overflow)?;
                    let more = target.checked_add(*amount).ok_or_else(overflow)?;
                    self.set(task, name, from, json!(less))?;
                    self.set(task, name, to, json!(more))?;
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
                    balances.push(self.number(task, name, account)?);
                }
                let sum = balances
                    .iter()
                    .try_fold(0_i64, |sum, balance| sum.checked_add(*balance));
                if let (Some(account), Some(balance)) = (accounts.first(), balances.first())
                    && sum.ok_or_else(overflow)? >= *amount
                {
                    let less = balance.checked_sub(*amount).ok_or_else(overflow)?;
                    self.set(task, name, account, json!(less))?;
                }
                Ok(())
            }
            Step::UntilTimeout { op } => self.until_timeout(task, op),
            Step::Repeat { count, body } => {
                for _ in 0..*count {
                    if self.is_halted() {
                        return Err(Trouble::Late("the run was halted".to_owned()));
                    }
                    self.body(task, body)?;
                }
                Ok(())
            }
            Step::Raise => Err(Trouble::Raised),
            Step::Sleep { ms } => {
                let began = Instant::now();
                let whole = Duration::from_millis(*ms);
                while let Some(left) = whole
                    .checked_sub(began.elapsed())
                    .filter(|left| !left.is_zero())
                {
                    if self.is_halted() {
                        return Err(Trouble::Late("the run was halted".to_owned()));
                    }
                    std::thread::sleep(left.min(Duration::from_millis(100)));
                }
                Ok(())
            }
            Step::Signal(name) => {
                self.shared.signals.give(name);
                Ok(())
            }
            Step::Await(name) => {
                let limit = self.shared.settings.patience_forever;
                if self.shared.signals.wait(name, limit, || self.is_over()) {
                    Ok(())
                } else {
                    Err(self.in_vain(format!("nobody signalled {name:?}")))
                }
            }
            Step::AwaitWaiting { lock, count } => self.await_waiting(lock, *count),
            Step::Fault(fault) => self.inflict(*fault),
        }
    }

    /// Not for ever: there are queues that give out the same item again and again.
    fn until_timeout(&mut self, task: u64, op: &Op) -> Done {
        let began = Instant::now();
        let limit = self.shared.settings.patience_forever;
        loop {
            match self.call(task, op, false) {
                Ok(_) if began.elapsed() < limit && !self.is_halted() => {}
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
        if self.shared.until.get().is_some() && self.is_over() {
            Trouble::Late(what)
        } else {
            Trouble::InVain(what)
        }
    }

    fn is_halted(&self) -> bool {
        self.shared.progress.halt.load(Ordering::Relaxed)
    }

    fn body(&mut self, task: u64, body: &[Step]) -> Done {
        body.iter().try_for_each(|step| self.perform(task, step))
    }

    fn inflict(&mut self, fault: Fault) -> Done {
        match self.shared.crew.inflict(fault) {
            Ok(done) => {
                self.shared
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
    fn await_waiting(&mut self, lock: &LockName, count: u64) -> Done {
        let until = Instant::now() + self.shared.settings.patience;
        let op = Op::LockWaiting { lock: lock.clone() };
        loop {
            // Before the look: what the others did before they came to rest is seen by it.
            let stays = self.working && self.shared.signals.others_are_idle();
            self.session()?;
            let asked_ns = self.shared.recorder.now_ns();
            let answer = self.ask(&op, false);
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
            let gives_up = stays || Instant::now() >= until || self.is_over();
            if seen >= count || gives_up {
                self.shared.recorder.seen(Seen::Waiting {
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
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn get(&mut self, task: u64, name: &str, key: &str) -> Done<Value> {
        let op = Op::DictGet {
            name: name.to_owned(),
            key: key.to_owned(),
        };
        self.call(task, &op, false)
    }

    /// A number; absent is 0.
    fn number(&mut self, task: u64, name: &str, key: &str) -> Done<i64> {
        let value = self.get(task, name, key)?;
        if value.is_null() {
            return Ok(0);
        }
        let wrong = || Trouble::InVain(format!("{name}[{key:?}] is {value}, and no whole number"));
        value.as_i64().ok_or_else(wrong)
    }

    fn set(&mut self, task: u64, name: &str, key: &str, value: Value) -> Done {
        let op = Op::DictSet {
            name: name.to_owned(),
            key: key.to_owned(),
            value,
        };
        self.call(task, &op, false).map(drop)
    }

    /// One operation, entered in the history.
    fn call(&mut self, task: u64, op: &Op, certify: bool) -> Done<Value> {
        let session = self.session()?;
        let shown = shown(op);
        let recorder = self.shared.recorder;
        let Some(id) = recorder.invoke(session, Some(task), shown.as_ref().unwrap_or(op)) else {
            self.lost();
            return Err(Trouble::Gone);
        };
        let began = Instant::now();
        let mut answer = self.ask(op, certify);
        if matches!(op, Op::BlobGet { .. })
            && let Ok((Value::String(data), _)) = &mut answer
        {
            *data = blob_text::shorten(data);
        }
        self.shared.recorder.complete(id, &answer);
        self.shared
            .progress
            .operations
            .fetch_add(1, Ordering::Relaxed);
        if answer.is_err() {
            self.shared
                .progress
                .failures
                .fetch_add(1, Ordering::Relaxed);
        }
        if answer
            .as_ref()
            .is_err_and(|failure| failure.error == ErrorCode::Gone)
        {
            self.gave_up(id, op, began);
            self.lost();
        }
        Ok(answer?.0)
    }

    /// Enters that the operation was given up, if that is why there is no answer.
    fn gave_up(&self, id: u64, op: &Op, began: Instant) {
        let limit = self.shared.settings.patience_forever;
        let given_up = self
            .open
            .as_ref()
            .is_some_and(|open| open.client.was_given_up());
        if given_up && op.timeout_ms() == Some(None) && began.elapsed() >= limit {
            let after_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            self.shared.recorder.seen(Seen::GaveUp { id, after_ms });
        }
    }

    /// The session that the task under way began with.
    fn session(&mut self) -> Done<u64> {
        let session = self.open.as_ref().map(|open| open.session);
        match session {
            Some(session) if self.shared.crew.is_live(self.number, session) => Ok(session),
            _ => {
                self.lost();
                Err(Trouble::Gone)
            }
        }
    }

    fn ask(&mut self, op: &Op, certify: bool) -> Answer {
        let settings = self.shared.settings;
        let patience = match op.timeout_ms() {
            Some(None) => settings.patience_forever,
            _ => settings.patience,
        };
        match &mut self.open {
            Some(open) => open.client.call(op, certify, patience),
            None => Err(gone("the client is no more")),
        }
    }

    /// Sees to it that a client is open. Only between tasks: within one, another session
    /// would hold none of the locks that the task took.
    fn ready(&mut self) {
        if let Some(open) = &self.open
            && !self.shared.crew.is_live(self.number, open.session)
        {
            self.lost();
        }
        if self.open.is_some() || self.crippled {
            return;
        }
        let crew = self.shared.crew;
        let opened = if self.had_client {
            crew.reopen(self.number, self.shared.settings.patience)
        } else {
            crew.open(self.number)
        };
        match opened {
            Ok(open) => (self.open, self.had_client) = (Some(open), true),
            Err(refused) => {
                self.crippled = true;
                self.refused(&refused);
            }
        }
    }

    /// A store that was opened once has to open again, whatever was done to it meanwhile.
    fn refused(&self, refused: &Refused) {
        match refused {
            _ if self.is_halted() => {}
            Refused::System(failure) if self.had_client => {
                self.shared.recorder.seen(Seen::NotReopened {
                    worker: self.number,
                    message: failure.to_string(),
                });
            }
            refused => {
                let what = format!("worker {} gets no client: {refused}", self.number);
                self.shared.crew.trouble(what);
            }
        }
    }

    /// The client is no more.
    fn lost(&mut self) {
        if let Some(open) = self.open.take() {
            let how = if open.client.was_given_up() {
                SessionEnd::GivenUp
            } else {
                SessionEnd::Lost
            };
            self.shared.crew.over(self.number, open.session, how);
        }
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let closed = open.client.close();
        let how = match &closed {
            Err(failure) if failure.error == ErrorCode::Gone => SessionEnd::Lost,
            _ => SessionEnd::Closed,
        };
        self.shared.crew.over(self.number, open.session, how);
        if let Err(failure) = closed {
            let note = format!(
                "worker {} could not close its client: {failure}",
                self.number
            );
            self.shared.recorder.seen(Seen::Note(note));
        }
    }
}

fn overflow() -> Trouble {
    Trouble::InVain("a number is too large to be counted with".to_owned())
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure.error {
            ErrorCode::Gone => Self::Gone,
            _ => Self::Failed(failure),
        }
    }
}

/// The operation as the history shows it, where that is another.
fn shown(op: &Op) -> Option<Op> {
    match op {
        Op::BlobPut { name, key, data } => Some(Op::BlobPut {
            name: name.clone(),
            key: key.clone(),
            data: blob_text::shorten(data),
        }),
        _ => None,
    }
}
