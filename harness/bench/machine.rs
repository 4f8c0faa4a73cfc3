//! The machine that the figures are true for.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

/// One line: cores, processor, kernel, file system, SQLite, load.
pub(crate) fn facts(directory: &Path) -> String {
    let cores = available_parallelism().map_or(1, usize::from);
    let mut facts = vec![format!("{cores} cores")];
    let mut add = |name: &str, fact: Option<String>| {
        if let Some(fact) = fact {
            facts.push(format!("{name}{fact}"));
        }
    };
    add("", processor());
    add("Linux ", first_word("/proc/sys/kernel/osrelease"));
    add("", file_system(directory));
    add("SQLite ", Some(beaver_core::rusqlite::version().to_owned()));
    add("load ", first_word("/proc/loadavg"));
    facts.join(" · ")
}

/// A warning when others keep the machine busy.
pub(crate) fn warning() -> Option<String> {
    let load = first_word("/proc/loadavg")?;
    let cores = available_parallelism().map_or(1, usize::from);
    let busy = load.parse::<f64>().ok()? > 0.5 * cores as f64;
    busy.then(|| format!("The machine was busy at the start (load {load}): the spreads tell how much of this to believe."))
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn first_word(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.split_whitespace().next().map(str::to_owned)
}

fn file_system(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    let kind = file_system_in(&fs::read_to_string("/proc/mounts").ok()?, &directory)?;
    Some(format!("{kind} at {}", directory.parent()?.display()))
}

/// The type of the mount that holds `directory`: the longest prefix, and the
/// last of those, which hides the earlier.
fn file_system_in(mounts: &str, directory: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (place, kind) = (fields.nth(1)?, fields.next()?);
            directory
                .starts_with(place)
                .then(|| (place.len(), kind.to_owned()))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\ntmpfs /tmpfoo xfs rw 0 0";
        let kind = |path: &str| file_system_in(mounts, Path::new(path)).unwrap();
        assert_eq!(kind("/tmp/a"), "tmpfs");
        assert_eq!(kind("/home/a"), "ext4");
        assert_eq!(kind("/tmpfoo/a"), "xfs");
    }
}
