//! Turns a driver of this crate into a child process that speaks the protocol on stdio.
//!
//! What must stay true: each client has a thread, so that none waits for another; nothing but
//! answers goes to standard output; a line that can't be read as a request is answered or, if
//! it has no id, noted on standard error; whoever was started by the harness doesn't outlive it, not
//! even stopped.

use super::{Abandon, Driver, Process, stdio};
use crate::protocol::{Control, ErrorCode, Failure, Op, Reply, Request, VERSION};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Serves standard input until it ends. Clients may be in the middle of operations then:
/// return from `main` at once, which ends them.
///
/// # Errors
/// Reading or writing fails, or the first request is no `init` that can be followed.
pub fn serve(driver: &dyn Driver) -> anyhow::Result<()> {
    die_with_the_harness();
    serve_on(driver, std::io::stdin().lock(), std::io::stdout())
}

/// SIGKILL for this process when the harness ends, however it does. Only if the harness itself
/// started it: of other parents nobody knows how long the thread lives that this goes by.
fn die_with_the_harness() {
    let harness = std::env::var(stdio::PARENT).ok();
    let Some(harness) = harness.and_then(|number| number.parse::<i32>().ok()) else {
        return;
    };
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // If it has ended already, standard input has too.
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get() != harness) {
        let _ = set_parent_process_death_signal(None);
    }
}

/// The same on other streams.
///
/// # Errors
/// As [`serve`].
pub fn serve_on(
    driver: &dyn Driver,
    requests: impl BufRead,
    answers: impl Write + Send + 'static,
) -> anyhow::Result<()> {
    let mut server = Server {
        driver,
        answers: Answers(Arc::new(Mutex::new(answers))),
        process: None,
        clients: HashMap::new(),
    };
    for line in requests.split(b'\n') {
        let line = line?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice::<Request>(&line) {
            Ok(request) => server.follow(request)?,
            Err(error) => server.refuse(&line, &error)?,
        }
    }
    Ok(())
}

/// Where answers go.
#[derive(Clone)]
struct Answers(Arc<Mutex<dyn Write + Send>>);

impl Answers {
    /// Writes one. Nobody reads any more if that fails, and then standard input ends too.
    fn give(&self, id: u64, result: Result<Value, Failure>, commit: Option<u64>) {
        let reply = Reply { id, result, commit };
        let mut line = reply.to_line();
        line.push('\n');
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}

/// What a client's thread is told.
enum Task {
    Call { id: u64, op: Op, certify: bool },
    Close { id: u64 },
}

/// A client, as the reading thread knows it.
struct Seat {
    tasks: Sender<Task>,
    /// None until it is open.
    abandoner: Arc<Mutex<Option<Arc<dyn Abandon>>>>,
}

struct Server<'a> {
    driver: &'a dyn Driver,
    answers: Answers,
    process: Option<Arc<dyn Process>>,
    clients: HashMap<u32, Seat>,
}

impl Server<'_> {
    /// Answers a line that is no request of ours.
    fn refuse(&self, line: &[u8], error: &serde_json::Error) -> anyhow::Result<()> {
        #[derive(Deserialize)]
        struct Known {
            id: u64,
        }
        match serde_json::from_slice::<Known>(line) {
            Ok(Known { id }) => {
                let why = format!("this request isn't understood: {error}");
                let failure = Failure::new(ErrorCode::Unsupported, why);
                self.answers.give(id, Err(failure), None);
                Ok(())
            }
            Err(error) => anyhow::bail!("a line is no request: {error}"),
        }
    }

    fn follow(&mut self, request: Request) -> anyhow::Result<()> {
        match request {
            Request::Init { id, init } => {
                let started = if init.protocol == VERSION {
                    self.driver.start(&init)
                } else {
                    Err(anyhow::anyhow!(
                        "protocol {} is asked for; this driver speaks {VERSION}",
                        init.protocol
                    ))
                };
                match started {
                    Ok(process) => {
                        let description = serde_json::to_value(process.description())?;
                        self.process = Some(process);
                        self.answers.give(id, Ok(description), None);
                    }
                    Err(error) => {
                        let failure = Failure::new(ErrorCode::Invalid, format!("{error:#}"));
                        self.answers.give(id, Err(failure), None);
                    }
                }
            }
            Request::Control {
                id,
                client,
                control,
            } => self.control(id, client, control),
            Request::Operation {
                id,
                client,
                certify,
                op,
            } => self.hand_on(id, client, Task::Call { id, op, certify }),
        }
        Ok(())
    }

    fn hand_on(&self, id: u64, client: u32, task: Task) {
        let sent = self
            .clients
            .get(&client)
            .is_some_and(|seat| seat.tasks.send(task).is_ok());
        if !sent {
            let why = format!("client {client} is not open");
            let failure = Failure::new(ErrorCode::Invalid, why);
            self.answers.give(id, Err(failure), None);
        }
    }

    fn control(&mut self, id: u64, client: u32, control: Control) {
        match control {
            Control::Open => match &self.process {
                None => {
                    let failure = Failure::new(ErrorCode::Invalid, "init comes first");
                    self.answers.give(id, Err(failure), None);
                }
                Some(process) => {
                    let seat = seat(id, client, Arc::clone(process), self.answers.clone());
                    self.clients.insert(client, seat);
                }
            },
            Control::Close => {
                self.hand_on(id, client, Task::Close { id });
                self.clients.remove(&client);
            }
            Control::Drop | Control::Trap => {
                let seat = self.clients.get(&client);
                let abandoner = seat.and_then(|seat| {
                    let known = seat.abandoner.lock();
                    known.unwrap_or_else(PoisonError::into_inner).clone()
                });
                let done = match abandoner {
                    None => Err(Failure::new(
                        ErrorCode::Invalid,
                        format!("client {client} is not open"),
                    )),
                    // It returns as soon as the client has let go of what it was doing.
                    Some(abandoner) => abandoner.abandon(control == Control::Trap),
                };
                if done.is_ok() {
                    self.clients.remove(&client);
                }
                self.answers.give(id, done.map(|()| Value::Null), None);
            }
        }
    }
}

/// Starts a client's thread, which opens it and answers that.
fn seat(id: u64, number: u32, process: Arc<dyn Process>, answers: Answers) -> Seat {
    let (tasks, received) = channel();
    let abandoner = Arc::new(Mutex::new(None));
    let seat = Seat {
        tasks,
        abandoner: Arc::clone(&abandoner),
    };
    let refused = answers.clone();
    let work = move || {
        let mut client = match process.open(number) {
            Ok(client) => client,
            Err(failure) => return answers.give(id, Err(failure), None),
        };
        *abandoner.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.abandoner());
        answers.give(id, Ok(Value::Null), None);
        for task in received {
            match task {
                Task::Call { id, op, certify } => {
                    // Patience is the harness's, at the other end.
                    match client.call(&op, certify, Duration::MAX) {
                        Ok((value, commit)) => answers.give(id, Ok(value), commit),
                        Err(failure) => answers.give(id, Err(failure), None),
                    }
                }
                Task::Close { id } => {
                    return answers.give(id, client.close().map(|()| Value::Null), None);
                }
            }
        }
    };
    let thread = std::thread::Builder::new().name(format!("serve-{number}"));
    if let Err(error) = thread.spawn(work) {
        // Nobody takes its tasks, which are then answered as those of a client that isn't open.
        let failure = Failure::new(ErrorCode::Failed, format!("a thread: {error}"));
        refused.give(id, Err(failure), None);
    }
    seat
}
