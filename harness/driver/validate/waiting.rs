//! Operations that wait: in time, and in nobody's way.

use super::talk::{Expected, NOTHING, Talk};
use super::{Fault, Other, Trial};
use crate::protocol::Capability;
use serde_json::json;

impl Trial {
    pub(super) fn try_waiting(&mut self, talk: &mut Talk, other: &mut Other) -> Result<(), Fault> {
        let waits = [
            (
                Capability::Queue,
                "`queue-get` of an empty queue",
                json!({"op": "queue-get", "name": "empty"}),
            ),
            (
                Capability::QueueBatch,
                "`queue-get-batch` of an empty queue",
                json!({"op": "queue-get-batch", "name": "empty", "count": 2}),
            ),
            (
                Capability::LogFollow,
                "`log-next` when nothing was appended",
                json!({"op": "log-next", "name": "followed"}),
            ),
            (
                Capability::Channel,
                "`channel-next` when nothing was published",
                json!({"op": "channel-next", "name": "check"}),
            ),
        ];
        let mut any = false;
        for (capability, what, request) in waits {
            if talk.offers(capability) {
                talk.times_out(0, what, request)?;
                any = true;
            }
        }
        if any {
            self.done("honours timeouts");
        }
        if talk.offers(Capability::Queue) {
            waits_for_ever(talk, other)?;
            self.done("waits for ever where it is told to, and in nobody's way");
        }
        Ok(())
    }
}

/// A client waits for an item that another puts.
fn waits_for_ever(talk: &mut Talk, other: &mut Other) -> Result<(), Fault> {
    let put = json!({"op": "queue-put", "name": "empty", "value": 1, "priority": 1});
    let get = json!({"op": "queue-get", "name": "empty", "timeout_ms": null});
    let what = "`queue-get` of a client that waits for an item, after another client put one,";
    let asked = talk.send(Some(0), what, get)?;
    let (second, client) = other.seat(talk);
    let put_what = "`queue-put` of one client while another waits in `queue-get`";
    second.expect(client, put_what, put.clone(), &NOTHING)?;
    let item = Expected::Is(json!({"value": 1, "priority": 1}));
    talk.judge(asked, &item)?;
    // Those that timed out before have left nothing behind that takes items.
    let (second, client) = other.seat(talk);
    second.expect(client, "`queue-put`", put, &NOTHING)?;
    let get = json!({"op": "queue-get", "name": "empty", "timeout_ms": 5000});
    let what = "`queue-get` of an item, after others have timed out,";
    talk.expect(0, what, get, &item)?;
    Ok(())
}
