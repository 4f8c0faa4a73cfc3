//! Every place where this workspace vouches for something that the compiler can't check is listed in
//! `docs/unsafe.md`, and nothing is listed that isn't there.
//!
//! A place is a block, an implementation of an `unsafe` trait, a declaration of foreign functions, or an
//! `unsafe` attribute. An `unsafe fn` is none: it hands an obligation on, which its `# Safety` says.
//!
//! What must stay true: places are known by their file and by what they lie in, not by line, so that
//! the list only changes when they do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::paths;

const LIST: &str = "docs/unsafe.md";

/// File and what it lies in; how often.
type Places = BTreeMap<(String, String), usize>;

#[test]
fn every_place_is_listed_and_every_listed_place_is_there() {
    let list = fs::read_to_string(paths::root().join(LIST)).unwrap();
    let (listed, found) = (listed(&list), found(&paths::root()));
    assert!(found.len() > 20, "the sources are not where they were");
    let mut wrong = String::new();
    for (place, is_there, is_listed) in differences(&found, &listed) {
        let (file, within) = place;
        wrong += &format!("{file}: {within}: {is_there} there, {is_listed} listed\n");
    }
    assert!(wrong.is_empty(), "{LIST} is not what there is:\n{wrong}");
}

fn differences<'a>(
    found: &'a Places,
    listed: &'a Places,
) -> Vec<(&'a (String, String), usize, usize)> {
    let count = |places: &Places, place| places.get(place).copied().unwrap_or(0);
    let mut all: Vec<_> = found.keys().chain(listed.keys()).collect();
    all.sort();
    all.dedup();
    all.into_iter()
        .map(|place| (place, count(found, place), count(listed, place)))
        .filter(|(_, is_there, is_listed)| is_there != is_listed)
        .collect()
}

/// The rows of the list's tables: `` | `file` | `within` | why | ``, with `×2` behind `within` if
/// there are two. A row without a reason doesn't count.
fn listed(text: &str) -> Places {
    let mut places = Places::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, file, within, why, _] = cells[..] else {
            continue;
        };
        let Some(file) = file
            .strip_prefix('`')
            .and_then(|file| file.strip_suffix('`'))
        else {
            continue;
        };
        let (within, times) = match within.split_once('×') {
            Some((within, times)) => (within, times.trim().parse().unwrap_or(0)),
            None => (within, 1),
        };
        if !why.is_empty() {
            let within = within.trim().trim_matches('`').to_owned();
            *places.entry((file.to_owned(), within)).or_default() += times;
        }
    }
    places
}

/// The places in all Rust files below `root`, but for what is built.
fn found(root: &Path) -> Places {
    let mut places = Places::new();
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                let file = path.strip_prefix(root).unwrap().to_string_lossy();
                for within in places_of(&fs::read_to_string(&path).unwrap()) {
                    *places
                        .entry((file.clone().into_owned(), within))
                        .or_default() += 1;
                }
            }
        }
    }
    places
}

/// What each place of a source lies in: the name of the function that began last, or what it is.
fn places_of(source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    let is_word = |text: &str| text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let mut within = "no function".to_owned();
    let mut places = Vec::new();
    for at in 0..tokens.len() {
        match (token(at), token(at + 1)) {
            ("fn", name) if is_word(name) => within = name.to_owned(),
            ("unsafe", "{") => places.push(within.clone()),
            ("unsafe", "impl") => {
                let header: Vec<&str> = (at + 1..)
                    .map(token)
                    .take_while(|token| !matches!(*token, "{" | ""))
                    .collect();
                places.push(header.join(" "));
            }
            // Without the ABI, which is a text: a function's or a block's.
            ("unsafe", "extern") if token(at + 2) == "{" => places.push("extern".to_owned()),
            ("unsafe", "(") => {
                let attribute: String = (at + 2..)
                    .map(token)
                    .take_while(|token| !matches!(*token, ")" | ""))
                    .collect();
                places.push(format!("unsafe({attribute})"));
            }
            _ => {}
        }
    }
    places
}

/// Words and single signs; no comments, texts, characters or lifetimes.
fn tokens(source: &str) -> Vec<String> {
    let chars: Vec<char> = source.chars().collect();
    let char_at = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let here = char_at(at);
        match (here, char_at(at + 1)) {
            ('/', '/') => {
                while at < chars.len() && char_at(at) != '\n' {
                    at += 1;
                }
            }
            ('/', '*') => at = after_comment(&chars, at),
            ('"', _) => at = after_text(&chars, at),
            // A lifetime has no second apostrophe.
            ('\'', '\\') => {
                at += 3;
                while at < chars.len() && char_at(at) != '\'' {
                    at += 1;
                }
                at += 1;
            }
            ('\'', _) if char_at(at + 2) == '\'' => at += 3,
            ('\'', _) => at += 1,
            _ if here.is_alphanumeric() || here == '_' => {
                let from = at;
                while char_at(at).is_alphanumeric() || char_at(at) == '_' {
                    at += 1;
                }
                let word: String = chars[from..at].iter().collect();
                if word.ends_with('r')
                    && let Some(end) = after_raw_text(&chars, at)
                {
                    at = end;
                } else {
                    tokens.push(word);
                }
            }
            _ => {
                if !here.is_whitespace() {
                    tokens.push(here.to_string());
                }
                at += 1;
            }
        }
    }
    tokens
}

fn after_comment(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (at, depth) = (at + 2, depth + 1),
            ('*', Some('/')) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn after_text(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Behind `r`, `br` or `cr`: `"…"` or `#"…"#`, in which nothing is escaped.
fn after_raw_text(chars: &[char], from: usize) -> Option<usize> {
    let hashes = chars[from..].iter().take_while(|c| **c == '#').count();
    let mut at = from + hashes;
    if chars.get(at) != Some(&'"') {
        return None;
    }
    at += 1;
    while at < chars.len() {
        let end = at + 1 + hashes;
        if chars[at] == '"' && chars.get(at + 1..end)?.iter().all(|c| *c == '#') {
            return Some(end);
        }
        at += 1;
    }
    Some(at)
}

#[test]
fn places_are_told_from_words() {
    let source = r##"
        // unsafe { }
        /* unsafe /* { */ unsafe impl X for Y */
        unsafe impl Send for Memory {}
        #[unsafe(no_mangle)]
        unsafe extern "C" fn f<'a>(a: &'a u8) -> u8 {
            let text = "unsafe { \" unsafe {";
            let raw = r#"unsafe { " "#;
            let signs = ['"', '\'', '\u{1}', 'r'];
            unsafe { g(a) }
        }
        unsafe fn g(_: &u8, h: unsafe extern "C" fn(u8)) { unsafe { h(1) }; unsafe { h(2) } }
        unsafe extern "C" { fn i(); }
        unsafe trait T {}
    "##;
    assert_eq!(
        places_of(source),
        [
            "impl Send for Memory",
            "unsafe(no_mangle)",
            "f",
            "g",
            "g",
            "extern"
        ]
    );
}

#[test]
fn a_place_more_and_a_place_less_are_noticed() {
    let list = "| `a.rs` | `f` | why |\n| `a.rs` | `g` ×2 | why |\n| `a.rs` | `h` | |\n";
    let listed = listed(list);
    let places = |names: &[&str]| -> Places {
        let mut places = Places::new();
        for name in names {
            *places
                .entry(("a.rs".to_owned(), (*name).to_owned()))
                .or_default() += 1;
        }
        places
    };
    let wrong = |names: &[&str]| -> Vec<(String, usize, usize)> {
        differences(&places(names), &listed)
            .into_iter()
            .map(|((_, within), is_there, is_listed)| (within.clone(), is_there, is_listed))
            .collect()
    };
    assert_eq!(wrong(&["f", "g", "g"]), []);
    assert_eq!(wrong(&["f", "g"]), [("g".to_owned(), 1, 2)]);
    assert_eq!(wrong(&["f", "g", "g", "h"]), [("h".to_owned(), 1, 0)]);
}
