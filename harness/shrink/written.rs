//! A run as a program: what its workers began, what was done to them, and where they were.
//!
//! What must stay true: the program needs neither the seed of the run nor the options that it was
//! started with. Whoever leaves out a part of it leaves each worker's clock and each fault's victim
//! as they were.

use crate::history::{FaultRecord, History};
use crate::program::{Fault, Layout, Plan, Program};
use crate::run::Ran;
use crate::step::Step;

/// Writes down `plan` as it ran. `raged` says that there was a nemesis: what it did becomes the
/// steps of one more worker.
pub fn written_down(plan: &Plan, ran: &Ran, raged: bool) -> Program {
    let mut program = plan.write_down(&ran.steps);
    program.clock_offsets_ms = ran.clock_offsets_ms.clone();
    // A process for each is what it has anyway, unless somebody wants something else.
    if ran.processes < plan.workers && program.layout == Layout::Any {
        program.layout = Layout::Processes(ran.processes);
    }
    if raged {
        let strikes = strikes(&ran.history, ran.began_ns);
        if !strikes.is_empty() {
            program.workers.push(strikes);
        }
    }
    program
}

/// What the nemesis did since `began_ns`, as steps.
fn strikes(history: &History, began_ns: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut now = began_ns;
    let since = |record: &&FaultRecord| record.at_ns >= began_ns;
    for record in history.faults.iter().filter(since) {
        let ms = record.at_ns.saturating_sub(now) / 1_000_000;
        if ms > 0 {
            steps.push(Step::Sleep { ms });
        }
        steps.push(Step::Fault(record.fault));
        now = match record.fault {
            // Whoever stops a process waits until it goes on.
            Fault::Stop { .. } => record.until_ns.unwrap_or(record.at_ns),
            _ => record.at_ns,
        };
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Reference;
    use crate::run::{self, FaultKind, Progress, Settings};
    use crate::workload;
    use std::time::Duration;

    const MS: u64 = 1_000_000;

    fn ran(settings: &Settings, workers: u32) -> (Plan, Ran) {
        let workload = workload::named("dict-increment").unwrap();
        let plan = workload.plan(&workload::Settings { workers, seed: 1 });
        let settings = Settings {
            steps_max: Some(2),
            duration: Some(Duration::from_secs(60)),
            ..settings.clone()
        };
        let ran = run::run(
            &Reference::new(),
            &plan,
            &settings,
            &Progress::default(),
            None,
        );
        (plan, ran.unwrap())
    }

    #[test]
    fn a_run_is_written_down_with_its_clocks_and_its_processes() {
        let settings = Settings {
            faults: vec![FaultKind::Clock],
            processes: Some(2),
            ..Settings::default()
        };
        let (plan, first) = ran(&settings, 4);
        let program = written_down(&plan, &first, true);
        assert_eq!(program.layout, Layout::Processes(2));
        assert_eq!(program.workers.len(), 4);
        let again = run::run(
            &Reference::new(),
            &Plan::from(program),
            &Settings::default(),
            &Progress::default(),
            None,
        );
        // Who was where, and what the clock said there.
        let where_and_when = |ran: &Ran| {
            let sessions = ran.history.sessions.iter();
            let mut seen: Vec<_> = sessions.map(|it| (it.worker, it.clock_offset_ms)).collect();
            seen.sort_unstable();
            (ran.processes, seen)
        };
        let seen = where_and_when(&first);
        assert!(seen.1.iter().any(|(_, offset)| *offset != 0), "{seen:?}");
        assert_eq!(where_and_when(&again.unwrap()), seen);
    }

    #[test]
    fn a_process_for_each_is_left_to_the_command_line() {
        let (plan, ran) = ran(&Settings::default(), 3);
        assert_eq!(written_down(&plan, &ran, true).layout, Layout::Any);
    }

    #[test]
    fn faults_come_when_they_came() {
        let (_, ran) = ran(&Settings::default(), 1);
        let mut history = ran.history;
        let record = |at_ms: u64, fault, until_ms: Option<u64>| FaultRecord {
            at_ns: at_ms * MS,
            fault,
            sessions: Vec::new(),
            until_ns: until_ms.map(|ms| ms * MS),
        };
        let busy = Fault::BusyWriter { for_ms: 300 };
        let stop = Fault::Stop {
            worker: 1,
            for_ms: 50,
        };
        let kill = Fault::Kill { worker: 0 };
        history.faults = vec![
            record(90, kill, None),
            record(110, busy, Some(410)),
            record(200, stop, Some(255)),
            record(300, kill, None),
        ];
        let sleep = |ms| Step::Sleep { ms };
        assert_eq!(
            strikes(&history, 100 * MS),
            [
                sleep(10),
                Step::Fault(busy),
                // It goes on beside the rest.
                sleep(90),
                Step::Fault(stop),
                sleep(45),
                Step::Fault(kill),
            ]
        );
    }
}
