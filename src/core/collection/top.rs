//! The best of many in bounded memory.

use std::collections::{BTreeSet, HashMap};

/// A score in its place: numbers in their order, lower first.
#[derive(Clone, Copy, Debug)]
struct Score(f64);

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Keeps the `limit` documents with the lowest scores; equal scores in order of
/// their ids. A document that is offered several times counts once, with its best.
#[derive(Debug)]
pub(super) struct Top {
    limit: usize,
    /// The worst score kept, once there are `limit`.
    bar: f64,
    ranking: BTreeSet<(Score, String)>,
    scores: HashMap<String, f64>,
}

impl Top {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            bar: f64::INFINITY,
            ranking: BTreeSet::new(),
            scores: HashMap::new(),
        }
    }

    /// Offers a document. A score that is not a number has no place.
    pub(super) fn offer(&mut self, score: f64, id: &str) {
        // Mostly the answer: one comparison, no allocation.
        if score.is_nan() || score > self.bar {
            return;
        }
        // The two zeros are equal.
        let score = score + 0.0;
        match self.scores.get(id) {
            Some(&known) if known <= score => return,
            Some(&known) => {
                self.ranking.remove(&(Score(known), id.to_owned()));
            }
            None => {}
        }
        self.ranking.insert((Score(score), id.to_owned()));
        self.scores.insert(id.to_owned(), score);
        if self.ranking.len() > self.limit
            && let Some((_, dropped)) = self.ranking.pop_last()
        {
            self.scores.remove(&dropped);
        }
        if self.ranking.len() == self.limit
            && let Some((Score(worst), _)) = self.ranking.last()
        {
            self.bar = *worst;
        }
    }

    /// The best first.
    pub(super) fn into_ranking(self) -> Vec<(String, f64)> {
        self.ranking
            .into_iter()
            .map(|(Score(score), id)| (id, score))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keeps_what_sorting_everything_would(
            limit in 1..6_usize,
            offers in prop::collection::vec((-3..4_i8, "[a-h]"), 0..40),
        ) {
            let mut top = Top::new(limit);
            let mut best: HashMap<String, f64> = HashMap::new();
            for (score, id) in offers {
                let score = f64::from(score);
                top.offer(score, &id);
                let known = best.entry(id).or_insert(score);
                *known = known.min(score);
            }
            let mut expected: Vec<_> = best.into_iter().collect();
            expected.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
            expected.truncate(limit);
            prop_assert_eq!(top.into_ranking(), expected);
        }
    }

    #[test]
    fn infinity_has_the_last_place_and_not_a_number_none() {
        let mut top = Top::new(3);
        for (score, id) in [
            (f64::NAN, "n"),
            (f64::INFINITY, "i"),
            (-0.0, "b"),
            (0.0, "a"),
        ] {
            top.offer(score, id);
        }
        let ids: Vec<_> = top.into_ranking().into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["a", "b", "i"]);
    }
}
