//! What `help` prints.
//!
//! What must stay true: it names all that `args` takes, with the defaults.

pub(crate) const USAGE: &str = "\
usage: beaver-harness COMMAND …

  run               run workloads and scenarios on a system, and judge what happened
  check FILE…       judge histories again; takes --html, --junit, --json
  check-driver      try whether a driver keeps to PROTOCOL.md
  list              name workloads, scenarios, drivers and faults
  shrink            run a program that fails, and find the least that still does
  crash             kill real processes under the mixed workload, check the file after each
                    time that nobody is left, judge what happened, and count what was hit
  sim               run programs on the component in a simulated machine, in virtual time, with
                    crashes, power losses and schedules that come from a seed; shrinks what fails
  serve component|native|reference
                    be a driver, on standard input and output

exit codes: 0 all passed, 1 something is wrong, 2 nobody knows or the harness failed, such as
for a history that can't be read; 1 goes before 2

An option that is given twice counts as it was given last; --set does so for each KEY.

which system (run, shrink, check-driver, crash):
  --driver component       the component, in this process (default)
  --driver processes       the component, each worker in a wasmtime host process of its own
  --driver native          the native build, each worker in its own process
  --driver both            every other process is of the native build (default of crash)
  --driver python:VERSION  beaver-db from PyPI: 0.20.2, 1.3.0, 2.4.1
  --driver reference       a store in memory that keeps all promises; with
                           --set defect=NAME one that breaks one
  -- COMMAND…              any command that speaks harness/PROTOCOL.md
  --component FILE         another component that exports the world beaver:db
  --python FILE            the Python that has beaver-db (default: BEAVER_PYTHON)
  --set KEY=VALUE          a setting of the driver's own

what to run (run, shrink):
  --workload NAMES         names, `workloads`, `scenarios` or `all`, by commas (default: all)
  --scenario FILE          or a program written down, as `list --json NAME` and `shrink` print it;
                           it has its own workers, steps and faults
  --workers N              how many workers a workload has (default: 8)
  --processes N            spread over so many processes (default: each its own)
  --seconds S              how long each workload runs (default: 3)
  --steps N                and how many steps each worker does at most
  --for SECONDS            all of it again and again with other seeds, for so long
  --seed X                 what all random choices come from (default: from the clock; printed)
  --faults LIST            kill, kill-all, stop, drop, trap, clock, busy-writer; `all`: what the driver
                           can take; during workloads (scenarios have their own)
  --fault-interval-ms N    mean time between two (default: 500)
  --patience SECONDS       how long an answer may take beyond its own timeout (default: 30)
  --patience-forever SECONDS
                           when an operation that waits for ever is given up (default: 60)
  --late-ms N              how late a timeout may be (default: 3000)
  --handover-ms N          how long a free lock may take to its next holder (default: 5000)

how to crash (crash); also --workers (default: 8), --processes (default: 4), --seed,
--fault-interval-ms (default: 150), and what to leave behind as for run, but for --keep:
  --kills N                until so many kills have hit somebody (default: 500)
  --kills-per-run N        with a new file after so many (default: 25)
  --journal wal|rollback|both
                           how SQLite keeps its journal (default: both, in turn)
  --cut-commits N          plant a loss: cut the last N commits off the log each time that nobody is
                           left, which has to be found

what to leave behind (run):
  --html FILE --junit FILE --json FILE
  --histories FOLDER       the histories of all programs
  --keep FOLDER            the database, in FOLDER, which has none yet (one program only)
  --quiet                  no progress (also shrink)

how to shrink (shrink):
  --check NAME             the check that must fail (default: the first that does)
  --out FILE               where to write the scenario (default: standard output)
  --candidates N           how many programs to try at most (default: 200)
  --tries N                how often each of them runs before it counts as passing (default: 3)
  --every-try              a program counts as failing only if it fails in all those tries

how to simulate (sim); what isn't said, the seed chooses:
  --workload NAMES         as for run (default: workloads), one for each seed in turn
  --scenario FILE          or a program written down
  --component FILE         another component that exports the world beaver:db
  --seed X                 the first seed (default: 1), and the only one unless --seeds is given
  --seeds N                so many seeds (default: 100)
  --shard PART/OF          of them only this part, such as 1/4
  --jobs N                 on so many threads (default: as many as there are processors, up to 60);
                           what comes out is the same
  --workers N              how many workers a workload has (default: 3; up to 16)
  --steps N                how many steps each of them does (default: 8)
  --faults LIST            which faults there may be: drop, kill, power-loss, io, full, busy, slow,
                           clock, stop, stranger; `all` (default), `none`
  --fault LIST             these faults: WORKER:CALL:FAULT, such as 1:57:power-loss=3, by commas
  --scheduler WHICH        random, pct[:DEPTH], or mixed: the one or the other (default);
                           exhaustive[:SWITCHES]: all schedules with so few switches, --seeds at most
  --script LIST            these choices: ACTOR@STOP>TO and ACTOR@STOP+INSTRUCTIONS, by commas
  --processes N            spread over so many processes
  --durability normal|full what a commit survives
  --journal wal|rollback   how SQLite keeps its journal
  --checkpoints N          how often somebody checkpoints beside the workers; N:beside-writers: each time
                           when somebody has just begun to write
  --defect NAME            a machine that is wrong: sync-does-nothing, lock-level-dropped,
                           shm-lock-ignored
  --trace                  print each host call
  --failures N             end after so many failures (default: 10)
  --no-shrink              don't look for the least that fails
  --candidates N           run so many to find it at most (default: 2000)
  --histories FOLDER       keep the histories of runs that don't pass; what is shrunk may then be a
                           program of its own, in a file there
  --html FILE --junit FILE --json FILE
                           what did not pass, and the first of each program that did
  --quiet                  no progress

  sim sweep …              a crash at every host call; sim calibrate …: look for planted faults
";

#[cfg(all(test, feature = "component"))]
mod tests {
    use super::USAGE;

    #[test]
    fn all_that_sim_takes_is_named() {
        let (_, usage) = USAGE.split_once("how to simulate").unwrap();
        let source = include_str!("sim/args.rs");
        let mut options = source.split("Long(\"").skip(1);
        let named = |option: &str| {
            let name = option.split('"').next().unwrap();
            assert!(usage.contains(&format!("--{name} ")), "--{name}");
        };
        assert!(options.clone().count() > 20);
        options.by_ref().for_each(named);
    }
}
