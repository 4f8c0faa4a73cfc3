//! Everything that can be run by name: workloads, and scenarios.

use crate::program::Plan;
use crate::scenario;
use crate::workload;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Random steps from a seed, for as long as one likes.
    Workload,
    /// A short program that shows one promise.
    Scenario,
}

/// Something that can be run.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub promise: String,
    /// What it is.
    pub kind: Kind,
}

/// All there is: workloads, then scenarios.
pub fn all() -> Vec<Entry> {
    let workloads = workload::all().iter().map(|workload| Entry {
        name: workload.name.to_owned(),
        promise: workload.promise.to_owned(),
        kind: Kind::Workload,
    });
    let scenarios = scenario::all().into_iter().map(|program| Entry {
        name: program.name,
        promise: program.promise,
        kind: Kind::Scenario,
    });
    workloads.chain(scenarios).collect()
}

/// The plan of this name; `workers` and `seed` are for workloads.
pub fn plan(name: &str, workers: u32, seed: u64) -> Option<Plan> {
    if let Some(workload) = workload::named(name) {
        return Some(workload.plan(&workload::Settings { workers, seed }));
    }
    scenario::all()
        .into_iter()
        .find(|program| program.name == name)
        .map(Plan::from)
}

/// The entries that a list of names means: names, `all`, `workloads`, `scenarios`, separated by
/// commas.
///
/// # Errors
/// The name that is none.
pub fn select(names: &str) -> Result<Vec<Entry>, String> {
    let all = all();
    let mut selected: Vec<Entry> = Vec::new();
    for name in names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        let found: Vec<_> = all
            .iter()
            .filter(|entry| match name {
                "all" => true,
                "workloads" => entry.kind == Kind::Workload,
                "scenarios" => entry.kind == Kind::Scenario,
                name => entry.name == name,
            })
            .collect();
        if found.is_empty() {
            return Err(format!(
                "there is no workload or scenario {name:?}; `beaver-harness list` names them"
            ));
        }
        for entry in found {
            if !selected.iter().any(|known| known.name == entry.name) {
                selected.push(entry.clone());
            }
        }
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_told_apart_and_lead_to_plans() {
        let names: BTreeSet<_> = all().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), all().len());
        for name in &names {
            assert_eq!(plan(name, 3, 1).unwrap().frame.name, *name);
        }
        assert!(plan("nonsense", 1, 1).is_none());
    }

    #[test]
    fn lists_of_names_are_selections_without_repetition() {
        let count = |names: &str| select(names).map(|entries| entries.len());
        assert_eq!(count("all").unwrap(), all().len());
        assert_eq!(
            count("scenarios,killed-holder").unwrap(),
            scenario::all().len()
        );
        assert_eq!(count(" killed-holder, stale-holder").unwrap(), 2);
        assert!(count("killed").unwrap_err().contains("killed"));
    }
}
