//! One operation of a worker, entered in the history.
//!
//! What must stay true: within a task a session is never replaced.

use super::{Done, Trouble, Worker};
use crate::driver::{Answer, gone};
use crate::history::Seen;
use crate::protocol::{ErrorCode, Op};
use crate::run::blob_text;
use crate::run::world::{World, WorldClient as _};
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl<W: World> Worker<'_, W> {
    /// One operation, entered in the history.
    pub(super) async fn call(&mut self, task: u64, op: &Op, certify: bool) -> Done<Value> {
        let session = self.session()?;
        let shown = shown(op);
        let recorder = self.world.recorder();
        let Some(id) = recorder.invoke(session, Some(task), shown.as_ref().unwrap_or(op)) else {
            self.lost();
            return Err(Trouble::Gone);
        };
        let began = self.world.now();
        let mut answer = self.ask(op, certify).await;
        if matches!(op, Op::BlobGet { .. })
            && let Ok((Value::String(data), _)) = &mut answer
        {
            *data = blob_text::shorten(data);
        }
        recorder.complete(id, &answer);
        self.course
            .progress
            .operations
            .fetch_add(1, Ordering::Relaxed);
        if answer.is_err() {
            self.course
                .progress
                .failures
                .fetch_add(1, Ordering::Relaxed);
        }
        if answer
            .as_ref()
            .is_err_and(|failure| failure.error == ErrorCode::Gone)
        {
            self.gave_up(id, op, began);
            self.lost();
        }
        Ok(answer?.0)
    }

    /// Enters that the operation was given up, if that is why there is no answer.
    fn gave_up(&self, id: u64, op: &Op, began: Duration) {
        let limit = self.course.settings.patience_forever;
        let given_up = self
            .open
            .as_ref()
            .is_some_and(|open| open.client.was_given_up());
        if given_up && op.timeout_ms() == Some(None) && self.since(began) >= limit {
            let after_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            self.world.recorder().seen(Seen::GaveUp { id, after_ms });
        }
    }

    /// The session that the task under way began with.
    pub(super) fn session(&mut self) -> Done<u64> {
        let session = self.open.as_ref().map(|open| open.session);
        match session {
            Some(session) if self.world.is_live(self.number, session) => Ok(session),
            _ => {
                self.lost();
                Err(Trouble::Gone)
            }
        }
    }

    pub(super) async fn ask(&mut self, op: &Op, certify: bool) -> Answer {
        let settings = self.course.settings;
        let patience = match op.timeout_ms() {
            Some(None) => settings.patience_forever,
            _ => settings.patience,
        };
        match &mut self.open {
            Some(open) => open.client.call(op, certify, patience).await,
            None => Err(gone("the client is no more")),
        }
    }
}

/// The operation as the history shows it, where that is another.
fn shown(op: &Op) -> Option<Op> {
    match op {
        Op::BlobPut { name, key, data } => Some(Op::BlobPut {
            name: name.clone(),
            key: key.clone(),
            data: blob_text::shorten(data),
        }),
        _ => None,
    }
}
