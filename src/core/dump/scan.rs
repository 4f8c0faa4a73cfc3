//! JSON read token by token, from text that comes in pieces.
//!
//! What must stay true: a piece may end anywhere between two characters; no
//! recursion, and of the text nothing is kept but an unfinished number or word;
//! a token's text is the input's, unaltered; what is wrong is told behind the
//! same tokens and with the same place, whatever the pieces. Besides JSON it
//! takes what Python prints and reads: `NaN`, `Infinity`, `-Infinity`.

use crate::error::{Error, Result};
use crate::manager::MAX_VALUE_BYTES;

/// What a text is made of, besides the spaces between.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `[` or `{`.
    Open(char),
    /// `]` or `}`.
    Close(char),
    Comma,
    Colon,
    /// The quote before a string, which may be a member's key.
    Quote {
        key: bool,
    },
    /// A part of a string, its escapes as they are.
    Text(&'a str),
    /// The quote after a string.
    Unquote {
        key: bool,
    },
    /// A number or a word.
    Scalar(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    FirstValue,
    Key,
    FirstKey,
    Colon,
    /// Behind a value.
    After,
    Text {
        key: bool,
        escape: Escape,
    },
    Scalar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    /// Behind a backslash.
    Begun,
    /// So many hexadecimal digits are to come.
    Digits(u8),
}

impl Escape {
    /// Where a string is after one more byte, which doesn't end it.
    fn after(self, byte: u8) -> std::result::Result<Self, Problem> {
        match (self, byte) {
            (Self::None, b'\\') => Ok(Self::Begun),
            (Self::None, 0..=0x1f) => Err("a control character must be escaped"),
            (Self::None, _) => Ok(Self::None),
            (Self::Begun, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(Self::None),
            (Self::Begun, b'u') => Ok(Self::Digits(4)),
            (Self::Begun, _) => Err("an unknown escape"),
            (Self::Digits(1), digit) if digit.is_ascii_hexdigit() => Ok(Self::None),
            (Self::Digits(left), digit) if digit.is_ascii_hexdigit() => Ok(Self::Digits(left - 1)),
            (Self::Digits(_), _) => Err("four hexadecimal digits are expected after \\u"),
        }
    }
}

/// What is wrong with the text.
type Problem = &'static str;

/// A token, or none when what is left is no whole one.
type Scanned<T> = std::result::Result<Option<T>, Problem>;

#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    /// The open brackets.
    open: Vec<u8>,
    max_depth: usize,
    scalar: String,
    /// How many bytes were read.
    offset: u64,
}

impl Scanner {
    pub(super) fn new(max_depth: usize) -> Self {
        Self {
            state: State::Value,
            open: Vec::new(),
            max_depth,
            scalar: String::new(),
            offset: 0,
        }
    }

    /// How many brackets are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// The next token of `text` from the byte `at` on, which moves behind it;
    /// none when what is left is no whole token.
    pub(super) fn next<'a>(&mut self, text: &'a str, at: &mut usize) -> Result<Option<Token<'a>>> {
        let start = *at;
        let token = self.scan(text, at);
        self.offset += (*at - start) as u64;
        token.map_err(|problem| self.at_offset(problem))
    }

    /// The end of the text: its last token, if the end made it one.
    pub(super) fn finish(&mut self) -> Result<Option<Token<'static>>> {
        let last = match self.state {
            State::Scalar => {
                let last = self.end_scalar();
                Some(last.map_err(|problem| self.at_offset(problem))?)
            }
            _ => None,
        };
        if self.state == State::After && self.open.is_empty() {
            Ok(last)
        } else {
            Err(self.at_offset("the text ends too early,"))
        }
    }

    fn scan<'a>(&mut self, text: &'a str, at: &mut usize) -> Scanned<Token<'a>> {
        let bytes = text.as_bytes();
        if let State::Text { key, escape } = self.state {
            return self.string(text, at, key, escape);
        }
        while let Some(&byte) = bytes.get(*at) {
            if self.state == State::Scalar {
                if matches!(byte, b'-' | b'+' | b'.') || byte.is_ascii_alphanumeric() {
                    if self.scalar.len() == MAX_VALUE_BYTES {
                        return Err("too long a number");
                    }
                    self.scalar.push(char::from(byte));
                    *at += 1;
                    continue;
                }
                return self.end_scalar().map(Some);
            }
            if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                *at += 1;
                continue;
            }
            let token = self.punctuation(byte)?;
            // The first character of a number or word is read as its others are.
            if let Some(token) = token {
                *at += 1;
                return Ok(Some(token));
            }
        }
        Ok(None)
    }

    fn punctuation(&mut self, byte: u8) -> Scanned<Token<'static>> {
        let inside = self.open.last().copied();
        let (token, state) = match (self.state, byte) {
            (State::FirstValue, b']') => return self.close(']'),
            (State::FirstKey, b'}') => return self.close('}'),
            (State::After, b']') if inside == Some(b'[') => return self.close(']'),
            (State::After, b'}') if inside == Some(b'{') => return self.close('}'),
            (State::Value | State::FirstValue, b'[') => return self.open(b'[', State::FirstValue),
            (State::Value | State::FirstValue, b'{') => return self.open(b'{', State::FirstKey),
            (State::Value | State::FirstValue, b'"') => (
                Token::Quote { key: false },
                State::Text {
                    key: false,
                    escape: Escape::None,
                },
            ),
            (State::Key | State::FirstKey, b'"') => (
                Token::Quote { key: true },
                State::Text {
                    key: true,
                    escape: Escape::None,
                },
            ),
            (State::Value | State::FirstValue, b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') => {
                self.state = State::Scalar;
                return Ok(None);
            }
            (State::Colon, b':') => (Token::Colon, State::Value),
            (State::After, b',') if inside == Some(b'[') => (Token::Comma, State::Value),
            (State::After, b',') if inside == Some(b'{') => (Token::Comma, State::Key),
            (State::Value | State::FirstValue, _) => return Err("a value is expected"),
            (State::Key | State::FirstKey, _) => return Err("a key in quotes is expected"),
            (State::Colon, _) => return Err("':' is expected"),
            _ if inside.is_none() => return Err("nothing may follow the value"),
            _ => return Err("',' or a closing bracket is expected"),
        };
        self.state = state;
        Ok(Some(token))
    }

    fn open(&mut self, bracket: u8, state: State) -> Scanned<Token<'static>> {
        if self.open.len() == self.max_depth {
            return Err("nested too deep");
        }
        self.open.push(bracket);
        self.state = state;
        Ok(Some(Token::Open(char::from(bracket))))
    }

    fn close(&mut self, bracket: char) -> Scanned<Token<'static>> {
        self.open.pop();
        self.state = State::After;
        Ok(Some(Token::Close(bracket)))
    }

    fn string<'a>(
        &mut self,
        text: &'a str,
        at: &mut usize,
        key: bool,
        mut escape: Escape,
    ) -> Scanned<Token<'a>> {
        let bytes = text.as_bytes();
        let start = *at;
        while let Some(&byte) = bytes.get(*at) {
            if (escape, byte) == (Escape::None, b'"') {
                break;
            }
            match escape.after(byte) {
                Ok(next) => escape = next,
                // As if the text had been cut here.
                Err(_) if *at > start => break,
                Err(problem) => return Err(problem),
            }
            *at += 1;
        }
        self.state = State::Text { key, escape };
        if *at > start {
            // What ends it, the text's end or what begins a character, is no part of one.
            return Ok(Some(Token::Text(&text[start..*at])));
        }
        if *at == bytes.len() {
            return Ok(None);
        }
        *at += 1;
        self.state = if key { State::Colon } else { State::After };
        Ok(Some(Token::Unquote { key }))
    }

    fn end_scalar(&mut self) -> std::result::Result<Token<'static>, Problem> {
        if !is_scalar(self.scalar.as_bytes()) {
            return Err("neither a number nor a word of JSON");
        }
        self.state = State::After;
        Ok(Token::Scalar(std::mem::take(&mut self.scalar)))
    }

    fn at_offset(&self, problem: Problem) -> Error {
        Error::InvalidJson(format!("{problem} after byte {}", self.offset))
    }
}

fn is_scalar(text: &[u8]) -> bool {
    if matches!(
        text,
        b"true" | b"false" | b"null" | b"NaN" | b"Infinity" | b"-Infinity"
    ) {
        return true;
    }
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    let integer = digits(rest);
    if integer == 0 || (integer > 1 && rest[0] == b'0') {
        return false;
    }
    rest = &rest[integer..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', exponent @ ..] => exponent,
            _ => exponent,
        };
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{MAX_DEPTH, python_text};
    use proptest::prelude::*;

    /// The tokens without the spaces between, whichever pieces the text comes in.
    fn tokens(text: &str, piece: usize) -> Result<String> {
        let (out, end) = read(text, piece);
        end.map(|()| out)
    }

    /// The tokens, and how they ended.
    fn read(text: &str, piece: usize) -> (String, Result<()>) {
        let mut scanner = Scanner::new(MAX_DEPTH);
        let mut out = String::new();
        let mut put = |token: Token<'_>| match token {
            Token::Open(bracket) | Token::Close(bracket) => out.push(bracket),
            Token::Comma => out.push(','),
            Token::Colon => out.push(':'),
            Token::Quote { .. } | Token::Unquote { .. } => out.push('"'),
            Token::Text(text) => out.push_str(text),
            Token::Scalar(text) => out.push_str(&text),
        };
        let mut all = || {
            let mut from = 0;
            while from < text.len() {
                let to = text.ceil_char_boundary((from + piece).min(text.len()));
                let mut at = 0;
                while let Some(token) = scanner.next(&text[from..to], &mut at)? {
                    put(token);
                }
                assert_eq!(at, to - from, "a piece is read to its end");
                from = to;
            }
            if let Some(token) = scanner.finish()? {
                put(token);
            }
            Ok(())
        };
        let end = all();
        (out, end)
    }

    #[test]
    fn texts_come_through_and_the_rest_is_refused() {
        for (text, compact) in [
            (
                " {\"a\" : [1, -2.5e+10, true,null] , \"\\u00e9\":{ } }\n",
                "{\"a\":[1,-2.5e+10,true,null],\"\\u00e9\":{}}",
            ),
            ("[NaN, Infinity, -Infinity]", "[NaN,Infinity,-Infinity]"),
            ("\"é€😀\\\"\\\\\\/\"", "\"é€😀\\\"\\\\\\/\""),
            ("0", "0"),
            ("[ ]", "[]"),
        ] {
            for piece in 1..text.len() {
                assert_eq!(tokens(text, piece).unwrap(), compact, "{piece}");
            }
        }
        for text in [
            "",
            " ",
            "nul",
            "[1,]",
            "[1 2]",
            "[}",
            "{]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{,}",
            "{\"a\":1,}",
            "01",
            "1.",
            "-",
            "1e",
            "1e+",
            "1ee",
            "--1",
            "+1",
            ".5",
            "nan",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\n\"",
            "[",
            "]",
            "1 2",
            "[]]",
            "\"\\",
            "1,2",
            ",",
            ":",
        ] {
            for piece in 1..=text.len().max(1) {
                let error = tokens(text, piece).unwrap_err();
                assert!(matches!(error, Error::InvalidJson(_)), "{text}: {error}");
            }
        }
    }

    #[test]
    fn the_place_of_a_mistake_is_told() {
        for (text, place) in [
            ("[1   x", 5),
            ("\"abc\\q\"", 5),
            ("\"abc\\u12é\"", 8),
            ("\"ab\n\"", 3),
            ("[01]", 3),
            ("[1, ", 4),
        ] {
            for piece in 1..=text.len() {
                let error = tokens(text, piece).unwrap_err().to_string();
                let end = format!(" after byte {place}");
                assert!(error.ends_with(&end), "{text} by {piece}: {error}");
            }
        }
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(tokens(&nested(MAX_DEPTH), 1000).is_ok());
        assert!(tokens(&nested(MAX_DEPTH + 1), 1000).is_err());
        assert!(tokens(&"[".repeat(1_000_000), 1000).is_err());
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "[\\[\\]{}:,\"\\\\0-9eEé+.a-u \n-]{0,12}", piece in 1..4_usize) {
            prop_assert_eq!(read(&text, piece), read(&text, usize::from(u16::MAX)));
        }

        #[test]
        fn it_takes_what_python_text_takes(text in "[\\[\\]{}:,\"\\\\0-9eE+.a-u \n-]{0,12}", piece in 1..4_usize) {
            // 1e999 is a number here; what it is worth is not asked.
            if let Ok(printed) = python_text(&text) {
                let once = tokens(&text, piece).unwrap();
                prop_assert_eq!(python_text(&once).unwrap(), printed);
            } else if let Ok(taken) = tokens(&text, piece) {
                prop_assert!(taken.contains(['e', 'E']), "{}", taken);
            }
        }
    }
}
