//! One worker: carries out its steps, one after the other.
//!
//! What must stay true: a worker comes to every phase, whatever happened to it before; so nobody
//! waits for it in vain.

mod operation;
mod steps;

use super::world::{Course, Opened, Refused, World, WorldClient as _};
use crate::history::{Seen, SessionEnd, TaskOutcome};
use crate::protocol::{ErrorCode, Failure};
use crate::step::Step;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

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

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure.error {
            ErrorCode::Gone => Self::Gone,
            _ => Self::Failed(failure),
        }
    }
}

pub(crate) struct Worker<'a, W: World> {
    world: &'a W,
    course: &'a Course<'a>,
    number: u32,
    open: Option<Opened<W::Client>>,
    had_client: bool,
    /// It could not get a client any more: its steps are left out.
    crippled: bool,
    /// It is at its steps, not at what comes before or after.
    working: bool,
}

impl<'a, W: World> Worker<'a, W> {
    pub(crate) fn new(world: &'a W, course: &'a Course<'a>, number: u32) -> Self {
        Self {
            world,
            course,
            number,
            open: None,
            had_client: false,
            crippled: false,
            working: false,
        }
    }

    /// All phases.
    pub(crate) async fn live(mut self) {
        let frame = &self.course.plan.frame;
        let at = self.number as usize;
        if self.number == 0 {
            self.all(&frame.set_up).await;
        }
        self.world.phase().await;
        self.ready().await;
        self.all(frame.prologue.get(at).map_or(&[], Vec::as_slice))
            .await;
        self.world.phase().await;
        self.steps().await;
        self.world.finished();
        self.world.phase().await;
        self.all(frame.epilogue.get(at).map_or(&[], Vec::as_slice))
            .await;
        if self.number != 0 {
            self.close().await;
        }
        self.world.phase().await;
        if self.number == 0 {
            self.all(&frame.tear_down).await;
            self.close().await;
        }
        self.world.phase().await;
    }

    async fn all(&mut self, steps: &[Step]) {
        for step in steps {
            if self.is_halted() {
                return;
            }
            self.task(step).await;
        }
    }

    /// Whether nobody need wait for others any more: who has ended its steps signals nothing.
    fn is_over(&self) -> bool {
        self.is_halted() || self.working && self.world.time_is_up()
    }

    fn is_halted(&self) -> bool {
        self.world.is_halted()
    }

    /// How long ago that was.
    fn since(&self, moment: Duration) -> Duration {
        self.world.now().saturating_sub(moment)
    }

    async fn steps(&mut self) {
        self.working = true;
        self.work().await;
        self.working = false;
    }

    async fn work(&mut self) {
        let most = self.course.settings.steps_max.unwrap_or(u64::MAX);
        for number in 0..most {
            if self.world.time_is_up() || self.crippled {
                return;
            }
            let Some(step) = (self.course.plan.source)(self.number, number) else {
                return;
            };
            self.course.steps[self.number as usize].fetch_add(1, Ordering::Relaxed);
            self.task(&step).await;
        }
    }

    async fn task(&mut self, step: &Step) {
        self.ready().await;
        if self.crippled {
            return;
        }
        let step = step.resolved(self.course.transactions);
        let task = self.world.recorder().task(self.number, &step);
        // A panic here would leave everybody else waiting for the next phase.
        let done = caught(self.perform(task, &step)).await;
        let done = done.unwrap_or_else(|| Err(Trouble::Harness("the harness panicked".to_owned())));
        let outcome = match done {
            Ok(()) => TaskOutcome::Done,
            Err(Trouble::Failed(failure)) => TaskOutcome::Failed(failure.to_string()),
            Err(Trouble::Raised) => TaskOutcome::Failed("raised".into()),
            Err(Trouble::InVain(what)) => {
                self.course.in_vain.fetch_add(1, Ordering::Relaxed);
                TaskOutcome::InVain(what)
            }
            Err(Trouble::Late(what)) => {
                self.course.in_vain.fetch_add(1, Ordering::Relaxed);
                TaskOutcome::Late(what)
            }
            Err(Trouble::Gone) => TaskOutcome::Unknown,
            Err(Trouble::Harness(what)) => {
                self.crippled = true;
                self.world
                    .trouble(format!("worker {}: {what}", self.number));
                TaskOutcome::Failed(what)
            }
        };
        self.world.recorder().end(task, outcome);
    }

    /// Sees to it that a client is open. Only between tasks: within one, another session
    /// would hold none of the locks that the task took.
    async fn ready(&mut self) {
        if let Some(open) = &self.open
            && !self.world.is_live(self.number, open.session)
        {
            self.lost();
        }
        if self.open.is_some() || self.crippled {
            return;
        }
        let patience = self.had_client.then_some(self.course.settings.patience);
        match self.world.open(self.number, patience).await {
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
                self.world.recorder().seen(Seen::NotReopened {
                    worker: self.number,
                    message: failure.to_string(),
                });
            }
            refused => {
                let what = format!("worker {} gets no client: {refused}", self.number);
                self.world.trouble(what);
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
            self.world.over(self.number, open.session, how);
        }
    }

    async fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let closed = open.client.close().await;
        let how = match &closed {
            Err(failure) if failure.error == ErrorCode::Gone => SessionEnd::Lost,
            _ => SessionEnd::Closed,
        };
        self.world.over(self.number, open.session, how);
        if let Err(failure) = closed {
            let note = format!(
                "worker {} could not close its client: {failure}",
                self.number
            );
            self.world.recorder().seen(Seen::Note(note));
        }
    }
}

/// What comes of it; none: it panicked.
async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let poll = |context: &mut Context<'_>| match catch_unwind(AssertUnwindSafe(|| {
        future.as_mut().poll(context)
    })) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    };
    poll_fn(poll).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_panic_is_caught_whenever_it_comes() {
        let mut polls = 0;
        let later = poll_fn(|_| -> Poll<()> {
            polls += 1;
            assert!(polls < 2, "planted");
            Poll::Pending
        });
        let mut caught = pin!(caught(later));
        let mut context = Context::from_waker(Waker::noop());
        assert!(caught.as_mut().poll(&mut context).is_pending());
        assert_eq!(caught.as_mut().poll(&mut context), Poll::Ready(None));
    }
}
