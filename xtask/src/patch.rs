//! Unified diffs, applied to files in memory.
//!
//! What must stay true: a patch applies at exactly one place or not at all. So nothing is fuzzy:
//! the lines that a hunk names have to stand in the file once, wherever that is.
//!
//! Neither `patch` nor `git apply` is used: the first isn't on every machine and bends hunks until
//! they fit, the second passes over files in a folder that its repository ignores, without a word.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

/// Files by their path below some folder, with `/` on every system.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

struct Hunk<'a> {
    path: &'a str,
    old: Vec<&'a str>,
    new: Vec<&'a str>,
}

/// Applies the unified diff `patch`, whose paths have one folder in front (`a/`, `b/`). What
/// stands before the first `---` is a description.
pub(crate) fn apply(patch: &str, files: &mut Files) -> Result<()> {
    let hunks = parse(patch)?;
    ensure!(!hunks.is_empty(), "the patch changes nothing");
    for hunk in hunks {
        let path = hunk.path;
        let file = files
            .get_mut(path)
            .with_context(|| format!("there is no file {path}"))?;
        let text = std::str::from_utf8(file).with_context(|| format!("{path} is no text"))?;
        let changed = replace(text, &hunk).with_context(|| format!("the patch of {path}"))?;
        *file = changed.into_bytes();
    }
    Ok(())
}

fn replace(text: &str, hunk: &Hunk<'_>) -> Result<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut places = lines
        .windows(hunk.old.len())
        .enumerate()
        .filter(|(_, window)| *window == hunk.old)
        .map(|(at, _)| at);
    let first = hunk.old.iter().find(|line| !line.trim().is_empty());
    let first = first.map_or("", |line| line.trim());
    let Some(at) = places.next() else {
        bail!("the lines from `{first}` on aren't there (any more)");
    };
    let others = places.count();
    ensure!(
        others == 0,
        "the lines from `{first}` on are there {} times: it needs more context",
        others + 1
    );
    let after = at + hunk.old.len();
    let mut changed = String::with_capacity(text.len());
    for line in lines[..at].iter().chain(&hunk.new).chain(&lines[after..]) {
        changed.push_str(line);
        changed.push('\n');
    }
    Ok(changed)
}

fn parse(patch: &str) -> Result<Vec<Hunk<'_>>> {
    let mut lines = patch.lines();
    let mut path = None;
    let mut hunks = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("--- ") {
            let named = lines.next().and_then(|line| line.strip_prefix("+++ b/"));
            path = Some(named.with_context(|| format!("`{line}` is not followed by `+++ b/…`"))?);
        } else if line.starts_with("@@ ") {
            let path = path.with_context(|| format!("`{line}` belongs to no file"))?;
            let counts = counts(line).with_context(|| format!("`{line}` is no hunk's head"))?;
            let hunk = hunk(path, counts, &mut lines);
            hunks.push(hunk.with_context(|| format!("the hunk `{line}` of {path}"))?);
        } else {
            // After a file's head only a blank line may stand outside of hunks.
            ensure!(
                path.is_none() || line.is_empty(),
                "`{line}` stands outside of every hunk"
            );
        }
    }
    Ok(hunks)
}

/// How many lines a hunk has of the old and the new file.
fn counts(head: &str) -> Option<(usize, usize)> {
    let mut words = head.split(' ').skip(1);
    let mut count = |sign: char| {
        let range = words.next()?.strip_prefix(sign)?;
        match range.split_once(',') {
            Some((_, count)) => count.parse().ok(),
            None => Some(1),
        }
    };
    Some((count('-')?, count('+')?))
}

fn hunk<'a>(
    path: &'a str,
    (old_lines, new_lines): (usize, usize),
    lines: &mut std::str::Lines<'a>,
) -> Result<Hunk<'a>> {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    while old.len() < old_lines || new.len() < new_lines {
        let line = lines.next().context("it ends too early")?;
        if let Some(line) = line.strip_prefix('-') {
            old.push(line);
        } else if let Some(line) = line.strip_prefix('+') {
            new.push(line);
        } else {
            // Editors take the blank off a line that has nothing else.
            let same = line.strip_prefix(' ').or(line.is_empty().then_some(""));
            let same = same.with_context(|| format!("it can't have the line `{line}`"))?;
            old.push(same);
            new.push(same);
        }
    }
    ensure!(
        old.len() == old_lines && new.len() == new_lines,
        "its lines aren't as many as it says"
    );
    ensure!(!old.is_empty(), "it names no place");
    ensure!(old != new, "it changes nothing");
    Ok(Hunk { path, old, new })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> Files {
        Files::from([("a/f.rs".to_owned(), text.as_bytes().to_vec())])
    }

    fn patched(patch: &str, text: &str) -> Result<String> {
        let mut files = files(text);
        apply(patch, &mut files)?;
        Ok(String::from_utf8(files["a/f.rs"].clone())?)
    }

    const PATCH: &str = "\
Why.

--- a/a/f.rs
+++ b/a/f.rs
@@ -7,3 +7,3 @@ fn f() {
 one

-two
+2
";

    #[test]
    fn a_hunk_finds_its_lines_wherever_they_stand() {
        assert_eq!(
            patched(PATCH, "zero\none\n\ntwo\nthree\n").unwrap(),
            "zero\none\n\n2\nthree\n"
        );
    }

    #[test]
    fn a_hunk_applies_at_one_place_only() {
        for (text, complaint) in [
            ("one\ntwo\n", "aren't there"),
            ("one\n\ntwoo\n", "aren't there"),
            ("", "aren't there"),
            ("one\n\ntwo\none\n\ntwo\n", "are there 2 times"),
        ] {
            let error = format!("{:#}", patched(PATCH, text).unwrap_err());
            assert!(error.contains(complaint), "{error}");
            assert!(error.contains("a/f.rs"), "{error}");
        }
    }

    #[test]
    fn a_patch_that_was_spoilt_is_refused() {
        for (from, to) in [
            ("-7,3", "-7,4"),
            ("+7,3", "+7,2"),
            ("@@ -7", "@@ 7"),
            ("+++ b/a", "+++ a"),
            ("a/f.rs", "a/g.rs"),
            ("+2", "+two"),
            ("+2\n", "+2\nrest\n"),
            ("-two\n+2\n", "?two\n"),
            ("@@ -7,3 +7,3 @@ fn f() {\n one\n\n-two\n+2\n", ""),
        ] {
            let spoilt = PATCH.replace(from, to);
            assert_ne!(spoilt, PATCH);
            assert!(patched(&spoilt, "one\n\ntwo\n").is_err(), "{spoilt}");
        }
    }
}
