//! What a worker does: operations of the protocol, and compositions of them.
//!
//! What must stay true: a step is data. What it does depends on nothing but the answers it
//! gets, so a program can be written down, shrunk and run again, on any driver.

use crate::program::Fault;
use crate::protocol::{Capability, LockName, Op};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that a worker does, one after the other.
///
/// When an operation fails, so does the step, and the compositions around it end as a
/// `with` block does on an exception: `Locked` gives the lock back, `Transaction` rolls back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Step {
    /// One operation.
    Call(Call),
    /// `body` under a lock.
    Locked {
        /// Which.
        lock: LockName,
        /// How long to wait for it; none: for ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
        /// How long the grant lasts; none: the system's default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_ms: Option<u64>,
        /// What to do meanwhile.
        body: Vec<Step>,
    },
    /// `body` as one transaction.
    Transaction {
        /// What to do in it.
        body: Vec<Step>,
    },
    /// `body` as the best unit that the system offers: a transaction, else under the lock.
    Atomic {
        /// Which, where there are no transactions.
        lock: LockName,
        /// How long to wait for it; none: for ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
        /// What to do in it.
        body: Vec<Step>,
    },
    /// Reads a number (absent is 0) and writes one more.
    Increment {
        /// The dictionary.
        name: String,
        /// The key.
        key: String,
    },
    /// Reads a value and, if it is `expected` (null: absent), writes `new`.
    CompareAndSet {
        /// The dictionary.
        name: String,
        /// The key.
        key: String,
        /// What must be there.
        expected: Value,
        /// What to write.
        new: Value,
    },
    /// Reads two balances and, if `from` has as much, moves `amount`.
    Transfer {
        /// The dictionary.
        name: String,
        /// The account that loses it.
        from: String,
        /// The account that gets it.
        to: String,
        /// How much.
        amount: i64,
    },
    /// Reads the balances of all `accounts` and, if their sum is at least `amount`, takes
    /// it from the first.
    Withdraw {
        /// The dictionary.
        name: String,
        /// The accounts.
        accounts: Vec<String>,
        /// How much.
        amount: i64,
    },
    /// An operation again and again until it fails with `timeout`.
    UntilTimeout {
        /// The operation.
        op: Op,
    },
    /// `body` so many times.
    Repeat {
        /// How many times.
        count: u32,
        /// What.
        body: Vec<Step>,
    },
    /// Fails, as an exception in the caller's own code would.
    Raise,
    /// Does nothing for a while.
    Sleep {
        /// How long.
        ms: u64,
    },
    /// Lets everybody who awaits this name go on.
    Signal(String),
    /// Waits until somebody signals the name.
    Await(String),
    /// Waits until so many hold or wait for a lock.
    AwaitWaiting {
        /// The lock.
        lock: LockName,
        /// How many at least.
        count: u64,
    },
    /// Does something to the system.
    Fault(Fault),
}

/// See [`Step::Call`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Whether a commit-order number is wanted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub certify: bool,
    /// The operation.
    #[serde(flatten)]
    pub op: Op,
}

impl From<Op> for Step {
    fn from(op: Op) -> Self {
        Self::Call(Call { certify: false, op })
    }
}

impl Step {
    /// `body` under `lock`.
    pub fn locked(lock: LockName, timeout_ms: Option<u64>, body: Vec<Self>) -> Self {
        Self::Locked {
            lock,
            timeout_ms,
            ttl_ms: None,
            body,
        }
    }

    /// An operation with a commit-order number.
    pub fn certified(op: Op) -> Self {
        Self::Call(Call { certify: true, op })
    }

    /// Its name, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Call(call) => call.op.name(),
            Self::Locked { .. } => "locked",
            Self::Transaction { .. } => "transaction",
            Self::Atomic { .. } => "atomic",
            Self::Increment { .. } => "increment",
            Self::CompareAndSet { .. } => "compare-and-set",
            Self::Transfer { .. } => "transfer",
            Self::Withdraw { .. } => "withdraw",
            Self::UntilTimeout { .. } => "until-timeout",
            Self::Repeat { .. } => "repeat",
            Self::Raise => "raise",
            Self::Sleep { .. } => "sleep",
            Self::Signal(_) => "signal",
            Self::Await(_) => "await",
            Self::AwaitWaiting { .. } => "await-waiting",
            Self::Fault(_) => "fault",
        }
    }

    /// The steps inside.
    pub fn body(&self) -> &[Self] {
        match self {
            Self::Locked { body, .. }
            | Self::Transaction { body }
            | Self::Atomic { body, .. }
            | Self::Repeat { body, .. } => body,
            _ => &[],
        }
    }

    /// The step with each `Atomic` replaced by what it stands for.
    #[must_use]
    pub fn resolved(&self, transactions: bool) -> Self {
        let all = |body: &[Self]| {
            body.iter()
                .map(|step| step.resolved(transactions))
                .collect()
        };
        match self {
            Self::Atomic { body, .. } if transactions => Self::Transaction { body: all(body) },
            Self::Atomic {
                lock,
                timeout_ms,
                body,
            } => Self::locked(lock.clone(), *timeout_ms, all(body)),
            Self::Locked {
                lock,
                timeout_ms,
                ttl_ms,
                body,
            } => Self::Locked {
                lock: lock.clone(),
                timeout_ms: *timeout_ms,
                ttl_ms: *ttl_ms,
                body: all(body),
            },
            Self::Transaction { body } => Self::Transaction { body: all(body) },
            Self::Repeat { count, body } => Self::Repeat {
                count: *count,
                body: all(body),
            },
            other => other.clone(),
        }
    }

    /// Adds what a driver must offer for it, if it has `transactions` or hasn't.
    pub fn require(&self, transactions: bool, into: &mut Vec<Capability>) {
        let mut need = |capability| {
            if !into.contains(&capability) {
                into.push(capability);
            }
        };
        match self {
            Self::Call(call) => {
                need(call.op.capability());
                if call.certify {
                    need(Capability::Certificates);
                }
            }
            Self::UntilTimeout { op } => need(op.capability()),
            Self::Atomic { .. } if transactions => need(Capability::Transactions),
            Self::Locked { .. } | Self::Atomic { .. } => need(Capability::Locks),
            Self::Transaction { .. } => need(Capability::Transactions),
            Self::Increment { .. }
            | Self::CompareAndSet { .. }
            | Self::Transfer { .. }
            | Self::Withdraw { .. } => need(Capability::Dict),
            Self::AwaitWaiting { .. } => need(Capability::LockWaiting),
            Self::Fault(Fault::Drop { .. }) => need(Capability::Drop),
            Self::Fault(Fault::Trap { .. }) => need(Capability::Trap),
            Self::Fault(Fault::BusyWriter { .. }) => need(Capability::Sqlite),
            Self::Fault(
                Fault::Kill { .. }
                | Fault::KillAll { .. }
                | Fault::Stop { .. }
                | Fault::PowerLoss
                | Fault::ClockJump { .. },
            )
            | Self::Repeat { .. }
            | Self::Raise
            | Self::Sleep { .. }
            | Self::Signal(_)
            | Self::Await(_) => {}
        }
        for step in self.body() {
            step.require(transactions, into);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::LockKind;
    use serde_json::json;

    #[test]
    fn steps_read_as_people_write_them() {
        let text = json!({"locked": {"lock": "dict:d", "timeout-ms": 5000, "body": [
            {"increment": {"name": "d", "key": "n"}},
            {"call": {"op": "dict-get", "name": "d", "key": "n"}},
            "raise",
        ]}});
        let step: Step = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(&step).unwrap(), text);
        let Step::Locked {
            lock,
            timeout_ms,
            body,
            ..
        } = &step
        else {
            panic!("{step:?}")
        };
        assert_eq!(*lock, LockName::new(LockKind::Dict, "d"));
        assert_eq!((*timeout_ms, body.len()), (Some(5000), 3));
        let mut needs = Vec::new();
        step.require(false, &mut needs);
        assert_eq!(needs, [Capability::Locks, Capability::Dict]);
    }

    #[test]
    fn a_unit_needs_what_it_is_made_of() {
        let step = Step::Atomic {
            lock: LockName::new(LockKind::Dict, "d"),
            timeout_ms: None,
            body: vec![Step::Raise],
        };
        for transactions in [false, true] {
            let needs = |step: &Step| {
                let mut needs = Vec::new();
                step.require(transactions, &mut needs);
                needs
            };
            assert_eq!(needs(&step), needs(&step.resolved(transactions)));
        }
    }
}
