//! `beaver-harness shrink`: runs a program until it fails, then finds the least that still does.

use super::args::Run;
use super::drivers;
use super::run::{self, Chosen};
use anyhow::{Context as _, Result, bail, ensure};
use beaver_harness::catalog;
use beaver_harness::check::{CheckResult, Verdict, judge};
use beaver_harness::driver::Driver;
use beaver_harness::program::{Plan, Program};
use beaver_harness::run::{self as runner, Progress, Ran};
use beaver_harness::shrink::{self, Budget};
use beaver_harness::suite::Options;
use std::process::ExitCode;

pub(crate) fn shrink(run: Run) -> Result<ExitCode> {
    let driver = drivers::open(&run.which)?;
    let mut options = run::options(&run)?;
    let description = runner::describe(driver.as_ref(), &options.run)?;
    options.run.faults = run::faults(&run, driver.as_ref(), &description)?;
    let programs = run::programs(&run)?;
    let [chosen] = &programs[..] else {
        bail!("shrink takes one program: --workload NAME or --scenario FILE")
    };
    let Some((plan, ran, broken)) = find(driver.as_ref(), chosen, &mut options, run.tries)? else {
        println!(
            "{}: passed {} times; there is nothing to shrink",
            chosen.name(),
            run.tries
        );
        return Ok(ExitCode::SUCCESS);
    };
    let written = if plan.frame.workers.is_empty() {
        plan.write_down(&ran.steps)
    } else {
        plan.frame
    };
    let whole = shrink::with_faults_of(written, &ran.history, ran.began_ns);
    let check = broken.spec.name();
    let (workers, steps) = shrink::size(&whole);
    eprintln!(
        "{}: {check} fails with {workers} workers and {steps} steps, seed {}",
        whole.name, options.seed
    );
    let mut found: Option<CheckResult> = None;
    let mut tried = 0;
    let budget = Budget {
        candidates_max: run.candidates_max,
    };
    let shrunk = shrink::shrink(&whole, budget, |candidate| {
        tried += 1;
        let failed =
            (0..run.tries).find_map(|_| fails(driver.as_ref(), candidate, &options, check));
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
    tries: u32,
) -> Result<Option<(Plan, Ran, CheckResult)>> {
    for _ in 0..tries.max(1) {
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
        if let Some(broken) = broken(judge(&ran.history), None) {
            return Ok(Some((plan, ran, broken)));
        }
        options.seed += 1;
    }
    Ok(None)
}

/// The check of this name, or of any, if it fails.
fn broken(results: Vec<CheckResult>, name: Option<&str>) -> Option<CheckResult> {
    let wanted = |result: &CheckResult| name.is_none_or(|name| result.spec.name() == name);
    results
        .into_iter()
        .find(|result| result.verdict == Verdict::Fail && wanted(result))
}

/// Whether the same check fails on this program.
fn fails(
    driver: &dyn Driver,
    program: &Program,
    options: &Options,
    check: &str,
) -> Option<CheckResult> {
    let settings = runner::Settings {
        duration: None,
        faults: Vec::new(),
        ..options.run.clone()
    };
    let ran = runner::run(
        driver,
        &Plan::from(program.clone()),
        &settings,
        &Progress::default(),
        None,
    )
    .ok()?;
    broken(judge(&ran.history), Some(check))
}
