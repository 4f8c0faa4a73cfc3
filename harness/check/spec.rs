//! Which checks there are, and their parameters.

use super::{CheckResult, Findings};
use crate::history::History;
use crate::protocol::ErrorCode;
use serde::{Deserialize, Serialize};

/// A check with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "check",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum CheckSpec {
    /// Every error is one of these, or follows from a fault.
    Errors {
        /// What may come without a fault.
        allow: Vec<ErrorCode>,
    },
    /// Every operation was answered in time, and no process ended by itself.
    Completion,
    /// No step waited in vain for the others, or went on before they were there. Asked of every
    /// program, also of one that doesn't name it.
    Course,
    /// Increments of a key were each done once: none lost, none done twice.
    Counter {
        /// The dictionary.
        name: String,
        /// The key.
        key: String,
    },
    /// Each key of each dictionary and blob store is an atomic register.
    Linearizable,
    /// The order that commit numbers give is legal, and none contradicts real time.
    CommitOrder,
    /// Each item put was taken at most once, and nothing else was; with `drained`, exactly once.
    QueueDelivery {
        /// The queue.
        name: String,
        /// Whether the program took everything out at the end.
        drained: bool,
    },
    /// No item was taken while one that comes before it was certainly there.
    QueueOrder {
        /// The queue.
        name: String,
    },
    /// Each batch (taken under the queue's lock or at once) is whole and has no
    /// item of another between.
    QueueBatches {
        /// The queue.
        name: String,
    },
    /// Edits and readings of a list, made under its lock or in transactions, came one after the other.
    ListEdits {
        /// The list.
        name: String,
    },
    /// Each value appended to a list that is edited in no other way is there once, for all in the same order.
    ListAppends {
        /// The list.
        name: String,
    },
    /// Readers see documents, edges and index entries together or not at all.
    CollectionStates {
        /// The collection.
        name: String,
    },
    /// No lock was held by two at once.
    MutualExclusion,
    /// Fencing tokens grow from grant to grant.
    FencingTokens,
    /// Who was certainly in line first was granted first.
    FifoGrants,
    /// No wait ended before its time without success, and none late.
    Timeouts,
    /// A grant lasts as long as it was given for, counted from the grant, and no longer.
    LockTtl,
    /// A lock that is free is granted in time to who waits for it, also after its holder died.
    LockLiveness {
        /// Within how long after the death of who held it, or waited for it, a lock is granted
        /// to the next by a system that offers `crash-detection`. With none, and on any other
        /// system, a dead one may keep it for its time to live.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dead_holder_ms: Option<u64>,
    },
    /// Who lost a lock can't write under it, and is told so.
    StaleHolders,
    /// A lock binds those who don't take it.
    MandatoryLocks,
    /// Balances always sum up to `total`, for every reader.
    Bank {
        /// The dictionary.
        name: String,
        /// The accounts.
        accounts: Vec<String>,
        /// Their sum.
        total: i64,
    },
    /// No two withdrawals both relied on the same money.
    WriteSkew {
        /// The dictionary.
        name: String,
        /// The accounts.
        accounts: Vec<String>,
        /// Below this their sum never is.
        least: i64,
    },
    /// Each value appended to a log is read once, by all in the same order.
    LogDelivery {
        /// The log.
        name: String,
    },
    /// Each value published reaches each subscriber once, for all in the same order.
    ChannelDelivery {
        /// The channel.
        name: String,
    },
    /// SQLite finds nothing wrong with the file.
    Integrity,
    /// The simulator's audit of files, log and locks finds nothing wrong.
    Audit,
}

impl CheckSpec {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Errors { .. } => "errors",
            Self::Completion => "completion",
            Self::Course => "course",
            Self::Counter { .. } => "counter",
            Self::Linearizable => "linearizable",
            Self::CommitOrder => "commit-order",
            Self::QueueDelivery { .. } => "queue-delivery",
            Self::QueueOrder { .. } => "queue-order",
            Self::QueueBatches { .. } => "queue-batches",
            Self::ListEdits { .. } => "list-edits",
            Self::ListAppends { .. } => "list-appends",
            Self::CollectionStates { .. } => "collection-states",
            Self::MutualExclusion => "mutual-exclusion",
            Self::FencingTokens => "fencing-tokens",
            Self::FifoGrants => "fifo-grants",
            Self::Timeouts => "timeouts",
            Self::LockTtl => "lock-ttl",
            Self::LockLiveness { .. } => "lock-liveness",
            Self::StaleHolders => "stale-holders",
            Self::MandatoryLocks => "mandatory-locks",
            Self::Bank { .. } => "bank",
            Self::WriteSkew { .. } => "write-skew",
            Self::LogDelivery { .. } => "log-delivery",
            Self::ChannelDelivery { .. } => "channel-delivery",
            Self::Integrity => "integrity",
            Self::Audit => "audit",
        }
    }

    /// Whether its parameters say what the program's set-up writes, so that a program without
    /// that set-up would be accused wrongly.
    pub fn presumes_set_up(&self) -> bool {
        matches!(self, Self::Bank { .. } | Self::WriteSkew { .. })
    }

    /// Whether it judges whatever a program does, so that it alone shows nothing of what the
    /// program is for.
    pub fn is_general(&self) -> bool {
        matches!(
            self,
            Self::Errors { .. }
                | Self::Completion
                | Self::Course
                | Self::Timeouts
                | Self::Integrity
                | Self::Audit
        )
    }

    /// Judges a history.
    pub fn run(&self, history: &History) -> CheckResult {
        let mut findings = Findings::new(self.clone());
        match self {
            Self::Errors { allow } => super::errors::check(history, allow, &mut findings),
            Self::Completion => super::completion::check(history, &mut findings),
            Self::Course => super::course::check(history, &mut findings),
            Self::Counter { name, key } => super::counter::check(history, name, key, &mut findings),
            Self::Linearizable => super::linearizable::check(history, &mut findings),
            Self::CommitOrder => super::commit_order::check(history, &mut findings),
            Self::QueueDelivery { name, drained } => {
                super::queue_delivery::check(history, name, *drained, &mut findings);
            }
            Self::QueueOrder { name } => super::queue_order::check(history, name, &mut findings),
            Self::QueueBatches { name } => {
                super::queue_batches::check(history, name, &mut findings);
            }
            Self::ListAppends { name } => super::list_appends::check(history, name, &mut findings),
            Self::ListEdits { name } => super::list_edits::check(history, name, &mut findings),
            Self::CollectionStates { name } => {
                super::collection_states::check(history, name, &mut findings);
            }
            Self::MutualExclusion => super::mutual_exclusion::check(history, &mut findings),
            Self::FencingTokens => super::fencing_tokens::check(history, &mut findings),
            Self::FifoGrants => super::fifo_grants::check(history, &mut findings),
            Self::Timeouts => super::timeouts::check(history, &mut findings),
            Self::LockTtl => super::lock_ttl::check(history, &mut findings),
            Self::LockLiveness { dead_holder_ms } => {
                super::lock_liveness::check(history, *dead_holder_ms, &mut findings);
            }
            Self::StaleHolders => super::stale_holders::check(history, &mut findings),
            Self::MandatoryLocks => super::mandatory_locks::check(history, &mut findings),
            Self::Bank {
                name,
                accounts,
                total,
            } => super::bank::check(history, name, accounts, *total, &mut findings),
            Self::WriteSkew {
                name,
                accounts,
                least,
            } => super::write_skew::check(history, name, accounts, *least, &mut findings),
            Self::LogDelivery { name } => super::log_delivery::check(history, name, &mut findings),
            Self::ChannelDelivery { name } => {
                super::channel_delivery::check(history, name, &mut findings);
            }
            Self::Integrity => super::integrity::check(history, &mut findings),
            Self::Audit => super::audit::check(history, &mut findings),
        }
        findings.finish()
    }
}

/// What "in time" means. All of it is far above what a healthy system needs: what is measured
/// here is whether something comes at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Bounds {
    /// How much later than its timeout an operation may end.
    pub late_ms: u64,
    /// For how long a lock that is free, or whose holder is known to be dead, may stay without
    /// a holder while somebody waits for it.
    pub handover_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            late_ms: 3000,
            handover_ms: 5000,
        }
    }
}
