//! The ends of clients and of the process.

use super::talk::{Expected, NOTHING, Talk};
use super::{Fault, Other, Trial};
use crate::protocol::{Capability, ErrorCode};
use serde_json::{Value, json};
use std::io::Read as _;
use std::time::Duration;

/// How long a process may take to exit.
const EXIT: Duration = Duration::from_secs(5);

/// How an SQLite file begins.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// An operation that waits until it is stopped, if the driver has one.
fn endless(talk: &Talk) -> Option<Value> {
    talk.offers(Capability::Queue)
        .then(|| json!({"op": "queue-get", "name": "never", "timeout_ms": null}))
}

impl Trial {
    /// `drop` and `trap`, idle and in the middle of an operation.
    pub(super) fn try_abandoning(
        &mut self,
        talk: &mut Talk,
        other: &mut Other,
    ) -> Result<(), Fault> {
        for (capability, control) in [(Capability::Drop, "drop"), (Capability::Trap, "trap")] {
            if !talk.offers(capability) {
                continue;
            }
            let (seat, client) = other.seat(talk);
            let end = json!({"op": control});
            seat.expect(
                client,
                &format!("`{control}` of an idle client"),
                end.clone(),
                &NOTHING,
            )?;
            seat.open(client)?;
            if let Some(request) = endless(seat) {
                let what = format!("`queue-get` of a client that waits, after its `{control}`,");
                let asked = seat.send(Some(client), &what, request)?;
                let what = format!("`{control}` of a client that waits in `queue-get`");
                seat.expect(client, &what, end, &NOTHING)?;
                seat.judge(asked, &Expected::Error(&[ErrorCode::Gone]))?;
                seat.open(client)?;
            }
            self.done(&format!("abandons clients by `{control}`"));
        }
        Ok(())
    }

    /// `close` gives locks back, and the number can be used again.
    pub(super) fn try_closing(&mut self, talk: &mut Talk, other: &mut Other) -> Result<(), Fault> {
        let has_locks = talk.offers(Capability::Locks);
        let anything = Expected::Like("{\"ok\":…}", |_| true);
        let acquire = json!({"op": "lock-acquire", "lock": "lock:closed", "timeout_ms": 5000});
        let (second, client) = other.seat(talk);
        if has_locks {
            let what = "`lock-acquire` of a free lock";
            second.expect(client, what, acquire.clone(), &anything)?;
        }
        second.expect(client, "`close`", json!({"op": "close"}), &NOTHING)?;
        if has_locks {
            let what = "`lock-acquire` of a lock whose holder was closed";
            talk.expect(0, what, acquire, &anything)?;
            let release = json!({"op": "lock-release", "lock": "lock:closed"});
            talk.expect(0, "`lock-release` by the lock's holder", release, &NOTHING)?;
        }
        let (second, client) = other.seat(talk);
        second.open(client)?;
        self.done("closes clients and opens them again");
        Ok(())
    }

    /// The end of standard input.
    pub(super) fn try_the_end(&mut self, talk: Talk) -> Result<(), Fault> {
        let is_sqlite = talk.offers(Capability::Sqlite);
        let under_way = match endless(&talk) {
            Some(request) => Some(talk.send(Some(0), "`queue-get`", request)?),
            None => None,
        };
        talk.end_input(EXIT)?;
        drop(under_way);
        self.done("exits when standard input ends");
        if is_sqlite {
            let path = self.folder.path().join("store.db");
            let mut start = Vec::new();
            let file = std::fs::File::open(path);
            let read = file.and_then(|file| file.take(16).read_to_end(&mut start));
            if read.is_err() || start != SQLITE {
                return Err(
                    "the driver offers `sqlite`, but the path that `init` gave as \
                            `database` is no SQLite file at the end"
                        .into(),
                );
            }
            self.done("leaves an SQLite file");
        }
        Ok(())
    }
}
