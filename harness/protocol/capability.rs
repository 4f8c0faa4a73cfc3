//! What a driver offers.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! capabilities {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Something that a driver offers. What it doesn't list is never asked of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Capability {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Capability {
            /// All there are, in the order of `PROTOCOL.md`.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in the protocol.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

capabilities! {
    /// Dictionaries.
    Dict = "dict",
    /// Lists.
    List = "list",
    /// Priority queues.
    Queue = "queue",
    /// Several items of a queue in one step, or none.
    QueueBatch = "queue-batch",
    /// Document collections.
    Collection = "collection",
    /// Blob stores.
    Blob = "blob",
    /// Logs.
    Log = "log",
    /// Following a log.
    LogFollow = "log-follow",
    /// Channels.
    Channel = "channel",
    /// Locks, by themselves and of managers.
    Locks = "locks",
    /// Making a grant last longer.
    LockRenew = "lock-renew",
    /// How many hold or wait for a lock.
    LockWaiting = "lock-waiting",
    /// Fencing tokens, and refusal of what a stale holder does.
    Fencing = "fencing",
    /// A lock binds those who don't take it.
    MandatoryLocks = "mandatory-locks",
    /// The lock of a holder that died is free at once, not only after its time to live.
    CrashDetection = "crash-detection",
    /// Transactions.
    Transactions = "transactions",
    /// Commit-order numbers.
    Certificates = "certificates",
    /// Many clients in one process.
    Clients = "clients",
    /// Dropping a client.
    Drop = "drop",
    /// Trapping a client.
    Trap = "trap",
    /// A wall clock that is off.
    Clock = "clock",
    /// The database is one SQLite file.
    Sqlite = "sqlite",
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_protocol_page() {
        let page = include_str!("../PROTOCOL.md");
        for capability in Capability::ALL {
            assert!(page.contains(&format!("`{capability}`")), "{capability}");
            let text = serde_json::to_string(capability).unwrap();
            assert_eq!(text, format!("\"{capability}\""));
        }
    }
}
