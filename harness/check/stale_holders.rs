//! Who lost a lock can't write under it, and is told so.

use super::Findings;
use crate::history::History;

pub(super) fn check(_history: &History, findings: &mut Findings) {
    findings.unknown("this check is not written yet");
}
