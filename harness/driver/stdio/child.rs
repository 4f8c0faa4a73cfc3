//! A child process: its life, its standard output and error.
//!
//! What must stay true: what is done to a child is done to its whole process group (the driver may
//! stand behind a wrapper) and to nobody else; what a child writes is kept in bounded memory; a
//! child doesn't outlive the harness, however that ends. Its group is its own: so a terminal's
//! Ctrl-C is the harness's alone, and the kernel hangs up and wakes a stopped child whose parent
//! dies (its group is orphaned then, unless a process of the same login session adopts it). Only
//! one that stands still with all its threads counts as stopped: the harness killed in the moment
//! before leaves it stopped for good, where it isn't our own driver (see `serve`). One that runs
//! sees the end of its input.

use super::exchange::{Exchange, Lost};
use super::group::Group;
use super::pipe::Pipe;
use crate::protocol::Reply;
use anyhow::bail;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The longest line that an answer may have: far more than any operation returns.
const LINE_BYTES_MAX: usize = 64 << 20;

/// How much of standard error is kept: the end.
const NOTES_BYTES_MAX: usize = 16 << 10;

/// How long a child may take to exit once its input has ended; and the others of its group to do
/// what it does at a signal.
const GRACE: Duration = Duration::from_secs(2);

/// How long what it wrote for people may stay open behind it: some other process has it too.
const NOTES_GRACE: Duration = Duration::from_secs(2);

/// Tells a child the number of the process that started it.
pub(in crate::driver) const PARENT: &str = "BEAVER_HARNESS_PARENT";

/// Those that may live; none once all were killed for good.
static CHILDREN: Mutex<Option<Vec<Weak<Child>>>> = Mutex::new(Some(Vec::new()));

/// SIGKILL for all children of this process, and for those that it starts from now on. Waits for
/// nothing and nobody: for who ends at once.
pub(in crate::driver) fn kill_all() {
    let children = CHILDREN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    for child in children.iter().flatten().filter_map(Weak::upgrade) {
        child.group.signal(Signal::KILL);
    }
}

pub(in crate::driver) struct Child {
    /// Locked while something is done to it. Whether we killed it.
    killed: Mutex<bool>,
    group: Group,
    pidfd: OwnedFd,
    pub(in crate::driver) requests: Pipe,
    notes: Arc<Mutex<VecDeque<u8>>>,
}

impl Child {
    /// Starts it, and a thread that gives its answers to `exchange`.
    pub(super) fn spawn(command: Command, exchange: &Arc<Exchange>) -> anyhow::Result<Arc<Self>> {
        let (sender, started) = sync_channel(1);
        let exchange = Arc::clone(exchange);
        // It also starts the child: to Linux a parent that dies is a thread, and this one lives
        // as long as the child (see `serve`).
        let work = move || match Self::start(command) {
            Err(error) => drop(sender.send(Err(error))),
            Ok((child, stdout, noted)) => {
                if sender.send(Ok(Arc::clone(&child))).is_ok() {
                    child.hear(stdout, &noted, &exchange);
                }
            }
        };
        thread("driver-answers").spawn(work)?;
        started.recv()?
    }

    fn start(mut command: Command) -> anyhow::Result<(Arc<Self>, ChildStdout, Receiver<()>)> {
        // Held until it is entered: `kill_all` misses nobody.
        let mut children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(children) = &mut *children else {
            bail!("all processes were killed");
        };
        let mut process = command
            .env(PARENT, std::process::id().to_string())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pipes = (
            process.stdin.take().map(Pipe::new),
            process.stdout.take(),
            process.stderr.take(),
        );
        let pidfd = pidfd_open(Pid::from_child(&process), PidfdFlags::empty());
        let (Ok(pidfd), (Some(Ok(requests)), Some(stdout), Some(stderr))) = (pidfd, pipes) else {
            let _ = process.kill();
            let _ = process.wait();
            bail!("its pipes can't be had");
        };
        let child = Arc::new(Self {
            killed: Mutex::new(false),
            group: Group::of(process),
            pidfd,
            requests,
            notes: Arc::default(),
        });
        let notes = Arc::clone(&child.notes);
        let (all, noted) = sync_channel::<()>(1);
        let started = thread("driver-notes").spawn(move || {
            keep_notes(stderr, &notes);
            drop(all);
        });
        if let Err(error) = started {
            child.kill();
            bail!("a thread can't be had: {error}");
        }
        children.retain(|child| child.strong_count() > 0);
        children.push(Arc::downgrade(&child));
        Ok((child, stdout, noted))
    }

    /// Hands on what it answers, until it is dead. `noted` ends with its notes.
    fn hear(&self, stdout: ChildStdout, noted: &Receiver<()>, exchange: &Exchange) {
        let lost = match read_answers(stdout, exchange) {
            Some(why) => Lost::Nonsense(why),
            None => {
                let why = self.how_it_ended();
                // Whoever hears of its end may ask what it wrote last.
                let _ = noted.recv_timeout(NOTES_GRACE);
                Lost::Ended(why)
            }
        };
        exchange.lose(lost);
        self.kill();
    }

    /// SIGKILL; returns when it is dead. Does nothing to a dead one; says so, and how it ended, if
    /// it wasn't killed before.
    pub(in crate::driver) fn kill(&self) -> Option<String> {
        let mut killed = self.killed();
        let exited = self.exits_within(Duration::ZERO);
        if !exited {
            // A stopped process dies of it too.
            self.group.signal(Signal::KILL);
            while !self.exits_within(GRACE) {}
        }
        let status = self.group.reap().ok();
        self.group.await_end(GRACE);
        if !exited {
            // It may have been quicker.
            *killed = status.is_none_or(|it| it.signal() == Some(Signal::KILL.as_raw()));
        }
        let by_itself = status.filter(|_| !*killed);
        drop(killed);
        self.requests.close();
        by_itself.map(|status| format!("the process ended ({status})"))
    }

    /// SIGSTOP; returns when it stands still.
    pub(super) fn stop(&self) -> anyhow::Result<()> {
        let _alone = self.killed();
        if self.exits_within(Duration::ZERO) {
            bail!("the process has ended");
        }
        self.group.signal(Signal::STOP);
        self.group.await_stop(GRACE);
        Ok(())
    }

    /// SIGCONT.
    pub(super) fn resume(&self) -> anyhow::Result<()> {
        let _alone = self.killed();
        // To whom it left behind, too.
        self.group.signal(Signal::CONT);
        if self.exits_within(Duration::ZERO) {
            bail!("the process has ended");
        }
        Ok(())
    }

    /// Ends its input and gives it a moment to exit by itself; then kills it.
    pub(super) fn end(&self) {
        self.requests.close();
        self.exits_within(GRACE);
        self.kill();
    }

    /// Whether it exits in this time. It stays to be reaped.
    pub(in crate::driver) fn exits_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).ok();
            // A pidfd is readable when its process has exited.
            let mut exited = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut exited, left.as_ref()) {
                Err(Errno::INTR) => {}
                Ok(ready) => return ready > 0,
                Err(_) => return false,
            }
        }
    }

    /// The end of what it wrote to standard error.
    pub(in crate::driver) fn notes(&self) -> String {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(notes.make_contiguous()).into_owned()
    }

    /// In words, after its output ended. It has closed that or is exiting.
    fn how_it_ended(&self) -> String {
        if !self.exits_within(GRACE) {
            self.kill();
            return "the process closed its standard output".into();
        }
        self.requests.close();
        let _alone = self.killed();
        match self.group.reap() {
            Ok(status) => format!("the process ended ({status})"),
            Err(error) => format!("the process ended ({error})"),
        }
    }

    fn killed(&self) -> MutexGuard<'_, bool> {
        self.killed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn thread(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.to_owned())
}

/// Hands on every answer. Returns at the end of the output, or with what is wrong with it.
fn read_answers(stdout: impl Read, exchange: &Exchange) -> Option<String> {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        match (&mut stdout).take(limit).read_until(b'\n', &mut line) {
            Ok(_) if line.last() == Some(&b'\n') => {}
            Ok(read) if read == LINE_BYTES_MAX => {
                return Some(format!("a line of its output has more than {limit} bytes"));
            }
            // Perhaps half an answer, cut off by a kill.
            Ok(_) => return None,
            Err(error) => return Some(format!("its output can't be read: {error}")),
        }
        let given = match std::str::from_utf8(&line) {
            Ok(text) => match Reply::parse(text.trim_end()) {
                Ok(reply) => exchange.answer(reply),
                Err(error) => Err(format!("{error}, in {}", shown(text.trim_end()))),
            },
            Err(_) => Err(format!(
                "a line of its output is not UTF-8: {}",
                shown(&String::from_utf8_lossy(&line))
            )),
        };
        if let Err(why) = given {
            return Some(why);
        }
    }
}

/// A line, short enough for a message.
fn shown(line: &str) -> String {
    let mut shown: String = line.chars().take(200).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}

fn keep_notes(mut stderr: impl Read, notes: &Mutex<VecDeque<u8>>) {
    let mut chunk = [0; 4096];
    loop {
        let read = match stderr.read(&mut chunk) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.extend(chunk.get(..read).unwrap_or_default());
        let excess = notes.len().saturating_sub(NOTES_BYTES_MAX);
        notes.drain(..excess);
    }
}
