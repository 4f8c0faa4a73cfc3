//! Models of waiting for a commit.
//!
//! As in `queue.rs`: first a race, then a look at who was woken.

use super::hub::{ChangeWait, Hub, SharedHub};
use super::polled::{Polled, together};
use super::registry::{FileId, Registry};
use super::sync::{Arc, AtomicU64, Ordering};
use super::timer::{self, NEVER, SOON};
use super::token::TokenSource;
use std::task::Poll;
use std::time::Duration;

loom::lazy_static! {
    static ref HUBS: Registry<Hub> = Registry::new();
}

/// A database's hub, and where its token is.
#[derive(Clone)]
struct Database {
    hub: SharedHub,
    token: Arc<AtomicU64>,
}

impl Database {
    fn new() -> Database {
        let file = FileId {
            device: 1,
            inode: 1,
        };
        Database {
            hub: HUBS.get(file, Hub::default),
            token: Arc::default(),
        }
    }

    fn source(&self) -> TokenSource {
        TokenSource(Arc::clone(&self.token))
    }

    fn wait(&self, timeout: Duration) -> Polled<ChangeWait> {
        let hub = Arc::clone(&self.hub);
        Polled::new(ChangeWait::new(hub, self.source(), 0, timeout))
    }

    /// A wait that has registered.
    fn waiting(&self, timeout: Duration) -> Polled<ChangeWait> {
        let mut wait = self.wait(timeout);
        assert_eq!(wait.poll(), Poll::Pending, "nobody has committed");
        wait
    }

    /// A commit by another process.
    fn commit_elsewhere(&self) {
        self.token.store(1, Ordering::Relaxed);
    }

    fn commit(&self) {
        self.commit_elsewhere();
        self.hub.released(|| self.source().token());
    }
}

fn assert_told(wait: &mut Polled<ChangeWait>) {
    assert_eq!(wait.poll_if_woken(), Poll::Ready(Ok(true)), "not woken");
}

/// A commit while somebody is about to wait: it sees the commit or is woken.
pub fn a_commit_meets_a_wait() {
    let database = Database::new();
    let mut waiting = database.wait(NEVER);
    let (polled, ()) = together(|| waiting.poll(), {
        let database = database.clone();
        move || database.commit()
    });
    if polled.is_pending() {
        assert_told(&mut waiting);
    }
    drop(waiting);
    assert_eq!(timer::alarms(), 0, "an alarm is left");
}

/// A deadline comes while a commit is announced: one waiter leaves, which
/// takes nothing from the other.
pub fn a_deadline_meets_a_commit() {
    let database = Database::new();
    let mut leaving = database.waiting(SOON);
    let mut staying = database.waiting(NEVER);
    let ((mut answer, ()), ()) = together(|| together(|| leaving.poll_if_woken(), timer::pass), {
        let database = database.clone();
        move || database.commit()
    });
    if answer.is_pending() {
        timer::ring();
        answer = leaving.poll_if_woken();
    }
    assert!(matches!(answer, Poll::Ready(Ok(_))), "left to sleep");
    assert_told(&mut staying);
    drop((leaving, staying));
    assert_eq!(timer::alarms(), 0, "an alarm is left");
}

/// Somebody gives up waiting while the timer looks for other processes'
/// commits; it goes on looking for the others.
pub fn who_leaves_takes_nobodys_alarm() {
    let database = Database::new();
    let leaving = database.waiting(NEVER);
    let mut staying = database.waiting(NEVER);
    together(
        || {
            together(|| drop(leaving), {
                let database = database.clone();
                move || database.commit_elsewhere()
            })
        },
        timer::ring,
    );
    // It may have looked before the commit.
    timer::ring();
    assert_told(&mut staying);
    drop(staying);
    assert_eq!(timer::alarms(), 0, "an alarm is left");
}

/// The last one leaves while the timer looks for it.
pub fn nobody_waits_nothing_ticks() {
    let database = Database::new();
    let waiting = database.waiting(NEVER);
    together(|| drop(waiting), timer::ring);
    assert_eq!(timer::alarms(), 0, "an alarm is left");
}
