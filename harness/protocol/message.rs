//! The lines themselves.

use super::{Capability, ErrorCode, Failure, Op};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// The version of the protocol that this harness speaks.
pub const VERSION: u32 = 1;

/// A line to a driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Request {
    /// The first.
    Init {
        /// Its answer has the same.
        id: u64,
        /// What it says.
        #[serde(flatten)]
        init: Init,
    },
    /// About a client.
    Control {
        /// Its answer has the same.
        id: u64,
        /// Which client.
        client: u32,
        /// What to do with it.
        #[serde(rename = "op")]
        control: Control,
    },
    /// By a client.
    Operation {
        /// Its answer has the same.
        id: u64,
        /// Which client.
        client: u32,
        /// Whether a commit-order number is wanted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        certify: bool,
        /// What to do.
        #[serde(flatten)]
        op: Op,
    },
}

/// What a driver process is told at first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename = "init")]
pub struct Init {
    /// [`VERSION`].
    pub protocol: u32,
    /// Where the database is, or will be.
    pub database: PathBuf,
    /// Added to every reading of the wall clock.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clock_offset_ms: i64,
    /// In what steps the wall clock goes on; 0: as fine as it is.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub clock_resolution_ms: u64,
    /// The driver's own.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn is_nothing(number: &u64) -> bool {
    *number == 0
}

/// What can be done with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Make it ready.
    Open,
    /// End it in good order.
    Close,
    /// Abandon it.
    Drop,
    /// Make it fail.
    Trap,
}

/// What a driver says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The version of the protocol that it speaks.
    pub protocol: u32,
    /// The system's name.
    pub name: String,
    /// The system's version.
    #[serde(default)]
    pub version: String,
    /// What it offers.
    pub capabilities: Vec<Capability>,
}

impl Description {
    /// Whether it offers this.
    pub fn offers(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

/// A line from a driver.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Of the request.
    pub id: u64,
    /// What came of it.
    pub result: Result<Value, Failure>,
    /// The commit-order number, if one was wanted and the operation took effect.
    pub commit: Option<u64>,
}

/// What is wrong with a driver's line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// It can't be read as JSON, or a field has the wrong type.
    #[error("the line is not an answer: {0}")]
    Unreadable(String),
    /// It has both or neither.
    #[error("answer {0} needs exactly one of the fields `ok` and `error`")]
    OkOrError(u64),
    /// The error is none of the table.
    #[error("answer {id} has the error {code:?}, which PROTOCOL.md doesn't list")]
    UnknownError {
        /// Of the answer.
        id: u64,
        /// What it says.
        code: String,
    },
}

/// As it stands on the line.
#[derive(Serialize, Deserialize)]
struct Line {
    id: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "present")]
    ok: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    definite: Option<bool>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<u64>,
}

/// `"ok":null` is an answer; no `ok` is none.
mod present {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    use serde_json::Value;

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Value>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Value>, D::Error> {
        Value::deserialize(from).map(Some)
    }
}

impl Reply {
    /// Reads a driver's line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<Self, ReplyError> {
        let line: Line = serde_json::from_str(line)
            .map_err(|error| ReplyError::Unreadable(error.to_string()))?;
        let result = match (line.ok, line.error) {
            (Some(value), None) => Ok(value),
            (None, Some(code)) => {
                let known = ErrorCode::ALL.iter().find(|known| known.name() == code);
                let Some(error) = known.copied() else {
                    return Err(ReplyError::UnknownError { id: line.id, code });
                };
                Err(Failure {
                    error,
                    definite: line.definite.unwrap_or(error.is_definite()),
                    message: line.message,
                })
            }
            _ => return Err(ReplyError::OkOrError(line.id)),
        };
        Ok(Self {
            id: line.id,
            result,
            commit: line.commit,
        })
    }

    /// The line, without its end.
    pub fn to_line(&self) -> String {
        let mut line = Line {
            id: self.id,
            ok: None,
            error: None,
            definite: None,
            message: String::new(),
            commit: self.commit,
        };
        match &self.result {
            Ok(value) => line.ok = Some(value.clone()),
            Err(failure) => {
                line.error = Some(failure.error.name().to_owned());
                line.definite = Some(failure.definite);
                line.message.clone_from(&failure.message);
            }
        }
        // A struct of plain fields always has a text.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{LockKind, LockName};
    use serde_json::json;

    #[test]
    fn requests_read_as_on_the_protocol_page() {
        let page = include_str!("../PROTOCOL.md");
        let mut seen = 0;
        for line in page
            .lines()
            .filter_map(|line| line.trim().strip_prefix("→ "))
        {
            let request: Request =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let text = serde_json::to_value(&request).unwrap();
            assert_eq!(text, serde_json::from_str::<Value>(line).unwrap());
            seen += 1;
        }
        assert!(seen >= 5);
        for line in page
            .lines()
            .filter_map(|line| line.trim().strip_prefix("← "))
        {
            let reply = Reply::parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(Reply::parse(&reply.to_line()).unwrap(), reply);
            seen += 1;
        }
        assert!(seen >= 10);
    }

    #[test]
    fn an_operation_and_a_control_are_told_apart() {
        let control = Request::Control {
            id: 1,
            client: 2,
            control: Control::Open,
        };
        assert_eq!(
            serde_json::to_value(&control).unwrap(),
            json!({"id": 1, "client": 2, "op": "open"})
        );
        let op = Request::Operation {
            id: 3,
            client: 0,
            certify: true,
            op: Op::LockRelease {
                lock: LockName::new(LockKind::Dict, "a"),
            },
        };
        let text = serde_json::to_string(&op).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), op);
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong() {
        let said = |line: &str| Reply::parse(line).unwrap_err().to_string();
        assert!(said("hello").starts_with("the line is not an answer"));
        assert!(said(r#"{"ok":1}"#).contains("missing field `id`"));
        assert!(said(r#"{"id":4}"#).contains("exactly one of"));
        assert!(said(r#"{"id":4,"ok":null,"error":"busy"}"#).contains("exactly one of"));
        assert!(said(r#"{"id":4,"error":"oops"}"#).contains("oops"));
        assert!(
            Reply::parse(r#"{"id":4,"ok":null}"#)
                .unwrap()
                .result
                .is_ok()
        );
    }
}
