//! What a run does: steps for each worker, what comes before and after, and what is to be
//! checked.
//!
//! A [`Plan`] is what the runner takes; its workers may go on without end. A [`Program`] is
//! a plan written down: a scenario, or what is left of a workload after shrinking.

use crate::check::CheckSpec;
use crate::protocol::Capability;
use crate::step::Step;
use serde::{Deserialize, Serialize};

/// Something that is done to the system under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Fault {
    /// SIGKILL of the worker's process. Its clients start again in a new one.
    Kill {
        /// A worker in that process.
        worker: u32,
    },
    /// SIGKILL of all processes at once, so that nobody is left who knows what lies in the log or the
    /// journal.
    KillAll {
        /// Whether SQLite itself opens the file next, recovers it and checks it; else whoever of
        /// the system's own comes first does.
        sqlite_first: bool,
    },
    /// SIGSTOP, and SIGCONT after a while.
    Stop {
        /// A worker in that process.
        worker: u32,
        /// How long.
        for_ms: u64,
    },
    /// The worker's client is abandoned, whatever it is doing.
    Drop {
        /// Whose.
        worker: u32,
    },
    /// The worker's client fails, as a guest that traps does.
    Trap {
        /// Whose.
        worker: u32,
    },
    /// A process that has nothing to do with the workers keeps SQLite's write lock for a while.
    BusyWriter {
        /// How long.
        for_ms: u64,
    },
    /// The machine loses power: all processes are gone, and what wasn't on the device may be.
    /// Only the simulator can do that.
    PowerLoss,
    /// Somebody sets the wall clock of the worker's process. Only the simulator can do that.
    ClockJump {
        /// A worker in that process.
        worker: u32,
        /// By how much.
        by_ms: i64,
    },
}

impl Fault {
    /// Whom it hits; none: everybody.
    pub fn worker(self) -> Option<u32> {
        match self {
            Self::Kill { worker }
            | Self::Stop { worker, .. }
            | Self::Drop { worker }
            | Self::Trap { worker }
            | Self::ClockJump { worker, .. } => Some(worker),
            Self::BusyWriter { .. } | Self::KillAll { .. } | Self::PowerLoss => None,
        }
    }

    /// Whether it goes by.
    pub fn is_pause(self) -> bool {
        self.for_ms().is_some()
    }

    /// How long it is to last, if it goes by.
    pub fn for_ms(self) -> Option<u64> {
        match self {
            Self::Stop { for_ms, .. } | Self::BusyWriter { for_ms } => Some(for_ms),
            Self::Kill { .. }
            | Self::KillAll { .. }
            | Self::Drop { .. }
            | Self::Trap { .. }
            | Self::PowerLoss
            | Self::ClockJump { .. } => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::KillAll { .. } => "kill-all",
            Self::Stop { .. } => "stop",
            Self::Drop { .. } => "drop",
            Self::Trap { .. } => "trap",
            Self::BusyWriter { .. } => "busy-writer",
            Self::PowerLoss => "power-loss",
            Self::ClockJump { .. } => "clock-jump",
        }
    }
}

/// How workers are spread over processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// As the command line says; by default each in its own, where the driver has processes.
    #[default]
    Any,
    /// Each worker in its own.
    Apart,
    /// All workers in one process.
    Together,
    /// Spread over so many processes, one after the other.
    Processes(u32),
}

impl Layout {
    /// Over how many processes it spreads `workers`; `any` is what the command line says.
    pub fn processes(self, workers: u32, any: Option<u32>) -> u32 {
        let processes = match self {
            Self::Any => any.unwrap_or(workers),
            Self::Apart => workers,
            Self::Together => 1,
            Self::Processes(processes) => processes,
        };
        processes.clamp(1, workers.max(1))
    }
}

/// A plan written down, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Program {
    /// The version of the format: 1.
    pub program: u32,
    /// Its name, such as `lock-ttl`.
    pub name: String,
    /// What it shows, as a promise in one sentence.
    pub promise: String,
    /// How workers are spread over processes.
    #[serde(default)]
    pub layout: Layout,
    /// By how much the wall clock of each process is off; those that aren't listed are right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clock_offsets_ms: Vec<i64>,
    /// In what steps all wall clocks go on; 0: as fine as they are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clock_resolution_ms: u64,
    /// Done by worker 0 before all else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set_up: Vec<Step>,
    /// What each worker does first; they go on together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prologue: Vec<Vec<Step>>,
    /// What each worker does, all at the same time.
    pub workers: Vec<Vec<Step>>,
    /// What each worker does last, after all have ended their steps and faults are over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epilogue: Vec<Vec<Step>>,
    /// Done by worker 0 after all else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tear_down: Vec<Step>,
    /// What is to be checked.
    pub checks: Vec<CheckSpec>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What worker `worker` does as its `number`-th step; none: it has finished.
pub type Source = Box<dyn Fn(u32, u64) -> Option<Step> + Send + Sync>;

/// What the runner runs.
pub struct Plan {
    /// All but the workers' steps, which `source` gives.
    pub frame: Program,
    /// How many workers.
    pub workers: u32,
    /// Their steps.
    pub source: Source,
    /// What a driver must offer beside what the frame's steps need.
    pub requires: Vec<Capability>,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("frame", &self.frame)
            .finish_non_exhaustive()
    }
}

impl Program {
    /// What a driver must offer for it, if it has `transactions` or hasn't.
    pub fn requires(&self, transactions: bool) -> Vec<Capability> {
        let mut needs = Vec::new();
        let all = [&self.prologue, &self.workers, &self.epilogue];
        let lists = all.into_iter().flatten();
        for step in lists.chain([&self.set_up, &self.tear_down]).flatten() {
            step.require(transactions, &mut needs);
        }
        if self.clock_resolution_ms != 0 || self.clock_offsets_ms.iter().any(|offset| *offset != 0)
        {
            needs.push(Capability::Clock);
        }
        let workers = u32::try_from(self.workers.len()).unwrap_or(u32::MAX);
        let fewer = |processes| processes < workers;
        if self.layout == Layout::Together
            || matches!(self.layout, Layout::Processes(n) if fewer(n))
        {
            needs.push(Capability::Clients);
        }
        needs
    }
}

impl Program {
    /// Whether some step does what can be done to a real process alone.
    pub fn needs_processes(&self) -> bool {
        self.has_fault(|fault| {
            matches!(
                fault,
                Fault::Kill { .. } | Fault::KillAll { .. } | Fault::Stop { .. }
            )
        })
    }

    /// Whether some step does what only the simulator can.
    pub fn needs_simulator(&self) -> bool {
        self.has_fault(|fault| matches!(fault, Fault::PowerLoss | Fault::ClockJump { .. }))
    }

    /// Whether some step lets somebody else keep SQLite's write lock.
    pub fn has_busy_writers(&self) -> bool {
        self.has_fault(|fault| matches!(fault, Fault::BusyWriter { .. }))
    }

    fn has_fault(&self, is_it: impl Fn(&Fault) -> bool + Copy) -> bool {
        fn within(steps: &[Step], is_it: impl Fn(&Fault) -> bool + Copy) -> bool {
            steps.iter().any(|step| {
                matches!(step, Step::Fault(fault) if is_it(fault)) || within(step.body(), is_it)
            })
        }
        let lists = [&self.prologue, &self.workers, &self.epilogue];
        let mut all = lists
            .into_iter()
            .flatten()
            .chain([&self.set_up, &self.tear_down]);
        all.any(|steps| within(steps, is_it))
    }
}

impl From<Program> for Plan {
    fn from(program: Program) -> Self {
        let steps = program.workers.clone();
        let workers = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        let source: Source = Box::new(move |worker, number| {
            let steps = steps.get(usize::try_from(worker).ok()?)?;
            steps.get(usize::try_from(number).ok()?).cloned()
        });
        Self {
            frame: program,
            workers,
            source,
            // All of it is in the frame.
            requires: Vec::new(),
        }
    }
}

impl Plan {
    /// Writes down the first `counts[w]` steps of each worker.
    pub fn write_down(&self, counts: &[u64]) -> Program {
        let steps = |(worker, count): (u32, &u64)| {
            (0..*count)
                .map_while(|number| (self.source)(worker, number))
                .collect()
        };
        let workers = (0..self.workers).zip(counts).map(steps).collect();
        Program {
            workers,
            ..self.frame.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Op;

    #[test]
    fn a_program_is_the_plan_that_it_was_written_down_from() {
        let get = |key: &str| {
            Step::from(Op::DictGet {
                name: "d".into(),
                key: key.into(),
            })
        };
        let program = Program {
            program: 1,
            name: "p".into(),
            workers: vec![vec![get("a"), get("b")], vec![get("c")]],
            ..Program::default()
        };
        let text = serde_json::to_string(&program).unwrap();
        assert_eq!(serde_json::from_str::<Program>(&text).unwrap(), program);
        let plan = Plan::from(program.clone());
        assert_eq!(plan.frame.requires(false), [Capability::Dict]);
        assert_eq!((plan.source)(0, 1), Some(get("b")));
        assert_eq!((plan.source)(1, 1), None);
        assert_eq!(plan.write_down(&[9, 9]), program);
        assert_eq!(plan.write_down(&[1, 0]).workers, [vec![get("a")], vec![]]);
    }
}
