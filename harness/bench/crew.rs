//! A crew's process: workers that do single things when they are told to.
//!
//! Each worker has a connection of its own: an instance in a task on as many
//! threads as there are cores, natively a thread. So what happens between
//! workers of one process and of several can be had from the same orders.
//! Python's crew speaks the same (`python_crew.py`).

use crate::args::{Place, SideName};
use crate::clock;
use crate::component::Component;
use crate::contention::COUNTER;
use crate::native::Native;
use crate::protocol::{CrewOrder, CrewReply, Done, Increments, Task};
use crate::side::say;
use crate::store::{Side, Store};
use crate::workloads::increment;
use anyhow::{Context as _, Result, anyhow};
use std::io::BufRead as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Carries out orders until standard input ends.
pub(crate) fn serve(side: SideName, cache: &Path) -> Result<()> {
    beaver_host::storage::raise_fd_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()?;
    say(&CrewReply::Ready)?;
    let mut workers = Vec::new();
    for line in std::io::stdin().lock().lines() {
        match serde_json::from_str(&line?)? {
            CrewOrder::Open {
                directory,
                workers: count,
            } => {
                // A worker ends when nobody can give it orders any more.
                workers.clear();
                let opened = match side {
                    SideName::Native => threads(&Native::new(&directory)?, count),
                    SideName::Component => {
                        let cache = cache.to_owned();
                        let side = Component::new(&Place { directory, cache })?;
                        runtime.block_on(instances(&side, count))
                    }
                };
                match opened {
                    Ok(opened) => {
                        workers = opened;
                        let pids = vec![std::process::id(); count];
                        say(&CrewReply::Opened { pids })?;
                    }
                    Err(error) => say(&CrewReply::Failed(format!("{error:#}")))?,
                }
            }
            CrewOrder::Do { worker, task } => {
                let tasks = workers.get(worker).context("there is no such worker")?;
                tasks.send(task).map_err(|_| anyhow!("the worker ended"))?;
            }
        }
    }
    Ok(())
}

async fn instances(side: &Component, count: usize) -> Result<Vec<UnboundedSender<Task>>> {
    let mut workers = Vec::with_capacity(count);
    for worker in 0..count {
        let store = side.open(side.instantiate().await?).await?;
        let (sender, tasks) = unbounded_channel();
        tokio::spawn(work(worker, store, tasks));
        workers.push(sender);
    }
    Ok(workers)
}

fn threads(side: &Native, count: usize) -> Result<Vec<UnboundedSender<Task>>> {
    let mut workers = Vec::with_capacity(count);
    for worker in 0..count {
        let (sender, tasks) = unbounded_channel();
        let (opened, is_open) = mpsc::channel();
        let side = side.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build();
            let open = || {
                anyhow::Ok(runtime?).and_then(|runtime| {
                    let store = runtime.block_on(side.open(()))?;
                    Ok((runtime, store))
                })
            };
            match open() {
                Ok((runtime, store)) => {
                    let _ = opened.send(Ok(()));
                    runtime.block_on(work(worker, store, tasks));
                }
                Err(error) => drop(opened.send(Err(error))),
            }
        });
        is_open.recv()??;
        workers.push(sender);
    }
    Ok(workers)
}

/// One worker, until nobody can give it orders any more.
async fn work<S: Store>(worker: usize, mut store: S, mut tasks: UnboundedReceiver<Task>) {
    while let Some(task) = tasks.recv().await {
        let done = perform(&mut store, task).await;
        // Whom a release woke may have to run on this thread: as in a program
        // that goes on to wait for something, it comes first.
        tokio::task::yield_now().await;
        let done = done.unwrap_or_else(|error| Done::Failed(format!("{error:#}")));
        // When nobody listens any more, no more orders come either.
        let _ = say(&CrewReply::Did { worker, done });
    }
}

async fn perform(store: &mut impl Store, task: Task) -> Result<Done> {
    match task {
        Task::Acquire { ttl_s } => {
            store.acquire(ttl_s.map(Duration::from_secs_f64)).await?;
            Ok(Done::Acquired {
                at_ns: clock::now_ns(),
            })
        }
        Task::Release => {
            let from_ns = clock::now_ns();
            store.release().await?;
            Ok(Done::Released {
                from_ns,
                to_ns: clock::now_ns(),
            })
        }
        Task::Contend { from_ns, until_ns } => {
            tokio::time::sleep(clock::until(from_ns)).await;
            let increments = contend(store, until_ns).await?;
            Ok(Done::Contended(increments))
        }
        Task::Count => {
            let text = store.get(COUNTER).await?;
            Ok(Done::Counted(
                text.context("the counter is missing")?.parse()?,
            ))
        }
    }
}

async fn contend(store: &mut impl Store, until_ns: u64) -> Result<Increments> {
    let mut done = Increments::default();
    let mut now_ns = clock::now_ns();
    while now_ns < until_ns {
        store.acquire(None).await?;
        done.wait_ns.push(clock::now_ns() - now_ns);
        increment(store, COUNTER).await?;
        store.release().await?;
        done.increments += 1;
        now_ns = clock::now_ns();
    }
    done.to_ns = now_ns;
    Ok(done)
}
