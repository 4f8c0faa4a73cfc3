//! `beaver-harness shrink`: runs a program until it fails, then finds the least that still does.

use super::args::Run;
use super::progress::Live;
use super::run::{self, Chosen};
use super::{drivers, output, replay};
use anyhow::{Context as _, Result, bail, ensure};
use beaver_harness::catalog;
use beaver_harness::check::{CheckResult, CheckSpec, Verdict, judge};
use beaver_harness::driver::Driver;
use beaver_harness::history::History;
use beaver_harness::program::{Plan, Program};
use beaver_harness::protocol::ErrorCode;
use beaver_harness::run::{self as runner, Progress};
use beaver_harness::shrink::{self, Budget};
use beaver_harness::suite::{self, Options};
use std::path::Path;
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
    let driver = driver.as_ref();
    let mut lost = Vec::new();
    for _ in 0..run.tries {
        let found = find(driver, chosen, &options, &run)?;
        if let Some(found) = found {
            output::note(format_args!(
                "{}: {} fails with {}, seed {}",
                chosen.name(),
                found.broken.spec.name(),
                in_words(shrink::size(&found.whole)),
                options.seed
            ));
            let trial = Trial {
                driver,
                options: &options,
                run: &run,
                wanted: Wanted {
                    in_vain: u64::MAX,
                    ..found.wanted
                },
            };
            // What was never seen to fail is not given out.
            if let Some(again) = trial.fails(&found.whole) {
                // A program that got by without what it waited for means something; a candidate
                // that lost what another of its steps waits for is nonsense.
                let in_vain = again.in_vain.max(found.wanted.in_vain);
                let wanted = Wanted {
                    in_vain,
                    ..found.wanted
                };
                return reduce(&Trial { wanted, ..trial }, &found.whole, again);
            }
            output::note("  written down as a scenario, it did not fail again");
            lost.push(options.seed);
        }
        options.seed = options.seed.wrapping_add(1);
    }
    let Some(seed) = lost.first() else {
        output::say(format_args!(
            "{}: passed {}; there is nothing to shrink",
            chosen.name(),
            times(run.tries)
        ))?;
        return Ok(ExitCode::SUCCESS);
    };
    output::note(format_args!(
        "{}: fails, but by chance: no scenario was found that fails again; more --tries may find one\n\
         it failed with: {}",
        chosen.name(),
        replay::replay(&run, chosen.name(), *seed)
    ));
    Ok(ExitCode::from(1))
}

fn in_words((workers, steps): (usize, usize)) -> String {
    let one = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    format!("{} and {}", one(workers, "worker"), one(steps, "step"))
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        _ => format!("{count} times"),
    }
}

/// Makes the program smaller and gives it out. `failed` is how it failed.
fn reduce(trial: &Trial<'_>, whole: &Program, failed: Failed) -> Result<ExitCode> {
    let run = trial.run;
    let mut last = failed.result;
    let mut tried = 0;
    let budget = Budget {
        candidates_max: run.candidates_max,
    };
    let shrunk = shrink::shrink(whole, budget, |candidate| {
        tried += 1;
        let Some(failed) = trial.fails(candidate) else {
            return false;
        };
        if !run.quiet {
            let size = in_words(shrink::size(candidate));
            output::note(format_args!("  try {tried}: {size}"));
        }
        last = failed.result;
        true
    });
    output::note(format_args!(
        "from {} to {}, in {} tries",
        in_words(shrink::size(whole)),
        in_words(shrink::size(&shrunk.program)),
        shrunk.candidates
    ));
    let mut failures = 0;
    let again = shrunk.that_fails_again(|program| {
        let tries = (0..run.tries).filter_map(|_| trial.once(program));
        let mut failed: Vec<CheckResult> = tries.map(|failed| failed.result).collect();
        failures = failed.len();
        last = failed.pop().unwrap_or_else(|| last.clone());
        failures == run.tries as usize || failures > 0 && !run.every_try
    });
    let program = again.unwrap_or(whole);
    output::note(format_args!(
        "{}, run again {}, failed {}",
        in_words(shrink::size(program)),
        times(run.tries),
        times(u32::try_from(failures).unwrap_or(u32::MAX)),
    ));
    if failures < run.tries as usize {
        output::note(match run.every_try {
            true => "that is by chance; more --tries may find one that can be relied on",
            false => "that is by chance; --every-try may find one that can be relied on",
        });
    }
    if let Some(violation) = last.violations.first() {
        let check = last.spec.name();
        output::note(format_args!("{check}: {}", violation.message));
    }
    let text = serde_json::to_string_pretty(program)? + "\n";
    let file = match &run.out {
        Some(file) => {
            std::fs::write(file, text).with_context(|| file.display().to_string())?;
            file
        }
        None => {
            output::say_all(text)?;
            Path::new("FILE")
        }
    };
    output::note(format_args!(
        "run it again: {}",
        replay::scenario(run, file)
    ));
    Ok(ExitCode::from(1))
}

/// A run that failed.
struct Found {
    /// As a program that has all of it in itself.
    whole: Program,
    broken: CheckResult,
    wanted: Wanted,
}

/// Runs the program once; none if it doesn't fail.
fn find(
    driver: &dyn Driver,
    chosen: &Chosen,
    options: &Options,
    run: &Run,
) -> Result<Option<Found>> {
    let plan = match chosen {
        Chosen::Named(entry) => catalog::plan(&entry.name, options.workers, options.seed),
        Chosen::Written(program) => Some(Plan::from((**program).clone())),
    };
    let plan = plan.with_context(|| format!("there is no program {:?}", chosen.name()))?;
    if let Some(check) = &run.check {
        let names = plan.frame.checks.iter().map(CheckSpec::name);
        let names: Vec<_> = names.collect();
        ensure!(
            names.contains(&check.as_str()),
            "{} has no check {check:?}; it has {}",
            chosen.name(),
            names.join(", ")
        );
    }
    let live = Live::show(
        format!("{} (seed {})", chosen.name(), options.seed),
        run.quiet,
    );
    let settings = suite::settings(&plan, options);
    let ran = runner::run(driver, &plan, &settings, &live.progress, None)?;
    drop(live);
    ensure!(ran.troubles.is_empty(), "{}", ran.troubles.join("\n"));
    let Some(broken) = broken(judge(&ran.history), run.check.as_deref()) else {
        return Ok(None);
    };
    // What its own steps do to the system is in them already.
    let raged = !settings.faults.is_empty();
    let mut whole = shrink::written_down(&plan, &ran, raged);
    // The other checks have nothing to say about this failure.
    whole.checks = vec![broken.spec.clone()];
    let wanted = Wanted {
        kind: kind(&broken, &ran.history),
        in_vain: ran.in_vain,
        time: ran.elapsed * SLOWER + LEAST_TIME,
    };
    Ok(Some(Found {
        whole,
        broken,
        wanted,
    }))
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
#[derive(Clone, Copy)]
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

/// How candidates are tried.
#[derive(Clone, Copy)]
struct Trial<'a> {
    driver: &'a dyn Driver,
    options: &'a Options,
    run: &'a Run,
    wanted: Wanted,
}

/// How a candidate failed.
struct Failed {
    result: CheckResult,
    in_vain: u64,
}

impl Trial<'_> {
    /// Whether the program fails in the same way, in one of its tries or in all.
    fn fails(&self, program: &Program) -> Option<Failed> {
        let mut tries = (0..self.run.tries).map(|_| self.once(program));
        if self.run.every_try {
            tries.try_fold(None, |_, failed| failed.map(Some)).flatten()
        } else {
            tries.find_map(|failed| failed)
        }
    }

    fn once(&self, program: &Program) -> Option<Failed> {
        let plan = Plan::from(program.clone());
        let settings = runner::Settings {
            // Its steps are those that were done.
            steps_max: None,
            ..suite::settings(&plan, self.options)
        };
        let progress = Progress::default();
        let ran = within(self.wanted.time, &progress, || {
            runner::run(self.driver, &plan, &settings, &progress, None)
        })
        .ok()?;
        // Whoever runs it again halts nothing.
        let halted = progress.halt.load(Ordering::Relaxed);
        if halted || ran.in_vain > self.wanted.in_vain || !ran.troubles.is_empty() {
            return None;
        }
        let result = broken(judge(&ran.history), None)?;
        let same = |kind| kinds(&result, &ran.history, |_| true).any(|it| it == kind);
        self.wanted.kind.is_none_or(same).then_some(Failed {
            in_vain: ran.in_vain,
            result,
        })
    }
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
