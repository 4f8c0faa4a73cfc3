//! `beaver-harness shrink`: runs a program until it fails, then finds the least that still does.

use super::args::Run;
use super::drivers;
use super::run::{self, Chosen};
use anyhow::{Context as _, Result, bail, ensure};
use beaver_harness::catalog;
use beaver_harness::check::{CheckResult, CheckSpec, Verdict, judge};
use beaver_harness::driver::Driver;
use beaver_harness::history::History;
use beaver_harness::program::{Plan, Program};
use beaver_harness::protocol::ErrorCode;
use beaver_harness::run::{self as runner, Progress, Ran};
use beaver_harness::shrink::{self, Budget};
use beaver_harness::suite::Options;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

pub(crate) fn shrink(run: Run) -> Result<ExitCode> {
    let driver = drivers::open(&run.which)?;
    let mut options = run::options(&run)?;
    let description = runner::describe(driver.as_ref(), &options.run)?;
    options.run.description = Some(description.clone());
    options.run.faults = run::faults(&run, driver.as_ref(), &description)?;
    let programs = run::programs(&run)?;
    let [chosen] = &programs[..] else {
        bail!("shrink takes one program: --workload NAME or --scenario FILE")
    };
    let Some((plan, ran, broken)) = find(driver.as_ref(), chosen, &mut options, &run)? else {
        println!(
            "{}: passed {} times; there is nothing to shrink",
            chosen.name(),
            run.tries
        );
        return Ok(ExitCode::SUCCESS);
    };
    let mut whole = if plan.frame.workers.is_empty() {
        let written = plan.write_down(&ran.steps);
        shrink::with_faults_of(written, &ran.history, ran.began_ns)
    } else {
        // Its own steps are all that was done to the system.
        plan.frame
    };
    // The other checks have nothing to say about this failure.
    whole.checks = vec![broken.spec.clone()];
    let check = broken.spec.name();
    let (workers, steps) = shrink::size(&whole);
    eprintln!(
        "{}: {check} fails with {workers} workers and {steps} steps, seed {}",
        whole.name, options.seed
    );
    let wanted = Wanted {
        kind: kind(&broken, &ran.history),
        // A program that got by without what it waited for means something; a candidate that lost
        // what another of its steps waits for is nonsense.
        in_vain: ran.in_vain,
        time: ran.elapsed * SLOWER + LEAST_TIME,
    };
    let mut found: Option<CheckResult> = None;
    let mut tried = 0;
    let budget = Budget {
        candidates_max: run.candidates_max,
    };
    let shrunk = shrink::shrink(&whole, budget, |candidate| {
        tried += 1;
        let mut results =
            (0..run.tries).map(|_| fails(driver.as_ref(), candidate, &options, &wanted));
        let failed = if run.every_try {
            results
                .try_fold(None, |_, result| result.map(Some))
                .flatten()
        } else {
            results.find_map(|result| result)
        };
        if let Some(result) = failed {
            let (workers, steps) = shrink::size(candidate);
            if !run.quiet {
                eprintln!("  try {tried}: {workers} workers, {steps} steps");
            }
            found = Some(result);
            return true;
        }
        false
    });
    let (fewer_workers, fewer_steps) = shrink::size(&shrunk.program);
    eprintln!(
        "from {workers} workers and {steps} steps to {fewer_workers} and {fewer_steps}, in {} tries",
        shrunk.candidates
    );
    if let Some(violation) = found.as_ref().unwrap_or(&broken).violations.first() {
        eprintln!("{check}: {}", violation.message);
    }
    let text = serde_json::to_string_pretty(&shrunk.program)? + "\n";
    match &run.out {
        Some(file) => {
            std::fs::write(file, text).with_context(|| file.display().to_string())?;
            eprintln!(
                "run it again: beaver-harness run --driver {} --scenario {}",
                driver.name(),
                file.display()
            );
        }
        None => print!("{text}"),
    }
    Ok(ExitCode::from(1))
}

/// Runs the program with one seed after the other until it fails.
fn find(
    driver: &dyn Driver,
    chosen: &Chosen,
    options: &mut Options,
    run: &Run,
) -> Result<Option<(Plan, Ran, CheckResult)>> {
    for _ in 0..run.tries.max(1) {
        let plan = match chosen {
            Chosen::Named(entry) => catalog::plan(&entry.name, options.workers, options.seed),
            Chosen::Written(program) => Some(Plan::from((**program).clone())),
        };
        let plan = plan.with_context(|| format!("there is no program {:?}", chosen.name()))?;
        let endless = plan.frame.workers.is_empty();
        options.run.seed = options.seed;
        options.run.duration = endless.then_some(options.duration);
        let ran = runner::run(driver, &plan, &options.run, &Progress::default(), None)?;
        ensure!(ran.troubles.is_empty(), "{}", ran.troubles.join("\n"));
        if let Some(broken) = broken(judge(&ran.history), run.check.as_deref()) {
            return Ok(Some((plan, ran, broken)));
        }
        options.seed += 1;
    }
    Ok(None)
}

/// The first check that fails, or the one of this name.
fn broken(results: Vec<CheckResult>, name: Option<&str>) -> Option<CheckResult> {
    let wanted = |result: &CheckResult| name.is_none_or(|name| result.spec.name() == name);
    results
        .into_iter()
        .find(|result| result.verdict == Verdict::Fail && wanted(result))
}

/// A candidate may take so many times as long as the whole program, and that much more.
const SLOWER: u32 = 2;
const LEAST_TIME: Duration = Duration::from_secs(5);

/// What counts as the same failure.
struct Wanted {
    kind: Option<Kind>,
    in_vain: u64,
    time: Duration,
}

/// What failed with what: an operation that fails in one way is no smaller example of another
/// that fails in another way.
type Kind = (&'static str, ErrorCode);

/// Of the first violation, if it is about errors.
fn kind(result: &CheckResult, history: &History) -> Option<Kind> {
    let shown = result.violations.first()?.operations.first()?;
    kinds(result, history, |id| id == shown).next()
}

fn kinds<'a>(
    result: &'a CheckResult,
    history: &'a History,
    wanted: impl Fn(&u64) -> bool + 'a,
) -> impl Iterator<Item = Kind> + 'a {
    let about_errors = matches!(result.spec, CheckSpec::Errors { .. });
    let shown = result.violations.iter().flat_map(|it| &it.operations);
    shown
        .filter(move |id| about_errors && wanted(id))
        .filter_map(|id| {
            let operation = history.operations.iter().find(|it| it.id == *id)?;
            Some((operation.op.name(), operation.failure()?.error))
        })
}

/// Whether the program fails in the same way.
fn fails(
    driver: &dyn Driver,
    program: &Program,
    options: &Options,
    wanted: &Wanted,
) -> Option<CheckResult> {
    let settings = runner::Settings {
        duration: None,
        faults: Vec::new(),
        ..options.run.clone()
    };
    let progress = Progress::default();
    let plan = Plan::from(program.clone());
    let ran = within(wanted.time, &progress, || {
        runner::run(driver, &plan, &settings, &progress, None)
    })
    .ok()?;
    if ran.in_vain > wanted.in_vain || !ran.troubles.is_empty() {
        return None;
    }
    let result = broken(judge(&ran.history), None)?;
    let same = wanted
        .kind
        .is_none_or(|kind| kinds(&result, &ran.history, |_| true).any(|it| it == kind));
    same.then_some(result)
}

/// Does `work`, and after `time` asks it to halt.
fn within<T>(time: Duration, progress: &Progress, work: impl FnOnce() -> T) -> T {
    let (ended, ends) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if ends.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
                progress.halt.store(true, Ordering::Relaxed);
            }
        });
        let done = work();
        drop(ended);
        done
    })
}
