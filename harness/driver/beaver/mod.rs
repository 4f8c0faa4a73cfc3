//! What the drivers of our own builds share: the meaning of every operation of the protocol in
//! terms of the managers' interface, which is the same natively and in the component.
//!
//! What must stay true: the table of operations exists once ([`session`]). It is a macro only
//! because the two builds have types of their own with methods of the same names.

mod outcome;
#[macro_use]
mod session;
mod settings;

pub(super) use outcome::{Waiting, count_text, json, optional, text};
pub(super) use session::session;
pub(crate) use settings::Settings;

use crate::protocol::{Capability, LockKind, LockName, Op};
use std::time::Duration;

/// Where the commit-order number is kept: an internal name, which no workload uses.
pub(super) const COMMITS: (&str, &str) = ("__beaver_harness__", "commits");

/// How many things are asked for at a time where a result comes in pages.
pub(super) const PAGE: u32 = 1000;

/// The most documents that a search may return.
pub(super) const HITS_MAX: u32 = 10_000;

/// A word as a query that stands for nothing but the word.
pub(super) fn phrase(word: &str) -> String {
    format!("\"{}\"", word.replace('"', "\"\""))
}

/// How often a certified operation that has to wait looks again. It can't wait inside the
/// transaction in which it is to be counted.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What both builds offer; `Drop` and `Trap` depend on the build.
pub(crate) fn capabilities(settings: &Settings, can_abandon: bool) -> Vec<Capability> {
    Capability::ALL
        .iter()
        .copied()
        .filter(|capability| match capability {
            Capability::Drop | Capability::Trap => can_abandon,
            Capability::MandatoryLocks => !settings.advisory,
            _ => true,
        })
        .collect()
}

/// The name of a lock in the lock table.
pub(super) fn table_name(lock: &LockName) -> String {
    match lock.kind {
        LockKind::Lock => lock.name.clone(),
        kind => format!("__lock__{}__{}", kind.name(), lock.name),
    }
}

/// The lock of the manager that an operation works on.
pub(super) fn lock_of(op: &Op) -> Option<LockName> {
    let (kind, name) = op.manager()?;
    Some(LockName::new(kind, name))
}

/// Whether an operation can be done in the transaction that counts it. The others are about
/// locks and waiting, which our transactions refuse: they are answered without a number.
pub(super) fn can_certify(op: &Op) -> bool {
    lock_of(op).is_some()
        || matches!(
            op,
            Op::LogAppend { .. } | Op::LogRead { .. } | Op::ChannelPublish { .. }
        )
}

/// The same operation, not waiting.
pub(super) fn at_once(op: &Op) -> Op {
    let mut op = op.clone();
    if let Op::QueueGet { timeout_ms, .. } | Op::QueueGetBatch { timeout_ms, .. } = &mut op {
        *timeout_ms = Some(0);
    }
    op
}
