//! A child process: reads orders, hands them to its workers, writes reports.
//!
//! What must stay true: the child ends when its standard input does (the demo
//! is gone, or wants it gone), and at the latest after [`LIFETIME_MAX`], so that
//! no process is left behind by an interrupted demo.

use crate::protocol::{Command, Event, Order, Report};
use crate::store::{LOCK_TTL, Store};
use crate::{batches, increments, timeouts};
use anyhow::{Context as _, Result, bail};
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// No demo takes as long.
const LIFETIME_MAX: Duration = Duration::from_secs(15 * 60);

/// Exit codes beside 0 and 1, for who looks at the process table.
const EXIT_ABANDONED: i32 = 3;
const EXIT_TOO_OLD: i32 = 4;

/// The workers as `serve` sees them.
pub(crate) struct Staff {
    orders: Vec<UnboundedSender<Order>>,
    stop: Arc<AtomicBool>,
    ready: mpsc::Receiver<()>,
}

/// Where one worker gets its orders.
pub(crate) struct Desk {
    number: usize,
    orders: UnboundedReceiver<Order>,
    stop: Arc<AtomicBool>,
    ready: mpsc::Sender<()>,
}

/// Makes desks for `count` workers.
pub(crate) fn staff(count: usize) -> (Staff, Vec<Desk>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (ready, all_ready) = mpsc::channel();
    let (orders, desks) = (0..count)
        .map(|number| {
            let (sender, receiver) = unbounded_channel();
            let desk = Desk {
                number,
                orders: receiver,
                stop: Arc::clone(&stop),
                ready: ready.clone(),
            };
            (sender, desk)
        })
        .unzip();
    let staff = Staff {
        orders,
        stop,
        ready: all_ready,
    };
    (staff, desks)
}

/// Reads orders until the demo says quit, then waits for the workers' threads.
pub(crate) fn serve(staff: Staff, threads: Vec<JoinHandle<Result<()>>>) -> Result<()> {
    std::thread::spawn(|| {
        std::thread::sleep(LIFETIME_MAX);
        std::process::exit(EXIT_TOO_OLD);
    });
    let mut all_ready = true;
    for _ in &staff.orders {
        // An error: a thread ended before its workers were ready. It says why below.
        all_ready &= staff.ready.recv().is_ok();
    }
    if all_ready {
        emit(&Event::Ready);
        dispatch(&staff)?;
    }
    drop(staff);
    for thread in threads {
        match thread.join() {
            Ok(result) => result?,
            Err(_) => bail!("a worker's thread panicked"),
        }
    }
    Ok(())
}

fn dispatch(staff: &Staff) -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line.context("reading orders")?;
        match serde_json::from_str(&line).with_context(|| format!("an order: {line}"))? {
            Command::Order { worker, order } => {
                staff.stop.store(false, Ordering::Relaxed);
                let desk = staff.orders.get(worker);
                let desk = desk.with_context(|| format!("there is no worker {worker}"))?;
                desk.send(order)
                    .map_err(|_| anyhow::anyhow!("worker {worker} has gone"))?;
            }
            Command::Stop => staff.stop.store(true, Ordering::Relaxed),
            Command::Quit => return Ok(()),
        }
    }
    // Workers may be in the middle of a wait without end: leave at once. What
    // they have not committed is rolled back by whoever opens the file next.
    std::process::exit(EXIT_ABANDONED);
}

/// One worker's life: carries out its orders until there are no more.
pub(crate) async fn work<S: Store>(mut store: S, mut desk: Desk) -> Result<()> {
    if desk.ready.send(()).is_err() {
        bail!("the process is ending");
    }
    drop(desk.ready);
    // The lock of `Order::Hold`, kept from one order to the next.
    let mut held: Option<S::Lock> = None;
    while let Some(order) = desk.orders.recv().await {
        let report = match order {
            Order::Increments {
                dict,
                key,
                timeout_ms,
            } => {
                let timeout = Duration::from_millis(timeout_ms);
                let record = increments::work(&mut store, &dict, &key, timeout, &desk.stop).await;
                Report::Increments(record)
            }
            Order::Put(order) => Report::Put(batches::put(&mut store, &order).await),
            Order::Take(order) => Report::Take(batches::take(&mut store, &order, &desk.stop).await),
            Order::Hold { lock } => match timeouts::hold(&mut store, &lock).await {
                Ok((lock, token)) => {
                    held = Some(lock);
                    Report::Held { token }
                }
                Err(failure) => failed(&failure),
            },
            Order::Release => match held.take() {
                Some(lock) => match store.lock_release(&lock).await {
                    Ok(()) => Report::Released,
                    Err(failure) => failed(&failure),
                },
                None => failed(&"no lock is held"),
            },
            Order::Wait {
                lock,
                deadline_ms,
                log,
                label,
            } => {
                let deadline = deadline_ms.map(Duration::from_millis);
                Report::Wait(timeouts::wait(&mut store, &lock, deadline, &log, &label).await)
            }
        };
        emit(&Event::Report {
            worker: desk.number,
            report,
        });
    }
    drop(held);
    store
        .close()
        .await
        .map_err(|failure| anyhow::anyhow!("closing: {failure} (locks live up to {LOCK_TTL:?})"))
}

fn failed(message: &impl ToString) -> Report {
    Report::Failed {
        message: message.to_string(),
    }
}

/// Writes one event as one line, whichever threads write others.
pub(crate) fn emit(event: &Event) {
    let mut line = match serde_json::to_vec(event) {
        Ok(line) => line,
        Err(error) => format!("{{\"event\":\"failed\",\"message\":\"{error}\"}}").into_bytes(),
    };
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    // When nobody reads, the demo is gone and standard input says so next.
    let _ = out.write_all(&line).and_then(|()| out.flush());
}
