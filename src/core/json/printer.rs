//! Reads a JSON text and prints it as Python does, in one pass.
//!
//! What must stay true: no recursion; depth is bounded by [`MAX_DEPTH`], memory by the input.

use super::MAX_DEPTH;
use super::atoms::{constant, python_float, python_unit};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::ops::Range;

/// The longest integer: Python refuses to read more digits by default.
const MAX_INTEGER_DIGITS: usize = 4300;

pub(super) struct Printer<'a> {
    text: &'a [u8],
    at: usize,
    out: String,
    /// Whether `NaN`, `Infinity` and `-Infinity` are values.
    constants: bool,
}

/// An open array or object.
enum Frame {
    Array {
        empty: bool,
    },
    Object {
        start: usize,
        key: Range<usize>,
        members: Vec<Member>,
    },
}

/// Where a member stands in the output: its key with quotes, and all of it.
struct Member {
    key: Range<usize>,
    value: Range<usize>,
}

impl<'a> Printer<'a> {
    /// With `constants`, what Python prints though it isn't JSON is taken too.
    pub(super) fn new(text: &'a str, constants: bool) -> Self {
        Self {
            text: text.as_bytes(),
            at: 0,
            out: String::with_capacity(text.len()),
            constants,
        }
    }

    /// The whole text, as Python prints it.
    pub(super) fn print(mut self) -> Result<String> {
        self.document()?;
        Ok(self.out)
    }

    fn document(&mut self) -> Result<()> {
        let mut open: Vec<Frame> = Vec::new();
        loop {
            self.skip_space();
            // A value starts here.
            match self.peek() {
                Some(b'[') => {
                    self.at += 1;
                    self.out.push('[');
                    self.skip_space();
                    if self.peek() == Some(b']') {
                        self.at += 1;
                        self.out.push(']');
                    } else {
                        self.open(&mut open, Frame::Array { empty: true })?;
                        continue;
                    }
                }
                Some(b'{') => {
                    let start = self.out.len();
                    self.at += 1;
                    self.out.push('{');
                    self.skip_space();
                    if self.peek() == Some(b'}') {
                        self.at += 1;
                        self.out.push('}');
                    } else {
                        let key = self.key()?;
                        self.open(
                            &mut open,
                            Frame::Object {
                                start,
                                key,
                                members: Vec::new(),
                            },
                        )?;
                        continue;
                    }
                }
                Some(b'"') => self.string()?,
                Some(b'-') if self.constants && self.text.get(self.at + 1) == Some(&b'I') => {
                    self.word("-Infinity")?;
                }
                Some(b'I') if self.constants => self.word("Infinity")?,
                Some(b'N') if self.constants => self.word("NaN")?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word("true")?,
                Some(b'f') => self.word("false")?,
                Some(b'n') => self.word("null")?,
                _ => return self.fail("a value is expected"),
            }
            // A value has ended here: go on in, or close, what is open.
            loop {
                self.skip_space();
                match open.last_mut() {
                    None if self.at == self.text.len() => return Ok(()),
                    None => return self.fail("nothing may follow the value"),
                    Some(Frame::Array { empty }) => {
                        *empty = false;
                        match self.peek() {
                            Some(b',') => {
                                self.at += 1;
                                self.out.push_str(", ");
                                break;
                            }
                            Some(b']') => {
                                self.at += 1;
                                self.out.push(']');
                                open.pop();
                            }
                            _ => return self.fail("',' or ']' is expected"),
                        }
                    }
                    Some(Frame::Object {
                        start,
                        key,
                        members,
                    }) => {
                        let value = key.end + 2..self.out.len();
                        members.push(Member {
                            key: key.clone(),
                            value,
                        });
                        match self.peek() {
                            Some(b',') => {
                                self.at += 1;
                                self.out.push_str(", ");
                                self.skip_space();
                                *key = self.key()?;
                                break;
                            }
                            Some(b'}') => {
                                self.at += 1;
                                let (start, members) = (*start, std::mem::take(members));
                                open.pop();
                                self.close_object(start, &members);
                            }
                            _ => return self.fail("',' or '}' is expected"),
                        }
                    }
                }
            }
        }
    }

    fn open(&self, open: &mut Vec<Frame>, frame: Frame) -> Result<()> {
        if open.len() == MAX_DEPTH {
            return self.fail("nested too deep");
        }
        open.push(frame);
        Ok(())
    }

    /// Reads `"key":` and writes `"key": `.
    fn key(&mut self) -> Result<Range<usize>> {
        if self.peek() != Some(b'"') {
            return self.fail("a key in quotes is expected");
        }
        let start = self.out.len();
        self.string()?;
        let key = start..self.out.len();
        self.skip_space();
        if self.peek() != Some(b':') {
            return self.fail("':' is expected");
        }
        self.at += 1;
        self.out.push_str(": ");
        Ok(key)
    }

    /// Writes `}`, after making equal keys one as a Python dict does.
    fn close_object(&mut self, start: usize, members: &[Member]) {
        let mut last: HashMap<&str, usize> = HashMap::with_capacity(members.len());
        let mut order: Vec<&str> = Vec::with_capacity(members.len());
        for (index, member) in members.iter().enumerate() {
            let key = &self.out[member.key.clone()];
            if last.insert(key, index).is_none() {
                order.push(key);
            }
        }
        if order.len() < members.len() {
            let mut merged = String::with_capacity(self.out.len() - start);
            for (index, key) in order.iter().enumerate() {
                let value = &members[last[key]].value;
                let separator = if index == 0 { "{" } else { ", " };
                merged.push_str(separator);
                merged.push_str(key);
                merged.push_str(": ");
                merged.push_str(&self.out[value.clone()]);
            }
            self.out.truncate(start);
            self.out.push_str(&merged);
        }
        self.out.push('}');
    }

    fn string(&mut self) -> Result<()> {
        self.at += 1;
        self.out.push('"');
        loop {
            let run = self.at;
            // Printable ASCII except quote and backslash stands for itself.
            while let Some(b' ' | b'!' | b'#'..=b'[' | b']'..=b'~') = self.peek() {
                self.at += 1;
            }
            // The run is ASCII, so it is UTF-8.
            self.out
                .push_str(std::str::from_utf8(&self.text[run..self.at]).unwrap_or_default());
            match self.peek() {
                None => return self.fail("the string has no end"),
                Some(b'"') => {
                    self.at += 1;
                    self.out.push('"');
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0..=0x1f) => return self.fail("a control character must be escaped"),
                Some(_) => self.other_character()?,
            }
        }
    }

    fn escape(&mut self) -> Result<()> {
        let unit = match self.text.get(self.at + 1) {
            Some(b'"') => u16::from(b'"'),
            Some(b'\\') => u16::from(b'\\'),
            Some(b'/') => u16::from(b'/'),
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => 10,
            Some(b'r') => 13,
            Some(b't') => 9,
            Some(b'u') => {
                let digits = self.text.get(self.at + 2..self.at + 6).unwrap_or_default();
                // from_str_radix alone would take a sign.
                let hex = std::str::from_utf8(digits)
                    .ok()
                    .filter(|hex| hex.len() == 4 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
                    .and_then(|hex| u16::from_str_radix(hex, 16).ok());
                let Some(unit) = hex else {
                    return self.fail("four hexadecimal digits are expected after \\u");
                };
                self.at += 4;
                unit
            }
            _ => return self.fail("an unknown escape"),
        };
        self.at += 2;
        python_unit(unit, &mut self.out);
        Ok(())
    }

    /// A character outside printable ASCII that stands for itself in the input.
    fn other_character(&mut self) -> Result<()> {
        let width = match self.text[self.at] {
            0x7f => 1,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            _ => 4,
        };
        let bytes = self.text.get(self.at..self.at + width).unwrap_or_default();
        let Some(character) = std::str::from_utf8(bytes)
            .ok()
            .and_then(|s| s.chars().next())
        else {
            return self.fail("not UTF-8");
        };
        self.at += width;
        for unit in character.encode_utf16(&mut [0; 2]) {
            python_unit(*unit, &mut self.out);
        }
        Ok(())
    }

    fn number(&mut self) -> Result<()> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let digits = self.at;
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.skip_digits(),
            _ => return self.fail("a digit is expected"),
        }
        let integer_end = self.at;
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !matches!(self.peek(), Some(b'0'..=b'9')) {
                return self.fail("a digit is expected after '.'");
            }
            self.skip_digits();
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if !matches!(self.peek(), Some(b'0'..=b'9')) {
                return self.fail("a digit is expected in the exponent");
            }
            self.skip_digits();
        }
        // Digits, signs and letters: ASCII.
        let text = std::str::from_utf8(&self.text[start..self.at]).unwrap_or_default();
        if self.at == integer_end {
            if integer_end - digits > MAX_INTEGER_DIGITS {
                return self.fail("an integer of more than 4300 digits");
            }
            // Python's integers have no negative zero.
            self.out.push_str(if text == "-0" { "0" } else { text });
            return Ok(());
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => {
                python_float(value, &mut self.out);
                Ok(())
            }
            Ok(value) if self.constants => {
                self.out.push_str(constant(value));
                Ok(())
            }
            _ => self.fail("a number too large for a float"),
        }
    }

    fn word(&mut self, word: &str) -> Result<()> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return self.fail("a value is expected");
        }
        self.at += word.len();
        self.out.push_str(word);
        Ok(())
    }

    fn skip_digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn fail<T>(&self, problem: &str) -> Result<T> {
        Err(Error::InvalidJson(format!("{problem} at byte {}", self.at)))
    }
}
