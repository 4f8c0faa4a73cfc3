//! Who waits for which change of a database, and who is to be woken by it:
//! plain data, without a system call.
//!
//! A watcher has a topic, and perhaps a turn among those with the same topic. A
//! change of the topic then concerns only the one whose turn it is (the
//! foremost); the others sleep on, so that a change costs the same however many
//! there are.
//!
//! What must stay true:
//! - **The foremost knows.** Whoever becomes the foremost is told so once, since
//!   what was said before was said to another.
//! - **Who is overtaken knows.** Turns grow as places are taken. So a newcomer proves that
//!   those with later turns have no place any more: they were granted what they wait for, or
//!   removed. They are told, since from now on what concerned them may be said to the
//!   newcomer. (Of those with the same turn anybody may take what there is.)
//! - **Awake or told.** A watcher that isn't waiting misses nothing that a commit
//!   says: it compares tokens when it next waits. What no token shows (it became
//!   the foremost, a claim ended) is kept for it.
//! - A waiter's source is also its future's, so that dropping it here never closes a file.
//! - Whoever is told something is told by a waker that the caller wakes after it
//!   let go of the mutex around this.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::task::Waker;
use std::time::{Duration, Instant};

/// What a handle waits for; see the WIT's `interest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// What has to change.
    pub topic: u64,
    /// Its place among those that wait for the same.
    pub turn: Option<u64>,
    /// Whose end concerns it too.
    pub claim: Option<u64>,
}

/// How long the foremost may take to look after it was woken. Then the next one is
/// woken too: its host may have stopped to poll it.
const STALLED_AFTER: Duration = Duration::from_millis(20);

/// A watcher; lower came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatcherId(u64);

#[derive(Debug)]
struct Watcher<S> {
    /// None: any change concerns it.
    interest: Option<Interest>,
    wait: Option<Wait<S>>,
    /// Something that no token shows has happened since it last waited.
    news: bool,
    /// When it was woken, until it waits again.
    woken_at: Option<Instant>,
    /// It did not react; the next one is asked instead.
    stalled: bool,
}

#[derive(Debug)]
struct Wait<S> {
    waker: Waker,
    source: S,
}

#[derive(Debug, Default)]
struct Topic {
    everyone: BTreeSet<WatcherId>,
    turns: BTreeSet<(u64, WatcherId)>,
}

/// What a watcher that begins to wait has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Not wait: there is news.
    News,
    /// Compare the token, as a change since the last look concerns it.
    Compare,
    /// Only wait: it isn't its turn.
    Wait,
}

/// All watchers of one database in this process. `S` is where a waiter's token
/// is read.
#[derive(Debug)]
pub struct Watchers<S> {
    next: u64,
    watchers: BTreeMap<WatcherId, Watcher<S>>,
    topics: BTreeMap<u64, Topic>,
    /// Those whom any change concerns.
    any: BTreeSet<WatcherId>,
    waiting: BTreeSet<WatcherId>,
}

impl<S> Default for Watchers<S> {
    fn default() -> Self {
        Self {
            next: 0,
            watchers: BTreeMap::new(),
            topics: BTreeMap::new(),
            any: BTreeSet::new(),
            waiting: BTreeSet::new(),
        }
    }
}

impl<S: Clone> Watchers<S> {
    /// A new watcher, which doesn't wait yet.
    pub fn join(
        &mut self,
        interest: Option<Interest>,
        now: Instant,
        wakers: &mut Vec<Waker>,
    ) -> WatcherId {
        let id = WatcherId(self.next);
        self.next += 1;
        self.watchers.insert(
            id,
            Watcher {
                interest,
                wait: None,
                news: false,
                woken_at: None,
                stalled: false,
            },
        );
        self.enter(id, interest, now, wakers);
        id
    }

    /// Waits for something else from now on. With the same topic and turn it
    /// keeps its place.
    #[must_use = "wake these, after letting go of the watchers"]
    pub fn change(&mut self, id: WatcherId, interest: Interest, now: Instant) -> Vec<Waker> {
        let mut wakers = Vec::new();
        let Some(watcher) = self.watchers.get_mut(&id) else {
            return wakers;
        };
        let old = watcher.interest.replace(interest);
        let place = |interest: Interest| (interest.topic, interest.turn);
        if old.map(place) != Some(place(interest)) {
            self.exit(id, old, now, &mut wakers);
            self.enter(id, Some(interest), now, &mut wakers);
        }
        wakers
    }

    /// Leaves for good. Nothing happens when already gone.
    #[must_use = "wake these, after letting go of the watchers"]
    pub fn leave(&mut self, id: WatcherId, now: Instant) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if let Some(watcher) = self.watchers.get(&id) {
            self.exit(id, watcher.interest, now, &mut wakers);
            self.waiting.remove(&id);
            self.watchers.remove(&id);
        }
        wakers
    }

    fn enter(
        &mut self,
        id: WatcherId,
        interest: Option<Interest>,
        now: Instant,
        wakers: &mut Vec<Waker>,
    ) {
        let Some(interest) = interest else {
            self.any.insert(id);
            return;
        };
        let topic = self.topics.entry(interest.topic).or_default();
        let Some(turn) = interest.turn else {
            topic.everyone.insert(id);
            return;
        };
        topic.turns.insert((turn, id));
        let behind = topic
            .turns
            .range((Excluded((turn, WatcherId(u64::MAX))), Unbounded));
        let behind: Vec<_> = behind.map(|(_, id)| *id).collect();
        for id in behind {
            self.tell(id, true, now, wakers);
        }
    }

    fn exit(
        &mut self,
        id: WatcherId,
        interest: Option<Interest>,
        now: Instant,
        wakers: &mut Vec<Waker>,
    ) {
        let Some(interest) = interest else {
            self.any.remove(&id);
            return;
        };
        let was_foremost = self.foremost(interest.topic) == Some(id);
        let Some(topic) = self.topics.get_mut(&interest.topic) else {
            return;
        };
        match interest.turn {
            Some(turn) => topic.turns.remove(&(turn, id)),
            None => topic.everyone.remove(&id),
        };
        if topic.turns.is_empty() && topic.everyone.is_empty() {
            self.topics.remove(&interest.topic);
        } else if was_foremost && let Some(next) = self.foremost(interest.topic) {
            self.tell(next, true, now, wakers);
        }
    }

    /// The first in turn that reacts.
    fn foremost(&self, topic: u64) -> Option<WatcherId> {
        let turns = &self.topics.get(&topic)?.turns;
        let reacts = |id: &WatcherId| self.watchers.get(id).is_some_and(|w| !w.stalled);
        turns.iter().map(|(_, id)| *id).find(reacts)
    }

    /// Whether a change of what it waits for is for it to look at.
    fn concerns(&self, id: WatcherId) -> bool {
        match self.watchers.get(&id).and_then(|watcher| watcher.interest) {
            Some(interest) if interest.turn.is_some() => self.foremost(interest.topic) == Some(id),
            _ => true,
        }
    }

    /// Begins to wait. The wait is over when [`Watchers::is_waiting`] says so.
    pub fn begin(&mut self, id: WatcherId, waker: Waker, source: S) -> Begin {
        let Some(watcher) = self.watchers.get_mut(&id) else {
            return Begin::News;
        };
        watcher.woken_at = None;
        watcher.stalled = false;
        if std::mem::take(&mut watcher.news) {
            return Begin::News;
        }
        watcher.wait = Some(Wait { waker, source });
        self.waiting.insert(id);
        if self.concerns(id) {
            Begin::Compare
        } else {
            Begin::Wait
        }
    }

    /// Whether it waits still; then `waker` is woken from now on.
    pub fn is_waiting(&mut self, id: WatcherId, waker: &Waker) -> bool {
        let wait = self.watchers.get_mut(&id).and_then(|w| w.wait.as_mut());
        match wait {
            Some(wait) => {
                wait.waker.clone_from(waker);
                true
            }
            None => false,
        }
    }

    /// Stops to wait, told or not. `looks`: whoever waited will look now.
    pub fn end(&mut self, id: WatcherId, looks: bool) {
        self.waiting.remove(&id);
        if let Some(watcher) = self.watchers.get_mut(&id) {
            let was_told = watcher.wait.take().is_none();
            // Its host polls it, whatever it does next.
            watcher.woken_at = None;
            // Perhaps of something that no token shows: it was dropped, or its
            // deadline came, just when it was woken.
            watcher.news |= was_told && !looks;
        }
    }

    fn tell(&mut self, id: WatcherId, is_news: bool, now: Instant, wakers: &mut Vec<Waker>) {
        let Some(watcher) = self.watchers.get_mut(&id) else {
            return;
        };
        match watcher.wait.take() {
            Some(wait) => {
                self.waiting.remove(&id);
                watcher.woken_at = Some(now);
                wakers.push(wait.waker);
            }
            None => watcher.news |= is_news,
        }
    }

    /// Tells whom a change of `topic` concerns.
    pub fn tell_topic(&mut self, topic: u64, now: Instant, wakers: &mut Vec<Waker>) {
        let mut told: Vec<WatcherId> = self.any.iter().copied().collect();
        told.extend(self.foremost(topic));
        if let Some(topic) = self.topics.get(&topic) {
            told.extend(&topic.everyone);
        }
        for id in told {
            self.tell(id, false, now, wakers);
        }
    }

    /// Tells of a change that may concern any topic.
    pub fn tell_all(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        for id in self.concerned() {
            self.tell(id, false, now, wakers);
        }
    }

    /// The waiting ones that a change of their topic concerns.
    fn concerned(&self) -> Vec<WatcherId> {
        let mut concerned: Vec<WatcherId> = self.any.iter().copied().collect();
        for (number, topic) in &self.topics {
            concerned.extend(&topic.everyone);
            concerned.extend(self.foremost(*number));
        }
        concerned
    }

    /// The claims whose end concerns somebody who waits, and where to ask.
    pub fn claims(&self) -> Vec<(u64, S)> {
        let claim = |id: WatcherId| {
            let watcher = self.watchers.get(&id)?;
            let claim = watcher.interest?.claim?;
            Some((claim, watcher.wait.as_ref()?.source.clone()))
        };
        self.concerned().into_iter().filter_map(claim).collect()
    }

    /// Tells those whom the end of a claim concerns.
    pub fn tell_claims(
        &mut self,
        has_ended: impl Fn(u64) -> bool,
        now: Instant,
        wakers: &mut Vec<Waker>,
    ) {
        for id in self.concerned() {
            let interest = self.watchers.get(&id).and_then(|w| w.interest);
            let claim = interest.and_then(|interest| interest.claim);
            if claim.is_some_and(&has_ended) {
                self.tell(id, true, now, wakers);
            }
        }
    }

    /// Passes over those who were woken and did not react: the next in turn is told.
    pub fn pass_over(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        let stalled: Vec<_> = self
            .topics
            .keys()
            .filter_map(|topic| Some((*topic, self.foremost(*topic)?)))
            .filter(|(_, id)| {
                let woken_at = self.watchers.get(id).and_then(|w| w.woken_at);
                woken_at.is_some_and(|at| now.saturating_duration_since(at) >= STALLED_AFTER)
            })
            .collect();
        for (topic, id) in stalled {
            if let Some(watcher) = self.watchers.get_mut(&id) {
                watcher.stalled = true;
            }
            if let Some(next) = self.foremost(topic) {
                self.tell(next, true, now, wakers);
            }
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Where some waiter's token is read.
    pub fn any_source(&self) -> Option<S> {
        let id = self.waiting.first()?;
        let wait = self.watchers.get(id)?.wait.as_ref()?;
        Some(wait.source.clone())
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.watchers.is_empty()
            && self.topics.is_empty()
            && self.any.is_empty()
            && self.waiting.is_empty()
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
