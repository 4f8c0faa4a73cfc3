//! JSON text in and out, against Python's `json.dumps(json.loads(text))`.
//!
//! What must stay true: what is taken is printed as ASCII, byte for byte as Python prints it, and
//! printing that again changes nothing; what Python refuses we refuse, and the other way round.
//!
//! Not compared: texts that nest deeper than [`MAX_DEPTH`](beaver_core::MAX_DEPTH), which we refuse
//! and of which Python's default limit allows some. `NaN`, `Infinity` and numbers too large for a
//! float, which Python takes although they aren't JSON, the Python side refuses too.
//!
//! The Python side is a process that is started once and answers for every input. Where there is no
//! Python, only the rest is tried.

use crate::Target;
use beaver_core::{Error, python_text};
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

/// See the module.
pub const TARGET: Target = Target {
    name: "json",
    run,
    tries: 6000,
    bytes_max: 16_384,
};

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let ours = python_text(text);
    if let Ok(printed) = &ours {
        assert!(printed.is_ascii(), "{printed}");
        assert_eq!(python_text(printed).as_ref(), Ok(printed));
    }
    if matches!(&ours, Err(Error::InvalidJson(problem)) if problem.starts_with("nested too deep")) {
        return;
    }
    let Some(python) = &*PYTHON else {
        return;
    };
    // The process answers whole questions, so what another thread's panic left is of use.
    let theirs = python
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .ask(text);
    match (ours, theirs) {
        (Ok(ours), Some(theirs)) => assert_eq!(ours, theirs),
        (Err(Error::InvalidJson(_)), None) => {}
        (ours, theirs) => panic!("ours: {ours:?}; Python's: {theirs:?}"),
    }
}

static PYTHON: LazyLock<Option<Mutex<Python>>> = LazyLock::new(|| {
    let python = Python::start();
    if python.is_none() {
        eprintln!("json: no Python (BEAVER_PYTHON, else python3), so nothing to compare with");
    }
    python.map(Mutex::new)
});

/// A question is a length, 4 bytes, the lowest first, and so many bytes of UTF-8; an answer is 0, or 1
/// and such a text.
const PROGRAM: &str = r#"
import json, math, sys

def finite(text):
    value = float(text)
    if math.isinf(value):
        raise ValueError(text)
    return value

def refuse(text):
    raise ValueError(text)

questions, answers = sys.stdin.buffer, sys.stdout.buffer
while len(length := questions.read(4)) == 4:
    text = questions.read(int.from_bytes(length, "little")).decode()
    try:
        value = json.loads(text, parse_float=finite, parse_constant=refuse)
        printed = json.dumps(value).encode()
        answers.write(b"\1" + len(printed).to_bytes(4, "little") + printed)
    except (ValueError, RecursionError):
        answers.write(b"\0")
    answers.flush()
"#;

struct Python {
    questions: ChildStdin,
    answers: ChildStdout,
    /// Ends when its questions do, with this process.
    _process: Child,
}

impl Python {
    fn start() -> Option<Self> {
        let program = std::env::var_os("BEAVER_PYTHON").unwrap_or_else(|| "python3".into());
        // Isolated: the environment could change its limits.
        let mut process = Command::new(program)
            .args(["-I", "-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        Some(Self {
            questions: process.stdin.take()?,
            answers: process.stdout.take()?,
            _process: process,
        })
    }

    /// What Python prints; none when it can't read the text.
    fn ask(&mut self, text: &str) -> Option<String> {
        let length = u32::try_from(text.len()).unwrap().to_le_bytes();
        self.questions
            .write_all(&[&length, text.as_bytes()].concat())
            .unwrap();
        let mut taken = [0];
        self.answers.read_exact(&mut taken).unwrap();
        if taken == [0] {
            return None;
        }
        let mut length = [0; 4];
        self.answers.read_exact(&mut length).unwrap();
        let mut printed = vec![0; u32::from_le_bytes(length) as usize];
        self.answers.read_exact(&mut printed).unwrap();
        Some(String::from_utf8(printed).unwrap())
    }
}
