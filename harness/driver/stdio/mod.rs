//! Drivers that are child processes, in any language.
//!
//! What must stay true: every call ends, within its patience, with an answer or with `gone`;
//! whatever the child says or doesn't say can at worst make it count as lost.

mod child;
mod exchange;
mod group;
mod pipe;

use super::{Abandon, Answer, Client, Driver, Ending, Process, gone, waits_for_ever};
use crate::protocol::{
    Control, Description, ErrorCode, Failure, Init, Op, Reply, Request, VERSION,
};
use anyhow::{Context as _, bail};
use child::Child;
pub(super) use child::{PARENT, kill_all};
use exchange::Exchange;
pub(super) use exchange::Lost;

use serde::Serialize;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long a child may take to start, to open a client, to close one.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command that speaks the protocol on its standard input and output.
#[derive(Clone, Debug)]
pub struct StdioDriver {
    name: Option<String>,
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    patience: Duration,
    /// Those that have not yet answered `init`.
    starting: Arc<Mutex<Vec<Weak<Link>>>>,
}

impl StdioDriver {
    /// The command `program`, found as the shell finds it.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            name: None,
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            patience: PATIENCE,
            starting: Arc::default(),
        }
    }

    /// What it is called; by default its command line.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Where it runs; by default where the harness does.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// How long `init`, `open`, `close`, `drop` and `trap` may take. Default: 60 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    fn starting(&self) -> MutexGuard<'_, Vec<Weak<Link>>> {
        self.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the child without saying anything to it.
    pub(super) fn spawn(&self) -> anyhow::Result<Arc<Link>> {
        let exchange = Arc::new(Exchange::default());
        let child = Child::spawn(self.command(), &exchange)
            .with_context(|| format!("{} doesn't start", self.name()))?;
        Ok(Arc::new(Link {
            child,
            exchange,
            patience: self.patience,
        }))
    }
}

impl Driver for StdioDriver {
    fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let words = std::iter::once(&self.program).chain(&self.arguments);
            let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
            words.join(" ")
        })
    }

    fn start(&self, init: &Init) -> anyhow::Result<Arc<dyn Process>> {
        let link = self.spawn()?;
        let init = init.clone();
        self.starting().push(Arc::downgrade(&link));
        let answer = link.ask(self.patience, "init", |id| Request::Init { id, init });
        self.starting()
            .retain(|other| other.as_ptr() != Arc::as_ptr(&link));
        let said = answer
            .map_err(|failure| link.explain(&failure))
            .with_context(|| format!("{} doesn't start", self.name()))?;
        let description: Description = serde_json::from_value(said.0)
            .context("the answer to `init` needs `protocol`, `name`, `version`, `capabilities`")?;
        if description.protocol != VERSION {
            bail!(
                "{} speaks protocol {}; this harness speaks {VERSION}",
                self.name(),
                description.protocol
            );
        }
        Ok(Arc::new(StdioProcess { description, link }))
    }

    fn give_up_starts(&self) {
        let starting = self.starting().clone();
        for link in starting.iter().filter_map(Weak::upgrade) {
            link.child.kill();
        }
    }

    fn has_processes(&self) -> bool {
        true
    }
}

/// A running child and what is said to it. The last one closes its standard input.
pub(super) struct Link {
    pub(super) child: Arc<Child>,
    pub(super) exchange: Arc<Exchange>,
    patience: Duration,
}

impl Link {
    /// Sends a request and waits for its answer, at most `limit`; then the child is killed.
    fn ask(
        &self,
        limit: Duration,
        what: &'static str,
        request: impl FnOnce(u64) -> Request,
    ) -> Answer {
        let sent = self.send(limit, what, request)?;
        self.receive(sent)
    }

    /// Sends a request. The child is killed if it doesn't take it in time.
    pub(super) fn send<R: Serialize>(
        &self,
        limit: Duration,
        what: &'static str,
        request: impl FnOnce(u64) -> R,
    ) -> Result<Sent, Failure> {
        let deadline = Instant::now().checked_add(limit);
        let (id, answer) = self.exchange.begin()?;
        let line = serde_json::to_string(&request(id))
            .map_err(|error| gone(format!("{what} can't be written: {error}")))?;
        let sent = Sent {
            answer,
            deadline,
            limit,
            what,
            for_ever: false,
        };
        match self.child.requests.write_line(line, deadline) {
            // It may have answered and ended meanwhile: then the answer counts.
            Ok(()) | Err(pipe::WriteError::Closed) => Ok(sent),
            Err(pipe::WriteError::TimedOut) => Err(self.lose_patience(&sent)),
        }
    }

    /// Waits for the answer. The child is killed if it doesn't come in time.
    pub(super) fn receive(&self, sent: Sent) -> Answer {
        let received = match sent.deadline {
            None => sent.answer.recv().map_err(RecvTimeoutError::from),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                sent.answer.recv_timeout(left)
            }
        };
        match received {
            Ok(Reply { result, commit, .. }) => result.map(|value| (value, commit)),
            Err(RecvTimeoutError::Disconnected) => Err(gone(self.exchange.why())),
            Err(RecvTimeoutError::Timeout) => Err(self.lose_patience(&sent)),
        }
    }

    fn lose_patience(&self, sent: &Sent) -> Failure {
        let (what, limit) = (sent.what, sent.limit.as_millis());
        let why = format!("no answer to `{what}` within {limit} ms");
        self.exchange.lose(if sent.for_ever {
            Lost::GivenUp(why)
        } else {
            Lost::Silence(why)
        });
        self.child.kill();
        gone(self.exchange.why())
    }

    fn control(&self, client: u32, control: Control, what: &'static str) -> Result<(), Failure> {
        let request = |id| Request::Control {
            id,
            client,
            control,
        };
        self.ask(self.patience, what, request).map(|_| ())
    }

    /// A failure with what the child wrote for people.
    fn explain(&self, failure: &Failure) -> anyhow::Error {
        let notes = self.child.notes();
        let notes = notes.trim();
        match (failure.message.as_str(), notes) {
            ("", "") => anyhow::anyhow!("{failure}"),
            (why, "") => anyhow::anyhow!("{why}"),
            (why, notes) => anyhow::anyhow!("{why}; it wrote: {notes}"),
        }
    }
}

/// A request under way.
pub(super) struct Sent {
    pub(super) answer: Receiver<Reply>,
    deadline: Option<Instant>,
    limit: Duration,
    what: &'static str,
    /// It may take as long as it likes.
    for_ever: bool,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.exchange
            .lose(Lost::Ended("the process was ended".into()));
        self.child.end();
    }
}

struct StdioProcess {
    description: Description,
    link: Arc<Link>,
}

impl Process for StdioProcess {
    fn description(&self) -> &Description {
        &self.description
    }

    fn open(&self, client: u32) -> Result<Box<dyn Client>, Failure> {
        self.link.control(client, Control::Open, "open")?;
        Ok(Box::new(StdioClient {
            seat: Arc::new(Seat {
                link: Arc::clone(&self.link),
                number: client,
                ended: Mutex::new(false),
            }),
        }))
    }

    fn kill(&self) -> anyhow::Result<Ending> {
        let before = self.link.exchange.lost();
        // One that counts as lost may be alive, or leave others behind.
        let by_itself = self.link.child.kill();
        match before {
            Some(Lost::GivenUp(_)) => return Ok(Ending::GivenUp),
            Some(lost) => return Ok(Ending::Before(lost.why().to_owned())),
            None => {}
        }
        // What it had answered before stands, so the reader comes to the end first.
        self.link
            .exchange
            .wait_until_lost("the process was killed", Duration::from_secs(1));
        Ok(match (self.link.exchange.lost(), by_itself) {
            (Some(Lost::GivenUp(_)), _) => Ending::GivenUp,
            // Meanwhile.
            (Some(Lost::Nonsense(why) | Lost::Silence(why)), _) | (_, Some(why)) => {
                Ending::Before(why)
            }
            (_, None) => Ending::Killed,
        })
    }

    fn stop(&self) -> anyhow::Result<()> {
        self.link.child.stop()
    }

    fn resume(&self) -> anyhow::Result<()> {
        self.link.child.resume()
    }

    fn notes(&self) -> String {
        self.link.child.notes()
    }
}

/// A client's place in a child.
struct Seat {
    link: Arc<Link>,
    number: u32,
    /// Locked while a request is written, so that nothing is asked of a client after it was
    /// abandoned.
    ended: Mutex<bool>,
}

impl Seat {
    fn ended(&self) -> MutexGuard<'_, bool> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request unless the client has ended; after it, it `ends` perhaps.
    fn send(
        &self,
        limit: Duration,
        what: &'static str,
        ends: bool,
        request: impl FnOnce(u64) -> Request,
    ) -> Result<Sent, Failure> {
        let mut ended = self.ended();
        if *ended {
            return Err(super::ended("the client has ended"));
        }
        *ended = ends;
        self.link.send(limit, what, request)
    }

    fn control(&self, control: Control, what: &'static str) -> Result<(), Failure> {
        let request = |id| Request::Control {
            id,
            client: self.number,
            control,
        };
        let sent = self.send(self.link.patience, what, true, request)?;
        self.link.receive(sent).map(|_| ())
    }
}

struct StdioClient {
    seat: Arc<Seat>,
}

impl Client for StdioClient {
    fn call(&mut self, op: &Op, certify: bool, patience: Duration) -> Answer {
        let seat = &self.seat;
        let limit = super::limit(op, patience).unwrap_or(Duration::MAX);
        let request = |id| Request::Operation {
            id,
            client: seat.number,
            certify,
            op: op.clone(),
        };
        let mut sent = seat.send(limit, op.name(), false, request)?;
        sent.for_ever = waits_for_ever(op);
        let answer = seat.link.receive(sent);
        if matches!(&answer, Err(failure) if failure.error == ErrorCode::Gone) {
            *seat.ended() = true;
        }
        answer
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        self.seat.control(Control::Close, "close")
    }

    fn was_given_up(&self) -> bool {
        matches!(self.seat.link.exchange.lost(), Some(Lost::GivenUp(_)))
    }

    fn abandoner(&self) -> Arc<dyn Abandon> {
        Arc::<Seat>::clone(&self.seat)
    }
}

impl Abandon for Seat {
    fn abandon(&self, trap: bool) -> Result<(), Failure> {
        let done = if trap {
            self.control(Control::Trap, "trap")
        } else {
            self.control(Control::Drop, "drop")
        };
        match done {
            // It has ended before, or with its process; or the driver never had it open, because
            // it is just being opened or closed.
            Err(failure) if matches!(failure.error, ErrorCode::Gone | ErrorCode::Invalid) => Ok(()),
            done => done,
        }
    }
}
