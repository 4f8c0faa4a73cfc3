//! JSON as Python's `json.dumps` prints it.
//!
//! BeaverDB stores values as `json.dumps(value)` and compares them as text, so
//! a value written here must be, byte for byte, what Python would have written:
//! separators `", "` and `": "`, everything outside printable ASCII escaped,
//! floats as `repr` prints them, of two equal keys the last one's value in the
//! first one's place. What Python could not read back is refused.
//!
//! What must stay true: `python_text(python_text(x)) == python_text(x)`.

mod atoms;
mod compact;
mod printer;

pub(crate) use atoms::{python_float_text, python_string};
pub(crate) use compact::{compact_object, compact_string};

use crate::error::{Error, Result};
use crate::manager::MAX_VALUE_BYTES;
use printer::Printer;

/// How deep arrays and objects may nest: Python's reader recurses, and its
/// default limit is 1000.
pub const MAX_DEPTH: usize = 900;

/// The text that Python's `json.dumps(json.loads(text))` prints.
///
/// # Errors
/// [`Error::InvalidJson`] with the byte offset; [`Error::InvalidArgument`] when
/// it is longer than [`MAX_VALUE_BYTES`], or the text that Python prints is.
pub fn python_text(text: &str) -> Result<String> {
    print(text, false)
}

/// The same, and what Python prints and reads although it isn't JSON is taken
/// too: `NaN`, `Infinity`, `-Infinity`, and a number too large for a float,
/// which is infinite.
pub(crate) fn python_text_with_constants(text: &str) -> Result<String> {
    print(text, true)
}

fn print(text: &str, constants: bool) -> Result<String> {
    if text.len() > MAX_VALUE_BYTES {
        return Err(Error::InvalidArgument(format!(
            "a value has at most {MAX_VALUE_BYTES} bytes; this one has {}",
            text.len()
        )));
    }
    let printed = Printer::new(text, constants).print()?;
    // What can't be returned isn't to be stored; escapes and spaces make it longer.
    if printed.len() > MAX_VALUE_BYTES {
        return Err(Error::InvalidArgument(format!(
            "a value has at most {MAX_VALUE_BYTES} bytes as Python prints it; this one has {}",
            printed.len()
        )));
    }
    Ok(printed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(input: &str) -> String {
        python_text(input).unwrap()
    }

    #[test]
    fn prints_as_python_does() {
        // Right-hand sides printed by CPython 3.13's json.dumps(json.loads(...)).
        for (input, printed) in [
            (
                r#"{"a":1,"b":[1,2,{"c":null}]}"#,
                r#"{"a": 1, "b": [1, 2, {"c": null}]}"#,
            ),
            (" [ ] ", "[]"),
            ("{ }", "{}"),
            ("[[],{}]", "[[], {}]"),
            ("\"é€😀\"", r#""\u00e9\u20ac\ud83d\ude00""#),
            (r#""\u00E9\/\b\f\n\r\t\"\\""#, r#""\u00e9/\b\f\n\r\t\"\\""#),
            (r#""\ud800""#, r#""\ud800""#),
            ("\"\u{7f}\"", r#""\u007f""#),
            (r#""\u0000A""#, r#""\u0000A""#),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("1.0", "1.0"),
            ("1e3", "1000.0"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("123456789012345680000.0", "1.2345678901234568e+20"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1E-7", "1e-07"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("0.1", "0.1"),
            ("1e-400", "0.0"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a": 3, "b": 2}"#),
            (
                r#"{"a":{"x":1,"x":[1,2]},"\u0061":{"y":0}}"#,
                r#"{"a": {"y": 0}}"#,
            ),
            ("true", "true"),
        ] {
            assert_eq!(text(input), printed, "{input}");
        }
    }

    #[test]
    fn what_python_could_not_read_is_refused() {
        for input in [
            "",
            " ",
            "nul",
            "nulll",
            "[1,]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "01",
            "1.",
            ".5",
            "-",
            "+1",
            "1e",
            "1e999",
            "NaN",
            "Infinity",
            "-Infinity",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"\n\"",
            "'a'",
            "[",
            "]",
            "{",
            "[[",
            "1 2",
            "\u{feff}1",
            "\"\\",
        ] {
            assert!(
                matches!(python_text(input), Err(Error::InvalidJson(_))),
                "{input:?}"
            );
        }
        assert!(python_text(&"9".repeat(4300)).is_ok());
        assert!(python_text(&"9".repeat(4301)).is_err());
    }

    #[test]
    fn constants_are_taken_where_they_may_be() {
        for (input, printed) in [
            ("NaN", "NaN"),
            ("[Infinity,-Infinity]", "[Infinity, -Infinity]"),
            (
                "{\"a\":-1e999,\"b\":1e999}",
                "{\"a\": -Infinity, \"b\": Infinity}",
            ),
            ("-1", "-1"),
        ] {
            assert_eq!(python_text_with_constants(input).unwrap(), printed);
        }
        for input in ["nan", "Nan", "-NaN", "+Infinity", "-Inf", "NaNa", "I", "-I"] {
            assert!(python_text_with_constants(input).is_err(), "{input}");
        }
        assert_eq!(python_float_text(f64::NEG_INFINITY), "-Infinity");
        assert_eq!(python_float_text(f64::NAN), "NaN");
        assert_eq!(python_float_text(1.0), "1.0");
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(python_text(&nested(MAX_DEPTH)).is_ok());
        assert!(python_text(&nested(MAX_DEPTH + 2)).is_err());
        assert!(python_text(&"[".repeat(1_000_000)).is_err());
        assert!(python_text(&"{\"a\":".repeat(1_000_000)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_gives_a_result_and_a_fixed_point(input in "\\PC*") {
            if let Ok(once) = python_text(&input) {
                prop_assert_eq!(text(&once), once);
            }
        }

        #[test]
        fn any_string_is_printed_as_ascii_and_reads_back(value in any::<String>()) {
            let raw: String = value
                .chars()
                .map(|c| match c {
                    '"' => "\\\"".into(),
                    '\\' => "\\\\".into(),
                    c if c < ' ' => format!("\\u{:04X}", c as u32),
                    c => c.to_string(),
                })
                .collect();
            let printed = text(&format!("\"{raw}\""));
            prop_assert!(printed.is_ascii());
            let mut quoted = String::new();
            python_string(&value, &mut quoted);
            prop_assert_eq!(&quoted, &printed);
            prop_assert_eq!(text(&printed), printed);
        }
    }
}
