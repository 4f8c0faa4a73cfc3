//! The operations of `PROTOCOL.md`.

use super::{Capability, LockKind, LockName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a client can be asked to do. Fields are as `PROTOCOL.md` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
#[expect(
    missing_docs,
    reason = "PROTOCOL.md documents each operation and field"
)]
pub enum Op {
    DictGet {
        name: String,
        key: String,
    },
    DictSet {
        name: String,
        key: String,
        value: Value,
    },
    DictDelete {
        name: String,
        key: String,
    },
    ListPush {
        name: String,
        value: Value,
    },
    ListInsert {
        name: String,
        index: i64,
        value: Value,
    },
    ListSet {
        name: String,
        index: i64,
        value: Value,
    },
    ListDelete {
        name: String,
        index: i64,
    },
    ListItems {
        name: String,
    },
    QueuePut {
        name: String,
        value: Value,
        priority: f64,
    },
    QueueGet {
        name: String,
        timeout_ms: Option<u64>,
    },
    QueueGetBatch {
        name: String,
        count: u32,
        timeout_ms: Option<u64>,
    },
    CollectionIndex {
        name: String,
        key: String,
        body: Value,
    },
    CollectionGet {
        name: String,
        key: String,
    },
    CollectionDrop {
        name: String,
        key: String,
    },
    CollectionConnect {
        name: String,
        source: String,
        target: String,
        label: String,
    },
    CollectionNeighbors {
        name: String,
        key: String,
        label: String,
    },
    CollectionMatch {
        name: String,
        text: String,
    },
    BlobPut {
        name: String,
        key: String,
        data: String,
    },
    BlobGet {
        name: String,
        key: String,
    },
    BlobDelete {
        name: String,
        key: String,
    },
    LogAppend {
        name: String,
        value: Value,
    },
    LogRead {
        name: String,
    },
    LogFollow {
        name: String,
    },
    LogNext {
        name: String,
        timeout_ms: Option<u64>,
    },
    ChannelPublish {
        name: String,
        value: Value,
    },
    ChannelSubscribe {
        name: String,
    },
    ChannelNext {
        name: String,
        timeout_ms: Option<u64>,
    },
    LockAcquire {
        lock: LockName,
        timeout_ms: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_ms: Option<u64>,
    },
    LockRenew {
        lock: LockName,
        ttl_ms: u64,
    },
    LockRelease {
        lock: LockName,
    },
    LockWaiting {
        lock: LockName,
    },
    Begin,
    Commit,
    Rollback,
}

impl Op {
    /// Its name in the protocol.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DictGet { .. } => "dict-get",
            Self::DictSet { .. } => "dict-set",
            Self::DictDelete { .. } => "dict-delete",
            Self::ListPush { .. } => "list-push",
            Self::ListInsert { .. } => "list-insert",
            Self::ListSet { .. } => "list-set",
            Self::ListDelete { .. } => "list-delete",
            Self::ListItems { .. } => "list-items",
            Self::QueuePut { .. } => "queue-put",
            Self::QueueGet { .. } => "queue-get",
            Self::QueueGetBatch { .. } => "queue-get-batch",
            Self::CollectionIndex { .. } => "collection-index",
            Self::CollectionGet { .. } => "collection-get",
            Self::CollectionDrop { .. } => "collection-drop",
            Self::CollectionConnect { .. } => "collection-connect",
            Self::CollectionNeighbors { .. } => "collection-neighbors",
            Self::CollectionMatch { .. } => "collection-match",
            Self::BlobPut { .. } => "blob-put",
            Self::BlobGet { .. } => "blob-get",
            Self::BlobDelete { .. } => "blob-delete",
            Self::LogAppend { .. } => "log-append",
            Self::LogRead { .. } => "log-read",
            Self::LogFollow { .. } => "log-follow",
            Self::LogNext { .. } => "log-next",
            Self::ChannelPublish { .. } => "channel-publish",
            Self::ChannelSubscribe { .. } => "channel-subscribe",
            Self::ChannelNext { .. } => "channel-next",
            Self::LockAcquire { .. } => "lock-acquire",
            Self::LockRenew { .. } => "lock-renew",
            Self::LockRelease { .. } => "lock-release",
            Self::LockWaiting { .. } => "lock-waiting",
            Self::Begin => "begin",
            Self::Commit => "commit",
            Self::Rollback => "rollback",
        }
    }

    /// The manager that has a lock and that it works on.
    pub fn manager(&self) -> Option<(LockKind, &str)> {
        Some(match self {
            Self::DictGet { name, .. }
            | Self::DictSet { name, .. }
            | Self::DictDelete { name, .. } => (LockKind::Dict, name),
            Self::ListPush { name, .. }
            | Self::ListInsert { name, .. }
            | Self::ListSet { name, .. }
            | Self::ListDelete { name, .. }
            | Self::ListItems { name } => (LockKind::List, name),
            Self::QueuePut { name, .. }
            | Self::QueueGet { name, .. }
            | Self::QueueGetBatch { name, .. } => (LockKind::Queue, name),
            Self::CollectionIndex { name, .. }
            | Self::CollectionGet { name, .. }
            | Self::CollectionDrop { name, .. }
            | Self::CollectionConnect { name, .. }
            | Self::CollectionNeighbors { name, .. }
            | Self::CollectionMatch { name, .. } => (LockKind::Collection, name),
            Self::BlobPut { name, .. }
            | Self::BlobGet { name, .. }
            | Self::BlobDelete { name, .. } => (LockKind::Blob, name),
            _ => return None,
        })
    }

    /// What a driver must offer to be asked for it.
    pub fn capability(&self) -> Capability {
        match self {
            Self::DictGet { .. } | Self::DictSet { .. } | Self::DictDelete { .. } => {
                Capability::Dict
            }
            Self::ListPush { .. }
            | Self::ListInsert { .. }
            | Self::ListSet { .. }
            | Self::ListDelete { .. }
            | Self::ListItems { .. } => Capability::List,
            Self::QueuePut { .. } | Self::QueueGet { .. } => Capability::Queue,
            Self::QueueGetBatch { .. } => Capability::QueueBatch,
            Self::CollectionIndex { .. }
            | Self::CollectionGet { .. }
            | Self::CollectionDrop { .. }
            | Self::CollectionConnect { .. }
            | Self::CollectionNeighbors { .. }
            | Self::CollectionMatch { .. } => Capability::Collection,
            Self::BlobPut { .. } | Self::BlobGet { .. } | Self::BlobDelete { .. } => {
                Capability::Blob
            }
            Self::LogAppend { .. } | Self::LogRead { .. } => Capability::Log,
            Self::LogFollow { .. } | Self::LogNext { .. } => Capability::LogFollow,
            Self::ChannelPublish { .. }
            | Self::ChannelSubscribe { .. }
            | Self::ChannelNext { .. } => Capability::Channel,
            Self::LockAcquire { .. } | Self::LockRelease { .. } => Capability::Locks,
            Self::LockRenew { .. } => Capability::LockRenew,
            Self::LockWaiting { .. } => Capability::LockWaiting,
            Self::Begin | Self::Commit | Self::Rollback => Capability::Transactions,
        }
    }

    /// How long it may wait: none if it never waits, `Some(None)` for ever.
    pub fn timeout_ms(&self) -> Option<Option<u64>> {
        match self {
            Self::QueueGet { timeout_ms, .. }
            | Self::QueueGetBatch { timeout_ms, .. }
            | Self::LogNext { timeout_ms, .. }
            | Self::ChannelNext { timeout_ms, .. }
            | Self::LockAcquire { timeout_ms, .. } => Some(*timeout_ms),
            _ => None,
        }
    }

    /// Whether it may change something.
    pub fn is_write(&self) -> bool {
        !matches!(
            self,
            Self::DictGet { .. }
                | Self::ListItems { .. }
                | Self::CollectionGet { .. }
                | Self::CollectionNeighbors { .. }
                | Self::CollectionMatch { .. }
                | Self::BlobGet { .. }
                | Self::LogRead { .. }
                | Self::LogFollow { .. }
                | Self::LogNext { .. }
                | Self::ChannelSubscribe { .. }
                | Self::ChannelNext { .. }
                | Self::LockWaiting { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_is_called_as_the_requests_own() {
        let page = include_str!("../PROTOCOL.md");
        let (_, table) = page.split_once("## Operations").unwrap();
        for row in table.lines().filter(|line| line.starts_with("| `")) {
            let fields = row.split('|').nth(2).unwrap();
            assert!(
                !fields.contains("`id`") && !fields.contains("`client`"),
                "{row}"
            );
        }
    }

    #[test]
    fn operations_read_as_on_the_protocol_page() {
        let line = r#"{"op":"lock-acquire","lock":"dict:config","timeout_ms":500}"#;
        let op: Op = serde_json::from_str(line).unwrap();
        assert_eq!(op.timeout_ms(), Some(Some(500)));
        assert_eq!(serde_json::to_string(&op).unwrap(), line);
        let line = r#"{"op":"queue-get","name":"q"}"#;
        assert_eq!(
            serde_json::from_str::<Op>(line).unwrap().timeout_ms(),
            Some(None)
        );
        assert_eq!(
            serde_json::to_string(&Op::Begin).unwrap(),
            r#"{"op":"begin"}"#
        );
    }
}
