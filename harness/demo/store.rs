//! One worker's view of the database: the component's interface, whoever
//! implements it. The work of the three cases is written once, on top of this.
//!
//! What must stay true: an implementation only passes calls on. It neither
//! retries nor hides an error, or the demo would judge its own repairs.

use serde::Serialize;
use std::time::Duration;

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The time given for waiting has passed.
    Timeout,
    /// Anything else; none of it should happen here.
    Other {
        message: String,
        /// Whether the operation may have happened all the same.
        unknown: bool,
    },
}

impl Failure {
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Other { unknown: true, .. })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout => f.write_str("timed out"),
            Self::Other { message, .. } => f.write_str(message),
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// An item of a queue.
pub(crate) struct Item {
    pub(crate) priority: f64,
    pub(crate) timestamp: f64,
    pub(crate) data: String,
}

/// A database that is open, for one worker.
pub(crate) trait Store {
    type Dict;
    type Queue;
    type Lock;

    async fn dict(&mut self, name: &str) -> Result<Self::Dict>;
    async fn dict_acquire(&mut self, dict: &Self::Dict, timeout: Duration) -> Result<()>;
    async fn dict_release(&mut self, dict: &Self::Dict) -> Result<()>;
    async fn dict_get(&mut self, dict: &Self::Dict, key: &str) -> Result<Option<String>>;
    async fn dict_set(&mut self, dict: &Self::Dict, key: &str, value: &str) -> Result<()>;

    async fn queue(&mut self, name: &str) -> Result<Self::Queue>;
    async fn queue_acquire(&mut self, queue: &Self::Queue, timeout: Duration) -> Result<()>;
    async fn queue_release(&mut self, queue: &Self::Queue) -> Result<()>;
    async fn queue_put(&mut self, queue: &Self::Queue, data: &str, priority: f64) -> Result<()>;
    async fn queue_len(&mut self, queue: &Self::Queue) -> Result<u64>;
    async fn queue_try_get(&mut self, queue: &Self::Queue) -> Result<Option<Item>>;
    async fn queue_get_batch(
        &mut self,
        queue: &Self::Queue,
        count: u32,
        timeout: Duration,
    ) -> Result<Vec<Item>>;

    async fn lock(&mut self, name: &str) -> Result<Self::Lock>;
    /// Returns the fencing token.
    async fn lock_acquire(&mut self, lock: &Self::Lock, timeout: Option<Duration>) -> Result<u64>;
    async fn lock_release(&mut self, lock: &Self::Lock) -> Result<()>;

    /// Closes everything in order.
    async fn close(self) -> Result<()>;
}

/// Longer than any case, so that no holder loses its lock however slow the machine.
pub(crate) const LOCK_TTL: Duration = Duration::from_secs(180);

/// How long a write waits for a manager's lock. The default, 5 s, is for
/// interactive use; here everybody stands in one line.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(60);

/// A value as the JSON text that the managers take.
pub(crate) fn json_text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Failure::Other {
        message: error.to_string(),
        unknown: false,
    })
}
