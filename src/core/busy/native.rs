//! Asking again and again, by the [`Runtime`]'s clock: at first after less than a short
//! transaction takes, then every millisecond, which costs a waiter about a percent of a core.
//!
//! What must stay true: SQLite is given a number to call us by, not a pointer, so that nothing
//! depends on what is dropped first. A connection stays on the thread that it was made on.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use crate::runtime::{Runtime, pause_before};
use rusqlite::{Connection, ffi};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

thread_local! {
    /// The connections of this thread, by their numbers.
    static WAITS: RefCell<BTreeMap<usize, Rc<Wait>>> = const { RefCell::new(BTreeMap::new()) };
}

/// How long a connection waits.
pub(crate) struct Patience(Rc<Wait>);

struct Wait {
    runtime: Rc<dyn Runtime>,
    timeout: Cell<Duration>,
    /// When the wait that is under way ends, by the monotonic clock.
    until: Cell<Duration>,
}

impl Patience {
    /// From now on this connection waits for so long.
    pub(crate) fn of(
        connection: &Connection,
        runtime: &Rc<dyn Runtime>,
        timeout: Duration,
    ) -> Result<Self> {
        let patience = Self(Rc::new(Wait {
            runtime: Rc::clone(runtime),
            timeout: Cell::new(timeout),
            until: Cell::default(),
        }));
        let number = patience.number();
        WAITS.with_borrow_mut(|waits| waits.insert(number, Rc::clone(&patience.0)));
        // SAFETY: the connection is open, `asked` has the signature that is wanted and never unwinds,
        // and what it is given is a number to it, never read or written through.
        let code = unsafe {
            ffi::sqlite3_busy_handler(
                connection.handle(),
                Some(asked),
                std::ptr::without_provenance_mut(number),
            )
        };
        if code == ffi::SQLITE_OK {
            Ok(patience)
        } else {
            Err(Error::from(rusqlite::Error::SqliteFailure(
                ffi::Error::new(code),
                None,
            )))
        }
    }

    /// Takes effect with the connection's next call.
    pub(crate) fn set(&self, _: &Connection, timeout: Duration) -> Result<()> {
        self.0.timeout.set(timeout);
        Ok(())
    }

    /// No other's while this one lives.
    fn number(&self) -> usize {
        Rc::as_ptr(&self.0).addr()
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        let number = self.number();
        // What it holds is dropped behind the borrow.
        let _ = WAITS.try_with(|waits| waits.borrow_mut().remove(&number));
    }
}

/// SQLite asks whether to try again, and how often it has asked so before.
extern "C" fn asked(number: *mut c_void, before: c_int) -> c_int {
    let answered = catch_unwind(AssertUnwindSafe(|| {
        let wait = WAITS.try_with(|waits| waits.borrow().get(&number.addr()).map(Rc::clone));
        wait.ok().flatten().is_some_and(|wait| wait.pause(before))
    }));
    c_int::from(answered.unwrap_or(false))
}

impl Wait {
    /// Sleeps for a moment; false: the time is over.
    fn pause(&self, before: c_int) -> bool {
        let timeout = self.timeout.get();
        if timeout.is_zero() {
            return false;
        }
        let now = self.runtime.monotonic();
        if before == 0 {
            self.until.set(now.saturating_add(timeout));
        }
        let left = self.until.get().saturating_sub(now);
        if left.is_zero() {
            return false;
        }
        let pause = pause_before(before.max(0).cast_unsigned());
        self.runtime.sleep(pause.min(left));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Database, Options};

    /// Time goes by while somebody sleeps, and then something may happen.
    struct Sleeper {
        now: Cell<Duration>,
        slept: RefCell<Vec<Duration>>,
        happens: RefCell<Box<dyn FnMut(usize)>>,
    }

    impl Sleeper {
        fn new(happens: impl FnMut(usize) + 'static) -> Rc<Self> {
            Rc::new(Self {
                now: Cell::new(Duration::from_secs(100)),
                slept: RefCell::default(),
                happens: RefCell::new(Box::new(happens)),
            })
        }
    }

    impl Runtime for Sleeper {
        fn unix_seconds(&self) -> f64 {
            1.7e9 + self.now.get().as_secs_f64()
        }
        fn monotonic(&self) -> Duration {
            self.now.get()
        }
        fn random(&self) -> u128 {
            1
        }
        fn sleep(&self, duration: Duration) {
            self.now.set(self.now.get() + duration);
            self.slept.borrow_mut().push(duration);
            let times = self.slept.borrow().len();
            self.happens.borrow_mut()(times);
        }
        fn explain_cannot_open(&self, _: &str) -> Error {
            Error::NotFound
        }
    }

    /// A database, and a transaction that has its write lock.
    struct Locked {
        path: String,
        holder: Connection,
        _directory: tempfile::TempDir,
    }

    impl Locked {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("app.db").to_str().unwrap().to_owned();
            drop(Database::open(&path, &Options::default()).unwrap());
            let holder = Connection::open(&path).unwrap();
            Self {
                path,
                holder,
                _directory: directory,
            }
        }

        fn open(&self, runtime: &Rc<Sleeper>, busy_timeout: Duration) -> Database {
            let options = Options {
                busy_timeout,
                ..Options::default()
            };
            let runtime: Rc<dyn Runtime> = Rc::<Sleeper>::clone(runtime);
            Database::open_with(&self.path, &options, runtime).unwrap()
        }
    }

    const BEGIN: &str = "BEGIN IMMEDIATE";

    #[test]
    fn a_waiter_asks_each_millisecond_until_its_time_is_over() {
        let locked = Locked::new();
        let sleeper = Sleeper::new(|_| ());
        let timeout = Duration::from_micros(5_300);
        let database = locked.open(&sleeper, timeout);
        locked.holder.execute_batch(BEGIN).unwrap();
        for _ in 0..2 {
            sleeper.slept.borrow_mut().clear();
            assert_eq!(database.begin().unwrap_err(), Error::Busy);
            let slept = sleeper.slept.borrow();
            let micros: Vec<_> = slept.iter().map(Duration::as_micros).collect();
            let all = [50, 100, 200, 400, 800, 1000, 1000, 1000, 750];
            assert_eq!(micros, all);
            assert_eq!(slept.iter().sum::<Duration>(), timeout);
        }
    }

    #[test]
    fn a_waiter_goes_on_as_soon_as_it_finds_the_lock_free_even_at_the_last_moment() {
        let locked = Locked::new();
        for last in [1, 7, 9] {
            let holder = Connection::open(&locked.path).unwrap();
            holder.execute_batch(BEGIN).unwrap();
            let sleeper = Sleeper::new(move |times| {
                if times == last {
                    holder.execute_batch("ROLLBACK").unwrap();
                }
            });
            let database = locked.open(&sleeper, Duration::from_micros(5_300));
            database.begin().unwrap().commit().unwrap();
            assert_eq!(sleeper.slept.borrow().len(), last);
        }
    }

    #[test]
    fn whoever_has_no_time_does_not_sleep() {
        let locked = Locked::new();
        let sleeper = Sleeper::new(|_| ());
        let database = locked.open(&sleeper, Duration::ZERO);
        locked.holder.execute_batch(BEGIN).unwrap();
        assert_eq!(database.begin().unwrap_err(), Error::Busy);
        assert!(sleeper.slept.borrow().is_empty());
    }

    #[test]
    fn each_connection_of_a_thread_waits_for_its_own_time() {
        let locked = Locked::new();
        let sleeper = Sleeper::new(|_| ());
        let ms = Duration::from_millis;
        let databases: Vec<_> = (1..4).map(|n| locked.open(&sleeper, ms(10 * n))).collect();
        locked.holder.execute_batch(BEGIN).unwrap();
        for (database, n) in databases.iter().zip(1..) {
            let before = sleeper.now.get();
            assert_eq!(database.begin().unwrap_err(), Error::Busy);
            assert_eq!(sleeper.now.get() - before, ms(10 * n));
        }
        drop(databases);
        assert!(WAITS.with_borrow(BTreeMap::is_empty));
    }

    #[test]
    fn a_panic_while_waiting_is_no_more_than_the_end_of_the_wait() {
        let locked = Locked::new();
        let sleeper = Sleeper::new(|_| panic!("in the middle of a wait"));
        let database = locked.open(&sleeper, Duration::from_secs(1));
        locked.holder.execute_batch(BEGIN).unwrap();
        assert_eq!(database.begin().unwrap_err(), Error::Busy);
    }
}
