//! What is measured: the rows of the table.

use serde::{Deserialize, Serialize};

/// One thing that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Measurement {
    Memory,
    Call,
    Get,
    GetCold,
    Set,
    Transaction,
    Locked,
    Put,
    Take,
    TakeBatch,
    Iterate,
    Instantiate,
    Open,
    Drop,
    /// Workers on as many processes; Python has one for each worker.
    Contended {
        workers: usize,
        processes: usize,
    },
    HandOff(Pair),
    Killed,
}

/// Who hands a lock to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pair {
    OneProcess,
    TwoProcesses,
    FromPython,
    ToPython,
}

/// How many items a batch takes.
pub(crate) const BATCH: u32 = 5;

/// How many entries the dictionary holds.
pub(crate) const ENTRIES: usize = 10_000;

/// How many idle instances or connections the memory is measured over.
pub(crate) const IDLE: u32 = 200;

/// How many workers contend at most.
pub(crate) const WORKERS_MAX: usize = 64;

impl Measurement {
    /// All, in the order of the table. Memory comes first: later, a process
    /// has memory to reuse.
    pub(crate) const ALL: [Self; 26] = [
        Self::Memory,
        Self::Call,
        Self::Transaction,
        Self::Locked,
        Self::Get,
        Self::GetCold,
        Self::Set,
        Self::Put,
        Self::Take,
        Self::TakeBatch,
        Self::Iterate,
        Self::Instantiate,
        Self::Open,
        Self::Drop,
        Self::contended(1, 1),
        Self::contended(2, 1),
        Self::contended(8, 1),
        Self::contended(WORKERS_MAX, 1),
        Self::contended(2, 2),
        Self::contended(8, 4),
        Self::contended(WORKERS_MAX, 4),
        Self::HandOff(Pair::OneProcess),
        Self::HandOff(Pair::TwoProcesses),
        Self::HandOff(Pair::FromPython),
        Self::HandOff(Pair::ToPython),
        Self::Killed,
    ];

    const fn contended(workers: usize, processes: usize) -> Self {
        Self::Contended { workers, processes }
    }

    /// As the table and `--only` name it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Memory => "memory per idle instance",
            Self::Call => "empty call",
            Self::Get => "dict get, hot",
            Self::GetCold => "dict get after another's commit",
            Self::Set => "dict set",
            Self::Transaction => "read-modify-write, transaction",
            Self::Locked => "read-modify-write, locked",
            Self::Put => "queue put",
            Self::Take => "queue get",
            Self::TakeBatch => "queue get-batch(5)",
            Self::Iterate => "iterate 10,000 entries",
            Self::Instantiate => "instantiate",
            Self::Open => "open + first get",
            Self::Drop => "drop",
            Self::Contended { workers, processes } => match (workers, processes) {
                (1, _) => "contended increments, 1 worker",
                (2, 1) => "contended increments, 2 workers",
                (8, 1) => "contended increments, 8 workers",
                (_, 1) => "contended increments, 64 workers",
                (2, _) => "contended increments, 2 workers in 2 processes",
                (8, _) => "contended increments, 8 workers in 4 processes",
                _ => "contended increments, 64 workers in 4 processes",
            },
            Self::HandOff(Pair::OneProcess) => "lock hand-off in one process",
            Self::HandOff(Pair::TwoProcesses) => "lock hand-off across two processes",
            Self::HandOff(Pair::FromPython) => "lock hand-off from Python",
            Self::HandOff(Pair::ToPython) => "lock hand-off to Python",
            Self::Killed => "grant after SIGKILL of the holder",
        }
    }

    /// How many calls into the component one operation is.
    pub(crate) fn calls(self) -> Option<u32> {
        match self {
            Self::Transaction | Self::Locked => Some(4),
            Self::Get | Self::GetCold | Self::Set | Self::Put | Self::Take | Self::TakeBatch => {
                Some(1)
            }
            // A cursor is opened, read to its (empty) last page, and closed.
            Self::Iterate => Some(3 + ENTRIES.div_ceil(256) as u32),
            // The database, the dictionary's handle, the get.
            Self::Open => Some(3),
            _ => None,
        }
    }

    /// How many times longer than others it is measured: turns that workers
    /// take are long.
    pub(crate) fn times_longer(self) -> u32 {
        match self {
            Self::Contended { .. } => 4,
            // Of which most is waiting before the lock is given back.
            Self::HandOff(Pair::ToPython) => 8,
            Self::HandOff(_) | Self::Killed => 4,
            _ => 1,
        }
    }

    /// Whether the Python package can do it through its public methods.
    pub(crate) fn python(self) -> bool {
        matches!(
            self,
            Self::Get
                | Self::Set
                | Self::Locked
                | Self::Put
                | Self::Take
                | Self::Contended { processes: 1, .. }
                | Self::HandOff(Pair::TwoProcesses)
                | Self::Killed
        )
    }

    /// Whether crews do it, not the sides' own processes.
    pub(crate) fn is_for_crews(self) -> bool {
        matches!(
            self,
            Self::Contended { .. } | Self::HandOff(_) | Self::Killed
        )
    }

    /// Whether it takes a Python process whoever's figure it is.
    pub(crate) fn needs_python(self) -> bool {
        matches!(self, Self::HandOff(Pair::FromPython | Pair::ToPython))
    }

    /// Whether there is such a thing natively.
    pub(crate) fn native(self) -> bool {
        self != Self::Instantiate
    }
}
