//! Which commits of a database this process knows of: plain data.
//!
//! Commits are numbered by the database itself. One whose handle says what it
//! concerned wakes only those; a number that nobody has spoken for is somebody
//! else's commit, which may concern anybody.
//!
//! What must stay true: a commit that nobody spoke for is noticed at the next
//! look, whatever was announced in between. Noticing one too many (a
//! commit whose announcement is on its way) only costs somebody a look.

use std::collections::BTreeSet;

/// What was announced since the last look.
#[derive(Debug, Default)]
pub struct Commits {
    /// The last commit at the last look; none before the first.
    seen: Option<u32>,
    announced: BTreeSet<u32>,
}

impl Commits {
    /// Forgets everything: nobody waited for a while.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// Somebody who waits has looked, and `last` was the last commit then.
    pub fn start(&mut self, last: u32) {
        if self.seen.is_none() {
            self.seen = Some(last);
            self.announced.retain(|number| is_after(*number, last));
        }
    }

    /// The handle that committed `number` has said what it concerned.
    pub fn announce(&mut self, number: u32) {
        // Late: a look has counted it already, for somebody else's.
        if self.seen.is_none_or(|seen| is_after(number, seen)) {
            self.announced.insert(number);
        }
    }

    /// Looks: whether anything was committed that nobody spoke for. `last` is the
    /// last commit now.
    pub fn look(&mut self, last: u32) -> bool {
        let Some(seen) = self.seen.replace(last) else {
            self.announced.clear();
            return true;
        };
        if last != seen && !is_after(last, seen) {
            // What was recovered, or folded into the database, starts over.
            self.announced.clear();
            return true;
        }
        let before = self.announced.len();
        self.announced.retain(|number| is_after(*number, last));
        let known = before - self.announced.len();
        u32::try_from(known) != Ok(last.wrapping_sub(seen))
    }
}

/// Numbers wrap round.
fn is_after(number: u32, other: u32) -> bool {
    (1..1 << 31).contains(&number.wrapping_sub(other))
}

#[cfg(test)]
mod tests {
    use super::Commits;

    fn started(last: u32) -> Commits {
        let mut commits = Commits::default();
        commits.start(last);
        commits
    }

    #[test]
    fn only_what_nobody_spoke_for_is_somebody_elses() {
        let mut commits = started(7);
        assert!(!commits.look(7));
        commits.announce(8);
        commits.announce(9);
        assert!(!commits.look(9));
        assert!(commits.look(10));
        commits.announce(12);
        assert!(commits.look(12), "11 was not announced");
        assert!(!commits.look(12));
    }

    #[test]
    fn an_announcement_between_two_looks_hides_nothing_before_it() {
        let mut commits = started(0);
        // Somebody else's 1, then ours, then somebody else's 3.
        commits.announce(2);
        assert!(commits.look(2));
        assert!(commits.look(3));
    }

    #[test]
    fn an_announcement_ahead_of_the_look_counts_later() {
        let mut commits = started(0);
        commits.announce(1);
        commits.announce(2);
        // The number was read before the second commit.
        assert!(!commits.look(1));
        assert!(!commits.look(2));
    }

    #[test]
    fn a_late_announcement_hides_nothing_after_it() {
        let mut commits = started(0);
        assert!(commits.look(1), "its announcement is on its way");
        commits.announce(1);
        assert!(commits.look(2));
    }

    #[test]
    fn what_was_announced_before_the_first_look_counts_only_after_it() {
        let mut commits = Commits::default();
        for number in [3, 4, 5] {
            commits.announce(number);
        }
        commits.start(4);
        assert!(!commits.look(5));
        assert!(commits.look(6));
    }

    #[test]
    fn numbers_wrap_and_start_over() {
        let mut commits = started(u32::MAX);
        commits.announce(0);
        assert!(!commits.look(0));
        assert!(commits.look(1));
        let mut commits = started(1000);
        assert!(commits.look(3), "recovered: the count began again");
        commits.announce(4);
        assert!(!commits.look(4));
    }

    #[test]
    fn the_first_look_of_all_knows_nothing() {
        let mut commits = Commits::default();
        commits.announce(1);
        assert!(commits.look(1));
        assert!(!commits.look(1));
    }
}
