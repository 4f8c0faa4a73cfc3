//! Python's `datetime.isoformat()` in UTC.

use std::fmt::Write as _;

/// Unix seconds as `2026-01-31T12:00:00.000123+00:00`; whole seconds without
/// the fraction, as Python prints them.
pub(super) fn isoformat(unix_seconds: f64) -> String {
    // Saturates, and is 0 for NaN.
    let micros = (unix_seconds * 1e6).round() as i64;
    let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years from March on, so that a leap day is a year's last; 400 of them repeat.
    let from_march = days + 719_468;
    let (era, day) = (
        from_march.div_euclid(146_097),
        from_march.rem_euclid(146_097),
    );
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if micros != 0 {
        // Writing to a String can't fail.
        let _ = write!(text, ".{micros:06}");
    }
    text + "+00:00"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_python_prints_it() {
        // Printed by datetime.fromtimestamp(…, timezone.utc).isoformat().
        for (seconds, text) in [
            (0.0, "1970-01-01T00:00:00+00:00"),
            (951_782_400.0, "2000-02-29T00:00:00+00:00"),
            (951_868_799.999_999, "2000-02-29T23:59:59.999999+00:00"),
            (4_107_542_400.0, "2100-03-01T00:00:00+00:00"),
            (1_767_225_599.5, "2025-12-31T23:59:59.500000+00:00"),
            (1_785_000_000.000_123, "2026-07-25T17:20:00.000123+00:00"),
            (-1.0, "1969-12-31T23:59:59+00:00"),
            (-62_135_596_800.0, "0001-01-01T00:00:00+00:00"),
        ] {
            assert_eq!(isoformat(seconds), text);
        }
        for seconds in [f64::NAN, f64::INFINITY, -1e300] {
            assert!(isoformat(seconds).ends_with("+00:00"));
        }
    }
}
