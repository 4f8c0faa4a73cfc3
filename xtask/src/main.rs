//! `cargo xtask`: everything one has to do around the code, in one command each.
//!
//! What must stay true: every command sets up what it needs by itself, a second run has nothing
//! to do and says nothing, and after `demo` or `test` a plain `cargo test` works without any
//! environment variable (see `paths.rs` for the files that it looks for).

mod apt_sources;
mod c_compiler;
mod component;
mod debian;
mod deny;
mod fuzz;
mod loom;
mod patch;
mod paths;
mod planted;
mod process;
mod python;
mod staging;
mod steps;
mod toolchain;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]
mod unsafe_inventory;

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use process::{cargo, run_live};
use steps::Steps;

const USAGE: &str = "\
usage: cargo xtask <command>

  setup               get the wasm toolchain and build the component
  component           the same, then print the component's path and size
  env                 print the variables that build a wasm32-wasip2 crate by hand
  python              make the Python environment that holds BeaverDB, for comparison
  demo [args…]        run the demo
  test [args…]        lint, then run all tests; args go to `cargo test`
                      --no-lint skips formatting, clippy and, where cargo-deny is installed,
                      the check of dependencies
  loom                run the concurrency models deeper than `test` does
  bench [args…]       run the benchmarks
  fuzz [name…]        fuzz all targets, or these, one after the other; needs a nightly toolchain
                      --seconds N  each for so long (default: 60)
                      --jobs N     so many at a time
  planted [name…]     build components with planted faults, for the simulator to find
  harness [args…]     prove or refute what a store claims: `cargo xtask harness help`

environment:
  BEAVER_COMPONENT=<file>   use this component instead of building one
  BEAVER_PYTHON=<file>      use this Python (with beaver-db) instead of making an environment
  WASI_SDK_PATH=<folder>    take the C compiler and C library for wasm from this wasi-sdk
  CC_wasm32_wasip2=<file>   take this C compiler
  BEAVER_WASM_TOOLCHAIN=private
                            build the wasm standard library from the distribution's sources
                            even where rustup could provide it
";

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let command = if args.is_empty() {
        "help".to_owned()
    } else {
        args.remove(0)
    };
    match dispatch(&command, args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &str, args: Vec<String>) -> Result<ExitCode> {
    let takes_args = matches!(
        command,
        "demo" | "test" | "bench" | "harness" | "planted" | "fuzz"
    );
    if !takes_args && !args.is_empty() {
        bail!(
            "`{command}` takes no arguments, but got: {}",
            args.join(" ")
        );
    }
    match command {
        "setup" => {
            component::ready()?;
            Ok(ExitCode::SUCCESS)
        }
        "component" => {
            let component = component::ready()?;
            let bytes = std::fs::metadata(component.path())?.len();
            println!("{} ({} KiB)", component.path().display(), bytes / 1024);
            Ok(ExitCode::SUCCESS)
        }
        "env" => {
            for (name, value) in toolchain::ready()?.env() {
                println!("export {name}='{}'", value.replace('\'', r"'\''"));
            }
            Ok(ExitCode::SUCCESS)
        }
        "python" => {
            let python = python::make()?;
            println!("{}", python.display());
            Ok(ExitCode::SUCCESS)
        }
        "demo" => run_program("beaver-demo", args),
        "bench" => run_program("beaver-bench", args),
        "harness" => run_program("beaver-harness", args),
        "test" => test(args),
        "loom" => loom::run(),
        "fuzz" => fuzz::run(&args),
        "planted" => planted::run(&args).map(|()| ExitCode::SUCCESS),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        unknown => bail!("there is no command `{unknown}`\n\n{USAGE}"),
    }
}

/// Runs a program of the workspace in release mode and hands on its exit code.
fn run_program(package: &str, args: Vec<String>) -> Result<ExitCode> {
    let component = component::ready()?;
    let python = python::make_or_explain();
    let mut program = cargo();
    program
        .args(["run", "--quiet", "--release", "--package", package, "--"])
        .args(args);
    component.pass_to(&mut program);
    pass_python(python.as_deref(), &mut program);
    Ok(process::exit_code(run_live(&mut program)?))
}

fn test(args: Vec<String>) -> Result<ExitCode> {
    let (lint, args) = split_no_lint(args);
    let mut steps = Steps::default();

    let component = steps.run("component", component::ready)?;
    let python = steps.run("python", || Ok(python::make_or_explain()))?;

    let failed = (|| -> Result<Option<ExitCode>> {
        if lint {
            let mut fmt = cargo();
            fmt.args(["fmt", "--all", "--check"]);
            if let Some(code) = steps.command("format", &mut fmt)? {
                return Ok(Some(code));
            }
            let mut clippy = cargo();
            clippy
                .args(["clippy", "--workspace", "--all-targets"])
                .args(["--exclude", component::PACKAGE])
                .args(["--", "-D", "warnings"]);
            if let Some(code) = steps.command("clippy", &mut clippy)? {
                return Ok(Some(code));
            }
            if let Some(mut deny) = deny::command()
                && let Some(code) = steps.command("dependencies", &mut deny)?
            {
                return Ok(Some(code));
            }
            // A component that somebody else built leaves no toolchain here to lint ours with.
            if let Some(mut clippy) = component.clippy()
                && let Some(code) = steps.command("clippy (wasm)", &mut clippy)?
            {
                return Ok(Some(code));
            }
        }
        let mut tests = cargo();
        tests.arg("test");
        if !selects_packages(&args) {
            tests.args(["--workspace", "--exclude", component::PACKAGE]);
        }
        tests.args(&args);
        component.pass_to(&mut tests);
        pass_python(python.as_deref(), &mut tests);
        steps.command("tests", &mut tests)
    })()?;

    steps.summary();
    Ok(failed.unwrap_or(ExitCode::SUCCESS))
}

fn pass_python(python: Option<&std::path::Path>, command: &mut Command) {
    if let Some(python) = python {
        command.env(python::ENV, python);
    }
}

/// Takes `--no-lint` out, unless it stands behind `--` and is meant for the test binaries.
fn split_no_lint(args: Vec<String>) -> (bool, Vec<String>) {
    let ours = args
        .iter()
        .position(|arg| arg == "--")
        .unwrap_or(args.len());
    let mut lint = true;
    let kept = args
        .into_iter()
        .enumerate()
        .filter(|(at, arg)| {
            let is_flag = *at < ours && arg == "--no-lint";
            lint &= !is_flag;
            !is_flag
        })
        .map(|(_, arg)| arg)
        .collect();
    (lint, kept)
}

/// Cargo refuses or ignores `-p` beside `--workspace`.
fn selects_packages(args: &[String]) -> bool {
    args.iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg.starts_with("-p") || arg.starts_with("--package"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn no_lint_is_ours_only_before_the_double_dash() {
        assert_eq!(split_no_lint(args("--no-lint foo")), (false, args("foo")));
        assert_eq!(
            split_no_lint(args("foo -- --no-lint")),
            (true, args("foo -- --no-lint"))
        );
    }

    #[test]
    fn a_chosen_package_replaces_the_workspace() {
        assert!(selects_packages(&args("-p beaver-core")));
        assert!(selects_packages(&args("--package=beaver-core")));
        assert!(!selects_packages(&args("queue -- -p")));
    }
}
