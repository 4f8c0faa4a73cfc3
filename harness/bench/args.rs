//! The command line: the bench's own, and that of the processes it starts.

use anyhow::{Context as _, Result, bail};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: cargo xtask bench [--rounds N] [--seconds S] [--only FILTER] [--quick] [--json FILE]

  --rounds N      how often everything is measured (default 7)
  --seconds S     how long each side of each measurement runs per round (default 0.15)
  --only FILTER   only measurements whose name contains FILTER; may be given again
  --quick         a look: 2 rounds of 0.1 s, 1 of what several workers do together
  --json FILE     also write every round's figures to FILE

The files lie in the temporary directory; set TMPDIR to measure another file system.
";

/// What to do.
#[derive(Debug)]
pub(crate) enum Task {
    Bench(Settings),
    /// A process that the bench starts.
    Side(SideName, Place),
    /// Another; it keeps the compiled component there.
    Crew(SideName, PathBuf),
    Help,
}

/// The bench's settings.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) rounds: usize,
    /// How many of the rounds are also for crews, whose measurements take longer.
    pub(crate) crew_rounds: usize,
    pub(crate) time: Duration,
    pub(crate) only: Vec<String>,
    pub(crate) json: Option<PathBuf>,
}

/// Which of the two Rust sides a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SideName {
    Native,
    Component,
}

impl SideName {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Component => "component",
        }
    }
}

/// Where a side works.
#[derive(Debug)]
pub(crate) struct Place {
    /// The directory of its database file.
    pub(crate) directory: PathBuf,
    /// Where the compiled component is kept during this run.
    pub(crate) cache: PathBuf,
}

/// The hidden subcommands.
pub(crate) const SIDE: &str = "side";
pub(crate) const CREW: &str = "crew";

/// Reads the arguments, without the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Task> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(args);
    let (mut rounds, mut seconds) = (None, None);
    let (mut quick, mut only, mut json) = (false, Vec::new(), None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("rounds") => rounds = Some(parser.value()?.parse::<usize>()?),
            Long("seconds") => seconds = Some(parser.value()?.parse::<f64>()?),
            Long("only") => only.push(parser.value()?.string()?.to_lowercase()),
            Long("quick") => quick = true,
            Long("json") => json = Some(parser.value()?.into()),
            Long("help") | Short('h') => return Ok(Task::Help),
            Value(name) if name == SIDE => {
                let side = side_name(&mut parser)?;
                let directory = path(&mut parser)?;
                let cache = path(&mut parser)?;
                return Ok(Task::Side(side, Place { directory, cache }));
            }
            Value(name) if name == CREW => {
                return Ok(Task::Crew(side_name(&mut parser)?, path(&mut parser)?));
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let (usual_rounds, usual_seconds) = if quick { (2, 0.1) } else { (7, 0.15) };
    let crew_rounds = rounds.unwrap_or(if quick { 1 } else { usual_rounds });
    let rounds = rounds.unwrap_or(usual_rounds);
    let seconds = seconds.unwrap_or(usual_seconds);
    if rounds == 0 {
        bail!("--rounds must be at least 1");
    }
    if !(0.001..=3600.0).contains(&seconds) {
        bail!("--seconds must be between 0.001 and 3600");
    }
    Ok(Task::Bench(Settings {
        rounds,
        crew_rounds,
        time: Duration::from_secs_f64(seconds),
        only,
        json,
    }))
}

fn side_name(parser: &mut lexopt::Parser) -> Result<SideName> {
    let name = parser.value().context("which side?")?;
    [SideName::Native, SideName::Component]
        .into_iter()
        .find(|side| name == side.as_str())
        .with_context(|| format!("there is no side {}", name.display()))
}

fn path(parser: &mut lexopt::Parser) -> Result<PathBuf> {
    Ok(parser.value().context("a directory is missing")?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(args: &[&str]) -> Result<Settings> {
        match parse(args.iter().map(OsString::from))? {
            Task::Bench(settings) => Ok(settings),
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn quick_is_a_default_that_others_override() {
        assert_eq!(settings(&[]).unwrap().rounds, 7);
        let quick = settings(&["--quick"]).unwrap();
        assert_eq!((quick.rounds, quick.crew_rounds), (2, 1));
        let given = settings(&["--rounds", "9", "--quick", "--only=GET", "--only", "set"]).unwrap();
        assert_eq!((given.rounds, given.crew_rounds), (9, 9));
        assert_eq!(given.time, Duration::from_millis(100));
        assert_eq!(given.only, ["get", "set"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for args in [
            &["--rounds", "0"][..],
            &["--rounds", "-1"],
            &["--seconds", "0"],
            &["--seconds", "NaN"],
            &["--seconds", "1e30"],
            &["--fast"],
            &["surprise"],
            &["side"],
            &["side", "left", "a", "b"],
            &["crew", "native"],
        ] {
            assert!(parse(args.iter().map(OsString::from)).is_err(), "{args:?}");
        }
    }
}
