//! The parent: rounds, turns, and what came of them.
//!
//! What must stay true: this process never opens a database through a host,
//! because `line` opens them with native SQLite; and no two sides measure at
//! the same time.

use crate::args::{Place, Settings, SideName};
use crate::child::{Child, python_interpreter};
use crate::contention::COUNTER;
use crate::crews::{Crews, Who};
use crate::figures::{Round, Row};
use crate::measurement::{ENTRIES, Measurement};
use crate::store::{DICT, FILE};
use crate::workloads::{VALUE, key};
use crate::{component, json, machine, report};
use anyhow::{Context as _, Result, bail};
use beaver_core::{Database, Options};
use std::fs;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a run found out.
pub(crate) struct Results {
    pub(crate) machine: String,
    pub(crate) sizes: Sizes,
    pub(crate) rows: Vec<Row>,
    /// What could not be measured, and why.
    pub(crate) notes: Vec<String>,
}

/// The component as a file.
pub(crate) struct Sizes {
    pub(crate) component_bytes: u64,
    pub(crate) precompiled_bytes: u64,
    pub(crate) compile: Duration,
    pub(crate) load: Duration,
}

/// Measures and prints.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let chosen = choose(&settings.only)?;
    let work = tempfile::tempdir()?;
    let machine = machine::facts(work.path());
    println!("{machine}");
    let mut bench = Bench {
        time: settings.time,
        crew_rounds: settings.crew_rounds,
        seed: seed(work.path())?,
        cache: work.path().join("cache"),
        work: work.path().to_owned(),
        crews: Crews::new(&work.path().join("cache"), python_interpreter()),
        python: python_interpreter(),
        notes: machine::warning().into_iter().collect(),
    };
    if bench.python.is_none() {
        bench.notes.push(
            "Python: no interpreter with beaver-db here (`cargo xtask python` makes one)".into(),
        );
    }
    progress("compiling the component");
    let sizes = sizes(&bench.cache)?;
    let mut rows: Vec<Row> = chosen
        .iter()
        .map(|measurement| Row {
            measurement: *measurement,
            rounds: Vec::new(),
        })
        .collect();
    for number in 0..settings.rounds {
        let prefix = format!("round {} of {}", number + 1, settings.rounds);
        bench.round(number, &prefix, &mut rows)?;
    }
    progress("");
    let results = Results {
        machine,
        sizes,
        rows,
        notes: bench.notes,
    };
    print!("{}", report::render(&results));
    match &settings.json {
        Some(path) => json::write(path, &results),
        None => Ok(()),
    }
}

/// What `--only` leaves.
fn choose(only: &[String]) -> Result<Vec<Measurement>> {
    let wanted = |title: &str| {
        let title = title.to_lowercase();
        only.is_empty() || only.iter().any(|filter| title.contains(filter))
    };
    let chosen: Vec<Measurement> = Measurement::ALL
        .into_iter()
        .filter(|measurement| wanted(measurement.title()))
        .collect();
    if chosen.is_empty() {
        let titles = Measurement::ALL.map(Measurement::title);
        bail!("--only leaves nothing of: {}", titles.join("; "));
    }
    Ok(chosen)
}

/// The file that every side starts from.
fn seed(work: &Path) -> Result<PathBuf> {
    let path = work.join("seed.db");
    let database = Database::open(
        path.to_str()
            .context("the temporary directory's name is not UTF-8")?,
        &Options::default(),
    )?;
    let dict = database.dict(DICT)?;
    database.transaction(|_| {
        dict.set("counter", "0", None)?;
        dict.set(COUNTER, "0", None)?;
        (0..ENTRIES).try_for_each(|number| dict.set(&key(number), VALUE, None))
    })?;
    Ok(path)
}

/// Compiles the component into the cache and loads it from there.
fn sizes(cache: &Path) -> Result<Sizes> {
    let start = Instant::now();
    drop(component::host(cache)?);
    let compile = start.elapsed();
    let start = Instant::now();
    drop(component::host(cache)?);
    let load = start.elapsed();
    let mut precompiled_bytes = 0;
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "cwasm")
        {
            precompiled_bytes += entry.metadata()?.len();
        }
    }
    Ok(Sizes {
        component_bytes: fs::metadata(beaver_host::default_component_path())?.len(),
        precompiled_bytes,
        compile,
        load,
    })
}

struct Bench {
    time: Duration,
    crew_rounds: usize,
    seed: PathBuf,
    cache: PathBuf,
    work: PathBuf,
    crews: Crews,
    /// None when there is none, or it failed.
    python: Option<PathBuf>,
    notes: Vec<String>,
}

/// The processes of one round.
struct Sides {
    native: Child,
    component: Child,
    python: Option<Child>,
}

impl Bench {
    fn round(&mut self, number: usize, prefix: &str, rows: &mut [Row]) -> Result<()> {
        let directory = self.work.join(format!("round-{number}"));
        progress(prefix);
        let for_crews = |row: &Row| row.measurement.is_for_crews();
        let mut sides = match rows.iter().all(for_crews) {
            true => None,
            false => Some(Sides {
                native: Child::rust(SideName::Native, &self.place(&directory, "native")?)?,
                component: Child::rust(SideName::Component, &self.place(&directory, "component")?)?,
                python: self.start_python(&directory, rows)?,
            }),
        };
        for (turn, row) in rows.iter_mut().enumerate() {
            if for_crews(row) && number >= self.crew_rounds {
                continue;
            }
            progress(&format!("{prefix}: {}", row.measurement.title()));
            let turn = number + turn;
            let round = match &mut sides {
                Some(sides) if !for_crews(row) => self.measure(sides, row.measurement, turn)?,
                _ => {
                    let crew_directory = directory.join(format!("crew-{turn}"));
                    self.measure_with_crews(&crew_directory, row.measurement, turn)?
                }
            };
            row.rounds.push(round);
        }
        drop(sides);
        remove(&directory)
    }

    /// A directory with a fresh copy of the file.
    fn place(&self, directory: &Path, side: &str) -> Result<Place> {
        let directory = directory.join(side);
        fs::create_dir_all(&directory)?;
        fs::copy(&self.seed, directory.join(FILE))?;
        Ok(Place {
            directory,
            cache: self.cache.clone(),
        })
    }

    fn start_python(&mut self, directory: &Path, rows: &[Row]) -> Result<Option<Child>> {
        let Some(interpreter) = self.python.clone() else {
            return Ok(None);
        };
        let is_for_it = |row: &Row| row.measurement.python() && !row.measurement.is_for_crews();
        if !rows.iter().any(is_for_it) {
            return Ok(None);
        }
        let database = self.place(directory, "python")?.directory.join(FILE);
        let started = Child::python(&interpreter, &database);
        Ok(started.inspect_err(|error| self.give_up_python(error)).ok())
    }

    fn measure(&mut self, sides: &mut Sides, what: Measurement, turn: usize) -> Result<Round> {
        let mut round = Round::default();
        let time = self.time * what.times_longer();
        // Another one begins each time: a processor that slows down or a disk
        // that is busy now doesn't always meet the same side.
        for at in 0..3 {
            match (turn + at) % 3 {
                0 if what.native() => round.native = Some(sides.native.ask(what, time)?),
                1 => round.component = Some(sides.component.ask(what, time)?),
                2 if what.python() => {
                    let Some(python) = &mut sides.python else {
                        continue;
                    };
                    match python.ask(what, time) {
                        Ok(reply) => round.python = Some(reply),
                        Err(error) => {
                            self.give_up_python(&error);
                            sides.python = None;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(round)
    }

    fn measure_with_crews(
        &mut self,
        directory: &Path,
        what: Measurement,
        turn: usize,
    ) -> Result<Round> {
        let mut round = Round::default();
        let time = self.time * what.times_longer();
        for at in 0..3 {
            let (name, who, reply) = match (turn + at) % 3 {
                0 => ("native", Who::Rust(SideName::Native), &mut round.native),
                1 => (
                    "component",
                    Who::Rust(SideName::Component),
                    &mut round.component,
                ),
                _ => ("python", Who::Python, &mut round.python),
            };
            let is_python = who == Who::Python;
            if is_python && !what.python() || !what.native() && name == "native" {
                continue;
            }
            if self.python.is_none() && (is_python || what.needs_python()) {
                continue;
            }
            let place = self.place(directory, name)?;
            match self.crews.measure(who, what, &place.directory, time) {
                Ok(measured) => *reply = Some(measured),
                Err(error) if is_python => self.give_up_python(&error),
                Err(error) => return Err(error.context(format!("{name}: {}", what.title()))),
            }
        }
        remove(directory)?;
        Ok(round)
    }

    fn give_up_python(&mut self, error: &anyhow::Error) {
        self.python = None;
        self.notes.push(format!("Python: {error:#}"));
    }
}

/// Removes what was measured on, if anything was.
fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.context("cleaning up"),
    }
}

/// Says on a terminal what is being done, in one line that is written over.
fn progress(what: &str) {
    let mut terminal = std::io::stderr().lock();
    if terminal.is_terminal() {
        let _ = write!(terminal, "\r\x1b[K{what}");
        let _ = terminal.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_remove_where_nobody_measured() {
        let work = tempfile::tempdir().unwrap();
        let directory = work.path().join("round-0");
        remove(&directory).unwrap();
        fs::create_dir_all(directory.join("native")).unwrap();
        remove(&directory).unwrap();
        assert!(!directory.exists());
    }
}
