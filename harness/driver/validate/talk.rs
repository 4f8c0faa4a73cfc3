//! A process of the driver on trial: requests, and sentences about their answers.

use super::super::stdio::{Link, Lost, Sent};
use super::{Fault, Trial};
use crate::protocol::{Capability, Description, ErrorCode, Failure, VERSION};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What an answer must be.
pub(super) enum Expected {
    /// This result.
    Is(Value),
    /// These, in any order.
    Set(&'static [&'static str]),
    /// Something of this kind.
    Like(&'static str, fn(&Value) -> bool),
    /// One of these errors.
    Error(&'static [ErrorCode]),
    /// `null` or one of these errors.
    Either(&'static [ErrorCode]),
}

/// `null`.
pub(super) const NOTHING: Expected = Expected::Is(Value::Null);

impl Expected {
    fn fits(&self, answer: &Result<Value, Failure>) -> bool {
        match (self, answer) {
            (Self::Is(expected), Ok(value)) => same(expected, value),
            (Self::Set(expected), Ok(Value::Array(items))) => {
                let mut items: Vec<_> = items.iter().map(Value::as_str).collect();
                items.sort_unstable();
                items.into_iter().eq(expected.iter().copied().map(Some))
            }
            (Self::Like(_, fits), Ok(value)) => fits(value),
            (Self::Either(_), Ok(value)) => value.is_null(),
            (Self::Error(codes) | Self::Either(codes), Err(failure)) => {
                codes.contains(&failure.error)
            }
            _ => false,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Is(value) => format!("{{\"ok\":{value}}}"),
            Self::Set(items) => format!("{{\"ok\":{}}} (in any order)", json!(items)),
            Self::Like(words, _) => (*words).to_owned(),
            Self::Error(codes) => errors(codes),
            Self::Either(codes) => format!("{{\"ok\":null}} or {}", errors(codes)),
        }
    }
}

fn errors(codes: &[ErrorCode]) -> String {
    let codes: Vec<_> = codes
        .iter()
        .map(|code| format!("{{\"error\":\"{code}\"}}"))
        .collect();
    codes.join(" or ")
}

/// Whether two values are the same JSON, where 1 and 1.0 are one number.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64() == other.as_f64()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}

/// The answer as it stands on the line, cut to a readable length.
fn shown(answer: &Result<Value, Failure>) -> String {
    let line = match answer {
        Ok(value) => format!("{{\"ok\":{value}}}"),
        Err(failure) if failure.message.is_empty() => {
            format!("{{\"error\":\"{}\"}}", failure.error)
        }
        Err(failure) => format!("{{\"error\":\"{}\"}} ({})", failure.error, failure.message),
    };
    if line.chars().count() <= 300 {
        return line;
    }
    line.chars().take(300).chain("…".chars()).collect()
}

/// An answer and its commit-order number.
pub(super) type Told = (Result<Value, Failure>, Option<u64>);

/// A request under way.
pub(super) struct Asked {
    sent: Sent,
    what: String,
}

pub(super) struct Talk {
    link: Arc<Link>,
    description: Description,
    patience: Duration,
}

impl Talk {
    /// Starts a process and has it describe itself.
    pub(super) fn spawn(trial: &mut Trial, file: &str, offset_ms: i64) -> Result<Self, Fault> {
        let mut init = json!({
            "op": "init",
            "protocol": VERSION,
            "database": trial.folder.path().join(file),
        });
        if let Value::Object(fields) = &mut init {
            if offset_ms != 0 {
                fields.insert("clock_offset_ms".into(), offset_ms.into());
                fields.insert("clock_resolution_ms".into(), 1000.into());
            }
            if !trial.settings.is_empty() {
                fields.insert("settings".into(), trial.settings.clone().into());
            }
        }
        let link = trial
            .driver
            .spawn()
            .map_err(|error| format!("the driver doesn't start: {error:#}"))?;
        let mut talk = Self {
            link,
            patience: trial.patience,
            description: Description {
                protocol: 0,
                name: String::new(),
                version: String::new(),
                capabilities: Vec::new(),
            },
        };
        let asked = talk.send(None, "`init`", init)?;
        let answer = talk.receive(asked);
        trial.notes = talk.notes();
        talk.description = describe(answer?.0)?;
        trial.description = Some(talk.description.clone());
        Ok(talk)
    }

    pub(super) fn offers(&self, capability: Capability) -> bool {
        self.description.offers(capability)
    }

    pub(super) fn notes(&self) -> String {
        self.link.child.notes()
    }

    /// Sends a request; `client` none is for `init`.
    pub(super) fn send(
        &self,
        client: Option<u32>,
        what: &str,
        request: Value,
    ) -> Result<Asked, Fault> {
        let own = request.get("timeout_ms").and_then(Value::as_u64);
        let limit = self.patience + Duration::from_millis(own.unwrap_or(0));
        let line = |id: u64| {
            let mut line = Map::new();
            line.insert("id".into(), id.into());
            if let Some(client) = client {
                line.insert("client".into(), client.into());
            }
            if let Value::Object(fields) = request {
                line.extend(fields);
            }
            line
        };
        let sent = self.link.send(limit, "it", line);
        let sent = sent.map_err(|_| self.lost(what))?;
        Ok(Asked {
            sent,
            what: what.to_owned(),
        })
    }

    /// The answer, whatever it is.
    pub(super) fn receive(&self, asked: Asked) -> Result<Told, Fault> {
        let answer = match self.link.receive(asked.sent) {
            Ok((value, commit)) => (Ok(value), commit),
            Err(failure) => (Err(failure), None),
        };
        match self.link.exchange.lost() {
            None => Ok(answer),
            Some(_) => Err(self.lost(&asked.what)),
        }
    }

    /// The answer if it comes within `limit`; else the request is under way still.
    pub(super) fn peek(&self, asked: Asked, limit: Duration) -> Result<Told, Asked> {
        match asked.sent.answer.recv_timeout(limit) {
            Ok(reply) => Ok((reply.result, reply.commit)),
            Err(_) => Err(asked),
        }
    }

    /// Asks and judges.
    pub(super) fn expect(
        &self,
        client: u32,
        what: &str,
        request: Value,
        expected: &Expected,
    ) -> Result<Value, Fault> {
        let asked = self.send(Some(client), what, request)?;
        self.judge(asked, expected)
    }

    /// Judges what was asked before.
    pub(super) fn judge(&self, asked: Asked, expected: &Expected) -> Result<Value, Fault> {
        let what = asked.what.clone();
        let (answer, _) = self.receive(asked)?;
        judge(&what, &answer, expected)
    }

    /// Asks what must fail with `timeout`, neither too early nor much too late.
    pub(super) fn times_out(
        &self,
        client: u32,
        what: &str,
        mut request: Value,
    ) -> Result<(), Fault> {
        for timeout_ms in [0, 100] {
            if let Value::Object(fields) = &mut request {
                fields.insert("timeout_ms".into(), timeout_ms.into());
            }
            let what = format!("{what} with \"timeout_ms\":{timeout_ms}");
            let start = Instant::now();
            let expected = Expected::Error(&[ErrorCode::Timeout]);
            self.expect(client, &what, request.clone(), &expected)?;
            let elapsed = start.elapsed();
            if elapsed < Duration::from_millis(timeout_ms) {
                return Err(format!(
                    "{what} may time out when that time has passed, but this driver answered \
                     after {} ms",
                    elapsed.as_millis()
                ));
            }
            // Far more than any scheduler takes.
            if elapsed > Duration::from_millis(timeout_ms + 5000) {
                return Err(format!(
                    "{what} must give up in time, but this driver answered only after {} ms",
                    elapsed.as_millis()
                ));
            }
        }
        Ok(())
    }

    pub(super) fn open(&mut self, client: u32) -> Result<(), Fault> {
        let what = format!("`open` of client {client}");
        self.expect(client, &what, json!({"op": "open"}), &NOTHING)?;
        Ok(())
    }

    pub(super) fn unknown_operation(&self, client: u32) -> Result<(), Fault> {
        let expected = Expected::Error(&[ErrorCode::Unsupported]);
        let what = "an operation that PROTOCOL.md doesn't list";
        self.expect(client, what, json!({"op": "fly-to-the-moon"}), &expected)?;
        Ok(())
    }

    /// Ends its input; whether it exits within `limit`, and what it said to the end.
    pub(super) fn end_input(self, limit: Duration) -> Result<(), Fault> {
        self.link.child.requests.close();
        if !self.link.child.exits_within(limit) {
            return Err(format!(
                "when standard input ends the process must exit, whatever it is doing, but this \
                 one was still there after {} s",
                limit.as_secs()
            ));
        }
        self.link
            .exchange
            .wait_until_lost("the process ended", limit);
        match self.link.exchange.lost() {
            Some(Lost::Nonsense(why)) => Err(format!("a driver writes nothing but answers: {why}")),
            _ => Ok(()),
        }
    }

    /// What to say when the process is lost.
    fn lost(&self, what: &str) -> Fault {
        match self.link.exchange.lost() {
            Some(Lost::Nonsense(why)) => {
                format!("after {what}: a driver writes nothing but answers, but {why}")
            }
            Some(Lost::Silence(_) | Lost::GivenUp(_)) | None => format!(
                "{what} was not answered within {} s; is every answer written as one line, with \
                 its end, and flushed?",
                self.patience.as_secs()
            ),
            Some(Lost::Ended(why)) => {
                let notes = self.notes();
                let last = notes.trim_end().lines().last().unwrap_or_default();
                let colon = if last.is_empty() { "" } else { ": " };
                format!("{what} was not answered, because {why}{colon}{last}")
            }
        }
    }
}

/// Whether an answer is as expected.
pub(super) fn judge(
    what: &str,
    answer: &Result<Value, Failure>,
    expected: &Expected,
) -> Result<Value, Fault> {
    match answer {
        answer if !expected.fits(answer) => Err(format!(
            "{what} must answer {}, but this driver answered {}",
            expected.words(),
            shown(answer)
        )),
        Ok(value) => Ok(value.clone()),
        Err(_) => Ok(Value::Null),
    }
}

/// The answer to `init`.
fn describe(answer: Result<Value, Failure>) -> Result<Description, Fault> {
    let value = answer.map_err(|failure| {
        format!(
            "`init` on a new file must be answered with `ok`, but this driver answered {failure}"
        )
    })?;
    let unknown: Vec<_> = value
        .get("capabilities")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|name| !Capability::ALL.iter().any(|known| known.name() == *name))
        .collect();
    if let Some(unknown) = unknown.first() {
        return Err(format!(
            "`capabilities` has {unknown:?}, which PROTOCOL.md doesn't list"
        ));
    }
    let description: Description = serde_json::from_value(value.clone()).map_err(|error| {
        format!(
            "the answer to `init` must have `protocol`, `name`, `version` and `capabilities`, but \
             in {} there is something wrong: {error}",
            shown(&Ok(value))
        )
    })?;
    if description.protocol != VERSION {
        return Err(format!(
            "`protocol` must be {VERSION}, but this driver speaks {}",
            description.protocol
        ));
    }
    if description.name.is_empty() {
        return Err("`name` must say what the system is called, but it is empty".into());
    }
    use Capability as C;
    for (part, whole) in [
        (C::QueueBatch, C::Queue),
        (C::LogFollow, C::Log),
        (C::LockRenew, C::Locks),
        (C::LockWaiting, C::Locks),
        (C::Fencing, C::Locks),
        (C::MandatoryLocks, C::Locks),
        (C::CrashDetection, C::Locks),
    ] {
        if description.offers(part) && !description.offers(whole) {
            return Err(format!(
                "`{part}` means nothing without `{whole}`, which this driver doesn't offer"
            ));
        }
    }
    Ok(description)
}
