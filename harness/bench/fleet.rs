//! The parent's end of crews that work on one file together.
//!
//! Workers are numbered through all crews. Each has at most one task at a
//! time, so whose answer comes next is never in doubt.

use crate::args::{self, SideName};
use crate::child::{Child, python};
use crate::protocol::{CrewOrder, CrewReply, Done, Task};
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;

/// A process with workers; Python's has each in a process of its own.
pub(crate) struct Crew {
    child: Child,
    unheard: VecDeque<(usize, Done)>,
    /// Of each worker.
    pids: Vec<u32>,
}

impl Crew {
    /// Starts a crew of one of the Rust sides.
    pub(crate) fn rust(side: SideName, cache: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([args::CREW, side.as_str()]).arg(cache);
        Self::start(side.as_str(), command)
    }

    /// Starts a crew of the Python package.
    pub(crate) fn python(interpreter: &Path) -> Result<Self> {
        let command = python(interpreter, include_str!("python_crew.py"));
        Self::start("Python", command)
    }

    fn start(name: &'static str, command: Command) -> Result<Self> {
        let mut crew = Self {
            child: Child::start(name, command)?,
            unheard: VecDeque::new(),
            pids: Vec::new(),
        };
        match crew.receive()? {
            CrewReply::Ready => Ok(crew),
            other => bail!("the {name} crew began with {other:?}"),
        }
    }

    fn open(&mut self, directory: &Path, workers: usize) -> Result<()> {
        // What the workers of before had to say concerns nobody any more.
        self.unheard.clear();
        let directory = directory.to_owned();
        self.child.send(&CrewOrder::Open { directory, workers })?;
        loop {
            match self.receive()? {
                CrewReply::Opened { pids } => {
                    self.pids = pids;
                    return Ok(());
                }
                CrewReply::Did { .. } => {}
                CrewReply::Ready => bail!("the {} crew began again", self.child.name()),
                CrewReply::Failed(_) => unreachable!("`receive` makes errors of them"),
            }
        }
    }

    fn hear(&mut self, worker: usize) -> Result<Done> {
        loop {
            let mut unheard = self.unheard.iter();
            if let Some(at) = unheard.position(|(from, _)| *from == worker) {
                let (_, done) = self.unheard.remove(at).context("it was just there")?;
                return match done {
                    Done::Failed(message) => bail!("the {} crew: {message}", self.child.name()),
                    done => Ok(done),
                };
            }
            match self.receive()? {
                CrewReply::Did { worker, done } => self.unheard.push_back((worker, done)),
                other => bail!("the {} crew said {other:?}", self.child.name()),
            }
        }
    }

    fn receive(&mut self) -> Result<CrewReply> {
        match self.child.receive()? {
            CrewReply::Failed(message) => bail!("the {} crew: {message}", self.child.name()),
            reply => Ok(reply),
        }
    }
}

/// Crews with workers on one file.
pub(crate) struct Fleet<'a> {
    crews: Vec<&'a mut Crew>,
    workers: usize,
}

impl<'a> Fleet<'a> {
    /// Has the crews open the file in `directory`, `workers` in all. They are
    /// dealt out: the first crew has the first worker, the second the second.
    pub(crate) fn open(
        mut crews: Vec<&'a mut Crew>,
        directory: &Path,
        workers: usize,
    ) -> Result<Self> {
        let shares = shares(workers, crews.len());
        for (crew, share) in crews.iter_mut().zip(shares) {
            crew.open(directory, share)?;
        }
        Ok(Self { crews, workers })
    }

    pub(crate) fn tell(&mut self, worker: usize, task: Task) -> Result<()> {
        let (crew, worker) = self.place(worker);
        self.crews[crew].child.send(&CrewOrder::Do { worker, task })
    }

    /// Kills the worker's process.
    pub(crate) fn kill(&mut self, worker: usize) -> Result<()> {
        let (crew, worker) = self.place(worker);
        let pid = self.crews[crew].pids.get(worker).copied();
        let pid = pid.and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let pid = pid.context("the worker has no process")?;
        kill_process(pid, Signal::KILL).context("killing a worker")
    }

    /// Waits for what came of the worker's task.
    pub(crate) fn hear(&mut self, worker: usize) -> Result<Done> {
        let (crew, worker) = self.place(worker);
        self.crews[crew].hear(worker)
    }

    fn place(&self, worker: usize) -> (usize, usize) {
        debug_assert!(worker < self.workers, "a worker that nobody opened");
        place(worker, self.crews.len())
    }

    /// The worker takes the lock; when, in the nanoseconds of `clock.rs`.
    pub(crate) fn hear_acquired(&mut self, worker: usize) -> Result<u64> {
        match self.hear(worker)? {
            Done::Acquired { at_ns } => Ok(at_ns),
            other => bail!("instead of the lock: {other:?}"),
        }
    }

    /// Just before and just after the worker's call that gave the lock back.
    pub(crate) fn hear_released(&mut self, worker: usize) -> Result<(u64, u64)> {
        match self.hear(worker)? {
            Done::Released { from_ns, to_ns } => Ok((from_ns, to_ns)),
            other => bail!("instead of giving the lock back: {other:?}"),
        }
    }
}

/// How many of the workers each crew has.
fn shares(workers: usize, crews: usize) -> impl Iterator<Item = usize> {
    (0..crews).map(move |at| (workers + crews - 1 - at) / crews)
}

/// A worker's crew and its number there.
fn place(worker: usize, crews: usize) -> (usize, usize) {
    (worker % crews, worker / crews)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_has_its_place_in_a_crew() {
        for (workers, crews) in [(1, 1), (2, 1), (2, 2), (8, 4), (9, 4), (64, 4)] {
            let shares: Vec<usize> = shares(workers, crews).collect();
            assert_eq!(shares.iter().sum::<usize>(), workers);
            let mut places: Vec<_> = (0..workers).map(|worker| place(worker, crews)).collect();
            assert!(places.iter().all(|&(crew, number)| number < shares[crew]));
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), workers);
        }
    }
}
