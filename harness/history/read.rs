//! Reading a history file.
//!
//! What must stay true: whatever stands in the file, the result is a history that keeps the
//! promises of [`super`], or an error that names the line.

use super::builder::Builder;
use super::{Contradiction, History};
use std::io::BufRead;

/// Why a file is no history.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It can't be read.
    #[error("line {line}: {error}")]
    Io {
        /// Counted from 1.
        line: u64,
        /// Why.
        error: std::io::Error,
    },
    /// A line isn't JSON of the right form.
    #[error("line {line}: {error}")]
    Json {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// The version isn't one that this harness knows.
    #[error("the history has version {0}; this harness reads version 1")]
    Version(u32),
    /// The file is empty.
    #[error("the file is empty: the first line of a history is its header")]
    Empty,
    /// A line contradicts itself or an earlier one.
    #[error("line {line}: {what}")]
    Contradiction {
        /// Counted from 1.
        line: u64,
        /// In what way.
        what: Contradiction,
    },
}

/// Reads a history.
///
/// A last line that was cut off (the harness was killed) is left out.
///
/// # Errors
/// The file is none, or contradicts itself.
pub fn read(mut from: impl BufRead) -> Result<History, ReadError> {
    let mut text = String::new();
    let mut line = 0;
    let mut builder: Option<Builder> = None;
    loop {
        text.clear();
        line += 1;
        let io = |error| ReadError::Io { line, error };
        if from.read_line(&mut text).map_err(io)? == 0 {
            break;
        }
        let whole = text.ends_with('\n');
        let json = |error| ReadError::Json { line, error };
        match &mut builder {
            None => {
                let header: super::Header = serde_json::from_str(&text).map_err(json)?;
                if header.history != 1 {
                    return Err(ReadError::Version(header.history));
                }
                builder = Some(Builder::new(header));
            }
            Some(builder) => match serde_json::from_str(&text) {
                Ok(event) => builder
                    .add(event)
                    .map_err(|what| ReadError::Contradiction { line, what })?,
                Err(_) if !whole => break,
                Err(error) => return Err(json(error)),
            },
        }
    }
    builder.map(Builder::finish).ok_or(ReadError::Empty)
}

#[cfg(test)]
mod tests {
    use super::super::What;
    use super::*;

    const HEADER: &str = r#"{"history":1,"program":"p","seed":1,"workers":2,"driver":{"protocol":1,"name":"n","version":"","capabilities":[]},"checks":[]}"#;

    /// A history that is right, in nine lines of events.
    const RIGHT: [&str; 9] = [
        r#"{"session":{"time_ns":1,"session":1,"worker":0,"process":1}}"#,
        r#"{"session":{"time_ns":1,"session":2,"worker":1,"process":2}}"#,
        r#"{"task":{"time_ns":2,"task":1,"worker":0,"step":"raise"}}"#,
        r#"{"invoke":{"time_ns":3,"id":1,"session":1,"task":1,"op":{"op":"begin"}}}"#,
        r#"{"fault":{"time_ns":4,"fault":{"stop":{"worker":0,"for-ms":1}},"sessions":[1]}}"#,
        r#"{"resumed":{"time_ns":5,"sessions":[1]}}"#,
        r#"{"ok":{"time_ns":6,"id":1,"value":null}}"#,
        r#"{"end":{"time_ns":7,"task":1,"outcome":"done"}}"#,
        r#"{"over":{"time_ns":8,"session":1,"how":"closed"}}"#,
    ];

    fn said(lines: &[&str]) -> Result<History, ReadError> {
        let mut text = HEADER.to_owned() + "\n";
        for line in lines {
            text += line;
            text.push('\n');
        }
        read(text.as_bytes())
    }

    #[test]
    fn what_no_recorder_can_write_is_refused_by_line() {
        use Contradiction as C;
        said(&RIGHT).unwrap();
        // After how many lines of the right one the wrong one comes.
        for (after, line, wrong) in [
            (
                3,
                r#"{"invoke":{"time_ns":1,"id":1,"session":1,"op":{"op":"begin"}}}"#,
                C::TimeGoesBack {
                    from_ns: 2,
                    to_ns: 1,
                },
            ),
            (
                5,
                r#"{"ok":{"time_ns":2,"id":1,"value":null}}"#,
                C::TimeGoesBack {
                    from_ns: 4,
                    to_ns: 2,
                },
            ),
            (
                4,
                r#"{"invoke":{"time_ns":4,"id":2,"session":1,"task":1,"op":{"op":"commit"}}}"#,
                C::Overlap {
                    id: 2,
                    session: 1,
                    open: 1,
                },
            ),
            (
                2,
                r#"{"invoke":{"time_ns":4,"id":2,"session":3,"op":{"op":"commit"}}}"#,
                C::NoSuchSession(3),
            ),
            (
                9,
                r#"{"invoke":{"time_ns":9,"id":2,"session":1,"op":{"op":"commit"}}}"#,
                C::SessionIsOver(1),
            ),
            (
                9,
                r#"{"over":{"time_ns":9,"session":1,"how":"killed"}}"#,
                C::SessionIsOver(1),
            ),
            (
                9,
                r#"{"over":{"time_ns":9,"session":3,"how":"killed"}}"#,
                C::NoSuchSession(3),
            ),
            (
                7,
                r#"{"ok":{"time_ns":7,"id":1,"value":null}}"#,
                C::NoSuchOperation(1),
            ),
            (
                7,
                r#"{"info":{"time_ns":7,"id":2,"error":"gone","definite":false}}"#,
                C::NoSuchOperation(2),
            ),
            (
                4,
                r#"{"fail":{"time_ns":7,"id":1,"error":"failed","definite":false}}"#,
                C::IndefiniteFail(1),
            ),
            (
                4,
                r#"{"info":{"time_ns":7,"id":1,"error":"timeout","definite":true}}"#,
                C::DefiniteInfo(1),
            ),
            (
                8,
                r#"{"end":{"time_ns":8,"task":1,"outcome":"done"}}"#,
                C::NoSuchTask(1),
            ),
            (
                8,
                r#"{"invoke":{"time_ns":8,"id":2,"session":1,"task":1,"op":{"op":"commit"}}}"#,
                C::NoSuchTask(1),
            ),
            (
                3,
                r#"{"task":{"time_ns":3,"task":2,"worker":0,"step":"raise"}}"#,
                C::TaskWithinTask {
                    task: 2,
                    worker: 0,
                    open: 1,
                },
            ),
            (
                3,
                r#"{"invoke":{"time_ns":3,"id":1,"session":2,"task":1,"op":{"op":"begin"}}}"#,
                C::TaskOfAnother {
                    id: 1,
                    worker: 1,
                    task: 1,
                    other: 0,
                },
            ),
            (
                3,
                r#"{"task":{"time_ns":3,"task":2,"worker":2,"step":"raise"}}"#,
                C::NoSuchWorker {
                    worker: 2,
                    workers: 2,
                },
            ),
            (
                3,
                r#"{"session":{"time_ns":3,"session":2,"worker":1,"process":3}}"#,
                C::NumberDoesNotGrow {
                    what: What::Session,
                    last: 2,
                    next: 2,
                },
            ),
            (
                3,
                r#"{"fault":{"time_ns":4,"fault":{"kill":{"worker":0}},"sessions":[3]}}"#,
                C::NoSuchSession(3),
            ),
            (
                3,
                r#"{"fault":{"time_ns":4,"fault":{"kill":{"worker":0}},"sessions":[1],"pause":7}}"#,
                C::NoPause(7),
            ),
            (
                6,
                r#"{"resumed":{"time_ns":6,"sessions":[1]}}"#,
                C::NothingPaused,
            ),
            (
                3,
                r#"{"seen":{"time_ns":3,"waiting":{"lock":"lock:l","count":1,"asked_ns":4}}}"#,
                C::AskedLater {
                    asked_ns: 4,
                    time_ns: 3,
                },
            ),
        ] {
            let mut lines = RIGHT[..after].to_vec();
            lines.push(line);
            let error = said(&lines).unwrap_err();
            let ReadError::Contradiction { line: at, what } = &error else {
                panic!("{line}: {error}");
            };
            assert_eq!((*at, what), (after as u64 + 2, &wrong), "{line}");
            assert!(error.to_string().starts_with(&format!("line {at}: ")));
        }
    }

    #[test]
    fn a_pause_with_a_number_ends_by_its_number_alone() {
        let stop = r#"{"fault":{"time_ns":4,"fault":{"stop":{"worker":0,"for-ms":1}},"sessions":[1],"pause":1}}"#;
        let lines = |resumed| [RIGHT[0], stop, resumed];
        said(&lines(
            r#"{"resumed":{"time_ns":5,"sessions":[1],"pause":1}}"#,
        ))
        .unwrap();
        let error = said(&lines(r#"{"resumed":{"time_ns":5,"sessions":[1]}}"#)).unwrap_err();
        assert!(error.to_string().contains("nothing was paused"), "{error}");
    }

    #[test]
    fn what_is_no_history_says_where() {
        let wrong = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        assert!(wrong("").contains("the file is empty"));
        assert!(wrong("nonsense\n").starts_with("line 1: "));
        assert!(wrong(&HEADER.replacen('1', "2", 1)).contains("version 2"));
        assert!(wrong(&format!("{HEADER}\n{{\"nonsense\":1}}\n")).starts_with("line 2: "));
    }
}
