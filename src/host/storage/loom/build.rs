//! Plants the faults: for each, a copy of one file of the parent folder with
//! one error in it, and the tree of modules that has it in the file's place.
//!
//! What must stay true: a fault whose lines are no longer there fails its test
//! and says so; it never breaks the build.

mod faults;

use faults::{FAULTS, Fault};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=faults.rs");

    let (mut modules, mut tests) = (String::new(), String::new());
    for fault in FAULTS {
        let Fault {
            name, model, says, ..
        } = fault;
        let test = match plant(fault, &here, &out)? {
            Ok(tree) => {
                writeln!(modules, "#[path = {tree:?}] pub mod {name};").expect("a string");
                format!("check::catches({name:?}, faults::{name}::{model}, {says:?})")
            }
            Err(reason) => format!("panic!({reason:?})"),
        };
        writeln!(tests, "#[test] fn fault_{name}() {{ {test} }}").expect("a string");
    }
    fs::write(out.join("faults.rs"), modules)?;
    fs::write(out.join("fault_tests.rs"), tests)
}

/// Writes the changed file and its tree; answers the tree's path.
fn plant(fault: &Fault, here: &Path, out: &Path) -> io::Result<Result<PathBuf, String>> {
    let original = here.join("..").join(fault.file);
    println!("cargo::rerun-if-changed={}", original.display());
    let mut text = fs::read_to_string(&original)?;
    for (from, to) in fault.change {
        if text.matches(from).count() != 1 {
            return Ok(Err(format!(
                "{} has no longer just one place to plant {}: carry it over in loom/faults.rs",
                fault.file, fault.name
            )));
        }
        text = text.replace(from, to);
    }
    let changed = out.join(format!("{}_{}", fault.name, fault.file));
    fs::write(&changed, text)?;

    // The same tree, from where it is now.
    let tree = here.join(fault.tree);
    println!("cargo::rerun-if-changed={}", tree.display());
    let mut text = String::new();
    for line in fs::read_to_string(&tree)?.lines() {
        let path = line
            .strip_prefix("#[path = \"")
            .and_then(|rest| rest.strip_suffix("\"]"));
        match path {
            Some(path) => {
                let path = match path.strip_prefix("../") {
                    Some(file) if file == fault.file => changed.clone(),
                    _ => here.join(path),
                };
                writeln!(text, "#[path = {path:?}]").expect("a string");
            }
            None => writeln!(text, "{line}").expect("a string"),
        }
    }
    let tree = out.join(format!("{}.rs", fault.name));
    fs::write(&tree, text)?;
    Ok(Ok(tree))
}
