//! What all runs come to, in numbers.
//!
//! What must stay true: nothing in it depends on the order of runs or on this machine. So parts of an
//! exploration add up to the whole.

use beaver_harness::report::count;
use beaver_harness::sim::Simulated;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Passed,
    /// A power loss ended it; what must survive was audited.
    CutShort,
    Undecided,
    Failed,
    /// The harness itself failed.
    Trouble,
}

impl Fate {
    pub(crate) fn of(ran: &Simulated) -> Self {
        if ran.failed() {
            Self::Failed
        } else if !ran.troubles.is_empty() {
            Self::Trouble
        } else if ran.was_cut_short {
            Self::CutShort
        } else if ran.is_undecided() {
            Self::Undecided
        } else {
            Self::Passed
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    all: Counts,
    programs: BTreeMap<String, Counts>,
    faults: BTreeMap<&'static str, u64>,
    virtual_ns: u128,
    fingerprint: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    runs: u64,
    passed: u64,
    cut_short: u64,
    undecided: u64,
    failed: u64,
    troubled: u64,
    calls: u64,
}

impl Counts {
    fn add(&mut self, fate: Fate, calls: u64) {
        self.runs += 1;
        self.calls += calls;
        *match fate {
            Fate::Passed => &mut self.passed,
            Fate::CutShort => &mut self.cut_short,
            Fate::Undecided => &mut self.undecided,
            Fate::Failed => &mut self.failed,
            Fate::Trouble => &mut self.troubled,
        } += 1;
    }
}

/// What is counted of a run.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    pub(crate) fate: Fate,
    calls: u64,
    faults: Vec<&'static str>,
    virtual_ns: u64,
    trace_hash: u64,
}

impl Counted {
    pub(crate) fn of(ran: &Simulated) -> Self {
        let kind = |fault: &beaver_harness::sim::Fault| fault.blow.kind().name();
        Self {
            fate: Fate::of(ran),
            calls: ran.calls.iter().sum(),
            faults: ran.faults.iter().map(kind).collect(),
            virtual_ns: ran.virtual_ns,
            trace_hash: ran.trace_hash,
        }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, program: &str, seed: u64, ran: &Counted) {
        self.all.add(ran.fate, ran.calls);
        let one = self.programs.entry(program.to_owned()).or_default();
        one.add(ran.fate, ran.calls);
        for fault in &ran.faults {
            *self.faults.entry(fault).or_default() += 1;
        }
        self.virtual_ns += u128::from(ran.virtual_ns);
        // A sum, so that parts add up; with the seed, so that two runs that swap differ.
        let mixed = (ran.trace_hash ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
            .wrapping_mul(0xD6E8_FEB8_6659_FD93);
        self.fingerprint = self.fingerprint.wrapping_add(mixed ^ mixed >> 32);
    }

    pub(crate) fn runs(&self) -> u64 {
        self.all.runs
    }

    pub(crate) fn calls(&self) -> u64 {
        self.all.calls
    }

    pub(crate) fn failed(&self) -> u64 {
        self.all.failed
    }

    /// Whether something isn't known.
    pub(crate) fn is_unknown(&self) -> bool {
        self.all.undecided + self.all.troubled > 0 || self.all.runs == 0
    }

    /// The result in one line.
    pub(crate) fn sentence(&self) -> String {
        let all = &self.all;
        let mut text = match all.runs {
            1 => "1 run".to_owned(),
            runs => format!("{} runs", count(runs)),
        };
        let _ = write!(text, ": {} passed", count(all.passed));
        for (number, said) in [
            (all.failed, "failed"),
            (all.cut_short, "cut short at a power loss (audited only)"),
            (all.undecided, "undecided"),
            (all.troubled, "ended in a harness error"),
        ] {
            if number > 0 {
                let _ = write!(text, ", {} {said}", count(number));
            }
        }
        text
    }

    /// All of it, in several lines.
    #[expect(clippy::cast_precision_loss, reason = "for the eye")]
    pub(crate) fn text(&self) -> String {
        let names = self.programs.keys();
        let width = names
            .map(String::len)
            .max()
            .unwrap_or(0)
            .max("program".len());
        let mut text = format!(
            "{:width$} {:>8} {:>8} {:>8} {:>9} {:>9} {:>12}\n",
            "program", "runs", "passed", "failed", "cut short", "undecided", "host calls"
        );
        for (name, of) in &self.programs {
            let undecided = of.undecided + of.troubled;
            let _ = writeln!(
                text,
                "{name:width$} {:>8} {:>8} {:>8} {:>9} {undecided:>9} {:>12}",
                of.runs, of.passed, of.failed, of.cut_short, of.calls
            );
        }
        let faults = self.faults.iter();
        let faults: Vec<_> = faults
            .map(|(kind, number)| format!("{} {kind}", count(*number)))
            .collect();
        let faults = match faults.is_empty() {
            true => "none".to_owned(),
            false => faults.join(", "),
        };
        let _ = write!(
            text,
            "faults that came to pass: {faults}\n{}\n{} host calls, {:.1} s of virtual time, fingerprint {:016x}",
            self.sentence(),
            count(self.all.calls),
            self.virtual_ns as f64 / 1e9,
            self.fingerprint
        );
        text
    }
}
