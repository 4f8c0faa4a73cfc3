//! Runs of drivers that do what a test says.

use super::{Progress, Settings, run};
use crate::check::{CheckSpec, Verdict, judge};
use crate::driver::{
    Abandon, Answer, Client, Driver, Embedded, Ending, Process, Reference, Store, gone,
};
use crate::history::{History, Seen, SessionEnd};
use crate::program::{Fault, Layout, Plan, Program};
use crate::protocol::{
    Capability, Description, ErrorCode, Failure, Init, LockKind, LockName, Op, VERSION,
};
use crate::step::Step;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// Longer than anything takes that isn't stuck.
const LONG: Duration = Duration::from_secs(60);

fn get() -> Step {
    Step::from(Op::DictGet {
        name: "d".into(),
        key: "k".into(),
    })
}

fn program(workers: Vec<Vec<Step>>) -> Program {
    Program {
        program: 1,
        name: "test".into(),
        workers,
        checks: vec![
            CheckSpec::Completion,
            CheckSpec::Errors { allow: Vec::new() },
        ],
        ..Program::default()
    }
}

fn verdicts(history: &History) -> Vec<Verdict> {
    judge(history).iter().map(|result| result.verdict).collect()
}

#[test]
fn a_halted_run_ends_though_a_client_never_answers() {
    /// Halts the run and says no more.
    struct Stuck(Arc<Progress>);

    static PROGRESS: Mutex<Option<Arc<Progress>>> = Mutex::new(None);

    impl Store for Stuck {
        const NAME: &'static str = "stuck";
        const CAPABILITIES: &'static [Capability] = &[Capability::Dict];

        fn open(_: &Init) -> Result<Self, Failure> {
            Ok(Self(PROGRESS.lock().unwrap().clone().unwrap()))
        }

        fn call(&mut self, _: &Op) -> Result<Value, Failure> {
            self.0.halt.store(true, Ordering::Relaxed);
            loop {
                std::thread::park();
            }
        }
    }

    let progress = Arc::new(Progress::default());
    *PROGRESS.lock().unwrap() = Some(Arc::clone(&progress));
    let mut program = program(vec![
        vec![get(), get()],
        vec![Step::Sleep { ms: 3_600_000 }],
    ]);
    program.epilogue = vec![vec![get()], vec![get()]];
    let settings = Settings {
        patience: HOUR,
        ..Settings::default()
    };
    let driver = Embedded::<Stuck>::new();
    let ran = run(&driver, &Plan::from(program), &settings, &progress, None).unwrap();
    assert_eq!(ran.troubles, [""; 0]);
    assert_eq!(ran.history.operations.len(), 1);
    let ends: Vec<_> = ran
        .history
        .sessions
        .iter()
        .map(|it| it.over.unwrap().1)
        .collect();
    assert!(ends.contains(&SessionEnd::GivenUp), "{ends:?}");
    // What the harness ended itself is nobody's fault.
    assert_eq!(verdicts(&ran.history), [Verdict::Pass; 2]);
}

/// A system of real processes, as far as the runner can tell: does what its script says.
struct Fake<S>(Arc<S>);

trait Script: Send + Sync + 'static {
    fn open(&self, _client: u32) -> Result<(), Failure> {
        Ok(())
    }

    fn call(&self, _client: u32) -> Answer {
        Ok((Value::Null, None))
    }

    fn stop(&self) {}

    fn resume(&self) {}

    fn kill(&self) -> Ending {
        Ending::Killed
    }

    /// The worker is done with the client.
    fn dropped(&self, _client: u32) {}
}

struct FakeProcess<S>(Arc<S>, Description);

struct FakeClient<S: Script>(Arc<S>, u32);

impl<S: Script> Drop for FakeClient<S> {
    fn drop(&mut self) {
        self.0.dropped(self.1);
    }
}

impl<S: Script> Driver for Fake<S> {
    fn name(&self) -> String {
        "fake".into()
    }

    fn start(&self, _: &Init) -> anyhow::Result<Arc<dyn Process>> {
        let description = Description {
            protocol: VERSION,
            name: "fake".into(),
            version: String::new(),
            capabilities: vec![Capability::Dict, Capability::Clients, Capability::Locks],
        };
        Ok(Arc::new(FakeProcess(Arc::clone(&self.0), description)))
    }

    fn has_processes(&self) -> bool {
        true
    }
}

impl<S: Script> Process for FakeProcess<S> {
    fn description(&self) -> &Description {
        &self.1
    }

    fn open(&self, client: u32) -> Result<Box<dyn Client>, Failure> {
        self.0.open(client)?;
        Ok(Box::new(FakeClient(Arc::clone(&self.0), client)))
    }

    fn kill(&self) -> anyhow::Result<Ending> {
        Ok(self.0.kill())
    }

    fn stop(&self) -> anyhow::Result<()> {
        self.0.stop();
        Ok(())
    }

    fn resume(&self) -> anyhow::Result<()> {
        self.0.resume();
        Ok(())
    }

    fn notes(&self) -> String {
        String::new()
    }
}

impl<S: Script> Client for FakeClient<S> {
    fn call(&mut self, _: &Op, _: bool, _: Duration) -> Answer {
        self.0.call(self.1)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }

    fn was_given_up(&self) -> bool {
        false
    }

    fn abandoner(&self) -> Arc<dyn Abandon> {
        Arc::new(Nothing)
    }
}

struct Nothing;

impl Abandon for Nothing {
    fn abandon(&self, _: bool) -> Result<(), Failure> {
        Ok(())
    }
}

fn stop(worker: u32) -> Step {
    Step::Fault(Fault::Stop { worker, for_ms: 1 })
}

fn ran(script: impl Script, mut program: Program) -> History {
    program.layout = Layout::Together;
    let driver = Fake(Arc::new(script));
    let plan = Plan::from(program);
    let settings = Settings {
        patience: Duration::ZERO,
        ..Settings::default()
    };
    let ran = run(&driver, &plan, &settings, &Progress::default(), None).unwrap();
    assert_eq!(ran.troubles, [""; 0]);
    ran.history
}

#[test]
fn a_pause_hits_whoever_begins_while_it_lasts() {
    /// The second client is lost once the process is stopped, and opened again before it goes on.
    #[derive(Default)]
    struct Meanwhile {
        state: Mutex<(bool, u32)>,
        changed: Condvar,
    }

    impl Meanwhile {
        fn until(&self, is_so: impl Fn(&(bool, u32)) -> bool) {
            let state = self.state.lock().unwrap();
            let waited = self
                .changed
                .wait_timeout_while(state, LONG, |state| !is_so(state));
            assert!(!waited.unwrap().1.timed_out());
        }

        fn now(&self, what: impl FnOnce(&mut (bool, u32))) {
            what(&mut self.state.lock().unwrap());
            self.changed.notify_all();
        }
    }

    impl Script for Meanwhile {
        fn call(&self, client: u32) -> Answer {
            assert_eq!(client, 1);
            self.now(|state| state.1 += 1);
            if self.state.lock().unwrap().1 == 1 {
                self.until(|state| state.0);
                return Err(gone("lost"));
            }
            Ok((Value::Null, None))
        }

        fn stop(&self) {
            self.now(|state| state.0 = true);
        }

        fn resume(&self) {
            self.until(|state| state.1 == 2);
        }
    }

    let program = program(vec![vec![stop(0)], vec![get(), get()]]);
    let history = ran(Meanwhile::default(), program);
    let began = history.sessions.iter().map(|it| (it.session, it.worker));
    assert_eq!(began.clone().filter(|(_, worker)| *worker == 1).count(), 2);
    let mut hit = history.faults[0].sessions.clone();
    hit.sort_unstable();
    assert_eq!(hit, began.map(|(session, _)| session).collect::<Vec<_>>());
}

#[test]
fn a_process_stands_still_until_its_last_pause_is_over() {
    #[derive(Default)]
    struct Still(Mutex<bool>);

    impl Script for Still {
        fn stop(&self) {
            let mut still = self.0.lock().unwrap();
            assert!(!*still, "it is stopped already");
            *still = true;
        }

        fn resume(&self) {
            let mut still = self.0.lock().unwrap();
            assert!(*still, "it goes on already");
            *still = false;
        }
    }

    let stops = |worker| (0..20).map(|_| stop(worker)).collect();
    let history = ran(Still::default(), program(vec![stops(0), stops(1)]));
    assert_eq!(history.faults.len(), 40);
    assert!(history.faults.iter().all(|fault| fault.until_ns.is_some()));
}

#[test]
fn a_store_that_does_not_open_after_a_kill_is_the_system_s_failure() {
    #[derive(Default)]
    struct Once(AtomicBool);

    impl Script for Once {
        fn open(&self, _: u32) -> Result<(), Failure> {
            if self.0.swap(true, Ordering::Relaxed) {
                return Err(Failure::new(ErrorCode::Failed, "malformed"));
            }
            Ok(())
        }
    }

    let kill = Step::Fault(Fault::Kill { worker: 0 });
    let history = ran(Once::default(), program(vec![vec![get(), kill, get()]]));
    assert_eq!(verdicts(&history), [Verdict::Fail, Verdict::Pass]);
    assert_eq!(
        judge(&history)[0].violations[0].message,
        "worker 0 could not open the store again after its process was killed: failed: malformed"
    );
}

#[test]
fn a_crash_before_a_kill_is_a_crash() {
    /// The second client asks, the process is to be killed, the second client is gone.
    struct Dying {
        ending: Ending,
        phase: Mutex<u32>,
        changed: Condvar,
    }

    impl Dying {
        fn begin(&self, phase: u32) {
            let mut now = self.phase.lock().unwrap();
            *now = phase.max(*now);
            self.changed.notify_all();
        }

        fn until(&self, phase: u32) {
            let now = self.phase.lock().unwrap();
            let waited = self
                .changed
                .wait_timeout_while(now, LONG, |now| *now < phase);
            assert!(!waited.unwrap().1.timed_out());
        }
    }

    impl Script for Dying {
        fn call(&self, client: u32) -> Answer {
            if client == 0 {
                self.until(1);
                return Ok((Value::Null, None));
            }
            self.begin(1);
            self.until(2);
            Err(gone("the process ended"))
        }

        fn kill(&self) -> Ending {
            self.begin(2);
            // Its worker gives it up before it is known what the process died of.
            self.until(3);
            self.ending.clone()
        }

        fn dropped(&self, client: u32) {
            if client == 1 {
                self.begin(3);
            }
        }
    }

    for (ending, end, verdict) in [
        (Ending::Killed, SessionEnd::Killed, Verdict::Pass),
        (
            Ending::Before("exit status: 3".into()),
            SessionEnd::Lost,
            Verdict::Fail,
        ),
        (Ending::GivenUp, SessionEnd::GivenUp, Verdict::Pass),
    ] {
        let kill = Step::Fault(Fault::Kill { worker: 0 });
        let script = Dying {
            ending,
            phase: Mutex::new(0),
            changed: Condvar::new(),
        };
        let history = ran(script, program(vec![vec![get(), kill], vec![get()]]));
        let ends: Vec<_> = history
            .sessions
            .iter()
            .map(|it| it.over.unwrap().1)
            .collect();
        assert_eq!(ends, [end; 2]);
        // `errors` leaves what was not answered to `completion`.
        assert_eq!(verdicts(&history), [verdict, Verdict::Pass], "{end:?}");
    }
}

#[test]
fn who_waits_for_ever_for_a_lock_that_is_held_is_given_up() {
    let acquire = Step::from(Op::LockAcquire {
        lock: LockName::new(LockKind::Lock, "l"),
        timeout_ms: None,
        ttl_ms: None,
    });
    let mut program = program(vec![vec![], vec![acquire.clone()]]);
    program.prologue = vec![vec![acquire], vec![]];
    program.checks.push(CheckSpec::LockLiveness {
        dead_holder_ms: None,
    });
    let settings = Settings {
        patience_forever: Duration::from_millis(20),
        ..Settings::default()
    };
    let plan = Plan::from(program);
    let ran = run(
        &Reference::new(),
        &plan,
        &settings,
        &Progress::default(),
        None,
    )
    .unwrap();
    let history = ran.history;
    assert_eq!(history.operations.len(), 2);
    let id = history.operations[1].id;
    let gave_up = Seen::GaveUp { id, after_ms: 20 };
    assert!(history.observations.iter().any(|it| it.seen == gave_up));
    let session = history.session(history.operations[1].session).unwrap();
    assert_eq!(session.over.unwrap().1, SessionEnd::GivenUp);
    assert_eq!(verdicts(&history), [Verdict::Pass; 3]);
}
