//! Commands that do again what was done, for a shell.
//!
//! What must stay true: what a replay says, read as the command line reads it, is the run that it
//! stands for, without what that run left behind.

use super::args::{Run, Which};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// The command that runs one of the programs again.
pub(crate) fn replay(run: &Run, name: &str, seed: u64) -> String {
    let mut args = vec!["run".to_owned()];
    // All of it: an option that comes to be known must be repeated or left out on purpose.
    let Run {
        which,
        programs: _,
        scenario,
        workers,
        processes,
        duration,
        steps_max,
        repeat_for: _,
        seed: _,
        faults,
        fault_interval,
        // These four in `bounds`.
        patience: _,
        patience_forever: _,
        late_ms: _,
        handover_ms: _,
        outputs: _,
        histories: _,
        keep: _,
        out: _,
        check: _,
        candidates_max: _,
        tries: _,
        every_try: _,
        quiet: _,
        given: _,
    } = run;
    let usual = Run::default();
    args.extend(system(which));
    match scenario {
        Some(file) => option(&mut args, "scenario", file.to_string_lossy()),
        None => option(&mut args, "workload", name),
    }
    option(&mut args, "seed", seed);
    if *workers != usual.workers {
        option(&mut args, "workers", workers);
    }
    if let Some(processes) = processes {
        option(&mut args, "processes", processes);
    }
    if *duration != usual.duration {
        option(&mut args, "seconds", seconds(*duration));
    }
    if let Some(steps_max) = steps_max {
        option(&mut args, "steps", steps_max);
    }
    if let Some(faults) = faults {
        option(&mut args, "faults", faults);
    }
    if *fault_interval != usual.fault_interval {
        option(&mut args, "fault-interval-ms", fault_interval.as_millis());
    }
    bounds(&mut args, run);
    args.extend(driver_command(which));
    command_line(&args)
}

/// The command that runs a program which `run` left behind, and which has its workers, faults and
/// clocks in itself.
pub(crate) fn scenario(run: &Run, file: &Path) -> String {
    let mut args = vec!["run".to_owned()];
    args.extend(system(&run.which));
    option(&mut args, "scenario", file.to_string_lossy());
    bounds(&mut args, run);
    args.extend(driver_command(&run.which));
    command_line(&args)
}

pub(crate) fn option(args: &mut Vec<String>, name: &str, value: impl ToString) {
    args.extend([format!("--{name}"), value.to_string()]);
}

/// The same number of nanoseconds, however it is read.
fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

fn bounds(args: &mut Vec<String>, run: &Run) {
    let usual = Run::default();
    if run.patience != usual.patience {
        option(args, "patience", seconds(run.patience));
    }
    if run.patience_forever != usual.patience_forever {
        option(args, "patience-forever", seconds(run.patience_forever));
    }
    if let Some(late_ms) = run.late_ms {
        option(args, "late-ms", late_ms);
    }
    if let Some(handover_ms) = run.handover_ms {
        option(args, "handover-ms", handover_ms);
    }
}

/// Which system, but for a command behind `--`.
pub(super) fn system(which: &Which) -> Vec<String> {
    let mut args = Vec::new();
    let Which {
        driver,
        command: _,
        component,
        python,
        settings,
    } = which;
    if let Some(driver) = driver {
        option(&mut args, "driver", driver);
    }
    if let Some(component) = component {
        option(&mut args, "component", component.to_string_lossy());
    }
    if let Some(python) = python {
        option(&mut args, "python", python.to_string_lossy());
    }
    for (key, value) in settings {
        let text = match value {
            // What isn't JSON is text.
            Value::String(text) if serde_json::from_str::<Value>(text).is_err() => text.clone(),
            value => value.to_string(),
        };
        option(&mut args, "set", format!("{key}={text}"));
    }
    args
}

pub(super) fn driver_command(which: &Which) -> Vec<String> {
    let mut args = Vec::new();
    if !which.command.is_empty() {
        args.push("--".to_owned());
        let command = which.command.iter();
        args.extend(command.map(|arg| arg.to_string_lossy().into_owned()));
    }
    args
}

/// As a shell takes it.
pub(crate) fn command_line(args: &[String]) -> String {
    let mut line = "beaver-harness".to_owned();
    for arg in args {
        line.push(' ');
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
        if !arg.is_empty() && arg.chars().all(plain) {
            line.push_str(arg);
        } else {
            line.push_str(&format!("'{}'", arg.replace('\'', r"'\''")));
        }
    }
    line
}

/// The words of a line, as a shell takes them: quoted by `'`, and `\` before one.
#[cfg(test)]
pub(crate) fn words(line: &str) -> Vec<std::ffi::OsString> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let (mut quoted, mut escaped) = (false, false);
    for c in line.chars() {
        match c {
            _ if escaped => {
                word.get_or_insert_default().push(c);
                escaped = false;
            }
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if !quoted => escaped = true,
            ' ' if !quoted => words.extend(word.take().map(std::ffi::OsString::from)),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word.map(std::ffi::OsString::from));
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Command, parse};
    use std::ffi::OsString;

    fn read(args: impl IntoIterator<Item = OsString>) -> Run {
        match parse(args).unwrap() {
            Command::Run(run) | Command::Shrink(run) => *run,
            _ => panic!("another command"),
        }
    }

    fn read_again(line: &str) -> Run {
        let mut words = words(line);
        assert_eq!(words.remove(0), "beaver-harness");
        read(words)
    }

    /// What a run leaves behind, or that a replay sets itself.
    const LEFT: &[&str] = &[
        "--html=a.html",
        "--junit",
        "a b.xml",
        "--json",
        "--seed",
        "--histories",
        "h=1",
        "-q",
        "--quiet",
        "--for",
        "9",
    ];

    #[test]
    fn a_replay_is_read_as_the_run_that_it_stands_for() {
        let kept: &[&[&str]] = &[
            &["--driver", "reference", "--set", "defect=stale-read"],
            &[
                "--set=every=1",
                "--set",
                r#"a="7""#,
                "--set",
                "b=a 'quoted' $HOME",
            ],
            &[
                "--set",
                "c=",
                "--set",
                "d=1e3",
                "--set",
                r#"e={"x": [1, null]}"#,
            ],
            &["--component", "a b.wasm", "--python", "--html"],
            &[
                "--workers",
                "3",
                "--processes=2",
                "--seconds",
                "0.123456789",
            ],
            &[
                "--steps",
                "5",
                "--faults",
                "kill, stop",
                "--fault-interval-ms",
                "7",
            ],
            &["--faults", "all", "--patience", "1.1", "--late-ms", "9"],
            &["--patience-forever", "7"],
            &["--handover-ms", "99"],
            &["--", "my driver", "--seed", "it's", "", "--html=x"],
            &[],
        ];
        for kept in kept {
            let line = |before: &[&str]| {
                let all = ["run"].iter().chain(before).chain(*kept);
                all.map(OsString::from).collect::<Vec<_>>()
            };
            let one = ["--workload", "bank", "--seed", "18446744073709551615"];
            let run = read(line(
                &[LEFT, &["--workload", "all", "--seed", "3"]].concat(),
            ));
            let mut again = read_again(&replay(&run, "bank", u64::MAX));
            let mut wanted = read(line(&one));
            (again.given, wanted.given) = (Vec::new(), Vec::new());
            assert_eq!(again, wanted);
        }
    }

    #[test]
    fn a_scenario_is_repeated_from_its_file() {
        let line = [
            "run",
            "--driver",
            "native",
            "--scenario",
            "my file.json",
            "--seed",
            "7",
        ];
        let run = read(line.map(OsString::from));
        assert_eq!(
            replay(&run, "bank", 7),
            "beaver-harness run --driver native --scenario 'my file.json' --seed 7"
        );
    }

    #[test]
    fn what_was_shrunk_needs_nothing_but_the_system_and_its_bounds() {
        let line = "shrink --workload bank --seed 7 --faults all --workers 3 --processes 1 --steps 4 \
                    --seconds 1 --check bank --tries 9 --late-ms 5 --set x=1 --out x.json -- my driver";
        let run = read(line.split_whitespace().map(OsString::from));
        assert_eq!(
            scenario(&run, Path::new("x.json")),
            "beaver-harness run --set x=1 --scenario x.json --late-ms 5 -- my driver"
        );
    }
}
