//! Recording a history while it happens.
//!
//! What must stay true: the order of the lines is the order of the times in them, for operations of all
//! workers: a time is taken and its line is written in one critical section. (A completion's
//! time may so be a little late and an invocation's a little early, which only widens an
//! interval.) What the time is, whoever begins the history may decide; it never goes back.

use super::builder::Builder;
use super::event::{Event, Header};
use super::{History, Seen, SessionEnd, TaskOutcome};
use crate::program::Fault;
use crate::protocol::{Failure, Op};
use crate::step::Step;
use serde_json::Value;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Takes down what happens, in memory and, if wanted, in a file.
pub struct Recorder {
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    inner: Mutex<Inner>,
}

struct Inner {
    builder: Builder,
    file: Option<Box<dyn Write + Send>>,
    /// The first error of the file; the history in memory goes on.
    error: Option<String>,
    operations: u64,
    tasks: u64,
    sessions: u64,
    pauses: u64,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    /// Begins a history; time starts now.
    pub fn new(header: Header, file: Option<Box<dyn Write + Send>>) -> Self {
        let inner = Inner::new(header, file);
        let began = Instant::now();
        let clock = move || u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Self {
            clock: Box::new(clock),
            inner: Mutex::new(inner),
        }
    }

    /// Begins a history whose time is what `clock` says: in nanoseconds since the history began,
    /// and never less than it said before. It must not use the recorder.
    pub fn with_clock(
        header: Header,
        file: Option<Box<dyn Write + Send>>,
        clock: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> Self {
        Self {
            clock,
            inner: Mutex::new(Inner::new(header, file)),
        }
    }

    /// Nanoseconds since the history began.
    pub fn now_ns(&self) -> u64 {
        (self.clock)()
    }

    fn record(&self, event: impl FnOnce(&mut Inner, u64) -> Event) {
        let mut inner = self.lock();
        let now = self.now_ns();
        let event = event(&mut inner, now);
        inner.enter(event);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client is ready; returns its session's number.
    pub fn session(&self, worker: u32, process: u32, clock_offset_ms: i64) -> u64 {
        let mut number = 0;
        self.record(|inner, time_ns| {
            inner.sessions += 1;
            number = inner.sessions;
            Event::Session {
                time_ns,
                session: number,
                worker,
                process,
                clock_offset_ms,
            }
        });
        number
    }

    /// A session is over.
    pub fn over(&self, session: u64, how: SessionEnd) {
        self.record(|_, time_ns| Event::Over {
            time_ns,
            session,
            how,
        });
    }

    /// A worker begins a step; returns the task's number.
    pub fn task(&self, worker: u32, step: &Step) -> u64 {
        let mut number = 0;
        self.record(|inner, time_ns| {
            inner.tasks += 1;
            number = inner.tasks;
            Event::Task {
                time_ns,
                task: number,
                worker,
                step: step.clone(),
            }
        });
        number
    }

    /// What came of it.
    pub fn end(&self, task: u64, outcome: TaskOutcome) {
        self.record(|_, time_ns| Event::End {
            time_ns,
            task,
            outcome,
        });
    }

    /// An operation is about to be asked for; returns its number. None if the session is over
    /// already, by a fault that came just before: then nobody is to be asked.
    pub fn invoke(&self, session: u64, task: Option<u64>, op: &Op) -> Option<u64> {
        let mut inner = self.lock();
        if inner.builder.is_over(session) {
            return None;
        }
        inner.operations += 1;
        let id = inner.operations;
        let event = Event::Invoke {
            time_ns: self.now_ns(),
            id,
            session,
            task,
            op: op.clone(),
        };
        inner.enter(event);
        Some(id)
    }

    /// What came of it.
    pub fn complete(&self, id: u64, result: &Result<(Value, Option<u64>), Failure>) {
        self.record(|_, time_ns| match result {
            Ok((value, commit)) => Event::Ok {
                time_ns,
                id,
                value: value.clone(),
                commit: *commit,
            },
            Err(failure) => {
                let ended = super::Moment {
                    time_ns,
                    what: super::Ended {
                        id,
                        failure: failure.clone(),
                    },
                };
                if failure.definite {
                    Event::Fail(ended)
                } else {
                    Event::Info(ended)
                }
            }
        });
    }

    /// Something is about to be done to these sessions.
    pub fn fault(&self, fault: Fault, sessions: Vec<u64>) {
        self.record(|_, time_ns| Event::Fault {
            time_ns,
            fault,
            sessions,
            pause: None,
        });
    }

    /// The same of what goes by; returns the pause's number.
    pub fn pause(&self, fault: Fault, sessions: Vec<u64>) -> u64 {
        let mut number = 0;
        self.record(|inner, time_ns| {
            inner.pauses += 1;
            number = inner.pauses;
            Event::Fault {
                time_ns,
                fault,
                sessions,
                pause: Some(number),
            }
        });
        number
    }

    /// The pause of this number is over; `sessions` are all that it hit.
    pub fn resumed(&self, pause: u64, sessions: Vec<u64>) {
        self.record(|_, time_ns| Event::Resumed {
            time_ns,
            sessions,
            pause: Some(pause),
        });
    }

    /// The harness saw something.
    pub fn seen(&self, seen: Seen) {
        self.record(|_, time_ns| {
            Event::Seen(super::Moment {
                time_ns,
                what: seen,
            })
        });
    }

    /// The history, and what went wrong while it was written.
    pub fn finish(self) -> (History, Option<String>) {
        let mut inner = self
            .inner
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut inner.file
            && let Err(error) = file.flush()
        {
            inner.error.get_or_insert(error.to_string());
        }
        (inner.builder.finish(), inner.error)
    }
}

impl Inner {
    fn new(header: Header, file: Option<Box<dyn Write + Send>>) -> Self {
        let mut inner = Self {
            builder: Builder::new(header.clone()),
            file,
            error: None,
            operations: 0,
            tasks: 0,
            sessions: 0,
            pauses: 0,
        };
        inner.line(&header);
        inner
    }

    fn enter(&mut self, event: Event) {
        self.line(&event);
        if let Err(contradiction) = self.builder.add(event) {
            self.error.get_or_insert(contradiction.to_string());
        }
    }

    fn line(&mut self, what: &impl serde::Serialize) {
        let Some(file) = &mut self.file else { return };
        let written = serde_json::to_vec(what)
            .map_err(std::io::Error::other)
            .and_then(|mut line| {
                line.push(b'\n');
                file.write_all(&line)
            });
        if let Err(error) = written {
            self.error.get_or_insert(error.to_string());
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, read};
    use super::*;
    use crate::check::Bounds;
    use crate::protocol::{Description, ErrorCode, VERSION};
    use serde_json::json;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A file in memory.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn header() -> Header {
        Header {
            history: 1,
            program: "test".into(),
            promise: String::new(),
            seed: 7,
            workers: 1,
            driver: Description {
                protocol: VERSION,
                name: "none".into(),
                version: String::new(),
                capabilities: Vec::new(),
            },
            bounds: Bounds::default(),
            checks: Vec::new(),
            replay: String::new(),
            unix_s: 0.0,
            virtual_time: false,
        }
    }

    #[test]
    fn what_was_recorded_is_read_again() {
        let file = Shared::default();
        let recorder = Recorder::new(header(), Some(Box::new(file.clone())));
        let session = recorder.session(0, 1, -50);
        let op = Op::DictGet {
            name: "d".into(),
            key: "k".into(),
        };
        let task = recorder.task(0, &Step::from(op.clone()));
        let invoke = |task| recorder.invoke(session, task, &op).unwrap();
        let first = invoke(Some(task));
        recorder.complete(first, &Ok((json!({"a": 1}), Some(3))));
        let second = invoke(Some(task));
        recorder.complete(second, &Err(Failure::new(ErrorCode::Timeout, "late")));
        let third = invoke(Some(task));
        recorder.complete(third, &Err(Failure::new(ErrorCode::Gone, "")));
        invoke(None);
        recorder.end(task, TaskOutcome::Failed("why".into()));
        let stop = Fault::Stop {
            worker: 0,
            for_ms: 5,
        };
        let pause = recorder.pause(stop, Vec::new());
        recorder.resumed(pause, vec![session]);
        recorder.over(session, SessionEnd::Killed);
        recorder.seen(Seen::IntegrityCheck("ok".into()));
        let (history, error) = recorder.finish();
        assert_eq!(error, None);
        let text = file.0.lock().unwrap().clone();
        let again = read(&text[..]).unwrap();
        assert_eq!(again.header, history.header);
        assert_eq!(again.operations, history.operations);
        assert_eq!(again.tasks, history.tasks);
        assert_eq!(again.sessions, history.sessions);
        assert_eq!(again.faults, history.faults);
        assert_eq!(again.observations, history.observations);
        assert!(matches!(
            again.operations[0].outcome,
            Outcome::Ok {
                commit: Some(3),
                ..
            }
        ));
        assert!(matches!(again.operations[1].outcome, Outcome::Fail(_)));
        assert!(again.operations[2].is_info() && again.operations[3].is_info());
        assert_eq!(again.operations[3].completed_ns, None);
        assert!(again.faults[0].until_ns.is_some());
        assert_eq!(again.faults[0].sessions, [session]);
        // Cut off in the last line.
        let cut = read(&text[..text.len() - 5]).unwrap();
        assert_eq!(cut.observations.len(), 0);
        assert_eq!(cut.operations, history.operations);
    }

    #[test]
    fn nothing_begins_in_a_session_that_a_fault_has_just_ended() {
        let recorder = Recorder::new(header(), None);
        let session = recorder.session(0, 1, 0);
        assert_eq!(recorder.invoke(session, None, &Op::Begin), Some(1));
        recorder.over(session, SessionEnd::Dropped);
        assert_eq!(recorder.invoke(session, None, &Op::Commit), None);
        // What was under way is answered later.
        recorder.complete(1, &Ok((Value::Null, None)));
        let (history, error) = recorder.finish();
        assert_eq!((history.operations.len(), error), (1, None));
    }

    #[test]
    fn times_are_those_of_the_clock_that_was_given() {
        let now_ns = Arc::new(AtomicU64::new(5));
        let clock = Arc::clone(&now_ns);
        let clock = Box::new(move || clock.load(Ordering::Relaxed));
        let recorder = Recorder::with_clock(header(), None, clock);
        let session = recorder.session(0, 1, 0);
        now_ns.store(3_600_000_000_000, Ordering::Relaxed);
        let id = recorder.invoke(session, None, &Op::Begin).unwrap();
        recorder.complete(id, &Ok((Value::Null, None)));
        now_ns.store(3_600_000_000_001, Ordering::Relaxed);
        recorder.over(session, SessionEnd::Closed);
        let (history, error) = recorder.finish();
        assert_eq!(error, None);
        let operation = &history.operations[0];
        let times = (operation.invoked_ns, operation.completed_ns);
        assert_eq!(times, (3_600_000_000_000, Some(3_600_000_000_000)));
        let session = &history.sessions[0];
        let over_ns = session.over.map(|(over_ns, _)| over_ns);
        assert_eq!((session.opened_ns, over_ns), (5, Some(3_600_000_000_001)));
    }

    #[test]
    fn a_recorder_that_is_used_wrongly_says_so() {
        let recorder = Recorder::new(header(), None);
        let session = recorder.session(0, 1, 0);
        recorder.invoke(session, None, &Op::Begin);
        recorder.invoke(session, None, &Op::Commit);
        let error = recorder.finish().1.unwrap();
        assert!(error.contains("while operation 1"), "{error}");
    }

    #[test]
    fn each_pause_has_its_own_end() {
        let recorder = Recorder::new(header(), None);
        let session = recorder.session(0, 1, 0);
        let stop = Fault::Stop {
            worker: 0,
            for_ms: 5,
        };
        let first = recorder.pause(stop, vec![session]);
        let second = recorder.pause(stop, vec![session]);
        recorder.resumed(first, vec![session]);
        recorder.invoke(session, None, &Op::Begin);
        recorder.resumed(second, vec![session]);
        let (history, error) = recorder.finish();
        assert_eq!(error, None);
        let between = history.operations[0].invoked_ns;
        assert!(history.faults[0].until_ns.unwrap() <= between);
        assert!(history.faults[1].until_ns.unwrap() >= between);
    }
}
