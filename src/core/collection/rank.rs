//! Several rankings as one: reciprocal rank fusion.
//!
//! What must stay true: scores are, bit for bit, those of the reference's
//! `rerank`; and [`Collection::hybrid_search`] sees one state of the database.

use super::document::{self, Document};
use super::text::{self, MatchOptions};
use super::vector::{self, Metric};
use super::{Collection, check_result_size, check_top_k};
use crate::error::{Error, Result};
use std::collections::HashMap;

/// A ranking to fuse.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// Ids, the best first.
    pub ids: Vec<String>,
    /// How much it counts: 1 is as much as any other.
    pub weight: f64,
}

/// Fuses rankings: each gives an id `weight / (k + rank)`, with the rank counted
/// from 0, and an id's score is the sum. Returns the ids with their scores, the
/// highest first; equal ones in the order in which they first come.
///
/// The larger `k` (the reference's default is 60), the less the first places
/// stand out.
///
/// # Errors
/// [`Error::InvalidArgument`] for a `k` of 0 or a weight that isn't finite.
pub fn rerank(rankings: &[Ranking], k: u32) -> Result<Vec<(String, f64)>> {
    if k == 0 {
        return Err(Error::InvalidArgument("k must be at least 1".into()));
    }
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut fused: Vec<(String, f64)> = Vec::new();
    for ranking in rankings {
        if !ranking.weight.is_finite() {
            return Err(Error::InvalidArgument(
                "a ranking's weight must be a finite number".into(),
            ));
        }
        for (rank, id) in ranking.ids.iter().enumerate() {
            let place = *places.entry(id).or_insert_with(|| {
                fused.push((id.clone(), 0.0));
                fused.len() - 1
            });
            // As the reference: a product, not a quotient, which rounds otherwise.
            fused[place].1 += ranking.weight * (1.0 / (f64::from(k) + rank as f64));
        }
    }
    fused.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(fused)
}

/// How to combine text and vector search.
#[derive(Clone, Debug, PartialEq)]
pub struct HybridOptions {
    /// The most documents to return.
    pub top_k: u32,
    /// How many documents of each search are fused; none: `top_k`.
    pub candidates: Option<u32>,
    /// As in [`MatchOptions`].
    pub on: Vec<String>,
    /// As in [`MatchOptions`].
    pub fuzziness: u32,
    /// As in [`Collection::search`].
    pub metric: Metric,
    /// How much the text search counts.
    pub text_weight: f64,
    /// How much the vector search counts.
    pub vector_weight: f64,
    /// As in [`rerank`].
    pub k: u32,
}

impl Default for HybridOptions {
    fn default() -> Self {
        Self {
            top_k: 10,
            candidates: None,
            on: Vec::new(),
            fuzziness: 0,
            metric: Metric::default(),
            text_weight: 1.0,
            vector_weight: 1.0,
            k: 60,
        }
    }
}

/// A document that a hybrid search found.
#[derive(Clone, Debug, PartialEq)]
pub struct FusedHit {
    /// The document.
    pub document: Document,
    /// Higher is better.
    pub score: f64,
    /// Its rank in the text search, from 0; none when it isn't among the candidates.
    pub text_rank: Option<u32>,
    /// Its rank in the vector search, from 0; none when it isn't among the candidates.
    pub vector_rank: Option<u32>,
}

impl Collection {
    /// Searches for a text and a vector at once and fuses the rankings with
    /// [`rerank`]: what `match_text` and `search` find, in one state of the database.
    ///
    /// # Errors
    /// As [`Collection::match_text`], [`Collection::search`] and [`rerank`].
    pub fn hybrid_search(
        &self,
        query: &str,
        vector: &[f32],
        options: &HybridOptions,
    ) -> Result<Vec<FusedHit>> {
        let top_k = check_top_k(options.top_k)?;
        let candidates = check_top_k(options.candidates.unwrap_or(options.top_k))?;
        text::check_query(query, options.fuzziness)?;
        vector::check_query(vector, options.metric)?;
        let name = self.name();
        let matching = MatchOptions {
            on: options.on.clone(),
            top_k: options.top_k,
            fuzziness: options.fuzziness,
        };
        self.database.read_snapshot(|connection| {
            let texts = text::ranking(connection, name, query, &matching, candidates)?;
            let vectors = vector::nearest(connection, name, vector, candidates, options.metric)?;
            let ranking = |found: Vec<(String, f64)>, weight| Ranking {
                ids: found.into_iter().map(|(id, _)| id).collect(),
                weight,
            };
            let rankings = [
                ranking(texts, options.text_weight),
                ranking(vectors, options.vector_weight),
            ];
            let ranks = rankings.each_ref().map(|ranking| {
                let ids = ranking.ids.iter().map(String::as_str);
                ids.zip(0..).collect::<HashMap<&str, u32>>()
            });
            let (mut hits, mut bytes) = (Vec::new(), 0);
            for (id, score) in rerank(&rankings, options.k)?.into_iter().take(top_k) {
                if let Some(document) = document::get(connection, name, &id)? {
                    bytes += document.size();
                    check_result_size(bytes, hits.len())?;
                    hits.push(FusedHit {
                        document,
                        score,
                        text_rank: ranks[0].get(id.as_str()).copied(),
                        vector_rank: ranks[1].get(id.as_str()).copied(),
                    });
                }
            }
            Ok(hits)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(ids: &[&str], weight: f64) -> Ranking {
        Ranking {
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            weight,
        }
    }

    #[test]
    fn scores_are_those_of_the_reference() {
        // Printed by the reference's formula in CPython 3.13.
        let fused = rerank(&[ranking(&["a", "b"], 0.7), ranking(&["b", "c"], 1.3)], 60).unwrap();
        let expected = [
            ("b", 0.03314207650273224),
            ("c", 0.021311475409836068),
            ("a", 0.011666666666666665),
        ];
        let fused: Vec<_> = fused
            .iter()
            .map(|(id, score)| (id.as_str(), *score))
            .collect();
        assert_eq!(fused, expected);
    }

    #[test]
    fn equal_scores_keep_the_order_in_which_they_come() {
        let fused = rerank(&[ranking(&["z"], 1.0), ranking(&["a"], 1.0)], 1).unwrap();
        assert_eq!(fused, [("z".to_owned(), 1.0), ("a".to_owned(), 1.0)]);
        assert_eq!(rerank(&[], 60).unwrap(), []);
        assert!(matches!(rerank(&[], 0), Err(Error::InvalidArgument(_))));
        for weight in [f64::NAN, f64::INFINITY] {
            assert!(rerank(&[ranking(&["a"], weight)], 60).is_err());
        }
    }
}
