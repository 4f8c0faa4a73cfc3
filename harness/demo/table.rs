//! The table at the end.

use crate::verdict::Verdict;
use hdrhistogram::Histogram;
use std::fmt::Write as _;
use std::time::Duration;

/// One case's result.
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) instances: usize,
    pub(crate) processes: usize,
    pub(crate) operations: u64,
    /// What one operation is, in the plural.
    pub(crate) unit: &'static str,
    pub(crate) elapsed: Duration,
    pub(crate) wait_us: Histogram<u64>,
    pub(crate) verdict: Verdict,
    /// Said below the table.
    pub(crate) notes: Vec<String>,
}

/// A histogram of microseconds.
pub(crate) fn histogram<'a>(
    values: impl IntoIterator<Item = &'a u64>,
) -> anyhow::Result<Histogram<u64>> {
    let mut histogram = Histogram::new(3)?;
    for value in values {
        histogram.record(*value)?;
    }
    Ok(histogram)
}

/// The rows as text, with notes and the reasons for failed verdicts below.
pub(crate) fn render(rows: &[Row]) -> String {
    const HEAD: [&str; 8] = [
        "case",
        "instances",
        "processes",
        "operations",
        "rate",
        "wait p50",
        "wait p99",
        "verdict",
    ];
    let mut cells: Vec<[String; 8]> = vec![HEAD.map(str::to_owned)];
    for row in rows {
        let seconds = row.elapsed.as_secs_f64().max(1e-6);
        #[expect(clippy::cast_precision_loss, reason = "a rate for the eye")]
        let rate = row.operations as f64 / seconds;
        cells.push([
            row.case.clone(),
            row.instances.to_string(),
            row.processes.to_string(),
            format!("{} {}", row.operations, row.unit),
            if rate < 10.0 {
                format!("{rate:.1}/s")
            } else {
                format!("{rate:.0}/s")
            },
            quantile(&row.wait_us, 0.5),
            quantile(&row.wait_us, 0.99),
            if row.verdict.passed() { "pass" } else { "FAIL" }.to_owned(),
        ]);
    }
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| {
            cells
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for (index, row) in cells.iter().enumerate() {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            // Words to the left, numbers to the right.
            let _ = match column {
                0 | 7 => write!(line, "{cell:<width$}  "),
                _ => write!(line, "{cell:>width$}  "),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
        if index == 0 {
            let rules: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
            let _ = writeln!(text, "{}", rules.join("  "));
        }
    }
    let notes = rows
        .iter()
        .flat_map(|row| row.notes.iter().map(move |note| (&row.case, note)));
    for (index, (case, note)) in notes.enumerate() {
        let _ = writeln!(text, "{}{case}: {note}", if index == 0 { "\n" } else { "" });
    }
    for row in rows.iter().filter(|row| !row.verdict.passed()) {
        let _ = writeln!(text, "\nFAILED {}:", row.case);
        for reason in row.verdict.reasons() {
            let _ = writeln!(text, "  - {reason}");
        }
    }
    text
}

fn quantile(histogram: &Histogram<u64>, quantile: f64) -> String {
    if histogram.is_empty() {
        return "-".to_owned();
    }
    time_text(histogram.value_at_quantile(quantile))
}

/// Microseconds with a unit that fits.
pub(crate) fn time_text(us: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits for the eye")]
    let us_float = us as f64;
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..100_000 => format!("{:.1} ms", us_float / 1e3),
        100_000..1_000_000 => format!("{:.0} ms", us_float / 1e3),
        _ => format!("{:.2} s", us_float / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(case: &str, verdict: Verdict) -> Row {
        Row {
            case: case.into(),
            instances: 64,
            processes: 6,
            operations: 1200,
            unit: "increments",
            elapsed: Duration::from_secs(2),
            wait_us: histogram(&[1_500, 2_500, 90]).unwrap(),
            verdict,
            notes: vec!["remark".into()],
        }
    }

    #[test]
    fn a_failure_is_shown_with_its_reason() {
        let mut bad = Verdict::default();
        bad.fail("two increments wrote 7");
        let text = render(&[row("one", Verdict::default()), row("two", bad)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[2].contains("600/s") && lines[2].ends_with("pass"),
            "{text}"
        );
        assert!(lines[3].ends_with("FAIL"), "{text}");
        assert!(
            text.contains("FAILED two:\n  - two increments wrote 7"),
            "{text}"
        );
    }

    #[test]
    fn times_have_fitting_units() {
        assert_eq!(time_text(999), "999 µs");
        assert_eq!(time_text(1_500), "1.5 ms");
        assert_eq!(time_text(250_000), "250 ms");
        assert_eq!(time_text(1_234_567), "1.23 s");
    }
}
