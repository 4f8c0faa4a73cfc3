//! Which crews a measurement needs, and having it done by them.

use crate::args::SideName;
use crate::fleet::Crew;
use crate::measurement::{Measurement, Pair};
use crate::protocol::{Reply, Waits};
use crate::{contention, hand_off, kill};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a waiting Python process looks.
const PYTHON_POLL: Duration = Duration::from_millis(100);

/// More than any of our own waiters' intervals.
const OUR_POLL: Duration = Duration::from_millis(10);

/// The time to live of a lock whose holder is killed, where nothing but that
/// tells: the usual minute is too long to wait for.
pub(crate) const KILLED_TTL: Duration = Duration::from_secs(1);

/// Whose crews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Rust(SideName),
    Python,
}

/// Starts crews. Those of the Rust sides end with the measurement, Python's
/// stays: starting it takes half a second.
pub(crate) struct Crews {
    cache: PathBuf,
    interpreter: Option<PathBuf>,
    python: Option<Crew>,
}

impl Crews {
    pub(crate) fn new(cache: &Path, interpreter: Option<PathBuf>) -> Self {
        Self {
            cache: cache.to_owned(),
            interpreter,
            python: None,
        }
    }

    /// Measures on the file in `directory`, which nobody else has open.
    pub(crate) fn measure(
        &mut self,
        who: Who,
        what: Measurement,
        directory: &Path,
        time: Duration,
    ) -> Result<Reply> {
        match what {
            Measurement::HandOff(pair) => self.hand_off(who, pair, directory, time),
            Measurement::Contended { workers, processes } => {
                let mut ours = self.start(who, processes)?;
                let tolerant = who == Who::Python;
                let crews = self.all(&mut ours, tolerant.then_some(0))?;
                contention::measure(crews, workers, directory, time, tolerant).map(Reply::Contended)
            }
            Measurement::Killed => self.kill(who, directory, time),
            other => bail!("no crew does {other:?}"),
        }
    }

    fn hand_off(
        &mut self,
        who: Who,
        pair: Pair,
        directory: &Path,
        time: Duration,
    ) -> Result<Reply> {
        let count = if pair == Pair::TwoProcesses { 2 } else { 1 };
        let mut ours = self.start(who, count)?;
        let python_at = match (who, pair) {
            (Who::Python, _) | (_, Pair::FromPython) => Some(0),
            (_, Pair::ToPython) => Some(1),
            (_, Pair::OneProcess | Pair::TwoProcesses) => None,
        };
        let crews = self.all(&mut ours, python_at)?;
        let is_for_python = who == Who::Python || pair == Pair::ToPython;
        let poll = if is_for_python { PYTHON_POLL } else { OUR_POLL };
        hand_off::measure(crews, directory, poll, time).map(Reply::Waits)
    }

    /// As many kills as fit in `time`, at least one.
    fn kill(&mut self, who: Who, directory: &Path, time: Duration) -> Result<Reply> {
        let ttl = (who != Who::Rust(SideName::Component)).then_some(KILLED_TTL);
        let mut waits = Waits::default();
        let start = Instant::now();
        for life in kill::lives() {
            let mut ours = self.start(who, 2)?;
            let crews = self.all(&mut ours, (who == Who::Python).then_some(0))?;
            let wait_ns = kill::measure(crews, directory, ttl, life)?;
            waits.wait_ns.push(wait_ns);
            if start.elapsed() >= time {
                break;
            }
        }
        Ok(Reply::Waits(waits))
    }

    /// Crews of a Rust side, each a process.
    fn start(&self, who: Who, count: usize) -> Result<Vec<Crew>> {
        match who {
            Who::Rust(side) => (0..count).map(|_| Crew::rust(side, &self.cache)).collect(),
            Who::Python => Ok(Vec::new()),
        }
    }

    /// `ours`, and at `python_at` Python's.
    fn all<'a>(
        &'a mut self,
        ours: &'a mut [Crew],
        python_at: Option<usize>,
    ) -> Result<Vec<&'a mut Crew>> {
        let mut crews: Vec<&mut Crew> = ours.iter_mut().collect();
        if let Some(at) = python_at {
            crews.insert(at, self.python()?);
        }
        Ok(crews)
    }

    fn python(&mut self) -> Result<&mut Crew> {
        match &mut self.python {
            Some(crew) => Ok(crew),
            none => {
                let interpreter = self.interpreter.as_deref().context("there is no Python")?;
                Ok(none.insert(Crew::python(interpreter)?))
            }
        }
    }
}
