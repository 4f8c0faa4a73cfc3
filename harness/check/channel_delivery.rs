//! Each value published reaches each subscriber once, for all in the same order.
//!
//! What that means is in [`delivery`](super::delivery); a subscriber is a follower.

use super::Findings;
use super::delivery::{self, Words};
use super::streams::{Stream, channel_role};
use crate::history::History;

pub(super) fn check(history: &History, name: &str, findings: &mut Findings) {
    let stream = Stream::of(history, |op| channel_role(op, name));
    let words = Words {
        stream: format!("channel {name:?}"),
        appended: "published",
    };
    delivery::check(history, &stream, &words, findings);
}
