//! Strings and floats as Python's `json.dumps` prints them.
//!
//! What must stay true: only printable ASCII; what is printed reads back as the
//! same string or the same float.

use std::fmt::Write as _;

/// `text` as a JSON string, the way Python prints one.
pub(crate) fn python_string(text: &str, out: &mut String) {
    out.push('"');
    for unit in text.encode_utf16() {
        python_unit(unit, out);
    }
    out.push('"');
}

/// A float the way Python prints it, also one that isn't finite.
pub(crate) fn python_float_text(value: f64) -> String {
    let mut out = String::new();
    if value.is_finite() {
        python_float(value, &mut out);
    } else {
        out.push_str(constant(value));
    }
    out
}

pub(super) fn constant(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// Writes one UTF-16 unit as Python's `ensure_ascii` does. Lone surrogates are
/// kept: Python's strings may hold them.
pub(super) fn python_unit(unit: u16, out: &mut String) {
    match unit {
        0x22 => out.push_str("\\\""),
        0x5c => out.push_str("\\\\"),
        0x08 => out.push_str("\\b"),
        0x0c => out.push_str("\\f"),
        0x0a => out.push_str("\\n"),
        0x0d => out.push_str("\\r"),
        0x09 => out.push_str("\\t"),
        0x20..=0x7e => out.push(unit as u8 as char),
        _ => {
            // Writing to a String can't fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
}

/// `repr` of a finite float: the shortest digits that read back the same,
/// positional for exponents -4 to 15, else scientific with a two-digit exponent.
pub(super) fn python_float(value: f64, out: &mut String) {
    // Rust prints the same shortest digits, as d.ddde±x, but where two are
    // equally near Python prints the even one. There are two only with more
    // digits than every float tells apart.
    let mut scientific = format!("{value:e}");
    let digits = scientific.split('e').next().map_or(0, |mantissa| {
        mantissa.bytes().filter(u8::is_ascii_digit).count()
    });
    let mut decimals = None;
    if digits > f64::DIGITS as usize {
        let even = format!("{value:.*e}", digits - 1);
        if even != scientific && even.parse() == Ok(value) {
            scientific = even;
            decimals = Some(digits - 1);
        }
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = match decimals {
            Some(decimals) => {
                let decimals = decimals.saturating_add_signed(-exponent as isize);
                format!("{value:.decimals$}")
            }
            None => format!("{value}"),
        };
        out.push_str(&plain);
        if !plain.contains('.') {
            out.push_str(".0");
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        // Writing to a String can't fail.
        let _ = write!(out, "{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::python_text;
    use proptest::prelude::*;

    fn text(input: &str) -> String {
        python_text(input).unwrap()
    }

    #[test]
    fn of_two_shortest_floats_python_prints_the_even_one() {
        for (number, printed) in [
            ("192316557758011.625", "192316557758011.62"),
            ("-192316557758011.625", "-192316557758011.62"),
            ("192316557758011.875", "192316557758011.88"),
            ("3722587234847.90625", "3722587234847.9062"),
            ("5e-324", "5e-324"),
            ("9007199254740993.0", "9007199254740992.0"),
        ] {
            assert_eq!(text(number), printed);
        }
    }

    proptest! {
        #[test]
        fn any_float_reads_back_as_itself(value in any::<f64>().prop_filter("finite", |f| f.is_finite())) {
            let mut printed = String::new();
            python_float(value, &mut printed);
            prop_assert_eq!(printed.parse::<f64>().unwrap().to_bits(), value.to_bits());
            prop_assert_eq!(text(&printed), printed);
        }
    }
}
