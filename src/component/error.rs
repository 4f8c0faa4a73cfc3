//! Core's errors as the contract's, one to one.

use crate::bindings::exports::beaver::db::types::{self, Failure};
use beaver_core::{Error, Outcome};

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        let outcome = match error.outcome() {
            Outcome::NotApplied => types::Outcome::NotApplied,
            Outcome::Unknown => types::Outcome::Unknown,
        };
        match error {
            Error::InvalidArgument(text) => Self::InvalidArgument(text),
            Error::InvalidJson(text) => Self::InvalidJson(text),
            Error::OutOfRange => Self::OutOfRange,
            Error::Timeout => Self::Timeout,
            Error::Locked(name) => Self::Locked(name),
            Error::Deadlock(locks) => Self::Deadlock(locks),
            Error::LockLost(name) => Self::LockLost(name),
            Error::NotHeld => Self::NotHeld,
            Error::AlreadyHeld => Self::AlreadyHeld,
            Error::WaitCleared => Self::WaitCleared,
            Error::Busy => Self::Busy,
            Error::InTransaction => Self::InTransaction,
            Error::NoTransaction => Self::NoTransaction,
            Error::Changed => Self::Changed,
            Error::TooLarge(bytes) => Self::TooLarge(bytes),
            Error::ReadOnly => Self::ReadOnly,
            Error::Full => Self::Full,
            Error::UnsupportedFormat(text) => Self::UnsupportedFormat(text),
            Error::WalUnsupported => Self::WalUnsupported,
            Error::NotFound => Self::NotFound,
            Error::Exists => Self::Exists,
            Error::WrongSecret(name) => Self::WrongSecret(name),
            Error::AccessDenied => Self::AccessDenied,
            Error::Corrupt(text) => Self::Corrupt(text),
            Error::OutOfMemory => Self::OutOfMemory,
            Error::Failed { message, .. } => Self::Failed(Failure { message, outcome }),
            // An error that core learned and this contract hasn't yet.
            other => Self::Failed(Failure {
                message: other.to_string(),
                outcome,
            }),
        }
    }
}
