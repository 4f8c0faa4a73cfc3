//! The suite in `cargo test`: [`suite!`](crate::suite!) and what its tests do.
//!
//! What must stay true: there is one test for each program of the catalog; a run that did not
//! pass says how to look at it and how to repeat it; a driver that nothing is asked of fails.

use super::{Options, run_named};
use crate::catalog;
use crate::check::Verdict;
use crate::driver::Driver;
use crate::report::{Outcome, RunReport};
use crate::run::{self, Progress};
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::PathBuf;
use std::time::Duration;

/// The environment variable with the seed of each test.
pub const SEED: &str = "BEAVER_HARNESS_SEED";

/// The environment variable with how many seconds each workload runs; `0.5` is fine.
pub const SECONDS: &str = "BEAVER_HARNESS_SECONDS";

impl Options {
    /// For tests: a new seed with each call, and one second for each workload.
    pub fn for_tests() -> Self {
        Self {
            // Short enough to be typed again.
            seed: RandomState::new().build_hasher().finish() % 1_000_000,
            duration: Duration::from_secs(1),
            ..Self::default()
        }
    }

    /// What the environment says goes before all else.
    fn overridden(mut self, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        if let Some(seed) = variable(SEED) {
            self.seed = seed
                .parse()
                .map_err(|_| format!("{SEED}: {seed:?} is no whole number"))?;
        }
        if let Some(seconds) = variable(SECONDS) {
            let duration = seconds.parse().ok().map(Duration::try_from_secs_f64);
            self.duration = duration
                .and_then(Result::ok)
                .ok_or_else(|| format!("{SECONDS}: {seconds:?} is no number of seconds"))?;
        }
        Ok(self)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs the program of this name, for a test: what isn't offered passes with a note on standard
/// error.
///
/// [`SEED`] and [`SECONDS`] in the environment go before `options`. The history of a run
/// that did not pass is kept in the system's folder for temporary files, unless
/// `options` have a folder, where all are kept.
///
/// # Panics
/// Unless it passes; the message tells what is wrong and how to repeat it.
#[track_caller]
pub fn assert(driver: &dyn Driver, name: &str, options: &Options) {
    test(driver, name, options, None);
}

/// [`assert`] with a folder for what is to be kept.
///
/// # Panics
/// As [`assert`].
#[doc(hidden)]
#[track_caller]
pub fn test(driver: &dyn Driver, name: &str, options: &Options, folder: Option<&str>) {
    let mut options = match options.clone().overridden(variable) {
        Ok(options) => options,
        Err(message) => panic!("{message}"),
    };
    let keep_all = options.histories.is_some();
    options
        .histories
        .get_or_insert_with(|| kept_in(&driver.name(), folder));
    options.run.replay = replay(name, options.seed);
    let report = match run_named(driver, name, &options, &Progress::default()) {
        Ok(report) => report,
        Err(message) => panic!("{message}"),
    };
    if let Some(complaint) = complaint(&report, &driver.name()) {
        panic!("{complaint}");
    }
    if let Outcome::NotOffered { missing } = &report.outcome {
        let missing = missing.join(", ");
        eprintln!(
            "{name} on {}: left out, not offered: {missing}",
            driver.name()
        );
    }
    if !keep_all {
        // It passed: a file too many does no harm.
        if let Some(history) = report.history {
            let _ = std::fs::remove_file(history);
        }
        // Of this driver, and of this process; unless others have something there.
        for folder in options
            .histories
            .iter()
            .flat_map(|it| it.ancestors().take(2))
        {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// Shows what of the catalog the driver is asked for.
///
/// # Panics
/// Nothing: then all other tests pass, and show nothing. Or the driver doesn't start.
#[doc(hidden)]
#[track_caller]
pub fn offers_something(driver: &dyn Driver, options: &Options) {
    let description = match run::describe(driver, &options.run) {
        Ok(description) => description,
        Err(error) => panic!("{}: {error}", driver.name()),
    };
    let (mut offered, mut left_out) = (Vec::new(), Vec::new());
    for entry in catalog::all() {
        let Some(plan) = catalog::plan(&entry.name, options.workers, options.seed) else {
            continue;
        };
        let missing = run::missing(driver, &plan, &options.run, &description);
        if missing.is_empty() {
            offered.push(entry.name);
        } else {
            left_out.push(format!("{} ({})", entry.name, missing.join(", ")));
        }
    }
    let all = offered.len() + left_out.len();
    eprintln!(
        "{} of {all} on {}: {}\nleft out, not offered: {}",
        offered.len(),
        driver.name(),
        offered.join(", "),
        left_out.join("; "),
    );
    assert!(
        !offered.is_empty(),
        "{} offers nothing that any workload or scenario could be run with",
        driver.name()
    );
}

/// Where the histories of one driver's tests are kept.
fn kept_in(driver: &str, folder: Option<&str>) -> PathBuf {
    let folder = match folder {
        Some(folder) => PathBuf::from(folder).join("beaver-harness"),
        // Others may use the same.
        None => std::env::temp_dir().join(format!("beaver-harness-{}", std::process::id())),
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    folder.join(driver.chars().map(plain).collect::<String>())
}

/// The command that runs the test again.
fn replay(name: &str, seed: u64) -> String {
    let mut command = format!("{SEED}={seed} ");
    if let Some(seconds) = variable(SECONDS) {
        let _ = write!(command, "{SECONDS}={seconds} ");
    }
    command.push_str("cargo test");
    if let Some(package) = variable("CARGO_PKG_NAME") {
        let _ = write!(command, " -p {package}");
    }
    // A test's thread is called as the test is.
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main");
    let _ = match test {
        Some(test) => write!(command, " -- --exact {test}"),
        None => write!(command, " {}", name.replace('-', "_")),
    };
    command
}

/// What to say of a run that neither passed nor was left out.
fn complaint(report: &RunReport, driver: &str) -> Option<String> {
    let mut text = format!("{} on {driver}: {}", report.program, report.word());
    let _ = writeln!(
        text,
        ", seed {}\n  promised: {}",
        report.seed, report.promise
    );
    match &report.outcome {
        Outcome::NotOffered { .. } => return None,
        Outcome::HarnessError { message } => {
            let _ = writeln!(text, "  {message}");
        }
        Outcome::Judged(judged) => {
            if judged.verdict() == Verdict::Pass {
                return None;
            }
            for result in &judged.results {
                if let Some(first) = result.violations.first() {
                    let _ = writeln!(text, "  {}: {}", result.spec.name(), first.message);
                }
            }
            if let Some(why) = judged.why_unknown() {
                let _ = writeln!(text, "  {why}");
            }
        }
    }
    if !report.notes.is_empty() {
        let _ = writeln!(text, "the driver's notes:\n{}", report.notes.trim_end());
    }
    if let Some(history) = &report.history {
        let history = history.display();
        let _ = writeln!(
            text,
            "as a page: beaver-harness check '{history}' --html report.html"
        );
    }
    let _ = write!(text, "once more: {}", report.replay);
    Some(text)
}

/// Makes a `#[test]` of every workload and every scenario, for the given driver.
///
/// ```
/// # use beaver_harness::driver::{Reference, StdioDriver};
/// # mod one { use super::*;
/// beaver_harness::suite!(Reference::default());
/// # }
/// # mod other { use super::*; use beaver_harness::suite::Options; use std::time::Duration;
///
/// // Or, in a module of its own:
/// beaver_harness::suite!(
///     StdioDriver::new("target/debug/serve"),
///     options = Options { workers: 4, duration: Duration::from_millis(300), ..Options::for_tests() },
/// );
/// # }
/// ```
///
/// They are called as in `beaver-harness list`, in snake case: `cargo test lock_` runs what is about
/// locks. What the driver doesn't offer passes with a note; `offers_something` fails if that is
/// everything, and shows the list (with `-- --nocapture`).
///
/// Without `options` they are [`Options::for_tests`](crate::suite::Options::for_tests). Each run
/// has a new seed. The message of a test that fails says which,
/// what is wrong, where the history is kept, and with which command to repeat it.
/// `BEAVER_HARNESS_SEED` and `BEAVER_HARNESS_SECONDS` in the environment go before `options`.
#[macro_export]
macro_rules! suite {
    ($driver:expr $(,)?) => {
        $crate::suite!($driver, options = $crate::suite::Options::for_tests());
    };
    ($driver:expr, options = $options:expr $(,)?) => {
        #[test]
        fn offers_something() {
            $crate::suite::offers_something(&$driver, &$options);
        }
        $crate::__programs!([$crate::__suite_tests] [$driver, $options]);
    };
}

/// Hands the names of all programs to another macro, for it has no other way to know them.
#[doc(hidden)]
#[macro_export]
macro_rules! __programs {
    ([$($then:tt)*] [$($given:tt)*]) => {
        $($then)*! {
            [$($given)*]
            dict_increment = "dict-increment",
            dict_registers = "dict-registers",
            dict_operations = "dict-operations",
            dict_transactions = "dict-transactions",
            queue_delivery = "queue-delivery",
            queue_batches = "queue-batches",
            queue_batches_locked = "queue-batches-locked",
            queue_thief = "queue-thief",
            queue_timeouts = "queue-timeouts",
            list_edits = "list-edits",
            collection_states = "collection-states",
            collection_states_locked = "collection-states-locked",
            blob_replace = "blob-replace",
            lock_exclusion = "lock-exclusion",
            lock_exclusion_managers = "lock-exclusion-managers",
            lock_fifo = "lock-fifo",
            lock_timeouts = "lock-timeouts",
            lock_ttl = "lock-ttl",
            lock_renewal = "lock-renewal",
            lock_fencing = "lock-fencing",
            lock_mandatory = "lock-mandatory",
            bank = "bank",
            bank_locked = "bank-locked",
            write_skew = "write-skew",
            write_skew_locked = "write-skew-locked",
            log_delivery = "log-delivery",
            log_appends = "log-appends",
            channel_delivery = "channel-delivery",
            certified = "certified",
            mixed = "mixed",
            mixed_locked = "mixed-locked",
            slow_enqueue = "slow-enqueue",
            same_instant = "same-instant",
            ttl_from_request = "ttl-from-request",
            waiter_outlives_ttl = "waiter-outlives-ttl",
            stale_holder = "stale-holder",
            killed_holder = "killed-holder",
            waiter_behind_killed_holder = "waiter-behind-killed-holder",
            threads_exclude = "threads-exclude",
            exception_in_batch = "exception-in-batch",
            thief_in_batches = "thief-in-batches",
            clock_behind = "clock-behind",
            clock_ahead = "clock-ahead",
            clock_behind_releases = "clock-behind-releases",
            hand_over = "hand-over",
            plain_gets = "plain-gets",
            appends = "appends",
            many_appends = "many-appends",
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __suite_tests {
    ([$driver:expr, $options:expr] $($test:ident = $name:literal,)*) => {$(
        #[test]
        fn $test() {
            // Where the user's own tests may leave files; unit tests have no such place.
            let folder = option_env!("CARGO_TARGET_TMPDIR");
            $crate::suite::test(&$driver, $name, &$options, folder);
        }
    )*};
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Reference;
    use crate::driver::reference::Defect;

    macro_rules! names {
        ([] $($test:ident = $name:literal,)*) => {
            vec![$((stringify!($test), $name),)*]
        };
    }

    #[test]
    fn there_is_a_test_for_each_program() {
        let tests: Vec<(&str, &str)> = crate::__programs!([names] []);
        let names: Vec<_> = tests.iter().map(|(_, name)| (*name).to_owned()).collect();
        let all: Vec<_> = catalog::all().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, all);
        for (test, name) in tests {
            assert_eq!(test, name.replace('-', "_"));
        }
    }

    #[test]
    fn the_environment_goes_first_and_must_make_sense() {
        let options = || Options {
            seed: 1,
            ..Options::for_tests()
        };
        let with = |name: &'static str, value: &'static str| {
            options().overridden(move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(options().overridden(|_| None).unwrap().seed, 1);
        assert_eq!(with(SEED, "17").unwrap().seed, 17);
        let half = with(SECONDS, "0.5").unwrap();
        assert_eq!((half.seed, half.duration), (1, Duration::from_millis(500)));
        for (name, value) in [(SEED, "-1"), (SEED, ""), (SECONDS, "-1"), (SECONDS, "nan")] {
            let error = with(name, value).unwrap_err();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }

    fn short(folder: &std::path::Path) -> Options {
        let mut options = Options::for_tests();
        options.run.steps_max = Some(60);
        options.histories = Some(folder.to_owned());
        options
    }

    #[test]
    fn a_failure_says_what_is_wrong_and_where_to_look_and_how_to_repeat_it() {
        let folder = tempfile::tempdir().unwrap();
        let driver = Reference::broken(Defect::LostUpdate, 20);
        let mut options = short(folder.path());
        options.run.replay = replay("dict-increment", options.seed);
        let report = run_named(&driver, "dict-increment", &options, &Progress::default());
        let report = report.unwrap();
        let said = complaint(&report, "mine").unwrap();
        let history = report.history.unwrap();
        assert!(history.exists());
        for part in [
            "dict-increment on mine: fail",
            "\n  counter: ",
            &history.display().to_string(),
            &format!("{SEED}={} cargo test", options.seed),
        ] {
            assert!(said.contains(part), "{part:?} is missing in:\n{said}");
        }
    }

    #[test]
    fn what_passes_or_is_not_offered_leaves_nothing_but_what_was_asked_for() {
        struct Little;

        impl crate::driver::Store for Little {
            const NAME: &'static str = "a/little";
            const CAPABILITIES: &'static [crate::protocol::Capability] = &[];

            fn open(_: &crate::protocol::Init) -> Result<Self, crate::protocol::Failure> {
                Ok(Self)
            }

            fn call(
                &mut self,
                op: &crate::protocol::Op,
            ) -> Result<serde_json::Value, crate::protocol::Failure> {
                panic!("nobody may ask for {}", op.name())
            }
        }

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str();
        let good = Reference::new();
        let options = Options {
            histories: None,
            ..short(folder.path())
        };
        assert_eq!(
            kept_in("a/b", path).parent().unwrap().parent(),
            Some(folder.path())
        );
        test(&good, "dict-increment", &options, path);
        let little = crate::driver::Embedded::<Little>::new();
        test(&little, "dict-increment", &options, path);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        // What somebody else keeps beside it stays.
        let others = kept_in("reference", path).join("others.jsonl");
        std::fs::create_dir_all(others.parent().unwrap()).unwrap();
        std::fs::write(&others, "").unwrap();
        test(&good, "dict-increment", &options, path);
        assert_eq!(std::fs::read(&others).unwrap(), b"");
        let all = folder.path().join("all");
        test(&good, "dict-increment", &short(&all), path);
        assert_eq!(std::fs::read_dir(&all).unwrap().count(), 1);
        offers_something(&good, &options);
        let nothing = std::panic::catch_unwind(|| offers_something(&little, &options));
        assert!(nothing.is_err());
    }
}
