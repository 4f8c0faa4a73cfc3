//! Runs of drivers that do what a test says.

use super::{Progress, Settings, run};
use crate::check::{CheckSpec, Verdict, judge};
use crate::driver::{Embedded, Store};
use crate::history::{History, SessionEnd};
use crate::program::{Plan, Program};
use crate::protocol::{Capability, Failure, Init, Op};
use crate::step::Step;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

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

    static PROGRESS: std::sync::Mutex<Option<Arc<Progress>>> = std::sync::Mutex::new(None);

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
    let mut program = program(vec![vec![get(), get()], vec![Step::Sleep { ms: 3_600_000 }]]);
    program.epilogue = vec![vec![get()], vec![get()]];
    let settings = Settings {
        patience: HOUR,
        ..Settings::default()
    };
    let driver = Embedded::<Stuck>::new();
    let ran = run(&driver, &Plan::from(program), &settings, &progress, None).unwrap();
    assert_eq!(ran.troubles, [""; 0]);
    assert_eq!(ran.history.operations.len(), 1);
    let ends: Vec<_> = ran.history.sessions.iter().map(|it| it.over.unwrap().1).collect();
    assert!(ends.contains(&SessionEnd::GivenUp), "{ends:?}");
    // What the harness ended itself is nobody's fault.
    assert_eq!(verdicts(&ran.history), [Verdict::Pass; 2]);
}
