//! Case 3, timeouts: one instance holds a lock for long; the others stand in
//! line, half of them with deadlines, half without.
//!
//! The checks (`timeouts_verdict.rs`): each wait with a deadline ends with
//! `timeout`, never early and not later than [`LATENESS_MAX`]; it leaves no row
//! in the lock table; and when the holder lets go, those without a deadline get
//! the lock in the order in which they stand in line, as the fencing tokens and
//! a log that each writes while it holds the lock tell independently.
//!
//! What must stay true: the order of the line is known, not hoped for. The demo
//! asks the next one to wait only when native SQLite shows the row of the one
//! before.

use crate::Stage;
use crate::increments::micros;
use crate::processes::WorkerId;
use crate::protocol::{Order, Report, WaitEnd, WaitRecord};
use crate::store::{Failure, Store};
use crate::table::{Row, histogram, time_text};
use crate::timeouts_verdict::{
    DeadlineEvidence, LineEvidence, Waiter, judge_deadlines, judge_line,
};
use crate::verdict::{Kind, by_kind, kinds_text};
use anyhow::{Context as _, Result, bail};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(crate) const LOCK: &str = "gate";
pub(crate) const LOG: &str = "gate-log";
pub(crate) const UNIT_GRANTS: &str = "grants";

/// How late a timeout may come. Some 70 waiters share two cores here and many
/// deadlines fall together; each takes a write transaction to leave the line.
/// A waiter that slept until its next renewal (5 s) would miss this by far.
pub(crate) const LATENESS_MAX: Duration = Duration::from_secs(1);

/// Deadlines are this long and up to so much longer, not in the order of the
/// line: waiters leave it from the front, the middle and the end.
const DEADLINE_MIN: Duration = Duration::from_millis(500);
const DEADLINE_STEP_MS: u64 = 53;
const DEADLINE_SPREAD_MS: u64 = 1500;

/// How long a worker may take to join the line, and everybody to answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// The holder's part, until `Order::Release`.
pub(crate) async fn hold<S: Store>(
    store: &mut S,
    lock: &str,
) -> std::result::Result<(S::Lock, u64), Failure> {
    let lock = store.lock(lock).await?;
    let token = store.lock_acquire(&lock, Some(Duration::ZERO)).await?;
    Ok((lock, token))
}

/// A waiter's part.
pub(crate) async fn wait<S: Store>(
    store: &mut S,
    lock: &str,
    deadline: Option<Duration>,
    log: &str,
    label: &str,
) -> WaitRecord {
    let failed = |failure: &Failure| WaitRecord {
        ended: WaitEnd::Failed {
            message: failure.to_string(),
        },
        waited_us: 0,
    };
    let (lock, log) = match (store.lock(lock).await, store.queue(log).await) {
        (Ok(lock), Ok(log)) => (lock, log),
        (Err(failure), _) | (_, Err(failure)) => return failed(&failure),
    };
    let asked = Instant::now();
    let answer = store.lock_acquire(&lock, deadline).await;
    let waited_us = micros(asked.elapsed());
    let at_us = unix_micros();
    let ended = match answer {
        Err(Failure::Timeout) => WaitEnd::Timeout,
        Err(failure) => return failed(&failure),
        Ok(token) => {
            // Alone in here: the log's order is the order of the grants.
            let logged = store.queue_put(&log, &format!("\"{label}\""), 0.0).await;
            let released = store.lock_release(&lock).await;
            if let Err(failure) = logged.and(released) {
                return failed(&failure);
            }
            WaitEnd::Granted {
                token: Some(token),
                at_us,
            }
        }
    };
    WaitRecord { ended, waited_us }
}

fn unix_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, micros)
}

/// The demo's part. Two rows: the deadlines, and the line.
pub(crate) fn run(stage: &mut Stage) -> Result<Vec<Row>> {
    stage
        .progress
        .phase("one holds a lock, the others wait in line");
    let workers = stage.crew.workers();
    let Some((&holder, others)) = workers.split_first() else {
        bail!("nobody is there to hold the lock");
    };
    let token = hold_gate(stage, holder)?;
    let mut line = Line {
        ids: Vec::new(),
        waiters: Vec::new(),
        released: false,
    };
    let started = Instant::now();
    line.join(stage, others)?;
    line.listen_until(stage, "answered", |waiter| waiter.deadline.is_some())?;
    let deadlines = deadline_row(stage, &line, started.elapsed())?;

    stage.progress.phase("the holder lets go, the line moves");
    let started = Instant::now();
    stage.crew.order(holder, Order::Release)?;
    line.listen_until(stage, "have had the lock", |_| true)?;
    while !line.released {
        line.listen(stage, ANSWER_MAX)?;
    }
    let hand_over = line_row(stage, &line, token, started.elapsed())?;
    Ok(vec![deadlines, hand_over])
}

fn hold_gate(stage: &mut Stage, holder: WorkerId) -> Result<u64> {
    stage
        .crew
        .order(holder, Order::Hold { lock: LOCK.into() })?;
    match stage.crew.report(ANSWER_MAX)? {
        Some((_, Report::Held { token })) => Ok(token),
        Some((id, other)) => bail!(
            "{} should hold the lock: {other:?}",
            stage.crew.who(id).name
        ),
        None => bail!("the lock could not be had in {ANSWER_MAX:?}"),
    }
}

/// To be called when everybody with a deadline has answered, and the holder still holds.
fn deadline_row(stage: &Stage, line: &Line, elapsed: Duration) -> Result<Row> {
    let (with, without): (Vec<Waiter>, Vec<Waiter>) = line
        .waiters
        .iter()
        .cloned()
        .partition(|waiter| waiter.deadline.is_some());
    let lateness: Vec<u64> = with.iter().filter_map(Waiter::lateness_us).collect();
    let worst = lateness.iter().copied().max().unwrap_or(0);
    let kinds = by_kind(with.iter().map(|waiter| (&waiter.who, 1)));
    let evidence = DeadlineEvidence {
        waiters: with,
        rows: stage.observer.lock_rows(LOCK)?,
        // The holder, and who waits without a deadline.
        rows_expected: 1 + without.len(),
        lateness_max: LATENESS_MAX,
    };
    Ok(Row {
        case: format!(
            "timeouts: late by (limit {})",
            time_text(micros(LATENESS_MAX))
        ),
        instances: stage.crew.instances(),
        processes: stage.crew.processes(),
        operations: evidence.waiters.len() as u64,
        unit: "deadlines",
        elapsed,
        wait_us: histogram(&lateness)?,
        verdict: judge_deadlines(&evidence),
        notes: vec![format!(
            "{}; the latest was late by {}",
            kinds_text(&kinds),
            time_text(worst)
        )],
    })
}

/// To be called when everybody has answered.
fn line_row(stage: &Stage, line: &Line, holder_token: u64, elapsed: Duration) -> Result<Row> {
    let mut waiters = line.waiters.clone();
    waiters.retain(|waiter| waiter.deadline.is_none());
    let evidence = LineEvidence {
        waiters,
        holder_token,
        log: stage.observer.queue_labels(LOG)?,
        rows: stage.observer.lock_rows(LOCK)?,
    };
    let mut granted: Vec<u64> = evidence
        .waiters
        .iter()
        .filter_map(Waiter::granted_at_us)
        .collect();
    granted.sort_unstable();
    let gaps: Vec<u64> = granted.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let kinds = by_kind(evidence.waiters.iter().map(|waiter| (&waiter.who, 1)));
    Ok(Row {
        case: "first come, first served: gap between grants".into(),
        instances: stage.crew.instances(),
        processes: stage.crew.processes(),
        operations: evidence.waiters.len() as u64,
        unit: UNIT_GRANTS,
        elapsed,
        wait_us: histogram(&gaps)?,
        verdict: judge_line(&evidence),
        notes: vec![format!(
            "in line: {}; a gap includes the work under the lock",
            kinds_text(&kinds)
        )],
    })
}

/// Who stands in line, in this order.
struct Line {
    ids: Vec<WorkerId>,
    waiters: Vec<Waiter>,
    /// Whether the holder has said that it let go.
    released: bool,
}

impl Line {
    /// Puts one after the other into the line.
    fn join(&mut self, stage: &mut Stage, others: &[WorkerId]) -> Result<()> {
        let mut known = stage.observer.lock_rows(LOCK)?;
        for (index, &id) in others.iter().enumerate() {
            let who = stage.crew.who(id);
            // Python's own timeouts are not ours to judge.
            let deadline = (index % 2 == 0 && stage.crew.kind(id) != Kind::Python)
                .then(|| deadline(index as u64));
            let order = Order::Wait {
                lock: LOCK.into(),
                deadline_ms: deadline.map(|deadline| deadline.as_millis() as u64),
                log: LOG.into(),
                label: who.name.clone(),
            };
            stage.crew.order(id, order)?;
            self.ids.push(id);
            self.waiters.push(Waiter {
                who,
                deadline,
                row: None,
                record: None,
            });
            let asked = Instant::now();
            // Until its row is to be seen, or its answer came before we looked.
            while self.waiters[index].record.is_none() {
                let rows = stage.observer.lock_rows(LOCK)?;
                if let Some(row) = rows.into_iter().find(|row| !known.contains(row)) {
                    known.push(row.clone());
                    self.waiters[index].row = Some(row);
                    break;
                }
                if asked.elapsed() > ANSWER_MAX {
                    let name = &self.waiters[index].who.name;
                    bail!("{name} did not join the line within {ANSWER_MAX:?}");
                }
                self.listen(stage, Duration::from_millis(1))?;
            }
            stage
                .progress
                .update(&format!("{} of {} in line", index + 1, others.len()));
        }
        Ok(())
    }

    /// Until all that are `meant` have answered.
    fn listen_until(
        &mut self,
        stage: &mut Stage,
        what: &str,
        meant: impl Fn(&Waiter) -> bool,
    ) -> Result<()> {
        let started = Instant::now();
        loop {
            let all = self.waiters.iter().filter(|waiter| meant(waiter));
            let done = all.clone().filter(|waiter| waiter.record.is_some()).count();
            let all = all.count();
            stage.progress.update(&format!("{done} of {all} {what}"));
            if done == all {
                return Ok(());
            }
            if started.elapsed() > ANSWER_MAX {
                bail!("only {done} of {all} waiters {what} within {ANSWER_MAX:?}");
            }
            self.listen(stage, Duration::from_millis(100))?;
        }
    }

    fn listen(&mut self, stage: &mut Stage, timeout: Duration) -> Result<()> {
        match stage.crew.report(timeout)? {
            None => Ok(()),
            Some((id, Report::Wait(record))) => {
                let index = self.ids.iter().position(|other| *other == id);
                let index = index.context("somebody waited who was not asked to")?;
                self.waiters[index].record = Some(record);
                Ok(())
            }
            Some((_, Report::Released)) => {
                self.released = true;
                Ok(())
            }
            Some((id, other)) => bail!("{}: {other:?}", stage.crew.who(id).name),
        }
    }
}

/// Spread over [`DEADLINE_SPREAD_MS`], in whole milliseconds.
fn deadline(index: u64) -> Duration {
    DEADLINE_MIN + Duration::from_millis(index * DEADLINE_STEP_MS % DEADLINE_SPREAD_MS)
}
