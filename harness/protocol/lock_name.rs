//! The name of a lock: `lock:leader`, `dict:config`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Whose lock it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockKind {
    /// Its own.
    Lock,
    /// A dictionary's.
    Dict,
    /// A list's.
    List,
    /// A queue's.
    Queue,
    /// A collection's.
    Collection,
    /// A blob store's.
    Blob,
}

impl LockKind {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Lock, "lock"),
        (Self::Dict, "dict"),
        (Self::List, "list"),
        (Self::Queue, "queue"),
        (Self::Collection, "collection"),
        (Self::Blob, "blob"),
    ];

    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("lock", |(_, name)| name)
    }
}

/// The name of a lock, `KIND:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LockName {
    /// Whose lock it is.
    pub kind: LockKind,
    /// The name of the lock, or of the manager.
    pub name: String,
}

impl LockName {
    /// The lock `kind:name`.
    pub fn new(kind: LockKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }
}

/// A text that isn't the name of a lock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no lock: expected KIND:NAME with KIND lock, dict, list, queue, collection or blob"
)]
pub struct LockNameError(String);

impl FromStr for LockName {
    type Err = LockNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once(':')
            .and_then(|(kind, name)| {
                let (kind, _) = LockKind::ALL.iter().find(|(_, known)| *known == kind)?;
                Some(Self::new(*kind, name))
            })
            .ok_or_else(|| LockNameError(text.to_owned()))
    }
}

impl TryFrom<String> for LockName {
    type Error = LockNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<LockName> for String {
    fn from(lock: LockName) -> Self {
        lock.to_string()
    }
}

impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_they_print() {
        for text in ["lock:leader", "dict:a:b", "blob:"] {
            assert_eq!(text.parse::<LockName>().unwrap().to_string(), text);
        }
        for text in ["leader", "log:x", ""] {
            assert!(text.parse::<LockName>().is_err(), "{text}");
        }
    }
}
