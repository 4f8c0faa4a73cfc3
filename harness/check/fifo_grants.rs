//! Who was certainly in line first was granted first.

use super::Findings;
use crate::history::History;

pub(super) fn check(_history: &History, findings: &mut Findings) {
    findings.unknown("this check is not written yet");
}
