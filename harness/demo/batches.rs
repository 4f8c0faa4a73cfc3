//! Case 2, batch queue gets: producers put numbered items, consumers take them
//! in batches of five, some one by one under the queue's lock, some through
//! `get-batch`, all at once.
//!
//! The check (`batches_verdict.rs`): every item is taken exactly once, and each
//! batch is contiguous in queue order. How contiguity is proved from outside:
//!
//! *Filled first.* Everybody puts items of three priorities; when all is put,
//! native SQLite reads the queue in its order. From then on items only leave,
//! from the head. So whatever the order of the consumers, each batch must be a
//! run of consecutive items of that list.
//!
//! *While others put.* All items have one priority, and a put goes behind
//! everything that was ever put: ours stamp the item inside the write
//! transaction, later than the last; Python stamps it before its transaction,
//! so it holds the queue's lock meanwhile, which keeps ours out. So items join
//! only at the tail and leave only from the head, and each batch must be a run
//! of consecutive items of *all items ever put*, sorted by their time stamps. A
//! batch into which a put or another consumer cut shows as a gap. (A wall
//! clock that is set back during these seconds would break the argument.)
//! That the time stamps tell the order of the puts is checked in turn: each
//! producer's items appear in the order in which it put them.

use crate::Stage;
use crate::batches_verdict::{Evidence, judge};
use crate::increments::micros;
use crate::processes::{Tick, WorkerId};
use crate::protocol::{
    Mode, Order, Payload, PutOrder, PutRecord, Report, TakeOrder, TakeRecord, TakenItem,
};
use crate::store::{Failure, Item, Store, json_text};
use crate::table::{Row, histogram};
use crate::verdict::{Kind, Who, by_kind, kinds_text};
use anyhow::Result;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) const FILLED: &str = "filled-first";
pub(crate) const MIXED: &str = "while-others-put";
pub(crate) const SIZE: u32 = 5;

const PRIORITIES: u64 = 3;
/// How long a consumer waits for the queue's lock before it asks again.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long `get-batch` waits at first; then the consumer looks whether to
/// stop. Short, because that long the end of the phase takes.
const BATCH_TIMEOUT: Duration = Duration::from_millis(300);
/// How long it waits at last. `get-batch` stands in line with those who take
/// the lock; who leaves the line before it is served asks for longer.
const BATCH_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// How long a consumer leaves an empty queue alone.
const EMPTY_PAUSE: Duration = Duration::from_millis(5);
/// How long one phase may take.
const PHASE_MAX: Duration = Duration::from_secs(180);

/// A producer's part.
pub(crate) async fn put<S: Store>(store: &mut S, order: &PutOrder) -> PutRecord {
    let mut record = PutRecord::default();
    let queue = match store.queue(&order.queue).await {
        Ok(queue) => queue,
        Err(failure) => {
            record.errors.push(format!("opening the queue: {failure}"));
            return record;
        }
    };
    let started = Instant::now();
    let limit = Duration::from_millis(order.limit_ms);
    for seq in 0..order.count {
        if started.elapsed() >= limit && seq % order.batch.max(1) == 0 {
            break;
        }
        let payload = Payload::new(order.producer, seq);
        #[expect(clippy::cast_precision_loss, reason = "a handful of priorities")]
        let priority = (seq % order.priorities.max(1)) as f64;
        match put_one(store, &queue, &payload, priority, order.under_lock).await {
            Ok(()) => record.acknowledged.push(payload.number),
            Err(failure) => {
                if failure.is_unknown() {
                    record.unknown.push(payload.number);
                }
                record.errors.push(format!("put: {failure}"));
                break;
            }
        }
        tokio::task::yield_now().await;
    }
    record
}

async fn put_one<S: Store>(
    store: &mut S,
    queue: &S::Queue,
    payload: &Payload,
    priority: f64,
    under_lock: bool,
) -> std::result::Result<(), Failure> {
    let text = json_text(payload)?;
    if !under_lock {
        return store.queue_put(queue, &text, priority).await;
    }
    store.queue_acquire(queue, LOCK_TIMEOUT).await?;
    let put = store.queue_put(queue, &text, priority).await;
    store.queue_release(queue).await.and(put)
}

/// A consumer's part.
pub(crate) async fn take<S: Store>(
    store: &mut S,
    order: &TakeOrder,
    stop: &AtomicBool,
) -> TakeRecord {
    let mut record = TakeRecord::default();
    let queue = match store.queue(&order.queue).await {
        Ok(queue) => queue,
        Err(failure) => {
            record.errors.push(format!("opening the queue: {failure}"));
            return record;
        }
    };
    let mut patience = BATCH_TIMEOUT;
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let (taken, failure) = match order.mode {
            Mode::Locked => take_locked(store, &queue, order.size).await,
            Mode::Whole => take_whole(store, &queue, order.size, &mut patience).await,
        };
        // What was taken is recorded also when something failed afterwards.
        if !taken.is_empty() {
            record.wait_us.push(micros(asked.elapsed()));
            match taken.into_iter().map(read_item).collect() {
                Ok(batch) => record.batches.push(batch),
                Err(error) => record.errors.push(error),
            }
        } else if failure.is_none() && order.mode == Mode::Locked {
            tokio::time::sleep(EMPTY_PAUSE).await;
        }
        if let Some(failure) = failure {
            record.errors.push(failure.to_string());
            break;
        }
        tokio::task::yield_now().await;
    }
    record
}

async fn take_locked<S: Store>(
    store: &mut S,
    queue: &S::Queue,
    size: u32,
) -> (Vec<Item>, Option<Failure>) {
    // A look without the lock: too few items are no reason to stand in line.
    match store.queue_len(queue).await {
        Ok(len) if len < u64::from(size) => return (Vec::new(), None),
        Ok(_) => {}
        Err(failure) => return (Vec::new(), Some(failure)),
    }
    match store.queue_acquire(queue, LOCK_TIMEOUT).await {
        Ok(()) => {}
        Err(Failure::Timeout) => return (Vec::new(), None),
        Err(failure) => return (Vec::new(), Some(failure)),
    }
    let (taken, failure) = take_one_by_one(store, queue, size).await;
    let released = store.queue_release(queue).await;
    (taken, failure.or(released.err()))
}

/// To be called with the queue's lock held: then the items that are there stay there.
async fn take_one_by_one<S: Store>(
    store: &mut S,
    queue: &S::Queue,
    size: u32,
) -> (Vec<Item>, Option<Failure>) {
    let mut taken = Vec::new();
    match store.queue_len(queue).await {
        Ok(len) if len < u64::from(size) => return (taken, None),
        Ok(_) => {}
        Err(failure) => return (taken, Some(failure)),
    }
    for _ in 0..size {
        match store.queue_try_get(queue).await {
            Ok(Some(item)) => taken.push(item),
            // Somebody took from a locked queue: the short batch will tell.
            Ok(None) => break,
            Err(failure) => return (taken, Some(failure)),
        }
    }
    (taken, None)
}

async fn take_whole<S: Store>(
    store: &mut S,
    queue: &S::Queue,
    size: u32,
    patience: &mut Duration,
) -> (Vec<Item>, Option<Failure>) {
    match store.queue_get_batch(queue, size, *patience).await {
        Ok(items) => return (items, None),
        Err(Failure::Timeout) => {}
        Err(failure) => return (Vec::new(), Some(failure)),
    }
    match store.queue_len(queue).await {
        Ok(len) if len >= u64::from(size) => {
            *patience = (*patience * 2).min(BATCH_TIMEOUT_MAX);
            (Vec::new(), None)
        }
        Ok(_) => (Vec::new(), None),
        Err(failure) => (Vec::new(), Some(failure)),
    }
}

fn read_item(item: Item) -> std::result::Result<TakenItem, String> {
    let payload = serde_json::from_str(&item.data)
        .map_err(|error| format!("took an item that nobody put here, {}: {error}", item.data))?;
    Ok(TakenItem {
        priority: item.priority,
        timestamp: item.timestamp,
        payload,
    })
}

/// The demo's part, first half: put everything, then take everything.
pub(crate) fn run_filled(stage: &mut Stage, items: u64, limit: Duration) -> Result<Row> {
    stage.progress.phase("everybody fills a queue");
    let workers = stage.crew.workers();
    for (&worker, (producer, count)) in workers.iter().zip(shares(items, workers.len())) {
        let order = PutOrder {
            queue: FILLED.into(),
            producer,
            count,
            limit_ms: millis(limit),
            batch: u64::from(SIZE),
            priorities: PRIORITIES,
            under_lock: false,
        };
        stage.crew.order(worker, Order::Put(order))?;
    }
    let puts = gather_puts(stage, FILLED, workers.len())?;
    let order = stage.observer.queue_payloads(FILLED)?;

    stage.progress.phase("everybody takes batches of five");
    let started = Instant::now();
    let modes = give_take_orders(stage, FILLED, &workers)?;
    let taken = gather_takes(stage, FILLED, workers.len())?;
    let elapsed = started.elapsed();
    finish(
        stage,
        "batches of 5, queue filled first",
        FILLED,
        elapsed,
        Evidence {
            puts,
            takes: with_modes(stage, taken, &modes),
            order: Some(order),
            left: Vec::new(),
            size: SIZE as usize,
        },
    )
}

/// The demo's part, second half: put and take at the same time.
pub(crate) fn run_mixed(stage: &mut Stage, items: u64, limit: Duration) -> Result<Row> {
    stage
        .progress
        .phase("some put, the others take batches of five");
    let workers = stage.crew.workers();
    // Most instances, one native thread, and Python put before they take. All
    // stand in one line for the lock; in one turn a producer puts one item and a
    // consumer takes five. So the queue neither runs dry nor grows for ever, and
    // there are batches to be cut.
    let producers: Vec<WorkerId> = workers
        .iter()
        .enumerate()
        .filter(|&(index, &id)| match stage.crew.kind(id) {
            Kind::Instance => index % 7 != 0,
            Kind::Native => index % 2 == 0,
            Kind::Python => true,
        })
        .map(|(_, &id)| id)
        .collect();
    let started = Instant::now();
    for (&worker, (producer, count)) in producers.iter().zip(shares(items, producers.len())) {
        let python = stage.crew.kind(worker) == Kind::Python;
        let order = PutOrder {
            queue: MIXED.into(),
            producer,
            count,
            limit_ms: millis(limit),
            batch: u64::from(SIZE),
            priorities: 1,
            under_lock: python,
        };
        stage.crew.order(worker, Order::Put(order))?;
    }
    let modes = give_take_orders(stage, MIXED, &workers)?;

    // Producers answer twice: when they have put, and at the end.
    let mut puts = Vec::new();
    let mut early = Vec::new();
    while puts.len() < producers.len() {
        let count = stage.observer.queue_len(MIXED)?;
        let progress = format!(
            "{} of {} producers done, {count} items in the queue",
            puts.len(),
            producers.len()
        );
        stage.progress.update(&progress);
        if started.elapsed() > PHASE_MAX {
            anyhow::bail!("producers were not done within {PHASE_MAX:?}");
        }
        match stage.crew.report(Duration::from_millis(100))? {
            Some((id, Report::Put(record))) => puts.push((stage.crew.who(id), record)),
            // Only after an error: nobody was told to stop.
            Some((id, Report::Take(record))) => early.push((id, record)),
            Some((id, other)) => anyhow::bail!("{}: {other:?}", stage.crew.who(id).name),
            None => {}
        }
    }
    let mut taken = gather_takes(stage, MIXED, workers.len() - early.len())?;
    taken.append(&mut early);
    let elapsed = started.elapsed();
    finish(
        stage,
        "batches of 5, while others put",
        MIXED,
        elapsed,
        Evidence {
            puts,
            takes: with_modes(stage, taken, &modes),
            order: None,
            left: Vec::new(),
            size: SIZE as usize,
        },
    )
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Splits `items` among producers, in numbers that add up to batches without a rest.
fn shares(items: u64, producers: usize) -> impl Iterator<Item = (u64, u64)> {
    let each = items.div_ceil(producers.max(1) as u64).max(1);
    let each = each.next_multiple_of(u64::from(SIZE));
    (0..producers as u64).map(move |producer| (producer, each))
}

/// Half of the workers take under the lock, half through `get-batch`; Python
/// has no `get-batch`.
fn give_take_orders(
    stage: &mut Stage,
    queue: &str,
    workers: &[WorkerId],
) -> Result<Vec<(WorkerId, Mode)>> {
    let mut modes = Vec::new();
    for (index, &worker) in workers.iter().enumerate() {
        let mode = match stage.crew.kind(worker) {
            Kind::Python => Mode::Locked,
            Kind::Instance | Kind::Native if index % 2 == 0 => Mode::Locked,
            Kind::Instance | Kind::Native => Mode::Whole,
        };
        let order = TakeOrder {
            queue: queue.into(),
            mode,
            size: SIZE,
        };
        stage.crew.order(worker, Order::Take(order))?;
        modes.push((worker, mode));
    }
    Ok(modes)
}

fn gather_puts(stage: &mut Stage, queue: &str, count: usize) -> Result<Vec<(Who, PutRecord)>> {
    let Stage {
        crew,
        observer,
        progress,
    } = stage;
    let puts = crew.collect(
        count,
        PHASE_MAX,
        |report| match report {
            Report::Put(record) => Ok(record),
            other => Err(other),
        },
        |done| {
            let items = observer.queue_len(queue)?;
            progress.update(&format!(
                "{items} items, {} of {count} producers done",
                done.len()
            ));
            Ok(Tick::GoOn)
        },
    )?;
    Ok(puts
        .into_iter()
        .map(|(id, record)| (crew.who(id), record))
        .collect())
}

/// To be called when nothing more will come: tells everybody to stop when there
/// is no batch left.
fn gather_takes(
    stage: &mut Stage,
    queue: &str,
    count: usize,
) -> Result<Vec<(WorkerId, TakeRecord)>> {
    let Stage {
        crew,
        observer,
        progress,
    } = stage;
    crew.collect(
        count,
        PHASE_MAX,
        |report| match report {
            Report::Take(record) => Ok(record),
            other => Err(other),
        },
        |_| {
            let left = observer.queue_len(queue)?;
            progress.update(&format!("{left} items left"));
            Ok(if left < u64::from(SIZE) {
                Tick::Stop
            } else {
                Tick::GoOn
            })
        },
    )
}

fn with_modes(
    stage: &Stage,
    taken: Vec<(WorkerId, TakeRecord)>,
    modes: &[(WorkerId, Mode)],
) -> Vec<(Who, Mode, TakeRecord)> {
    taken
        .into_iter()
        .map(|(id, record)| {
            let mode = modes.iter().find(|(other, _)| *other == id);
            let mode = mode.map_or(Mode::Locked, |(_, mode)| *mode);
            (stage.crew.who(id), mode, record)
        })
        .collect()
}

fn finish(
    stage: &mut Stage,
    case: &str,
    queue: &str,
    elapsed: Duration,
    mut evidence: Evidence,
) -> Result<Row> {
    evidence.left = stage.observer.queue_payloads(queue)?;
    let (mut locked, mut whole, mut items) = (0, 0, 0);
    for (_, mode, record) in &evidence.takes {
        match mode {
            Mode::Locked => locked += record.batches.len(),
            Mode::Whole => whole += record.batches.len(),
        }
        items += record.batches.iter().map(Vec::len).sum::<usize>();
    }
    let put = by_kind(
        evidence
            .puts
            .iter()
            .map(|(who, r)| (who, r.acknowledged.len() as u64)),
    );
    let batches = by_kind(
        evidence
            .takes
            .iter()
            .map(|(who, _, r)| (who, r.batches.len() as u64)),
    );
    Ok(Row {
        case: case.into(),
        instances: stage.crew.instances(),
        processes: stage.crew.processes(),
        operations: items as u64,
        unit: "items",
        elapsed,
        wait_us: histogram(
            evidence
                .takes
                .iter()
                .flat_map(|(_, _, record)| &record.wait_us),
        )?,
        verdict: judge(&evidence),
        notes: vec![
            format!("{locked} batches under the lock, {whole} through get-batch"),
            format!(
                "items put: {}; batches taken: {}",
                kinds_text(&put),
                kinds_text(&batches)
            ),
        ],
    })
}
