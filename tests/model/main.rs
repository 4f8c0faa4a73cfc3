//! Each manager against a plain Rust model, natively and in the component.
//!
//! Two connections share a file and two managers of a kind. Random operations
//! come through either, some of them inside a transaction, while cursors,
//! readers and followers stay open; now and then a connection ends in the
//! middle of it all. All of it happens on one thread, so that the model knows
//! what each operation has to say, also of those that another's transaction
//! is in the way of: `busy`, at once.
//!
//! Vectors of operations, not `proptest-state-machine`: its reference state is
//! made before the system runs, but the stamps of logs, channels and locks are the
//! system's to choose, and a model has to hear of them. What it would give
//! besides, operations that are only generated where they make sense,
//! isn't needed: each has a meaning in each state, so shrinking can leave out any.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod blob;
mod channel;
mod collection;
mod dict;
mod list;
mod lock;
mod log;
mod queue;
mod several;

use beaver_tests::{Error, Files, Options, Result, Store, System, Transaction, ms};
use proptest::prelude::*;
use std::fmt::Debug;

/// Whether the system does as its model says.
type Checked = std::result::Result<(), TestCaseError>;

/// What the system said.
type Said<'a, Answer> = std::result::Result<&'a Answer, &'a Error>;

/// A kind of manager, with its model.
trait Machine {
    /// What is asked of either.
    type Op: Clone + Debug;
    type Answer: PartialEq + Debug;
    /// What one manager holds, according to the model.
    type Contents: Clone + Debug + Default;
    /// A connection's handle for one manager, with cursors and the like.
    type Handle;
    /// What the model knows of a handle: where its cursors stand.
    type Place: Debug + Default;

    fn op() -> BoxedStrategy<Self::Op>;

    fn options(_side: usize) -> Options {
        Options {
            busy_timeout: ms(0),
            lock_wait: ms(0),
            ..Options::default()
        }
    }

    fn open(store: &Store, name: &str) -> Result<Self::Handle>;

    /// Asks the system. `contents` are what this side sees.
    fn run(
        handle: &mut Self::Handle,
        contents: &Self::Contents,
        op: &Self::Op,
        now: Moment,
    ) -> Result<Self::Answer>;

    /// Asks the model, which is told what the system said: some of it is the
    /// system's to choose, and the model then says whether it was free to.
    fn expect(
        contents: &mut Self::Contents,
        place: &mut Self::Place,
        op: &Self::Op,
        now: Moment,
        said: Said<'_, Self::Answer>,
    ) -> Result<Self::Answer>;

    /// Whether a connection can end while another writes and nothing is left of
    /// it. (A native one's lock would be left to its time to live.)
    const LEAVES_NOTHING: bool = true;

    /// What becomes of the contents when a connection ends.
    fn close(_contents: &mut Self::Contents, _side: usize) {}

    /// Called after each step for each handle, with what it sees, and when its
    /// transaction has ended: whether it was rolled back.
    fn look(_contents: &Self::Contents, _place: &mut Self::Place, _ended: Option<bool>) {}

    /// Compares everything.
    fn check(handle: &mut Self::Handle, contents: &Self::Contents) -> Checked;
}

/// The circumstances of an operation.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// The number of the step, from which come values that nobody else has.
    step: u64,
    /// Which connection.
    side: usize,
    in_transaction: bool,
    /// Whether the other connection's transaction is open.
    is_blocked: bool,
}

impl Moment {
    /// For an operation that takes the write lock.
    fn needs_write_lock(self) -> Result<()> {
        if self.is_blocked {
            return Err(Error::Busy);
        }
        Ok(())
    }

    /// For one that can't be made in a transaction.
    fn needs_no_transaction(self) -> Result<()> {
        if self.in_transaction {
            return Err(Error::InTransaction);
        }
        Ok(())
    }
}

/// What a connection is asked to do.
#[derive(Clone, Debug)]
enum Step<Op> {
    /// To one of the two managers.
    Do(usize, Op),
    Begin,
    Commit,
    Rollback,
    /// Drops the transaction without a word.
    Abandon,
    /// Drops all the connection has, and opens another.
    Reopen,
}

fn step<M: Machine>() -> impl Strategy<Value = (usize, Step<M::Op>)>
where
    M::Op: 'static,
{
    let step = prop_oneof![
        40 => (prop_oneof![4 => Just(0_usize), 1 => Just(1)], M::op())
            .prop_map(|(name, op)| Step::Do(name, op)),
        3 => Just(Step::Begin),
        3 => Just(Step::Commit),
        2 => Just(Step::Rollback),
        1 => Just(Step::Abandon),
        1 => Just(Step::Reopen),
    ];
    (prop_oneof![2 => Just(0_usize), 1 => Just(1)], step)
}

/// One begins like the other, and with what SQL could take for something else.
const NAMES: [&str; 2] = ["m", "m'é%"];

struct Connection<M: Machine> {
    // Dropped in this order: what is open, the transaction, the database.
    handles: [M::Handle; 2],
    transaction: Option<Transaction>,
    store: Store,
}

impl<M: Machine> Connection<M> {
    fn open(files: &Files, side: usize) -> Self {
        let store = files.open_with(&M::options(side)).unwrap();
        Self {
            handles: NAMES.map(|name| M::open(&store, name).unwrap()),
            transaction: None,
            store,
        }
    }
}

struct Model<M: Machine> {
    committed: [M::Contents; 2],
    /// Whose transaction is open, and what it sees.
    open: Option<(usize, [M::Contents; 2])>,
    places: [[M::Place; 2]; 2],
}

impl<M: Machine> Model<M> {
    /// `ended`: whose transaction has, and whether it was rolled back.
    fn look(&mut self, ended: Option<(usize, bool)>) {
        for (side, places) in self.places.iter_mut().enumerate() {
            let contents = match &self.open {
                Some((owner, contents)) if *owner == side => contents,
                _ => &self.committed,
            };
            let ended = ended.filter(|(owner, _)| *owner == side);
            for (place, contents) in places.iter_mut().zip(contents) {
                M::look(contents, place, ended.map(|(_, rolled_back)| rolled_back));
            }
        }
    }
}

/// An error without its text, which is for people.
fn plain(error: Error) -> Error {
    match error {
        Error::InvalidArgument(_) => Error::InvalidArgument(String::new()),
        Error::InvalidJson(_) => Error::InvalidJson(String::new()),
        other => other,
    }
}

fn invalid() -> Error {
    Error::InvalidArgument(String::new())
}

/// What a run is made of.
struct Run<M: Machine> {
    files: Files,
    /// None only while it is being replaced.
    connections: [Option<Connection<M>>; 2],
    model: Model<M>,
}

impl<M: Machine> Run<M> {
    fn new(system: System) -> Self {
        let files = Files::new(system);
        Self {
            connections: [0, 1].map(|side| Some(Connection::open(&files, side))),
            files,
            model: Model {
                committed: <[M::Contents; 2]>::default(),
                open: None,
                places: <[[M::Place; 2]; 2]>::default(),
            },
        }
    }

    fn step(&mut self, number: u64, side: usize, step: &Step<M::Op>) -> Checked {
        let owner = self.model.open.as_ref().map(|(owner, _)| *owner);
        let now = Moment {
            step: number,
            side,
            in_transaction: owner == Some(side),
            is_blocked: owner == Some(1 - side),
        };
        let connection = self.connections[side].as_mut().unwrap();
        let mut ended = None;
        match step {
            Step::Do(name, op) => {
                let model = &mut self.model;
                let contents = match &mut model.open {
                    Some((owner, contents)) if *owner == side => &mut contents[*name],
                    _ => &mut model.committed[*name],
                };
                let said = M::run(&mut connection.handles[*name], contents, op, now).map_err(plain);
                let place = &mut model.places[side][*name];
                let expected = M::expect(contents, place, op, now, said.as_ref());
                prop_assert_eq!(said, expected, "step {}: {}, {:?}", number, side, step);
            }
            Step::Begin => {
                let begun = connection.store.begin();
                if now.in_transaction {
                    prop_assert_eq!(begun.unwrap_err(), Error::InTransaction);
                } else if now.is_blocked {
                    prop_assert_eq!(begun.unwrap_err(), Error::Busy);
                } else {
                    connection.transaction = Some(begun.unwrap());
                    self.model.open = Some((side, self.model.committed.clone()));
                }
            }
            Step::Commit | Step::Rollback | Step::Abandon => {
                if let Some(transaction) = connection.transaction.take() {
                    let (_, inside) = self.model.open.take().unwrap();
                    match step {
                        Step::Commit => {
                            transaction.commit().unwrap();
                            self.model.committed = inside;
                        }
                        Step::Rollback => transaction.rollback().unwrap(),
                        _ => drop(transaction),
                    }
                    ended = Some((side, !matches!(step, Step::Commit)));
                }
            }
            Step::Reopen => self.reopen(side, now),
        }
        self.model.look(ended);
        Ok(())
    }

    fn reopen(&mut self, side: usize, now: Moment) {
        if now.is_blocked && !M::LEAVES_NOTHING {
            return;
        }
        if now.in_transaction {
            self.model.open = None;
        }
        self.connections[side] = None;
        for contents in &mut self.model.committed {
            M::close(contents, side);
        }
        self.model.places[side] = <[M::Place; 2]>::default();
        self.connections[side] = Some(Connection::open(&self.files, side));
    }

    fn finish(mut self) -> Checked {
        for connection in self.connections.iter_mut().flatten() {
            connection.transaction = None;
        }
        self.model.open = None;
        for connection in self.connections.iter_mut().flatten() {
            for (handle, contents) in connection.handles.iter_mut().zip(&self.model.committed) {
                M::check(handle, contents)?;
            }
        }
        self.connections = [None, None];
        // Now that nobody has the file open, SQLite itself may look at it here.
        let connection = rusqlite::Connection::open(self.files.database()).unwrap();
        let ask = |sql| {
            connection
                .query_row::<String, _, _>(sql, [], |row| row.get(0))
                .unwrap()
        };
        prop_assert_eq!(ask("PRAGMA integrity_check"), "ok");
        prop_assert_eq!(
            ask("SELECT CAST(count(*) AS TEXT) FROM beaver_lock_waiters"),
            "0"
        );
        Ok(())
    }
}

fn check<M: Machine>(system: System, steps: &[(usize, Step<M::Op>)]) -> Checked {
    let mut run = Run::<M>::new(system);
    for (number, (side, step)) in steps.iter().enumerate() {
        run.step(number as u64, *side, step)?;
    }
    run.finish()
}

/// How many cases there are unless `PROPTEST_CASES` says otherwise.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return default;
    }
    ProptestConfig { cases, ..default }
}

macro_rules! machines {
    ($($name:ident: $machine:ty, $cases:literal;)*) => {
        $(
            mod $name {
                use super::*;

                proptest! {
                    #![proptest_config(config($cases))]

                    #[test]
                    fn native(steps in prop::collection::vec(step::<$machine>(), 1..60)) {
                        check::<$machine>(System::Native, &steps)?;
                    }

                    #[test]
                    fn component(steps in prop::collection::vec(step::<$machine>(), 1..60)) {
                        check::<$machine>(System::Component, &steps)?;
                    }
                }
            }
        )*
    };
}

machines! {
    dicts: dict::Dicts, 48;
    queues: queue::Queues, 48;
    lists: list::Lists, 48;
    logs: log::Logs, 48;
    channels: channel::Channels, 48;
    collections: collection::Collections, 48;
    blobs: blob::Blobs, 48;
    locks: lock::Locks, 48;
    managers_together: several::Several, 48;
}
