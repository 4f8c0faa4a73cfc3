//! Operations of the harness's protocol, made of bytes.
//!
//! What must stay true: there are so few names, keys and words that operations meet; each value is
//! there only once, so that checks can tell where it came from.

use arbitrary::{Result, Unstructured};
use beaver_harness::protocol::{LockKind, LockName, Op};
use serde_json::{Value, json};

/// The managers' names.
pub(crate) const NAMES: [&str; 2] = ["a", "b"];
/// Keys, and the ids of documents.
pub(crate) const KEYS: [&str; 3] = ["k", "l", "m"];
/// What documents are about.
pub(crate) const WORDS: [&str; 3] = ["oak", "elm", "ash"];
const KINDS: [LockKind; 6] = [
    LockKind::Lock,
    LockKind::Dict,
    LockKind::List,
    LockKind::Queue,
    LockKind::Collection,
    LockKind::Blob,
];
/// In milliseconds.
const TIMEOUTS: [u64; 3] = [0, 20, 3000];
/// In milliseconds: longer than any run made of operations, and shorter.
const TTLS: [u64; 2] = [60_000, 300];

/// Makes operations.
pub(crate) struct Ops<'i, 'b> {
    pub(crate) input: &'i mut Unstructured<'b>,
    values: u64,
}

impl<'i, 'b> Ops<'i, 'b> {
    pub(crate) fn new(input: &'i mut Unstructured<'b>) -> Self {
        Self { input, values: 0 }
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> Result<T> {
        self.input.choose(all).copied()
    }

    fn name(&mut self) -> Result<String> {
        self.one_of(&NAMES).map(str::to_owned)
    }

    fn key(&mut self) -> Result<String> {
        self.one_of(&KEYS).map(str::to_owned)
    }

    fn value(&mut self) -> Value {
        self.values += 1;
        json!(self.values)
    }

    fn index(&mut self) -> Result<i64> {
        self.input.int_in_range(-4..=4)
    }

    fn timeout(&mut self) -> Result<Option<u64>> {
        self.one_of(&TIMEOUTS).map(Some)
    }

    /// The name of a lock.
    pub(crate) fn lock(&mut self) -> Result<LockName> {
        Ok(LockName::new(self.one_of(&KINDS)?, self.name()?))
    }

    /// A lock for a while that is longer than any run.
    pub(crate) fn acquire(&mut self) -> Result<Op> {
        Ok(Op::LockAcquire {
            lock: self.lock()?,
            timeout_ms: self.timeout()?,
            ttl_ms: Some(TTLS[0]),
        })
    }

    /// One that changes or reads what is stored, without following anything.
    pub(crate) fn stored(&mut self) -> Result<Op> {
        let name = self.name()?;
        Ok(match self.input.int_in_range(0..=22)? {
            0 => Op::DictGet {
                name,
                key: self.key()?,
            },
            1 | 2 => Op::DictSet {
                name,
                key: self.key()?,
                value: self.value(),
            },
            3 => Op::DictDelete {
                name,
                key: self.key()?,
            },
            4 => Op::ListPush {
                name,
                value: self.value(),
            },
            5 => Op::ListInsert {
                name,
                index: self.index()?,
                value: self.value(),
            },
            6 => Op::ListSet {
                name,
                index: self.index()?,
                value: self.value(),
            },
            7 => Op::ListDelete {
                name,
                index: self.index()?,
            },
            8 => Op::ListItems { name },
            9 | 10 => Op::QueuePut {
                name,
                value: self.value(),
                priority: f64::from(self.input.int_in_range(-1_i8..=1)?),
            },
            11 => Op::QueueGet {
                name,
                timeout_ms: self.timeout()?,
            },
            12 => Op::QueueGetBatch {
                name,
                count: self.input.int_in_range(1..=3)?,
                timeout_ms: self.timeout()?,
            },
            13 | 14 => {
                let words: Vec<&str> = (0..self.input.int_in_range(0..=2)?)
                    .map(|_| self.one_of(&WORDS))
                    .collect::<Result<_>>()?;
                let value = self.value();
                Op::CollectionIndex {
                    name,
                    key: self.key()?,
                    body: json!({"text": words.join(" "), "version": value}),
                }
            }
            15 => Op::CollectionGet {
                name,
                key: self.key()?,
            },
            16 => Op::CollectionDrop {
                name,
                key: self.key()?,
            },
            17 => Op::CollectionConnect {
                name,
                source: self.key()?,
                target: self.key()?,
                label: "to".into(),
            },
            18 => Op::CollectionNeighbors {
                name,
                key: self.key()?,
                label: "to".into(),
            },
            19 => Op::CollectionMatch {
                name,
                text: self.one_of(&WORDS)?.into(),
            },
            20 => Op::BlobPut {
                name,
                key: self.key()?,
                data: self.value().to_string(),
            },
            21 => Op::BlobGet {
                name,
                key: self.key()?,
            },
            _ => Op::BlobDelete {
                name,
                key: self.key()?,
            },
        })
    }

    /// One on a log or channel, of which `may_follow` says whether others may be followed.
    pub(crate) fn streamed(&mut self, may_follow: bool) -> Result<Op> {
        let name = self.name()?;
        let last = if may_follow { 6 } else { 2 };
        Ok(match self.input.int_in_range(0..=last)? {
            0 => Op::LogAppend {
                name,
                value: self.value(),
            },
            1 => Op::LogRead { name },
            2 => Op::ChannelPublish {
                name,
                value: self.value(),
            },
            3 => Op::LogFollow { name },
            4 => Op::LogNext {
                name,
                timeout_ms: self.timeout()?,
            },
            5 => Op::ChannelSubscribe { name },
            _ => Op::ChannelNext {
                name,
                timeout_ms: self.timeout()?,
            },
        })
    }

    /// One that means something only with others beside it: locks and transactions.
    pub(crate) fn bracket(&mut self) -> Result<Op> {
        Ok(match self.input.int_in_range(0..=6)? {
            0 => self.acquire()?,
            1 => Op::LockRelease { lock: self.lock()? },
            2 => Op::LockRenew {
                lock: self.lock()?,
                ttl_ms: TTLS[0],
            },
            3 => Op::LockWaiting { lock: self.lock()? },
            4 => Op::Begin,
            5 => Op::Commit,
            _ => Op::Rollback,
        })
    }

    /// Any.
    pub(crate) fn any(&mut self) -> Result<Op> {
        Ok(match self.input.int_in_range(0..=5)? {
            0..=2 => self.stored()?,
            3 => self.streamed(true)?,
            4 => self.bracket()?,
            _ => Op::LockAcquire {
                lock: self.lock()?,
                timeout_ms: None,
                ttl_ms: Some(self.one_of(&TTLS)?),
            },
        })
    }
}
