//! Every operation was answered in time, and no process ended by itself.

use super::Findings;
use crate::history::History;

pub(super) fn check(_history: &History, findings: &mut Findings) {
    findings.unknown("this check is not written yet");
}
