//! Appending to a list.

use super::{scenario, with};
use crate::check::CheckSpec;
use crate::program::Program;
use crate::protocol::Op;
use crate::step::Step;
use serde_json::json;

fn push(value: String) -> Step {
    Op::ListPush {
        name: "events".into(),
        value: json!(value),
    }
    .into()
}

fn program(name: &str, promise: &str, workers: usize, pushes: usize) -> Program {
    let mut program = scenario(
        name,
        promise,
        with(
            &[],
            [CheckSpec::ListAppends {
                name: "events".into(),
            }],
        ),
    );
    program.workers = (0..workers)
        .map(|worker| (0..pushes).map(|n| push(format!("{worker}-{n}"))).collect())
        .collect();
    program.tear_down = vec![
        Op::ListItems {
            name: "events".into(),
        }
        .into(),
    ];
    program
}

/// Appends of several processes collide on the key that they reckon between two statements.
pub(super) fn appends() -> Program {
    program(
        "appends",
        "What several processes append to a list is all there, once.",
        4,
        100,
    )
}

/// The keys of a long list run out, and putting them in order anew recurses without end.
pub(super) fn many_appends() -> Program {
    program(
        "many-appends",
        "A list takes thousands of appends.",
        1,
        6500,
    )
}
