//! Commands that simulate again what was simulated, for a shell.
//!
//! What must stay true: what a command says is all that the run depends on beside the component.

use super::args::{DEFECTS, Scheduler, Sim};
use crate::cli::replay::{command_line, option};
use beaver_harness::sim::shrink::{Case, Subject};
use beaver_harness::sim::{Fault, FaultPlan, Kind, Script};
use std::fmt::Display;
use std::path::Path;

/// The command that simulates one program with one seed.
pub(crate) fn of_seed(sim: &Sim, name: &str, seed: u64) -> String {
    // All of it: an option that comes to be known must be repeated or left out on purpose.
    let Sim {
        component: _,
        defects: _,
        programs: _,
        scenario,
        workers,
        steps,
        seed: _,
        seeds: _,
        shard: _,
        jobs: _,
        scheduler,
        script,
        kinds,
        faults,
        processes,
        full_durability,
        rollback_journal,
        checkpoints,
        trace: _,
        outputs: _,
        histories: _,
        shrinks: _,
        candidates_max: _,
        failures_max: _,
        quiet: _,
        given: _,
    } = sim;
    let usual = Sim::default();
    let mut args = system(sim);
    match scenario {
        Some(file) => option(&mut args, "scenario", file.to_string_lossy()),
        None => option(&mut args, "workload", name),
    }
    option(&mut args, "seed", seed);
    if *workers != usual.workers {
        option(&mut args, "workers", workers);
    }
    if *steps != usual.steps {
        option(&mut args, "steps", steps);
    }
    match scheduler {
        Scheduler::Mixed => {}
        Scheduler::Random => option(&mut args, "scheduler", "random"),
        Scheduler::Pct(depth) => option(&mut args, "scheduler", format!("pct:{depth}")),
        Scheduler::Exhaustive(most) => option(&mut args, "scheduler", format!("exhaustive:{most}")),
    }
    if *kinds != usual.kinds {
        kinds_of(&mut args, kinds);
    }
    choices(&mut args, *processes, *full_durability, *rollback_journal);
    if let Some(checkpoints) = checkpoints {
        option(&mut args, "checkpoints", checkpoints);
    }
    if let Some(faults) = faults {
        option(&mut args, "fault", joined(faults));
    }
    if let Some(script) = script {
        option(&mut args, "script", script_text(script));
    }
    command_line(&args)
}

/// The command that simulates what was shrunk. A program that was written down is in `file`.
pub(crate) fn of_case(sim: &Sim, case: &Case, file: Option<&Path>) -> String {
    let settings = &case.settings;
    let mut args = system(sim);
    match (&case.subject, file) {
        (_, Some(file)) => option(&mut args, "scenario", file.to_string_lossy()),
        (Subject::Named { name, workers }, None) => {
            option(&mut args, "workload", name);
            option(&mut args, "workers", workers);
            option(&mut args, "steps", settings.steps_max);
        }
        (Subject::Written(_), None) => option(&mut args, "scenario", "FILE"),
    }
    option(&mut args, "seed", settings.seed);
    kinds_of(&mut args, &settings.kinds);
    choices(
        &mut args,
        settings.processes,
        settings.full_durability,
        settings.rollback_journal,
    );
    if let Some(checkpoints) = settings.checkpoints {
        option(&mut args, "checkpoints", checkpoints);
    }
    let faults: Vec<Fault> = settings
        .faults
        .as_ref()
        .map_or(Vec::new(), FaultPlan::faults);
    option(&mut args, "fault", joined(&faults));
    option(&mut args, "script", script_text(&settings.script));
    command_line(&args)
}

fn system(sim: &Sim) -> Vec<String> {
    let mut args = vec!["sim".to_owned()];
    if let Some(component) = &sim.component {
        option(&mut args, "component", component.to_string_lossy());
    }
    for (name, of) in DEFECTS {
        if *of(&mut sim.defects.clone()) {
            option(&mut args, "defect", name);
        }
    }
    args
}

fn kinds_of(args: &mut Vec<String>, kinds: &[Kind]) {
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    match names.is_empty() {
        true => option(args, "faults", "none"),
        false => option(args, "faults", names.join(",")),
    }
}

/// What the seed chooses if nobody does.
fn choices(
    args: &mut Vec<String>,
    processes: Option<u32>,
    full_durability: Option<bool>,
    rollback_journal: Option<bool>,
) {
    if let Some(processes) = processes {
        option(args, "processes", processes);
    }
    if let Some(is_full) = full_durability {
        option(args, "durability", if is_full { "full" } else { "normal" });
    }
    if let Some(is_rollback) = rollback_journal {
        option(
            args,
            "journal",
            if is_rollback { "rollback" } else { "wal" },
        );
    }
}

fn joined<T: Display>(all: &[T]) -> String {
    let all: Vec<_> = all.iter().map(ToString::to_string).collect();
    all.join(",")
}

fn script_text(script: &Script) -> String {
    let (switches, cuts) = (joined(&script.switches), joined(&script.cuts));
    let parts = [switches, cuts].into_iter().filter(|it| !it.is_empty());
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Command, parse};
    use crate::cli::replay::words;
    use crate::cli::sim::Asked;
    use beaver_harness::sim::Checkpoints;
    use std::ffi::OsString;

    fn read(args: impl IntoIterator<Item = OsString>) -> Sim {
        match parse(args).unwrap() {
            Command::Sim(Asked::Explore(sim)) => Sim {
                given: Vec::new(),
                ..*sim
            },
            _ => panic!("another command"),
        }
    }

    fn read_again(line: &str) -> Sim {
        read(words(line).into_iter().skip(1))
    }

    #[test]
    fn a_replay_is_read_as_the_run_that_it_stands_for() {
        for line in [
            "sim",
            "sim --component a.wasm --defect shm-lock-ignored --defect sync-does-nothing",
            "sim --workers 2 --steps 30 --scheduler pct:5 --faults io,clock --processes 2 --checkpoints 3",
            "sim --scheduler random --faults none --durability full --journal rollback",
            "sim --fault 0:5:io,1:7:slow=3 --script 0@1>2,1@3+500 --durability normal",
            "sim --fault= --script= --journal wal",
        ] {
            let left = " --seeds 9 --shard 1/1 --html a --json b --trace --quiet --failures 3";
            let sim = read((line.to_owned() + left).split(' ').map(OsString::from));
            let again = read_again(&of_seed(&sim, "bank", 7));
            let wanted = format!("{line} --workload bank --seed 7");
            assert_eq!(again, read(wanted.split(' ').map(OsString::from)));
        }
    }

    #[test]
    fn what_was_shrunk_says_all_that_a_seed_would_choose() {
        let sim = read(["sim", "--component", "my file.wasm"].map(OsString::from));
        let mut case = Case {
            subject: Subject::Named {
                name: "bank".into(),
                workers: 2,
            },
            settings: beaver_harness::sim::Settings {
                seed: 9,
                steps_max: 4,
                full_durability: Some(true),
                rollback_journal: Some(false),
                processes: Some(1),
                checkpoints: Some(Checkpoints::times(0)),
                faults: Some(FaultPlan::default()),
                ..beaver_harness::sim::Settings::default()
            },
        };
        assert_eq!(
            of_case(&sim, &case, None),
            "beaver-harness sim --component 'my file.wasm' --workload bank --workers 2 --steps 4 \
             --seed 9 --faults none --processes 1 --durability full --journal wal --checkpoints 0 --fault '' --script ''"
        );
        case.settings.processes = None;
        case.settings.script.switches = vec!["0@1>2".parse().unwrap()];
        case.settings.script.cuts = vec!["0@1+9".parse().unwrap()];
        let written = of_case(&sim, &case, Some(Path::new("a.json")));
        assert!(written.contains("--scenario a.json --seed 9 "), "{written}");
        assert!(written.ends_with("--script '0@1>2,0@1+9'"), "{written}");
        let again = read_again(&written);
        assert_eq!(again.script, Some(case.settings.script));
        assert_eq!(again.faults, Some(Vec::new()));
    }
}
