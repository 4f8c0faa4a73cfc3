//! One shared object per file in this process, found by (device, inode).
//!
//! What must stay true: an entry lives only as long as somebody uses it, and
//! every user keeps a descriptor of the file open for at least as long, so
//! that the inode number can't be given to another file meanwhile.

use super::sync::{Arc, Mutex, Weak};
use std::collections::HashMap;

/// Names a file whatever its path: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl FileId {
    pub(crate) fn of(stat: &rustix::fs::Stat) -> FileId {
        FileId {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// Weak references by file; see [`Shared`] for how they go away.
#[derive(Debug)]
pub(crate) struct Registry<T: 'static>(Mutex<Option<HashMap<FileId, Weak<Shared<T>>>>>);

/// A registered object; its entry is removed with the last reference.
#[derive(Debug)]
pub(crate) struct Shared<T: 'static> {
    value: T,
    id: FileId,
    home: &'static Registry<T>,
}

impl<T> Registry<T> {
    pub(crate) const fn new() -> Registry<T> {
        Registry(Mutex::new(None))
    }

    /// The file's object, made if there is none.
    pub(crate) fn get(&'static self, id: FileId, make: impl FnOnce() -> T) -> Arc<Shared<T>> {
        let mut entries = self.0.lock();
        let entries = entries.get_or_insert_default();
        if let Some(found) = entries.get(&id).and_then(Weak::upgrade) {
            return found;
        }
        let made = Arc::new(Shared {
            value: make(),
            id,
            home: self,
        });
        entries.insert(id, Arc::downgrade(&made));
        made
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, id: FileId) -> bool {
        self.0
            .lock()
            .as_ref()
            .is_some_and(|entries| entries.contains_key(&id))
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let mut entries = self.home.0.lock();
        // Between our last reference and this lock somebody may have put a
        // fresh object in our place: leave that one alone.
        if let Some(entries) = entries.as_mut()
            && entries
                .get(&self.id)
                .is_some_and(|entry| entry.strong_count() == 0)
        {
            entries.remove(&self.id);
        }
    }
}

impl<T> std::ops::Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_per_file_while_in_use_and_none_after() {
        static REGISTRY: Registry<u32> = Registry::new();
        let id = FileId {
            device: 1,
            inode: 2,
        };
        let first = REGISTRY.get(id, || 7);
        let second = REGISTRY.get(id, || 8);
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(
            **REGISTRY.get(
                FileId {
                    device: 1,
                    inode: 3
                },
                || 9
            ),
            9
        );
        drop(first);
        assert!(REGISTRY.contains(id));
        drop(second);
        assert!(!REGISTRY.contains(id));
        assert_eq!(**REGISTRY.get(id, || 10), 10);
    }
}
