//! What is certainly wrong with a history.
//!
//! What must stay true:
//! - *No false alarm.* A check reports only what no correct system could have done, whatever
//!   the operations without a definite answer did. What it can't decide is `Unknown`.
//! - A check looks at the history and its own parameters, at nothing else.
//! - A violation names its operations, and says in words what is wrong with them.

mod balances;
mod bank;
mod channel_delivery;
mod collection_states;
mod commit_order;
mod completion;
mod counter;
mod errors;
mod fencing_tokens;
mod fifo_grants;
mod findings;
#[cfg(test)]
mod generate;
mod integrity;
mod linearizable;
mod list_edits;
mod list_state;
mod lock_liveness;
mod lock_ttl;
mod log_delivery;
mod mandatory_locks;
mod mutual_exclusion;
#[cfg(test)]
mod porcupine_tests;
mod queue_batches;
mod queue_delivery;
mod queue_order;
mod register;
#[cfg(test)]
mod script;
mod search;
mod spec;
mod stale_holders;
mod timeouts;
mod transactions;
mod units;
mod values;
mod wording;
mod write_skew;

pub use findings::{CheckResult, Findings, Verdict, Violation};
pub use spec::{Bounds, CheckSpec};

use crate::history::History;

/// Runs the checks that the history's header names.
pub fn judge(history: &History) -> Vec<CheckResult> {
    history
        .checks()
        .iter()
        .map(|spec| spec.run(history))
        .collect()
}
