//! Runs seeds on several threads, and hands out what they came to in the order of the seeds.
//!
//! What must stay true: what is handed out doesn't depend on how many threads there are.

use anyhow::Result;
use beaver_harness::sim::Simulator;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

/// So many results of each thread wait at most for whoever takes them.
const AHEAD: usize = 16;

/// Runs each seed and gives what came of it to `take`, until that says no. No seed begins once
/// `is_over` says so; those before it are all given.
pub(crate) fn each<T: Send>(
    simulator: &Simulator,
    jobs: usize,
    seeds: Range<u64>,
    is_over: &(dyn Fn() -> bool + Sync),
    run: &(dyn Fn(&Simulator, u64) -> T + Sync),
    take: &mut dyn FnMut(u64, T) -> bool,
) -> Result<()> {
    let simulators = (0..jobs).map(|_| simulator.beside());
    let simulators = simulators.collect::<Result<Vec<_>>>()?;
    let (next, enough) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (sender, results) = sync_channel(jobs * AHEAD);
        for simulator in simulators {
            let sender = sender.clone();
            let (next, enough, seeds) = (&next, &enough, &seeds);
            scope.spawn(move || {
                while !enough.load(Ordering::Relaxed) && !is_over() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) || sender.send((seed, run(&simulator, seed))).is_err()
                    {
                        return;
                    }
                }
            });
        }
        drop(sender);
        in_order(seeds.start, results, take);
        enough.store(true, Ordering::Relaxed);
    });
    Ok(())
}

fn in_order<T>(first: u64, results: Receiver<(u64, T)>, take: &mut dyn FnMut(u64, T) -> bool) {
    let mut wanted = first;
    let mut early = BTreeMap::new();
    for (seed, result) in results {
        early.insert(seed, result);
        while let Some(result) = early.remove(&wanted) {
            if !take(wanted, result) {
                return;
            }
            wanted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_seeds_until_there_are_enough() {
        let (sender, results) = sync_channel(9);
        for seed in [7, 5, 4, 8, 6] {
            sender.send((seed, seed * 10)).unwrap();
        }
        drop(sender);
        let mut taken = Vec::new();
        in_order(4, results, &mut |seed, result| {
            taken.push((seed, result));
            seed < 7
        });
        assert_eq!(taken, [(4, 40), (5, 50), (6, 60), (7, 70)]);
    }
}
