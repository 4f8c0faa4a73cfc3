//! Other SQLites than the product's: one with a real bug of its own, the WAL-reset bug
//! (<https://sqlite.org/wal.html#walresetbug>, 3.7.0 to 3.51.2).
//!
//! What must stay true: everything but the amalgamation is the crate that the workspace's lock
//! file names, and the component is known to hold the SQLite that it is said to hold.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::patch::{self, Files};
use crate::paths;
use crate::process::{cargo, run_quiet};
use crate::staging::Staging;

pub(crate) const CRATE: &str = "libsqlite3-sys";
const AMALGAMATION: [&str; 3] = ["sqlite3.c", "sqlite3.h", "sqlite3ext.h"];
/// Where the two versions differ that matter: `walCheckpoint()` compares salts.
const FIX: &str = "memcmp(pLive->aSalt, pWal->hdr.aSalt";

pub(crate) struct Sqlite {
    pub(crate) name: &'static str,
    /// The version of `libsqlite3-sys` whose amalgamation it is; none: the workspace's.
    bundled_by: Option<&'static str>,
    /// Whether `checkpoint-point.patch` is applied.
    has_point: bool,
}

pub(crate) const SQLITES: [Sqlite; 3] = [
    // 3.50.2.
    Sqlite {
        name: "sqlite-3.50",
        bundled_by: Some("0.35.0"),
        has_point: false,
    },
    Sqlite {
        name: "sqlite-3.50-point",
        bundled_by: Some("0.35.0"),
        has_point: true,
    },
    // Nothing may be found here: the point isn't the bug.
    Sqlite {
        name: "sqlite-point",
        bundled_by: None,
        has_point: true,
    },
];

impl Sqlite {
    /// Makes the crate under `place`; returns its folder, its files, and what tells this SQLite
    /// from all others.
    pub(crate) fn make(&self, place: &Path, lock: &[u8]) -> Result<(PathBuf, Files, String)> {
        let ours = locked_version(&String::from_utf8_lossy(lock))?;
        let mut files = read(&source(place, &ours)?)?;
        if let Some(version) = self.bundled_by {
            let old = read(&source(place, version)?)?;
            for name in AMALGAMATION {
                let path = format!("sqlite3/{name}");
                let text = old.get(&path);
                let text = text.with_context(|| format!("{CRATE} {version} has no {path}"))?;
                files.insert(path, text.clone());
            }
        }
        let code = files
            .get("sqlite3/sqlite3.c")
            .map(|code| contains(code, FIX));
        ensure!(
            code == Some(self.bundled_by.is_none()),
            "{}: whether it has the fix of the WAL-reset bug isn't as it should be",
            self.name
        );
        if self.has_point {
            let patch = paths::planted_patches().join("sqlite/checkpoint-point.patch");
            let text = fs::read_to_string(&patch)
                .with_context(|| format!("reading {}", patch.display()))?;
            patch::apply(&text, &mut files)
                .with_context(|| format!("{} no longer applies", patch.display()))?;
        }
        let header = files.get("sqlite3/sqlite3.h").map(Vec::as_slice);
        let id = source_id(&String::from_utf8_lossy(header.unwrap_or_default()))?;
        Ok((place.join(self.name), files, id))
    }
}

pub(crate) fn contains(bytes: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    bytes.windows(text.len()).any(|window| window == text)
}

/// The version of the crate in a lock file.
fn locked_version(lock: &str) -> Result<String> {
    let (_, after) = lock
        .split_once(&format!("name = \"{CRATE}\"\nversion = \""))
        .with_context(|| format!("Cargo.lock doesn't name {CRATE}"))?;
    let version = after.split('"').next().unwrap_or_default();
    Ok(version.to_owned())
}

/// The check-in that an amalgamation was made of, as `sqlite3_sourceid()` says it.
fn source_id(header: &str) -> Result<String> {
    header
        .lines()
        .find_map(|line| line.strip_prefix("#define SQLITE_SOURCE_ID"))
        .map(|id| id.trim().trim_matches('"').to_owned())
        .filter(|id| !id.is_empty())
        .context("sqlite3.h has no SQLITE_SOURCE_ID")
}

/// The sources of a version of the crate, as the registry has them.
fn source(place: &Path, version: &str) -> Result<PathBuf> {
    let source = place.join(format!("{CRATE}-{version}"));
    if source.is_dir() {
        return Ok(source);
    }
    eprintln!("fetching {CRATE} {version} …");
    let staging = Staging::under(place, "vendor")?;
    let package = staging.path().join("package");
    fs::create_dir_all(package.join("src"))?;
    fs::write(package.join("src/lib.rs"), "")?;
    // Without its features it needs no other crate.
    let manifest = format!(
        "[package]\nname = \"empty\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         {CRATE} = {{ version = \"={version}\", default-features = false }}\n"
    );
    fs::write(package.join("Cargo.toml"), manifest)?;
    let vendored = staging.path().join("vendored");
    run_quiet(cargo().arg("vendor").arg(&vendored).current_dir(&package))
        .with_context(|| format!("fetching {CRATE} {version}"))?;
    staging.publish(&vendored.join(CRATE), &source)?;
    Ok(source)
}

fn read(source: &Path) -> Result<Files> {
    let mut files = Files::new();
    for part in ["Cargo.toml", "build.rs", "src", "sqlite3"] {
        super::tree::read_part(source, part, &mut files)?;
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_where_they_stand() {
        let lock = "[[package]]\nname = \"libsqlite3-sys\"\nversion = \"0.39.1\"\nsource = \"r\"\n";
        assert_eq!(locked_version(lock).unwrap(), "0.39.1");
        assert!(locked_version("name = \"libsqlite3\"\n").is_err());
        let header = "#define SQLITE_VERSION  \"3.50.2\"\n#define SQLITE_SOURCE_ID  \"2025 ab\"\n";
        assert_eq!(source_id(header).unwrap(), "2025 ab");
        assert!(source_id("").is_err());
    }
}
