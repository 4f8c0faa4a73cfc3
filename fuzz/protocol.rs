//! The lines of the harness's protocol: a driver's answers, requests to `serve`, and programs.
//!
//! What must stay true: any line is read or refused with a typed error; what is read is printed, and
//! read again as the same; and `serve` answers each request exactly once, under its own number.

use crate::Target;
use beaver_harness::driver::serve::serve_on;
use beaver_harness::driver::{Abandon, Answer, Client, Driver, Ending, Process, Reference};
use beaver_harness::program::{Plan, Program};
use beaver_harness::protocol::{Description, Failure, Init, Op, Reply, Request};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// See the module.
pub const TARGET: Target = Target {
    name: "protocol",
    run,
    tries: 400,
    bytes_max: 4096,
};

fn run(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(text) = std::str::from_utf8(line) {
            try_reply(text);
            try_program(text);
        }
        try_request(line);
    }
    try_serving(bytes);
}

fn try_reply(line: &str) {
    match Reply::parse(line) {
        Ok(reply) => {
            let printed = reply.to_line();
            assert!(!printed.contains('\n'), "one answer is one line");
            assert_eq!(Reply::parse(&printed).as_ref(), Ok(&reply), "{printed}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn try_request(line: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(line) {
        let printed = serde_json::to_string(&request).unwrap();
        assert!(!printed.contains('\n'), "one request is one line");
        let again: Request =
            serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
        assert_eq!(again, request, "{printed}");
    }
}

fn try_program(text: &str) {
    if let Ok(program) = serde_json::from_str::<Program>(text) {
        let printed = serde_json::to_string(&program).unwrap();
        let again: Program =
            serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
        assert_eq!(again, program, "{printed}");
        for transactions in [false, true] {
            let _ = program.requires(transactions);
            for step in program.workers.iter().flatten() {
                let _ = step.resolved(transactions);
            }
        }
        let counts: Vec<u64> = (program.workers.iter())
            .map(|steps| steps.len() as u64)
            .collect();
        assert_eq!(Plan::from(program.clone()).write_down(&counts), program);
    }
}

/// The whole input as what stands on a driver's standard input.
fn try_serving(bytes: &[u8]) {
    let (answers, received) = channel();
    let served = serve_on(
        &Hasty(Reference::new()),
        bytes,
        Answers {
            line: Vec::new(),
            sender: answers,
        },
    );
    // Ends when the last client's thread has.
    let mut answered: BTreeMap<u64, u32> = BTreeMap::new();
    for line in received {
        let line = String::from_utf8(line).unwrap();
        let reply = Reply::parse(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        *answered.entry(reply.id).or_default() += 1;
    }
    let mut asked: BTreeMap<u64, u32> = BTreeMap::new();
    let mut is_served = true;
    for line in bytes.split(|byte| *byte == b'\n') {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        // What has a number is answered, whether it is a request or not; the first line without one
        // ends it all.
        let Some(id) = number(line) else {
            is_served = false;
            break;
        };
        *asked.entry(id).or_default() += 1;
    }
    assert_eq!(served.is_ok(), is_served, "{served:?}");
    assert_eq!(answered, asked);
}

/// The number of the request, as `PROTOCOL.md` has it.
fn number(line: &[u8]) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Numbered {
        id: u64,
    }
    let known: Result<Numbered, _> = serde_json::from_slice(line);
    known.ok().map(|known| known.id)
}

/// Hands on each line that is written.
struct Answers {
    line: Vec<u8>,
    sender: Sender<Vec<u8>>,
}

impl Write for Answers {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let mut line = std::mem::take(&mut self.line);
        assert_eq!(line.pop(), Some(b'\n'), "an answer is a whole line");
        self.sender.send(line).map_err(std::io::Error::other)
    }
}

/// The reference store, where nobody waits for anything: an input ends with its last line.
struct Hasty<T>(T);

impl Driver for Hasty<Reference> {
    fn name(&self) -> String {
        self.0.name()
    }

    fn start(&self, init: &Init) -> anyhow::Result<Arc<dyn Process>> {
        Ok(Arc::new(Hasty(self.0.start(init)?)))
    }

    fn has_processes(&self) -> bool {
        self.0.has_processes()
    }
}

impl Process for Hasty<Arc<dyn Process>> {
    fn description(&self) -> &Description {
        self.0.description()
    }

    fn open(&self, client: u32) -> Result<Box<dyn Client>, Failure> {
        Ok(Box::new(Hasty(self.0.open(client)?)))
    }

    fn kill(&self) -> anyhow::Result<Ending> {
        self.0.kill()
    }

    fn stop(&self) -> anyhow::Result<()> {
        self.0.stop()
    }

    fn resume(&self) -> anyhow::Result<()> {
        self.0.resume()
    }

    fn notes(&self) -> String {
        self.0.notes()
    }
}

impl Client for Hasty<Box<dyn Client>> {
    fn call(&mut self, op: &Op, certify: bool, _: Duration) -> Answer {
        let mut op = op.clone();
        if let Op::QueueGet { timeout_ms, .. }
        | Op::QueueGetBatch { timeout_ms, .. }
        | Op::LogNext { timeout_ms, .. }
        | Op::ChannelNext { timeout_ms, .. }
        | Op::LockAcquire { timeout_ms, .. } = &mut op
        {
            *timeout_ms = Some(0);
        }
        self.0.call(&op, certify, Duration::ZERO)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        self.0.close()
    }

    fn was_given_up(&self) -> bool {
        self.0.was_given_up()
    }

    fn abandoner(&self) -> Arc<dyn Abandon> {
        self.0.abandoner()
    }
}
