//! The simulator's audit finds nothing wrong.
//!
//! What only the simulator sees of a run: whether each commit that had to survive is there, whether
//! the files hold what the log and its index say, whether everybody could go on to the end. The history says what it
//! found; whatever that is but `ok` is a violation. If there was no audit, nothing is known.

use super::Findings;
use crate::history::{History, Seen};

pub(super) fn check(history: &History, findings: &mut Findings) {
    for observation in &history.observations {
        let Seen::Audit(said) = &observation.seen else {
            continue;
        };
        findings.examined(1);
        if said != "ok" {
            findings.violation(said.clone(), []);
        }
    }
    if !has_audit(history) {
        findings.unknown("there was no audit");
    }
}

fn has_audit(history: &History) -> bool {
    let mut observations = history.observations.iter();
    observations.any(|observation| matches!(observation.seen, Seen::Audit(_)))
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use crate::history::Seen;

    #[test]
    fn what_the_audit_found_decides() {
        let mut script = Script::new(CheckSpec::Audit);
        assert_eq!(script.judge().verdict, Verdict::Unknown);
        script.seen(1, Seen::Audit("ok".into()));
        assert_eq!(script.judge().verdict, Verdict::Pass);
        script.seen(2, Seen::Audit("commit 7 had to survive".into()));
        let result = script.judge();
        assert_eq!(result.verdict, Verdict::Fail);
        assert_eq!(result.violations[0].message, "commit 7 had to survive");
    }
}
