//! SQLite finds nothing wrong with the file.
//!
//! The harness runs `PRAGMA integrity_check` when all is over, on databases that are SQLite files; whatever
//! it says but `ok` is a violation. If it wasn't run, nothing is known.

use super::Findings;
use crate::history::{History, Seen};

pub(super) fn check(history: &History, findings: &mut Findings) {
    let mut run = false;
    for observation in &history.observations {
        let Seen::IntegrityCheck(said) = &observation.seen else {
            continue;
        };
        run = true;
        findings.examined(1);
        if said != "ok" {
            findings.violation(format!("SQLite's integrity_check says: {said}"), []);
        }
    }
    if !run {
        findings.unknown("SQLite's integrity_check was not run");
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use crate::history::Seen;

    #[test]
    fn what_sqlite_says_decides() {
        let mut script = Script::new(CheckSpec::Integrity);
        assert_eq!(script.judge().verdict, Verdict::Unknown);
        script.seen(1, Seen::IntegrityCheck("ok".into()));
        assert_eq!(script.judge().verdict, Verdict::Pass);
        script.seen(2, Seen::IntegrityCheck("row 1 missing from index i".into()));
        let result = script.judge();
        assert_eq!(result.verdict, Verdict::Fail);
        assert!(result.violations[0].message.contains("row 1 missing"));
    }
}
