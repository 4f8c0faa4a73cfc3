//! History files: any text, and such as a recorder of a strange system could have written.
//!
//! What must stay true: any bytes are read, or refused with the number of a line that is there; what is
//! read is printed and read again as the same; all checks judge it and all reports are written, without
//! a panic. That they take no long time for it libFuzzer watches.

mod made;

use crate::Target;
use crate::ops::{KEYS, NAMES};
use beaver_harness::check::{CheckResult, CheckSpec, judge};
use beaver_harness::history::{Event, Header, History, ReadError, read};
use beaver_harness::report::{
    Outcome, Report, Run, RunReport, TableStyle, write_html, write_json, write_junit, write_table,
};
use std::io::Write;
use std::time::Duration;

/// See the module.
pub const TARGET: Target = Target {
    name: "history",
    run,
    tries: 300,
    bytes_max: 4096,
};

fn run(bytes: &[u8]) {
    // What begins as a file does is one; else it is made.
    if bytes.first() == Some(&b'{') {
        try_file(bytes);
    } else {
        try_file(made::history(bytes).as_bytes());
    }
}

fn try_file(bytes: &[u8]) {
    let history = match read(bytes) {
        Ok(history) => history,
        Err(error) => return says_where(bytes, &error),
    };
    let printed = print(bytes);
    let again = read(printed.as_bytes()).unwrap_or_else(|error| panic!("{error}: {printed}"));
    assert_eq!(format!("{again:?}"), format!("{history:?}"), "{printed}");
    let mut results = judge(&history);
    results.extend(specs().iter().map(|spec| spec.run(&history)));
    report(history, results);
}

fn says_where(bytes: &[u8], error: &ReadError) {
    let said = error.to_string();
    let line = match error {
        ReadError::Io { line, .. }
        | ReadError::Json { line, .. }
        | ReadError::Contradiction { line, .. } => *line,
        ReadError::Version(_) | ReadError::Empty => return assert!(!said.is_empty()),
    };
    let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
    assert!((1..=lines).contains(&line), "{said}");
    assert!(said.starts_with(&format!("line {line}: ")), "{said}");
}

/// All that was read of it, as this program writes it.
fn print(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let header: Header = serde_json::from_str(lines.next().unwrap()).unwrap();
    let mut printed = serde_json::to_string(&header).unwrap() + "\n";
    // The last line may have been cut off.
    for event in lines.map_while(|line| serde_json::from_str::<Event>(line).ok()) {
        printed += &serde_json::to_string(&event).unwrap();
        printed.push('\n');
    }
    printed
}

/// All checks, on what is there.
fn specs() -> Vec<CheckSpec> {
    let mut specs = vec![
        CheckSpec::Errors { allow: Vec::new() },
        CheckSpec::Completion,
        CheckSpec::Course,
        CheckSpec::Linearizable,
        CheckSpec::CommitOrder,
        CheckSpec::MutualExclusion,
        CheckSpec::FencingTokens,
        CheckSpec::FifoGrants,
        CheckSpec::Timeouts,
        CheckSpec::LockTtl,
        CheckSpec::LockLiveness {
            dead_holder_ms: Some(10),
        },
        CheckSpec::StaleHolders,
        CheckSpec::MandatoryLocks,
        CheckSpec::Integrity,
        CheckSpec::Audit,
    ];
    let accounts: Vec<String> = KEYS.map(str::to_owned).to_vec();
    for name in NAMES.map(str::to_owned) {
        specs.extend([
            CheckSpec::Counter {
                name: name.clone(),
                key: KEYS[0].into(),
            },
            CheckSpec::QueueDelivery {
                name: name.clone(),
                drained: true,
            },
            CheckSpec::QueueOrder { name: name.clone() },
            CheckSpec::QueueBatches { name: name.clone() },
            CheckSpec::ListEdits { name: name.clone() },
            CheckSpec::ListAppends { name: name.clone() },
            CheckSpec::CollectionStates { name: name.clone() },
            CheckSpec::Bank {
                name: name.clone(),
                accounts: accounts.clone(),
                total: 6,
            },
            CheckSpec::WriteSkew {
                name: name.clone(),
                accounts: accounts.clone(),
                least: 0,
            },
            CheckSpec::LogDelivery { name: name.clone() },
            CheckSpec::ChannelDelivery { name },
        ]);
    }
    specs
}

/// In all formats; what stands in a history is nothing but text there.
fn report(history: History, results: Vec<CheckResult>) {
    let header = history.header.clone();
    let run = Run {
        elapsed: Duration::from_nanos(history.end_ns()),
        history,
        results,
    };
    let program = RunReport {
        program: header.program,
        promise: header.promise,
        seed: header.seed,
        replay: header.replay,
        history: None,
        notes: String::new(),
        outcome: Outcome::Judged(Box::new(run.condense(100))),
    };
    let report = Report {
        programs: vec![program],
        ..Report::default()
    };
    let style = TableStyle {
        colour: false,
        width: 80,
    };
    let table = written(|into| write_table(&report, style, into));
    let control = table
        .chars()
        .find(|char| char.is_control() && *char != '\n');
    assert_eq!(control, None, "{table:?}");
    let json = written(|into| write_json(&report, into));
    serde_json::from_str::<serde_json::Value>(&json).unwrap();
    written(|into| write_junit(&report, into));
    let page = written(|into| write_html(&report, into));
    // The data and the program; what stands in the history begins none.
    for tag in ["<script", "</script"] {
        assert_eq!(page.matches(tag).count(), 2, "{tag}");
    }
}

fn written(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}
