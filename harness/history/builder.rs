//! Putting the events of a history together.
//!
//! What must stay true: what comes out keeps the promises of [`super`], for whatever contradicts them
//! is refused. A recorder and a reader use the same builder, so nothing is recorded that can't be read.

use super::contradiction::What;
use super::{
    Contradiction, Event, FaultRecord, Header, History, Observation, Operation, Outcome, Seen,
    Session, SessionEnd, Task, TaskOutcome,
};
use crate::protocol::{ErrorCode, Failure, Op};
use std::collections::{HashMap, HashSet};

type Checked<T = ()> = Result<T, Contradiction>;

pub(super) struct Builder {
    history: History,
    last_ns: u64,
    /// Operations under way, by number.
    operations: HashMap<u64, usize>,
    /// Tasks under way, by number.
    tasks: HashMap<u64, usize>,
    sessions: HashMap<u64, usize>,
    /// The operation that a session has under way.
    busy: HashMap<u64, u64>,
    /// The task that a worker has under way.
    at_work: HashMap<u32, u64>,
    /// Pauses under way, by number.
    pauses: HashMap<u64, usize>,
}

impl Builder {
    pub(super) fn new(header: Header) -> Self {
        Self {
            history: History {
                header,
                operations: Vec::new(),
                tasks: Vec::new(),
                sessions: Vec::new(),
                faults: Vec::new(),
                observations: Vec::new(),
            },
            last_ns: 0,
            operations: HashMap::new(),
            tasks: HashMap::new(),
            sessions: HashMap::new(),
            busy: HashMap::new(),
            at_work: HashMap::new(),
            pauses: HashMap::new(),
        }
    }

    pub(super) fn finish(self) -> History {
        self.history
    }

    pub(super) fn add(&mut self, event: Event) -> Checked {
        let (from_ns, to_ns) = (self.last_ns, event.time_ns());
        if to_ns < from_ns {
            return Err(Contradiction::TimeGoesBack { from_ns, to_ns });
        }
        self.last_ns = to_ns;
        match event {
            Event::Session {
                time_ns: opened_ns,
                session,
                worker,
                process,
                clock_offset_ms,
            } => self.session(Session {
                session,
                worker,
                process,
                clock_offset_ms,
                opened_ns,
                over: None,
            }),
            Event::Over {
                time_ns,
                session,
                how,
            } => self.over(session, time_ns, how),
            Event::Task {
                time_ns: begun_ns,
                task,
                worker,
                step,
            } => self.task(Task {
                task,
                worker,
                step,
                begun_ns,
                ended_ns: None,
                outcome: TaskOutcome::Unknown,
            }),
            Event::End {
                time_ns,
                task,
                outcome,
            } => self.end(task, time_ns, outcome),
            Event::Invoke {
                time_ns,
                id,
                session,
                task,
                op,
            } => self.invoke(id, session, task, op, time_ns),
            Event::Ok {
                time_ns,
                id,
                value,
                commit,
            } => self.complete(id, time_ns, Outcome::Ok { value, commit }),
            Event::Fail(ended) => {
                let (id, failure) = (ended.what.id, ended.what.failure);
                if !failure.definite {
                    return Err(Contradiction::IndefiniteFail(id));
                }
                self.complete(id, ended.time_ns, Outcome::Fail(failure))
            }
            Event::Info(ended) => {
                let (id, failure) = (ended.what.id, ended.what.failure);
                if failure.definite {
                    return Err(Contradiction::DefiniteInfo(id));
                }
                self.complete(id, ended.time_ns, Outcome::Info(failure))
            }
            Event::Fault {
                time_ns: at_ns,
                fault,
                sessions,
                pause,
            } => self.fault(
                FaultRecord {
                    at_ns,
                    fault,
                    sessions,
                    until_ns: None,
                },
                pause,
            ),
            Event::Resumed {
                time_ns,
                sessions,
                pause,
            } => self.resumed(pause, sessions, time_ns),
            Event::Seen(seen) => self.seen(Observation {
                at_ns: seen.time_ns,
                seen: seen.what,
            }),
        }
    }

    /// Whether nothing may begin in the session any more.
    pub(super) fn is_over(&self, session: u64) -> bool {
        let known = self.sessions.get(&session);
        let known = known.and_then(|at| self.history.sessions.get(*at));
        known.is_some_and(|known| known.over.is_some())
    }

    fn is_worker(&self, worker: u32) -> Checked {
        let workers = self.history.header.workers;
        if worker < workers {
            return Ok(());
        }
        Err(Contradiction::NoSuchWorker { worker, workers })
    }

    fn known(&mut self, session: u64) -> Checked<&mut Session> {
        let known = self.sessions.get(&session);
        let known = known.and_then(|at| self.history.sessions.get_mut(*at));
        known.ok_or(Contradiction::NoSuchSession(session))
    }

    fn session(&mut self, session: Session) -> Checked {
        let last = self.history.sessions.last().map(|last| last.session);
        grows(What::Session, last, session.session)?;
        self.is_worker(session.worker)?;
        let at = self.history.sessions.len();
        self.sessions.insert(session.session, at);
        self.history.sessions.push(session);
        Ok(())
    }

    fn over(&mut self, session: u64, time_ns: u64, how: SessionEnd) -> Checked {
        let known = self.known(session)?;
        if known.over.is_some() {
            return Err(Contradiction::SessionIsOver(session));
        }
        known.over = Some((time_ns, how));
        Ok(())
    }

    fn task(&mut self, task: Task) -> Checked {
        let last = self.history.tasks.last().map(|last| last.task);
        grows(What::Task, last, task.task)?;
        self.is_worker(task.worker)?;
        if let Some(open) = self.at_work.insert(task.worker, task.task) {
            return Err(Contradiction::TaskWithinTask {
                task: task.task,
                worker: task.worker,
                open,
            });
        }
        self.tasks.insert(task.task, self.history.tasks.len());
        self.history.tasks.push(task);
        Ok(())
    }

    fn end(&mut self, task: u64, time_ns: u64, outcome: TaskOutcome) -> Checked {
        let known = self.tasks.remove(&task);
        let known = known.and_then(|at| self.history.tasks.get_mut(at));
        let known = known.ok_or(Contradiction::NoSuchTask(task))?;
        known.ended_ns = Some(time_ns);
        known.outcome = outcome;
        self.at_work.remove(&known.worker);
        Ok(())
    }

    fn invoke(
        &mut self,
        id: u64,
        session: u64,
        task: Option<u64>,
        op: Op,
        time_ns: u64,
    ) -> Checked {
        let last = self.history.operations.last().map(|last| last.id);
        grows(What::Operation, last, id)?;
        let known = self.known(session)?;
        if known.over.is_some() {
            return Err(Contradiction::SessionIsOver(session));
        }
        let worker = known.worker;
        if let Some(open) = self.busy.insert(session, id) {
            return Err(Contradiction::Overlap { id, session, open });
        }
        if let Some(task) = task {
            let known = self.tasks.get(&task);
            let known = known.and_then(|at| self.history.tasks.get(*at));
            let other = known.ok_or(Contradiction::NoSuchTask(task))?.worker;
            if other != worker {
                return Err(Contradiction::TaskOfAnother {
                    id,
                    worker,
                    task,
                    other,
                });
            }
        }
        self.operations.insert(id, self.history.operations.len());
        self.history.operations.push(Operation {
            id,
            session,
            worker,
            task,
            op,
            invoked_ns: time_ns,
            completed_ns: None,
            outcome: Outcome::Info(Failure::new(ErrorCode::Gone, "")),
        });
        Ok(())
    }

    fn complete(&mut self, id: u64, time_ns: u64, outcome: Outcome) -> Checked {
        let known = self.operations.remove(&id);
        let known = known.and_then(|at| self.history.operations.get_mut(at));
        let known = known.ok_or(Contradiction::NoSuchOperation(id))?;
        known.completed_ns = Some(time_ns);
        known.outcome = outcome;
        self.busy.remove(&known.session);
        Ok(())
    }

    fn fault(&mut self, fault: FaultRecord, pause: Option<u64>) -> Checked {
        self.are_known(&fault.sessions)?;
        if let Some(worker) = fault.fault.worker() {
            self.is_worker(worker)?;
        }
        if let Some(pause) = pause {
            if !fault.fault.is_pause() {
                return Err(Contradiction::NoPause(pause));
            }
            let at = self.history.faults.len();
            if self.pauses.insert(pause, at).is_some() {
                return Err(Contradiction::PausedAlready(pause));
            }
        }
        self.history.faults.push(fault);
        Ok(())
    }

    fn resumed(&mut self, pause: Option<u64>, sessions: Vec<u64>, time_ns: u64) -> Checked {
        self.are_known(&sessions)?;
        let faults = &mut self.history.faults;
        let paused = match pause {
            Some(pause) => self.pauses.remove(&pause).and_then(|at| faults.get_mut(at)),
            // As it was written before pauses had numbers.
            None => {
                let numbered: HashSet<usize> = self.pauses.values().copied().collect();
                let all = faults.iter_mut().enumerate().rev();
                let unnumbered = all.filter(|(at, _)| !numbered.contains(at));
                unnumbered.map(|(_, fault)| fault).find(|fault| {
                    let is_open = fault.until_ns.is_none() && fault.fault.is_pause();
                    is_open && fault.sessions == sessions
                })
            }
        };
        let paused = paused.ok_or(Contradiction::NothingPaused)?;
        paused.until_ns = Some(time_ns);
        paused.sessions = sessions;
        Ok(())
    }

    /// Whether all have begun; one that is hit may have just ended.
    fn are_known(&mut self, sessions: &[u64]) -> Checked {
        for session in sessions {
            self.known(*session)?;
        }
        Ok(())
    }

    fn seen(&mut self, observation: Observation) -> Checked {
        if let Seen::Waiting { asked_ns, .. } = observation.seen
            && asked_ns > observation.at_ns
        {
            return Err(Contradiction::AskedLater {
                asked_ns,
                time_ns: observation.at_ns,
            });
        }
        self.history.observations.push(observation);
        Ok(())
    }
}

fn grows(what: What, last: Option<u64>, next: u64) -> Checked {
    match last {
        Some(last) if next <= last => Err(Contradiction::NumberDoesNotGrow { what, last, next }),
        _ => Ok(()),
    }
}
