//! What is said of one run.

use super::tally::Fate;
use beaver_harness::report::plain;
use beaver_harness::sim::shrink::{Case, Reduced, Size};
use beaver_harness::sim::{Policy, Simulated};
use std::fmt::Write as _;

/// So many complaints are said.
const COMPLAINTS_MAX: usize = 5;

fn word(fate: Fate) -> &'static str {
    match fate {
        Fate::Passed => "pass",
        Fate::CutShort => "cut short at a power loss; what must survive was audited",
        Fate::Undecided => "UNDECIDED",
        Fate::Failed => "FAIL",
        Fate::Trouble => "HARNESS ERROR",
    }
}

/// A run, in several lines.
pub(super) fn run(case: &Case, fate: Fate, ran: &Simulated) -> String {
    let (name, seed) = (case.name(), case.settings.seed);
    let mut text = format!("{name}, seed {seed}: {}\n", word(fate));
    let _ = writeln!(text, "  {}", chosen(case, ran));
    facts(&mut text, ran);
    replay(&mut text, case);
    text
}

/// What a run was shrunk to, in several lines.
pub(super) fn reduced(reduced: &Reduced) -> String {
    let mut text = format!("  shrunk, {}\n", size(&reduced.size));
    for line in &reduced.story {
        let _ = writeln!(text, "    {line}");
    }
    facts(&mut text, &reduced.ran);
    replay(&mut text, &reduced.case);
    text
}

pub(super) fn size(size: &Size) -> String {
    let counted = |number: usize, one: &str, many: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    };
    format!(
        "in {}: {}, {}, {}, {}, {}",
        counted(size.runs as usize, "run", "runs"),
        counted(size.workers, "worker", "workers"),
        counted(size.steps, "step", "steps"),
        counted(size.faults, "fault", "faults"),
        counted(size.switches, "switch", "switches"),
        counted(size.cuts, "cut", "cuts"),
    )
}

/// What the seed chose.
fn chosen(case: &Case, ran: &Simulated) -> String {
    let policy = match case.settings.policy {
        Policy::Random => "random".to_owned(),
        Policy::Pct { depth } => format!("pct:{depth}"),
        Policy::Script => "script".to_owned(),
    };
    let is = |which: bool, yes, no| if which { yes } else { no };
    let faults: Vec<_> = ran.faults.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "durability {}, journal {}, processes {}, scheduler {policy}, faults {}",
        is(ran.full_durability, "full", "normal"),
        is(ran.rollback_journal, "rollback", "wal"),
        ran.processes,
        is(faults.is_empty(), "none", &faults.join(",")),
    );
    let mut clocks: Vec<_> = ran.history.sessions.iter().collect();
    clocks.sort_by_key(|session| session.process);
    clocks.dedup_by_key(|session| session.process);
    if clocks.iter().any(|session| session.clock_offset_ms != 0) {
        let offsets = clocks.iter().map(|it| it.clock_offset_ms.to_string());
        let offsets: Vec<_> = offsets.collect();
        let _ = write!(text, ", clocks off by {} ms", offsets.join(", "));
    }
    text
}

fn facts(text: &mut String, ran: &Simulated) {
    let complaints = ran.complaints();
    for complaint in complaints.iter().take(COMPLAINTS_MAX) {
        // SQLite says more in more lines.
        let mut lines = complaint.lines();
        let first = plain(lines.next().unwrap_or_default());
        let rest = if lines.next().is_some() { " …" } else { "" };
        let _ = writeln!(text, "  {first}{rest}");
    }
    if complaints.len() > COMPLAINTS_MAX {
        let more = complaints.len() - COMPLAINTS_MAX;
        let _ = writeln!(text, "  and {more} more");
    }
    for trouble in &ran.troubles {
        let _ = writeln!(text, "  harness: {}", plain(trouble));
    }
    if complaints.is_empty() && !ran.was_cut_short {
        for result in &ran.results {
            if let Some(why) = &result.unknown {
                let _ = writeln!(text, "  {} can't say: {}", result.spec.name(), plain(why));
            }
        }
    }
    let _ = writeln!(
        text,
        "  {} operations, {} host calls, {:.3} s of virtual time, trace {:016x}",
        ran.history.operations.len(),
        ran.calls.iter().sum::<u64>(),
        ran.virtual_ns as f64 / 1e9,
        ran.trace_hash
    );
}

fn replay(text: &mut String, case: &Case) {
    let _ = writeln!(text, "  replay: {}", case.settings.replay);
}
