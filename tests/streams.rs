//! Logs and channels under clocks that stand still, jump and disagree, with
//! Python's statements in between: what a follower is given is what was
//! committed, in that order, once.
//!
//! Native only, because here the clocks are ours.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_core::rusqlite::{Connection, params};
use beaver_core::{Channel, Database, Error, Log, Options, Runtime, Subscription, Tail};
use beaver_tests::{Files, System};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// A wall clock that moves only when it is told to.
struct Told(Cell<f64>);

impl Runtime for Told {
    fn unix_seconds(&self) -> f64 {
        self.0.get()
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn random(&self) -> u128 {
        7
    }
    fn sleep(&self, _: Duration) {
        panic!("nothing waits here");
    }
    fn explain_cannot_open(&self, _: &str) -> Error {
        Error::NotFound
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Of stream `stream`, through database `of`.
    Add {
        stream: usize,
        of: usize,
    },
    /// To a log only: with a time of its own.
    AddAt {
        stream: usize,
        stamp: u8,
    },
    /// In a transaction that is rolled back.
    AddInVain {
        stream: usize,
    },
    Clear {
        stream: usize,
    },
    /// To a channel only: up to the stamp of the `nth` message.
    Prune {
        stream: usize,
        nth: usize,
    },
    /// Python's statement, with the stamp of now or of a moment ago.
    PythonAdds {
        stream: usize,
        late: bool,
    },
    PythonClears {
        stream: usize,
    },
    Vacuum,
    /// Moves a database's clock.
    Clock {
        of: usize,
        by_s: f64,
    },
    /// From now on, or from after the `nth` row.
    Follow {
        stream: usize,
        of: usize,
        nth: Option<usize>,
    },
    Look {
        follower: usize,
        max: u32,
    },
}

/// Two logs, then two channels.
const STREAMS: [&str; 4] = ["a", "b", "c", "d"];

fn step() -> impl Strategy<Value = Step> {
    let stream = 0..STREAMS.len();
    prop_oneof![
        8 => (stream.clone(), 0..2_usize).prop_map(|(stream, of)| Step::Add { stream, of }),
        3 => (0..2_usize, 0..4_u8).prop_map(|(stream, stamp)| Step::AddAt { stream, stamp }),
        1 => stream.clone().prop_map(|stream| Step::AddInVain { stream }),
        2 => stream.clone().prop_map(|stream| Step::Clear { stream }),
        2 => (2..4_usize, 0..8_usize).prop_map(|(stream, nth)| Step::Prune { stream, nth }),
        4 => (stream.clone(), any::<bool>()).prop_map(|(stream, late)| Step::PythonAdds { stream, late }),
        1 => stream.clone().prop_map(|stream| Step::PythonClears { stream }),
        1 => Just(Step::Vacuum),
        2 => (0..2_usize, prop_oneof![Just(0.000_001), -3600.0..3600.0])
            .prop_map(|(of, by_s)| Step::Clock { of, by_s }),
        3 => (stream, 0..2_usize, prop::option::of(0..8_usize))
            .prop_map(|(stream, of, nth)| Step::Follow { stream, of, nth }),
        8 => (any::<prop::sample::Index>(), 1..5_u32)
            .prop_map(|(follower, max)| Step::Look { follower: follower.index(1000), max }),
    ]
}

enum Stream {
    Log(Log),
    Channel(Channel),
}

enum Following {
    Tail(Tail),
    Subscription(Subscription),
}

impl Following {
    fn look(&mut self, max: u32) -> Vec<String> {
        let page = match self {
            Self::Tail(tail) => tail
                .next_page(max, Some(Duration::ZERO))
                .map(|page| page.into_iter().map(|entry| entry.data).collect()),
            Self::Subscription(subscription) => subscription
                .next_page(max, Some(Duration::ZERO))
                .map(|page| page.into_iter().map(|message| message.payload).collect()),
        };
        match page {
            Ok(page) => page,
            Err(Error::Timeout) => Vec::new(),
            Err(error) => panic!("{error}"),
        }
    }
}

struct Follower {
    stream: usize,
    following: Following,
    /// What was committed and not given yet.
    due: VecDeque<String>,
}

struct Run {
    clocks: [Rc<Told>; 2],
    databases: Vec<Database>,
    streams: Vec<Vec<Stream>>,
    python: Connection,
    /// Python's clock, which always goes on.
    python_now: f64,
    /// What is there, in the order of the commits.
    rows: [Vec<(f64, String)>; 4],
    followers: Vec<Follower>,
    count: u32,
}

impl Run {
    fn new(files: &Files) -> Self {
        let clocks = [0, 1].map(|_| Rc::new(Told(Cell::new(1.7e9))));
        let databases: Vec<Database> = clocks
            .iter()
            .map(|clock| {
                let runtime: Rc<dyn Runtime> = Rc::<Told>::clone(clock);
                let path = files.database();
                Database::open_with(path.to_str().unwrap(), &Options::default(), runtime).unwrap()
            })
            .collect();
        let streams = databases
            .iter()
            .map(|db| {
                let stream = |(place, name)| match place {
                    0 | 1 => Stream::Log(db.log(name).unwrap()),
                    _ => Stream::Channel(db.channel(name).unwrap()),
                };
                STREAMS.into_iter().enumerate().map(stream).collect()
            })
            .collect();
        Self {
            clocks,
            databases,
            streams,
            python: Connection::open(files.database()).unwrap(),
            python_now: 1.7e9,
            rows: [const { Vec::new() }; 4],
            followers: Vec::new(),
            count: 0,
        }
    }

    fn data(&mut self) -> String {
        self.count += 1;
        self.count.to_string()
    }

    fn committed(&mut self, stream: usize, stamp: f64, data: String) {
        assert!(
            self.rows[stream].iter().all(|row| row.0 != stamp),
            "a stamp twice"
        );
        for follower in &mut self.followers {
            if follower.stream == stream {
                follower.due.push_back(data.clone());
            }
        }
        self.rows[stream].push((stamp, data));
    }

    /// What is no longer there is no longer due.
    fn removed(&mut self, stream: usize, before: f64) {
        let (gone, left) = self.rows[stream].drain(..).partition(|row| row.0 < before);
        self.rows[stream] = left;
        let gone: Vec<(f64, String)> = gone;
        let gone: HashSet<String> = gone.into_iter().map(|row| row.1).collect();
        for follower in &mut self.followers {
            follower.due.retain(|data| !gone.contains(data));
        }
    }

    fn step(&mut self, step: Step) {
        self.python_now += 0.001_37;
        match step {
            Step::Add { stream, of } => {
                let (data, now) = (self.data(), self.clocks[of].0.get());
                match &self.streams[of][stream] {
                    Stream::Log(log) => {
                        let stamp = log.append(&data, None).unwrap();
                        let before = |row: &&(f64, String)| row.0 <= now + 86_400.0;
                        assert!(
                            self.rows[stream]
                                .iter()
                                .filter(before)
                                .all(|row| row.0 < stamp)
                        );
                        self.committed(stream, stamp, data);
                    }
                    Stream::Channel(channel) => {
                        let stamp = channel.publish(&data).unwrap();
                        let messages = self.rows[2..].iter().flatten();
                        assert!(
                            stamp >= now && messages.map(|row| row.0).all(|other| other < stamp)
                        );
                        self.committed(stream, stamp, data);
                    }
                }
            }
            Step::AddAt { stream, stamp } => {
                let (data, wanted) = (self.data(), 1.7e9 - 50.0 + 25.0 * f64::from(stamp));
                let Stream::Log(log) = &self.streams[0][stream] else {
                    return;
                };
                let stamp = log.append(&data, Some(wanted)).unwrap();
                assert!(stamp >= wanted && stamp < wanted + 0.001);
                self.committed(stream, stamp, data);
            }
            Step::AddInVain { stream } => {
                let transaction = self.databases[0].begin().unwrap();
                match &self.streams[0][stream] {
                    Stream::Log(log) => log.append("0", None).unwrap(),
                    Stream::Channel(channel) => channel.publish("0").unwrap(),
                };
                transaction.rollback().unwrap();
            }
            Step::Clear { stream } => {
                let there = self.rows[stream].len();
                let removed = match &self.streams[1][stream] {
                    Stream::Log(log) => log.clear().unwrap(),
                    Stream::Channel(channel) => channel.clear().unwrap(),
                };
                assert_eq!(removed, there as u64);
                self.removed(stream, f64::INFINITY);
            }
            Step::Prune { stream, nth } => {
                let Some(before) = self.rows[stream].get(nth).map(|row| row.0) else {
                    return;
                };
                let old = self.rows[stream]
                    .iter()
                    .filter(|row| row.0 < before)
                    .count();
                let Stream::Channel(channel) = &self.streams[0][stream] else {
                    return;
                };
                assert_eq!(channel.prune(before).unwrap(), old as u64);
                self.removed(stream, before);
            }
            Step::PythonAdds { stream, late } => {
                let data = self.data();
                let stamp = self.python_now - if late { 0.001 } else { 0.0 };
                let sql = match stream {
                    0 | 1 => {
                        "INSERT INTO beaver_logs (timestamp, log_name, data) VALUES (?1, ?2, ?3)"
                    }
                    _ => {
                        "INSERT INTO beaver_pubsub_log (timestamp, channel_name, message_payload) VALUES (?1, ?2, ?3)"
                    }
                };
                // Python fails too when another has the stamp.
                if self
                    .python
                    .execute(sql, params![stamp, STREAMS[stream], data])
                    .is_ok()
                {
                    self.committed(stream, stamp, data);
                }
            }
            Step::PythonClears { stream } => {
                let sql = match stream {
                    0 | 1 => "DELETE FROM beaver_logs WHERE log_name = ?1",
                    _ => "DELETE FROM beaver_pubsub_log WHERE channel_name = ?1",
                };
                self.python.execute(sql, [STREAMS[stream]]).unwrap();
                self.removed(stream, f64::INFINITY);
            }
            Step::Vacuum => self.python.execute_batch("VACUUM").unwrap(),
            Step::Clock { of, by_s } => {
                let clock = &self.clocks[of].0;
                clock.set(clock.get() + by_s);
            }
            Step::Follow { stream, of, nth } => {
                let after = nth
                    .and_then(|nth| self.rows[stream].get(nth))
                    .map(|row| row.0);
                let later = |row: &&(f64, String)| after.is_some_and(|after| row.0 > after);
                let due = self.rows[stream]
                    .iter()
                    .filter(later)
                    .map(|row| row.1.clone())
                    .collect();
                let following = match &self.streams[of][stream] {
                    Stream::Log(log) => Following::Tail(log.tail(after).unwrap()),
                    Stream::Channel(channel) => {
                        Following::Subscription(channel.subscribe(after).unwrap())
                    }
                };
                self.followers.push(Follower {
                    stream,
                    following,
                    due,
                });
            }
            Step::Look { follower, max } => {
                let count = self.followers.len();
                if count > 0 {
                    self.look(follower % count, max);
                }
            }
        }
    }

    fn look(&mut self, follower: usize, max: u32) {
        let follower = &mut self.followers[follower];
        let count = follower.due.len().min(max as usize);
        let due: Vec<String> = follower.due.drain(..count).collect();
        assert_eq!(follower.following.look(max), due);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn followers_are_given_what_was_committed(steps in prop::collection::vec(step(), 1..120)) {
        let files = Files::new(System::Native);
        let mut run = Run::new(&files);
        for step in steps {
            run.step(step);
        }
        for follower in 0..run.followers.len() {
            run.look(follower, 1000);
            run.look(follower, 1000);
        }
    }
}
