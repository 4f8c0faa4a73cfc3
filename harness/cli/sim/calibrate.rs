//! `beaver-harness sim calibrate`: looks for each planted fault, and prints the table.

use super::super::output;
use anyhow::{Result, bail, ensure};
use beaver_harness::sim::calibration::{self, CONTROLS, Found, PLANTED, Place, Planted, Runs};
use beaver_harness::sim::{Defects, Simulator};
use lexopt::prelude::*;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// From the first seed of one range to the first of the next.
const APART: u64 = 100_000;

struct Calibrate {
    /// Where `cargo xtask planted` has put its components; none: only the host's defects.
    components: Option<PathBuf>,
    /// Which; none: all.
    only: Vec<String>,
    /// Over how many disjoint ranges of seeds.
    ranges: u64,
}

fn parse(args: &[OsString]) -> Result<Calibrate> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut calibrate = Calibrate {
        components: None,
        only: Vec::new(),
        ranges: 1,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("components") => calibrate.components = Some(parser.value()?.into()),
            Long("ranges") => calibrate.ranges = parser.value()?.parse()?,
            Value(name) => calibrate.only.push(name.string()?),
            _ => bail!(arg.unexpected()),
        }
    }
    ensure!(calibrate.ranges >= 1, "--ranges: at least 1");
    Ok(calibrate)
}

pub(crate) fn calibrate(args: &[OsString]) -> Result<ExitCode> {
    let asked = parse(args)?;
    let is_wanted = |name: &str| asked.only.is_empty() || asked.only.iter().any(|it| it == name);
    let mut all_found = true;
    let mut longest = BTreeMap::new();
    output::say("| what is wrong | where | runs | seeds | median | most | limit | found by |")?;
    output::say("|---|---|---|--:|--:|--:|--:|---|")?;
    for planted in PLANTED.iter().filter(|planted| is_wanted(planted.name)) {
        let Some(component) = component(&asked, planted.place, planted.name) else {
            continue;
        };
        let simulator = Simulator::new(&component)?;
        let mut found = Vec::new();
        for range in 0..asked.ranges {
            let first = range * APART + 1;
            let one = planted.find(&simulator, first)?;
            match &one {
                Some(one) => output::note(format_args!(
                    "{}, from seed {first}: {} seeds, {}: {}",
                    planted.name, one.seeds, one.workload, one.complaint
                )),
                None => output::note(format_args!(
                    "{}, from seed {first}: NOT FOUND",
                    planted.name
                )),
            }
            found.push(one);
        }
        all_found &= found.iter().all(Option::is_some);
        let most = most(planted, &found);
        let longest = longest.entry(planted.runs.name()).or_insert(0);
        *longest = most.max(*longest);
        output::say(row(planted, &found))?;
    }
    let mut is_clean = true;
    for (name, runs) in CONTROLS.iter().filter(|(name, _)| is_wanted(name)) {
        let Some(component) = component(&asked, Place::Component, name) else {
            continue;
        };
        let seeds = longest.get(runs.name()).copied().unwrap_or(0);
        is_clean &= control(&component, name, *runs, seeds)?;
    }
    Ok(if all_found && is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs what has no fault.
fn control(component: &Path, name: &str, runs: Runs, seeds: u64) -> Result<bool> {
    let simulator = Simulator::new(component)?;
    let found = calibration::find(&simulator, runs, Defects::default(), 1, seeds)?;
    if let Some(found) = &found {
        output::note(format_args!(
            "{name}, at seed {}, {}: {}",
            found.seeds, found.workload, found.complaint
        ));
    }
    let said = if found.is_some() { "FOUND" } else { "nothing" };
    output::say(format_args!(
        "| (control: `{name}`) | | {} | {seeds} | | | | {said} |",
        runs.name()
    ))?;
    Ok(found.is_none())
}

/// The component to run; none: it wasn't offered.
fn component(asked: &Calibrate, place: Place, name: &str) -> Option<PathBuf> {
    match (place, &asked.components) {
        (Place::Host(_), _) => Some(beaver_host::default_component_path()),
        (_, Some(folder)) => Some(folder.join(format!("{name}.wasm"))),
        (_, None) => None,
    }
}

/// How many seeds it took at most.
fn most(planted: &Planted, found: &[Option<Found>]) -> u64 {
    let seeds = found.iter().map(|one| match one {
        Some(found) => found.seeds,
        None => planted.seeds_max,
    });
    seeds.max().unwrap_or(0)
}

fn row(planted: &Planted, found: &[Option<Found>]) -> String {
    let mut seeds: Vec<_> = found.iter().flatten().map(|found| found.seeds).collect();
    let first = found.first().and_then(Option::as_ref);
    let said = |seeds: Option<&u64>| seeds.map_or("–".to_owned(), u64::to_string);
    let first_seeds = said(first.map(|found| &found.seeds));
    seeds.sort_unstable();
    let median = said(seeds.get(seeds.len() / 2));
    let most = match found.iter().all(Option::is_some) {
        true => said(seeds.last()),
        false => format!("not found in {}", planted.seeds_max),
    };
    format!(
        "| {} (`{}`) | {} | {} | {first_seeds} | {median} | {most} | {} | {} |",
        planted.wrong,
        planted.name,
        planted.place.name(),
        planted.runs.name(),
        planted.seeds_max,
        first.map_or("", |found| &found.workload),
    )
}
