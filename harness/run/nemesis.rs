//! Who does the faults of a run.

use super::Settings;
use super::Shared;
use crate::program::{Fault, Plan};
use crate::protocol::Capability;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// SIGKILL of a process, and a new one.
    Kill,
    /// SIGKILL of all processes at once; SQLite then says whether the file is whole.
    KillAll,
    /// SIGSTOP of a process, and SIGCONT after up to a second and a half.
    Stop,
    /// A client is abandoned.
    Drop,
    /// A client's guest fails.
    Trap,
    /// Wall clocks that are off by up to four seconds.
    Clock,
    /// Another process keeps SQLite's write lock for up to half a second.
    BusyWriter,
}

impl FaultKind {
    /// All there are.
    pub const ALL: [Self; 7] = [
        Self::Kill,
        Self::KillAll,
        Self::Stop,
        Self::Drop,
        Self::Trap,
        Self::Clock,
        Self::BusyWriter,
    ];

    /// What a driver must offer for it.
    pub fn requires(self) -> Option<Capability> {
        match self {
            Self::Kill | Self::KillAll | Self::Stop => None,
            Self::Drop => Some(Capability::Drop),
            Self::Trap => Some(Capability::Trap),
            Self::Clock => Some(Capability::Clock),
            Self::BusyWriter => Some(Capability::Sqlite),
        }
    }

    /// Whether it needs real processes.
    pub fn needs_processes(self) -> bool {
        matches!(self, Self::Kill | Self::KillAll | Self::Stop)
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillAll => "kill-all",
            Self::Stop => "stop",
            Self::Drop => "drop",
            Self::Trap => "trap",
            Self::Clock => "clock",
            Self::BusyWriter => "busy-writer",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| {
                format!(
                    "{text:?} is no fault: there are kill, kill-all, stop, drop, trap, clock and busy-writer"
                )
            })
    }
}

/// The longest pause. Shorter than what a waiter's place in line survives.
const STOP_MAX_MS: u64 = 1500;
/// The longest that somebody else writes. Shorter than what anybody's busy handler waits.
const BUSY_MAX_MS: u64 = 500;
/// How far clocks are off at most. Two of them so differ by less than any time to live of a
/// workload that can take this fault: by a clock that is further ahead, a grant is over, and
/// nobody can tell that clock from one that is right.
const CLOCK_OFFSET_MAX_MS: i64 = 4000;

/// By how much the clock of each process is off.
pub(crate) fn clock_offsets(plan: &Plan, settings: &Settings, processes: u32) -> Vec<i64> {
    if settings.faults.contains(&FaultKind::Clock) {
        let mut random = ChaCha8Rng::seed_from_u64(settings.seed ^ digest(&plan.frame.name) ^ 1);
        let offset = |_| random.random_range(-CLOCK_OFFSET_MAX_MS..=CLOCK_OFFSET_MAX_MS);
        return (0..processes).map(offset).collect();
    }
    plan.frame.clock_offsets_ms.clone()
}

/// FNV-1a.
pub(crate) fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Does faults until the workers have finished.
pub(super) fn rage(shared: &Shared<'_>) {
    let settings = shared.course.settings;
    let kinds: Vec<_> = settings
        .faults
        .iter()
        .filter(|kind| **kind != FaultKind::Clock)
        .collect();
    if kinds.is_empty() || shared.course.plan.workers == 0 {
        // A program may have busy writers of its own.
        while wait(shared, Duration::from_secs(1)) {}
        return;
    }
    // Not the same faults for all programs of a suite.
    let mut random =
        ChaCha8Rng::seed_from_u64(settings.seed ^ digest(&shared.course.plan.frame.name));
    let mean = settings.fault_interval;
    let mut done = 0;
    while settings.faults_max.is_none_or(|most| done < most) {
        let pause = mean.mul_f64(random.random_range(0.5..1.5));
        if !wait(shared, pause) {
            return;
        }
        let worker = random.random_range(0..shared.course.plan.workers);
        let fault = match kinds[random.random_range(0..kinds.len())] {
            FaultKind::Kill => Fault::Kill { worker },
            FaultKind::KillAll => Fault::KillAll {
                sqlite_first: random.random(),
            },
            FaultKind::Stop => Fault::Stop {
                worker,
                for_ms: random.random_range(20..=STOP_MAX_MS),
            },
            FaultKind::Drop => Fault::Drop { worker },
            FaultKind::BusyWriter => Fault::BusyWriter {
                for_ms: random.random_range(20..=BUSY_MAX_MS),
            },
            FaultKind::Trap | FaultKind::Clock => Fault::Trap { worker },
        };
        match shared.crew.inflict(fault) {
            Ok(true) => {
                done += 1;
                shared
                    .course
                    .progress
                    .faults
                    .fetch_add(1, Ordering::Relaxed);
                if matches!(
                    fault,
                    Fault::KillAll {
                        sqlite_first: false
                    }
                ) && let Err(error) = shared.crew.ask_sqlite_second()
                {
                    shared.crew.trouble(format!("{error:#}"));
                }
            }
            Ok(false) => {}
            Err(error) => shared.crew.trouble(format!("{}: {error:#}", fault.name())),
        }
    }
    shared.enough.store(true, Ordering::Relaxed);
}

/// Waits; false when the workers have finished or the time is up.
fn wait(shared: &Shared<'_>, pause: Duration) -> bool {
    let until = Instant::now() + pause;
    loop {
        if shared.time_is_up() || shared.crew.idle() {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        shared.crew.reap_writers(false);
        std::thread::sleep(left.min(Duration::from_millis(20)));
    }
}
