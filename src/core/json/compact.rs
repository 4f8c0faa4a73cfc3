//! JSON as pydantic prints it, which is what goes with an event.
//!
//! What must stay true: the reference's listeners, one of which ends at the first
//! message that it can't read, can read it.

use super::python_text;
use crate::error::{Error, Result};
use std::fmt::Write as _;

/// How deep what goes with an event may nest: pydantic's reader stops at 201,
/// and the event is around it.
pub(crate) const MAX_COMPACT_DEPTH: usize = 199;

/// `text` as a JSON string, the way pydantic prints one: nothing is escaped
/// that need not be.
pub(crate) fn compact_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' => {
                // Writing to a String can't fail.
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// A JSON object the way pydantic prints it and reads it back: without spaces,
/// characters unescaped, at most [`MAX_COMPACT_DEPTH`] deep.
///
/// # Errors
/// As [`python_text`], and what pydantic could not read: lone surrogates, depth.
pub(crate) fn compact_object(text: &str) -> Result<String> {
    let fail = |problem: &str| Err(Error::InvalidJson(problem.to_owned()));
    let python = python_text(text)?;
    if !python.starts_with('{') {
        return fail("an object is expected");
    }
    let mut out = String::with_capacity(python.len());
    let mut depth = 0;
    let mut characters = python.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' => {}
            '"' => {
                out.push('"');
                if !compact_rest_of_string(&mut characters, &mut out) {
                    return fail("half of a surrogate pair can't be published");
                }
            }
            // Python gives an exponent two digits, pydantic as many as it needs.
            '0' if out.ends_with("e-") || out.ends_with("e+") => {}
            _ => {
                match character {
                    '{' | '[' => depth += 1,
                    '}' | ']' => depth -= 1,
                    _ => {}
                }
                if depth > MAX_COMPACT_DEPTH {
                    return fail("nested too deep");
                }
                out.push(character);
            }
        }
    }
    Ok(out)
}

/// From behind the opening quote to behind the closing one, of what
/// [`python_text`] printed. False when a surrogate has no partner.
fn compact_rest_of_string(characters: &mut std::str::Chars<'_>, out: &mut String) -> bool {
    let unit = |characters: &mut std::str::Chars<'_>| {
        let digits: String = characters.by_ref().take(4).collect();
        u16::from_str_radix(&digits, 16).unwrap_or(0xd800)
    };
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            if character == '"' {
                return true;
            }
            continue;
        }
        match characters.next() {
            Some('u') => {
                let first = unit(characters);
                let mut units = vec![first];
                if (0xd800..0xdc00).contains(&first) && characters.as_str().starts_with("\\u") {
                    characters.nth(1);
                    units.push(unit(characters));
                }
                match String::from_utf16(&units) {
                    Ok(text) if first < 0x20 => {
                        debug_assert_eq!(text.len(), 1);
                        // Writing to a String can't fail.
                        let _ = write!(out, "\\u{first:04x}");
                    }
                    Ok(text) => out.push_str(&text),
                    Err(_) => return false,
                }
            }
            Some(other) => out.extend(['\\', other]),
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_compact_object_is_as_pydantic_prints_it() {
        // Right-hand sides printed by pydantic 2.14's model_dump_json.
        for (input, printed) in [
            (
                r#" { "a" : [ 1 , true, null, {} ] } "#,
                r#"{"a":[1,true,null,{}]}"#,
            ),
            (r#"{"k": "a b: c, d"}"#, r#"{"k":"a b: c, d"}"#),
            (
                r#"{"\u00e9\u20ac\ud83d\ude00": "é€😀"}"#,
                r#"{"é€😀":"é€😀"}"#,
            ),
            (
                r#"{"k": "\u0000\u001f\b\f\n\r\t\"\\\/"}"#,
                r#"{"k":"\u0000\u001f\b\f\n\r\t\"\\/"}"#,
            ),
            ("{\"k\": \"\\u007f\u{7f}\"}", "{\"k\":\"\u{7f}\u{7f}\"}"),
            (
                r#"{"k": [1e16, 1e300, 1e-7, 1.0, -0.0, 0.1]}"#,
                r#"{"k":[1e+16,1e+300,1e-7,1.0,-0.0,0.1]}"#,
            ),
            (r#"{"k": "1e-07"}"#, r#"{"k":"1e-07"}"#),
        ] {
            assert_eq!(compact_object(input).unwrap(), printed, "{input}");
        }
        for input in [
            "1",
            "[]",
            "null",
            r#"{"k": "\ud83d"}"#,
            r#"{"k": "\ud83d\u0041"}"#,
            r#"{"k": "\ude00"}"#,
            "{",
        ] {
            assert!(
                matches!(compact_object(input), Err(Error::InvalidJson(_))),
                "{input}"
            );
        }
        let nested =
            |depth: usize| format!("{{\"k\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(compact_object(&nested(MAX_COMPACT_DEPTH - 1)).is_ok());
        assert!(compact_object(&nested(MAX_COMPACT_DEPTH)).is_err());
    }

    proptest! {
        #[test]
        fn a_compact_string_is_what_a_compact_object_holds(key in any::<String>()) {
            let mut quoted = String::new();
            compact_string(&key, &mut quoted);
            prop_assert_eq!(compact_object(&format!("{{{quoted}: 1}}")).unwrap(), format!("{{{quoted}:1}}"));
        }
    }
}
