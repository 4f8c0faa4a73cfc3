//! Programs without end: what the clients of a system do all day, made from a seed.
//!
//! What must stay true: a step is made from the seed, the worker and the step's number, and from
//! nothing else. So a plan can be written down, shrunk and run again. Values are
//! distinct wherever a check has to tell them apart.

mod bank;
mod blob_replace;
mod certified;
mod channel_delivery;
mod collection_states;
mod dict_increment;
mod dict_registers;
mod dict_transactions;
mod list_edits;
mod lock_exclusion;
mod lock_fencing;
mod lock_fifo;
mod lock_mandatory;
mod lock_renewal;
mod lock_timeouts;
mod lock_ttl;
mod log_delivery;
mod mixed;
mod ops;
mod queue_batches;
mod queue_delivery;
mod queue_timeouts;
#[cfg(test)]
mod tests;
mod write_skew;

use crate::check::CheckSpec;
use crate::program::{Plan, Program};
use crate::protocol::{Capability, ErrorCode, LockName};
use crate::run::FaultKind;
use crate::step::Step;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// What a workload is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many workers, at least one.
    pub workers: u32,
    /// Where all random choices come from.
    pub seed: u64,
}

/// A kind of program.
#[derive(Clone, Copy)]
pub struct Workload {
    /// Its name on the command line.
    pub name: &'static str,
    /// What its checks verify, in one sentence.
    pub promise: &'static str,
    /// What a driver must offer for it: all that its steps need, and what its checks
    /// make sense with.
    pub requires: &'static [Capability],
    /// Faults after which its promise is none: the file says why.
    pub unfit: &'static [FaultKind],
    parts: fn(&Settings) -> Parts,
}

impl std::fmt::Debug for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Workload").field(&self.name).finish()
    }
}

/// What a workload consists of.
struct Parts {
    set_up: Vec<Step>,
    prologue: Vec<Vec<Step>>,
    step: Box<dyn Fn(u32, u64) -> Step + Send + Sync>,
    epilogue: Vec<Vec<Step>>,
    tear_down: Vec<Step>,
    checks: Vec<CheckSpec>,
}

impl Parts {
    /// Steps, and checks on what they do.
    fn new(
        step: impl Fn(u32, u64) -> Step + Send + Sync + 'static,
        checks: impl IntoIterator<Item = CheckSpec>,
    ) -> Self {
        Self {
            set_up: Vec::new(),
            prologue: Vec::new(),
            step: Box::new(step),
            epilogue: Vec::new(),
            tear_down: Vec::new(),
            checks: checks.into_iter().collect(),
        }
    }
}

/// All there are.
pub fn all() -> &'static [Workload] {
    const ALL: &[Workload] = &[
        dict_increment::WORKLOAD,
        dict_registers::WORKLOAD,
        dict_registers::OPERATIONS,
        dict_transactions::WORKLOAD,
        queue_delivery::WORKLOAD,
        queue_batches::BATCHES,
        queue_batches::LOCKED,
        queue_batches::THIEF,
        queue_timeouts::WORKLOAD,
        list_edits::WORKLOAD,
        collection_states::WORKLOAD,
        collection_states::LOCKED,
        blob_replace::WORKLOAD,
        lock_exclusion::WORKLOAD,
        lock_exclusion::MANAGERS,
        lock_fifo::WORKLOAD,
        lock_timeouts::WORKLOAD,
        lock_ttl::WORKLOAD,
        lock_renewal::WORKLOAD,
        lock_fencing::WORKLOAD,
        lock_mandatory::WORKLOAD,
        bank::WORKLOAD,
        bank::LOCKED,
        write_skew::WORKLOAD,
        write_skew::LOCKED,
        log_delivery::WORKLOAD,
        log_delivery::UNFOLLOWED,
        channel_delivery::WORKLOAD,
        certified::WORKLOAD,
        mixed::WORKLOAD,
        mixed::LOCKED,
    ];
    ALL
}

/// The one of this name.
pub fn named(name: &str) -> Option<&'static Workload> {
    all().iter().find(|workload| workload.name == name)
}

impl Workload {
    /// The program.
    pub fn plan(&self, settings: &Settings) -> Plan {
        let parts = (self.parts)(settings);
        let workers = settings.workers;
        let frame = Program {
            program: 1,
            name: self.name.to_owned(),
            promise: self.promise.to_owned(),
            set_up: parts.set_up,
            prologue: parts.prologue,
            epilogue: parts.epilogue,
            tear_down: parts.tear_down,
            checks: parts.checks,
            ..Program::default()
        };
        Plan {
            frame,
            workers,
            source: Box::new(move |worker, number| {
                (worker < workers).then(|| (parts.step)(worker, number))
            }),
            requires: self.requires.to_vec(),
        }
    }
}

/// Random choices for one step.
fn rng(seed: u64, worker: u32, number: u64) -> ChaCha8Rng {
    // As the key itself: no two steps share a stream.
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..12].copy_from_slice(&worker.to_le_bytes());
    key[16..24].copy_from_slice(&number.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A text that no other step has: `3.17` for step 17 of worker 3.
fn mark(worker: u32, number: u64) -> String {
    format!("{worker}.{number}")
}

/// A key that is used for some time and then never again: the search for an order of what was
/// done with a key gets harder the longer that goes on, and with each operation without an answer.
fn key(random: &mut ChaCha8Rng, keys: u32, number: u64) -> String {
    const STEPS: u64 = 100;
    format!("k{}.{}", number / STEPS, random.random_range(0..keys))
}

/// Whether the choice falls on `share` of `of`.
fn chance(random: &mut ChaCha8Rng, share: u32, of: u32) -> bool {
    random.random_range(0..of) < share
}

/// A list has always so many items, so that each index below means something: nothing before that
/// is deleted.
const LIST_LEAST: i64 = 8;

/// The items that a list begins with.
fn first_items() -> impl Iterator<Item = String> {
    (0..LIST_LEAST).map(|item| format!("first.{item}"))
}

/// Several steps as one.
fn all_of(body: Vec<Step>) -> Step {
    Step::Repeat { count: 1, body }
}

/// `body` under a lock that somebody who dies doesn't keep for long.
fn held(lock: LockName, timeout_ms: Option<u64>, body: Vec<Step>) -> Step {
    Step::Locked {
        lock,
        timeout_ms,
        ttl_ms: Some(TTL_MS),
        body,
    }
}

/// `body` as one unit: under the manager's lock, or as a transaction.
fn unit(lock: Option<&LockName>, body: Vec<Step>) -> Step {
    match lock {
        Some(lock) => held(lock.clone(), Some(PATIENT_MS), body),
        None => Step::Transaction { body },
    }
}

/// Checks that belong to every workload.
fn every(allow: &[ErrorCode]) -> Vec<CheckSpec> {
    vec![
        CheckSpec::Errors {
            allow: allow.to_vec(),
        },
        CheckSpec::Timeouts,
        CheckSpec::Completion,
        CheckSpec::Integrity,
    ]
}

/// Checks that belong to every workload with locks. Who is slow may lose a lock: whether it was
/// too early is for `lock-ttl` to say.
fn locks(allow: &[ErrorCode]) -> Vec<CheckSpec> {
    let allow = [allow, &[ErrorCode::LockLost, ErrorCode::NotHeld]].concat();
    let mut checks = vec![
        CheckSpec::MutualExclusion,
        CheckSpec::FencingTokens,
        CheckSpec::LockTtl,
        CheckSpec::LockLiveness {
            // How soon a death is noticed is for `killed-holder` to show.
            dead_holder_ms: None,
        },
    ];
    checks.extend(every(&allow));
    checks
}

/// How long to wait where nobody means to wait in vain.
const PATIENT_MS: u64 = 30_000;

/// How long a grant lasts where nobody means to lose it: longer than any pause, and shorter
/// than the others' patience.
const TTL_MS: u64 = 10_000;
