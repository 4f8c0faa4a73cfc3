//! Order keys: the floats in `beaver_lists.item_order` that put items in order,
//! and making room where they have come too close.
//!
//! What must stay true:
//! - Two keys made here are at least [`unit`] apart, so that Python, which
//!   halves gaps until they collide, can still insert beside ours.
//! - Keys move only inside the write that needs the room, one row at a time, and
//!   after each row the list is in order and no key is there twice.
//! - Whoever moves keys counts up the list's spreads: cursors stand on keys.
//!
//! Spreading works on windows of keys that begin at a multiple of their width,
//! a power of two, as in *Two Simplified Algorithms for Maintaining Order in a
//! List* (Bender et al., 2002). The smallest window is taken that holds no more
//! items than the square root of the units in it. Any half of it then has room
//! for a good part of its own limit before it is full again, which is what
//! keeps the cost of n inserts anywhere in O(n log n) moves.

use crate::error::Result;
use rusqlite::{Connection, Row, Rows, params};

/// Beyond it steps of 1.0, which is how Python appends, would be less than a unit.
const LIMIT: f64 = (1_u64 << 46) as f64;

/// The gap below which there is no room, in steps between neighbouring floats.
const UNIT_ULPS: f64 = 64.0;

/// The smallest window, for 16 items.
const SMALLEST_WINDOW_UNITS: f64 = 256.0;

/// The smallest gap that is left between two keys up to `magnitude`.
fn unit(magnitude: f64) -> f64 {
    // Floats get ever finer towards 0. Below 1 that isn't made use of: keys are
    // shorter, and a window's unit is that of all its parts.
    let magnitude = magnitude.abs().max(1.0);
    (magnitude.next_up() - magnitude) * UNIT_ULPS
}

/// The inserts of one handle, each beside the one before it: they go on where
/// they are, and halving the gap would use it up in forty steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    last: f64,
    side: Option<Side>,
    length: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    BeforeLast,
    AfterLast,
}

impl Run {
    /// What is known after an insert that went elsewhere.
    pub(super) fn new(last: f64) -> Self {
        Self {
            last,
            side: None,
            length: 0,
        }
    }

    /// The key of the last insert.
    pub(super) fn last(self) -> f64 {
        self.last
    }
}

/// A key between two, and the run with it; none when there is no room.
///
/// In the middle, unless a run is under way: then ever closer to the last, down
/// to where as many inserts fit beside it as halvings that are worth as many.
pub(super) fn between(before: f64, after: f64, run: Option<Run>) -> Option<Run> {
    if before.abs().max(after.abs()) > LIMIT {
        return None;
    }
    let (gap, unit) = (after - before, unit(before.abs().max(after.abs())));
    if gap < 2.0 * unit {
        return None;
    }
    let side = run.and_then(|run| match run.last {
        last if last == after => Some(Side::BeforeLast),
        last if last == before => Some(Side::AfterLast),
        _ => None,
    });
    let length = match run {
        Some(run) if side.is_some() && run.side == side => run.length + 1,
        _ => u32::from(side.is_some()),
    };
    let halved = gap / (1_u64 << (length + 1).min(62)) as f64;
    let step = halved.max((gap * unit).sqrt()).min(gap / 2.0);
    let key = match side {
        None => before + gap / 2.0,
        Some(Side::BeforeLast) => after - step,
        Some(Side::AfterLast) => before + step,
    };
    Some(Run {
        last: key,
        side,
        length,
    })
}

/// A row to be moved.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Item {
    rowid: i64,
    key: f64,
}

impl Item {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            rowid: row.get(0)?,
            key: row.get(1)?,
        })
    }
}

/// Makes room for a new item after the one with the key `before`, and returns
/// the new item's key. Call inside a write transaction.
pub(super) fn spread(connection: &Connection, list: &str, before: f64) -> Result<f64> {
    let Some((window, items)) = find_window(connection, list, before)? else {
        return renumber(connection, list, Some(before));
    };
    let at = items.partition_point(|item| item.key <= before);
    let step = window.width / (items.len() + 2) as f64;
    move_items(connection, &items, at, |place| {
        window.start + step * (place + 1) as f64
    })
}

/// Gives every item of the list a new key, as if they had been appended one by
/// one, and makes room for a new item after the key `before` (none: in front).
/// Returns the new item's key. Call inside a write transaction.
pub(super) fn renumber(connection: &Connection, list: &str, before: Option<f64>) -> Result<f64> {
    let items = connection
        .prepare_cached(
            "SELECT rowid, item_order FROM beaver_lists WHERE list_name = ?1 ORDER BY item_order",
        )?
        .query_map([list], Item::of)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let at = before.map_or(0, |before| items.partition_point(|item| item.key <= before));
    move_items(connection, &items, at, |place| (place + 1) as f64)
}

/// Moves `items`, which are in order, to the keys of their places, the place
/// `at` being left for a new item; returns the key of that.
fn move_items(
    connection: &Connection,
    items: &[Item],
    at: usize,
    key_of: impl Fn(usize) -> f64,
) -> Result<f64> {
    let mut update =
        connection.prepare_cached("UPDATE beaver_lists SET item_order = ?2 WHERE rowid = ?1")?;
    let new_key = |index: usize| key_of(if index < at { index } else { index + 1 });
    // First those that go down, the lowest first, then those that go up, the
    // highest first: so none ever meets or passes another.
    for (index, item) in items.iter().enumerate() {
        let key = new_key(index);
        if key < item.key {
            update.execute(params![item.rowid, key])?;
        }
    }
    for (index, item) in items.iter().enumerate().rev() {
        let key = new_key(index);
        if key > item.key {
            update.execute(params![item.rowid, key])?;
        }
    }
    Ok(key_of(at))
}

/// The keys from `start` up to, not including, `start + width`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    start: f64,
    width: f64,
}

impl Window {
    fn around(key: f64, width: f64) -> Self {
        Self {
            // Exact: the width is a power of two.
            start: (key / width).floor() * width,
            width,
        }
    }

    fn end(self) -> f64 {
        self.start + self.width
    }

    fn is_usable(self) -> bool {
        self.start >= -LIMIT && self.end() <= LIMIT
    }

    /// Whether `items` more or less evenly spread would be far enough apart.
    fn has_room_for(self, items: usize) -> bool {
        let units = self.width / unit(self.start.abs().max(self.end().abs()));
        (items as f64).powi(2) <= units
    }
}

/// The window to spread so that an item fits in after `key`, with its items;
/// none when there is none, and the whole list has to be renumbered.
fn find_window(
    connection: &Connection,
    list: &str,
    key: f64,
) -> Result<Option<(Window, Vec<Item>)>> {
    if key.abs() > LIMIT {
        return Ok(None);
    }
    let mut below = connection.prepare_cached(
        "SELECT rowid, item_order FROM beaver_lists
         WHERE list_name = ?1 AND item_order <= ?2 ORDER BY item_order DESC",
    )?;
    let mut above = connection.prepare_cached(
        "SELECT rowid, item_order FROM beaver_lists
         WHERE list_name = ?1 AND item_order > ?2 ORDER BY item_order",
    )?;
    let mut below = Neighbours::new(below.query(params![list, key])?)?;
    let mut above = Neighbours::new(above.query(params![list, key])?)?;
    let mut window = Window::around(key, unit(key) * SMALLEST_WINDOW_UNITS);
    while window.is_usable() {
        below.take_while(|key| key >= window.start)?;
        above.take_while(|key| key < window.end())?;
        if window.has_room_for(below.taken.len() + above.taken.len() + 1) {
            let mut items = below.taken;
            items.reverse();
            items.extend(above.taken);
            return Ok(Some((window, items)));
        }
        // Twice the items at the same fill.
        window = Window::around(key, window.width * 4.0);
    }
    Ok(None)
}

/// The items on one side of a place, read as far as needed.
struct Neighbours<'a> {
    rows: Rows<'a>,
    next: Option<Item>,
    taken: Vec<Item>,
}

impl<'a> Neighbours<'a> {
    fn new(mut rows: Rows<'a>) -> Result<Self> {
        let next = rows.next()?.map(Item::of).transpose()?;
        Ok(Self {
            rows,
            next,
            taken: Vec::new(),
        })
    }

    fn take_while(&mut self, inside: impl Fn(f64) -> bool) -> Result<()> {
        while let Some(item) = self.next.filter(|item| inside(item.key)) {
            self.taken.push(item);
            self.next = self.rows.next()?.map(Item::of).transpose()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Keys as a list has them, without its values.
    struct Keys(Connection);

    impl Keys {
        fn new(keys: &[f64]) -> Self {
            let connection = Connection::open_in_memory().unwrap();
            connection
                .execute_batch(
                    "CREATE TABLE beaver_lists (
                       list_name TEXT NOT NULL, item_order REAL NOT NULL, item_value TEXT NOT NULL,
                       PRIMARY KEY (list_name, item_order));
                     CREATE TABLE moves (n INTEGER);
                     CREATE TRIGGER moved AFTER UPDATE ON beaver_lists BEGIN
                       INSERT INTO moves VALUES (1);
                     END;
                     BEGIN",
                )
                .unwrap();
            let list = Self(connection);
            for key in keys {
                list.add(*key);
            }
            list
        }

        fn add(&self, key: f64) {
            self.0
                .prepare_cached("INSERT INTO beaver_lists VALUES ('l', ?1, '')")
                .unwrap()
                .execute([key])
                .unwrap();
        }

        fn rows(&self) -> Vec<(f64, i64)> {
            let mut statement = self
                .0
                .prepare("SELECT item_order, rowid FROM beaver_lists ORDER BY item_order")
                .unwrap();
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
            rows.unwrap().map(|row| row.unwrap()).collect()
        }

        /// As `List::insert` does.
        fn insert(&self, place: usize, run: &mut Option<Run>) {
            let pair: Vec<f64> = self
                .0
                .prepare_cached(
                    "SELECT item_order FROM beaver_lists ORDER BY item_order LIMIT 2 OFFSET ?1",
                )
                .unwrap()
                .query_map([place as i64 - 1], |row| row.get(0))
                .unwrap()
                .map(|row| row.unwrap())
                .collect();
            let next = between(pair[0], pair[1], *run)
                .unwrap_or_else(|| Run::new(spread(&self.0, "l", pair[0]).unwrap()));
            self.add(next.last());
            *run = Some(next);
        }

        fn moves(&self) -> i64 {
            self.0
                .query_row("SELECT count(*) FROM moves", [], |row| row.get(0))
                .unwrap()
        }
    }

    fn order(rows: &[(f64, i64)]) -> Vec<i64> {
        rows.iter().map(|(_, rowid)| *rowid).collect()
    }

    #[test]
    fn a_key_is_in_the_middle_and_then_beside_the_last() {
        let first = between(1.0, 2.0, None).unwrap();
        assert_eq!(first.last(), 1.5);
        let second = between(1.0, 1.5, Some(first)).unwrap();
        assert_eq!(second.last(), 1.375);
        assert_eq!(between(1.0, 1.375, Some(second)).unwrap().last(), 1.328_125);
        // The other way, or elsewhere, is another run.
        assert_eq!(between(1.375, 1.5, Some(second)).unwrap().last(), 1.406_25);
        assert_eq!(between(3.0, 4.0, Some(second)).unwrap().last(), 3.5);
    }

    #[test]
    fn there_is_no_room_where_floats_end() {
        assert!(between(1.0, 1.0_f64.next_up(), None).is_none());
        assert!(between(0.0, 5e-324, None).is_none());
        assert!(between(-5e-324, 5e-324, None).is_none());
        assert!(between(f64::NEG_INFINITY, f64::INFINITY, None).is_none());
        assert!(between(f64::MIN, f64::MAX, None).is_none());
        assert!(between(0.0, LIMIT.next_up(), None).is_none());
        assert!(between(LIMIT - 2.0, LIMIT - 1.0, None).is_some());
    }

    #[test]
    fn only_the_neighbourhood_is_moved() {
        let mut keys: Vec<f64> = (1..=1000).map(f64::from).collect();
        keys.push(500.0_f64.next_up());
        let list = Keys::new(&keys);
        let before = list.rows();
        list.insert(500, &mut None);
        let after = list.rows();
        assert!(list.moves() <= 4, "{} moves", list.moves());
        assert_eq!(before[..490], after[..490]);
        assert_eq!(before[510..], after[511..]);
        assert_eq!(order(&after)[500], 1002);
    }

    /// The amortised cost, where it is worst: no two inserts form a run.
    #[test]
    fn moves_stay_few_however_often_one_place_is_used() {
        for place in [|_| 1, |n: usize| n + 1, |n: usize| 1 + n % 2] {
            let list = Keys::new(&[1.0, 2.0]);
            let count = 5_000;
            for n in 0..count {
                list.insert(place(n), &mut None);
            }
            let moves = list.moves() as f64 / count as f64;
            assert!(moves < 16.0, "{moves} moves for each insert");
        }
        let list = Keys::new(&[1.0, 2.0]);
        let mut run = None;
        for _ in 0..5_000 {
            list.insert(1, &mut run);
        }
        assert_eq!(list.moves(), 0, "one handle's inserts need no moves");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// Any keys, any places: SQLite refuses a key that is there twice, also
        /// for a moment; the order is checked here.
        #[test]
        fn order_is_kept(
            keys in prop::collection::btree_set(
                prop_oneof![
                    any::<f64>().prop_filter("a number", |key| !key.is_nan()),
                    -4.0..4.0,
                    (0_u64..50).prop_map(|n| f64::from_bits(1.0_f64.to_bits() + n)),
                    (0_u64..50).prop_map(f64::from_bits),
                    (0_u64..50).prop_map(|n| -f64::from_bits(n)),
                    (-50..50).prop_map(|n| LIMIT + f64::from(n)),
                ].prop_map(|key: f64| if key == 0.0 { 0 } else { key.to_bits() }),
                2..60,
            ),
            places in prop::collection::vec(any::<prop::sample::Index>(), 1..30),
        ) {
            let keys: Vec<f64> = keys.into_iter().map(f64::from_bits).collect();
            let list = Keys::new(&keys);
            let mut model = order(&list.rows());
            let mut run = None;
            for place in places {
                let place = 1 + place.index(model.len() - 1);
                list.insert(place, &mut run);
                model.insert(place, 1 + model.len() as i64);
                let rows = list.rows();
                prop_assert_eq!(&order(&rows), &model);
                let gap = rows[place + 1].0 - rows[place].0;
                prop_assert!(gap >= unit(rows[place].0), "a gap of {}", gap);
            }
        }
    }
}
