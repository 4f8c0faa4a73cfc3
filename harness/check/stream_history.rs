//! Correct concurrent histories of a log with readers and followers, for the tests of checks.
//!
//! What must stay true: a correct log could have made each history that is made here.

use super::CheckSpec;
use super::effects::Fate;
use super::script::Script;
use super::streams::{Stream, log_role};
use crate::history::SessionEnd;
use crate::protocol::{ErrorCode, Op};
use proptest::prelude::*;
use serde_json::Value;

/// Appends to log `l`.
pub(crate) fn append(value: impl Into<Value>) -> Op {
    Op::LogAppend {
        name: "l".into(),
        value: value.into(),
    }
}

/// Reads log `l`.
pub(crate) fn read() -> Op {
    Op::LogRead { name: "l".into() }
}

/// Follows log `l`.
pub(crate) fn follow() -> Op {
    Op::LogFollow { name: "l".into() }
}

/// The next of log `l`.
pub(crate) fn next() -> Op {
    Op::LogNext {
        name: "l".into(),
        timeout_ms: Some(5),
    }
}

/// What happens next in a simulation.
#[derive(Clone, Copy, Debug)]
enum Act {
    Append {
        writer: u8,
        answered: bool,
        happened: bool,
    },
    Read,
    Next {
        follower: u8,
        most: u8,
    },
    /// A follower dies, while it is delivered something or not, and another follows.
    Die {
        follower: u8,
        delivered: bool,
    },
}

/// One act, and how wide its interval is, before and after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    act: Act,
    before: u8,
    after: u8,
}

/// Moves of a simulation.
pub(crate) fn moves() -> impl Strategy<Value = Vec<Move>> {
    let act = prop_oneof![
        10 => (0_u8..3).prop_map(|writer| Act::Append { writer, answered: true, happened: true }),
        1 => (0_u8..3, any::<bool>()).prop_map(|(writer, happened)| Act::Append {
            writer,
            answered: false,
            happened,
        }),
        2 => Just(Act::Read),
        6 => (0_u8..3, 1_u8..4).prop_map(|(follower, most)| Act::Next { follower, most }),
        1 => (0_u8..3, any::<bool>()).prop_map(|(follower, delivered)| Act::Die { follower, delivered }),
    ];
    let one = (act, any::<u8>(), any::<u8>());
    let one = one.prop_map(|(act, before, after)| Move { act, before, after });
    prop::collection::vec(one, 1..60)
}

/// How far apart the moments are at which acts take effect, and how much wider an interval is at
/// most, on each side.
const PACE: u64 = 100;
const SPREAD: u64 = 4;

/// An operation to be written down: who, from, to, what, and the answer.
type Line = (usize, u64, u64, Op, Answer);

enum Answer {
    Ok(Value),
    Timeout,
    None,
}

struct Simulation {
    lines: Vec<Line>,
    /// Until when each session is busy.
    free_at: Vec<u64>,
    log: Vec<u64>,
    values: u64,
}

impl Simulation {
    fn session(&mut self) -> usize {
        self.free_at.push(0);
        self.free_at.len() - 1
    }

    /// Somebody who is free at `at`: the one that is asked for, or a new one.
    fn free(&mut self, lanes: &mut [usize], lane: usize, at: u64) -> usize {
        if self.free_at[lanes[lane]] >= at {
            lanes[lane] = self.session();
        }
        lanes[lane]
    }

    fn write(&mut self, who: usize, at: u64, wide: (u8, u8), op: Op, answer: Answer) {
        let before = u64::from(wide.0) * SPREAD * PACE / 256;
        let from = at - before.min(at - self.free_at[who] - 1);
        let to = at + u64::from(wide.1) * SPREAD * PACE / 256;
        self.free_at[who] = to;
        self.lines.push((who, from, to, op, answer));
    }

    /// What a follower that has had `had` values is delivered.
    fn delivered(&self, had: &mut usize, most: usize) -> Answer {
        let rest = &self.log[*had..];
        let some = &rest[..rest.len().min(most)];
        *had += some.len();
        if some.is_empty() {
            Answer::Timeout
        } else {
            Answer::Ok(some.to_vec().into())
        }
    }
}

/// Simulates the moves, lets followers have the rest, reads all, and writes it down to be judged by
/// `check`.
pub(crate) fn simulate(check: CheckSpec, moves: &[Move]) -> Script {
    let mut all = Simulation {
        lines: Vec::new(),
        free_at: Vec::new(),
        log: Vec::new(),
        values: 0,
    };
    let mut writers: Vec<usize> = (0..3).map(|_| all.session()).collect();
    let mut readers = vec![all.session()];
    // Who follows, and how much it has had.
    let mut followers = Vec::new();
    for number in 0..3 {
        let who = all.session();
        all.write(
            who,
            10 * (number + 1),
            (0, 0),
            follow(),
            Answer::Ok(Value::Null),
        );
        followers.push((who, 0));
    }
    for (number, Move { act, before, after }) in moves.iter().enumerate() {
        let at = (number as u64 + 1) * PACE;
        let wide = (*before, *after);
        match *act {
            Act::Append {
                writer,
                answered,
                happened,
            } => {
                let who = all.free(&mut writers, usize::from(writer), at);
                all.values += 1;
                let value = all.values;
                if happened {
                    all.log.push(value);
                }
                if answered {
                    all.write(who, at, wide, append(value), Answer::Ok(Value::Null));
                } else {
                    all.write(who, at, wide, append(value), Answer::None);
                    writers[usize::from(writer)] = all.session();
                }
            }
            Act::Read => {
                let who = all.free(&mut readers, 0, at);
                let answer = Answer::Ok(all.log.clone().into());
                all.write(who, at, wide, read(), answer);
            }
            Act::Next { follower, most } => {
                let (who, mut had) = followers[usize::from(follower)];
                // Whoever is busy is left alone.
                if all.free_at[who] < at {
                    let answer = all.delivered(&mut had, usize::from(most));
                    followers[usize::from(follower)].1 = had;
                    all.write(who, at, wide, next(), answer);
                }
            }
            Act::Die {
                follower,
                delivered,
            } => {
                let (who, mut had) = followers[usize::from(follower)];
                if all.free_at[who] < at {
                    if delivered {
                        all.delivered(&mut had, 2);
                    }
                    all.write(who, at, wide, next(), Answer::None);
                    let who = all.session();
                    let had = all.log.len();
                    all.write(who, at, wide, follow(), Answer::Ok(Value::Null));
                    followers[usize::from(follower)] = (who, had);
                }
            }
        }
    }
    let mut at = (moves.len() as u64 + 2 * SPREAD) * PACE;
    for (who, mut had) in followers {
        for _ in 0..2 {
            let answer = all.delivered(&mut had, usize::MAX);
            at += 10;
            all.write(who, at, (0, 0), next(), answer);
        }
        at += 10;
        let last = all.delivered(&mut had, usize::MAX);
        all.write(who, at, (0, 0), next(), last);
    }
    let who = all.session();
    let answer = Answer::Ok(all.log.clone().into());
    all.write(who, at + 10, (0, 0), read(), answer);
    write_down(check, all)
}

fn write_down(check: CheckSpec, mut all: Simulation) -> Script {
    let mut script = Script::new(check);
    let sessions = 0..all.free_at.len();
    let sessions: Vec<u64> = sessions.map(|who| script.session(who as u32, 0)).collect();
    all.lines.sort_by_key(|line| line.1);
    for (who, from, to, op, answer) in all.lines {
        let session = sessions[who];
        match answer {
            Answer::Ok(value) => {
                script.ok(session, from, to, op, value);
            }
            Answer::Timeout => {
                script.fail(session, from, to, op, ErrorCode::Timeout);
            }
            Answer::None => {
                script.info(session, from, None, op);
                script.over(session, to, SessionEnd::Killed);
            }
        }
    }
    script
}

/// Values that are certainly lost if they are taken out of the answer of an operation: by its
/// place in the history, and by theirs in the answer. (What is only seen once and not known to
/// have been appended before may be taken out without a trace.)
pub(crate) fn certain_losses(script: &Script) -> Vec<(usize, usize)> {
    let history = &script.history;
    let stream = Stream::of(history, |op| log_role(op, "l"));
    let mut losses = Vec::new();
    for sequence in &stream.sequences {
        for (number, seen) in sequence.seen.iter().enumerate() {
            let Some((_, effect)) = stream.entries[seen.entry].append() else {
                continue;
            };
            let certain = effect.fate == Fate::Done
                && match &sequence.parts {
                    None => effect.to_ns < sequence.from_ns,
                    Some(parts) => {
                        let last = parts.last().and_then(|part| part.nothing_more);
                        let ended = last.is_some_and(|(asked, _)| effect.to_ns < asked);
                        parts.len() == 1 && ended && effect.from_ns > sequence.to_ns
                    }
                };
            if certain {
                let before = sequence.seen[..number].iter();
                let place = before.filter(|other| other.at == seen.at).count();
                losses.push((seen.at, place));
            }
        }
    }
    losses
}
