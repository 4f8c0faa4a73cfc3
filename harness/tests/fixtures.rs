//! Recorded histories: those of our component pass, and in each of the bad ones the check that its
//! name begins with fails (or any, for those of beaver-db).
//!
//! `fixtures/README.md` says where they come from.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_harness::check::{CheckResult, Verdict, judge};
use beaver_harness::history;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(kind);
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect()
}

fn judged(path: &Path) -> Vec<CheckResult> {
    let history = history::read(BufReader::new(File::open(path).unwrap()));
    judge(&history.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

#[test]
fn the_good_ones_pass() {
    let files = fixtures("good");
    assert!(files.len() > 30);
    for path in files {
        for result in judged(&path) {
            let why = (&result.violations, &result.unknown);
            assert_eq!(
                result.verdict,
                Verdict::Pass,
                "{}: {} {why:?}",
                path.display(),
                result.spec.name()
            );
        }
    }
}

#[test]
fn the_bad_ones_fail_by_the_check_that_they_are_named_after() {
    let mut found = BTreeSet::new();
    for path in fixtures("bad") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let (check, _) = name.split_once("--").unwrap();
        let failed: Vec<&str> = judged(&path)
            .iter()
            .filter(|result| result.verdict == Verdict::Fail)
            .map(|result| result.spec.name())
            .collect();
        assert!(!failed.is_empty(), "{name}");
        if !check.starts_with("beaver-db") {
            assert!(failed.contains(&check), "{name}: {failed:?}");
            found.insert(check.to_owned());
        }
    }
    assert_eq!(found.len(), 25, "{found:?}");
}
