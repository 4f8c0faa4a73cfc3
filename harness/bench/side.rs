//! A side's process: carries out orders until standard input ends.

use crate::args::{Place, SideName};
use crate::component::Component;
use crate::lifecycle;
use crate::measurement::Measurement;
use crate::native::Native;
use crate::protocol::{Order, Reply};
use crate::store::Side;
use crate::workloads;
use anyhow::{Result, bail};
use serde::Serialize;
use std::io::{BufRead as _, Write as _};
use std::time::Duration;

/// Runs `side` on the file at `place`.
pub(crate) fn serve(side: SideName, place: &Place) -> Result<()> {
    // 200 native connections need as many descriptors as 200 instances.
    beaver_host::storage::raise_fd_limit();
    match side {
        SideName::Native => orders(&Native::new(&place.directory)?),
        SideName::Component => orders(&Component::new(place)?),
    }
}

fn orders(side: &impl Side) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    // Both stay open: whoever opens or closes beside them is never the first
    // or the last to use the file.
    let (mut store, mut other) = runtime.block_on(async {
        let store = side.open(side.instantiate().await?).await?;
        let other = side.open(side.instantiate().await?).await?;
        anyhow::Ok((store, other))
    })?;
    say(&Reply::Ready)?;
    for line in std::io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let time = Duration::try_from_secs_f64(order.seconds)?;
        let measured = runtime.block_on(measure(side, &mut store, &mut other, order.measure, time));
        say(&measured.unwrap_or_else(|error| Reply::Failed(format!("{error:#}"))))?;
    }
    Ok(())
}

async fn measure<S: Side>(
    side: &S,
    store: &mut S::Store,
    other: &mut S::Store,
    what: Measurement,
    time: Duration,
) -> Result<Reply> {
    let sample = match what {
        Measurement::Memory => return lifecycle::memory(side).await,
        Measurement::Call => workloads::call(store, time).await,
        Measurement::Get => workloads::get(store, time).await,
        Measurement::GetCold => workloads::get_cold(store, other, time).await,
        Measurement::Set => workloads::set(store, time).await,
        Measurement::Transaction => workloads::transaction(store, time).await,
        Measurement::Locked => workloads::locked(store, time).await,
        Measurement::Put => workloads::put(store, time).await,
        Measurement::Take => workloads::take(store, time).await,
        Measurement::TakeBatch => workloads::take_batch(store, time).await,
        Measurement::Iterate => workloads::iterate(store, time).await,
        Measurement::Instantiate => lifecycle::instantiate(side, time).await,
        Measurement::Open => lifecycle::open(side, time).await,
        Measurement::Drop => lifecycle::dropping(side, time).await,
        Measurement::Contended { .. } | Measurement::HandOff(_) | Measurement::Killed => {
            bail!("that is for a crew")
        }
    };
    sample.map(Reply::Times)
}

/// Says something to the parent, in one line whoever else speaks.
pub(crate) fn say(reply: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, reply)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
