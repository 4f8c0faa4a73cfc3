//! Histories made of bytes: of the form that a recorder writes, with any answers at any times.
//!
//! What must stay true: most of them are read, so that checks get to see them.

use crate::ops::{KEYS, NAMES, Ops};
use arbitrary::{Result, Unstructured};
use beaver_harness::check::{Bounds, CheckSpec};
use beaver_harness::history::{Ended, Event, Header, Moment, Seen, SessionEnd, TaskOutcome};
use beaver_harness::program::Fault;
use beaver_harness::protocol::{Capability, Description, ErrorCode, Failure, Op};
use beaver_harness::step::Step;
use serde_json::{Value, json};

const EVENTS_MAX: usize = 256;
const WORKERS: u32 = 3;

/// Its text.
pub(super) fn history(bytes: &[u8]) -> String {
    let mut input = Unstructured::new(bytes);
    let mut maker = Maker {
        ops: Ops::new(&mut input),
        now_ns: 0,
        sessions: Vec::new(),
        tasks: Vec::new(),
        ids: 0,
        lines: String::new(),
    };
    // It ends where the bytes do.
    let _ = maker.make();
    maker.lines
}

struct Known {
    worker: u32,
    is_over: bool,
    busy: Option<(u64, Op)>,
}

struct Maker<'i, 'b> {
    ops: Ops<'i, 'b>,
    now_ns: u64,
    /// The first has number 1.
    sessions: Vec<Known>,
    /// Workers and whether the task is under way; the first has number 1.
    tasks: Vec<(u32, bool)>,
    ids: u64,
    lines: String,
}

impl Maker<'_, '_> {
    fn make(&mut self) -> Result<()> {
        let header = self.header()?;
        self.line(&header);
        for _ in 0..EVENTS_MAX {
            if self.ops.input.is_empty() {
                break;
            }
            self.pass()?;
            let event = self.event()?;
            self.line(&event);
        }
        Ok(())
    }

    fn line(&mut self, what: &impl serde::Serialize) {
        self.lines += &serde_json::to_string(what).unwrap();
        self.lines.push('\n');
    }

    /// Lets time go by: not at all, a little, or as good as for ever.
    fn pass(&mut self) -> Result<()> {
        let by_ns = match self.ops.input.int_in_range(0..=15_u8)? {
            0 => 0,
            1 => 10_000_000,
            2 => 5_000_000_000,
            3 => self.ops.input.arbitrary()?,
            few => u64::from(few),
        };
        self.now_ns = self.now_ns.saturating_add(by_ns);
        Ok(())
    }

    fn header(&mut self) -> Result<Header> {
        let offered: u32 = self.ops.input.arbitrary()?;
        let capabilities = Capability::ALL.iter().enumerate();
        let capabilities = capabilities.filter(|(at, _)| offered & (1 << at) != 0);
        Ok(Header {
            history: 1,
            program: "made".into(),
            promise: String::new(),
            seed: 1,
            workers: WORKERS,
            driver: Description {
                protocol: 1,
                name: "made".into(),
                version: String::new(),
                capabilities: capabilities.map(|(_, it)| *it).collect(),
            },
            bounds: Bounds {
                late_ms: self.ops.one_of(&[0, 3000, u64::MAX])?,
                handover_ms: self.ops.one_of(&[0, 5000, u64::MAX])?,
            },
            checks: vec![CheckSpec::LockLiveness {
                dead_holder_ms: self.ops.one_of(&[None, Some(0), Some(u64::MAX)])?,
            }],
            replay: String::new(),
            unix_s: 0.0,
            virtual_time: self.ops.input.arbitrary()?,
        })
    }

    fn event(&mut self) -> Result<Event> {
        let time_ns = self.now_ns;
        Ok(match self.ops.input.int_in_range(0..=15)? {
            0..=4 => return self.invoke(),
            5..=9 => return self.complete(),
            10 => self.session()?,
            11 => {
                let session = self.any_session()?;
                if let Some(known) = self.sessions.get_mut(session as usize - 1) {
                    known.is_over = true;
                }
                let how = [
                    SessionEnd::Closed,
                    SessionEnd::Dropped,
                    SessionEnd::Trapped,
                    SessionEnd::Killed,
                    SessionEnd::Lost,
                    SessionEnd::GivenUp,
                ];
                Event::Over {
                    time_ns,
                    session,
                    how: self.ops.one_of(&how)?,
                }
            }
            12 => return self.task(),
            13 => self.fault()?,
            14 => Event::Resumed {
                time_ns,
                sessions: vec![self.any_session()?],
                pause: self.ops.one_of(&[None, Some(1), Some(2)])?,
            },
            _ => self.seen()?,
        })
    }

    fn any_session(&mut self) -> Result<u64> {
        let last = self.sessions.len().max(1);
        self.ops.input.int_in_range(1..=last as u64)
    }

    fn session(&mut self) -> Result<Event> {
        let worker = self.ops.input.int_in_range(0..=WORKERS - 1)?;
        self.sessions.push(Known {
            worker,
            is_over: false,
            busy: None,
        });
        Ok(Event::Session {
            time_ns: self.now_ns,
            session: self.sessions.len() as u64,
            worker,
            process: self.ops.input.int_in_range(0..=2)?,
            clock_offset_ms: self.ops.one_of(&[0, 0, 1000, i64::MIN, i64::MAX])?,
        })
    }

    fn task(&mut self) -> Result<Event> {
        let time_ns = self.now_ns;
        let worker = self.ops.input.int_in_range(0..=WORKERS - 1)?;
        let mut tasks = self.tasks.iter_mut().zip(1_u64..);
        if let Some((known, task)) = tasks.find(|((of, open), _)| *of == worker && *open) {
            known.1 = false;
            let outcome = match self.ops.input.int_in_range(0..=4)? {
                0 | 1 => TaskOutcome::Done,
                2 => TaskOutcome::Failed("why".into()),
                3 => TaskOutcome::InVain("why".into()),
                _ => TaskOutcome::Late("why".into()),
            };
            return Ok(Event::End {
                time_ns,
                task,
                outcome,
            });
        }
        self.tasks.push((worker, true));
        Ok(Event::Task {
            time_ns,
            task: self.tasks.len() as u64,
            worker,
            step: self.step()?,
        })
    }

    fn step(&mut self) -> Result<Step> {
        let (name, key) = (self.ops.one_of(&NAMES)?, self.ops.one_of(&KEYS)?);
        let amount = self.ops.one_of(&[0, 1, i64::MAX, i64::MIN])?;
        let body = vec![Step::from(self.ops.any()?)];
        Ok(match self.ops.input.int_in_range(0..=8)? {
            0 => Step::Increment {
                name: name.into(),
                key: key.into(),
            },
            1 => Step::Transfer {
                name: name.into(),
                from: key.into(),
                to: KEYS[0].into(),
                amount,
            },
            2 => Step::Withdraw {
                name: name.into(),
                accounts: KEYS.map(str::to_owned).to_vec(),
                amount,
            },
            3 => Step::CompareAndSet {
                name: name.into(),
                key: key.into(),
                expected: json!(amount),
                new: Value::Null,
            },
            4 => Step::locked(self.ops.lock()?, Some(5), body),
            5 => Step::Transaction { body },
            6 => Step::Repeat {
                count: u32::MAX,
                body,
            },
            7 => Step::AwaitWaiting {
                lock: self.ops.lock()?,
                count: 1,
            },
            _ => Step::from(self.ops.any()?),
        })
    }

    fn invoke(&mut self) -> Result<Event> {
        let first = self.any_session()?;
        let mut free = self.sessions.iter().zip(1_u64..);
        let free =
            free.find(|(known, number)| *number >= first && !known.is_over && known.busy.is_none());
        let Some(session) = free.map(|(_, number)| number) else {
            return self.session();
        };
        let op = self.ops.any()?;
        self.ids += self.ops.one_of(&[1, 1, 1, 1000])?;
        let known = &mut self.sessions[session as usize - 1];
        known.busy = Some((self.ids, op.clone()));
        let worker = known.worker;
        let mut tasks = self.tasks.iter().zip(1_u64..);
        let task = tasks.find(|((of, open), _)| *of == worker && *open);
        Ok(Event::Invoke {
            time_ns: self.now_ns,
            id: self.ids,
            session,
            task: task.map(|(_, number)| number),
            op,
        })
    }

    fn complete(&mut self) -> Result<Event> {
        let first = self.any_session()?;
        let sessions = self.sessions.iter_mut().zip(1_u64..);
        let mut busy = sessions.filter(|(_, number)| *number >= first);
        let Some((id, op)) = busy.find_map(|(known, _)| known.busy.take()) else {
            return self.invoke();
        };
        let time_ns = self.now_ns;
        let how = self.ops.input.int_in_range(0..=7)?;
        if how > 1 {
            let value = if how == 2 {
                self.value()?
            } else {
                self.fitting(&op)?
            };
            let commit = [None, None, Some(1), Some(2), Some(3), Some(u64::MAX)];
            return Ok(Event::Ok {
                time_ns,
                id,
                value,
                commit: self.ops.one_of(&commit)?,
            });
        }
        let mut failure = Failure::new(self.ops.one_of(ErrorCode::ALL)?, "");
        failure.definite = how == 0;
        let what = Ended { id, failure };
        let moment = Moment { time_ns, what };
        Ok(if how == 0 {
            Event::Fail(moment)
        } else {
            Event::Info(moment)
        })
    }

    /// An answer that makes sense.
    fn fitting(&mut self, op: &Op) -> Result<Value> {
        let number: u64 = self.ops.input.int_in_range(1..=16)?;
        let item = json!({"value": number, "priority": 0.0});
        Ok(match op {
            Op::DictGet { .. } => self.ops.one_of(&[None, Some(number)])?.into(),
            Op::DictDelete { .. } | Op::BlobDelete { .. } | Op::CollectionDrop { .. } => {
                json!(number.is_multiple_of(2))
            }
            Op::ListItems { .. }
            | Op::LogRead { .. }
            | Op::LogNext { .. }
            | Op::ChannelNext { .. } => {
                let upto: u64 = self.ops.input.int_in_range(0..=4)?;
                (number..number + upto).collect()
            }
            Op::QueueGet { .. } => item,
            Op::QueueGetBatch { count, .. } => (number..)
                .take(*count as usize)
                .map(|value| json!({"value": value, "priority": 0.0}))
                .collect(),
            Op::CollectionGet { .. } => json!({"text": "oak", "version": number}),
            Op::CollectionNeighbors { .. } | Op::CollectionMatch { .. } => {
                KEYS[..number as usize % KEYS.len()].into()
            }
            Op::BlobGet { .. } => json!(number.to_string()),
            Op::LockAcquire { .. } => json!({"token": number}),
            Op::LockWaiting { .. } => json!(number % 3),
            _ => Value::Null,
        })
    }

    /// Any answer.
    fn value(&mut self) -> Result<Value> {
        Ok(match self.ops.input.int_in_range(0..=9)? {
            0 => Value::Null,
            1 => json!(i64::MIN),
            2 => json!(u64::MAX),
            3 => json!(1e300),
            4 => json!("repeat:18446744073709551615:a"),
            5 => json!("torn:9:200*abc,200*xyz"),
            6 => json!([[], {}, null, -1]),
            7 => json!({"value": null, "priority": "high", "token": -1}),
            8 => json!({"token": u64::MAX}),
            _ => json!(true),
        })
    }

    fn fault(&mut self) -> Result<Event> {
        let worker = self.ops.input.int_in_range(0..=WORKERS - 1)?;
        let for_ms = self.ops.one_of(&[0, 10, u64::MAX])?;
        let fault = match self.ops.input.int_in_range(0..=6)? {
            0 => Fault::Kill { worker },
            1 => Fault::Stop { worker, for_ms },
            2 => Fault::Drop { worker },
            3 => Fault::Trap { worker },
            4 => Fault::BusyWriter { for_ms },
            5 => Fault::PowerLoss,
            _ => Fault::ClockJump {
                worker,
                by_ms: self.ops.one_of(&[1, i64::MIN, i64::MAX])?,
            },
        };
        let pause = self.ops.one_of(&[None, Some(1), Some(2)])?;
        let sessions = if self.sessions.is_empty() {
            Vec::new()
        } else {
            vec![self.any_session()?]
        };
        Ok(Event::Fault {
            time_ns: self.now_ns,
            fault,
            sessions,
            pause: pause.filter(|_| fault.is_pause()),
        })
    }

    fn seen(&mut self) -> Result<Event> {
        let what = match self.ops.input.int_in_range(0..=5)? {
            0 => Seen::Waiting {
                lock: self.ops.lock()?,
                count: self.ops.one_of(&[0, 1, u64::MAX])?,
                asked_ns: self.now_ns,
            },
            1 => Seen::IntegrityCheck("ok".into()),
            2 => Seen::Audit("something".into()),
            3 => Seen::GaveUp {
                id: self.ids,
                after_ms: self.ops.one_of(&[0, 10, u64::MAX])?,
            },
            4 => Seen::NotReopened {
                worker: self.ops.input.int_in_range(0..=WORKERS)?,
                message: "no".into(),
            },
            _ => Seen::Note("note\u{1b}[0m</script>".into()),
        };
        let time_ns = self.now_ns;
        Ok(Event::Seen(Moment { time_ns, what }))
    }
}
