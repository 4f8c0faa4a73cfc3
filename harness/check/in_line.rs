//! Who certainly stood in the line of a lock, and since when.
//!
//! That a request was invoked says nothing of its place: it may be on its way for long. But
//! who counts as many in the line as can possibly be there knows that all of them are.

use super::holds::{Line, Locks};
use crate::history::{History, Operation, Outcome, Seen};
use crate::protocol::{LockName, Op};
use std::collections::HashMap;

/// A count of a line that is larger than it can have been long.
#[derive(Debug)]
pub(super) struct TooMany<'h> {
    pub(super) lock: &'h LockName,
    /// How many were counted, at some moment between the two.
    pub(super) count: u64,
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    /// All that may have stood there then, by number.
    pub(super) possible: Vec<u64>,
}

/// A count of nobody in a line that somebody certainly stood in.
#[derive(Debug)]
pub(super) struct TooFew<'h> {
    pub(super) lock: &'h LockName,
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    /// Whose acquire it was.
    pub(super) holder: u64,
}

/// So many stood in a line at some moment between the two.
#[derive(Debug)]
struct Count {
    count: u64,
    from_ns: u64,
    to_ns: u64,
}

/// Who looked at the lines when.
#[derive(Debug)]
pub(super) struct Watch<'h> {
    /// By lock, in the order of their ends.
    counts: HashMap<&'h LockName, Vec<Count>>,
    left: Left,
}

impl<'h> Watch<'h> {
    pub(super) fn new(history: &'h History) -> Self {
        let mut counts: HashMap<&LockName, Vec<Count>> = HashMap::new();
        for (lock, count) in all_counts(history) {
            counts.entry(lock).or_default().push(count);
        }
        for counts in counts.values_mut() {
            counts.sort_by_key(|count| count.to_ns);
        }
        Self {
            counts,
            left: Left::new(history),
        }
    }

    /// Each request of a line that certainly stood in it, by its number, and by when.
    pub(super) fn in_line(&self, locks: &Locks<'_>, line: &Line<'_>) -> HashMap<u64, u64> {
        let mut since = HashMap::new();
        if let Some(counts) = self.counts.get(line.lock) {
            each(
                counts,
                places(locks, line, &self.left),
                |count, possible| {
                    if possible.len() as u64 == count.count {
                        for operation in possible {
                            since.entry(operation).or_insert(count.to_ns);
                        }
                    }
                },
            );
        }
        since
    }

    /// The counts that can't be right, of each line the first.
    pub(super) fn too_many(&self, locks: &Locks<'h>) -> Vec<TooMany<'h>> {
        let lines: HashMap<_, _> = locks.lines.iter().map(|line| (line.lock, line)).collect();
        let mut all = Vec::new();
        for (lock, counts) in &self.counts {
            let places = lines.get(lock).map(|line| places(locks, line, &self.left));
            let mut first = None;
            each(counts, places.unwrap_or_default(), |count, possible| {
                if first.is_none() && (possible.len() as u64) < count.count {
                    first = Some(TooMany {
                        lock,
                        count: count.count,
                        from_ns: count.from_ns,
                        to_ns: count.to_ns,
                        possible,
                    });
                }
            });
            all.extend(first);
        }
        all.sort_by_key(|wrong| wrong.to_ns);
        all
    }

    /// The counts of nobody while somebody certainly held the lock, of each line the first.
    pub(super) fn too_few(&self, locks: &Locks<'h>) -> Vec<TooFew<'h>> {
        let mut all = Vec::new();
        for line in &locks.lines {
            let mut spans: Vec<_> = line
                .holds
                .iter()
                .flat_map(|hold| hold.certain.iter().map(|span| (*span, hold.acquire.id)))
                .collect();
            spans.sort_unstable();
            let counts = self.counts.get(line.lock).into_iter().flatten();
            all.extend(counts.filter(|count| count.count == 0).find_map(|count| {
                let before = spans.partition_point(|((from, _), _)| *from < count.from_ns);
                let ((_, to), holder) = *spans[..before].last()?;
                (to > count.to_ns).then_some(TooFew {
                    lock: line.lock,
                    from_ns: count.from_ns,
                    to_ns: count.to_ns,
                    holder,
                })
            }));
        }
        all.sort_by_key(|wrong| wrong.to_ns);
        all
    }

    /// How many counts there are.
    pub(super) fn counts(&self) -> u64 {
        self.counts.values().map(|counts| counts.len() as u64).sum()
    }
}

/// Each count, with all that may have stood in the line then.
fn each(counts: &[Count], places: Vec<Place>, mut visit: impl FnMut(&Count, Vec<u64>)) {
    // From each count on: the earliest moment that it or a later one is about.
    let mut earliest = vec![u64::MAX; counts.len() + 1];
    for (at, count) in counts.iter().enumerate().rev() {
        earliest[at] = earliest[at + 1].min(count.from_ns);
    }
    let mut places = places.into_iter().peekable();
    let mut present: Vec<Place> = Vec::new();
    for (at, count) in counts.iter().enumerate() {
        while let Some(place) = places.next_if(|place| place.from_ns <= count.to_ns) {
            present.push(place);
        }
        present.retain(|place| place.to_ns >= earliest[at]);
        let possible = present.iter().filter(|place| place.to_ns >= count.from_ns);
        visit(count, possible.map(|place| place.operation).collect());
    }
}

fn all_counts(history: &History) -> impl Iterator<Item = (&LockName, Count)> {
    let seen = history.observations.iter().filter_map(|it| match &it.seen {
        Seen::Waiting {
            lock,
            count,
            asked_ns,
        } => {
            let count = Count {
                count: *count,
                from_ns: *asked_ns,
                to_ns: it.at_ns,
            };
            Some((lock, count))
        }
        _ => None,
    });
    let asked = history.operations.iter().filter_map(|operation| {
        let Op::LockWaiting { lock } = &operation.op else {
            return None;
        };
        let count = Count {
            count: operation.ok()?.as_u64()?,
            from_ns: operation.invoked_ns,
            to_ns: operation.completed_ns?,
        };
        Some((lock, count))
    });
    seen.chain(asked)
}

/// Something that may have stood in the line from then to then.
struct Place {
    operation: u64,
    from_ns: u64,
    to_ns: u64,
}

/// All that may ever have stood in the line, in the order of its coming.
fn places(locks: &Locks<'_>, line: &Line<'_>, left: &Left) -> Vec<Place> {
    let granted = line.holds.iter().enumerate().map(|(at, hold)| {
        // That its time has passed doesn't remove it: whoever wants the lock does.
        let mut later = line.holds[at + 1..].iter();
        let next = later.find(|next| next.after > at);
        let next_ns = next.map_or(u64::MAX, |next| next.answered_ns);
        // Nor does it that its holder was told so.
        let given_back_ns = hold.told.map_or(hold.ended_ns, |_| u64::MAX);
        (hold.acquire.id, given_back_ns.min(next_ns))
    });
    let granted: HashMap<u64, u64> = granted.collect();
    // Writes without the lock wait in its line.
    let writes = line.writes.iter().map(|write| write.operation);
    let all = line.requests.iter().copied().chain(writes);
    let place = |operation: &Operation| {
        let closed = locks.lives.get(operation.session).closed_ns();
        let to_ns = match (&operation.outcome, granted.get(&operation.id)) {
            (_, Some(over)) => (*over).min(closed),
            (Outcome::Ok { .. }, None) => operation.latest_ns().min(closed),
            // Who closes may be too busy to delete it, too.
            (Outcome::Fail(_), None) => left.of(operation),
            (Outcome::Info(_), None) => closed,
        };
        Place {
            operation: operation.id,
            from_ns: operation.invoked_ns,
            to_ns,
        }
    };
    let mut places: Vec<Place> = all.map(place).collect();
    places.sort_by_key(|place| place.from_ns);
    places
}

/// By when what failed has certainly left: not before its session does something else with
/// success, because a system that is too busy to delete a row may put it off until then.
#[derive(Debug)]
struct Left(HashMap<u64, u64>);

impl Left {
    fn new(history: &History) -> Self {
        let mut failed: HashMap<u64, Vec<u64>> = HashMap::new();
        let mut left = HashMap::new();
        for operation in &history.operations {
            match &operation.outcome {
                Outcome::Ok { .. } => {
                    for id in failed.remove(&operation.session).unwrap_or_default() {
                        left.insert(id, operation.latest_ns());
                    }
                }
                Outcome::Fail(_) => failed
                    .entry(operation.session)
                    .or_default()
                    .push(operation.id),
                Outcome::Info(_) => {}
            }
        }
        Self(left)
    }

    fn of(&self, operation: &Operation) -> u64 {
        self.0.get(&operation.id).copied().unwrap_or(u64::MAX)
    }
}
