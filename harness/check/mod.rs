//! What is certainly wrong with a history.
//!
//! What must stay true:
//! - *No false alarm.* A check reports only what no correct system could have done, whatever
//!   the operations without a definite answer did. What it can't decide is `Unknown`.
//! - A check looks at the history and its own parameters, at nothing else.
//! - A violation names its operations, and says in words what is wrong with them.

mod audit;
mod balances;
mod bank;
#[cfg(test)]
mod batch_history;
mod channel_delivery;
mod clocks;
mod collection_states;
mod collection_units;
mod commit_order;
mod completion;
mod counter;
mod course;
mod delivery;
#[cfg(test)]
mod document_history;
mod documents;
mod effects;
mod errors;
mod failures;
mod faults;
mod fencing_tokens;
mod fifo_grants;
mod findings;
#[cfg(test)]
mod generate;
mod held_by_others;
mod hold_order;
mod holds;
mod idle;
mod in_line;
mod integrity;
mod linearizable;
mod list_appends;
mod list_edits;
mod list_state;
mod lives;
#[cfg(test)]
mod lock_history;
mod lock_liveness;
mod lock_ttl;
mod lock_words;
mod log_delivery;
mod losses;
mod mandatory_locks;
mod mutual_exclusion;
mod one_order;
#[cfg(test)]
mod porcupine_tests;
mod prefix;
mod queue_batches;
mod queue_delivery;
#[cfg(test)]
mod queue_history;
mod queue_items;
mod queue_order;
mod register;
#[cfg(test)]
pub(crate) mod script;
mod search;
mod spans;
mod spec;
mod stale_holders;
#[cfg(test)]
mod stream_history;
mod streams;
mod timeouts;
mod transactions;
mod units;
mod values;
mod wording;
mod write_skew;

pub use findings::{CheckResult, Findings, Verdict, Violation};
pub use spec::{Bounds, CheckSpec};

use crate::history::History;

/// Runs the checks that the history's header names, and shows whether the program took its course:
/// one that did not is no pass, whatever it names.
pub fn judge(history: &History) -> Vec<CheckResult> {
    let named = history.checks();
    let mut results: Vec<_> = named.iter().map(|spec| spec.run(history)).collect();
    if !named.contains(&CheckSpec::Course) {
        let course = CheckSpec::Course.run(history);
        results.extend((course.verdict != Verdict::Pass).then_some(course));
    }
    results
}
