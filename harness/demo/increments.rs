//! Case 1, atomic read-modify-write: everybody adds one to the same number
//! under its dictionary's lock.
//!
//! The check: the number in the file, read by native SQLite, equals the number
//! of increments that were acknowledged; and no two increments wrote the same
//! value, which says *which* update was lost when one was.
//!
//! What must stay true of the work: get and set are separate calls, so that
//! only the lock makes them one.

use crate::Stage;
use crate::processes::Tick;
use crate::protocol::{IncrementsRecord, Order, Report};
use crate::store::{Failure, Store};
use crate::table::{Row, histogram};
use crate::verdict::{Verdict, Who, by_kind, kinds_text};
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) const UNIT: &str = "increments";
const CASE: &str = "atomic read-modify-write";
pub(crate) const DICT: &str = "counter";
pub(crate) const KEY: &str = "n";

/// How long a worker waits for its turn before it counts a timeout and asks again.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the last round may take after `Stop`.
const STOP_MAX: Duration = Duration::from_secs(90);

/// A worker's part.
pub(crate) async fn work<S: Store>(
    store: &mut S,
    dict: &str,
    key: &str,
    timeout: Duration,
    stop: &AtomicBool,
) -> IncrementsRecord {
    let mut record = IncrementsRecord::default();
    let dict = match store.dict(dict).await {
        Ok(dict) => dict,
        Err(failure) => {
            record
                .errors
                .push(format!("opening the dictionary: {failure}"));
            return record;
        }
    };
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        match store.dict_acquire(&dict, timeout).await {
            Ok(()) => record.wait_us.push(micros(asked.elapsed())),
            Err(Failure::Timeout) => {
                record.timeouts += 1;
                continue;
            }
            Err(failure) => {
                record.errors.push(format!("acquire: {failure}"));
                break;
            }
        }
        let result = increment(store, &dict, key).await;
        let released = store.dict_release(&dict).await;
        match result {
            Ok(value) => record.written.push(value),
            Err(failure) => {
                record.unknown += u64::from(failure.is_unknown());
                record.errors.push(failure.to_string());
                break;
            }
        }
        if let Err(failure) = released {
            record.errors.push(format!("release: {failure}"));
            break;
        }
        // Fair to the other workers of this thread even if nothing ever waits.
        tokio::task::yield_now().await;
    }
    record
}

async fn increment<S: Store>(
    store: &mut S,
    dict: &S::Dict,
    key: &str,
) -> std::result::Result<u64, Failure> {
    let text = store.dict_get(dict, key).await?;
    let text = text.as_deref().unwrap_or("0");
    let value: u64 = text.parse().map_err(|_| Failure::Other {
        message: format!("the counter holds {text}, which is no count"),
        unknown: false,
    })?;
    store.dict_set(dict, key, &(value + 1).to_string()).await?;
    Ok(value + 1)
}

/// The demo's part.
pub(crate) fn run(stage: &mut Stage, duration: Duration) -> Result<Row> {
    let Stage {
        crew,
        observer,
        progress,
    } = stage;
    progress.phase("everybody increments one number under its lock");
    let workers = crew.workers();
    let started = Instant::now();
    for &worker in &workers {
        crew.order(
            worker,
            Order::Increments {
                dict: DICT.into(),
                key: KEY.into(),
                timeout_ms: LOCK_TIMEOUT.as_millis() as u64,
            },
        )?;
    }
    let records = crew.collect(
        workers.len(),
        duration + STOP_MAX,
        |report| match report {
            Report::Increments(record) => Ok(record),
            other => Err(other),
        },
        |_| {
            let count = observer.dict_number(DICT, KEY)?.unwrap_or(0);
            progress.update(&format!("{count} increments"));
            Ok(if started.elapsed() >= duration {
                Tick::Stop
            } else {
                Tick::GoOn
            })
        },
    )?;
    let elapsed = started.elapsed();
    let records: Vec<(Who, IncrementsRecord)> = records
        .into_iter()
        .map(|(id, record)| (crew.who(id), record))
        .collect();
    let stored = observer.dict_number(DICT, KEY)?;
    let counts = by_kind(
        records
            .iter()
            .map(|(who, record)| (who, record.written.len() as u64)),
    );
    let timeouts: u64 = records.iter().map(|(_, record)| record.timeouts).sum();
    let mut notes = vec![format!("acknowledged: {}", kinds_text(&counts))];
    if timeouts > 0 {
        notes.push(format!(
            "{timeouts} waits for the lock timed out and were repeated"
        ));
    }
    Ok(Row {
        case: CASE.into(),
        instances: crew.instances(),
        processes: crew.processes(),
        operations: counts.iter().map(|(_, count)| count).sum(),
        unit: UNIT,
        elapsed,
        wait_us: histogram(records.iter().flat_map(|(_, record)| &record.wait_us))?,
        verdict: judge(stored, &records),
        notes,
    })
}

/// Whether nothing was lost. `stored` is what native SQLite read afterwards.
fn judge(stored: Option<u64>, records: &[(Who, IncrementsRecord)]) -> Verdict {
    let mut verdict = Verdict::default();
    for (kind, count) in by_kind(records.iter().map(|(who, r)| (who, r.written.len() as u64))) {
        if count == 0 {
            verdict.fail(format!(
                "{kind}: not one increment, so this shows nothing about them"
            ));
        }
    }
    let acknowledged: u64 = records
        .iter()
        .map(|(_, record)| record.written.len() as u64)
        .sum();
    let unknown: u64 = records.iter().map(|(_, record)| record.unknown).sum();
    let stored = stored.unwrap_or(0);
    if stored < acknowledged {
        verdict.fail(format!(
            "{acknowledged} increments were acknowledged, but the number is {stored}: {} lost",
            acknowledged - stored
        ));
    }
    if stored > acknowledged + unknown {
        verdict.fail(format!(
            "{acknowledged} increments were acknowledged, but the number is {stored}: {} happened \
             although nobody was told so",
            stored - acknowledged - unknown
        ));
    }
    let mut writers: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (who, record) in records {
        for &value in &record.written {
            writers.entry(value).or_default().push(&who.name);
        }
    }
    verdict.fail_each(
        writers
            .iter()
            .filter(|(_, names)| names.len() > 1)
            .map(|(value, names)| format!("{value} was written by each of: {}", names.join(", "))),
    );
    verdict.fail_each(records.iter().flat_map(|(who, record)| {
        record
            .errors
            .iter()
            .map(|error| format!("{}: {error}", who.name))
    }));
    verdict
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Kind;

    fn records(written: &[&[u64]]) -> Vec<(Who, IncrementsRecord)> {
        let kinds = [Kind::Instance, Kind::Native, Kind::Python];
        written
            .iter()
            .zip(kinds)
            .map(|(values, kind)| {
                let who = Who {
                    kind,
                    name: format!("{kind} 0"),
                };
                let record = IncrementsRecord {
                    written: values.to_vec(),
                    ..IncrementsRecord::default()
                };
                (who, record)
            })
            .collect()
    }

    fn reasons(stored: Option<u64>, records: &[(Who, IncrementsRecord)]) -> String {
        judge(stored, records).reasons().join("\n")
    }

    #[test]
    fn a_faithful_recording_passes() {
        assert_eq!(reasons(Some(5), &records(&[&[1, 3], &[2, 5], &[4]])), "");
    }

    #[test]
    fn a_lost_increment_fails_and_names_who_wrote_the_same() {
        let text = reasons(Some(4), &records(&[&[1, 3], &[2, 3], &[4]]));
        assert!(
            text.contains("5 increments were acknowledged, but the number is 4: 1 lost"),
            "{text}"
        );
        assert!(
            text.contains("3 was written by each of: instances 0, native 0"),
            "{text}"
        );
    }

    #[test]
    fn a_missing_number_is_a_lost_one() {
        assert!(reasons(None, &records(&[&[1], &[2], &[3]])).contains("3 lost"));
    }

    #[test]
    fn an_increment_that_nobody_was_told_of_fails() {
        assert!(reasons(Some(6), &records(&[&[1], &[2], &[3]])).contains("3 happened although"));
    }

    #[test]
    fn an_open_outcome_may_count_or_not_but_is_reported() {
        let mut records = records(&[&[1], &[2], &[3]]);
        records[0].1.unknown = 1;
        assert_eq!(reasons(Some(3), &records), "");
        assert_eq!(reasons(Some(4), &records), "");
        assert!(!judge(Some(5), &records).passed());
        records[0].1.errors.push("trap".into());
        assert!(reasons(Some(3), &records).contains("instances 0: trap"));
    }

    #[test]
    fn a_kind_that_did_nothing_fails() {
        assert!(reasons(Some(2), &records(&[&[1], &[2], &[]])).contains("Python: not one"));
    }
}
