//! Reading a history file.
//!
//! What must stay true: whatever stands in the file, the result is a history that keeps the
//! promises of [`super`], or an error that names the line.

use super::event::Event;
use super::{FaultRecord, History, Observation, Operation, Outcome, Session, Task, TaskOutcome};
use crate::protocol::{ErrorCode, Failure};
use std::collections::HashMap;
use std::io::BufRead;

/// Why a file is no history.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It can't be read.
    #[error("line {line}: {error}")]
    Io {
        /// Counted from 1.
        line: u64,
        /// Why.
        error: std::io::Error,
    },
    /// A line isn't JSON of the right form.
    #[error("line {line}: {error}")]
    Json {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// The version isn't one that this harness knows.
    #[error("the history has version {0}; this harness reads version 1")]
    Version(u32),
    /// The file is empty.
    #[error("the file is empty: the first line of a history is its header")]
    Empty,
    /// A line contradicts an earlier one.
    #[error("line {line}: {what}")]
    Contradiction {
        /// Counted from 1.
        line: u64,
        /// In what way.
        what: String,
    },
}

/// Reads a history.
///
/// A last line that was cut off (the harness was killed) is left out.
///
/// # Errors
/// The file is none, or contradicts itself.
pub fn read(mut from: impl BufRead) -> Result<History, ReadError> {
    let mut text = String::new();
    let mut line = 0;
    let mut builder: Option<Builder> = None;
    loop {
        text.clear();
        line += 1;
        let io = |error| ReadError::Io { line, error };
        if from.read_line(&mut text).map_err(io)? == 0 {
            break;
        }
        let whole = text.ends_with('\n');
        let json = |error| ReadError::Json { line, error };
        match &mut builder {
            None => {
                let header: super::Header = serde_json::from_str(&text).map_err(json)?;
                if header.history != 1 {
                    return Err(ReadError::Version(header.history));
                }
                builder = Some(Builder::new(header));
            }
            Some(builder) => match serde_json::from_str(&text) {
                Ok(event) => builder
                    .add(event)
                    .map_err(|what| ReadError::Contradiction { line, what })?,
                Err(_) if !whole => break,
                Err(error) => return Err(json(error)),
            },
        }
    }
    builder.map(Builder::finish).ok_or(ReadError::Empty)
}

/// Puts events together.
pub(super) struct Builder {
    history: History,
    /// Operations under way, by number.
    open: HashMap<u64, usize>,
    tasks: HashMap<u64, usize>,
    sessions: HashMap<u64, usize>,
    /// Pauses under way, by number.
    pauses: HashMap<u64, usize>,
}

impl Builder {
    pub(super) fn new(header: super::Header) -> Self {
        Self {
            history: History {
                header,
                operations: Vec::new(),
                tasks: Vec::new(),
                sessions: Vec::new(),
                faults: Vec::new(),
                observations: Vec::new(),
            },
            open: HashMap::new(),
            tasks: HashMap::new(),
            sessions: HashMap::new(),
            pauses: HashMap::new(),
        }
    }

    pub(super) fn finish(self) -> History {
        self.history
    }

    pub(super) fn add(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Session {
                time_ns,
                session,
                worker,
                process,
                clock_offset_ms,
            } => {
                grows(
                    self.history.sessions.last().map(|last| last.session),
                    session,
                    "session",
                )?;
                self.sessions.insert(session, self.history.sessions.len());
                self.history.sessions.push(Session {
                    session,
                    worker,
                    process,
                    clock_offset_ms,
                    opened_ns: time_ns,
                    over: None,
                });
            }
            Event::Over {
                time_ns,
                session,
                how,
            } => {
                let known = self
                    .sessions
                    .get(&session)
                    .and_then(|at| self.history.sessions.get_mut(*at));
                let known = known.ok_or_else(|| format!("there is no session {session}"))?;
                if known.over.is_some() {
                    return Err(format!("session {session} is over already"));
                }
                known.over = Some((time_ns, how));
            }
            Event::Task {
                time_ns,
                task,
                worker,
                step,
            } => {
                grows(
                    self.history.tasks.last().map(|last| last.task),
                    task,
                    "task",
                )?;
                self.tasks.insert(task, self.history.tasks.len());
                self.history.tasks.push(Task {
                    task,
                    worker,
                    step,
                    begun_ns: time_ns,
                    ended_ns: None,
                    outcome: TaskOutcome::Unknown,
                });
            }
            Event::End {
                time_ns,
                task,
                outcome,
            } => {
                let known = self
                    .tasks
                    .remove(&task)
                    .and_then(|at| self.history.tasks.get_mut(at));
                let known = known.ok_or_else(|| format!("task {task} isn't under way"))?;
                known.ended_ns = Some(time_ns);
                known.outcome = outcome;
            }
            Event::Invoke {
                time_ns,
                id,
                session,
                task,
                op,
            } => {
                grows(
                    self.history.operations.last().map(|last| last.id),
                    id,
                    "operation",
                )?;
                if self
                    .history
                    .operations
                    .last()
                    .is_some_and(|last| last.invoked_ns > time_ns)
                {
                    return Err(format!(
                        "operation {id} was invoked before the one above it"
                    ));
                }
                let known = self
                    .sessions
                    .get(&session)
                    .and_then(|at| self.history.sessions.get(*at));
                let known = known.ok_or_else(|| format!("there is no session {session}"))?;
                if let Some(task) = task
                    && !self.tasks.contains_key(&task)
                {
                    return Err(format!("task {task} isn't under way"));
                }
                self.open.insert(id, self.history.operations.len());
                self.history.operations.push(Operation {
                    id,
                    session,
                    worker: known.worker,
                    task,
                    op,
                    invoked_ns: time_ns,
                    completed_ns: None,
                    outcome: Outcome::Info(Failure::new(ErrorCode::Gone, "")),
                });
            }
            Event::Ok {
                time_ns,
                id,
                value,
                commit,
            } => {
                self.end(id, time_ns, Outcome::Ok { value, commit })?;
            }
            Event::Fail(ended) => {
                self.end(
                    ended.what.id,
                    ended.time_ns,
                    Outcome::Fail(ended.what.failure),
                )?;
            }
            Event::Info(ended) => {
                self.end(
                    ended.what.id,
                    ended.time_ns,
                    Outcome::Info(ended.what.failure),
                )?;
            }
            Event::Fault {
                time_ns,
                fault,
                sessions,
                pause,
            } => {
                if let Some(pause) = pause
                    && self
                        .pauses
                        .insert(pause, self.history.faults.len())
                        .is_some()
                {
                    return Err(format!("pause {pause} is under way already"));
                }
                self.history.faults.push(FaultRecord {
                    at_ns: time_ns,
                    fault,
                    sessions,
                    until_ns: None,
                });
            }
            Event::Resumed {
                time_ns,
                sessions,
                pause,
            } => {
                let faults = &mut self.history.faults;
                let paused = match pause {
                    Some(pause) => self.pauses.remove(&pause).and_then(|at| faults.get_mut(at)),
                    // As it was written before pauses had numbers.
                    None => faults.iter_mut().rev().find(|fault| {
                        let paused = fault.until_ns.is_none() && fault.fault.is_pause();
                        paused && fault.sessions == sessions
                    }),
                };
                let paused = paused.ok_or("nothing was paused")?;
                if time_ns < paused.at_ns {
                    return Err("a pause ends before it began".to_owned());
                }
                paused.until_ns = Some(time_ns);
                paused.sessions = sessions;
            }
            Event::Seen(seen) => self.history.observations.push(Observation {
                at_ns: seen.time_ns,
                seen: seen.what,
            }),
        }
        Ok(())
    }

    fn end(&mut self, id: u64, time_ns: u64, outcome: Outcome) -> Result<(), String> {
        let known = self
            .open
            .remove(&id)
            .and_then(|at| self.history.operations.get_mut(at));
        let known = known.ok_or_else(|| format!("operation {id} isn't under way"))?;
        if time_ns < known.invoked_ns {
            return Err(format!("operation {id} ends before it began"));
        }
        known.completed_ns = Some(time_ns);
        known.outcome = outcome;
        Ok(())
    }
}

fn grows(last: Option<u64>, next: u64, what: &str) -> Result<(), String> {
    match last {
        Some(last) if next <= last => Err(format!(
            "{what} {next} comes after {what} {last}: numbers must grow"
        )),
        _ => Ok(()),
    }
}
