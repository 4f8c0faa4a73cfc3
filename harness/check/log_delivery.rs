//! Each value appended to a log is read once, by all in the same order.
//!
//! What that means is in [`delivery`](super::delivery). A log that nobody read after the last
//! append shows nothing about what it kept.

use super::Findings;
use super::delivery::{self, Words};
use super::streams::{Stream, log_role};
use crate::history::History;

pub(super) fn check(history: &History, name: &str, findings: &mut Findings) {
    let stream = Stream::of(history, |op| log_role(op, name));
    let words = Words {
        stream: format!("log {name:?}"),
        appended: "appended",
    };
    delivery::check(history, &stream, &words, findings);
}
