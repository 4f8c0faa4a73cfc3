//! Values and times as they go in and out.

use crate::protocol::{ErrorCode, Failure, Op};
use serde_json::Value;
use std::time::Duration;

/// The JSON text of a value.
pub(in crate::driver) fn text(value: &Value) -> String {
    value.to_string()
}

/// The value of a JSON text that the system returned.
pub(in crate::driver) fn json(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::new(
            ErrorCode::Failed,
            format!("the system returned what isn't JSON ({error}): {text}"),
        )
    })
}

/// The same where there may be none.
pub(in crate::driver) fn optional(text: Option<String>) -> Result<Value, Failure> {
    text.map_or(Ok(Value::Null), |text| json(&text))
}

/// The number after the one that `text` says.
pub(in crate::driver) fn count_text(text: Option<String>) -> Result<u64, Failure> {
    let before: u64 = match text {
        None => 0,
        Some(text) => text.parse().map_err(|_| {
            Failure::new(ErrorCode::Failed, format!("the count of commits is {text}"))
        })?,
    };
    Ok(before.saturating_add(1))
}

/// Until when an operation that has to wait goes on.
pub(in crate::driver) struct Waiting {
    /// On the engine's clock.
    deadline: Option<Duration>,
    too_late: ErrorCode,
}

impl Waiting {
    /// As `op` says, from `now` on; operations without a timeout of their own wait `lock_wait` for
    /// locks.
    pub(in crate::driver) fn new(op: &Op, lock_wait: Duration, now: Duration) -> Self {
        let (limit, too_late) = match op.timeout_ms() {
            Some(limit) => (limit.map(Duration::from_millis), ErrorCode::Timeout),
            None => (Some(lock_wait), ErrorCode::Locked),
        };
        Self {
            deadline: limit.and_then(|limit| now.checked_add(limit)),
            too_late,
        }
    }

    /// What is left at `now`; none is for ever.
    ///
    /// # Errors
    /// Nothing is left.
    pub(in crate::driver) fn left(&self, now: Duration) -> Result<Option<Duration>, Failure> {
        match self.deadline {
            None => Ok(None),
            Some(deadline) => match deadline.checked_sub(now) {
                Some(left) if !left.is_zero() => Ok(Some(left)),
                _ => Err(self.over("the time is up")),
            },
        }
    }

    /// What to report when waiting was in vain.
    pub(in crate::driver) fn over(&self, why: &str) -> Failure {
        Failure::new(self.too_late, why)
    }
}
