//! The command line: the demo's own, and that of the processes it starts.

use anyhow::{Context as _, Result, bail};
use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: cargo xtask demo [--instances N] [--processes P] [--quick] [--keep DIR]

  --instances N   component instances in total (default 64; 0 leaves them out)
  --processes P   host processes that share them (default 4)
  --quick         a shorter run, about 10 seconds
  --keep DIR      put the database file into DIR and leave it there
";

/// What to do.
#[derive(Debug)]
pub(crate) enum Task {
    Demo(Demo),
    /// A process that the demo starts: runs `instances` instances.
    HostProcess {
        database: PathBuf,
        instances: usize,
    },
    /// A process that the demo starts: uses the file through native SQLite.
    NativeProcess {
        database: PathBuf,
        workers: usize,
    },
    Help,
}

/// The demo's settings.
#[derive(Debug)]
pub(crate) struct Demo {
    pub(crate) instances: usize,
    pub(crate) processes: usize,
    pub(crate) quick: bool,
    pub(crate) keep: Option<PathBuf>,
}

/// Hidden subcommands.
pub(crate) const HOST_PROCESS: &str = "host-process";
pub(crate) const NATIVE_PROCESS: &str = "native-process";

/// Far above what a machine that runs a demo carries, and below what wraps anything here.
const INSTANCES_MAX: usize = 10_000;

/// Reads the arguments, without the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Task> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(args);
    let mut demo = Demo {
        instances: 64,
        processes: 4,
        quick: false,
        keep: None,
    };
    let mut processes_given = false;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("instances") => demo.instances = parser.value()?.parse()?,
            Long("processes") => {
                demo.processes = parser.value()?.parse()?;
                processes_given = true;
            }
            Long("quick") => demo.quick = true,
            Long("keep") => demo.keep = Some(parser.value()?.into()),
            Long("help") | Short('h') => return Ok(Task::Help),
            Value(name) if name == HOST_PROCESS => {
                let (database, instances) = path_and_count(&mut parser)?;
                return Ok(Task::HostProcess {
                    database,
                    instances,
                });
            }
            Value(name) if name == NATIVE_PROCESS => {
                let (database, workers) = path_and_count(&mut parser)?;
                return Ok(Task::NativeProcess { database, workers });
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if demo.instances > INSTANCES_MAX {
        bail!("--instances is at most {INSTANCES_MAX}");
    }
    if demo.processes == 0 {
        bail!("--processes must be at least 1");
    }
    if demo.processes > demo.instances {
        if processes_given && demo.instances > 0 {
            bail!(
                "{} processes can't share {} instances: give each at least one",
                demo.processes,
                demo.instances
            );
        }
        demo.processes = demo.instances;
    }
    Ok(Task::Demo(demo))
}

fn path_and_count(parser: &mut lexopt::Parser) -> Result<(PathBuf, usize)> {
    use lexopt::prelude::*;
    let path = parser.value().context("the database's path is missing")?;
    let count = parser.value().context("the count is missing")?.parse()?;
    Ok((path.into(), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo(args: &[&str]) -> Result<Demo> {
        match parse(args.iter().map(OsString::from))? {
            Task::Demo(demo) => Ok(demo),
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn defaults_and_settings() {
        let defaults = demo(&[]).unwrap();
        assert_eq!((defaults.instances, defaults.processes), (64, 4));
        let given = demo(&["--instances", "9", "--processes=3", "--quick"]).unwrap();
        assert_eq!((given.instances, given.processes), (9, 3));
        assert!(given.quick);
        // Fewer instances than default processes: one each.
        assert_eq!(demo(&["--instances", "2"]).unwrap().processes, 2);
        assert_eq!(demo(&["--instances", "0"]).unwrap().processes, 0);
    }

    #[test]
    fn nonsense_is_refused() {
        for args in [
            &["--instances", "2", "--processes", "3"][..],
            &["--processes", "0"],
            &["--instances", "-1"],
            &["--instances", "99999999"],
            &["--fast"],
            &["surprise"],
        ] {
            assert!(demo(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn children_are_told_path_and_count() {
        let args = [HOST_PROCESS, "/tmp/a b.db", "16"].map(OsString::from);
        assert!(matches!(
            parse(args).unwrap(),
            Task::HostProcess { instances: 16, .. }
        ));
    }
}
