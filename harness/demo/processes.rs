//! The demo's side of its processes: starting, ordering, listening, ending.
//!
//! What must stay true: a child that dies, says something unintelligible or
//! keeps silent for too long is an error, never a missing line in the table;
//! and when this value is dropped, on whatever path, no child is left.

use crate::protocol::{Command, Event, Order, Report};
use crate::verdict::{Kind, Who};
use anyhow::{Context as _, Result, anyhow, bail};
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a child may take to open the file, compiling the component included.
const START_MAX: Duration = Duration::from_secs(180);
/// How long a child may take to close everything and exit.
const QUIT_MAX: Duration = Duration::from_secs(30);
/// How often `collect` calls its `tick`.
const TICK: Duration = Duration::from_millis(100);
/// How much of what a child says on standard error is kept.
const STDERR_LINES_MAX: usize = 20;

/// All processes that take part.
pub(crate) struct Crew {
    members: Vec<Member>,
    incoming: Receiver<(usize, Incoming)>,
    /// For the threads that listen to further members.
    sender: Sender<(usize, Incoming)>,
}

struct Member {
    name: String,
    kind: Kind,
    workers: usize,
    child: Child,
    /// None once it was closed.
    orders: Option<ChildStdin>,
    complaints: Arc<Mutex<VecDeque<String>>>,
    /// Hears the complaints until the child's standard error is closed.
    listener: Option<JoinHandle<()>>,
    ready: bool,
}

enum Incoming {
    Line(String),
    End,
}

/// One worker of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerId {
    member: usize,
    worker: usize,
}

/// What `collect` does after a look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tick {
    GoOn,
    /// Tells everybody to stop (once).
    Stop,
}

impl Crew {
    pub(crate) fn new() -> Self {
        let (sender, incoming) = channel();
        Self {
            members: Vec::new(),
            incoming,
            sender,
        }
    }

    /// Starts a process; `await_ready` waits for it.
    pub(crate) fn start(
        &mut self,
        mut command: std::process::Command,
        name: &str,
        kind: Kind,
        workers: usize,
    ) -> Result<()> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting the {name} process"))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let complaints = Arc::new(Mutex::new(VecDeque::new()));
        let member = self.members.len();
        self.members.push(Member {
            name: name.to_owned(),
            kind,
            workers,
            orders: child.stdin.take(),
            child,
            complaints: Arc::clone(&complaints),
            listener: None,
            ready: false,
        });
        let out = out.context("a child without standard output")?;
        let err = err.context("a child without standard error")?;
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send((member, Incoming::Line(line))).is_err() {
                    return;
                }
            }
            let _ = sender.send((member, Incoming::End));
        });
        let listener = std::thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                let mut lines = complaints.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push_back(line);
                if lines.len() > STDERR_LINES_MAX {
                    lines.pop_front();
                }
            }
        });
        self.members[member].listener = Some(listener);
        Ok(())
    }

    /// Waits until all that were started have the file open.
    pub(crate) fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_MAX;
        while let Some(late) = self.members.iter().find(|member| !member.ready) {
            let name = late.name.clone();
            match self.next(deadline.saturating_duration_since(Instant::now()))? {
                None => bail!("the {name} process was not ready after {START_MAX:?}"),
                Some((id, Answer::Ready)) => self.members[id].ready = true,
                Some((id, Answer::Report(_, report))) => {
                    bail!(
                        "{} reports before any order: {report:?}",
                        self.members[id].name
                    )
                }
            }
        }
        Ok(())
    }

    /// All workers, the instances first.
    pub(crate) fn workers(&self) -> Vec<WorkerId> {
        self.members
            .iter()
            .enumerate()
            .flat_map(|(member, process)| {
                (0..process.workers).map(move |worker| WorkerId { member, worker })
            })
            .collect()
    }

    /// How many processes take part.
    pub(crate) fn processes(&self) -> usize {
        self.members.len()
    }

    /// How many component instances take part.
    pub(crate) fn instances(&self) -> usize {
        self.members
            .iter()
            .filter(|member| member.kind == Kind::Instance)
            .map(|member| member.workers)
            .sum()
    }

    pub(crate) fn kind(&self, id: WorkerId) -> Kind {
        self.members[id.member].kind
    }

    /// The worker's kind, and its name for a person.
    pub(crate) fn who(&self, id: WorkerId) -> Who {
        let member = &self.members[id.member];
        let name = match member.kind {
            Kind::Instance => format!("{} instance {}", member.name, id.worker),
            Kind::Native => format!("{} thread {}", member.name, id.worker),
            Kind::Python => member.name.clone(),
        };
        Who {
            kind: member.kind,
            name,
        }
    }

    pub(crate) fn order(&mut self, id: WorkerId, order: Order) -> Result<()> {
        let command = Command::Order {
            worker: id.worker,
            order,
        };
        self.send(id.member, &command)
    }

    /// Ends the orders without an end of their own.
    pub(crate) fn stop(&mut self) -> Result<()> {
        (0..self.members.len()).try_for_each(|member| self.send(member, &Command::Stop))
    }

    fn send(&mut self, member: usize, command: &Command) -> Result<()> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        let orders = self.members[member].orders.as_mut();
        let sent = orders.map(|orders| orders.write_all(&line).and_then(|()| orders.flush()));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(self.obituary(member)),
        }
    }

    /// The next report, if one comes within `timeout`.
    pub(crate) fn report(&mut self, timeout: Duration) -> Result<Option<(WorkerId, Report)>> {
        match self.next(timeout)? {
            None => Ok(None),
            Some((member, Answer::Report(worker, report))) => {
                Ok(Some((WorkerId { member, worker }, report)))
            }
            Some((member, Answer::Ready)) => {
                bail!(
                    "the {} process says twice that it is ready",
                    self.members[member].name
                )
            }
        }
    }

    /// Gathers `count` reports that `pick` knows, calling `tick` with what has
    /// come about ten times a second.
    pub(crate) fn collect<T>(
        &mut self,
        count: usize,
        limit: Duration,
        pick: impl Fn(Report) -> std::result::Result<T, Report>,
        mut tick: impl FnMut(&[(WorkerId, T)]) -> Result<Tick>,
    ) -> Result<Vec<(WorkerId, T)>> {
        let deadline = Instant::now() + limit;
        let mut next_tick = Instant::now();
        let mut stopped = false;
        let mut gathered = Vec::with_capacity(count);
        while gathered.len() < count {
            let now = Instant::now();
            if now >= deadline {
                bail!(
                    "only {} of {count} workers answered within {limit:?}",
                    gathered.len()
                );
            }
            if now >= next_tick {
                next_tick = now + TICK;
                if tick(&gathered)? == Tick::Stop && !stopped {
                    stopped = true;
                    self.stop()?;
                }
            }
            if let Some((id, report)) = self.report(next_tick.saturating_duration_since(now))? {
                match pick(report) {
                    Ok(record) => gathered.push((id, record)),
                    Err(Report::Failed { message }) => {
                        bail!("{}: {message}", self.who(id).name)
                    }
                    Err(other) => {
                        bail!("{} answers another question: {other:?}", self.who(id).name)
                    }
                }
            }
        }
        Ok(gathered)
    }

    fn next(&mut self, timeout: Duration) -> Result<Option<(usize, Answer)>> {
        let (member, line) = match self.incoming.recv_timeout(timeout) {
            Ok((member, Incoming::Line(line))) => (member, line),
            Ok((member, Incoming::End)) => return Err(self.obituary(member)),
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("there is no process to listen to"),
        };
        let name = &self.members[member].name;
        let event = serde_json::from_str(&line)
            .with_context(|| format!("the {name} process said: {line}"))?;
        match event {
            Event::Ready => Ok(Some((member, Answer::Ready))),
            Event::Report { worker, report } => Ok(Some((member, Answer::Report(worker, report)))),
            Event::Failed { message } => bail!("the {name} process gave up: {message}"),
        }
    }

    /// Why a member can't be talked to any more.
    fn obituary(&mut self, member: usize) -> anyhow::Error {
        let member = &mut self.members[member];
        member.orders = None;
        let how = match wait_for_exit(&mut member.child, Duration::from_secs(2)) {
            Some(status) => format!("ended in the middle of its work ({status})"),
            None => "closed its pipes".to_owned(),
        };
        let said = member.complaints();
        anyhow!("the {} process {how}{said}", member.name)
    }

    /// Lets everybody close the file and exit; an error when somebody can't.
    pub(crate) fn quit(&mut self) -> Result<()> {
        for member in 0..self.members.len() {
            self.send(member, &Command::Quit)?;
            self.members[member].orders = None;
        }
        for member in &mut self.members {
            match wait_for_exit(&mut member.child, QUIT_MAX) {
                Some(status) if status.success() => {}
                Some(status) => bail!(
                    "the {} process failed while closing ({status}){}",
                    member.name,
                    member.complaints()
                ),
                None => bail!("the {} process did not exit in {QUIT_MAX:?}", member.name),
            }
        }
        self.members.clear();
        Ok(())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.child.kill();
        }
        for member in &mut self.members {
            let _ = member.child.wait();
        }
    }
}

impl Member {
    /// What a child that has ended said last.
    fn complaints(&self) -> String {
        // Its words may still be in the pipe. A grandchild could keep that open.
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.listener.as_ref().is_some_and(|l| !l.is_finished()) && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        let lines = self
            .complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            return String::new();
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        format!("; it said:\n    {}", lines.join("\n    "))
    }
}

enum Answer {
    Ready,
    Report(usize, Report),
}

fn wait_for_exit(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> std::process::Command {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn crew(script: &str) -> Crew {
        let mut crew = Crew::new();
        crew.start(shell(script), "test", Kind::Native, 1).unwrap();
        crew
    }

    #[test]
    fn a_child_that_dies_is_an_error_with_its_last_words() {
        let mut crew = crew(r#"echo '{"event":"ready"}'; echo "out of luck" >&2; exit 7"#);
        crew.await_ready().unwrap();
        let error = crew
            .report(Duration::from_secs(10))
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 7"), "{error}");
        assert!(error.contains("out of luck"), "{error}");
    }

    #[test]
    fn silence_and_nonsense_are_errors() {
        let mut silent = crew(r#"echo '{"event":"ready"}'; cat >/dev/null"#);
        silent.await_ready().unwrap();
        let limit = Duration::from_millis(50);
        let result = silent.collect(1, limit, Ok::<_, Report>, |_| Ok(Tick::GoOn));
        assert!(result.unwrap_err().to_string().contains("only 0 of 1"));
        assert!(crew("echo hello; cat >/dev/null").await_ready().is_err());
    }

    #[test]
    fn quitting_checks_the_exit_code() {
        let mut good = crew(r#"echo '{"event":"ready"}'; read line; exit 0"#);
        good.await_ready().unwrap();
        good.quit().unwrap();
        let mut bad = crew(r#"echo '{"event":"ready"}'; read line; exit 1"#);
        bad.await_ready().unwrap();
        assert!(bad.quit().is_err());
    }
}
