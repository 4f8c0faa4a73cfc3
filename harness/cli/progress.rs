//! What a person sees while a run goes on: one line, on standard error.

use super::output;
use beaver_harness::run::Progress;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(200);

/// Shows it until it is dropped.
pub(crate) struct Live {
    pub(crate) progress: Arc<Progress>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Of the program `title`. Nothing is shown if that is not wanted; where standard error is
    /// no terminal, only the title.
    pub(crate) fn show(title: String, quiet: bool) -> Self {
        let progress = Arc::new(Progress::default());
        let ended = Arc::new(AtomicBool::new(false));
        let terminal = std::io::stderr().is_terminal();
        if !quiet && !terminal {
            output::note(format_args!("{title} …"));
        }
        let thread = (!quiet && terminal).then(|| {
            let (progress, ended) = (Arc::clone(&progress), Arc::clone(&ended));
            std::thread::spawn(move || show(&title, &progress, &ended))
        });
        Self {
            progress,
            ended,
            thread,
        }
    }
}

fn show(title: &str, progress: &Progress, ended: &AtomicBool) {
    let began = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        let seconds = began.elapsed().as_secs_f64();
        let operations = progress.operations.load(Ordering::Relaxed);
        let failures = progress.failures.load(Ordering::Relaxed);
        let faults = progress.faults.load(Ordering::Relaxed);
        let mut err = std::io::stderr().lock();
        let _ = write!(
            err,
            "\r\x1b[K{title}: {seconds:.1} s, {operations} operations, {failures} errors, {faults} faults"
        );
        let _ = err.flush();
        drop(err);
        std::thread::park_timeout(EVERY);
    }
    let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
}

impl Drop for Live {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
