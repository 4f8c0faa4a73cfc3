//! Components with planted faults: what the simulator has to find, or it finds nothing.
//!
//! What must stay true: the product has nothing of this in it. A fault is a patch in
//! `harness/sim/planted/`, applied to a copy of the source, and a patch that no longer applies is
//! an error, of a test too. `unchanged` goes the same way without a fault; a component with one
//! that has the same bytes as that is an error as well.

mod sqlite;
mod tree;

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::component;
use crate::patch::{self, Files};
use crate::paths;
use crate::process::{program, run_quiet};
use crate::staging::Staging;
use crate::toolchain::{self, Toolchain};
use sqlite::{SQLITES, Sqlite};

const UNCHANGED: &str = "unchanged";

enum Plant {
    Unchanged,
    /// A patch of the component's source.
    Patch(PathBuf),
    Sqlite(&'static Sqlite),
}

/// A component to be made.
struct Seed {
    files: Files,
    /// The crate that takes the place of the registry's, and what is found in its component only.
    replaced: Option<(PathBuf, Files, String)>,
}

/// Makes the components called `names`, or all.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let all = plants()?;
    let known: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    for name in names {
        ensure!(
            known.contains(&name.as_str()),
            "there is no `{name}`, but: {}",
            known.join(", ")
        );
    }
    let toolchain = toolchain::ready()?;
    let place = paths::planted();
    // They share a copy of the source.
    let _turn = Staging::under(&place, "turn")?;
    let source = tree::read(&paths::root())?;
    for (name, plant) in &all {
        if names.is_empty() || names.contains(name) || name == UNCHANGED {
            let made = make(name, plant, &source, &place, &toolchain);
            made.with_context(|| format!("planting {name}"))?;
        }
    }
    Ok(())
}

/// All that can be made, by name, the one without a fault first.
fn plants() -> Result<Vec<(String, Plant)>> {
    let folder = paths::planted_patches();
    let listing = || format!("listing {}", folder.display());
    let mut patches = Vec::new();
    for entry in fs::read_dir(&folder).with_context(listing)? {
        let path = entry.with_context(listing)?.path();
        if let (Some("patch"), Some(name)) = (
            path.extension().and_then(|extension| extension.to_str()),
            path.file_stem().and_then(|name| name.to_str()),
        ) {
            patches.push((name.to_owned(), Plant::Patch(path)));
        }
    }
    patches.sort_by(|a, b| a.0.cmp(&b.0));
    let mut plants = vec![(UNCHANGED.to_owned(), Plant::Unchanged)];
    plants.extend(patches);
    plants.extend(
        SQLITES
            .iter()
            .map(|sqlite| (sqlite.name.to_owned(), Plant::Sqlite(sqlite))),
    );
    Ok(plants)
}

fn seed(plant: &Plant, source: &Files, place: &Path) -> Result<Seed> {
    let mut files = source.clone();
    let mut replaced = None;
    match plant {
        Plant::Unchanged => {}
        Plant::Patch(path) => apply(path, &mut files)?,
        Plant::Sqlite(sqlite) => {
            let lock = source.get("Cargo.lock").context("there is no lock file")?;
            let made = sqlite.make(&place.join("sqlite"), lock)?;
            tree::replace_crate(&mut files, sqlite::CRATE, &made.0)?;
            replaced = Some(made);
        }
    }
    Ok(Seed { files, replaced })
}

fn apply(path: &Path, files: &mut Files) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    patch::apply(&text, files).with_context(|| format!("{} no longer applies", path.display()))
}

fn make(
    name: &str,
    plant: &Plant,
    source: &Files,
    place: &Path,
    toolchain: &Toolchain,
) -> Result<()> {
    let seed = seed(plant, source, place)?;
    let wasm = place.join(format!("{name}.wasm"));
    let stamp = place.join(format!("{name}.stamp"));
    let inputs = fingerprint(&seed, toolchain)?;
    if wasm.is_file() && fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == inputs) {
        println!("{} (up to date)", wasm.display());
        return Ok(());
    }
    let start = Instant::now();
    let copy = place.join("source");
    tree::write(&seed.files, &copy)?;
    if let Some((folder, files, _)) = &seed.replaced {
        tree::write(files, folder)?;
    }
    let built = component::build(&copy, &place.join("target"), toolchain)?;
    let bytes = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
    if let Some((_, _, id)) = &seed.replaced {
        ensure!(
            sqlite::contains(&bytes, id),
            "it doesn't hold the SQLite `{id}`"
        );
    }
    if name != UNCHANGED {
        let unchanged = fs::read(place.join(format!("{UNCHANGED}.wasm")))
            .context("there is nothing to compare it with")?;
        if bytes == unchanged {
            bail!("the component is the same, byte for byte, as without the fault");
        }
    }
    component::publish(&built, &wasm)?;
    fs::write(&stamp, inputs).with_context(|| format!("writing {}", stamp.display()))?;
    println!(
        "{} ({:.0} s)",
        wasm.display(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// What a component is made of. (Another Rust may hash otherwise, but then the compiler is another,
/// too.)
fn fingerprint(seed: &Seed, toolchain: &Toolchain) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut hasher = DefaultHasher::new();
    run_quiet(program(rustc).arg("-vV"))?.hash(&mut hasher);
    toolchain.env().hash(&mut hasher);
    seed.files.hash(&mut hasher);
    seed.replaced.hash(&mut hasher);
    Ok(format!("{:016x}\n", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patch_applies_and_says_what_it_does() {
        let source = tree::read(&paths::root()).unwrap();
        let mut count = 0;
        for (name, plant) in plants().unwrap() {
            let Plant::Patch(path) = plant else { continue };
            let mut files = source.clone();
            if let Err(error) = apply(&path, &mut files) {
                panic!("{error:#}");
            }
            assert_ne!(files, source, "{name}");
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.starts_with("---"), "{name} has no description");
            count += 1;
        }
        assert!(count > 0);
    }
}
