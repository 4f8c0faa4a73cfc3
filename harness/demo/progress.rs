//! What a person sees while the demo runs: one line that is rewritten on a
//! terminal, now and then a plain line elsewhere. On standard error, so that
//! standard output holds the results only.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Elsewhere than on a terminal, lines of one phase come no closer.
const PLAIN_INTERVAL: Duration = Duration::from_secs(3);

pub(crate) struct Progress {
    terminal: bool,
    started: Instant,
    phase: String,
    last_plain: Instant,
    dirty: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            terminal: std::io::stderr().is_terminal(),
            started: now,
            phase: String::new(),
            last_plain: now,
            dirty: false,
        }
    }

    /// What is being done from now on.
    pub(crate) fn phase(&mut self, phase: &str) {
        self.phase = phase.to_owned();
        if self.terminal {
            self.draw("");
        } else {
            eprintln!("[{:5.1} s] {phase}", self.started.elapsed().as_secs_f64());
            self.last_plain = Instant::now();
        }
    }

    /// How far it is.
    pub(crate) fn update(&mut self, detail: &str) {
        if self.terminal {
            self.draw(detail);
        } else if self.last_plain.elapsed() >= PLAIN_INTERVAL {
            self.last_plain = Instant::now();
            let seconds = self.started.elapsed().as_secs_f64();
            eprintln!("[{seconds:5.1} s] {}: {detail}", self.phase);
        }
    }

    /// Leaves no half line behind.
    pub(crate) fn clear(&mut self) {
        if self.terminal && self.dirty {
            eprint!("\r\x1b[K");
            let _ = std::io::stderr().flush();
            self.dirty = false;
        }
    }

    fn draw(&mut self, detail: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        let colon = if detail.is_empty() { "" } else { ": " };
        eprint!("\r\x1b[K[{seconds:5.1} s] {}{colon}{detail}", self.phase);
        let _ = std::io::stderr().flush();
        self.dirty = true;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
