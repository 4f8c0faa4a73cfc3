//! Numbers, times and untrusted texts, as people read them.

use std::fmt::Write as _;

/// A time or length of time in a unit that suits it: `412 ns`, `1.25 ms`, `3.00 s`.
#[expect(clippy::cast_precision_loss, reason = "for the eye")]
pub(super) fn duration(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let digits = match value {
        ..9.995 => 2,
        9.995..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// A count with a comma between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `count` of something: `1 item`, `2 items`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Something per second.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for the eye; a cast saturates"
)]
pub(super) fn rate(per_s: f64) -> String {
    if per_s < 10.0 {
        format!("{per_s:.1}/s")
    } else {
        format!("{}/s", count(per_s.round() as u64))
    }
}

/// The text, cut where it is longer than `max` characters; says how long it was.
pub(super) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some((at, _)) => {
            let kept = text.get(..at).unwrap_or_default();
            let all = u64::try_from(text.len()).unwrap_or(u64::MAX);
            format!("{kept}… ({} bytes in all)", count(all))
        }
    }
}

/// The text with whatever could steer a terminal or mislead a reader shown as an escape: control characters (but
/// for line ends) and those that change the direction of writing.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if matches!(character, '\n' | '\t') {
            plain.push(character);
        } else if character.is_control() || turns {
            // Writing to a String can't fail.
            let _ = write!(plain, "{}", character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// Seconds since 1970 as a date.
#[expect(clippy::cast_possible_truncation, reason = "a cast saturates")]
pub(super) fn date(unix_s: f64) -> String {
    let date = chrono::DateTime::from_timestamp(unix_s as i64, 0);
    date.map_or_else(
        || "unknown".to_owned(),
        |date| date.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// What killed processes left beside the file.
pub(super) fn remains(wal_bytes: u64, hot_journal: bool) -> String {
    let journal = if hot_journal { "a" } else { "no" };
    format!("nobody is left; the log has {wal_bytes} bytes, and there is {journal} hot journal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let said = |ns| duration(ns);
        assert_eq!(said(0), "0 ns");
        assert_eq!(said(999), "999 ns");
        assert_eq!(said(1_500), "1.50 µs");
        assert_eq!(said(99_960), "100 µs");
        assert_eq!(said(12_340_000), "12.3 ms");
        assert_eq!(said(90_000_000_000), "90.0 s");
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(count(7), "7");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(rate(3.21), "3.2/s");
        assert_eq!(rate(12_345.6), "12,346/s");
    }

    #[test]
    fn a_cut_text_says_how_long_it_was() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöü", 2), "äö… (6 bytes in all)");
    }

    #[test]
    fn a_terminal_is_not_steered() {
        assert_eq!(
            plain("a\x1b[31mb\u{202e}c\n\td"),
            "a\\u{1b}[31mb\\u{202e}c\n\td"
        );
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0.0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_400.0), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(1_795_538_744.9), "2026-11-24 16:45:44 UTC");
        // Whatever a file says, there is no panic.
        assert_eq!(date(f64::INFINITY), "unknown");
        assert_eq!(date(-1e300), "unknown");
    }
}
