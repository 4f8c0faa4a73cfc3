//! Whether a manager's locks let a write pass.

use crate::options::GuardMode;

/// What a write sees of its manager's locks, in its own transaction.
pub(crate) struct Seen<'a> {
    /// Somebody has a living row for the manager's lock.
    pub(crate) taken: bool,
    /// The grant that the writer means to have is there.
    pub(crate) owned: bool,
    /// Some grant of the manager's lock is there, expired or not.
    pub(crate) granted: bool,
    /// Who has the head of the internal lock: a method of Python's, or a write
    /// that waited for one.
    pub(crate) under_way: Option<&'a str>,
}

/// What the writer brings.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) guard_mode: GuardMode,
    /// Whether it means to have the manager's lock.
    pub(crate) has_lease: bool,
    /// Its row of the internal lock.
    pub(crate) internal: Option<&'a str>,
    /// Whether it minds a method that is under way.
    pub(crate) minds_methods: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Write.
    Open,
    /// Write, but delete the lock's grant first: its holder is past its time, and
    /// this write goes before whatever it still means to write.
    FenceOff,
    /// The grant is gone.
    Lost,
    /// Somebody holds or awaits the manager's lock.
    Public,
    /// A Python method is under way.
    Internal,
}

impl Pass<'_> {
    pub(crate) fn judge(&self, seen: &Seen<'_>) -> Verdict {
        let mandatory = self.guard_mode == GuardMode::Mandatory;
        if self.has_lease && !seen.owned {
            return Verdict::Lost;
        }
        if !self.has_lease && seen.taken && mandatory {
            return Verdict::Public;
        }
        if self.minds_methods && seen.under_way.is_some() && seen.under_way != self.internal {
            return Verdict::Internal;
        }
        if !self.has_lease && seen.granted && mandatory {
            return Verdict::FenceOff;
        }
        Verdict::Open
    }
}
