//! What readers lack and followers missed: the losses among what [`delivery`](super::delivery) says.

use super::Findings;
use super::delivery::Judge;
use super::one_order::{longest, places};
use super::queue_items::shown;
use super::streams::{Part, Sequence};

impl Judge<'_, '_> {
    /// A reading has all that was certainly there when it began.
    pub(super) fn readings_are_whole(&self, findings: &mut Findings) {
        let readings = || {
            self.stream
                .sequences
                .iter()
                .filter(|sequence| sequence.parts.is_none())
        };
        if readings().next().is_none() {
            return;
        }
        // Since when each is certainly there, and by which operation.
        let entries = self.stream.entries.iter();
        let appended = entries.map(|entry| {
            let (at, effect) = entry.append()?;
            entry.done().map(|_| (effect.to_ns, at))
        });
        let mut since: Vec<Option<(u64, usize)>> = appended.collect();
        for sequence in &self.stream.sequences {
            for seen in &sequence.seen {
                let end = match sequence.parts {
                    None => sequence.to_ns,
                    Some(_) => self.operation(seen.at).latest_ns(),
                };
                let known = &mut since[seen.entry];
                if known.is_none_or(|(known, _)| end < known) {
                    *known = Some((end, seen.at));
                }
            }
        }
        let known = since.iter().enumerate();
        let known = known.filter_map(|(entry, since)| since.map(|(at_ns, at)| (at_ns, entry, at)));
        let mut known: Vec<_> = known.collect();
        known.sort_unstable();
        let mut had = vec![usize::MAX; since.len()];
        for (number, reading) in readings().enumerate() {
            let must = known.partition_point(|(at_ns, _, _)| *at_ns < reading.from_ns);
            let mut has = 0;
            for seen in &reading.seen {
                let there = since[seen.entry].is_some_and(|(at_ns, _)| at_ns < reading.from_ns);
                if there && std::mem::replace(&mut had[seen.entry], number) != number {
                    has += 1;
                }
            }
            if has == must {
                continue;
            }
            let missing = known[..must].iter();
            let mut missing = missing.filter(|(_, entry, _)| had[*entry] != number);
            let Some((_, entry, at)) = missing.next() else {
                continue;
            };
            let (entry, by) = (&self.stream.entries[*entry], self.operation(*at));
            let what = if by.ok().is_some_and(serde_json::Value::is_array) {
                format!("worker {} had seen it before", by.worker)
            } else {
                format!("worker {} had {} it before", by.worker, self.words.appended)
            };
            let (value, more) = (shown(entry.value), and_more(must - has));
            findings.violation(
                format!("{} lacks {value}{more}: {what}", self.who(reading)),
                [by.id, self.operation(reading.at).id],
            );
        }
        let last = readings().map(|reading| reading.from_ns).max().unwrap_or(0);
        let entries = self.stream.entries.iter();
        let unread =
            entries.filter(|entry| entry.done().is_some_and(|effect| effect.to_ns >= last));
        let unread = unread.count();
        if unread > 0 {
            findings.unknown(format!(
                "{unread} values were {} to {} after the last reading",
                self.words.appended, self.words.stream
            ));
        }
    }

    /// A follower is delivered nothing that was there before, and everything between two values, or
    /// before there was nothing more.
    pub(super) fn followers_miss_nothing(&self, findings: &mut Findings) {
        // Values by the beginnings of their appends, and by their places in the longest sequence.
        let entries = self.stream.entries.iter().enumerate();
        let done = entries.filter_map(|(entry, known)| Some((known.done()?.from_ns, entry)));
        let mut by_beginning: Vec<(u64, usize)> = done.collect();
        by_beginning.sort_unstable();
        let longest = longest(self.stream);
        let reference = longest.map_or_else(Vec::new, |longest| places(self.stream, longest));
        let order = longest.map_or(&[][..], |longest| &self.stream.sequences[longest].seen);
        let mut had = vec![usize::MAX; self.stream.entries.len()];
        for (number, sequence) in self.stream.sequences.iter().enumerate() {
            let Some(parts) = &sequence.parts else {
                continue;
            };
            self.nothing_old(sequence, findings);
            for seen in &sequence.seen {
                had[seen.entry] = number;
            }
            for (count, part) in parts.iter().enumerate() {
                let seen = &sequence.seen[part.first..part.end];
                let effects = || seen.iter().filter_map(|seen| self.entry(seen).append());
                let follows = (count == 0).then_some(sequence.to_ns);
                let first = effects()
                    .map(|(_, effect)| effect.to_ns)
                    .chain(follows)
                    .min();
                let last = effects().map(|(_, effect)| effect.from_ns);
                let last = last.chain(part.nothing_more.map(|(asked, _)| asked)).max();
                let (Some(first), Some(last)) = (first, last) else {
                    continue;
                };
                let mut missing = Vec::new();
                let begin = by_beginning.partition_point(|(from_ns, _)| *from_ns <= first);
                for (from_ns, entry) in &by_beginning[begin..] {
                    if *from_ns >= last {
                        break;
                    }
                    let known = &self.stream.entries[*entry];
                    if had[*entry] != number && known.done().is_some_and(|done| done.to_ns < last) {
                        missing.push(*entry);
                    }
                }
                let stand = seen.iter().filter_map(|seen| reference[seen.entry]);
                let least = stand.clone().min();
                let most = stand.max();
                if let (Some(least), Some(most)) = (least, most) {
                    let asked = part.nothing_more.map_or(0, |(asked, _)| asked);
                    let end = if asked > 0 { order.len() } else { most };
                    let after = order.iter().enumerate().take(end).skip(least);
                    let lost = after.filter(|(place, seen)| {
                        let done = self.stream.entries[seen.entry].done();
                        let before = *place < most || done.is_some_and(|done| done.to_ns < asked);
                        before && had[seen.entry] != number && self.entry(seen).append().is_some()
                    });
                    missing.extend(lost.map(|(_, seen)| seen.entry));
                }
                missing.sort_unstable();
                missing.dedup();
                self.report_missing(sequence, part, &missing, findings);
            }
        }
    }

    /// What was there before somebody followed is not delivered.
    fn nothing_old(&self, sequence: &Sequence, findings: &mut Findings) {
        let old = sequence.seen.iter().find(|seen| {
            let done = self.entry(seen).done();
            done.is_some_and(|done| done.to_ns < sequence.from_ns)
        });
        if let Some(seen) = old
            && let Some((append, _)) = self.entry(seen).append()
        {
            findings.violation(
                format!(
                    "{} was delivered {}, which had been {} before it followed",
                    self.who(sequence),
                    self.value(seen),
                    self.words.appended
                ),
                [append, sequence.at, seen.at].map(|at| self.operation(at).id),
            );
        }
    }

    fn report_missing(
        &self,
        sequence: &Sequence,
        part: &Part,
        missing: &[usize],
        findings: &mut Findings,
    ) {
        let example = missing.iter().find_map(|entry| {
            let entry = &self.stream.entries[*entry];
            entry.append().map(|(at, _)| (shown(entry.value), at))
        });
        let Some((value, append)) = example else {
            return;
        };
        let append = self.operation(append);
        let seen = &sequence.seen[part.first..part.end];
        let mut ids = vec![self.operation(sequence.at).id, append.id];
        ids.extend(seen.first().map(|seen| self.operation(seen.at).id));
        let end = match part.nothing_more {
            Some((_, at)) => Some(at),
            None => seen.last().map(|seen| seen.at),
        };
        ids.extend(end.map(|at| self.operation(at).id));
        ids.dedup();
        findings.violation(
            format!(
                "{} was never delivered {value}{}, {} by worker {}",
                self.who(sequence),
                and_more(missing.len()),
                self.words.appended,
                append.worker
            ),
            ids,
        );
    }
}

/// How many there are beside the one that is shown.
fn and_more(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    }
}
