//! What faults excuse, that would be wrong without them.
//!
//! What must stay true: nothing is excused that a correct system wouldn't do under these faults.

use super::fault::{Blow, Fault};
use crate::check::CheckSpec;
use crate::history::History;
use crate::protocol::{ErrorCode, Op};
use std::collections::BTreeSet;

/// Whether a device's error is among them.
pub(super) fn meets_device(faults: &[Fault]) -> bool {
    faults.iter().any(|fault| {
        matches!(
            fault.blow,
            Blow::Io | Blow::ShortWrite | Blow::Full(_) | Blow::Busy
        )
    })
}

/// Whether whoever meets these faults may be unable to put its rows away.
pub(super) fn may_leave_rows(faults: &[Fault]) -> bool {
    let is_stranger = |fault: &Fault| matches!(fault.blow, Blow::Stranger(_));
    meets_device(faults) || faults.iter().any(is_stranger)
}

/// Tells the checks of a history which errors its faults account for: an operation that meets
/// a device's error fails, and says so; and by how much slow calls make others late, who wait for
/// one after the other.
pub(super) fn allow(history: &mut History, fallen: &[Fault]) {
    let slow_ms = fallen.iter().map(|fault| match fault.blow {
        Blow::Slow(ms) => u64::from(ms),
        _ => 0,
    });
    let slow_ms: u64 = slow_ms.sum();
    let bounds = &mut history.header.bounds;
    bounds.late_ms = bounds.late_ms.saturating_add(slow_ms);
    bounds.handover_ms = bounds.handover_ms.saturating_add(slow_ms);
    if !meets_device(fallen) {
        return;
    }
    let mut allowed = vec![ErrorCode::Failed, ErrorCode::Busy];
    let keepers = keepers(history);
    if !keepers.is_empty() {
        allowed.push(ErrorCode::AlreadyHeld);
    }
    if keepers.len() > 1 {
        allowed.push(ErrorCode::Deadlock);
    }
    for check in &mut history.header.checks {
        if let CheckSpec::Errors { allow } = check {
            allow.extend(&allowed);
        }
    }
}

/// The sessions with a release that failed: they hold that lock still. One of them that asks for it
/// again is told so, and two of them that each ask for the other's are in a circle. (No workload
/// asks for a lock inside another; there, one would be enough.)
fn keepers(history: &History) -> BTreeSet<u64> {
    let kept = history.operations.iter().filter(|operation| {
        let failure = operation.failure();
        matches!(operation.op, Op::LockRelease { .. })
            && failure.is_some_and(|it| matches!(it.error, ErrorCode::Failed | ErrorCode::Busy))
    });
    kept.map(|operation| operation.session).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::Script;
    use crate::protocol::{LockKind, LockName};

    /// What is allowed when these sessions' releases fail.
    fn allowed(failing: &[usize], error: ErrorCode, blow: Blow) -> Vec<ErrorCode> {
        let mut script = Script::new(CheckSpec::Errors { allow: Vec::new() });
        let sessions = [script.session(0, 0), script.session(1, 0)];
        let lock = LockName::new(LockKind::Lock, "l");
        for failing in failing {
            let release = Op::LockRelease { lock: lock.clone() };
            script.fail(sessions[*failing], 1, 2, release, error);
        }
        let fault = Fault {
            worker: 0,
            call: 1,
            blow,
        };
        allow(&mut script.history, &[fault]);
        match &script.history.header.checks[..] {
            [CheckSpec::Errors { allow }] => allow.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whoever_waits_for_slow_calls_may_be_late_by_all_of_them() {
        let mut script = Script::new(CheckSpec::Timeouts);
        let usual = script.history.bounds().clone();
        let fallen = [Blow::Slow(1500), Blow::Io, Blow::Slow(7)].map(|blow| Fault {
            worker: 0,
            call: 1,
            blow,
        });
        allow(&mut script.history, &fallen[1..2]);
        assert_eq!(*script.history.bounds(), usual);
        allow(&mut script.history, &fallen);
        let bounds = script.history.bounds();
        assert_eq!(bounds.late_ms, usual.late_ms + 1507);
        assert_eq!(bounds.handover_ms, usual.handover_ms + 1507);
    }

    #[test]
    fn a_circle_is_nobody_s_fault_only_between_two_whose_releases_failed() {
        use ErrorCode::{AlreadyHeld, Busy, Deadlock, Failed, LockLost};
        assert_eq!(allowed(&[], Failed, Blow::Io), [Failed, Busy]);
        let one = allowed(&[0, 0], Busy, Blow::Io);
        assert_eq!(one, [Failed, Busy, AlreadyHeld]);
        let both = allowed(&[0, 1], Failed, Blow::ShortWrite);
        assert_eq!(both, [Failed, Busy, AlreadyHeld, Deadlock]);
        // Whoever has lost it holds it no more.
        assert_eq!(allowed(&[0, 1], LockLost, Blow::Io), [Failed, Busy]);
        assert_eq!(allowed(&[0, 1], Failed, Blow::Slow(5)), []);
    }
}
