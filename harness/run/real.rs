//! The world of real systems: a worker is a thread, and waiting blocks it.
//!
//! What must stay true: whatever a worker's thread waits for it waits for inside a poll, so its
//! futures are ready at the first; and whatever happens there, it comes to every phase.

use super::Shared;
use super::worker::Worker;
use super::world::{Opened, PHASES, Refused, World, WorldClient};
use crate::driver::{Answer, Client};
use crate::history::{Recorder, SessionEnd};
use crate::program::Fault;
use crate::protocol::{Failure, Op};
use std::cell::Cell;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How long a sleeping worker may not notice that the run was halted.
const HALT_SLICE: Duration = Duration::from_millis(100);

/// A worker's whole life, on this thread.
pub(super) fn live(shared: &Shared<'_>, number: u32) {
    let real = Real::new(shared);
    let life = Worker::new(&real, &shared.course, number).live();
    real.see_through(number, life);
}

/// The result of a future that never waits for another; none: it does.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// What one thread sees of the world.
struct Real<'a> {
    shared: &'a Shared<'a>,
    began: Instant,
    /// How often it came to one.
    phases: Cell<u32>,
    finished: Cell<bool>,
}

impl<'a> Real<'a> {
    fn new(shared: &'a Shared<'a>) -> Self {
        Self {
            shared,
            began: Instant::now(),
            phases: Cell::new(0),
            finished: Cell::new(false),
        }
    }

    fn wait(&self) {
        self.phases.set(self.phases.get() + 1);
        self.shared.phase.wait();
    }

    /// Lets a worker live. A life that stands still is the harness's own fault.
    fn see_through(&self, number: u32, life: impl Future<Output = ()>) {
        if at_once(life).is_none() {
            self.trouble(format!("worker {number}: it waits without its thread"));
            self.leave();
        }
    }

    /// Lets nobody wait for a worker that is no more.
    fn leave(&self) {
        if !self.finished.get() {
            self.finished();
        }
        while self.phases.get() < PHASES {
            self.wait();
        }
    }
}

impl World for Real<'_> {
    type Client = Box<dyn Client>;

    fn recorder(&self) -> &Recorder {
        self.shared.recorder
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        let began = Instant::now();
        while !self.is_halted()
            && let Some(left) = duration.checked_sub(began.elapsed())
        {
            std::thread::sleep(left.min(HALT_SLICE));
        }
    }

    async fn phase(&self) {
        self.wait();
    }

    fn is_halted(&self) -> bool {
        self.shared.course.progress.halt.load(Ordering::Relaxed)
    }

    fn time_is_up(&self) -> bool {
        self.shared.time_is_up()
    }

    fn has_deadline(&self) -> bool {
        self.shared.until.get().is_some() || self.shared.course.settings.faults_max.is_some()
    }

    async fn open(
        &self,
        worker: u32,
        patience: Option<Duration>,
    ) -> Result<Opened<Self::Client>, Refused> {
        match patience {
            Some(patience) => self.shared.crew.reopen(worker, patience),
            None => self.shared.crew.open(worker),
        }
    }

    fn is_live(&self, worker: u32, session: u64) -> bool {
        self.shared.crew.is_live(worker, session)
    }

    fn over(&self, worker: u32, session: u64, how: SessionEnd) {
        self.shared.crew.over(worker, session, how);
    }

    fn finished(&self) {
        self.finished.set(true);
        self.shared.crew.finished();
        self.shared.signals.finished();
    }

    fn trouble(&self, what: String) {
        self.shared.crew.trouble(what);
    }

    fn give(&self, name: &str) {
        self.shared.signals.give(name);
    }

    async fn await_signal(&self, name: &str, limit: Duration, is_over: &dyn Fn() -> bool) -> bool {
        self.shared.signals.wait(name, limit, is_over)
    }

    fn others_are_idle(&self) -> bool {
        self.shared.signals.others_are_idle()
    }

    async fn inflict(&self, fault: Fault) -> anyhow::Result<bool> {
        self.shared.crew.inflict(fault)
    }
}

impl WorldClient for Box<dyn Client> {
    async fn call(&mut self, op: &Op, certify: bool, patience: Duration) -> Answer {
        (**self).call(op, certify, patience)
    }

    fn was_given_up(&self) -> bool {
        (**self).was_given_up()
    }

    async fn close(self) -> Result<(), Failure> {
        Client::close(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Reference;
    use crate::program::{Plan, Program};
    use crate::protocol::{Description, Init, VERSION};
    use crate::run::crew::{Crew, OnFile};
    use crate::run::world::Course;
    use crate::run::{Progress, Settings, header};
    use std::path::PathBuf;

    #[test]
    fn a_life_that_stands_still_is_a_trouble_and_keeps_nobody_waiting() {
        let plan = Plan::from(Program {
            workers: vec![Vec::new()],
            ..Program::default()
        });
        let (settings, progress) = (Settings::default(), Progress::default());
        let description = Description {
            protocol: VERSION,
            name: "none".into(),
            version: String::new(),
            capabilities: Vec::new(),
        };
        let recorder = Recorder::new(header(&plan, &settings, &description), None);
        let init = Init {
            protocol: VERSION,
            database: PathBuf::new(),
            clock_offset_ms: 0,
            clock_resolution_ms: 0,
            settings: serde_json::Map::new(),
        };
        let driver = Reference::new();
        let crew = Crew::new(
            &driver,
            &recorder,
            &progress,
            init,
            1,
            vec![0],
            None,
            OnFile::default(),
        );
        let course = Course::new(&plan, &settings, &progress, false);
        let shared = Shared::new(course, &recorder, &crew);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let real = Real::new(&shared);
                real.see_through(0, async {
                    real.phase().await;
                    std::future::pending::<()>().await;
                });
            });
            for _ in 0..PHASES {
                shared.phase.wait();
            }
        });
        assert!(crew.idle());
        assert_eq!(crew.end().1, ["worker 0: it waits without its thread"]);
    }
}
