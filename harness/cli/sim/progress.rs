//! What a person sees while many seeds are simulated: one line, on standard error.

use crate::cli::output;
use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it is painted, on a terminal and elsewhere.
const EVERY: Duration = Duration::from_millis(200);
const EVERY_LINE: Duration = Duration::from_secs(10);

/// How far it is.
#[derive(Debug, Default)]
pub(crate) struct Far {
    pub(crate) runs: u64,
    pub(crate) failed: u64,
    /// What else is being done.
    pub(crate) doing: Option<String>,
}

/// Shows it until it is dropped.
pub(crate) struct Live {
    far: Arc<Mutex<Far>>,
    is_terminal: bool,
    ending: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Live {
    /// Of so many runs; nothing is shown if that is not wanted.
    pub(crate) fn show(runs: u64, quiet: bool) -> Self {
        let far = Arc::new(Mutex::new(Far::default()));
        let is_terminal = std::io::stderr().is_terminal();
        let ending = (!quiet).then(|| {
            let (ended, ends) = channel::<()>();
            let far = Arc::clone(&far);
            let every = if is_terminal { EVERY } else { EVERY_LINE };
            let began = Instant::now();
            let show = move || {
                while ends.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    let far = far.lock().unwrap_or_else(PoisonError::into_inner);
                    let line = line(&far, runs, began.elapsed().as_secs_f64());
                    if is_terminal {
                        let mut err = std::io::stderr().lock();
                        let _ = write!(err, "\r\x1b[K{line}").and_then(|()| err.flush());
                    } else {
                        output::note(line);
                    }
                }
            };
            (ended, std::thread::spawn(show))
        });
        let is_terminal = is_terminal && !quiet;
        Self {
            far,
            is_terminal,
            ending,
        }
    }

    /// How far it is, to change it.
    pub(crate) fn far(&self) -> MutexGuard<'_, Far> {
        self.far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is painted while the answer is kept: something else may be written.
    pub(crate) fn aside(&self) -> MutexGuard<'_, Far> {
        let far = self.far();
        self.wipe();
        far
    }

    fn wipe(&self) {
        if self.is_terminal {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for the eye")]
fn line(far: &Far, runs: u64, seconds: f64) -> String {
    let rate = far.runs as f64 / seconds.max(1e-9);
    let mut line = format!(
        "{} of {runs} runs, {rate:.0} runs/s, {} failed",
        far.runs, far.failed
    );
    if far.runs > 0 {
        let left = runs.saturating_sub(far.runs) as f64 / rate;
        line.push_str(&format!(", {} to go", time(left)));
    }
    if let Some(doing) = &far.doing {
        line.push_str("; ");
        line.push_str(doing);
    }
    line
}

fn time(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some((ended, thread)) = self.ending.take() {
            drop(ended);
            let _ = thread.join();
        }
        self.wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is_and_when_it_ends() {
        let mut far = Far::default();
        assert_eq!(line(&far, 9, 0.1), "0 of 9 runs, 0 runs/s, 0 failed");
        far.runs = 100;
        far.failed = 1;
        assert_eq!(
            line(&far, 100_000, 2.0),
            "100 of 100000 runs, 50 runs/s, 1 failed, 33 min to go"
        );
        far.doing = Some("shrinking".into());
        assert!(line(&far, 100, 2.0).ends_with("0 s to go; shrinking"));
    }
}
