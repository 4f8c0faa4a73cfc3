//! What a connection waits for, from the first look of a wait to its end.
//!
//! What must stay true: whoever has begun to watch ends it on every path, since
//! the next in turn waits for that.

use crate::database::Database;
use crate::runtime::Interest;

impl Database {
    /// Watches `interest` from now on, if the host doesn't know that already.
    pub(crate) fn watch(&self, interest: Option<Interest>) {
        let inner = &*self.inner;
        if inner.watched.replace(interest) != interest {
            inner.runtime.watch(&inner.connection, interest);
        }
    }

    /// A wait that has not begun to watch.
    pub(crate) fn watching(&self) -> Watching<'_> {
        Watching(self)
    }
}

/// Ends what it watches when dropped.
pub(crate) struct Watching<'a>(&'a Database);

impl Watching<'_> {
    /// Watches `topic`, as the next after those of this process who do already
    /// (`in_turn`), or whatever others do.
    pub(crate) fn topic(&self, topic: u64, in_turn: bool) {
        self.0.watch(Some(Interest {
            topic,
            turn: in_turn.then_some(0),
            claim: None,
        }));
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.watch(None);
    }
}

/// A place in an order of floats as one in an order of whole numbers.
pub(crate) fn turn(place: f64) -> u64 {
    let bits = place.to_bits();
    // The negative ones the other way round, and before the positive ones.
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

#[cfg(test)]
mod tests {
    use super::turn;

    #[test]
    fn turns_are_in_the_order_of_places() {
        let places = [
            f64::NEG_INFINITY,
            -1.0e15,
            -2.5,
            -0.0,
            0.0,
            1.0e-300,
            1.7e9,
            f64::INFINITY,
        ];
        assert!(places.is_sorted_by(|one, other| turn(*one) < turn(*other)));
    }
}
