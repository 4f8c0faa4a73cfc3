//! Threads of one process.

use super::{dict, get, increment, locked, scenario, sleep, with};
use crate::check::CheckSpec;
use crate::program::{Layout, Program};

/// Probe 7: threads of a process share the lock's object, so the second walks straight in.
pub(super) fn threads_exclude() -> Program {
    let mut program = scenario(
        "threads-exclude",
        "A lock keeps threads of one process apart as it does processes.",
        with(
            &[],
            [
                CheckSpec::MutualExclusion,
                CheckSpec::Counter {
                    name: "counters".into(),
                    key: "n".into(),
                },
            ],
        ),
    );
    program.layout = Layout::Together;
    let one = locked(dict("counters"), vec![increment("counters", "n"), sleep(5)]);
    program.workers = vec![vec![one; 5]; 4];
    program.tear_down = vec![get("counters", "n")];
    program
}
