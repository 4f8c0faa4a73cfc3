//! Models of waiting for a commit.
//!
//! As in `queue.rs`: first a race, then a look at who was woken. No model lets
//! the timer look where somebody is to be told, or a lost wake-up would be
//! found a millisecond late.

use super::claim;
use super::hub::{ChangeWait, Hub, SharedHub, Watch};
use super::kernel::{Handle, Kernel};
use super::polled::{Polled, together};
use super::registry::{FileId, Registry};
use super::sync::{Arc, AtomicU64, Ordering};
use super::timer::{self, NEVER, SOON};
use super::token::TokenSource;
use super::watch::Interest;
use std::task::Poll;
use std::time::Duration;

const FILE: FileId = FileId {
    device: 1,
    inode: 1,
};
const TOPIC: u64 = 5;
const CLAIM: u64 = 9;

loom::lazy_static! {
    static ref HUBS: Registry<Hub> = Registry::new();
}

/// A database's hub, and what its token is made of.
#[derive(Clone)]
struct Database {
    hub: SharedHub,
    commits: Arc<AtomicU64>,
    kernel: Arc<Kernel>,
}

/// A handle that waits.
struct Waiter {
    watch: Arc<Watch>,
    wait: Polled<ChangeWait>,
}

impl Database {
    fn new() -> Database {
        Database {
            hub: HUBS.get(FILE, Hub::default),
            commits: Arc::default(),
            kernel: Arc::default(),
        }
    }

    fn handle(&self, number: usize) -> Handle {
        let kernel = Arc::clone(&self.kernel);
        Handle { kernel, number }
    }

    fn source(&self) -> TokenSource {
        TokenSource {
            database: Arc::new(self.handle(1)),
            commits: Arc::clone(&self.commits),
        }
    }

    fn waiter(&self, interest: Option<Interest>, timeout: Duration) -> Waiter {
        let watch = Arc::new(Watch::new(&self.hub, interest));
        let wait = Polled::new(Watch::wait(&watch, self.source(), 0, timeout));
        Waiter { watch, wait }
    }

    /// A waiter that has registered.
    fn waiting(&self, interest: Option<Interest>, timeout: Duration) -> Waiter {
        let mut waiter = self.waiter(interest, timeout);
        assert_eq!(waiter.wait.poll(), Poll::Pending, "nobody has committed");
        waiter
    }

    /// A commit by another process.
    fn commit_elsewhere(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// A commit by a handle that announces nothing.
    fn commit(&self) {
        self.commit_elsewhere();
        self.hub.released(|| self.source().commits());
    }

    /// A commit by a handle that says what it concerned, as `OpenFile` does it.
    fn announce(&self) {
        self.announce_after(|| ());
    }

    /// The same, when `between` happens after the commit and before it is announced.
    fn announce_after<T>(&self, between: impl FnOnce() -> T) -> T {
        let number = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        let between = between();
        let number = self.hub.is_watched().then_some(number as u32);
        self.hub.announce(&[TOPIC], number);
        between
    }
}

impl Waiter {
    fn assert_told(&mut self) {
        assert_eq!(
            self.wait.poll_if_woken(),
            Poll::Ready(Ok(true)),
            "not woken"
        );
    }
}

fn interest(turn: Option<u64>) -> Option<Interest> {
    Some(Interest {
        topic: TOPIC,
        turn,
        claim: None,
    })
}

fn assert_nothing_left() {
    assert_eq!(timer::alarms(), 0, "an alarm is left");
}

/// Runs `commit` while a waiter begins: it sees the commit or is woken.
fn meets_a_wait(interest: Option<Interest>, commit: fn(&Database)) {
    let database = Database::new();
    let mut waiter = database.waiter(interest, NEVER);
    let (polled, ()) = together(|| waiter.wait.poll(), {
        let database = database.clone();
        move || commit(&database)
    });
    if polled.is_pending() {
        waiter.assert_told();
    }
    drop(waiter);
    assert_nothing_left();
}

/// By a handle that announces nothing.
pub fn a_commit_meets_a_wait() {
    meets_a_wait(None, Database::commit);
}

/// Whoever waits for any change hears of all that is announced.
pub fn an_announcement_meets_a_wait() {
    meets_a_wait(None, Database::announce);
}

/// Somebody waits for just this.
pub fn an_announcement_meets_who_waits_for_it() {
    meets_a_wait(interest(Some(1)), Database::announce);
}

/// A deadline comes while a commit is announced: one waiter leaves, which
/// takes nothing from the other.
pub fn a_deadline_meets_a_commit() {
    let database = Database::new();
    let mut leaving = database.waiting(interest(None), SOON);
    let mut staying = database.waiting(interest(None), NEVER);
    let ((mut answer, ()), ()) =
        together(|| together(|| leaving.wait.poll_if_woken(), timer::pass), {
            let database = database.clone();
            move || database.announce()
        });
    if answer.is_pending() {
        timer::pass();
        answer = leaving.wait.poll_if_woken();
    }
    assert!(matches!(answer, Poll::Ready(Ok(_))), "left to sleep");
    staying.assert_told();
    drop((leaving, staying));
    assert_nothing_left();
}

/// The foremost leaves while a commit is announced, of which perhaps only it
/// was told: the next one is told that it is the foremost now.
pub fn the_foremost_leaves_its_turn() {
    let database = Database::new();
    let foremost = database.waiting(interest(Some(1)), NEVER);
    let mut next = database.waiting(interest(Some(2)), NEVER);
    together(|| drop(foremost), {
        let database = database.clone();
        move || database.announce()
    });
    next.assert_told();
    drop(next);
    assert_nothing_left();
}

/// Somebody takes a place behind the foremost while that leaves, and a commit
/// is announced.
pub fn who_comes_as_the_foremost_leaves_is_told() {
    let database = Database::new();
    let foremost = database.waiting(interest(Some(1)), NEVER);
    let mut next = database.waiter(interest(Some(2)), NEVER);
    let (polled, ()) = together(|| next.wait.poll(), {
        let database = database.clone();
        move || {
            database.announce();
            drop(foremost);
        }
    });
    if polled.is_pending() {
        next.assert_told();
    }
    drop(next);
    assert_nothing_left();
}

/// A commit concerns somebody who begins to wait, and before it is announced, somebody else
/// takes a place before that one.
pub fn who_is_overtaken_is_told() {
    let database = Database::new();
    let mut granted = database.waiter(interest(Some(2)), NEVER);
    let (polled, newcomer) = together(|| granted.wait.poll(), {
        let database = database.clone();
        move || database.announce_after(|| Watch::new(&database.hub, interest(Some(1))))
    });
    if polled.is_pending() {
        granted.assert_told();
    }
    drop((granted, newcomer));
    assert_nothing_left();
}

/// A claim ends, with a handle of this process, while somebody begins to wait
/// for that.
pub fn a_claims_end_meets_a_wait() {
    let database = Database::new();
    let holder = database.handle(2);
    assert_eq!(claim::claim(&holder, &(CLAIM..CLAIM + 1)), Ok(()));
    let waits_for_end = Interest {
        topic: TOPIC,
        turn: Some(1),
        claim: Some(CLAIM),
    };
    let mut waiter = database.waiter(Some(waits_for_end), NEVER);
    let (polled, ()) = together(|| waiter.wait.poll(), {
        let database = database.clone();
        move || {
            assert_eq!(claim::release_all(&holder), Ok(()));
            database.hub.claims_ended(|claim| claim == CLAIM);
        }
    });
    if polled.is_pending() {
        waiter.assert_told();
    }
    drop(waiter);
    assert_nothing_left();
}

/// A claim ends when the deadline comes: what one wait doesn't say, the next
/// one does.
pub fn a_deadline_keeps_the_news() {
    let database = Database::new();
    let waits_for_end = Interest {
        topic: TOPIC,
        turn: Some(1),
        claim: Some(CLAIM),
    };
    let mut waiter = database.waiting(Some(waits_for_end), SOON);
    let ((mut answer, ()), ()) =
        together(|| together(|| waiter.wait.poll_if_woken(), timer::pass), {
            let database = database.clone();
            move || database.hub.claims_ended(|claim| claim == CLAIM)
        });
    if answer.is_pending() {
        timer::pass();
        answer = waiter.wait.poll_if_woken();
    }
    if answer == Poll::Ready(Ok(false)) {
        let next = Watch::wait(&waiter.watch, database.source(), 0, NEVER);
        answer = Polled::new(next).poll();
    }
    assert_eq!(answer, Poll::Ready(Ok(true)), "the news is lost");
    drop(waiter);
    assert_nothing_left();
}

/// Somebody gives up waiting while the timer looks for other processes'
/// commits; it goes on looking for the others.
pub fn who_leaves_takes_nobodys_alarm() {
    let database = Database::new();
    let leaving = database.waiting(None, NEVER);
    let mut staying = database.waiting(None, NEVER);
    together(
        || {
            together(|| drop(leaving), {
                let database = database.clone();
                move || database.commit_elsewhere()
            })
        },
        timer::tick,
    );
    // It may have looked before the commit.
    timer::tick();
    staying.assert_told();
    drop(staying);
    assert_nothing_left();
}

/// Another process commits while we do, and the timer looks: what we
/// announced doesn't hide the other commit.
pub fn an_announcement_hides_no_other_commit() {
    let database = Database::new();
    let ours = database.waiting(interest(None), NEVER);
    let mut theirs = database.waiting(
        Some(Interest {
            topic: TOPIC + 1,
            turn: None,
            claim: None,
        }),
        NEVER,
    );
    together(
        || {
            together(|| database.announce(), {
                let database = database.clone();
                move || database.commit_elsewhere()
            })
        },
        timer::tick,
    );
    timer::tick();
    theirs.assert_told();
    drop((ours, theirs));
    assert_nothing_left();
}

/// The last one leaves while the timer looks for it.
pub fn nobody_waits_nothing_ticks() {
    let database = Database::new();
    let waiting = database.waiting(None, NEVER);
    together(|| drop(waiting), timer::tick);
    assert_nothing_left();
}
