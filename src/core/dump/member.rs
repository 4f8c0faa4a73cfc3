//! What the members of a dump's items hold, read from their JSON texts.

use crate::error::{Error, Result};

/// The text of a JSON string. `text` is valid JSON; `what` says what it is of.
pub(super) fn string(text: &str, what: &str) -> Result<String> {
    let Some(inner) = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
    else {
        return Err(wrong(what, "a string"));
    };
    unescape(inner).ok_or_else(|| {
        Error::InvalidArgument(format!(
            "{what} has half of a surrogate pair, which SQLite can't hold"
        ))
    })
}

/// What stands between the quotes of a JSON string; none for half of a surrogate pair.
pub(super) fn unescape(inner: &str) -> Option<String> {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(backslash) = rest.find('\\') {
        out.push_str(&rest[..backslash]);
        rest = &rest[backslash + 1..];
        let escaped = rest.chars().next()?;
        rest = &rest[escaped.len_utf8()..];
        out.push(match escaped {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = unit(&mut rest)?;
                if (0xd800..0xdc00).contains(&first) {
                    rest = rest.strip_prefix("\\u")?;
                    let second = unit(&mut rest)?;
                    char::decode_utf16([first, second]).next()?.ok()?
                } else {
                    char::from_u32(first.into())?
                }
            }
            other => other,
        });
    }
    out.push_str(rest);
    Some(out)
}

fn unit(rest: &mut &str) -> Option<u16> {
    let (digits, after) = rest.split_at_checked(4)?;
    *rest = after;
    u16::from_str_radix(digits, 16).ok()
}

/// A number, as the float that Python's `float` makes of it.
pub(super) fn number(text: &str, what: &str) -> Result<f64> {
    match text {
        "NaN" => Ok(f64::NAN),
        "Infinity" => Ok(f64::INFINITY),
        "-Infinity" => Ok(f64::NEG_INFINITY),
        // Of the texts that are JSON only numbers begin like that.
        _ if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            text.parse().map_err(|_| wrong(what, "a number"))
        }
        _ => Err(wrong(what, "a number")),
    }
}

/// An embedding: an array of numbers, or null.
pub(super) fn embedding(text: &str) -> Result<Option<Vec<f32>>> {
    if text == "null" {
        return Ok(None);
    }
    let what = "an embedding";
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .ok_or_else(|| wrong(what, "an array of numbers or null"))?;
    if inner.is_empty() {
        return Ok(Some(Vec::new()));
    }
    // A dump has each f32 as the f64 of the same value.
    let component = |text: &str| number(text, "an embedding's component").map(|value| value as f32);
    inner
        .split(',')
        .map(component)
        .collect::<Result<_>>()
        .map(Some)
}

fn wrong(what: &str, expected: &str) -> Error {
    Error::InvalidArgument(format!("{what} must be {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_numbers_embeddings() {
        assert_eq!(
            string(r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é""#, "it").unwrap(),
            "a\"\\/\u{8}\u{c}\n\r\té😀é"
        );
        for text in [
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83d\u0041""#,
            r#""\ud83dx""#,
            "1",
            "null",
            "[]",
        ] {
            assert!(matches!(string(text, "it"), Err(Error::InvalidArgument(_))));
        }
        assert_eq!(number("-1.5e3", "it").unwrap(), -1500.0);
        assert_eq!(number("7", "it").unwrap(), 7.0);
        assert_eq!(number("-Infinity", "it").unwrap(), f64::NEG_INFINITY);
        assert!(number("NaN", "it").unwrap().is_nan());
        for text in ["true", "\"1\"", "null", "[1]"] {
            assert!(matches!(number(text, "it"), Err(Error::InvalidArgument(_))));
        }
        assert_eq!(embedding("null").unwrap(), None);
        assert_eq!(
            embedding("[0.10000000149011612,1]").unwrap(),
            Some(vec![0.1, 1.0])
        );
        for text in ["1", "[[1]]", "[\"1,2\"]", "[null]", "{}"] {
            assert!(
                matches!(embedding(text), Err(Error::InvalidArgument(_))),
                "{text}"
            );
        }
    }
}
