//! Waiting for SQLite's write lock, where nobody hands it over.
//!
//! SQLite's own way asks again after 1, 2, 5, 10 … and in the end 100 ms. Beside writers that ask
//! more often, as instances in a host do, whoever waits so gets few turns: the more it has waited,
//! the fewer. So a native connection asks as a host does: at first after less than a short
//! transaction takes, then every millisecond, which costs a waiter about a percent of a core. In the
//! component SQLite waits in the host, in the order of those who wait there.
//!
//! Here and not in SQLite's busy handler, which mustn't use the connection that waits: a [`Runtime`] is
//! anybody's code.
//!
//! What must stay true: whoever waits asks once more when its time is over, and then not again.
//!
//! [`Runtime`]: crate::Runtime

use crate::database::Database;
use crate::error::{Error, Result};
use crate::runtime::pause_before;
use std::time::Duration;

impl Database {
    /// Begins a transaction that may write, waiting for the write lock up to `timeout`, which SQLite's own
    /// waits within the transaction then have as well.
    pub(crate) fn begin_immediate(&self, timeout: Duration) -> Result<()> {
        if cfg!(target_family = "wasm") {
            self.set_busy_timeout(timeout)?;
            return self.try_to_begin();
        }
        let begun = self.begin_within(timeout);
        self.set_busy_timeout(timeout)?;
        begun
    }

    fn begin_within(&self, timeout: Duration) -> Result<()> {
        let runtime = &*self.inner.runtime;
        let (mut since, mut slept, mut asked) = (None, Duration::ZERO, 0_u32);
        loop {
            // Each time: whatever sleeps may have used the database.
            self.set_busy_timeout(Duration::ZERO)?;
            match self.try_to_begin() {
                Err(Error::Busy) if !timeout.is_zero() => {}
                other => return other,
            }
            let now = runtime.monotonic();
            let passed = now.saturating_sub(*since.get_or_insert(now));
            // Whatever the clock says, a wait comes to its end.
            let left = timeout.saturating_sub(passed.max(slept));
            if left.is_zero() {
                return Err(Error::Busy);
            }
            let pause = pause_before(asked).min(left);
            runtime.sleep(pause);
            slept = slept.saturating_add(pause);
            asked = asked.saturating_add(1);
        }
    }

    fn try_to_begin(&self) -> Result<()> {
        let connection = &self.inner.connection;
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::runtime::Runtime;
    use rusqlite::Connection;
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    /// Time goes by while somebody sleeps, and then something may happen.
    struct Sleeper {
        now: Cell<Duration>,
        slept: RefCell<Vec<Duration>>,
        stands_still: Cell<bool>,
        oversleeps: Cell<Duration>,
        happens: RefCell<Box<dyn FnMut(usize)>>,
    }

    impl Sleeper {
        fn new(happens: impl FnMut(usize) + 'static) -> Rc<Self> {
            Rc::new(Self {
                now: Cell::new(Duration::from_secs(100)),
                slept: RefCell::default(),
                stands_still: Cell::default(),
                oversleeps: Cell::default(),
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
            if !self.stands_still.get() {
                let passed = duration + self.oversleeps.get();
                self.now.set(self.now.get() + passed);
            }
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

    fn busy_timeout_ms(database: &Database) -> i64 {
        let connection = &database.inner.connection;
        let asked = connection.query_row("PRAGMA busy_timeout", [], |row| row.get(0));
        asked.unwrap()
    }

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
    }

    #[test]
    fn a_clock_that_stands_still_keeps_nobody_waiting_for_ever() {
        let locked = Locked::new();
        let sleeper = Sleeper::new(|_| ());
        let database = locked.open(&sleeper, Duration::from_millis(3));
        locked.holder.execute_batch(BEGIN).unwrap();
        sleeper.stands_still.set(true);
        assert_eq!(database.begin().unwrap_err(), Error::Busy);
        assert_eq!(
            sleeper.slept.borrow().iter().sum::<Duration>(),
            Duration::from_millis(3)
        );
    }

    #[test]
    fn whoever_sleeps_for_longer_than_it_asked_for_does_not_sleep_again() {
        let locked = Locked::new();
        let sleeper = Sleeper::new(|_| ());
        let database = locked.open(&sleeper, Duration::from_millis(3));
        locked.holder.execute_batch(BEGIN).unwrap();
        sleeper.oversleeps.set(Duration::from_secs(1));
        assert_eq!(database.begin().unwrap_err(), Error::Busy);
        assert_eq!(sleeper.slept.borrow().len(), 1);
    }

    #[test]
    fn sqlite_itself_does_not_wait_though_whoever_sleeps_uses_the_database() {
        let locked = Locked::new();
        let same: Rc<RefCell<Option<Database>>> = Rc::default();
        let asked = Rc::new(RefCell::new(Vec::new()));
        let (used, noted) = (Rc::clone(&same), Rc::clone(&asked));
        let sleeper = Sleeper::new(move |_| {
            if let Some(database) = &*used.borrow() {
                noted.borrow_mut().push(busy_timeout_ms(database));
                let _ = database.dict("d").unwrap().len().unwrap();
            }
        });
        let database = locked.open(&sleeper, Duration::from_millis(1));
        *same.borrow_mut() = Some(database.clone());
        locked.holder.execute_batch(BEGIN).unwrap();
        assert_eq!(database.begin().unwrap_err(), Error::Busy);
        assert_eq!(*asked.borrow(), [0; 5]);
        // A circle of references, otherwise.
        same.take();
    }

    #[test]
    fn within_the_transaction_sqlite_waits_as_long() {
        let locked = Locked::new();
        let sleeper = Sleeper::new(|_| ());
        let database = locked.open(&sleeper, Duration::from_millis(7));
        let transaction = database.begin().unwrap();
        assert_eq!(busy_timeout_ms(&database), 7);
        drop(transaction);
        locked.holder.execute_batch(BEGIN).unwrap();
        assert_eq!(database.begin().unwrap_err(), Error::Busy);
        assert_eq!(busy_timeout_ms(&database), 7);
    }
}
