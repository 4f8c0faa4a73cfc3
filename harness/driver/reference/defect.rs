//! What can be wrong with a store, on purpose.
//!
//! What must stay true: a defect strikes by counting its opportunities, never by a clock, so
//! that a store with a defect is as wrong on a slow machine as on a fast one.

use serde_json::Value;
use std::collections::HashMap;

macro_rules! defects {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Something that is wrong with a reference store on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Defect {
            $($(#[$doc])* $variant,)*
        }

        impl Defect {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name, for people.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

defects! {
    /// A value that was set is not there, as if a concurrent one had gone over it.
    LostUpdate = "lost-update",
    /// A read gives what was there before the last write.
    StaleRead = "stale-read",
    /// A write says that it definitely did not happen, and did.
    DeniedWrite = "denied-write",
    /// A blob is half the new one and half the old one.
    TornBlob = "torn-blob",
    /// An item is taken and stays.
    QueueDuplicates = "queue-duplicates",
    /// An item is put and isn't there.
    QueueLoses = "queue-loses",
    /// The last item is taken instead of the first.
    QueueUnordered = "queue-unordered",
    /// An item in the middle of a batch is left for somebody else.
    TornBatch = "torn-batch",
    /// A batch has an item less than it should.
    ShortBatch = "short-batch",
    /// A batch that isn't whole in time takes an item all the same.
    PartialBatch = "partial-batch",
    /// An item is inserted one place too late.
    ListMisplaces = "list-misplaces",
    /// A document is found by its id but not by its words.
    HalfIndexed = "half-indexed",
    /// A document is dropped and still found by its words.
    HalfDropped = "half-dropped",
    /// A value is appended before the last one.
    LogOutOfOrder = "log-out-of-order",
    /// A value is appended and isn't there.
    LogLoses = "log-loses",
    /// A subscriber misses a value.
    ChannelDrops = "channel-drops",
    /// A subscriber gets a value twice.
    ChannelDuplicates = "channel-duplicates",
    /// What a transaction writes is seen before it commits.
    DirtyRead = "dirty-read",
    /// A transaction that is rolled back leaves its first write.
    HalfRollback = "half-rollback",
    /// Transactions read a snapshot and don't see each other: nobody looks for conflicts.
    SnapshotOnly = "snapshot-only",
    /// Two operations get each other's places in commit order.
    WrongCommitNumber = "wrong-commit-number",
    /// A lock that is held is granted again.
    SharedLock = "shared-lock",
    /// A waiter goes before all others.
    LifoGrants = "lifo-grants",
    /// The time to live counts from the request.
    TtlFromRequest = "ttl-from-request",
    /// A grant doesn't end.
    TtlIgnored = "ttl-ignored",
    /// A renewal says yes and changes nothing.
    RenewIgnored = "renew-ignored",
    /// Who lost a lock writes as if it had it.
    SilentStaleWrite = "silent-stale-write",
    /// A fencing token is given twice.
    TokenRepeats = "token-repeats",
    /// A lock doesn't bind those who don't take it.
    AdvisoryLock = "advisory-lock",
    /// A waiter isn't told that it is its turn.
    LostWakeUp = "lost-wake-up",
    /// A waiter whose time is over keeps its place.
    LeftBehind = "left-behind",
    /// One more is counted in the line than stands there.
    CountsTooMany = "counts-too-many",
    /// Nobody is counted in the line, whoever stands there.
    CountsNobody = "counts-nobody",
    /// A client that is no more keeps its locks.
    DeadHolder = "dead-holder",
    /// A wait ends when half its time has passed.
    EarlyTimeout = "early-timeout",
    /// A wait ends four seconds late.
    LateTimeout = "late-timeout",
    /// An operation isn't answered.
    Hangs = "hangs",
    /// An operation fails for no reason.
    OddError = "odd-error",
}

/// Decides when a defect strikes.
#[derive(Debug, Default)]
pub(super) struct Sabotage {
    defect: Option<Defect>,
    every: u64,
    opportunities: u64,
    /// For stale reads: what was there before.
    before: HashMap<(String, String), Value>,
    /// For wrong commit numbers: what the next one gets.
    swapped: Option<u64>,
}

impl Sabotage {
    /// Strikes at every `every`-th opportunity.
    pub(super) fn new(defect: Defect, every: u64) -> Self {
        Self {
            defect: Some(defect),
            every: every.max(1),
            ..Self::default()
        }
    }

    /// Whether it is this defect's turn, at an opportunity for it.
    pub(super) fn strikes(&mut self, defect: Defect) -> bool {
        if self.defect != Some(defect) {
            return false;
        }
        self.opportunities += 1;
        self.opportunities.is_multiple_of(self.every)
    }

    /// A key is about to be written.
    pub(super) fn note_before(&mut self, name: &str, key: &str, value: Option<&Value>) {
        if self.defect == Some(Defect::StaleRead) {
            let before = value.cloned().unwrap_or(Value::Null);
            self.before
                .insert((name.to_owned(), key.to_owned()), before);
        }
    }

    /// What a read of the key gives instead of the truth.
    pub(super) fn stale(&mut self, name: &str, key: &str) -> Option<Value> {
        let before = self.before.get(&(name.to_owned(), key.to_owned()))?.clone();
        self.strikes(Defect::StaleRead).then_some(before)
    }

    /// What is said of a place in commit order.
    pub(super) fn commit_number(&mut self, right: u64) -> u64 {
        if let Some(swapped) = self.swapped.take() {
            return swapped;
        }
        if self.strikes(Defect::WrongCommitNumber) {
            self.swapped = Some(right);
            return right + 1;
        }
        right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defect_strikes_by_counting() {
        let mut sabotage = Sabotage::new(Defect::LogLoses, 3);
        let struck: Vec<bool> = (0..6).map(|_| sabotage.strikes(Defect::LogLoses)).collect();
        assert_eq!(struck, [false, false, true, false, false, true]);
        assert!(!sabotage.strikes(Defect::QueueLoses));
        assert!(!Sabotage::default().strikes(Defect::LogLoses));
        let mut swap = Sabotage::new(Defect::WrongCommitNumber, 2);
        let said: Vec<u64> = (1..6).map(|right| swap.commit_number(right)).collect();
        assert_eq!(said, [1, 3, 2, 4, 6]);
    }
}
