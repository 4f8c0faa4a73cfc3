//! A history in numbers.

use super::latency::{Collector, Latency};
use crate::history::{History, Outcome};
use crate::protocol::{ErrorCode, Op};
use std::collections::{BTreeMap, HashSet};

/// Counts and latencies of a whole history.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many operations were invoked.
    pub operations: u64,
    /// How many took effect.
    pub ok: u64,
    /// How many definitely did not happen.
    pub fail: u64,
    /// How many may have happened or not.
    pub info: u64,
    /// How many sessions there were.
    pub sessions: u64,
    /// How many processes there were, those started again included.
    pub processes: u64,
    /// How many faults of each kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// How many operations ended with each error, definite or not.
    pub errors: BTreeMap<ErrorCode, u64>,
    /// How long those that took effect took, waiting for locks and items included.
    pub latency: Latency,
    /// The same by kind of operation, in the order of [`OpGroup`] and then of the name.
    pub kinds: Vec<KindSummary>,
}

/// The operations of one kind.
#[derive(Clone, Debug)]
pub struct KindSummary {
    /// Its name in the protocol.
    pub op: &'static str,
    /// What sort of operation it is.
    pub group: OpGroup,
    /// Its place among the kinds of its group, from 0.
    pub shade: u32,
    /// How many took effect.
    pub ok: u64,
    /// How many definitely did not happen.
    pub fail: u64,
    /// How many may have happened or not.
    pub info: u64,
    /// How long those that took effect took.
    pub latency: Latency,
}

/// What sort of operation one is: what it has its colour from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpGroup {
    /// Looks.
    Read,
    /// Adds or replaces.
    Write,
    /// Removes.
    Remove,
    /// Takes what others put, once.
    Take,
    /// About a lock.
    Lock,
    /// Begins or ends a transaction.
    Transaction,
}

impl OpGroup {
    /// The group of an operation.
    pub fn of(op: &Op) -> Self {
        match op {
            Op::DictGet { .. }
            | Op::ListItems { .. }
            | Op::CollectionGet { .. }
            | Op::CollectionNeighbors { .. }
            | Op::CollectionMatch { .. }
            | Op::BlobGet { .. }
            | Op::LogRead { .. }
            | Op::LogFollow { .. }
            | Op::ChannelSubscribe { .. } => Self::Read,
            Op::DictSet { .. }
            | Op::ListPush { .. }
            | Op::ListInsert { .. }
            | Op::ListSet { .. }
            | Op::QueuePut { .. }
            | Op::CollectionIndex { .. }
            | Op::CollectionConnect { .. }
            | Op::BlobPut { .. }
            | Op::LogAppend { .. }
            | Op::ChannelPublish { .. } => Self::Write,
            Op::DictDelete { .. }
            | Op::ListDelete { .. }
            | Op::CollectionDrop { .. }
            | Op::BlobDelete { .. } => Self::Remove,
            Op::QueueGet { .. }
            | Op::QueueGetBatch { .. }
            | Op::LogNext { .. }
            | Op::ChannelNext { .. } => Self::Take,
            Op::LockAcquire { .. }
            | Op::LockRenew { .. }
            | Op::LockRelease { .. }
            | Op::LockWaiting { .. } => Self::Lock,
            Op::Begin | Op::Commit | Op::Rollback => Self::Transaction,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Remove => "remove",
            Self::Take => "take",
            Self::Lock => "lock",
            Self::Transaction => "transaction",
        }
    }
}

struct Kind {
    ok: u64,
    fail: u64,
    info: u64,
    latency: Collector,
}

impl Summary {
    /// Counts and measures.
    pub fn of(history: &History) -> Self {
        let mut summary = Self::default();
        let mut all = Collector::new();
        let mut kinds: BTreeMap<(OpGroup, &'static str), Kind> = BTreeMap::new();
        for operation in &history.operations {
            let key = (OpGroup::of(&operation.op), operation.op.name());
            let kind = kinds.entry(key).or_insert_with(|| Kind {
                ok: 0,
                fail: 0,
                info: 0,
                latency: Collector::new(),
            });
            match &operation.outcome {
                Outcome::Ok { .. } => {
                    kind.ok += 1;
                    if let Some(completed) = operation.completed_ns {
                        let took = completed.saturating_sub(operation.invoked_ns);
                        kind.latency.record(took);
                        all.record(took);
                    }
                }
                Outcome::Fail(_) => kind.fail += 1,
                Outcome::Info(_) => kind.info += 1,
            }
            if let Some(failure) = operation.failure() {
                *summary.errors.entry(failure.error).or_insert(0) += 1;
            }
        }
        for fault in &history.faults {
            *summary.faults.entry(fault.fault.name()).or_insert(0) += 1;
        }
        for ((group, op), kind) in kinds {
            summary.ok += kind.ok;
            summary.fail += kind.fail;
            summary.info += kind.info;
            let shade = match summary.kinds.last() {
                Some(last) if last.group == group => last.shade + 1,
                _ => 0,
            };
            summary.kinds.push(KindSummary {
                op,
                group,
                shade,
                ok: kind.ok,
                fail: kind.fail,
                info: kind.info,
                latency: kind.latency.finish(),
            });
        }
        let processes: HashSet<u32> = history.sessions.iter().map(|known| known.process).collect();
        summary.operations = summary.ok + summary.fail + summary.info;
        summary.sessions = history.sessions.len().try_into().unwrap_or(u64::MAX);
        summary.processes = processes.len().try_into().unwrap_or(u64::MAX);
        summary.latency = all.finish();
        summary
    }

    /// The kind of this name, if there is an operation of it.
    pub fn kind(&self, op: &str) -> Option<&KindSummary> {
        self.kinds.iter().find(|kind| kind.op == op)
    }

    /// The faults in words: `3 kill, 1 stop`; nothing if there were none.
    pub fn faults_in_words(&self) -> String {
        let each = self.faults.iter();
        let each: Vec<String> = each
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        each.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn all_operations_are_counted_and_those_that_took_effect_are_measured() {
        let run = fixture::many(16, 20_000, 3);
        let summary = Summary::of(&run.history);
        assert_eq!(summary.operations, 20_000);
        let by_kind: u64 = summary.kinds.iter().map(|kind| kind.ok).sum();
        assert_eq!((summary.ok, summary.latency.count), (by_kind, by_kind));
        let failed: u64 = summary.errors.values().sum();
        assert_eq!(failed, summary.fail + summary.info);
        assert!(summary.fail > 0 && summary.info > 0, "{summary:?}");
        assert_eq!(
            summary.faults.values().sum::<u64>() as usize,
            run.history.faults.len()
        );
        assert!(summary.faults_in_words().contains(" kill"), "{summary:?}");
    }
}
