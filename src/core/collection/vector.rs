//! Exact nearest neighbours: every vector of the collection is compared.
//!
//! What must stay true: a vector is stored as little-endian `f32`, as NumPy
//! does; those of a collection have one number of dimensions. What isn't so in
//! the table (only others can have written it) is passed over, never an error
//! and never in a result.
//!
//! The sums run over chunks of [`LANES`] components without dependencies
//! between them, which LLVM turns into vector instructions. Such a sum of `f32`
//! is exact to about six digits, as NumPy's is; where it overflows or
//! vanishes, it is made again in `f64`.

use super::top::Top;
use super::{Collection, Hit, check_top_k, hits};
use crate::error::{Error, Result};
use rusqlite::{Connection, OptionalExtension as _};

/// The most dimensions of an embedding.
pub const MAX_DIMENSIONS: usize = 65_536;

const LANES: usize = 16;

/// How far two vectors are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// The squared Euclidean distance, which the reference uses.
    #[default]
    L2,
    /// 1 minus the cosine of the angle: 0 for the same direction, 1 at right
    /// angles (and for a vector of zeros, which has no direction), 2 for opposites.
    Cosine,
}

impl Collection {
    /// The `top_k` documents whose embeddings are nearest to `vector`, nearest
    /// first; equal distances in order of the ids. The score is the distance.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when `top_k` isn't 1 to
    /// [`MAX_TOP_K`](crate::MAX_TOP_K), for a `vector` with another number of
    /// dimensions than the collection's, a component that isn't finite, or zeros
    /// alone with [`Metric::Cosine`]; and what reading may report.
    pub fn search(&self, vector: &[f32], top_k: u32, metric: Metric) -> Result<Vec<Hit>> {
        let limit = check_top_k(top_k)?;
        check_query(vector, metric)?;
        self.database.read_snapshot(|connection| {
            let ranking = nearest(connection, self.name(), vector, limit, metric)?;
            hits(connection, self.name(), ranking)
        })
    }
}

pub(super) fn check_query(vector: &[f32], metric: Metric) -> Result<()> {
    check(vector)?;
    if metric == Metric::Cosine && vector.iter().all(|component| *component == 0.0) {
        return Err(Error::InvalidArgument(
            "a vector of zeros has no direction to compare".into(),
        ));
    }
    Ok(())
}

/// The ids and distances of the `limit` nearest documents. The query is checked.
pub(super) fn nearest(
    connection: &Connection,
    name: &str,
    vector: &[f32],
    limit: usize,
    metric: Metric,
) -> Result<Vec<(String, f64)>> {
    let mut top = Top::new(limit);
    let norm = dot_exact(vector.iter().map(|&x| (x, x)));
    let (mut compared, mut other) = (false, None);
    let mut statement = connection.prepare_cached(
        "SELECT item_id, item_vector FROM beaver_collections
         WHERE collection = ?1 AND item_vector IS NOT NULL",
    )?;
    let mut rows = statement.query([name])?;
    while let Some(row) = rows.next()? {
        let (stored, rest) = row
            .get_ref(1)?
            .as_blob()
            .unwrap_or_default()
            .as_chunks::<4>();
        if !rest.is_empty() || stored.len() != vector.len() {
            other = other.or((!stored.is_empty()).then_some(stored.len()));
            continue;
        }
        compared = true;
        let distance = match metric {
            Metric::L2 => squared_l2(vector, stored),
            Metric::Cosine => cosine(vector, norm, stored),
        };
        if let Ok(id) = row.get_ref(0)?.as_str() {
            top.offer(distance, id);
        }
    }
    match other {
        Some(dimensions) if !compared => Err(mismatch(vector.len(), dimensions)),
        _ => Ok(top.into_ranking()),
    }
}

/// A vector as it is stored.
pub(super) fn stored(vector: &[f32]) -> Result<Vec<u8>> {
    check(vector)?;
    Ok(vector.iter().flat_map(|x| x.to_le_bytes()).collect())
}

/// A stored vector; no bytes are none, as to the reference. None at all when
/// the bytes aren't a vector.
pub(super) fn loaded(bytes: &[u8]) -> Option<Option<Vec<f32>>> {
    let (components, rest) = bytes.as_chunks::<4>();
    let vector: Vec<_> = components.iter().map(|x| f32::from_le_bytes(*x)).collect();
    rest.is_empty()
        .then(|| (!vector.is_empty()).then_some(vector))
}

fn check(vector: &[f32]) -> Result<()> {
    if vector.is_empty() || vector.len() > MAX_DIMENSIONS {
        return Err(Error::InvalidArgument(format!(
            "a vector has 1 to {MAX_DIMENSIONS} dimensions; this one has {}",
            vector.len()
        )));
    }
    match vector.iter().position(|component| !component.is_finite()) {
        Some(at) => Err(Error::InvalidArgument(format!(
            "component {at} of the vector isn't a finite number"
        ))),
        None => Ok(()),
    }
}

/// Whether a stored vector has as many dimensions as the collection's others.
/// Also the one that it replaces counts: processes of the reference that are
/// running accept no other number.
pub(super) fn check_dimensions(connection: &Connection, name: &str, vector: &[u8]) -> Result<()> {
    let length: Option<i64> = connection
        .prepare_cached(
            "SELECT length(item_vector) FROM beaver_collections
             WHERE collection = ?1 AND item_vector IS NOT NULL AND length(item_vector) > 0 LIMIT 1",
        )?
        .query_row([name], |row| row.get(0))
        .optional()?;
    match length {
        Some(length) if length != vector.len() as i64 => {
            Err(mismatch(vector.len() / 4, length as usize / 4))
        }
        _ => Ok(()),
    }
}

fn mismatch(given: usize, expected: usize) -> Error {
    Error::InvalidArgument(format!(
        "the vector has {given} dimensions, those of the collection have {expected}"
    ))
}

/// The sum of what `term` makes of each pair of components.
fn sum_pairs(query: &[f32], stored: &[[u8; 4]], term: impl Fn(f32, f32) -> f32) -> f64 {
    let (query_chunks, query_rest) = query.as_chunks::<LANES>();
    let (stored_chunks, stored_rest) = stored.as_chunks::<LANES>();
    let mut lanes = [0_f32; LANES];
    for (q, s) in query_chunks.iter().zip(stored_chunks) {
        for ((lane, q), s) in lanes.iter_mut().zip(q).zip(s) {
            *lane += term(*q, f32::from_le_bytes(*s));
        }
    }
    let rest = query_rest.iter().zip(stored_rest);
    let rest = rest.map(|(q, s)| f64::from(term(*q, f32::from_le_bytes(*s))));
    lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>() + rest.sum::<f64>()
}

/// Whether a sum of products of `f32` may be trusted.
fn is_sound(sum: f64) -> bool {
    sum.is_finite() && sum.abs() > 1e-30
}

fn pairs<'a>(query: &'a [f32], stored: &'a [[u8; 4]]) -> impl Iterator<Item = (f32, f32)> + 'a {
    query
        .iter()
        .zip(stored)
        .map(|(q, s)| (*q, f32::from_le_bytes(*s)))
}

fn dot_exact(pairs: impl Iterator<Item = (f32, f32)>) -> f64 {
    pairs.map(|(a, b)| f64::from(a) * f64::from(b)).sum()
}

fn squared_l2(query: &[f32], stored: &[[u8; 4]]) -> f64 {
    let sum = sum_pairs(query, stored, |q, s| (q - s) * (q - s));
    if is_sound(sum) {
        return sum;
    }
    pairs(query, stored)
        .map(|(q, s)| (f64::from(q) - f64::from(s)).powi(2))
        .sum()
}

fn cosine(query: &[f32], query_norm: f64, stored: &[[u8; 4]]) -> f64 {
    let mut dot = sum_pairs(query, stored, |q, s| q * s);
    let mut norm = sum_pairs(query, stored, |_, s| s * s);
    if !is_sound(dot) || !is_sound(norm) {
        dot = dot_exact(pairs(query, stored));
        norm = dot_exact(pairs(query, stored).map(|(_, s)| (s, s)));
    }
    if norm == 0.0 {
        return 1.0;
    }
    (1.0 - dot / (query_norm.sqrt() * norm.sqrt())).clamp(0.0, 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunks(bytes: &[u8]) -> &[[u8; 4]] {
        bytes.as_chunks().0
    }

    proptest! {
        #[test]
        fn distances_are_those_of_the_definition(
            (a, b) in (1..70_usize).prop_flat_map(|n| {
                let component = prop_oneof![-1e3..1e3_f32, any::<f32>().prop_filter("finite", |x| x.is_finite())];
                (prop::collection::vec(component.clone(), n), prop::collection::vec(component, n))
            }),
        ) {
            let stored = stored(&b).unwrap();
            prop_assert_eq!(loaded(&stored).flatten().unwrap(), b.clone());
            let wide = |v: &[f32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
            let (x, y) = (wide(&a), wide(&b));
            let l2: f64 = x.iter().zip(&y).map(|(x, y)| (x - y).powi(2)).sum();
            prop_assert!((squared_l2(&a, chunks(&stored)) - l2).abs() <= 1e-5 * l2);
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            let (xx, yy) = (dot(&x, &x), dot(&y, &y));
            if xx > 0.0 && yy > 0.0 {
                let expected = 1.0 - dot(&x, &y) / (xx.sqrt() * yy.sqrt());
                let norm = dot_exact(a.iter().map(|&x| (x, x)));
                prop_assert!((cosine(&a, norm, chunks(&stored)) - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn sums_that_f32_can_not_hold_are_made_in_f64() {
        let (large, small) = ([3e38_f32, -3e38], [1e-38_f32, 0.0]);
        let stored_large = stored(&[-3e38, 3e38]).unwrap();
        let distance = squared_l2(&large, chunks(&stored_large));
        assert!((distance / 7.2e77 - 1.0).abs() < 1e-6, "{distance}");
        let stored_small = stored(&[1e-38, 0.0]).unwrap();
        let norm = dot_exact(small.iter().map(|&x| (x, x)));
        assert!(cosine(&small, norm, chunks(&stored_small)).abs() < 1e-6);
        assert_eq!(squared_l2(&small, chunks(&stored_small)), 0.0);
    }

    #[test]
    fn what_is_no_vector_is_refused() {
        for vector in [
            &[][..],
            &[f32::NAN],
            &[0.0, f32::INFINITY],
            &[f32::NEG_INFINITY],
        ] {
            assert!(matches!(stored(vector), Err(Error::InvalidArgument(_))));
        }
        assert!(stored(&vec![0.0; MAX_DIMENSIONS]).is_ok());
        assert!(stored(&vec![0.0; MAX_DIMENSIONS + 1]).is_err());
        assert_eq!(loaded(&[]), Some(None));
        assert_eq!(loaded(&[1, 2, 3]), None);
    }
}
