//! The report as a table for the terminal.
//!
//! ```text
//! program         verdict  operations     op/s  faults          p50      p99      max  examined
//! dict-increment  FAIL         10,240  2,048/s  3 kill      1.20 ms  4.10 ms  9.00 ms    40,960
//!   counter: an increment of d["n"] was lost: …
//!   replay: beaver-harness run … --seed 7
//! ```

use super::words::{count, counted, duration, plain, rate};
use super::{Outcome, Report, RunReport};
use crate::check::Verdict;
use std::io::{self, IsTerminal, Write};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How a table looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableStyle {
    /// Whether verdicts have colours.
    pub colour: bool,
    /// Lines of words are broken at so many columns.
    pub width: usize,
}

impl TableStyle {
    /// As it suits standard output: colours only on a terminal and if `NO_COLOR` isn't set, as
    /// wide as `COLUMNS` says or 100 columns.
    pub fn of_stdout() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let columns = std::env::var("COLUMNS").ok();
        let columns = columns.and_then(|columns| columns.parse().ok());
        Self {
            colour: io::stdout().is_terminal() && !no_color,
            width: columns.unwrap_or(100),
        }
    }
}

/// Writes the table to standard output, as it suits it.
///
/// # Errors
/// Standard output can't be written to.
pub fn print_table(report: &Report) -> io::Result<()> {
    write_table(report, TableStyle::of_stdout(), &mut io::stdout().lock())
}

/// Writes the table, and under each program that did not pass what is wrong and how to
/// replay it.
///
/// # Errors
/// `into` can't be written to.
pub fn write_table(report: &Report, style: TableStyle, into: &mut dyn Write) -> io::Result<()> {
    let rows: Vec<[String; COLUMNS]> = report.programs.iter().map(cells).collect();
    let mut widths = HEAD.map(|head| head.width());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    if !rows.is_empty() {
        let head = line(&HEAD.map(str::to_owned), widths);
        writeln!(into, "{}", paint(style, "1", &head))?;
    }
    for (program, row) in report.programs.iter().zip(&rows) {
        let text = line(row, widths);
        let word = row.get(1).map_or("", String::as_str);
        let coloured = paint(style, colour(program), word);
        // The first column can have the word too.
        let at = widths.first().map_or(0, |width| *width);
        let at = text.char_indices().map(|(at, _)| at).find(|byte| {
            let before = text.get(..*byte).unwrap_or_default();
            before.width() >= at
        });
        let (before, after) = text.split_at(at.unwrap_or(0));
        writeln!(into, "{before}{}", after.replacen(word, &coloured, 1))?;
        for words in explanations(program) {
            wrapped(into, style.width, &words)?;
        }
        if let Some(replay) = replay(program) {
            writeln!(into, "  replay: {replay}")?;
        }
    }
    if !rows.is_empty() {
        writeln!(into)?;
    }
    let code = match report.verdict() {
        Verdict::Pass => "1;32",
        Verdict::Fail => "1;31",
        Verdict::Unknown => "1;33",
    };
    let seed = report.seed.map(|seed| format!("; seed {seed}"));
    let sentence = format!(
        "{} in {}{}",
        report.sentence(),
        duration(u64::try_from(report.elapsed.as_nanos()).unwrap_or(u64::MAX)),
        seed.unwrap_or_default()
    );
    writeln!(into, "{}", paint(style, code, &sentence))
}

const COLUMNS: usize = 9;
const HEAD: [&str; COLUMNS] = [
    "program",
    "verdict",
    "operations",
    "op/s",
    "faults",
    "p50",
    "p99",
    "max",
    "examined",
];
/// Words stand left, numbers right.
const LEFT: [bool; COLUMNS] = [true, true, false, false, true, false, false, false, false];

fn cells(program: &RunReport) -> [String; COLUMNS] {
    let name = plain(&program.program).replace(['\n', '\t'], " ");
    let verdict = match program.word() {
        "pass" => "pass".to_owned(),
        word => word.replace('-', " ").to_uppercase(),
    };
    let Some(judged) = program.judged() else {
        let verdict = verdict.to_lowercase();
        let dash = || "-".to_owned();
        return [
            name,
            verdict,
            dash(),
            dash(),
            dash(),
            dash(),
            dash(),
            dash(),
            dash(),
        ];
    };
    let latency = &judged.summary.latency;
    let time = |ns| match latency.count {
        0 => "-".to_owned(),
        _ => duration(ns),
    };
    let faults = judged.summary.faults_in_words();
    let examined = judged.results.iter().map(|result| result.examined).sum();
    [
        name,
        verdict,
        count(judged.summary.operations),
        rate(judged.operations_per_s()),
        if faults.is_empty() {
            "none".to_owned()
        } else {
            faults
        },
        time(latency.p50_ns),
        time(latency.p99_ns),
        time(latency.max_ns),
        count(examined),
    ]
}

fn line(cells: &[String; COLUMNS], widths: [usize; COLUMNS]) -> String {
    let mut text = String::new();
    for ((cell, width), left) in cells.iter().zip(widths).zip(LEFT) {
        let space = " ".repeat(width.saturating_sub(cell.width()));
        if !text.is_empty() {
            text.push_str("  ");
        }
        if left {
            text.push_str(cell);
            text.push_str(&space);
        } else {
            text.push_str(&space);
            text.push_str(cell);
        }
    }
    text.trim_end().to_owned()
}

fn colour(program: &RunReport) -> &'static str {
    match program.verdict() {
        None => "2",
        Some(Verdict::Pass) => "32",
        Some(Verdict::Fail) => "1;31",
        Some(Verdict::Unknown) => "1;33",
    }
}

fn paint(style: TableStyle, code: &str, text: &str) -> String {
    if style.colour {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// What is said under a program's row.
fn explanations(program: &RunReport) -> Vec<String> {
    match &program.outcome {
        Outcome::NotOffered { missing } => {
            vec![format!("the driver doesn't offer: {}", missing.join(", "))]
        }
        Outcome::HarnessError { message } => vec![message.clone()],
        Outcome::Judged(judged) => match judged.verdict() {
            Verdict::Pass => Vec::new(),
            Verdict::Unknown => vec![judged.why_unknown().unwrap_or_default()],
            Verdict::Fail => {
                let failed = judged
                    .results
                    .iter()
                    .filter(|result| result.verdict == Verdict::Fail);
                let mut said = Vec::new();
                for result in failed {
                    let first = result.violations.first();
                    let message = first.map_or("", |violation| violation.message.as_str());
                    let more = result.violation_count.saturating_sub(1);
                    let more = match more {
                        0 => String::new(),
                        more => format!(
                            " (and {})",
                            counted(more, "more violation", "more violations")
                        ),
                    };
                    said.push(format!("{}: {message}{more}", result.spec.name()));
                }
                said
            }
        },
    }
}

/// The command that repeats what did not pass, if there is one. On one line, however long: broken,
/// a shell would take it for several.
fn replay(program: &RunReport) -> Option<String> {
    let told = matches!(program.verdict(), Some(Verdict::Fail | Verdict::Unknown));
    let replay = plain(&program.replay).replace(['\n', '\t'], " ");
    (told && !replay.is_empty()).then_some(replay)
}

/// Writes indented lines that are broken between words, or in them if need be.
fn wrapped(into: &mut dyn Write, width: usize, text: &str) -> io::Result<()> {
    let room = width.saturating_sub(4).max(20);
    let mut indent = "  ";
    for paragraph in plain(text).lines() {
        let mut current = String::new();
        for word in paragraph.split_whitespace() {
            if !current.is_empty() && current.width() + 1 + word.width() > room {
                writeln!(into, "{indent}{current}")?;
                indent = "    ";
                current.clear();
            }
            if !current.is_empty() {
                current.push(' ');
            }
            for character in word.chars() {
                if current.width() + character.width().unwrap_or(0) > room {
                    writeln!(into, "{indent}{current}")?;
                    indent = "    ";
                    current.clear();
                }
                current.push(character);
            }
        }
        if !current.is_empty() {
            writeln!(into, "{indent}{current}")?;
            indent = "    ";
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn written(report: &Report, colour: bool, width: usize) -> String {
        let mut bytes = Vec::new();
        write_table(report, TableStyle { colour, width }, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn rows_say_what_happened_and_what_is_wrong() {
        let report = fixture::suite(vec![("lost-update", fixture::lost_update())]);
        let text = written(&report, false, 100);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("program       verdict"), "{text}");
        assert!(lines[1].starts_with("lost-update   FAIL"), "{text}");
        assert!(lines[1].contains("1 kill, 1 stop"), "{text}");
        assert!(
            lines[2].starts_with("  counter: an increment of d[\"n\"] was lost"),
            "{text}"
        );
        assert!(text.contains("\n  replay: beaver-harness run"), "{text}");
        assert!(text.contains("\nlog-delivery  not offered"), "{text}");
        assert!(
            text.contains("the driver doesn't offer: log-follow, clock"),
            "{text}"
        );
        assert!(text.contains("\nblob-replace  harness error"), "{text}");
        assert!(text.contains("did not answer `open`"), "{text}");
        assert!(text.ends_with("not offered in 12.3 s; seed 7\n"), "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn colours_change_nothing_but_the_colour() {
        let mut report = fixture::suite(vec![("lost-update", fixture::lost_update())]);
        report.programs[0].program = "FAIL".into();
        let colourful = written(&report, true, 100);
        assert!(colourful.contains("\x1b[1;31mFAIL\x1b[0m"), "{colourful}");
        assert!(colourful.contains("\nFAIL "), "{colourful}");
        let mut stripped = String::new();
        let mut rest = colourful.as_str();
        while let Some((before, after)) = rest.split_once('\x1b') {
            stripped.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        assert_eq!(stripped + rest, written(&report, false, 100));
    }

    #[test]
    fn words_keep_to_the_width() {
        let report = fixture::suite(vec![("lost-update", fixture::lost_update())]);
        for width in [0, 40, 100] {
            let text = written(&report, false, width);
            let words = text.lines().filter(|line| line.starts_with("  "));
            let words = words.filter(|line| !line.starts_with("  replay: "));
            for line in words {
                assert!(line.width() <= width.max(24), "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_replay_is_one_line_and_its_spaces_stay() {
        let mut report = fixture::suite(vec![("lost-update", fixture::lost_update())]);
        let replay = format!("beaver-harness run 'a   b' {}", "x ".repeat(300));
        report.programs[0].replay = replay.clone();
        assert!(written(&report, false, 40).contains(&format!("\n  replay: {replay}\n")));
        // One that came with a history of somebody else's.
        report.programs[0].replay = "a\nb".to_owned();
        assert!(written(&report, false, 40).contains("\n  replay: a b\n"));
        report.programs[0].replay.clear();
        let text = written(&report, false, 40);
        assert!(!text.contains("replay: \n"), "{text}");
    }

    #[test]
    fn a_driver_does_not_steer_the_terminal() {
        let text = written(&fixture::hostile(), false, 100);
        assert!(text.contains("alert(1)"));
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(steers), "{text:?}");
    }
}
