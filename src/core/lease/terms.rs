//! The terms on which a waiter wants its lock, in its row's id, so that whoever
//! gives the lock back can grant it.
//!
//! What must stay true: an id without terms, or with some that can't be read, says
//! nothing and is left alone. The terms come after the last colon, so that all ids
//! of a connection still have the same beginning.

use super::Fencing;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) ttl: Duration,
    pub(super) fencing: Fencing,
}

impl Terms {
    /// The id with these terms.
    pub(super) fn add_to(self, waiter_id: &str) -> String {
        let fenced = match self.fencing {
            Fencing::With => "f",
            Fencing::Without => "w",
        };
        format!("{waiter_id}+{}{fenced}", self.ttl.as_nanos())
    }

    pub(super) fn of(waiter_id: &str) -> Option<Self> {
        let (_, terms) = waiter_id.rsplit_once('+')?;
        let (nanoseconds, fencing) = match terms.strip_suffix('f') {
            Some(nanoseconds) => (nanoseconds, Fencing::With),
            None => (terms.strip_suffix('w')?, Fencing::Without),
        };
        // Longer than 584 years is as good as that.
        let nanoseconds: u128 = nanoseconds.parse().ok()?;
        let ttl = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        (!ttl.is_zero()).then_some(Self { ttl, fencing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_come_back_and_anything_else_says_nothing() {
        for (ttl, fencing) in [
            (Duration::from_nanos(1), Fencing::With),
            (Duration::from_secs(60), Fencing::Without),
        ] {
            let terms = Terms { ttl, fencing };
            assert_eq!(Terms::of(&terms.add_to("live:00ff:7")), Some(terms));
        }
        let ever = Terms {
            ttl: Duration::MAX,
            fencing: Fencing::With,
        };
        let read = Terms::of(&ever.add_to("live:00ff:7")).unwrap();
        assert_eq!(read.ttl, Duration::from_nanos(u64::MAX));
        for id in [
            "live:00ff:7",
            "pid:1:id:2",
            "x+",
            "x+f",
            "x+0f",
            "x+5",
            "x+-5f",
            "+ f",
            "x+9x",
        ] {
            assert_eq!(Terms::of(id), None, "{id}");
        }
    }
}
