//! What SIGINT, SIGTERM and SIGHUP do to a run.
//!
//! What must stay true: after the first one, what is there is still reported; after the second the
//! process ends at once, and no child is left. A signal that whoever started us ignores (`nohup`)
//! stays ignored.

use anyhow::{Context as _, Result};
use beaver_harness::driver;
use beaver_harness::run::Progress;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Knows whether this run was interrupted.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    by: Option<&'static str>,
    current: Option<Arc<Progress>>,
}

impl Interrupt {
    /// From now on signals interrupt this run.
    pub(crate) fn watch() -> Result<Self> {
        let interrupt = Self::default();
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        let heard = NAMES
            .iter()
            .map(|(signal, _)| *signal)
            .filter(|signal| ignored & (1 << (signal - 1)) == 0);
        let mut signals = Signals::new(heard).context("signals can't be caught")?;
        let me = interrupt.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    me.signalled(signal);
                }
            })?;
        Ok(interrupt)
    }

    fn signalled(&self, signal: i32) {
        let mut state = self.state();
        if state.by.is_some() {
            driver::kill_all();
            std::process::exit(super::EXIT_UNKNOWN.into());
        }
        let name = NAMES.iter().find(|(known, _)| *known == signal);
        let name = name.map_or("a signal", |(_, name)| name);
        state.by = Some(name);
        if let Some(progress) = &state.current {
            progress.halt.store(true, Ordering::Relaxed);
        }
        super::output::note(format_args!(
            "beaver-harness: {name}: ending early; once more ends at once"
        ));
    }

    /// This is what is to be ended early now.
    pub(crate) fn ends(&self, progress: &Arc<Progress>) {
        let mut state = self.state();
        if state.by.is_some() {
            progress.halt.store(true, Ordering::Relaxed);
        }
        state.current = Some(Arc::clone(progress));
    }

    /// By what the run was interrupted, if it was.
    pub(crate) fn by(&self) -> Option<&'static str> {
        self.state().by
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NAMES: [(i32, &str); 3] = [(SIGINT, "SIGINT"), (SIGTERM, "SIGTERM"), (SIGHUP, "SIGHUP")];

/// The set of ignored signals, as the system tells of a process.
fn ignored(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_of_ignored_signals_is_read_as_the_system_writes_it() {
        let status = "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored(status), 0x1001);
        assert_eq!(ignored(""), 0);
    }

    #[test]
    fn what_begins_after_the_first_signal_is_halted_from_the_start() {
        let interrupt = Interrupt::default();
        let (first, second) = (Arc::new(Progress::default()), Arc::new(Progress::default()));
        interrupt.ends(&first);
        interrupt.signalled(SIGTERM);
        interrupt.ends(&second);
        assert_eq!(interrupt.by(), Some("SIGTERM"));
        assert!(first.halt.load(Ordering::Relaxed) && second.halt.load(Ordering::Relaxed));
    }
}
