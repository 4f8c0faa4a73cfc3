//! Long blob data as a history shows it.
//!
//! What must stay true: different data have different texts, and short data stand as they are.

use std::fmt::Write as _;

/// Data up to this length stand as they are.
const PLAIN_MAX_BYTES: usize = 200;

/// Data of so many bytes: `mark`, which contains no bar, over and over.
pub fn pattern(mark: &str, bytes: usize) -> String {
    let unit = format!("{mark}|");
    unit.bytes().cycle().take(bytes).map(char::from).collect()
}

/// What a history shows for blob data: `repeat:65536:mark` for a [`pattern`], and for what is
/// made of several, in order, how many whole marks of each there are:
/// `torn:65536:1024*a,31744*b`.
pub(super) fn shorten(data: &str) -> String {
    if data.len() <= PLAIN_MAX_BYTES {
        return data.to_owned();
    }
    let mark = data.split('|').next().unwrap_or_default();
    if pattern(mark, data.len()) == data {
        return format!("repeat:{}:{mark}", data.len());
    }
    let mut text = format!("torn:{}:", data.len());
    let mut runs: Vec<(u64, &str)> = Vec::new();
    for mark in data.split_terminator('|') {
        match runs.last_mut() {
            Some((count, last)) if *last == mark => *count += 1,
            _ => runs.push((1, mark)),
        }
    }
    for (at, (count, mark)) in runs.iter().enumerate() {
        let _ = write!(text, "{}{count}*{mark}", if at == 0 { "" } else { "," });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_told_apart_and_torn_ones_are_seen() {
        let a = pattern("a1", 65_536);
        assert_eq!(shorten(&a), "repeat:65536:a1");
        assert_eq!(shorten(&a[..1000]), "repeat:1000:a1");
        assert_eq!(shorten("short"), "short");
        let b = pattern("b2", 65_536);
        let torn = format!("{}{}", &a[..600], &b[600..1200]);
        assert_eq!(shorten(&torn), "torn:1200:200*a1,200*b2");
        assert_ne!(
            shorten(&torn),
            shorten(&format!("{}{}", &a[..900], &b[900..1200]))
        );
    }
}
