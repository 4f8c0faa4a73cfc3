//! Fuzzing: builds the programs in `fuzz/targets` with cargo-fuzz, and runs each for a time.
//!
//! What must stay true: a target that was named ran for as long as was asked for, or the
//! command fails; what an input broke is kept, and how to try it again is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::c_compiler;
use crate::component::{self, Component};
use crate::paths;
use crate::process::{program, run_live, run_quiet};
use crate::python;

/// The toolchain that has the compiler's flags for it.
const TOOLCHAIN: &str = "+nightly";
/// The target of the programs, so that build scripts aren't instrumented.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// Instruments C code as rustc does Rust, for rustc's runtimes.
const CFLAGS: &str = "-fsanitize=fuzzer-no-link,address";
/// An input that takes longer is a finding.
const INPUT_SECONDS_MAX: u32 = 60;

struct Options {
    seconds: u32,
    jobs: usize,
    names: Vec<String>,
}

/// Runs the targets named, or all, `--jobs` at a time.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let known = known()?;
    let options = parse(args, &known)?;
    let component = component::ready()?;
    let python = python::make_or_explain();
    let places = Places::new();
    build(&places)?;

    let waiting = Mutex::new(options.names.iter());
    let one_after_another = || -> Result<Vec<&String>> {
        let mut failed = Vec::new();
        let next = || {
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.next()
        };
        while let Some(name) = next() {
            eprintln!("{name}: for {} s …", options.seconds);
            let mut fuzz = command(name, &places, options.seconds, &component, &python)?;
            let status = fuzz
                .status()
                .with_context(|| format!("could not run {name}"))?;
            if !report(name, &places, status.success()) {
                failed.push(name);
            }
        }
        Ok(failed)
    };
    // Each waits for what it has started, also when another one couldn't start its own.
    let ended: Vec<_> = thread::scope(|scope| {
        let jobs =
            (0..options.jobs.min(options.names.len())).map(|_| scope.spawn(one_after_another));
        let jobs: Vec<_> = jobs.collect();
        jobs.into_iter().map(|job| job.join()).collect()
    });
    let mut failed = Vec::new();
    for job in ended {
        failed.extend(job.map_err(|_| anyhow!("a job panicked"))??);
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{} of {} failed. An input is tried again by the test command once it lies in fuzz/corpus.",
        failed.len(),
        options.names.len()
    );
    Ok(ExitCode::FAILURE)
}

fn parse(args: &[String], known: &[String]) -> Result<Options> {
    let mut options = Options {
        seconds: 60,
        jobs: 1,
        names: Vec::new(),
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || -> Result<u32> {
            let value = args
                .next()
                .with_context(|| format!("{arg} needs a number"))?;
            let number = value.parse().with_context(|| format!("{arg} {value}"))?;
            ensure!(number > 0, "{arg} {value}: nothing would run");
            Ok(number)
        };
        match arg.as_str() {
            "--seconds" => options.seconds = number()?,
            "--jobs" => options.jobs = number()? as usize,
            name if known.iter().any(|known| known == name) => options.names.push(arg.clone()),
            other => bail!(
                "there is no `{other}`, but --seconds N, --jobs N, {}",
                known.join(", ")
            ),
        }
    }
    if options.names.is_empty() {
        options.names = known.to_vec();
    }
    Ok(options)
}

/// The targets: there is a program for each.
fn known() -> Result<Vec<String>> {
    let folder = paths::fuzz().join("targets").join("fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .and_then(|stem| stem.to_str())
                .map(str::to_owned),
        );
    }
    names.sort();
    Ok(names)
}

/// Where what fuzzing makes lies.
struct Places {
    target: PathBuf,
}

impl Places {
    fn new() -> Self {
        Self {
            target: paths::target().join("fuzz"),
        }
    }

    fn program(&self, name: &str) -> PathBuf {
        self.target.join(TRIPLE).join("release").join(name)
    }

    /// The inputs that reached something new.
    fn found(&self, name: &str) -> PathBuf {
        self.target.join("corpus").join(name)
    }

    /// The inputs that broke something.
    fn findings(&self, name: &str) -> PathBuf {
        self.target.join("findings").join(name)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.target.join(format!("{name}.log"))
    }
}

/// cargo-fuzz, from crates.io if it isn't there.
fn cargo_fuzz() -> Result<PathBuf> {
    if let Some(found) = paths::on_path("cargo-fuzz") {
        return Ok(found);
    }
    let tools = paths::target().join("tools");
    let program_path = tools.join("bin").join("cargo-fuzz");
    if !program_path.is_file() {
        eprintln!("installing cargo-fuzz …");
        let mut install = program("cargo");
        install.args(["install", "cargo-fuzz", "--locked", "--quiet", "--root"]);
        run_quiet(install.arg(&tools))?;
    }
    Ok(program_path)
}

fn build(places: &Places) -> Result<()> {
    let cargo_fuzz = cargo_fuzz()?;
    run_quiet(program("cargo").args([TOOLCHAIN, "--version"]))
        .context("fuzzing needs a nightly toolchain: `rustup toolchain install nightly`")?;
    let compiler = c_compiler::Compiler::ready()?;
    let mut build = program("cargo");
    build
        .args([TOOLCHAIN, "fuzz", "build", "--target", TRIPLE])
        .arg("--fuzz-dir")
        .arg(paths::fuzz().join("targets"))
        .arg("--target-dir")
        .arg(&places.target)
        .env("PATH", with_folder_of(&cargo_fuzz)?)
        .env(format!("CC_{TRIPLE}"), &compiler.cc)
        .env(format!("CFLAGS_{TRIPLE}"), CFLAGS);
    ensure!(
        run_live(&mut build)?.success(),
        "the programs can't be built"
    );
    Ok(())
}

/// `PATH` with one more folder, so that cargo finds its subcommand.
fn with_folder_of(program: &Path) -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folder = program.parent().map(Path::to_path_buf);
    let all = folder.into_iter().chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(all)?)
}

fn command(
    name: &str,
    places: &Places,
    seconds: u32,
    component: &Component,
    python: &Option<PathBuf>,
) -> Result<Command> {
    let (found, findings) = (places.found(name), places.findings(name));
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&findings)?;
    let log = fs::File::create(places.log(name))?;
    let mut fuzz = program(places.program(name));
    fuzz.arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args([
            "-print_final_stats=1",
            "-rss_limit_mb=4096",
            "-detect_leaks=0",
        ])
        .arg(&found)
        .arg(paths::fuzz().join("corpus").join(name))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    component.pass_to(&mut fuzz);
    crate::pass_python(python.as_deref(), &mut fuzz);
    Ok(fuzz)
}

/// Whether all is well.
fn report(name: &str, places: &Places, succeeded: bool) -> bool {
    let log = fs::read_to_string(places.log(name)).unwrap_or_default();
    match Figures::of(&log) {
        Some(figures) if succeeded => {
            println!("{name}: {figures}");
            true
        }
        _ => {
            println!("{name}: FAILED, see {}", places.log(name).display());
            for line in log.lines().filter(|line| line.contains(" written to ")) {
                println!("  {line}");
            }
            false
        }
    }
}

/// What libFuzzer says at the end.
#[derive(Debug, PartialEq, Eq)]
struct Figures {
    inputs: u64,
    edges: u64,
    kept: u64,
}

impl Figures {
    fn of(log: &str) -> Option<Self> {
        let stat = |name: &str| {
            let mut lines = log.lines().rev();
            lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        // "#1024 DONE cov: 42 ft: 90 corp: 7/99b …"
        let last = log.lines().rev().find(|line| line.contains(" cov: "))?;
        let word = |name: &str| {
            last.split_whitespace()
                .skip_while(|word| *word != name)
                .nth(1)
        };
        Some(Self {
            inputs: stat("stat::number_of_executed_units:")?,
            edges: word("cov:")?.parse().ok()?,
            kept: word("corp:")?.split('/').next()?.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} inputs, {} edges, {} inputs kept, nothing found",
            self.inputs, self.edges, self.kept
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libfuzzers_last_words_are_understood() {
        let log = "#2\tINITED cov: 3 ft: 4 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                   #4096\tDONE   cov: 42 ft: 90 corp: 7/99b lim: 43 exec/s: 2048 rss: 31Mb\n\
                   Done 4096 runs in 2 second(s)\n\
                   stat::number_of_executed_units: 4096\n\
                   stat::average_exec_per_sec:     2048\n";
        let figures = Figures {
            inputs: 4096,
            edges: 42,
            kept: 7,
        };
        assert_eq!(Figures::of(log), Some(figures));
        assert_eq!(Figures::of("==1== ERROR: libFuzzer: deadly signal\n"), None);
    }

    #[test]
    fn what_is_no_target_is_refused() {
        let known = ["json".to_owned(), "list".to_owned()];
        let parsed = |line: &str| {
            let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            parse(&args, &known).map(|options| (options.seconds, options.jobs, options.names))
        };
        assert_eq!(parsed("").unwrap(), (60, 1, known.to_vec()));
        let one = vec!["list".to_owned()];
        assert_eq!(parsed("--seconds 5 list --jobs 2").unwrap(), (5, 2, one));
        for wrong in ["lists", "--seconds", "--seconds x", "--jobs 0"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_program_is_known_to_cargo() {
        let manifest = paths::fuzz().join("targets").join("Cargo.toml");
        let manifest = fs::read_to_string(manifest).unwrap();
        for name in known().unwrap() {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        }
    }
}
