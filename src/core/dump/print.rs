//! A stored value as Python's `json.dump(…, indent=2)` prints it.
//!
//! What must stay true: only spaces between tokens change, so nothing that was
//! stored is altered (a number keeps its digits); what it gives at a time is
//! bounded, however large the value or deep its nesting.

use super::scan::{Scanner, Token};
use crate::error::{Error, Result};

/// How much of a value is looked at before what was printed is counted.
const WINDOW_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Printer {
    text: String,
    at: usize,
    /// Where the window ends.
    end: usize,
    scanner: Scanner,
    /// How deep the value itself is.
    level: usize,
    opened: bool,
    finished: bool,
    /// What comes before the next token: spaces, and what follows them.
    spaces: usize,
    held: String,
    /// Which value it is, for an error.
    what: String,
}

impl Printer {
    /// `text` is a value `level` deep; `what` tells which.
    pub(super) fn new(text: String, level: usize, what: String) -> Self {
        Self {
            text,
            at: 0,
            end: 0,
            scanner: Scanner::new(usize::MAX),
            level,
            opened: false,
            finished: false,
            spaces: 0,
            held: String::new(),
            what,
        }
    }

    /// Prints on until `out` has `limit` bytes or a little more. True at the end.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it isn't JSON.
    pub(super) fn print(&mut self, out: &mut String, limit: usize) -> Result<bool> {
        // Not borrowed by the token, so that `self` can be changed by it.
        let text = std::mem::take(&mut self.text);
        let result = self.print_text(&text, out, limit);
        self.text = text;
        result.map_err(|error| match error {
            Error::InvalidJson(problem) => {
                Error::Corrupt(format!("{} isn't JSON: {problem}", self.what))
            }
            other => other,
        })
    }

    fn print_text(&mut self, text: &str, out: &mut String, limit: usize) -> Result<bool> {
        loop {
            let room = limit.saturating_sub(out.len()).min(self.spaces);
            out.extend(std::iter::repeat_n(' ', room));
            self.spaces -= room;
            if self.spaces > 0 {
                return Ok(false);
            }
            out.push_str(&self.held);
            self.held.clear();
            if self.finished {
                return Ok(true);
            }
            if out.len() >= limit {
                return Ok(false);
            }
            if self.at == self.end {
                self.end = text.floor_char_boundary((self.at + WINDOW_BYTES).min(text.len()));
            }
            let token = if self.at < self.end {
                self.scanner.next(&text[..self.end], &mut self.at)?
            } else {
                let last = self.scanner.finish()?;
                self.finished = true;
                last
            };
            if let Some(token) = token {
                self.put(token, out);
            }
        }
    }

    fn put(&mut self, token: Token<'_>, out: &mut String) {
        let first = std::mem::replace(&mut self.opened, matches!(token, Token::Open(_)));
        if matches!(
            token,
            Token::Open(_) | Token::Quote { .. } | Token::Scalar(_)
        ) && first
        {
            // An opening bracket counts as one that it is in itself.
            let opened = usize::from(self.opened);
            self.new_line(self.scanner.depth() - opened, out);
        }
        match token {
            Token::Open(bracket) => self.held.push(bracket),
            Token::Close(bracket) => {
                if !first {
                    self.new_line(self.scanner.depth(), out);
                }
                self.held.push(bracket);
            }
            Token::Comma => {
                out.push(',');
                self.new_line(self.scanner.depth(), out);
            }
            Token::Colon => out.push_str(": "),
            Token::Quote { .. } | Token::Unquote { .. } => self.held.push('"'),
            Token::Text(text) => out.push_str(text),
            Token::Scalar(text) => self.held.push_str(&text),
        }
    }

    fn new_line(&mut self, depth: usize, out: &mut String) {
        out.push('\n');
        self.spaces = 2 * (self.level + depth);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pretty(text: &str, level: usize, limit: usize) -> Result<String> {
        let mut printer = Printer::new(text.into(), level, "this".into());
        let mut all = String::new();
        loop {
            let mut out = String::new();
            let end = printer.print(&mut out, limit)?;
            all.push_str(&out);
            if end {
                return Ok(all);
            }
        }
    }

    #[test]
    fn prints_as_python_does_in_pieces_of_any_size() {
        // Right-hand sides printed by CPython 3.13's json.dumps(…, indent=2).
        for (text, printed) in [
            ("[]", "[]"),
            ("{}", "{}"),
            ("\"a, b: [c]\"", "\"a, b: [c]\""),
            ("NaN", "NaN"),
            ("[1, []]", "[\n  1,\n  []\n]"),
            ("[[[1]]]", "[\n  [\n    [\n      1\n    ]\n  ]\n]"),
            (
                r#"{"a": {"b": [1, {}], "c": "\u00e9"}, "d": -Infinity}"#,
                "{\n  \"a\": {\n    \"b\": [\n      1,\n      {}\n    ],\n    \"c\": \"\\u00e9\"\n  },\n  \"d\": -Infinity\n}",
            ),
            // Not Python's spaces and digits: only the spaces change.
            ("[1e3,\n\"é\" ]", "[\n  1e3,\n  \"é\"\n]"),
        ] {
            for limit in 1..printed.len() + 1 {
                assert_eq!(pretty(text, 0, limit).unwrap(), printed);
            }
        }
        assert_eq!(pretty("[1]", 2, 100).unwrap(), "[\n      1\n    ]");
    }

    #[test]
    fn what_is_no_json_is_named() {
        for text in ["", "[1", "hello", "1 2", "{'a': 1}"] {
            match pretty(text, 0, 100) {
                Err(Error::Corrupt(problem)) => assert!(problem.starts_with("this isn't JSON")),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn deep_nesting_takes_no_more_memory_than_asked_for() {
        let depth = 2_000;
        let text = "[".repeat(depth) + &"]".repeat(depth);
        let mut printer = Printer::new(text, 2, String::new());
        let (mut total, mut end) = (0, false);
        while !end {
            let mut out = String::new();
            end = printer.print(&mut out, 1_000).unwrap();
            assert!(out.len() < 1_010);
            total += out.len();
        }
        assert!(total > depth * depth);
    }
}
