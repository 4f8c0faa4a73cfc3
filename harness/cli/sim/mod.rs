//! `beaver-harness sim`.

mod args;
mod calibrate;
pub(crate) mod sweep;

pub(crate) use args::{Sim, parse};
pub(crate) use calibrate::calibrate;

use super::{EXIT_UNKNOWN, output};
use anyhow::{Context as _, Result};
use args::Scheduler;
use beaver_harness::sim::{Policy, Script, Settings, Simulated, Simulator, cases};
use std::process::ExitCode;
use std::time::Instant;

/// The settings of the run with this seed.
fn settings(sim: &Sim, seed: u64) -> Settings {
    let policy = match sim.policy {
        Scheduler::One(policy) => policy,
        Scheduler::Mixed if seed.is_multiple_of(2) => Policy::Pct {
            depth: 2 + (seed / 2 % 4) as u32,
        },
        Scheduler::Mixed | Scheduler::Exhaustive(_) => Policy::Random,
    };
    Settings {
        seed,
        steps_max: sim.steps,
        policy,
        script: Script {
            switches: sim.switches.clone(),
            cuts: sim.cuts.clone(),
        },
        kinds: sim.kinds.clone(),
        faults: sim
            .faults
            .as_ref()
            .map(|faults| faults.iter().copied().collect()),
        full_durability: sim.full_durability,
        rollback_journal: sim.rollback_journal,
        processes: sim.processes,
        checkpoints: None,
        cuts: None,
        defects: sim.defects,
        trace: sim.trace,
        choices: false,
    }
}

pub(crate) fn run(sim: &Sim) -> Result<ExitCode> {
    if let Scheduler::Exhaustive(switches_max) = sim.policy {
        return sweep::explore_as(sim, settings(sim, sim.seed), switches_max);
    }
    let component = match &sim.component {
        Some(component) => component.clone(),
        None => beaver_host::default_component_path(),
    };
    let simulator = Simulator::new(&component)?;
    let names = sim.programs.as_deref().unwrap_or("workloads");
    let programs = cases::select(names).map_err(anyhow::Error::msg)?;
    let began = Instant::now();
    let (mut failures, mut unknown, mut runs, mut calls) = (0, 0_u64, 0_u64, 0_u64);
    for seed in sim.seed..sim.seed.saturating_add(sim.seeds) {
        let program = &programs[(seed % programs.len() as u64) as usize];
        let plan = cases::plan(program, sim.workers, seed).context("a program")?;
        let ran = simulator.run(&plan, &settings(sim, seed))?;
        runs += 1;
        calls += ran.calls.iter().sum::<u64>();
        if sim.trace {
            for operation in &ran.history.operations {
                output::say(format_args!("{operation:?}"))?;
            }
            for line in &ran.trace {
                output::say(line)?;
            }
        }
        if ran.failed() || !ran.troubles.is_empty() {
            failures += 1;
            report(seed, program, &ran);
            if failures >= sim.failures_max {
                break;
            }
        } else if sim.seeds == 1 {
            report(seed, program, &ran);
        }
        if !ran.failed()
            && !ran.was_cut_short
            && ran.results.iter().any(|result| result.unknown.is_some())
        {
            unknown += 1;
            report(seed, program, &ran);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    output::note(format_args!(
        "{runs} runs, {failures} failed, {unknown} undecided, {calls} host calls, {seconds:.2} s, {:.1} runs/s, {:.2} M calls/s",
        runs as f64 / seconds,
        calls as f64 / seconds / 1e6,
    ));
    Ok(match (failures, unknown) {
        (0, _) => ExitCode::SUCCESS,
        (_, u64::MAX) => ExitCode::from(EXIT_UNKNOWN),
        _ => ExitCode::FAILURE,
    })
}

fn report(seed: u64, name: &str, ran: &Simulated) {
    let faults: Vec<_> = ran.faults.iter().map(ToString::to_string).collect();
    output::note(format_args!(
        "seed {seed} {name}: {} operations, {:?} calls, faults [{}], {:.3} virtual s, full={} rollback={} processes={} hash {:016x}, {} switches {} cuts",
        ran.history.operations.len(),
        ran.calls,
        faults.join(" "),
        ran.virtual_ns as f64 / 1e9,
        ran.full_durability,
        ran.rollback_journal,
        ran.processes,
        ran.trace_hash,
        ran.script.switches.len(),
        ran.script.cuts.len(),
    ));
    for trouble in &ran.troubles {
        output::note(format_args!("  trouble: {trouble}"));
    }
    for complaint in ran.complaints().iter().take(8) {
        output::note(format_args!("  {complaint}"));
    }
    for operation in ran
        .results
        .iter()
        .flat_map(|r| &r.violations)
        .flat_map(|v| &v.operations)
    {
        if let Some(operation) = ran.history.operation(*operation) {
            output::note(format_args!("    {operation:?}"));
        }
    }
    for result in &ran.results {
        if let Some(unknown) = &result.unknown {
            output::note(format_args!("  unknown: {}: {unknown}", result.spec.name()));
        }
    }
}
