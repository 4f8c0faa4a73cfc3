//! Whether sequences can all be parts of one order.
//!
//! What must stay true: linear in the length of all sequences together. Most are parts of the longest one, which
//! a look at the places there shows; only for the others a graph is made of who stands before whom.

use super::streams::{Seen, Stream};

/// Somebody stands before somebody else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// Who stands before,
    pub(super) first: Seen,
    /// and after.
    pub(super) second: Seen,
}

/// A circle of values, each of which stands before the next in some sequence, and the last before
/// the first: if there is one, the sequences contradict each other.
pub(super) fn contradiction(stream: &Stream<'_>) -> Option<Vec<Before>> {
    let longest = longest(stream)?;
    let reference = places(stream, longest);
    let mut apart = Vec::new();
    // Which sequence had a value last: what comes twice is not for us.
    let mut had = vec![usize::MAX; stream.entries.len()];
    for (number, sequence) in stream.sequences.iter().enumerate() {
        if number == longest {
            continue;
        }
        let mut whole = true;
        let mut last: Option<(usize, Seen)> = None;
        for seen in &sequence.seen {
            let Some(place) = reference[seen.entry] else {
                whole = false;
                continue;
            };
            if std::mem::replace(&mut had[seen.entry], number) == number {
                continue;
            }
            if let Some((before, first)) = last
                && place < before
            {
                let found = |place: usize| stream.sequences[longest].seen[place];
                return Some(vec![
                    Before {
                        first,
                        second: *seen,
                    },
                    Before {
                        first: found(place),
                        second: found(before),
                    },
                ]);
            }
            last = Some((place, *seen));
        }
        if !whole {
            apart.push(number);
        }
    }
    if apart.is_empty() {
        return None;
    }
    apart.push(longest);
    circle(stream, &apart)
}

/// The longest sequence.
pub(super) fn longest(stream: &Stream<'_>) -> Option<usize> {
    let all = stream.sequences.iter().enumerate();
    all.max_by_key(|(number, sequence)| (sequence.seen.len(), usize::MAX - number))
        .map(|(number, _)| number)
}

/// Where each value stands in a sequence: the first time.
pub(super) fn places(stream: &Stream<'_>, sequence: usize) -> Vec<Option<usize>> {
    let mut places = vec![None; stream.entries.len()];
    for (place, seen) in stream.sequences[sequence].seen.iter().enumerate() {
        places[seen.entry].get_or_insert(place);
    }
    places
}

/// A circle in the graph of neighbours.
fn circle(stream: &Stream<'_>, sequences: &[usize]) -> Option<Vec<Before>> {
    let mut edges: Vec<Before> = Vec::new();
    let mut had = vec![usize::MAX; stream.entries.len()];
    for number in sequences {
        let mut last: Option<Seen> = None;
        for seen in &stream.sequences[*number].seen {
            if std::mem::replace(&mut had[seen.entry], *number) == *number {
                continue;
            }
            if let Some(first) = last {
                edges.push(Before {
                    first,
                    second: *seen,
                });
            }
            last = Some(*seen);
        }
    }
    edges.sort_unstable_by_key(|edge| (edge.first.entry, edge.second.entry));
    let mut waits_for = vec![0_usize; stream.entries.len()];
    for edge in &edges {
        waits_for[edge.second.entry] += 1;
    }
    let of = |entry: usize| {
        let first = edges.partition_point(|edge| edge.first.entry < entry);
        let end = edges.partition_point(|edge| edge.first.entry <= entry);
        &edges[first..end]
    };
    // Whoever waits for nobody goes; who is left stands in a circle or behind one.
    let mut free: Vec<usize> = (0..waits_for.len())
        .filter(|entry| waits_for[*entry] == 0)
        .collect();
    while let Some(entry) = free.pop() {
        for edge in of(entry) {
            waits_for[edge.second.entry] -= 1;
            if waits_for[edge.second.entry] == 0 {
                free.push(edge.second.entry);
            }
        }
    }
    // Backwards from one of them, always to one that is left, until one comes again.
    let mut before: Vec<Option<Before>> = vec![None; waits_for.len()];
    for edge in edges.iter().filter(|edge| waits_for[edge.first.entry] > 0) {
        before[edge.second.entry] = Some(*edge);
    }
    let start = waits_for.iter().position(|count| *count > 0)?;
    let mut met = vec![false; waits_for.len()];
    let mut entry = start;
    while !std::mem::replace(&mut met[entry], true) {
        entry = before[entry]?.first.entry;
    }
    let end = entry;
    let mut circle = Vec::new();
    loop {
        let edge = before[entry]?;
        circle.push(edge);
        entry = edge.first.entry;
        if entry == end {
            break;
        }
    }
    circle.reverse();
    Some(circle)
}
