//! Models of finding what the handles of one file share.

use super::counted::Arc;
use super::registry::{FileId, Registry, Shared};
use std::sync::{Mutex, PoisonError};

const FILE: FileId = FileId {
    device: 1,
    inode: 1,
};

loom::lazy_static! {
    static ref REGISTRY: Registry<u32> = Registry::new();
    static ref IN_USE: InUse = InUse::default();
}

/// Who uses which object: no step of the model, it only watches.
#[derive(Default)]
struct InUse(Mutex<Vec<*const Shared<u32>>>);

struct User(Arc<Shared<u32>>);

impl InUse {
    fn list(&self) -> std::sync::MutexGuard<'_, Vec<*const Shared<u32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl User {
    fn open() -> User {
        let found = REGISTRY.get(FILE, || 7);
        let this = Arc::as_ptr(&found);
        let mut users = IN_USE.list();
        assert!(
            users.iter().all(|other| *other == this),
            "two objects for one file"
        );
        users.push(this);
        User(found)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let this = Arc::as_ptr(&self.0);
        let mut users = IN_USE.list();
        let at = users.iter().position(|user| *user == this);
        users.swap_remove(at.expect("it was opened"));
    }
}

/// Two threads open and close one file in every order.
pub fn one_object_per_file() {
    let reopen = || {
        drop(User::open());
        User::open()
    };
    let other = loom::thread::spawn(reopen);
    let ours = reopen();
    let theirs = other.join().expect("a panic ends the model");
    drop((ours, theirs));
}

/// Two threads use a file and leave it; so does its entry.
pub fn the_last_user_takes_the_entry() {
    let use_it = || {
        let user = User::open();
        Arc::downgrade(&user.0)
    };
    let other = loom::thread::spawn(use_it);
    let ours = use_it();
    let theirs = other.join().expect("a panic ends the model");
    // One object for both or one each: at most one entry is theirs.
    let left = !ours.is_alone_but_for(&theirs) || !theirs.is_alone_but_for(&ours);
    assert!(!left, "an entry is left");
}
