//! Each value appended to a list is there once, for all in the same order.
//!
//! A list that is only appended to is a log: what that means is in [`delivery`](super::delivery).
//! Needed beside `list_edits`, whose search knows no order to begin with.

use super::Findings;
use super::delivery::{self, Words};
use super::streams::{Role, Stream};
use crate::history::History;
use crate::protocol::Op;

pub(super) fn check(history: &History, name: &str, findings: &mut Findings) {
    if let Some(other) = history
        .operations
        .iter()
        .find(|operation| edits(&operation.op, name))
    {
        let what = other.op.name();
        return findings.unknown(format!("list {name:?}: there is a {what}, so it is no log"));
    }
    let stream = Stream::of(history, |op| match op {
        Op::ListPush { name: of, value } if of == name => Some(Role::Append(value)),
        Op::ListItems { name: of } if of == name => Some(Role::Read),
        _ => None,
    });
    let words = Words {
        stream: format!("list {name:?}"),
        appended: "appended",
    };
    delivery::check(history, &stream, &words, findings);
}

/// Whether it changes the list otherwise.
fn edits(op: &Op, name: &str) -> bool {
    match op {
        Op::ListInsert { name: of, .. }
        | Op::ListSet { name: of, .. }
        | Op::ListDelete { name: of, .. } => of == name,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::Script;
    use crate::check::{CheckSpec, Verdict};
    use serde_json::json;

    fn script() -> (Script, u64) {
        let mut script = Script::new(CheckSpec::ListAppends { name: "l".into() });
        let session = script.session(0, 0);
        (script, session)
    }

    fn push(value: &str) -> Op {
        Op::ListPush {
            name: "l".into(),
            value: json!(value),
        }
    }

    fn items() -> Op {
        Op::ListItems { name: "l".into() }
    }

    #[test]
    fn what_was_appended_is_there_once_and_in_order() {
        for (list, verdict) in [
            (json!(["a", "b"]), Verdict::Pass),
            (json!(["b", "a"]), Verdict::Fail),
            (json!(["a"]), Verdict::Fail),
            (json!(["a", "b", "b"]), Verdict::Fail),
            (json!(["a", "b", "c"]), Verdict::Fail),
        ] {
            let (mut script, session) = script();
            script.ok(session, 1, 2, push("a"), ());
            script.ok(session, 3, 4, push("b"), ());
            script.ok(session, 5, 6, items(), list.clone());
            assert_eq!(script.judge().verdict, verdict, "{list}");
        }
    }

    #[test]
    fn a_list_that_is_edited_is_for_another_check() {
        let (mut script, session) = script();
        script.ok(session, 1, 2, push("a"), ());
        script.ok(
            session,
            3,
            4,
            Op::ListDelete {
                name: "l".into(),
                index: 0,
            },
            (),
        );
        assert_eq!(script.judge().verdict, Verdict::Unknown);
    }
}
