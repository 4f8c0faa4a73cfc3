//! Why an operation failed, and whether it definitely did not happen.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $definite:literal,)*) => {
        /// The error table of `PROTOCOL.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl ErrorCode {
            /// All there are, in the order of `PROTOCOL.md`.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in the protocol.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Whether the operation definitely did not happen, unless the answer says otherwise.
            pub fn is_definite(self) -> bool {
                match self {
                    $(Self::$variant => $definite,)*
                }
            }
        }
    };
}

codes! {
    /// The time given for waiting has passed.
    Timeout = "timeout" true,
    /// Somebody else holds the manager's lock.
    Locked = "locked" true,
    /// The system is too busy.
    Busy = "busy" true,
    /// The transaction was undone.
    Conflict = "conflict" true,
    /// The client held the lock and lost it.
    LockLost = "lock-lost" true,
    /// The client's place in the line was removed.
    WaitCleared = "wait-cleared" true,
    /// The client doesn't hold the lock.
    NotHeld = "not-held" true,
    /// The client holds the lock already.
    AlreadyHeld = "already-held" true,
    /// Waiting could not help.
    Deadlock = "deadlock" true,
    /// There is no item with this index.
    OutOfRange = "out-of-range" true,
    /// No transaction is open.
    NoTransaction = "no-transaction" true,
    /// A transaction is open.
    InTransaction = "in-transaction" true,
    /// The system refuses an argument.
    Invalid = "invalid" true,
    /// The driver doesn't know the operation.
    Unsupported = "unsupported" true,
    /// The client was dropped or its process died meanwhile.
    Gone = "gone" false,
    /// Anything else.
    Failed = "failed" false,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An operation's error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{error}{}{message}", if message.is_empty() { "" } else { ": " })]
pub struct Failure {
    /// What kind it is.
    pub error: ErrorCode,
    /// Whether the operation definitely did not happen.
    pub definite: bool,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl Failure {
    /// An error that is as definite as its code says.
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            error,
            definite: error.is_definite(),
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_protocol_page() {
        let page = include_str!("../PROTOCOL.md");
        for code in ErrorCode::ALL {
            let row = page
                .lines()
                .find(|line| {
                    let first = line.split('|').nth(1).unwrap_or_default();
                    first.contains(&format!("`{code}`"))
                })
                .unwrap_or_else(|| panic!("{code} has no row"));
            let definite = row.split('|').nth(2).unwrap().trim();
            assert_eq!(definite == "yes", code.is_definite(), "{row}");
        }
    }
}
