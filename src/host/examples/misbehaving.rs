//! What others have to bear while one instance misbehaves: prints how long their writes take.
//!
//! `cargo run --release -p beaver-host --example misbehaving [SECONDS]`
//!
//! Four instances write to one database, each in a task of its own, and time each write. Beside them
//! one more does what it shouldn't, again and again: it is ended by its limit, and the next one is
//! started in its place. What it holds meanwhile is what the others wait for, so their slowest writes
//! take about as long as the limit that ends it.

use beaver_host::client::OpenOptions;
use beaver_host::{Error, Grant, Host};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const OTHERS: usize = 4;
const CPU_LIMIT: Duration = Duration::from_millis(100);
const HOLD_LIMIT: Duration = Duration::from_millis(100);
const MEMORY_LIMIT_BYTES: u64 = 32 << 20;

#[derive(Clone, Copy, PartialEq)]
enum Misbehaviour {
    None,
    Loops,
    LoopsAsWriter,
    Allocates,
    KeepsTheWriteLock,
}

impl Misbehaviour {
    const ALL: [Self; 5] = [
        Self::None,
        Self::Loops,
        Self::LoopsAsWriter,
        Self::Allocates,
        Self::KeepsTheWriteLock,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::None => "nobody misbehaves",
            Self::Loops => "one computes until its limit (100 ms)",
            Self::LoopsAsWriter => "the same in a transaction",
            Self::Allocates => "one asks for more memory than it may have",
            Self::KeepsTheWriteLock => "one keeps a transaction open until dropped (100 ms)",
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args()
        .nth(1)
        .map_or(Ok(3.0), |text| text.parse())?;
    let host = Host::builder()
        .max_instances(8)
        .cpu_limit(CPU_LIMIT)
        .memory_limit_bytes(MEMORY_LIMIT_BYTES)
        .build()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()?;
    println!(
        "{OTHERS} instances write, {} threads. Milliseconds per write of theirs:",
        runtime.metrics().num_workers()
    );
    println!("  writes     p50     p99     max  times  while");
    for misbehaviour in Misbehaviour::ALL {
        let directory = tempfile::tempdir()?;
        let time = Duration::from_secs_f64(seconds);
        let (mut took, times) =
            runtime.block_on(measure(&host, directory.path(), misbehaviour, time))?;
        took.sort_unstable();
        let ms = |share: f64| {
            let at = ((took.len() as f64 * share).ceil() as usize).clamp(1, took.len());
            took[at - 1].as_secs_f64() * 1000.0
        };
        println!(
            "{:>8} {:>7.2} {:>7.2} {:>7.2} {times:>6}  {}",
            took.len(),
            ms(0.5),
            ms(0.99),
            ms(1.0),
            misbehaviour.title()
        );
    }
    Ok(())
}

/// How long each write of the others took, and how often somebody misbehaved.
async fn measure(
    host: &Host,
    directory: &Path,
    misbehaviour: Misbehaviour,
    time: Duration,
) -> Result<(Vec<Duration>, u64), Error> {
    let (over, times) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let grant = Grant::directory(directory).map_err(|source| Error::Io {
        context: "the directory".into(),
        source,
    })?;
    let mut others = Vec::new();
    for number in 0..OTHERS {
        let (host, grant, over) = (host.clone(), grant.clone(), Arc::clone(&over));
        others.push(tokio::spawn(writes(host, grant, number, over)));
    }
    let (host, grant) = (host.clone(), grant.clone());
    let bad = tokio::spawn({
        let (over, times) = (Arc::clone(&over), Arc::clone(&times));
        async move {
            while misbehaviour != Misbehaviour::None && !over.load(Ordering::Relaxed) {
                misbehave(&host, grant.clone(), misbehaviour).await?;
                times.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), Error>(())
        }
    });
    tokio::time::sleep(time).await;
    over.store(true, Ordering::Relaxed);
    let mut took = Vec::new();
    for other in others {
        took.extend(other.await.expect("a task that doesn't panic")?);
    }
    bad.await.expect("a task that doesn't panic")?;
    Ok((took, times.load(Ordering::Relaxed)))
}

async fn writes(
    host: Host,
    grant: Grant,
    number: usize,
    over: Arc<AtomicBool>,
) -> Result<Vec<Duration>, Error> {
    let mut instance = host.instantiate(grant).await?;
    let database = instance.open("a.db", &OpenOptions::default()).await?;
    let dict = instance.dict(&database, "d").await?;
    let key = number.to_string();
    let mut took = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let start = Instant::now();
        dict.set(&mut instance, &key, "1", None).await?;
        took.push(start.elapsed());
        // Others of this thread want to go on, too.
        tokio::task::yield_now().await;
    }
    Ok(took)
}

/// Misbehaves until a limit ends it.
async fn misbehave(host: &Host, grant: Grant, how: Misbehaviour) -> Result<(), Error> {
    let mut instance = host.instantiate(grant).await?;
    let database = instance.open("a.db", &OpenOptions::default()).await?;
    let dict = instance.dict(&database, "bad").await?;
    // Text that takes long to read, and isn't JSON in the end.
    let long = || format!("[{}1", "1,".repeat(8 << 20));
    let ended = match how {
        Misbehaviour::None => return Ok(()),
        Misbehaviour::Loops => dict.set(&mut instance, "k", &long(), None).await,
        Misbehaviour::LoopsAsWriter => {
            let _transaction = instance.begin_transaction(&database).await?;
            dict.set(&mut instance, "k", "1", None).await?;
            dict.set(&mut instance, "k", &long(), None).await
        }
        Misbehaviour::Allocates => {
            let large = format!("\"{}\"", "x".repeat(MEMORY_LIMIT_BYTES as usize));
            dict.set(&mut instance, "k", &large, None).await
        }
        Misbehaviour::KeepsTheWriteLock => {
            let _transaction = instance.begin_transaction(&database).await?;
            dict.set(&mut instance, "k", "1", None).await?;
            tokio::time::sleep(HOLD_LIMIT).await;
            drop(instance);
            return Ok(());
        }
    };
    match ended {
        // That is its end, as it should be.
        Err(Error::CpuLimit(_) | Error::MemoryLimit(_) | Error::Db(_)) => Ok(()),
        Err(other) => Err(other),
        Ok(()) => Ok(()),
    }
}
