//! A manager's names: its own, its two locks', its cache namespace.
//!
//! The formats are BeaverDB 1.3.0's; Python processes compute the same.

use crate::error::{Error, Result};

/// The longest manager or lock name.
pub const MAX_NAME_BYTES: usize = 1024;
/// The longest dictionary key.
pub const MAX_KEY_BYTES: usize = 64 * 1024;
/// The longest JSON text of one value, also as Python prints it: that is what is stored.
pub const MAX_VALUE_BYTES: usize = 64 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Dict,
    List,
    Queue,
    Collection,
    Blob,
    Log,
    Channel,
}

impl Kind {
    /// The reference's word for it, part of lock names and event topics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Dict => "dict",
            Self::List => "list",
            Self::Queue => "queue",
            Self::Collection => "collection",
            Self::Blob => "blob",
            Self::Log => "log",
            Self::Channel => "channel",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) name: String,
    /// Taken by `acquire`.
    pub(crate) lock_name: String,
    /// Taken by each method of a Python process while it runs.
    pub(crate) internal_lock_name: String,
    /// The row of `beaver_manager_versions` that Python's caches watch.
    pub(crate) cache_namespace: String,
}

impl Manager {
    pub(crate) fn new(kind: Kind, name: &str) -> Result<Self> {
        check_name(name)?;
        let kind = kind.as_str();
        Ok(Self {
            name: name.to_owned(),
            lock_name: format!("__lock__{kind}__{name}"),
            internal_lock_name: format!("__internal_lock__{kind}__{name}"),
            cache_namespace: format!("{kind}:{name}"),
        })
    }
}

pub(crate) fn check_name(name: &str) -> Result<()> {
    let problem = if name.is_empty() {
        "a name must not be empty".to_owned()
    } else if name.len() > MAX_NAME_BYTES {
        format!(
            "a name has at most {MAX_NAME_BYTES} bytes; this one has {}",
            name.len()
        )
    } else if name.contains('\0') {
        "a name must not contain NUL".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::InvalidArgument(problem))
}

pub(crate) fn check_key(key: &str) -> Result<()> {
    if key.len() > MAX_KEY_BYTES {
        return Err(Error::InvalidArgument(format!(
            "a key has at most {MAX_KEY_BYTES} bytes; this one has {}",
            key.len()
        )));
    }
    // SQLite compares and stores such a key, but its own functions and shell stop at the NUL.
    if key.contains('\0') {
        return Err(Error::InvalidArgument("a key must not contain NUL".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_python_computes() {
        let manager = Manager::new(Kind::Dict, "config").unwrap();
        assert_eq!(manager.lock_name, "__lock__dict__config");
        assert_eq!(manager.internal_lock_name, "__internal_lock__dict__config");
        assert_eq!(manager.cache_namespace, "dict:config");
        assert_eq!(
            Manager::new(Kind::Queue, "q").unwrap().lock_name,
            "__lock__queue__q"
        );
    }

    #[test]
    fn bad_names_are_refused_with_a_reason() {
        for name in [
            "",
            "a\0b",
            &"x".repeat(MAX_NAME_BYTES + 1),
            &"x".repeat(1 << 20),
        ] {
            assert!(matches!(check_name(name), Err(Error::InvalidArgument(_))));
        }
        assert!(check_name(&"x".repeat(MAX_NAME_BYTES)).is_ok());
        assert!(check_name("näme / with : anything").is_ok());
        assert!(check_key("").is_ok());
        assert!(matches!(
            check_key(&"k".repeat(MAX_KEY_BYTES + 1)),
            Err(Error::InvalidArgument(_))
        ));
    }
}
