//! Blobs of some 64 KiB that are replaced as a whole.
//!
//! All faults make sense.

use super::ops::{blob_delete, blob_get, blob_put};
use super::{Parts, Settings, Workload, every, key, mark, rng};
use crate::check::CheckSpec;
use crate::protocol::Capability;
use crate::run::pattern;
use rand::Rng as _;

pub(super) const WORKLOAD: Workload = Workload {
    name: "blob-replace",
    promise: "Whoever reads a blob reads one that was written, whole.",
    requires: &[Capability::Blob],
    unfit: &[],
    parts,
};

const NAME: &str = "blobs";

fn parts(settings: &Settings) -> Parts {
    let seed = settings.seed;
    let keys = 2 + settings.workers / 8;
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        let key = key(&mut random, keys, number);
        match random.random_range(0..20) {
            0..10 => blob_get(NAME, &key).into(),
            10 => blob_delete(NAME, &key).into(),
            _ => {
                // Also short ones, and such as end in the middle of a page.
                let bytes = match random.random_range(0..4) {
                    0 => random.random_range(200..5000),
                    _ => random.random_range(60_000..70_000),
                };
                blob_put(NAME, &key, pattern(&mark(worker, number), bytes)).into()
            }
        }
    };
    let mut checks = vec![CheckSpec::Linearizable];
    checks.extend(every(&[]));
    Parts::new(step, checks)
}
