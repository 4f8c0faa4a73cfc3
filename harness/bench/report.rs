//! The table.

use crate::figures::{COMPONENT, NATIVE, PYTHON, Pick, Row, Spread};
use crate::measurement::Measurement;
use crate::run::Results;
use std::fmt::Write as _;

const LEGEND: &str = "
Ratios are native / component, 1.00 is as good as native: the median of the rounds, and the least
and the most. Of operations \"ratio\" compares the typical (p50) time; \"w/o calls\" the same less
the calls into the component, each at the price of an empty one; \"by rate\" all operations, those
that met a checkpoint or another process among them.
Contended increments are made under the dictionary's lock; waits are for it, \"of 1\" is the rate by
that of 1 worker. Workers are instances of one process, native threads, Python processes. Increments
that Python made and the counter doesn't show are lost; with ours that ends the run.
Hand-offs and kills are measured one by one: how many, from just before the call that gives the lock
back (or the signal) to just after the waiter's call, all rounds together; \"release\" is what the call
that gives back takes by itself (p50). A killed native or Python holder's lock had 1 s to live.
";

/// What is told of a run, below the line with the machine's facts.
pub(crate) fn render(results: &Results) -> String {
    let mut text = String::new();
    let call = results
        .rows
        .iter()
        .find(|row| row.measurement == Measurement::Call);
    let of = |wanted: fn(Measurement) -> bool| -> Vec<&Row> {
        let rows = results.rows.iter();
        rows.filter(|row| wanted(row.measurement)).collect()
    };
    section(&mut text, &operations(&of(is_operation), call));
    section(&mut text, &contention(&of(is_contended)));
    section(&mut text, &waits(&of(is_wait)));
    let mut sizes = vec![strings(["size", "ratio", "min–max", "native", "component"])];
    sizes.extend(of(|m| m == Measurement::Memory).into_iter().map(memory));
    let row = |name: &str, value: String| strings([name, "", "", "", &value]);
    sizes.push(row(
        "component",
        bytes(results.sizes.component_bytes as f64),
    ));
    sizes.push(row(
        "precompiled",
        bytes(results.sizes.precompiled_bytes as f64),
    ));
    let (compile, load) = (results.sizes.compile, results.sizes.load);
    sizes.push(row("host, compiling", time(compile.as_nanos() as f64)));
    sizes.push(row("host, from the cache", time(load.as_nanos() as f64)));
    section(&mut text, &sizes);
    text.push_str(LEGEND);
    for note in &results.notes {
        let _ = writeln!(text, "{note}");
    }
    text
}

fn is_contended(measurement: Measurement) -> bool {
    matches!(measurement, Measurement::Contended { .. })
}

fn is_wait(measurement: Measurement) -> bool {
    matches!(measurement, Measurement::HandOff(_) | Measurement::Killed)
}

fn is_operation(measurement: Measurement) -> bool {
    measurement != Measurement::Memory && !is_contended(measurement) && !is_wait(measurement)
}

fn operations(rows: &[&Row], call: Option<&Row>) -> Vec<Vec<String>> {
    if rows.is_empty() {
        return Vec::new();
    }
    let mut cells = vec![strings([
        "operation",
        "ratio",
        "min–max",
        "w/o calls",
        "by rate",
        "min–max",
        "native/s",
        "p50",
        "p99",
        "component/s",
        "p50",
        "p99",
        "Python/s",
        "p50",
        "p99",
    ])];
    for row in rows {
        let mut line = vec![row.measurement.title().to_owned()];
        line.extend(ratio(row.ratio_typical()));
        let without = call.and_then(|call| row.ratio_without_calls(call));
        line.push(figure(without, two_digits));
        line.extend(ratio(row.ratio()));
        for side in [NATIVE, COMPONENT, PYTHON] {
            line.push(figure(row.of(side, |sample| sample.per_second()), rate));
            line.push(figure(row.of(side, |sample| sample.p50_ns as f64), time));
            line.push(figure(row.of(side, |sample| sample.p99_ns as f64), time));
        }
        cells.push(line);
    }
    cells
}

fn contention(rows: &[&Row]) -> Vec<Vec<String>> {
    if rows.is_empty() {
        return Vec::new();
    }
    let mut cells = vec![strings([
        "under contention",
        "ratio",
        "min–max",
        "native/s",
        "of 1",
        "wait p50",
        "p99",
        "worst",
        "component/s",
        "of 1",
        "wait p50",
        "p99",
        "worst",
        "Python/s",
        "of 1",
        "wait p50",
        "p99",
        "worst",
        "lost",
        "failed",
    ])];
    let alone = rows
        .iter()
        .find(|row| matches!(row.measurement, Measurement::Contended { workers: 1, .. }));
    for row in rows {
        let mut line = vec![row.measurement.title().to_owned()];
        line.extend(ratio(row.ratio()));
        for side in [NATIVE, COMPONENT, PYTHON] {
            line.push(figure(row.of(side, |sample| sample.per_second()), rate));
            let scaling = alone.and_then(|alone| row.scaling(alone, side));
            line.push(figure(scaling, two_digits));
            line.push(figure(row.of(side, |sample| sample.p50_ns as f64), time));
            line.push(figure(row.of(side, |sample| sample.p99_ns as f64), time));
            // The worst of all rounds: a median of worsts says nothing.
            let worst = row.of(side, |sample| sample.max_ns as f64);
            line.push(worst.map_or_else(String::new, |worst| time(worst.max)));
        }
        if let Some((lost, failed)) = row.mishaps(PYTHON) {
            line.extend([lost.to_string(), failed.to_string()]);
        }
        cells.push(line);
    }
    cells
}

fn waits(rows: &[&Row]) -> Vec<Vec<String>> {
    if rows.is_empty() {
        return Vec::new();
    }
    let mut cells = vec![strings([
        "waiting",
        "native",
        "p50",
        "p99",
        "worst",
        "release",
        "component",
        "p50",
        "p99",
        "worst",
        "release",
        "Python",
        "p50",
        "p99",
        "worst",
        "release",
    ])];
    for row in rows {
        let mut line = vec![row.measurement.title().to_owned()];
        for side in [NATIVE, COMPONENT, PYTHON] {
            let Some(pooled) = row.waits(side) else {
                line.extend(strings([""; 5]));
                continue;
            };
            line.push(pooled.count.to_string());
            line.extend([pooled.p50_ns, pooled.p99_ns, pooled.max_ns].map(|ns| time(ns as f64)));
            let release = pooled.release_p50_ns;
            line.push(release.map_or_else(String::new, |ns| time(ns as f64)));
        }
        cells.push(line);
    }
    cells
}

fn memory(row: &Row) -> Vec<String> {
    let mut line = vec![row.measurement.title().to_owned()];
    line.extend(ratio(row.ratio()));
    let of = |side: Pick| figure(row.bytes(side), bytes);
    line.extend([of(NATIVE), of(COMPONENT)]);
    line
}

fn ratio(ratio: Option<Spread>) -> [String; 2] {
    match ratio {
        None => [String::new(), String::new()],
        Some(ratio) => [
            two_digits(ratio.median),
            format!("{:.2}–{:.2}", ratio.min, ratio.max),
        ],
    }
}

fn figure(spread: Option<Spread>, text: fn(f64) -> String) -> String {
    spread.map_or_else(String::new, |spread| text(spread.median))
}

/// Appends a table, words to the left and figures to the right.
fn section(text: &mut String, cells: &[Vec<String>]) {
    let Some(columns) = cells.first().map(Vec::len) else {
        return;
    };
    let width = |column: usize| {
        let widths = cells.iter().filter_map(|row| row.get(column));
        widths.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    text.push('\n');
    for (index, row) in cells.iter().enumerate() {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(line, "{cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
        if index == 0 {
            let rules: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
            let _ = writeln!(text, "{}", rules.join("  "));
        }
    }
}

fn strings<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn two_digits(ratio: f64) -> String {
    format!("{ratio:.2}")
}

fn rate(per_second: f64) -> String {
    match per_second {
        ..100.0 => format!("{per_second:.1}"),
        ..10_000.0 => format!("{per_second:.0}"),
        ..100_000.0 => format!("{:.1}k", per_second / 1e3),
        ..1_000_000.0 => format!("{:.0}k", per_second / 1e3),
        _ => format!("{:.1}M", per_second / 1e6),
    }
}

fn time(ns: f64) -> String {
    match ns {
        ..1e3 => format!("{ns:.0} ns"),
        ..1e5 => format!("{:.1} µs", ns / 1e3),
        ..1e6 => format!("{:.0} µs", ns / 1e3),
        ..1e8 => format!("{:.1} ms", ns / 1e6),
        ..1e9 => format!("{:.0} ms", ns / 1e6),
        _ => format!("{:.2} s", ns / 1e9),
    }
}

fn bytes(bytes: f64) -> String {
    let kibibytes = bytes / 1024.0;
    if kibibytes < 1024.0 {
        format!("{kibibytes:.0} KiB")
    } else {
        format!("{:.1} MiB", kibibytes / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_fitting_units() {
        assert_eq!(time(340.0), "340 ns");
        assert_eq!(time(16_240.0), "16.2 µs");
        assert_eq!(time(274_000.0), "274 µs");
        assert_eq!(time(2_500_000_000.0), "2.50 s");
        assert_eq!(rate(19.96), "20.0");
        assert_eq!(rate(63_000.0), "63.0k");
        assert_eq!(bytes(220_160.0), "215 KiB");
    }

    #[test]
    fn columns_are_aligned() {
        let mut text = String::new();
        section(
            &mut text,
            &[
                strings(["name", "µ"]),
                strings(["a", "12.5"]),
                strings(["bc", ""]),
            ],
        );
        assert_eq!(text, "\nname     µ\n────  ────\na     12.5\nbc\n");
    }
}
