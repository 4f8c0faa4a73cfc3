//! A dump's text, in pieces, taken apart into its items.
//!
//! What must stay true: `metadata` and `items` may come in any order, and so may
//! an item's members; what isn't known is skipped; nothing is kept but the item
//! that is being read, and of that no member that is handed on in pieces.

use super::member;
use super::scan::{Scanner, Token};
use crate::error::{Error, Result};
use crate::json::MAX_DEPTH;
use crate::manager::MAX_VALUE_BYTES;

/// An item's value is in an object in an array in an object.
const MAX_DUMP_DEPTH: usize = MAX_DEPTH + 3;

/// Longer keys are none that a dump has.
const MAX_MEMBER_BYTES: usize = 64;

/// What the items of a dump look like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// Each is a value.
    Value,
    /// Each is an object with these members.
    Object(&'static [&'static str]),
    /// The same, and this member is a string that is handed on in pieces.
    WithStream(&'static [&'static str], &'static str),
}

/// The members of an item, in the order of its [`Shape`]'s: JSON texts without spaces.
pub(super) type Members = Vec<Option<String>>;

/// Who takes what is split.
pub(super) trait Receiver {
    fn metadata(&mut self, text: &str) -> Result<()>;
    fn item(&mut self, members: Members) -> Result<()>;
    /// The stream of the next item begins; what came of it is void.
    fn stream_begins(&mut self) -> Result<()>;
    /// A part of it: what stands in the text, escapes and all.
    fn stream(&mut self, text: &str) -> Result<()>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Metadata,
    Items,
    Other,
}

/// Where the value goes that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Skip,
    Metadata,
    Item,
    Member(usize),
    Stream,
}

#[derive(Debug)]
pub(super) struct Splitter {
    scanner: Scanner,
    shape: Shape,
    section: Section,
    /// The key that is being read, as it stands in the text.
    key: String,
    /// The value that is being read: where it goes and how deep it is.
    value: Option<(Place, usize)>,
    /// Its text, if it is kept.
    kept: String,
    members: Members,
    seen_items: bool,
}

impl Splitter {
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            scanner: Scanner::new(MAX_DUMP_DEPTH),
            shape,
            section: Section::Other,
            key: String::new(),
            value: None,
            kept: String::new(),
            members: Vec::new(),
            seen_items: false,
        }
    }

    /// Takes the next piece of the text.
    pub(super) fn split(&mut self, text: &str, receiver: &mut impl Receiver) -> Result<()> {
        let mut at = 0;
        while let Some(token) = self.scanner.next(text, &mut at)? {
            self.token(token, receiver)?;
        }
        Ok(())
    }

    /// The end of the text.
    pub(super) fn finish(&mut self) -> Result<()> {
        // What a dump's end makes a token would be a dump that is no object.
        if self.scanner.finish()?.is_some() {
            return Err(no_dump());
        }
        if !self.seen_items {
            return Err(Error::InvalidArgument(
                "a dump has a member \"items\", this text has none".into(),
            ));
        }
        Ok(())
    }

    fn token(&mut self, token: Token<'_>, receiver: &mut impl Receiver) -> Result<()> {
        let depth = self.scanner.depth();
        if let Some((place, outside)) = self.value {
            return self.value_token(&token, place, depth == outside, receiver);
        }
        match token {
            Token::Open(_) | Token::Quote { key: false } | Token::Scalar(_) => {
                let outside = depth - usize::from(matches!(token, Token::Open(_)));
                if let Some(place) = self.begin(&token, outside, receiver)? {
                    self.value = Some((place, outside));
                    self.kept.clear();
                    self.value_token(&token, place, depth == outside, receiver)?;
                }
            }
            Token::Quote { key: true } => self.key.clear(),
            Token::Text(text) => {
                if self.key.len() <= MAX_MEMBER_BYTES {
                    self.key.push_str(text);
                }
            }
            Token::Close(_) if self.section == Section::Items && depth == 2 => {
                receiver.item(std::mem::take(&mut self.members))?;
            }
            Token::Close(_) | Token::Comma | Token::Colon | Token::Unquote { .. } => {}
        }
        Ok(())
    }

    /// What to do with the value that begins: where it goes; none to look into it.
    fn begin(
        &mut self,
        token: &Token<'_>,
        outside: usize,
        receiver: &mut impl Receiver,
    ) -> Result<Option<Place>> {
        let expect = |bracket: char, what: &str| {
            if *token == Token::Open(bracket) {
                Ok(None)
            } else {
                Err(Error::InvalidArgument(format!(
                    "{what} of a dump must be {}",
                    match bracket {
                        '{' => "an object",
                        _ => "an array",
                    }
                )))
            }
        };
        match (outside, self.shape) {
            (0, _) if *token == Token::Open('{') => Ok(None),
            (0, _) => Err(no_dump()),
            (1, _) => {
                self.section = match member::unescape(&self.key).as_deref() {
                    Some("metadata") => Section::Metadata,
                    Some("items") => Section::Items,
                    _ => Section::Other,
                };
                match self.section {
                    Section::Metadata => Ok(Some(Place::Metadata)),
                    Section::Other => Ok(Some(Place::Skip)),
                    Section::Items if self.seen_items => Err(Error::InvalidArgument(
                        "a dump has one member \"items\", this text has more".into(),
                    )),
                    Section::Items => {
                        self.seen_items = true;
                        expect('[', "the items")
                    }
                }
            }
            (2, Shape::Value) => Ok(Some(Place::Item)),
            (2, Shape::Object(members) | Shape::WithStream(members, _)) => {
                self.members = vec![None; members.len()];
                expect('{', "each item")
            }
            (_, Shape::Value) => Ok(Some(Place::Skip)),
            (_, Shape::Object(members) | Shape::WithStream(members, _)) => {
                let key = member::unescape(&self.key);
                if let Shape::WithStream(_, stream) = self.shape
                    && key.as_deref() == Some(stream)
                {
                    if *token != (Token::Quote { key: false }) {
                        return Err(Error::InvalidArgument(format!("{stream} must be a string")));
                    }
                    receiver.stream_begins()?;
                    return Ok(Some(Place::Stream));
                }
                let place = members
                    .iter()
                    .position(|member| key.as_deref() == Some(*member));
                Ok(Some(place.map_or(Place::Skip, Place::Member)))
            }
        }
    }

    /// A token of the value that is being read; `outermost` if it isn't in
    /// brackets of that.
    fn value_token(
        &mut self,
        token: &Token<'_>,
        place: Place,
        outermost: bool,
        receiver: &mut impl Receiver,
    ) -> Result<()> {
        match (place, token) {
            (Place::Skip, _) => {}
            (Place::Stream, Token::Text(text)) => receiver.stream(text)?,
            (Place::Stream, _) => {}
            _ => self.keep(token)?,
        }
        let ends = match token {
            Token::Close(_) | Token::Unquote { key: false } | Token::Scalar(_) => outermost,
            _ => false,
        };
        if ends {
            self.value = None;
            let text = std::mem::take(&mut self.kept);
            match place {
                Place::Skip | Place::Stream => {}
                Place::Metadata => receiver.metadata(&text)?,
                Place::Item => receiver.item(vec![Some(text)])?,
                // Of two members with one key the last counts, in Python's dict.
                Place::Member(index) => self.members[index] = Some(text),
            }
        }
        Ok(())
    }

    fn keep(&mut self, token: &Token<'_>) -> Result<()> {
        let kept = &mut self.kept;
        match token {
            Token::Open(bracket) | Token::Close(bracket) => kept.push(*bracket),
            Token::Comma => kept.push(','),
            Token::Colon => kept.push(':'),
            Token::Quote { .. } | Token::Unquote { .. } => kept.push('"'),
            Token::Text(text) => kept.push_str(text),
            Token::Scalar(text) => kept.push_str(text),
        }
        if kept.len() > MAX_VALUE_BYTES {
            return Err(Error::InvalidArgument(format!(
                "a value has at most {MAX_VALUE_BYTES} bytes; one in this dump has more"
            )));
        }
        Ok(())
    }
}

fn no_dump() -> Error {
    Error::InvalidArgument("a dump is an object with \"metadata\" and \"items\"".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Notes(Vec<String>);

    impl Receiver for Notes {
        fn metadata(&mut self, text: &str) -> Result<()> {
            self.0.push(format!("metadata {text}"));
            Ok(())
        }

        fn item(&mut self, members: Members) -> Result<()> {
            let texts = members
                .into_iter()
                .map(|member| member.unwrap_or("-".into()));
            self.0.push(texts.collect::<Vec<_>>().join(" "));
            Ok(())
        }

        fn stream_begins(&mut self) -> Result<()> {
            self.0.push("stream ".into());
            Ok(())
        }

        fn stream(&mut self, text: &str) -> Result<()> {
            self.0.last_mut().unwrap().push_str(text);
            Ok(())
        }
    }

    fn split(shape: Shape, text: &str, piece: usize) -> Result<Vec<String>> {
        let (mut splitter, mut notes) = (Splitter::new(shape), Notes::default());
        let mut from = 0;
        while from < text.len() {
            let to = text.ceil_char_boundary((from + piece).min(text.len()));
            splitter.split(&text[from..to], &mut notes)?;
            from = to;
        }
        splitter.finish().map(|()| notes.0)
    }

    #[test]
    fn any_order_any_pieces_unknown_things_skipped() {
        let text = r#" {"x": [1, {"items": [2]}], "items": [ {"k": "a\"é", "v": {"k": [1, 2]}, "s": "YQ=="},
            {"s": "\/", "other": {"k": [7]}, "\u006b": 5, "k": 6}, {} ], "metadata": {"type": "T"}, "y": "z"} "#;
        let shape = Shape::WithStream(&["k", "v"], "s");
        for piece in 1..text.len() {
            let notes = split(shape, text, piece).unwrap();
            assert_eq!(
                notes,
                [
                    "stream YQ==",
                    "\"a\\\"é\" {\"k\":[1,2]}",
                    "stream \\/",
                    "6 -",
                    "- -",
                    "metadata {\"type\":\"T\"}"
                ]
            );
        }
        let values = r#"{"metadata":{},"items":[1,"two",[3,[]],{"items":4},null]}"#;
        for piece in 1..values.len() {
            let notes = split(Shape::Value, values, piece).unwrap();
            assert_eq!(
                notes,
                [
                    "metadata {}",
                    "1",
                    "\"two\"",
                    "[3,[]]",
                    "{\"items\":4}",
                    "null"
                ]
            );
        }
    }

    #[test]
    fn what_is_no_dump_is_told() {
        let shape = Shape::WithStream(&["k"], "s");
        for text in [
            "[]",
            "1",
            "null",
            "\"x\"",
            "{}",
            r#"{"items": 1}"#,
            r#"{"items": {}}"#,
            r#"{"items": [1]}"#,
            r#"{"items": [[]]}"#,
            r#"{"items": [], "items": []}"#,
            r#"{"items": [{"s": 1}]}"#,
            r#"{"items": [{"s": null}]}"#,
        ] {
            let error = split(shape, text, 3).unwrap_err();
            assert!(
                matches!(error, Error::InvalidArgument(_)),
                "{text}: {error}"
            );
        }
        for text in [
            "",
            "{",
            r#"{"items": ["#,
            r#"{"items": []"#,
            r#"{"items": []} x"#,
        ] {
            let error = split(shape, text, 3).unwrap_err();
            assert!(matches!(error, Error::InvalidJson(_)), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn where_it_is_cut_makes_no_difference(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("{\"items\":["), Just("{\"metadata\":{\"type\":\"T\"},"), Just("{\"k\":"),
                    Just("\"s\":\"YQ==\""), Just("{"), Just("}"), Just("["), Just("]"), Just("]}"),
                    Just(","), Just(":"), Just(" "), Just("\"é\\n\\u00e9\""), Just("1.5"), Just("null"),
                    Just("\\"), Just("\""), Just("-"), Just("\"items\""),
                ],
                0..14,
            ),
            piece in 1..5_usize,
        ) {
            let text = parts.concat();
            for shape in [Shape::Value, Shape::Object(&["k"]), Shape::WithStream(&["k"], "s")] {
                let (whole, cut) = (split(shape, &text, 1000), split(shape, &text, piece));
                prop_assert_eq!(whole.is_ok(), cut.is_ok());
                if let (Ok(whole), Ok(cut)) = (whole, cut) {
                    prop_assert_eq!(whole, cut);
                }
            }
        }
    }
}
