//! Each target on its corpus, and on as many inputs of chance as it says: parts of the corpus,
//! changed, cut and put together.
//!
//! What must stay true: the same inputs each time. A seed of one's own: `BEAVER_FUZZ_SEED`.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_fuzz::{TARGETS, Target};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| {
        panic!("{}: {error}", folder.display());
    });
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: PathBuf| (path.clone(), std::fs::read(path).unwrap());
    files.into_iter().map(read).collect()
}

fn try_all(target: &Target) {
    let corpus = corpus(target);
    assert!(!corpus.is_empty(), "{} has no corpus", target.name);
    for (path, bytes) in &corpus {
        attempt(target, bytes, &path.display().to_string());
    }
    let seed = std::env::var("BEAVER_FUZZ_SEED").map_or(1, |seed| seed.parse().unwrap());
    for number in 0..target.tries {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(u64::from(number));
        let bytes = mutant(&corpus, target.bytes_max, &mut random);
        attempt(target, &bytes, &format!("seed {seed}, input {number}"));
    }
}

/// Keeps what failed where it can be run again.
fn attempt(target: &Target, bytes: &[u8], what: &str) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))).is_err() {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.input", target.name));
        std::fs::write(&path, bytes).unwrap();
        panic!("{}: {what} fails; kept in {}", target.name, path.display());
    }
}

fn mutant(corpus: &[(PathBuf, Vec<u8>)], bytes_max: usize, random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = corpus[random.random_range(0..corpus.len())].1.clone();
    for _ in 0..random.random_range(1..=8) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..5) {
            0 if at < bytes.len() => bytes[at] = random.random(),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            2 => bytes.truncate(at),
            3 => {
                let other = &corpus[random.random_range(0..corpus.len())].1;
                let from = random.random_range(0..=other.len());
                let to = random.random_range(from..=other.len().min(from + 64));
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let more: [u8; 8] = random.random();
                bytes.splice(at..at, more[..random.random_range(1..=8)].iter().copied());
            }
        }
    }
    bytes.truncate(bytes_max);
    bytes
}

/// One test for each target, so that they run beside each other.
macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            try_all(beaver_fuzz::named(stringify!($name)).unwrap());
        })*

        #[test]
        fn every_target_is_tried_here() {
            let here = [$(stringify!($name)),*];
            let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(here[..], known[..]);
        }
    };
}

targets! {
    list
    json
    fts
    graph
    lock_rows
    files
    dump
    secret
    protocol
    history
    operations
    storage
    component_files
    component_arguments
}
