//! Texts with typing errors: the table `beaver_trigrams`, and edit distance.
//!
//! What must stay true: for a query and a document with the same rows in the
//! tables the distance is the one that the reference's
//! `_sliding_window_levenshtein` finds, wherever that is within the fuzziness.
//!
//! The reference compares the query with every run of the text's words that
//! has about as many words, each time from the beginning. Here one pass over
//! the text compares it with all of them: a column of the edit-distance table
//! for each letter, in which an alignment may start at any word's beginning and
//! is read at any word's end. (A run within the distance has the right number
//! of words by itself, since each edit makes at most one word more or less.)
//! Of a column only the part that can stay within the fuzziness is computed, so a
//! text costs its length times the fuzziness, at worst times the query's length.

use super::text::{self, MatchOptions};
use crate::error::{Error, Result};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::{HashMap, HashSet};

/// The most edits.
///
/// A fuzzy query finds those documents within the distance that either match it
/// as words, the `top_k` best of them, or were indexed with
/// [`IndexOptions::fuzzy`](super::IndexOptions::fuzzy) and have 30 % of its
/// trigrams; a query of fewer than six letters has too few for that.
pub const MAX_FUZZINESS: u32 = 64;

/// The longest fuzzy query.
pub const MAX_FUZZY_QUERY_CHARS: usize = 1024;

/// How much of a text is looked at together for its trigrams, so that memory
/// doesn't grow with the text.
const TRIGRAM_CHUNK: usize = 65_536;

/// How many fields a collection may have for each to be looked at by itself.
const PATHS_MAX: usize = 32;

/// How many rows of the full-text table are read in the time in which one
/// document's are looked up (measured: 1.4 µs each, 40 µs).
const ROWS_PER_LOOKUP: u64 = 30;

pub(super) fn check_query(query: &str, fuzziness: u32) -> Result<()> {
    if fuzziness > MAX_FUZZINESS {
        return Err(Error::InvalidArgument(format!(
            "a fuzziness is at most {MAX_FUZZINESS}"
        )));
    }
    if fuzziness > 0 && query.chars().nth(MAX_FUZZY_QUERY_CHARS).is_some() {
        return Err(Error::InvalidArgument(format!(
            "a fuzzy query has at most {MAX_FUZZY_QUERY_CHARS} characters"
        )));
    }
    Ok(())
}

/// The ids and distances of the `limit` nearest documents. Of equal distances
/// those come first that match as words, the best first.
pub(super) fn ranking(
    connection: &Connection,
    name: &str,
    query: &str,
    options: &MatchOptions,
    limit: usize,
) -> Result<Vec<(String, f64)>> {
    let mut candidates = candidates_by_words(connection, name, query, &options.on, limit)?;
    for id in candidates_by_trigrams(connection, name, query, &options.on)? {
        candidates.entry(id).or_insert(0.0);
    }
    let pattern = Pattern::new(query, options.fuzziness);
    let mut distances: HashMap<&str, u32> = HashMap::new();
    let mut compare = |id, path: &str, content: &str| {
        if (options.on.is_empty() || options.on.iter().any(|field| field == path))
            && let Some(distance) = pattern.distance(content)
        {
            let best = distances.entry(id).or_insert(distance);
            *best = distance.min(*best);
        }
    };
    if candidates.len() as u64 * ROWS_PER_LOOKUP < text::rows_at_most(connection)? {
        for id in candidates.keys() {
            for row in text::rows_of(connection, name, id)? {
                compare(id, &row.path, &row.content);
            }
        }
    } else {
        text::for_each_row(connection, name, |id, path, content| {
            if let Some((id, _)) = candidates.get_key_value(id) {
                compare(id, path, content);
            }
        })?;
    }
    let mut found: Vec<(u32, f64, &str)> = distances
        .into_iter()
        .map(|(id, distance)| (distance, candidates[id], id))
        .collect();
    found.sort_by(|a, b| {
        let by_distance = a.0.cmp(&b.0).then_with(|| a.1.total_cmp(&b.1));
        by_distance.then_with(|| a.2.cmp(b.2))
    });
    found.truncate(limit);
    Ok(found
        .into_iter()
        .map(|(distance, _, id)| (id.to_owned(), f64::from(distance)))
        .collect())
}

/// The documents that match as words, with their ranks. A plain text that isn't
/// an FTS5 query stands for its words.
fn candidates_by_words(
    connection: &Connection,
    name: &str,
    query: &str,
    on: &[String],
    limit: usize,
) -> Result<HashMap<String, f64>> {
    let found = match text::words(connection, name, query, on, limit) {
        Err(Error::InvalidArgument(_)) => {
            let words: Vec<_> = words_of(query)
                .map(|word| format!("\"{}\"", word.replace('"', "\"\"")))
                .collect();
            if words.is_empty() {
                return Ok(HashMap::new());
            }
            text::words(connection, name, &words.join(" "), on, limit)
        }
        other => other,
    };
    Ok(found?.into_iter().collect())
}

/// The documents that have 30 % of the query's trigrams.
fn candidates_by_trigrams(
    connection: &Connection,
    name: &str,
    query: &str,
    on: &[String],
) -> Result<Vec<String>> {
    let letters: Vec<char> = query.to_lowercase().chars().collect();
    let trigrams: HashSet<&[char]> = letters.windows(3).collect();
    let needed = (trigrams.len() as f64 * 0.3) as usize;
    if needed == 0 {
        return Ok(Vec::new());
    }
    // The primary key has everything, one field after another; the index on
    // trigrams needs the table for the ids, and is better only for many fields.
    let paths = paths(connection, name, on)?;
    let mut statement = connection.prepare_cached(match paths {
        Some(_) => {
            "SELECT item_id FROM beaver_trigrams
             WHERE collection = ?1 AND trigram = ?2 AND field_path = ?3"
        }
        None => {
            "SELECT item_id FROM beaver_trigrams
             WHERE collection = ?1 AND trigram = ?2 AND ?3 IS NULL"
        }
    })?;
    let paths: Vec<Option<String>> = match paths {
        Some(paths) => paths.into_iter().map(Some).collect(),
        None => vec![None],
    };
    // For each document how many it has, and the last of them, which may be in
    // several of its fields.
    let mut having: HashMap<String, (usize, usize)> = HashMap::new();
    for (place, trigram) in trigrams.iter().enumerate() {
        // Who has none yet can't come to enough any more.
        let late = trigrams.len() - place < needed;
        let trigram: String = trigram.iter().collect();
        for path in &paths {
            let mut rows = statement.query(params![name, trigram, path])?;
            while let Some(row) = rows.next()? {
                let id = row.get_ref(0)?.as_str().unwrap_or_default();
                match having.get_mut(id) {
                    Some((_, last)) if *last == place => {}
                    Some((count, last)) => (*count, *last) = (*count + 1, place),
                    None if late => {}
                    None => {
                        having.insert(id.to_owned(), (1, place));
                    }
                }
            }
        }
    }
    Ok(having
        .into_iter()
        .filter(|(_, (count, _))| *count >= needed)
        .map(|(id, _)| id)
        .collect())
}

/// The fields to look in; none when these are all and too many to go through.
fn paths(connection: &Connection, name: &str, on: &[String]) -> Result<Option<Vec<String>>> {
    if !on.is_empty() {
        return Ok(Some(on.to_vec()));
    }
    let mut first = connection
        .prepare_cached("SELECT min(field_path) FROM beaver_trigrams WHERE collection = ?1")?;
    let mut next = connection.prepare_cached(
        "SELECT min(field_path) FROM beaver_trigrams WHERE collection = ?1 AND field_path > ?2",
    )?;
    let mut paths: Vec<String> = Vec::new();
    loop {
        let path: Option<String> = match paths.last() {
            None => first.query_row([name], |row| row.get(0))?,
            Some(last) => next.query_row([name, last.as_str()], |row| row.get(0))?,
        };
        match path {
            None => return Ok(Some(paths)),
            Some(_) if paths.len() == PATHS_MAX => return Ok(None),
            Some(path) => paths.push(path),
        }
    }
}

/// The words of a text as Python's `str.split` gives them.
fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c))
        .filter(|word| !word.is_empty())
}

/// A query to compare with texts.
struct Pattern {
    /// Its words in lower case, with one space between them.
    letters: Vec<char>,
    fuzziness: u32,
}

impl Pattern {
    fn new(query: &str, fuzziness: u32) -> Self {
        let query = query.to_lowercase();
        let words: Vec<_> = words_of(&query).collect();
        Self {
            letters: words.join(" ").chars().collect(),
            fuzziness,
        }
    }

    /// The least number of edits between the query and a run of the text's
    /// words; none when it is more than the fuzziness.
    fn distance(&self, text: &str) -> Option<u32> {
        let length = self.letters.len();
        if length == 0 {
            return Some(0);
        }
        let text = text.to_lowercase();
        // Nothing above this matters.
        let too_far = self.fuzziness + 1;
        let mut best = too_far;
        // column[i]: edits from a run that ends here to the first i letters.
        // Those from `live` on are too many.
        let (mut column, mut live) = (vec![too_far; length + 1], 0);
        for (number, word) in words_of(&text).enumerate() {
            if number > 0 {
                self.step(&mut column, &mut live, ' ');
            }
            // A run may begin with this word: then i letters are i insertions.
            for (i, edits) in (0..).zip(column.iter_mut()) {
                if i > self.fuzziness {
                    break;
                }
                *edits = i.min(*edits);
            }
            live = live.max(length.min(self.fuzziness as usize) + 1);
            for letter in word.chars() {
                if live == 0 {
                    break;
                }
                self.step(&mut column, &mut live, letter);
            }
            best = best.min(column[length]);
            if best == 0 {
                break;
            }
        }
        (best <= self.fuzziness).then_some(best)
    }

    /// Goes on by one letter of the text.
    fn step(&self, column: &mut [u32], live: &mut usize, letter: char) {
        if *live == 0 {
            return;
        }
        let too_far = self.fuzziness + 1;
        let mut diagonal = column[0];
        column[0] = (diagonal + 1).min(too_far);
        let (mut i, mut last) = (1, if column[0] < too_far { 1 } else { 0 });
        // One beyond the live part a substitution or an insertion may still do.
        while i < column.len() && (i <= *live || column[i - 1] < too_far) {
            let substituted = diagonal + u32::from(self.letters[i - 1] != letter);
            diagonal = column[i];
            let edits = substituted.min(column[i] + 1).min(column[i - 1] + 1);
            column[i] = edits.min(too_far);
            i += 1;
            if column[i - 1] < too_far {
                last = i;
            }
        }
        *live = last;
    }
}

/// Calls `each` with every trigram of the text in lower case, most of them once.
fn for_each_trigram(text: &str, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let text = text.to_lowercase();
    let mut letters = text.chars();
    let mut chunk: Vec<char> = Vec::new();
    loop {
        chunk.extend(letters.by_ref().take(TRIGRAM_CHUNK));
        let mut trigrams: Vec<&[char]> = chunk.windows(3).collect();
        trigrams.sort_unstable();
        trigrams.dedup();
        for trigram in trigrams {
            each(&trigram.iter().collect::<String>())?;
        }
        // The next chunk begins with the last two letters of this one.
        let rest = chunk.len().saturating_sub(2);
        if chunk.len() < TRIGRAM_CHUNK {
            return Ok(());
        }
        chunk.drain(..rest);
    }
}

/// Whether the trigrams of a field are there: they are written together.
pub(super) fn exist(
    connection: &Connection,
    name: &str,
    id: &str,
    path: &str,
    content: &str,
) -> Result<bool> {
    // Of the beginning: a letter can become several, a final sigma needs its word.
    let first: Vec<char> = content.to_lowercase().chars().take(3).collect();
    if first.len() < 3 {
        return Ok(false);
    }
    let first: String = first.into_iter().collect();
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM beaver_trigrams
             WHERE collection = ?1 AND field_path = ?2 AND trigram = ?3 AND item_id = ?4",
        )?
        .query_row([name, path, &first, id], |_| Ok(()))
        .optional()?
        .is_some())
}

pub(super) fn add(
    connection: &Connection,
    name: &str,
    id: &str,
    path: &str,
    content: &str,
) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR IGNORE INTO beaver_trigrams (collection, item_id, field_path, trigram)
         VALUES (?1, ?2, ?3, ?4)",
    )?;
    for_each_trigram(content, |trigram| {
        statement.execute([name, id, path, trigram])?;
        Ok(())
    })
}

pub(super) fn remove(
    connection: &Connection,
    name: &str,
    id: &str,
    path: &str,
    content: &str,
) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM beaver_trigrams
         WHERE collection = ?1 AND field_path = ?2 AND trigram = ?3 AND item_id = ?4",
    )?;
    for_each_trigram(content, |trigram| {
        statement.execute([name, path, trigram, id])?;
        Ok(())
    })
}

pub(super) fn clear(connection: &Connection, name: &str) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM beaver_trigrams WHERE collection = ?1")?
        .execute([name])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The reference's definition, word for word: every run of words, the whole table each time.
    fn by_definition(query: &str, text: &str, fuzziness: u32) -> Option<usize> {
        let (query, text) = (query.to_lowercase(), text.to_lowercase());
        let query: Vec<_> = words_of(&query).collect();
        let words: Vec<_> = words_of(&text).collect();
        if query.is_empty() {
            return Some(0);
        }
        let fuzziness = fuzziness as usize;
        let normal = query.join(" ");
        let sizes = query.len().saturating_sub(fuzziness).max(1)..=query.len() + fuzziness;
        sizes
            .flat_map(|size| words.windows(size))
            .map(|run| edits(&normal, &run.join(" ")))
            .min()
            .filter(|distance| *distance <= fuzziness)
    }

    fn edits(a: &str, b: &str) -> usize {
        let b: Vec<char> = b.chars().collect();
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.chars().enumerate() {
            let mut next = vec![i + 1];
            for (j, y) in b.iter().enumerate() {
                let substituted = row[j] + usize::from(x != *y);
                next.push(substituted.min(row[j + 1] + 1).min(next[j] + 1));
            }
            row = next;
        }
        row[b.len()]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn one_pass_finds_the_distance_of_the_definition(
            query in "[abA ]{0,12}",
            text in "[abß \\t]{0,60}",
            fuzziness in 1..8_u32,
        ) {
            let found = Pattern::new(&query, fuzziness).distance(&text);
            let defined = by_definition(&query, &text, fuzziness);
            prop_assert_eq!(found.map(|distance| distance as usize), defined);
        }

        #[test]
        fn a_chunked_text_has_the_same_trigrams(text in "[abc]{0,40}") {
            let mut found = HashSet::new();
            for_each_trigram(&text, |trigram| {
                found.insert(trigram.to_owned());
                Ok(())
            })
            .unwrap();
            let letters: Vec<char> = text.chars().collect();
            let expected: HashSet<String> = letters.windows(3).map(|w| w.iter().collect()).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn trigrams_cross_the_chunks() {
        for length in TRIGRAM_CHUNK - 2..TRIGRAM_CHUNK + 3 {
            let text = format!("{}xyz", "a".repeat(length));
            let mut found = Vec::new();
            for_each_trigram(&text, |trigram| {
                found.push(trigram.to_owned());
                Ok(())
            })
            .unwrap();
            found.sort_unstable();
            found.dedup();
            assert_eq!(found, ["aaa", "aax", "axy", "xyz"], "{length}");
        }
    }

    #[test]
    fn words_are_pythons() {
        let words: Vec<_> = words_of(" a\u{1c}b\u{85}c\u{a0}d\u{3000}e\u{200b}f\n").collect();
        assert_eq!(words, ["a", "b", "c", "d", "e\u{200b}f"]);
    }

    #[test]
    fn a_long_text_costs_its_length_not_its_square() {
        // By the definition: 17 times 30,000 runs, a million cells each.
        let text = "a ".repeat(30_000);
        let query = "a ".repeat(500) + "b";
        assert_eq!(Pattern::new(&query, 8).distance(&text), Some(1));
        assert_eq!(Pattern::new("beavers bulid dams", 3).distance(&text), None);
    }
}
