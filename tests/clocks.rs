//! The lock's promises under clocks that lie: behind, ahead, frozen, jumping.
//!
//! Native only, because here the clocks are ours: `Runtime` is the one seam.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_core::rusqlite::Connection;
use beaver_core::{Database, Error, LockOptions, Options, Runtime, SystemRuntime};
use beaver_tests::{Files, System, eventually, ms, s};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

/// The system's clocks with the wall clock off by some seconds.
struct Skewed {
    system: SystemRuntime,
    offset_s: f64,
}

impl Runtime for Skewed {
    fn unix_seconds(&self) -> f64 {
        self.system.unix_seconds() + self.offset_s
    }
    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }
    fn random(&self) -> u128 {
        self.system.random()
    }
    fn sleep(&self, duration: Duration) {
        self.system.sleep(duration);
    }
    fn explain_cannot_open(&self, path: &str) -> Error {
        self.system.explain_cannot_open(path)
    }
}

/// Virtual time, which passes only while somebody waits.
struct Virtual {
    now: Cell<Duration>,
    wall_offset_s: Cell<f64>,
    /// What happens at which moment.
    events: RefCell<Vec<Event>>,
    waits: Cell<u32>,
    random: Cell<u128>,
}

/// At a moment, something.
type Event = (Duration, Box<dyn Fn()>);

impl Virtual {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(s(1000)),
            wall_offset_s: Cell::new(1.7e9),
            events: RefCell::default(),
            waits: Cell::new(0),
            random: Cell::new(0),
        })
    }

    fn at(&self, after: Duration, what: impl Fn() + 'static) {
        self.events
            .borrow_mut()
            .push((self.now.get() + after, Box::new(what)));
    }

    fn advance(&self, duration: Duration) {
        self.now.set(self.now.get() + duration);
        let due = |events: &RefCell<Vec<Event>>| {
            let at = events
                .borrow()
                .iter()
                .position(|(at, _)| *at <= self.now.get())?;
            Some(events.borrow_mut().remove(at))
        };
        while let Some((_, what)) = due(&self.events) {
            what();
        }
    }
}

impl Runtime for Virtual {
    fn unix_seconds(&self) -> f64 {
        self.now.get().as_secs_f64() + self.wall_offset_s.get()
    }
    fn monotonic(&self) -> Duration {
        self.now.get()
    }
    fn random(&self) -> u128 {
        self.random.set(self.random.get() + 1);
        self.random.get()
    }
    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
    fn wait_change(&self, _: &Connection, _seen: Option<u64>, timeout: Duration) {
        self.waits.set(self.waits.get() + 1);
        assert!(self.waits.get() < 100_000, "a wait without end");
        self.advance(timeout.min(ms(10)));
    }
    fn explain_cannot_open(&self, _: &str) -> Error {
        Error::NotFound
    }
}

fn open(files: &Files, runtime: &Rc<Virtual>) -> Database {
    let path = files.database();
    let runtime: Rc<dyn Runtime> = Rc::<Virtual>::clone(runtime);
    Database::open_with(path.to_str().unwrap(), &Options::default(), runtime).unwrap()
}

fn rows(files: &Files, sql: &str) -> Vec<(String, f64, f64)> {
    let connection = Connection::open(files.database()).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap();
    rows.map(Result::unwrap).collect()
}

const ALL: &str =
    "SELECT waiter_id, requested_at, expires_at FROM beaver_lock_waiters ORDER BY requested_at";

#[test]
fn order_is_that_of_the_commits_whatever_the_clocks_say() {
    let files = Files::new(System::Native);
    let holder = files.open().lock("l").unwrap();
    holder.acquire(&LockOptions::timeout(s(1))).unwrap();
    let order = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        // Point 10 of the reference's list: 10 s behind breaks its exclusion.
        for (waiter, offset_s) in [9.0, -10.0, 0.0, -60.0, 15.0].into_iter().enumerate() {
            let (order, files) = (&order, &files);
            scope.spawn(move || {
                let runtime = Rc::new(Skewed {
                    system: SystemRuntime::new(),
                    offset_s,
                });
                let path = files.database();
                let db = Database::open_with(path.to_str().unwrap(), &Options::default(), runtime);
                let lock = db.unwrap().lock("l").unwrap();
                lock.acquire(&LockOptions::timeout(s(60))).unwrap();
                order.lock().unwrap().push(waiter);
                lock.release().unwrap();
            });
            eventually("in line", || rows(files, ALL).len() == waiter + 2);
        }
        let times: Vec<f64> = rows(&files, ALL).iter().map(|row| row.1).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
        holder.release().unwrap();
    });
    let order = order.into_inner().unwrap();
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

// Point 10 again: nothing can tell a clock a minute ahead from a holder a minute
// late. The holder then learns that it lost the lock; it never writes over the next.
#[test]
fn a_clock_far_ahead_takes_the_lock_early_but_never_silently() {
    let files = Files::new(System::Native);
    let (now, ahead) = (Virtual::new(), Virtual::new());
    ahead.wall_offset_s.set(now.wall_offset_s.get() + 61.0);
    ahead.random.set(1 << 64);
    let (a, b) = (open(&files, &now), open(&files, &ahead));
    let (holder, next) = (a.dict("d").unwrap(), b.dict("d").unwrap());
    holder.acquire(&LockOptions::default()).unwrap();
    holder.set("x", "1", None).unwrap();
    next.acquire(&LockOptions::timeout(s(1))).unwrap();
    assert!(matches!(
        holder.set("x", "2", None),
        Err(Error::LockLost(_))
    ));
    assert!(next.fencing_token().unwrap() > holder.fencing_token().unwrap());
    assert!(matches!(holder.release(), Err(Error::LockLost(_))));
    next.set("x", "3", None).unwrap();
}

#[test]
fn two_requests_at_the_same_moment_are_two_places_in_line() {
    let files = Files::new(System::Native);
    let time = Virtual::new();
    let (one, two) = (open(&files, &time), open(&files, &time));
    let (holder, waiter) = (one.lock("l").unwrap(), two.lock("l").unwrap());
    holder.acquire(&LockOptions::default()).unwrap();
    // The clock stands still while three more come in line.
    let now = time.unix_seconds();
    let connection = Connection::open(files.database()).unwrap();
    for place in 0..3 {
        connection
            .execute(
                "INSERT INTO beaver_lock_waiters VALUES ('l', ?1, ?2, 9e9)",
                rusqlite::params![
                    format!("w{place}"),
                    if place == 0 {
                        now
                    } else {
                        (now + f64::from(place) * 1e-6).next_up()
                    }
                ],
            )
            .unwrap();
    }
    assert_eq!(
        waiter.acquire(&LockOptions::timeout(ms(50))).unwrap_err(),
        Error::Timeout
    );
    assert_eq!(rows(&files, ALL).len(), 4);
}

#[test]
fn the_time_to_live_ends_to_the_moment() {
    let files = Files::new(System::Native);
    let time = Virtual::new();
    let (a, b) = (open(&files, &time), open(&files, &time));
    let (first, second) = (a.dict("d").unwrap(), b.dict("d").unwrap());
    assert!(first.try_acquire(Some(s(10))).unwrap());
    time.advance(ms(9_999));
    assert!(!second.try_acquire(None).unwrap());
    first.renew(None).unwrap();
    time.advance(ms(9_999));
    assert!(
        !second.try_acquire(None).unwrap(),
        "renewed for as long again"
    );
    time.advance(ms(2));
    first.set("x", "1", None).unwrap();
    let token = first.fencing_token().unwrap();
    assert!(second.try_acquire(None).unwrap());
    assert!(second.fencing_token().unwrap() > token);
    assert!(matches!(first.set("x", "2", None), Err(Error::LockLost(_))));
    assert_eq!(second.get("x").unwrap().as_deref(), Some("1"));
}

#[test]
fn a_clock_that_is_set_back_moves_neither_order_nor_fencing() {
    let files = Files::new(System::Native);
    let time = Virtual::new();
    let db = open(&files, &time);
    let mut last = 0;
    for _ in 0..5 {
        let lock = db.lock("l").unwrap();
        lock.acquire(&LockOptions::timeout(s(1))).unwrap();
        assert!(lock.fencing_token().unwrap() > last);
        last = lock.fencing_token().unwrap();
        time.wall_offset_s.set(time.wall_offset_s.get() - 3600.0);
        lock.renew(None).unwrap();
        lock.release().unwrap();
    }
    let queue = db.queue("q").unwrap();
    for n in 0..5 {
        queue.put(&n.to_string(), 0.0).unwrap();
        time.wall_offset_s.set(time.wall_offset_s.get() - 3600.0);
    }
    let taken: Vec<_> = std::iter::from_fn(|| queue.try_get().unwrap())
        .map(|i| i.data)
        .collect();
    assert_eq!(taken, ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_timeout_ends_to_the_moment_and_a_waiter_keeps_its_place_alive() {
    let files = Files::new(System::Native);
    let time = Virtual::new();
    let (a, b) = (open(&files, &time), open(&files, &time));
    let (holder, waiter) = (a.lock("l").unwrap(), b.lock("l").unwrap());
    holder
        .acquire(&LockOptions::default().ttl(s(3600)))
        .unwrap();
    // Much longer than a place in line lives without renewal.
    for after in 1..60 {
        let (path, clock) = (files.database(), Rc::downgrade(&time));
        time.at(s(after), move || {
            let connection = Connection::open(&path).unwrap();
            let last: f64 = connection
                .query_row(
                    "SELECT min(expires_at) FROM beaver_lock_waiters",
                    [],
                    |row| row.get(0),
                )
                .unwrap();
            assert!(
                last > clock.upgrade().unwrap().unix_seconds(),
                "the place ran out"
            );
        });
    }
    let start = time.monotonic();
    assert_eq!(
        waiter.acquire(&LockOptions::timeout(s(60))).unwrap_err(),
        Error::Timeout
    );
    assert_eq!(time.monotonic() - start, s(60));
    assert!(time.events.borrow().is_empty());
    assert_eq!(rows(&files, ALL).len(), 1);
}

#[test]
fn a_release_during_the_wait_grants_with_a_full_time_to_live() {
    let files = Files::new(System::Native);
    let time = Virtual::new();
    let (a, b) = (open(&files, &time), open(&files, &time));
    let holder = Rc::new(a.lock("l").unwrap());
    holder.acquire(&LockOptions::default()).unwrap();
    let releasing = Rc::clone(&holder);
    time.at(s(30), move || releasing.release().unwrap());
    let waiter = b.lock("l").unwrap();
    let start = time.monotonic();
    waiter
        .acquire(&LockOptions::timeout(s(60)).ttl(s(5)))
        .unwrap();
    assert!((s(30)..s(31)).contains(&(time.monotonic() - start)));
    let [(_, _, expires_at)] = &rows(&files, ALL)[..] else {
        panic!("one row")
    };
    assert!(
        (expires_at - time.unix_seconds() - 5.0).abs() < 0.001,
        "five seconds from the grant"
    );
}

#[test]
fn a_dead_waiter_holds_up_the_queue_no_longer_than_its_place_lives() {
    let files = Files::new(System::Native);
    let time = Virtual::new();
    let db = open(&files, &time);
    let holder = db.lock("l").unwrap();
    holder.acquire(&LockOptions::default()).unwrap();
    let connection = Connection::open(files.database()).unwrap();
    let now = time.unix_seconds();
    connection
        .execute(
            "INSERT INTO beaver_lock_waiters VALUES ('l', 'dead', ?1, ?2)",
            [now, now + 10.0],
        )
        .unwrap();
    holder.release().unwrap();
    let next = open(&files, &time).lock("l").unwrap();
    let start = time.monotonic();
    next.acquire(&LockOptions::timeout(s(60))).unwrap();
    assert!((s(9)..s(12)).contains(&(time.monotonic() - start)));
}

// Found by a loom model: an overflow while the clock for waiting stood below a second.
#[test]
fn a_write_may_wait_for_a_lock_for_ever() {
    let files = Files::new(System::Native);
    let time = Virtual::new();
    time.now.set(s(0));
    let holder = Rc::new(open(&files, &time).dict("d").unwrap());
    holder.acquire(&LockOptions::default()).unwrap();
    let releasing = Rc::clone(&holder);
    time.at(s(30), move || releasing.release().unwrap());
    let options = Options {
        lock_wait: Duration::MAX,
        ..Options::default()
    };
    let (path, runtime) = (files.database(), Rc::<Virtual>::clone(&time));
    let patient = Database::open_with(path.to_str().unwrap(), &options, runtime).unwrap();
    patient.dict("d").unwrap().set("x", "1", None).unwrap();
    assert!(time.monotonic() >= s(30));
    assert!(rows(&files, ALL).is_empty());
}
