//! Operations in few words.

use crate::protocol::{LockKind, LockName, Op};
use crate::step::Step;
use serde_json::Value;

pub(super) fn lock(kind: LockKind, name: impl Into<String>) -> LockName {
    LockName::new(kind, name)
}

pub(super) fn get(name: &str, key: &str) -> Op {
    Op::DictGet {
        name: name.into(),
        key: key.into(),
    }
}

pub(super) fn set(name: &str, key: &str, value: impl Into<Value>) -> Op {
    Op::DictSet {
        name: name.into(),
        key: key.into(),
        value: value.into(),
    }
}

pub(super) fn delete(name: &str, key: &str) -> Op {
    Op::DictDelete {
        name: name.into(),
        key: key.into(),
    }
}

pub(super) fn push(name: &str, value: impl Into<Value>) -> Op {
    Op::ListPush {
        name: name.into(),
        value: value.into(),
    }
}

pub(super) fn insert(name: &str, index: i64, value: impl Into<Value>) -> Op {
    Op::ListInsert {
        name: name.into(),
        index,
        value: value.into(),
    }
}

pub(super) fn replace(name: &str, index: i64, value: impl Into<Value>) -> Op {
    Op::ListSet {
        name: name.into(),
        index,
        value: value.into(),
    }
}

pub(super) fn remove(name: &str, index: i64) -> Op {
    Op::ListDelete {
        name: name.into(),
        index,
    }
}

pub(super) fn items(name: &str) -> Op {
    Op::ListItems { name: name.into() }
}

pub(super) fn put(name: &str, value: impl Into<Value>, priority: i32) -> Op {
    Op::QueuePut {
        name: name.into(),
        value: value.into(),
        priority: priority.into(),
    }
}

pub(super) fn take(name: &str, timeout_ms: u64) -> Op {
    Op::QueueGet {
        name: name.into(),
        timeout_ms: Some(timeout_ms),
    }
}

/// Takes everything out.
pub(super) fn drain(name: &str) -> Step {
    Step::UntilTimeout {
        op: take(name, 200),
    }
}

pub(super) fn blob_put(name: &str, key: &str, data: String) -> Op {
    Op::BlobPut {
        name: name.into(),
        key: key.into(),
        data,
    }
}

pub(super) fn blob_get(name: &str, key: &str) -> Op {
    Op::BlobGet {
        name: name.into(),
        key: key.into(),
    }
}

pub(super) fn blob_delete(name: &str, key: &str) -> Op {
    Op::BlobDelete {
        name: name.into(),
        key: key.into(),
    }
}

pub(super) fn append(name: &str, value: impl Into<Value>) -> Op {
    Op::LogAppend {
        name: name.into(),
        value: value.into(),
    }
}

pub(super) fn read_log(name: &str) -> Op {
    Op::LogRead { name: name.into() }
}

pub(super) fn renew(lock: &LockName, ttl_ms: u64) -> Op {
    Op::LockRenew {
        lock: lock.clone(),
        ttl_ms,
    }
}
