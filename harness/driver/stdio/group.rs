//! The process group of a child, which the child leads: it, and whoever it started.
//!
//! What must stay true: a signal goes to this group or to nobody. Its number is its leader's, which
//! the system gives to nobody else before the leader is reaped; so reaping goes through here, and
//! takes along what is left of the group.

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use std::io;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often it is looked what the members do.
const LOOK_EVERY: Duration = Duration::from_micros(200);

pub(super) struct Group {
    number: Pid,
    /// Held for moments only: nobody waits for a process meanwhile.
    leader: Mutex<Leader>,
}

struct Leader {
    process: Child,
    reaped: bool,
}

impl Group {
    /// Of a child that was started as the leader of a group of its own.
    pub(super) fn of(leader: Child) -> Self {
        Self {
            number: Pid::from_child(&leader),
            leader: Mutex::new(Leader {
                process: leader,
                reaped: false,
            }),
        }
    }

    /// Sends it to all. Does nothing once the leader was reaped.
    pub(super) fn signal(&self, signal: Signal) {
        let leader = self.leader();
        if !leader.reaped {
            self.send(signal);
        }
    }

    /// Reaps the leader, which has exited, and kills who it left behind. The same again later.
    pub(super) fn reap(&self) -> io::Result<ExitStatus> {
        let mut leader = self.leader();
        if !leader.reaped {
            self.send(Signal::KILL);
        }
        let status = leader.process.wait();
        leader.reaped = true;
        status
    }

    /// Waits, at most `limit`, until nobody of it is left who was killed with a reaped leader.
    pub(super) fn await_end(&self, limit: Duration) {
        // Most are alone, and that is known at once.
        if test_kill_process_group(self.number).is_ok() {
            self.wait_until(limit, |state| matches!(state, 'Z' | 'X'));
        }
    }

    /// Waits, at most `limit`, until all its threads stand still. One that doesn't by then is
    /// somewhere in the system, and stops before it comes back from there.
    pub(super) fn await_stop(&self, limit: Duration) {
        self.wait_until(limit, |state| matches!(state, 'T' | 't' | 'Z' | 'X'));
    }

    fn wait_until(&self, limit: Duration, wanted: impl Fn(char) -> bool) {
        let began = Instant::now();
        while !self.states().into_iter().all(&wanted) && began.elapsed() < limit {
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The states of all threads of all members. Who ends meanwhile may be missing.
    fn states(&self) -> Vec<char> {
        let number = self.number.as_raw_pid();
        let mut states = Vec::new();
        for process in numbered(Path::new("/proc")) {
            let Some(stat) = Stat::read(&process) else {
                continue;
            };
            if stat.group == number {
                let threads = numbered(&process.join("task"));
                states.extend(threads.filter_map(|it| Some(Stat::read(&it)?.state)));
            }
        }
        states
    }

    fn send(&self, signal: Signal) {
        // It fails if all have ended; and the leader may have gone to another group.
        let _ = kill_process_group(self.number, signal);
        let _ = kill_process(self.number, signal);
    }

    fn leader(&self) -> MutexGuard<'_, Leader> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the system tells of a process or a thread.
struct Stat {
    state: char,
    group: i32,
}

impl Stat {
    fn read(folder: &Path) -> Option<Self> {
        // Its name, which comes before, may be any bytes.
        let stat = std::fs::read(folder.join("stat")).ok()?;
        let name_end = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        // After its parent.
        let group = fields.nth(1)?.parse().ok()?;
        Some(Self { state, group })
    }
}

/// What in a folder is called by a number.
fn numbered(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
        })
        .map(|entry| entry.path())
}
