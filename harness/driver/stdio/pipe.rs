//! The child's standard input, written to in bounded time.
//!
//! What must stay true: a child that doesn't read (it is stopped, or stuck) holds up nobody
//! for longer than their patience; lines are never mixed.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use std::io;
use std::process::ChildStdin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why a line was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::driver) enum WriteError {
    /// The child, or we, closed it.
    Closed,
    /// The time is up; part of the line may be written.
    TimedOut,
}

pub(in crate::driver) struct Pipe {
    state: Mutex<State>,
    free: Condvar,
}

enum State {
    Free(ChildStdin),
    /// Somebody writes. Whether it is to be closed then.
    Taken {
        close: bool,
    },
    Closed,
}

impl Pipe {
    pub(super) fn new(stdin: ChildStdin) -> io::Result<Self> {
        // Of our end alone: the child has the other.
        fcntl_setfl(&stdin, fcntl_getfl(&stdin)? | OFlags::NONBLOCK)?;
        Ok(Self {
            state: Mutex::new(State::Free(stdin)),
            free: Condvar::new(),
        })
    }

    /// Writes `line` and an end of line.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub(in crate::driver) fn write_line(
        &self,
        mut line: String,
        deadline: Option<Instant>,
    ) -> Result<(), WriteError> {
        line.push('\n');
        let stdin = self.take(deadline)?;
        let written = write(&stdin, line.as_bytes(), deadline);
        let mut state = self.state();
        *state = match *state {
            // A line in part makes nonsense of the next one.
            State::Taken { close: false } if written.is_ok() => State::Free(stdin),
            _ => State::Closed,
        };
        drop(state);
        self.free.notify_one();
        written
    }

    /// Closes it: the child sees the end of its input.
    pub(in crate::driver) fn close(&self) {
        let mut state = self.state();
        *state = match *state {
            State::Taken { .. } => State::Taken { close: true },
            State::Free(_) | State::Closed => State::Closed,
        };
        drop(state);
        self.free.notify_all();
    }

    fn take(&self, deadline: Option<Instant>) -> Result<ChildStdin, WriteError> {
        let mut state = self.state();
        loop {
            match std::mem::replace(&mut *state, State::Closed) {
                State::Closed => return Err(WriteError::Closed),
                State::Free(stdin) => {
                    *state = State::Taken { close: false };
                    return Ok(stdin);
                }
                taken @ State::Taken { .. } => *state = taken,
            }
            let left = left(deadline).unwrap_or(Duration::MAX);
            if left.is_zero() {
                return Err(WriteError::TimedOut);
            }
            // A year is as good as for ever, and can be added to any moment.
            let left = left.min(Duration::from_secs(31_536_000));
            let waited = self.free.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn left(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

fn write(
    stdin: &ChildStdin,
    mut bytes: &[u8],
    deadline: Option<Instant>,
) -> Result<(), WriteError> {
    while !bytes.is_empty() {
        match rustix::io::write(stdin, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let left = left(deadline);
                if left.is_some_and(|left| left.is_zero()) {
                    return Err(WriteError::TimedOut);
                }
                let limit = left.and_then(|left| Timespec::try_from(left).ok());
                let mut ready = [PollFd::new(stdin, PollFlags::OUT)];
                match poll(&mut ready, limit.as_ref()) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(_) => return Err(WriteError::Closed),
                }
            }
            Err(_) => return Err(WriteError::Closed),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_that_does_not_read_holds_up_nobody() {
        let mut child = Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pipe = Pipe::new(child.stdin.take().unwrap()).unwrap();
        let soon = || Some(Instant::now() + Duration::from_millis(20));
        pipe.write_line("fits".into(), soon()).unwrap();
        let large = "x".repeat(10 << 20);
        assert_eq!(
            pipe.write_line(large, soon()),
            Err(WriteError::TimedOut),
            "more than a pipe holds"
        );
        assert_eq!(
            pipe.write_line("next".into(), soon()),
            Err(WriteError::Closed),
            "after half a line"
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn whoever_waits_behind_another_has_a_time_of_its_own() {
        let mut child = Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pipe = Pipe::new(child.stdin.take().unwrap()).unwrap();
        std::thread::scope(|scope| {
            let stuck = scope.spawn(|| pipe.write_line("x".repeat(10 << 20), None));
            while !matches!(*pipe.state(), State::Taken { .. }) {
                std::thread::yield_now();
            }
            let soon = Some(Instant::now() + Duration::from_millis(20));
            let late = pipe.write_line("behind".into(), soon);
            assert_eq!(late, Err(WriteError::TimedOut));
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!(stuck.join().unwrap(), Err(WriteError::Closed));
        });
    }
}
