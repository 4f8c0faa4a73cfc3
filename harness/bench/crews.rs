//! Which crews a measurement needs, and having it done by them.

use crate::args::SideName;
use crate::fleet::Crew;
use crate::hand_off;
use crate::measurement::{Measurement, Pair};
use crate::protocol::Reply;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a waiting Python process looks.
const PYTHON_POLL: Duration = Duration::from_millis(100);

/// More than any of our own waiters' intervals.
const OUR_POLL: Duration = Duration::from_millis(10);

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
        let poll = match (who, pair) {
            (Who::Python, _) | (_, Pair::ToPython) => PYTHON_POLL,
            _ => OUR_POLL,
        };
        let mut ours = match who {
            Who::Rust(side) => {
                let count = if pair == Pair::TwoProcesses { 2 } else { 1 };
                let crews = (0..count).map(|_| Crew::rust(side, &self.cache));
                crews.collect::<Result<Vec<Crew>>>()?
            }
            Who::Python => Vec::new(),
        };
        let mut crews: Vec<&mut Crew> = ours.iter_mut().collect();
        match (who, pair) {
            (Who::Python, _) | (_, Pair::ToPython) => crews.push(self.python()?),
            (_, Pair::FromPython) => crews.insert(0, self.python()?),
            _ => {}
        }
        hand_off::measure(crews, directory, poll, time).map(Reply::Waits)
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
