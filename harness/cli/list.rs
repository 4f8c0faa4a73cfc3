//! What there is.

use super::args::List;
use super::output;
use anyhow::{Context as _, Result};
use beaver_harness::catalog::{self, Kind};
use beaver_harness::run::FaultKind;
use std::process::ExitCode;

pub(crate) fn list(list: &List) -> Result<ExitCode> {
    if let Some(name) = &list.json {
        let plan = catalog::plan(name, list.workers, list.seed)
            .with_context(|| format!("there is no workload or scenario {name:?}"))?;
        let program = if plan.frame.workers.is_empty() {
            plan.write_down(&vec![list.steps; plan.workers as usize])
        } else {
            plan.frame
        };
        output::say(serde_json::to_string_pretty(&program)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let entries = catalog::all();
    let width = entries
        .iter()
        .map(|entry| entry.name.len())
        .max()
        .unwrap_or(0);
    for (title, kind) in [("workloads", Kind::Workload), ("scenarios", Kind::Scenario)] {
        output::say(format_args!("{title}:"))?;
        for entry in entries.iter().filter(|entry| entry.kind == kind) {
            output::say(format_args!("  {:width$}  {}", entry.name, entry.promise))?;
        }
    }
    let faults = FaultKind::ALL.map(FaultKind::name).join(", ");
    output::say(format_args!("faults: {faults}"))?;
    output::say(
        "drivers: component, processes, native, both, python:0.20.2, python:1.3.0, python:2.4.1, reference, -- COMMAND…",
    )?;
    output::say("\n`beaver-harness list --json NAME` prints one as a scenario file.")?;
    Ok(ExitCode::SUCCESS)
}
