//! The part of the workspace that the component is made of, in memory and as a copy on disk.
//!
//! What must stay true: the copy's files are written only when they change, because cargo goes by
//! their times; and the workspace itself is only read.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::patch::Files;

const MANIFEST: &str = "Cargo.toml";
/// Files and folders, beside the manifest.
const PARTS: [&str; 4] = ["Cargo.lock", "src/component", "src/core", "wit"];
const MEMBERS: &str = r#"["src/core", "src/component"]"#;

/// The workspace at `root`, less the members that the component doesn't need.
pub(crate) fn read(root: &Path) -> Result<Files> {
    let mut files = Files::new();
    for part in PARTS {
        read_part(root, part, &mut files)?;
    }
    let path = root.join(MANIFEST);
    let manifest =
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let manifest = with_members(&manifest)?;
    files.insert(MANIFEST.to_owned(), manifest.into_bytes());
    Ok(files)
}

pub(super) fn read_part(root: &Path, part: &str, files: &mut Files) -> Result<()> {
    let path = root.join(part);
    let reading = || format!("reading {}", path.display());
    if !path.is_dir() {
        files.insert(part.to_owned(), fs::read(&path).with_context(reading)?);
        return Ok(());
    }
    for entry in fs::read_dir(&path).with_context(reading)? {
        let name = entry.with_context(reading)?.file_name();
        let name = name.to_str().with_context(reading)?;
        read_part(root, &format!("{part}/{name}"), files)?;
    }
    Ok(())
}

/// The workspace's manifest with the component's members only.
fn with_members(manifest: &str) -> Result<String> {
    let mut changed = manifest.to_owned();
    for key in ["\nmembers = ", "\ndefault-members = "] {
        let (before, rest) = changed
            .split_once(key)
            .with_context(|| format!("{MANIFEST} has no{}", key.replace('\n', " ")))?;
        let (_, after) = rest
            .split_once(']')
            .with_context(|| format!("{MANIFEST} has no list of members"))?;
        changed = format!("{before}{key}{MEMBERS}{after}");
    }
    Ok(changed)
}

/// Takes the crate at `path` in place of the registry's.
pub(crate) fn replace_crate(files: &mut Files, name: &str, path: &Path) -> Result<()> {
    let manifest = files.get_mut(MANIFEST).context("there is no manifest")?;
    ensure!(
        !String::from_utf8_lossy(manifest).contains("[patch."),
        "{MANIFEST} replaces crates already"
    );
    let path = path.to_str().context("a path that is no text")?;
    let replacement = format!("\n[patch.crates-io]\n{name} = {{ path = '{path}' }}\n");
    manifest.extend_from_slice(replacement.as_bytes());
    Ok(())
}

/// Makes the folder `place` hold these files and no others.
pub(crate) fn write(files: &Files, place: &Path) -> Result<()> {
    let mut there = Files::new();
    if place.is_dir() {
        for entry in fs::read_dir(place).context("reading the copy")? {
            let name = entry?.file_name();
            let name = name.to_str().context("a name that is no text")?;
            read_part(place, name, &mut there)?;
        }
    }
    for path in there.keys().filter(|path| !files.contains_key(*path)) {
        let stray = place.join(path);
        fs::remove_file(&stray).with_context(|| format!("removing {}", stray.display()))?;
    }
    for (path, bytes) in files
        .iter()
        .filter(|(path, new)| there.get(*path) != Some(new))
    {
        let file = place.join(path);
        let writing = || format!("writing {}", file.display());
        fs::create_dir_all(file.parent().unwrap_or(place)).with_context(writing)?;
        fs::write(&file, bytes).with_context(writing)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_has_the_components_members_only() {
        let manifest =
            "[workspace]\nmembers = [\n  \"a\",\n]\n# why\ndefault-members = [\"a\"]\nx = 1\n";
        assert_eq!(
            with_members(manifest).unwrap(),
            format!(
                "[workspace]\nmembers = {MEMBERS}\n# why\ndefault-members = {MEMBERS}\nx = 1\n"
            )
        );
        assert!(with_members("[workspace]\nmembers = [\"a\"]\n").is_err());
    }

    #[test]
    fn a_crate_is_replaced_once() {
        let mut files = Files::from([(MANIFEST.to_owned(), b"[workspace]\n".to_vec())]);
        replace_crate(&mut files, "x", Path::new("/x")).unwrap();
        assert_eq!(
            files[MANIFEST],
            b"[workspace]\n\n[patch.crates-io]\nx = { path = '/x' }\n"
        );
        assert!(replace_crate(&mut files, "x", Path::new("/x")).is_err());
    }
}
